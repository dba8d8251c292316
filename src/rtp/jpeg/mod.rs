//! JPEG in RTP (RFC 2435): the payload's headers, the [`Packetizer`], and the frames that its
//! packets become. What JPEG itself looks like is in [`crate::jpeg`]; which packets belong to which
//! frame is the depacketizer's business.

mod frame;
mod packetizer;
pub mod wire;

pub use frame::FrameBuffer;
pub(super) use frame::Stream;
pub use packetizer::{MIN_DATAGRAM, Packetizer, PlanError};
