//! The checked settings of senders. Every default stands in [`Stream::default`].

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Adapt, ConfigError, DEFAULT_GROUP, Pacing, Repair, Status, resolve};
use crate::source::{CameraSpec, DEFAULT_QUALITY, SourceSpec};

/// What `lancam send` does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The streams, at least one; names and groups differ.
    pub streams: Vec<Stream>,
    /// The status page of all of them.
    pub status: Status,
}

/// One stream's settings, all in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// What viewers see it called: 1 to 64 characters, none of them a control character.
    pub name: String,
    /// Where its frames come from.
    pub source: SourceSpec,
    /// Where its packets go: a multicast group or one host's address. RTCP uses the port above,
    /// repair the fourth above; both exist.
    pub group: SocketAddr,
    /// The interface to send on, by name or by its address; `None`: the kernel's route decides.
    pub interface: Option<String>,
    /// Routers that packets may cross, plus one: 1 stays on this network.
    pub ttl: u8,
    /// Whether viewers on this host get the packets too.
    pub loopback: bool,
    /// Differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// Largest IP packet in bytes, 576 to 65535 (1280 and up for IPv6); `None`: the interface's own.
    pub mtu: Option<u16>,
    /// How a frame's packets are spread over time.
    pub pacing: Pacing,
    /// Repair packets.
    pub repair: Repair,
    /// Whether packets that viewers ask for again are sent again.
    pub retransmit: bool,
    /// The core that the stream's thread runs on, below 1024. Whether it exists is not checked here.
    pub pin: Option<usize>,
    /// SCHED_FIFO priority of the stream's thread, 1 to 99; `None`: the normal scheduler.
    pub realtime: Option<u8>,
    /// Whether the process's memory is locked (mlockall).
    pub lock_memory: bool,
    /// Frames a second, 0.1 to 240; `None`: the source's own.
    pub fps: Option<f64>,
    /// Whether a file starts again at its end.
    pub looped: bool,
    /// Frames are scaled down to fit this width and height in pixels, each 16 to 8192, and encoded
    /// again; `None`: sent as they are.
    pub resize: Option<(u32, u32)>,
    /// JPEG quality, 1 to 100, wherever lancam itself encodes.
    pub quality: u8,
    /// Where the stream's SDP is written.
    pub sdp: Option<PathBuf>,
    /// Whether the start waits for viewers.
    pub wait_for_viewers: Option<WaitForViewers>,
    /// What gives way when the link is full.
    pub adapt: Adapt,
    /// Whether the source is open only while somebody watches.
    pub only_while_watched: bool,
    /// Whether the stream is announced by SAP.
    pub announce: bool,
}

/// Hold the start until viewers report, or the time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitForViewers {
    /// This many viewers, 1 to 10000.
    pub count: u32,
    /// Seconds to wait at most, 1 to 86400.
    pub at_most_s: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            streams: vec![Stream::default()],
            status: Status::Off,
        }
    }
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            name: "lancam".to_owned(),
            // The only camera there is.
            source: SourceSpec::Camera(CameraSpec::new("auto")),
            group: DEFAULT_GROUP,
            interface: None,
            ttl: 1,
            loopback: true,
            // AF41, which Wi-Fi puts into its video queue.
            dscp: 34,
            mtu: None,
            pacing: Pacing::Auto,
            repair: Repair::Off,
            retransmit: false,
            pin: None,
            realtime: None,
            lock_memory: false,
            fps: None,
            looped: false,
            resize: None,
            quality: DEFAULT_QUALITY,
            sdp: None,
            wait_for_viewers: None,
            adapt: Adapt::Off,
            only_while_watched: false,
            announce: true,
        }
    }
}

/// Larger files are no config.
const FILE_MAX: u64 = 1 << 20;

/// Reads and checks the config in the file at `path`.
///
/// # Errors
/// [`ConfigError`]: the file cannot be read, is larger than 1 MiB, or says something that cannot
/// be followed. Its text is made for the user: one line for each mistake.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |cause: io::Error| ConfigError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| unreadable(io::Error::new(io::ErrorKind::InvalidData, e.utf8_error())))?;
    parse(&path.display().to_string(), &text)
}

/// Checks the config in `text`, which mistakes say to stand in `file`.
///
/// # Errors
/// [`ConfigError::Mistakes`].
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    resolve::resolve(file, text)
}

/// Hands the stream's quality and frame rate to its camera. `false`: the camera was given another rate.
pub(crate) fn fold_into_camera(stream: &mut Stream) -> bool {
    let SourceSpec::Camera(camera) = &mut stream.source else {
        return true;
    };
    camera.quality = stream.quality;
    let (Some(fps), own) = (stream.fps, camera.fps) else {
        return true;
    };
    camera.fps = Some(fps);
    own.is_none_or(|own| own == fps)
}
