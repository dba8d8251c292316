//! How to watch a stream with other programs, as the page of a viewer shows it, which knows no more than the group. A
//! sender knows better.

use std::net::SocketAddr;

use serde::Serialize;

/// A command line for a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The player.
    pub player: &'static str,
    /// What to type.
    pub command: String,
}

/// The commands for a stream in `group`. `sdp` is the file that its session description is saved as.
pub fn commands(group: SocketAddr, sdp: &str) -> Vec<Command> {
    let (address, port) = (group.ip(), group.port());
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26";
    [
        ("lancam", format!("lancam view {group}")),
        (
            "ffplay",
            format!("ffplay -protocol_whitelist file,udp,rtp -fflags nobuffer -flags low_delay {sdp}"),
        ),
        ("VLC", format!("vlc --demux avformat --avformat-format sdp {sdp}")),
        (
            "GStreamer",
            format!(
                "gst-launch-1.0 udpsrc address={address} port={port} caps=\"{caps}\" ! rtpjpegdepay ! jpegdec ! videoconvert ! autovideosink sync=false"
            ),
        ),
    ]
    .map(|(player, command)| Command { player, command })
    .into()
}
