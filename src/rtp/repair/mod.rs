//! Repair (forward error correction) of frames: systematic Reed-Solomon over the packets of one
//! frame, in lancam's own packets on a port of their own (docs/PROTOCOL.md). Any k of a frame's k
//! packets and r parity packets restore the frame, byte for byte. No socket, no clock. How much
//! parity is worth its bandwidth is up to the caller, perhaps with [`overhead`].
//!
//! ```text
//! packet 0    [len 0][RTP header | JPEG headers | scan .........] \
//! packet 1    [len 1][RTP header | JPEG headers | scan .........]  | k shards of equal length,
//! ...                                                              | never sent as such
//! packet k-1  [len k-1][RTP header | ... ][0 0 0 0 0 0 0 0 0 0 0] /
//!                 | Reed-Solomon over GF(2^16), column by column
//! parity 0    [header][shard ...................................] \ r datagrams,
//! parity r-1  [header][shard ...................................] / sent after the frame
//! ```

mod decoder;
mod encoder;
mod nack;
pub mod overhead;
pub mod retransmit;
#[cfg(test)]
mod tests;
pub mod wire;

/// Repair packets take this many ports above the stream's: RTCP has the next one, and other
/// programs often use pairs.
pub const PORT_OFFSET: u16 = 4;

pub use decoder::{PendingRepair, RepairDecoder, RepairPacket};
pub use encoder::{Parity, RepairEncoder};
pub use nack::NackGenerator;
pub use overhead::Overhead;
pub use retransmit::RetransmitBuffer;
pub use wire::{RepairHeader, largest_packet};
