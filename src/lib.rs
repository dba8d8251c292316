//! lancam: a camera for your LAN.
//!
//! One small board sends; any number of machines on the same network watch. JPEG frames go out as
//! RTP/JPEG (RFC 2435) by UDP multicast, neither transcoded nor copied on the way.
//!
//! `docs/ARCHITECTURE.md` describes the layers, `docs/PROTOCOL.md` every byte on the wire.

mod access;
pub mod announced;
pub mod board;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
#[cfg(feature = "send")]
pub mod demo;
pub mod display;
pub mod dns_sd;
pub mod doctor;
pub mod files;
pub mod font;
mod host;
pub mod jpeg;
pub mod kept;
pub mod list;
pub mod logging;
pub mod mailbox;
pub mod net;
pub mod onvif;
pub mod players;
pub mod record;
pub mod rtp;
pub mod rtsp;
#[cfg(feature = "send")]
pub mod send;
pub mod serve;
pub mod signals;
#[cfg(test)]
#[path = "../tests/common/skip.rs"]
mod skip;
#[cfg(feature = "send")]
pub mod source;
pub mod srtp;
pub mod stats;
pub mod status;
pub mod text;
pub mod view;
