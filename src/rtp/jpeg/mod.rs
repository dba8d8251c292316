//! JPEG in RTP (RFC 2435): the payload's headers, the [`Packetizer`] and the [`Depacketizer`]. What a
//! JPEG file looks like is [`crate::jpeg`]'s business.

mod assembly;
mod depacketizer;
mod packetizer;
mod reception;
#[cfg(test)]
mod tests;
pub mod wire;

pub use assembly::{FrameBuffer, ReceivedPacket};
pub use depacketizer::{Depacketizer, Event, LostFrame, Options, SenderChange, Waiting, Why};
pub use packetizer::{MIN_DATAGRAM, Packetizer, PlanError};
pub use reception::Reception;
