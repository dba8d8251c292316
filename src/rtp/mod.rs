//! RTP (RFC 3550) and what travels with it. In: bytes and a time; out: bytes and events. No
//! sockets, no clocks, no threads.
//!
//! | module | what it is |
//! |---|---|
//! | [`types`], [`header`], [`plan`] | numbers, the RTP header with its extensions (RFC 8285), a frame's packets to send |
//! | [`source`], [`reception`] | who sends, and what arrives, whatever the payload is |
//! | [`depacketizer`], [`packets`] | sorts packets into frames, and gives up those that cannot become whole |
//! | [`payload`] | the payload formats: one arm each |
//! | [`jpeg`] | JPEG as payload (RFC 2435) |
//! | [`repair`] | parity and retransmission |
//! | [`rtcp`], [`sdp`], [`sap`], [`adapt`] | reports, descriptions, announcements, fewer frames on a full link |

pub mod adapt;
pub mod depacketizer;
pub mod header;
pub mod jpeg;
pub mod packets;
pub mod payload;
pub mod plan;
pub mod reception;
pub mod repair;
pub mod rtcp;
pub mod sap;
pub mod sdp;
pub mod source;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod types;
mod votes;

pub use depacketizer::{Depacketizer, Event, Options};
pub use jpeg::{FrameBuffer, Packetizer};
pub use payload::{OtherFormat, ReceivedFrame};
pub use plan::{PacketPlan, PlannedPacket};
pub use repair::{RepairDecoder, RepairEncoder};
pub use types::{RtpTime, SeqNo, Ssrc};
