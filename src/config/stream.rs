//! The settings of a stream, each defined once: key, type, default, kind with its limits, words,
//! flag, and what `lancam check` says of it. The file's reader, the flags of `lancam send`, help,
//! man page and `lancam check` are made from these rows; tests compare config/lancam.ron and
//! docs/CONFIGURATION.md with them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::check;
use super::error::Mistakes;
use super::forms::{adapt, in_words, pacing, repair, source, wait_for_viewers};
use super::kind::{maybe, path, real, size, switch, text, whole};
use super::raw::Fields;
use super::values::{Adapt, DEFAULT_GROUP, Repair, WaitForViewers};
use crate::jpeg::gate::DEFAULT_QUALITY;
use crate::net::{Pacing, SendOptions};
use crate::source::{CameraSpec, FPS_RANGE, PATTERN_MAX, PATTERN_MIN, SourceSpec};
use crate::text::counted;

/// What is known of a setting besides its value.
pub struct Setting {
    /// Its key in the file; the flag's name has hyphens for underscores.
    pub key: &'static str,
    /// What it is, in one line.
    pub words: &'static str,
    /// Its default, in words.
    pub default: fn() -> String,
    /// Its limits, in words; may be empty.
    pub limits: fn() -> String,
    /// What stands for the flag's value in help, empty if the flag has none; `None`: there is no
    /// flag.
    pub flag: Option<&'static str>,
    /// Turns a word on the command line into the file's syntax, or says why it is refused.
    pub to_ron: fn(&str) -> Result<String, String>,
    /// What a stream's value means.
    pub(super) meaning: fn(&Stream) -> String,
    /// Whether the stream has the default.
    pub(super) is_default: fn(&Stream) -> bool,
}

/// A row: words, field (and its key, if that is not a valid name in Rust), type, default (and how
/// help calls it, if it cannot be printed), kind, flag, and the meaning of a stream's value.
macro_rules! settings {
    ($(
        #[doc = $words:literal]
        $field:ident $($key:literal)?: $type:ty = $default:expr $(=> $called:literal)?,
        $kind:expr, $(flag $flag:literal,)? |$stream:pat_param| $meaning:expr;
    )+) => {
        /// One stream's settings, all within their limits.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Stream {
            $(#[doc = $words] pub $field: $type,)+
            /// Whether the user chose the group; if not, another one is used when this one is
            /// taken.
            pub group_chosen: bool,
        }

        impl Default for Stream {
            fn default() -> Stream {
                Stream { $($field: $default,)+ group_chosen: false }
            }
        }

        impl Stream {
            /// What `fields` say; the default for a missing or wrong key.
            pub(super) fn read(fields: &mut Fields<'_>, mistakes: &mut Mistakes<'_>) -> Stream {
                Stream {
                    $($field: {
                        let value = mistakes.take(fields, first!($($key,)? stringify!($field)), &$kind);
                        value.unwrap_or_else(|| $default)
                    },)+
                    group_chosen: fields.get("group").is_some(),
                }
            }
        }

        /// The rows, in the order of the file and of help.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: first!($($key,)? stringify!($field)),
            words: $words.trim_ascii(),
            default: || first!($($called,)? $default).to_string(),
            limits: || $kind.limits,
            flag: [$(Some($flag),)? None][0],
            to_ron: |word| $kind.word(word),
            meaning: |$stream| $meaning,
            is_default: |stream| stream.$field == $default,
        },)+];
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)?) => {
        $first
    };
}

