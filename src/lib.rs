//! lancam: a camera for your LAN.
//!
//! One small board sends; any number of machines on the same network watch. JPEG frames go out as
//! RTP/JPEG (RFC 2435) by UDP multicast, neither transcoded nor copied on the way.
//!
//! The layers, each knowing only those above it in this list:
//!
//! | module | what it is | IO |
//! |---|---|---|
//! | [`jpeg`] | markers, the gate, rebuilding a header | none |
//! | [`rtp`] | wire formats: RTP, RFC 2435, repair, RTCP, SDP, SAP | none |
//! | [`net`] | sockets, batch send and receive, pacing, interfaces | UDP |
//! | [`source`] | pattern, file, pipe, camera: each lends one frame at a time | devices, files |
//! | [`viewer`] | decode, window, overlay, recorder | screen, files |
//! | [`doctor`] | why a stream cannot be seen | all, reading only |
//! | [`status`] | the status page | HTTP |
//! | [`announced`], [`list`] | what is announced on this network | UDP |
//! | [`send`], [`view`] | the two pipelines: threads, wiring, recovery | wires the above |
//! | [`config`], [`cli`] | RON and command line to checked settings | files |
//!
//! `docs/ARCHITECTURE.md` tells the whole story, `docs/PROTOCOL.md` every byte on the wire.

pub mod announced;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "send")]
pub mod demo;
pub mod doctor;
pub mod files;
mod host;
pub mod jpeg;
pub mod list;
pub mod logging;
pub mod net;
pub mod rtp;
#[cfg(feature = "send")]
pub mod send;
pub mod signals;
#[cfg(feature = "send")]
pub mod source;
pub mod stats;
pub mod status;
mod text;
pub mod view;
pub mod viewer;
