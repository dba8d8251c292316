//! The commands that watch a stream, one for each player, ready to be pasted into a shell. Each was run against lancam;
//! `tests/announce.rs` runs them again.

use crate::config::Stream;
use crate::rtp::jpeg::wire::MAX_SIDE;
use crate::rtp::sap;

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
        all.push(("ffplay", ffplay(stream)));
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

/// With a file it plays that; else it takes the announcement that it hears first.
fn ffplay(stream: &Stream) -> String {
    let options = "-fflags nobuffer -flags low_delay";
    let group = sap::group_for(stream.group.ip()).filter(|_| stream.announce);
    match (&stream.sdp, group) {
        (Some(file), _) => format!(
            "ffplay -protocol_whitelist file,udp,rtp {options} {}",
            quoted(&file.display().to_string())
        ),
        (None, Some(group)) => format!("ffplay {options} sap://{group}"),
        (None, None) => format!("ffplay {options} rtp://{}", stream.group),
    }
}

/// Debian's VLC has no RTP of its own that knows JPEG: libavformat's is asked for. Without a file the SDP itself is the
/// address of the stream.
fn vlc(stream: &Stream, sdp: &str) -> String {
    let what = match &stream.sdp {
        Some(file) => quoted(&file.display().to_string()),
        None => quoted(&format!("sdp://{}", sdp.replace('\r', "").trim_end())),
    };
    format!("vlc --demux avformat --avformat-format sdp {what}")
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

    fn of(stream: &Stream, size: (u16, u16)) -> Vec<(&'static str, String)> {
        commands(stream, Some(size), "v=0\r\ns=it's\r\n")
    }

    #[test]
    fn each_player_has_its_command() {
        let stream = Stream {
            name: "front door".to_owned(),
            announce: true,
            ..Stream::default()
        };
        let got = of(&stream, (640, 480));
        let players: Vec<_> = got.iter().map(|(player, _)| *player).collect();
        assert_eq!(players, ["lancam", "ffplay", "VLC", "GStreamer"]);
        assert_eq!(got[0].1, "lancam view 'front door'");
        assert!(got[1].1.ends_with(" sap://224.2.127.254:9875"));
        assert!(got[2].1.ends_with(
            r" 'sdp://v=0
s=it'\''s'"
        ));
        let file = Stream {
            sdp: Some("my cam.sdp".into()),
            announce: false,
            ..stream
        };
        let got = of(&file, (640, 480));
        assert_eq!(got[0].1, "lancam view 224.3.29.71:10000");
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