settings! {
    /// Name that viewers see
    name: String = "lancam".to_owned(), text("porch", check::name), flag "NAME", |s| s.name.clone();

    /// Camera, file, -, exec:COMMAND or pattern:WxH@FPS
    source: SourceSpec = SourceSpec::Camera(CameraSpec::new("auto")) => "the only camera",
        source(), flag "SRC", |s| in_words(&s.source);

    /// Multicast group, or one machine, to send to
    group: SocketAddr = DEFAULT_GROUP, text("224.3.29.71:10000", check::group), flag "ADDR:PORT",
        |s| format!("{}, {}", s.group, match s.group.ip() {
            ip if !ip.is_multicast() => "a single machine, so it is not announced",
            _ if !s.group_chosen => "or another one if that is taken",
            IpAddr::V4(_) => "IPv4 multicast",
            IpAddr::V6(_) => "IPv6 multicast",
        });

    /// Interface to send on, by name or address
    interface: Option<String> = None => "the best one", maybe(text("eth0", check::interface)), flag "IFACE",
        |s| s.interface.clone().unwrap_or_else(|| "the one that fits best".to_owned());

    /// IP TTL; 1 stays on this network
    ttl: u8 = 1, whole(0..=255), flag "N", |s| match s.ttl {
        0 => "0: stays on this machine".to_owned(),
        1 => "1: stays on this network".to_owned(),
        ttl => format!("{ttl}: crosses up to {}", counted(u64::from(ttl - 1), "router")),
    };

    /// Whether viewers on this machine get the stream
    loopback: bool = true, switch(), |_| "off: viewers on this machine get nothing".to_owned();

    /// DSCP value; 34 (AF41) is Wi-Fi's video class
    dscp: u8 = 34, whole(0..=63), flag "N", |s| s.dscp.to_string();

    /// Largest IP packet in bytes
    mtu: Option<u16> = None => "the interface's", maybe(whole(576..=65_535)), flag "BYTES",
        |s| format!("packets of up to {} bytes", s.mtu.unwrap_or_default());

    /// Spread of a frame's packets over the frame interval
    pacing: Pacing = Pacing::Auto => "auto", pacing(), flag "auto|off|SHARE", |s| match s.pacing {
        Pacing::Auto => "by the link's speed".to_owned(),
        Pacing::Off => "off: packets leave as fast as the kernel takes them".to_owned(),
        Pacing::Spread(part) => format!("each frame over {:.0} % of the frame interval", part * 100.0),
    };

    /// Repair packets, as a share of the stream's packets
    repair: Repair = Repair::Off => "off", repair(), flag "off|auto|SHARE", |s| match s.repair {
        Repair::Off => "off".to_owned(),
        Repair::Fixed(share) => format!("{:.0} % more packets", share * 100.0),
        Repair::Auto { max } => format!("up to {:.0} % more packets, as viewers lose them", max * 100.0),
    };

    /// Send packets again that viewers ask for
    retransmit: bool = false, switch(), flag "", |_| "on: packets that viewers ask for are sent again".to_owned();

    /// CPU core for the stream's thread
    pin: Option<usize> = None => "none", maybe(whole(0..=1023)), flag "CORE",
        |s| format!("runs on core {}", s.pin.unwrap_or_default());

    /// Real-time priority (SCHED_FIFO) of that thread
    realtime: Option<u8> = None => "none", maybe(whole(1..=99)), flag "PRIO",
        |s| format!("SCHED_FIFO, priority {}", s.realtime.unwrap_or_default());

    /// Keep all memory in RAM (mlockall)
    lock_memory: bool = false, switch(), flag "", |_| "on: all memory stays in RAM".to_owned();

    /// Frames per second
    fps: Option<f64> = None => "the source's", maybe(real(FPS_RANGE)), flag "RATE",
        |s| format!("{} fps", s.fps.unwrap_or_default());

    /// Start a file again at its end
    looped "loop": bool = false, switch(), flag "", |_| "on: a file starts again at its end".to_owned();

    /// Scale down to fit and encode again
    resize: Option<(u32, u32)> = None => "none", maybe(size(PATTERN_MIN..=PATTERN_MAX)), flag "WxH",
        |s| s.resize.map(|(w, h)| format!("to fit {w}x{h}, encoded again")).unwrap_or_default();

    /// JPEG quality wherever lancam encodes
    quality: u8 = DEFAULT_QUALITY, whole(1..=100), flag "Q", |s| s.quality.to_string();

    /// File to write the stream's SDP to, for other players
    sdp: Option<PathBuf> = None => "none", maybe(path("porch.sdp")), flag "FILE",
        |s| format!("written to {}", s.sdp.clone().unwrap_or_default().display());

    /// Hold the start until viewers report, or a time is over
    wait_for_viewers: Option<WaitForViewers> = None => "none", wait_for_viewers(),
        |s| s.wait_for_viewers.map(|w| match w.count {
            1 => format!("starts when a viewer reports, or after {} s", w.at_most_s),
            n => format!("starts when {n} viewers report, or after {} s", w.at_most_s),
        }).unwrap_or_default();

    /// Send fewer frames while the network is full
    adapt: Adapt = Adapt::Off => "off", adapt(), |s| match s.adapt {
        Adapt::Off => "off".to_owned(),
        Adapt::FrameRate { min } => format!("down to {min} fps while the network is full"),
    };

    /// Open the source only while somebody watches
    only_while_watched: bool = false, switch(),
        |_| "on: the source is open only while somebody watches".to_owned();

    /// Announce the stream by SAP, so that viewers find it by name
    announce: bool = true, switch(), |_| "off: not announced".to_owned();
}

impl Stream {
    /// The same, sent to `group`.
    pub(crate) fn sent_to(self, group: SocketAddr) -> Stream {
        Stream { group, ..self }
    }

    /// Socket options for its packets.
    pub(crate) fn send_options(&self) -> SendOptions {
        SendOptions {
            group: self.group,
            interface: self.interface.clone(),
            ttl: self.ttl,
            loopback: self.loopback,
            dscp: self.dscp,
        }
    }
}
