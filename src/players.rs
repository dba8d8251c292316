//! The commands that watch a stream, one for each player, ready to be pasted into bash or zsh.
//! `tests/announce.rs` runs them.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::rtp::jpeg::wire::MAX_SIDE;
use crate::text::percent_encoded;

/// A command line for a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The player.
    pub player: &'static str,
    /// What to type.
    pub command: String,
}

/// What a player needs to know about a stream.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Where its packets go.
    pub group: SocketAddr,
    /// The name it is announced by; `None`: it is not announced.
    pub name: Option<&'a str>,
    /// Width and height of its pictures in pixels, if known.
    pub size: Option<(u16, u16)>,
    /// Its session description.
    pub sdp: &'a str,
    /// A file that contains it.
    pub sdp_file: Option<&'a str>,
}

/// The RTSP address of the stream `name` on a host that serves it at `port`: it works in every
/// player.
pub fn rtsp_address(host: IpAddr, port: u16, name: &str) -> String {
    let host = SocketAddr::new(host, port);
    format!("rtsp://{host}/{}", percent_encoded(name))
}

/// The commands for `stream`.
pub fn commands(stream: &Watched<'_>) -> Vec<Command> {
    let is_large = stream
        .size
        .is_some_and(|(w, h)| w > MAX_SIDE || h > MAX_SIDE);
    let mut all = vec![("lancam", lancam(stream))];
    // ffmpeg cannot handle pictures above 2040 pixels, and VLC plays through ffmpeg.
    if !is_large {
        all.push(("ffplay", ffplay(stream)));
        all.push(("VLC", vlc(stream)));
    }
    all.push((
        "GStreamer",
        gstreamer(stream, stream.size.filter(|_| is_large)),
    ));
    all.into_iter()
        .map(|(player, command)| Command { player, command })
        .collect()
}

fn lancam(stream: &Watched<'_>) -> String {
    match stream.name {
        Some(name) => format!("lancam view {}", quoted(name)),
        None => format!("lancam view {}", stream.group),
    }
}

/// ffplay for what is served by RTSP at `url`.
pub fn by_rtsp(url: &str) -> String {
    format!("ffplay -fflags nobuffer -flags low_delay {}", quoted(url))
}

/// Without a file the group suffices: ffmpeg recognises payload type 26.
fn ffplay(stream: &Watched<'_>) -> String {
    let options = "-fflags nobuffer -flags low_delay";
    if let Some(file) = stream.sdp_file {
        let file = quoted(file);
        return format!("ffplay -protocol_whitelist file,udp,rtp {options} {file}");
    }
    let only = lines(stream.sdp, &["a=source-filter:"]);
    let source = only.first().and_then(|line| line.split_whitespace().last());
    let source = source.map_or(String::new(), |ip| format!("?sources={ip}"));
    format!(
        "ffplay {options} {}",
        quoted(&format!("rtp://{}{source}", stream.group))
    )
}

/// Debian's VLC has no RTP/JPEG of its own, so libavformat's is used. Without a file, the SDP lines
/// that matter go into the address.
fn vlc(stream: &Watched<'_>) -> String {
    let what = match stream.sdp_file {
        Some(file) => quoted(file),
        // None of these lines contains a quote or a backslash: the name is not among them.
        None => format!(
            "$'sdp://{}'",
            lines(stream.sdp, &["v=", "c=", "m=", "a=source-filter:"]).join(r"\n")
        ),
    };
    format!("vlc --demux avformat --avformat-format sdp {what}")
}

/// The lines of `sdp` that start with one of `beginnings`.
fn lines<'a>(sdp: &'a str, beginnings: &[&str]) -> Vec<&'a str> {
    let is_wanted = |line: &&str| beginnings.iter().any(|b| line.starts_with(b));
    sdp.lines().filter(is_wanted).collect()
}

fn gstreamer(stream: &Watched<'_>, size: Option<(u16, u16)>) -> String {
    let size = size.map_or(String::new(), |(w, h)| {
        format!(",x-dimensions=(string)\"{w},{h}\"")
    });
    format!(
        "gst-launch-1.0 udpsrc address={} port={} caps='application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26{size}' ! rtpjpegdepay ! jpegdec ! videoconvert ! autovideosink sync=false",
        stream.group.ip(),
        stream.group.port()
    )
}

/// `text` as one word of a shell command.
pub(crate) fn quoted(text: &str) -> String {
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

    fn watched() -> Watched<'static> {
        Watched {
            group: "232.1.1.1:5000".parse().unwrap(),
            name: Some("front door's"),
            size: Some((640, 480)),
            sdp: SDP,
            sdp_file: None,
        }
    }

    fn players(commands: &[Command]) -> Vec<&'static str> {
        commands.iter().map(|c| c.player).collect()
    }

    #[test]
    fn an_rtsp_address_holds_any_name() {
        let of = |host: &str, name| rtsp_address(host.parse().unwrap(), 8554, name);
        assert_eq!(of("10.0.0.7", "porch-2"), "rtsp://10.0.0.7:8554/porch-2");
        assert_eq!(
            of("fd00::7", "a/b ä%"),
            "rtsp://[fd00::7]:8554/a%2Fb%20%C3%A4%25"
        );
    }

    #[test]
    fn each_player_has_its_command() {
        let got = commands(&watched());
        assert_eq!(players(&got), ["lancam", "ffplay", "VLC", "GStreamer"]);
        assert_eq!(got[0].command, r"lancam view 'front door'\''s'");
        let ffplay =
            "ffplay -fflags nobuffer -flags low_delay 'rtp://232.1.1.1:5000?sources=10.0.0.7'";
        assert_eq!(got[1].command, ffplay);
        let vlc = r"vlc --demux avformat --avformat-format sdp $'sdp://v=0\nc=IN IP4 232.1.1.1/1\nm=video 5000 RTP/AVP 26\na=source-filter: incl IN IP4 232.1.1.1 10.0.0.7'";
        assert_eq!(got[2].command, vlc);
        let got = commands(&Watched {
            name: None,
            sdp_file: Some("my cam.sdp"),
            ..watched()
        });
        assert_eq!(got[0].command, "lancam view 232.1.1.1:5000");
        assert!(got[1].command.ends_with(" 'my cam.sdp'"));
        assert!(got[2].command.ends_with(" 'my cam.sdp'"));
    }

    #[test]
    fn who_cannot_show_large_pictures_is_left_out() {
        let got = commands(&Watched {
            size: Some((3840, 2160)),
            ..watched()
        });
        assert_eq!(players(&got), ["lancam", "GStreamer"]);
        assert!(
            got[1]
                .command
                .contains("x-dimensions=(string)\"3840,2160\"")
        );
    }
}
