//! The commands that watch a stream, one for each player, ready to be pasted into bash or zsh. Each was run against lancam;
//! `tests/announce.rs` runs them again.

use crate::config::Stream;
use crate::rtp::jpeg::wire::MAX_SIDE;

/// Players and their commands for `stream`, whose SDP is `sdp` and whose pictures have this size, if it is known.
pub(crate) fn commands(
    stream: &Stream,
    size: Option<(u16, u16)>,
    sdp: &str,
) -> Vec<(&'static str, String)> {
    let is_large = size.is_some_and(|(w, h)| w > MAX_SIDE || h > MAX_SIDE);
    let mut all = vec![("lancam", lancam(stream))];
    // ffmpeg knows no pictures above 2040 pixels, and VLC plays through ffmpeg.
    if !is_large {
        all.push(("ffplay", ffplay(stream, sdp)));
        all.push(("VLC", vlc(stream, sdp)));
    }
    all.push(("GStreamer", gstreamer(stream, size.filter(|_| is_large))));
    all
}

fn is_announced(stream: &Stream) -> bool {
    stream.announce && stream.group.ip().is_multicast()
}

fn lancam(stream: &Stream) -> String {
    match is_announced(stream) {
        true => format!("lancam view {}", quoted(&stream.name)),
        false => format!("lancam view {}", stream.group),
    }
}

/// Without a file the group is enough: ffmpeg takes payload type 26 for what it is.
fn ffplay(stream: &Stream, sdp: &str) -> String {
    let options = "-fflags nobuffer -flags low_delay";
    if let Some(file) = &stream.sdp {
        let file = quoted(&file.display().to_string());
        return format!("ffplay -protocol_whitelist file,udp,rtp {options} {file}");
    }
    let only = lines(sdp, &["a=source-filter:"]);
    let source = only.first().and_then(|line| line.split_whitespace().last());
    let source = source.map_or(String::new(), |ip| format!("?sources={ip}"));
    format!(
        "ffplay {options} {}",
        quoted(&format!("rtp://{}{source}", stream.group))
    )
}

/// Debian's VLC has no RTP of its own that knows JPEG: libavformat's is asked for. Without a file the SDP's lines that
/// matter are the address of the stream.
fn vlc(stream: &Stream, sdp: &str) -> String {
    let what = match &stream.sdp {
        Some(file) => quoted(&file.display().to_string()),
        // No quote and no backslash: the name is not among these lines.
        None => format!(
            "$'sdp://{}'",
            lines(sdp, &["v=", "c=", "m=", "a=source-filter:"]).join(r"\n")
        ),
    };
    format!("vlc --demux avformat --avformat-format sdp {what}")
}

/// The lines of `sdp` that begin so.
fn lines<'a>(sdp: &'a str, beginnings: &[&str]) -> Vec<&'a str> {
    let is_wanted = |line: &&str| beginnings.iter().any(|b| line.starts_with(b));
    sdp.lines().filter(is_wanted).collect()
}

fn gstreamer(stream: &Stream, size: Option<(u16, u16)>) -> String {
    let size = size.map_or(String::new(), |(w, h)| {
        format!(",x-dimensions=(string)\"{w},{h}\"")
    });
    format!(
        "gst-launch-1.0 udpsrc address={} port={} caps='application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26{size}' ! rtpjpegdepay ! jpegdec ! videoconvert ! autovideosink sync=false",
        stream.group.ip(),
        stream.group.port()
    )
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\ns=it's\r\nc=IN IP4 232.1.1.1/1\r\nm=video 5000 RTP/AVP 26\r\n\
        a=source-filter: incl IN IP4 232.1.1.1 10.0.0.7\r\n";

    fn of(stream: &Stream, size: (u16, u16)) -> Vec<(&'static str, String)> {
        commands(stream, Some(size), SDP)
    }

    #[test]
    fn each_player_has_its_command() {
        let stream = Stream {
            name: "front door's".to_owned(),
            group: "232.1.1.1:5000".parse().unwrap(),
            ..Stream::default()
        };
        let got = of(&stream, (640, 480));
        let players: Vec<_> = got.iter().map(|(player, _)| *player).collect();
        assert_eq!(players, ["lancam", "ffplay", "VLC", "GStreamer"]);
        assert_eq!(got[0].1, r"lancam view 'front door'\''s'");
        let ffplay =
            "ffplay -fflags nobuffer -flags low_delay 'rtp://232.1.1.1:5000?sources=10.0.0.7'";
        assert_eq!(got[1].1, ffplay);
        let vlc = r"vlc --demux avformat --avformat-format sdp $'sdp://v=0\nc=IN IP4 232.1.1.1/1\nm=video 5000 RTP/AVP 26\na=source-filter: incl IN IP4 232.1.1.1 10.0.0.7'";
        assert_eq!(got[2].1, vlc);
        let file = Stream {
            sdp: Some("my cam.sdp".into()),
            announce: false,
            ..stream
        };
        let got = of(&file, (640, 480));
        assert_eq!(got[0].1, "lancam view 232.1.1.1:5000");
        assert!(got[1].1.ends_with(" 'my cam.sdp'"));
        assert!(got[2].1.ends_with(" 'my cam.sdp'"));
    }

    #[test]
    fn who_cannot_show_large_pictures_is_left_out() {
        let got = of(&Stream::default(), (3840, 2160));
        let players: Vec<_> = got.iter().map(|(player, _)| *player).collect();
        assert_eq!(players, ["lancam", "GStreamer"]);
        assert!(got[1].1.contains("x-dimensions=(string)\"3840,2160\""));
    }
}
