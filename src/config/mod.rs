//! What the user wants, checked: the settings of every stream, read from a RON file or made from
//! the command line. Nothing is opened here but the file itself; whether a camera, an interface or a
//! core is really there is found out by those who use it.
//!
//! A file is read into a strict raw form (`raw`: every key known, every key with a default), then
//! resolved (`resolve`) into [`Config`], whose values are all in range. What is wrong is answered
//! with file, line, column, the key and what is allowed ([`ConfigError`]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) mod check;
#[cfg(feature = "send")]
mod describe;
#[cfg(feature = "send")]
mod error;
#[cfg(feature = "send")]
mod raw;
#[cfg(feature = "send")]
mod resolve;
#[cfg(feature = "send")]
mod stream;

pub use crate::net::Pacing;
#[cfg(feature = "send")]
pub use describe::describe;
#[cfg(feature = "send")]
pub use error::{ConfigError, Mistake};
#[cfg(feature = "send")]
pub use stream::{Config, Stream, WaitForViewers, load, not_yet, parse};
#[cfg(feature = "send")]
pub(crate) use {
    resolve::{CORES, MTU_MIN_V6, RESIZE_RANGE},
    stream::{fold_into_camera, unbuilt},
};

/// Where streams go, and are looked for, unless the user says otherwise.
pub const DEFAULT_GROUP: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 3, 29, 71)), 10_000);

/// Where the status page listens unless the user says otherwise: this host alone can see it.
pub const DEFAULT_STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The most repair that `Auto` sends unless the user says otherwise, in repair packets for each packet.
pub const REPAIR_AUTO_MAX: f32 = 0.5;

/// Settings that are read and checked but that this version cannot follow yet, by their key in
/// the file or their flag, and the value if not all are unbuilt. Asking for one is refused: a setting that is silently ignored deceives.
/// Whoever builds one takes it off this list.
pub(crate) const NOT_YET: &[&str] = &[];

/// That `key` is not built, as the user is told it.
pub(crate) fn not_built(key: &str) -> String {
    format!("\"{key}\" is not built in this version of lancam yet: leave it out")
}

/// How repair packets (FEC) are made for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Repair {
    /// None.
    #[default]
    Off,
    /// This many repair packets for each packet of the frame, above 0 and up to 1.
    Fixed(f32),
    /// As many as the viewers' reports ask for.
    Auto {
        /// At most this many for each packet of the frame, above 0 and up to 1.
        max: f32,
    },
}

/// What gives way when the link is full.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Adapt {
    /// Nothing: every frame is sent.
    #[default]
    Off,
    /// The frame rate.
    FrameRate {
        /// Never below this many frames a second.
        min: f64,
    },
}

/// The status page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// None.
    #[default]
    Off,
    /// Served by HTTP.
    On {
        /// Address and port that it listens on.
        listen: SocketAddr,
        /// What a visitor must know; `None`: anyone may look.
        token: Option<String>,
    },
}

#[cfg(all(test, feature = "send"))]
mod tests;
