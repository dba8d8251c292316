//! The header of a repair datagram: a view that is checked once, and writing.

use crate::rtp::types::{RtpTime, SeqNo, Ssrc};

/// The version that this code writes and reads.
const VERSION: u8 = 1;
/// The kind of repair datagram that carries a parity shard.
const PARITY: u8 = 0;
/// The kind that carries a retransmitted packet.
const RETRANSMISSION: u8 = 1;
/// Bytes before a retransmitted packet.
pub const RETRANSMISSION_HEADER: [u8; 4] = [VERSION, RETRANSMISSION, 0, 0];
/// Bytes before the shard.
pub const HEADER_LEN: usize = 20;
/// Bytes before a packet in its shard: its length.
pub const LENGTH_LEN: usize = 2;
/// Most packets of a frame that can be repaired. It has at most as many parity packets as packets.
pub const MAX_PACKETS: usize = 2048;
/// Most memory that Reed-Solomon may use, in bytes; what needs more is neither encoded nor decoded.
pub const MAX_WORK: usize = 32 << 20;

/// Why a datagram is not a repair packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepair {
    /// Shorter than the header.
    #[error("{0} bytes are too few for a repair header of {HEADER_LEN}")]
    Short(usize),
    /// A later version, another kind, or not a repair packet at all.
    #[error("repair version {version}, kind {kind}, not {VERSION} and {PARITY}")]
    Unknown {
        /// First byte.
        version: u8,
        /// Second byte.
        kind: u8,
    },
    /// Numbers that contradict each other or ask for too much.
    #[error("parity {index} of {parity} for {packets} packets")]
    Counts {
        /// Index of this parity packet.
        index: u16,
        /// Parity packets of the frame.
        parity: u16,
        /// Packets of the frame.
        packets: u16,
    },
    /// The shard is odd, empty, too large, or not as long as the header says.
    #[error("a shard of {claimed} bytes in a datagram that has {have}")]
    Length {
        /// As the header says.
        claimed: usize,
        /// Bytes after the header.
        have: usize,
    },
}

/// The header of a parity datagram.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  version = 1  |    kind = 0   |         first sequence        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                           timestamp                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             SSRC                              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           packets k           |           parity r            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |             index             |         shard length          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             shard                             |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairHeader {
    /// Whose frame it is.
    pub ssrc: Ssrc,
    /// Sequence number of the frame's first packet.
    pub first: SeqNo,
    /// Timestamp of the frame.
    pub time: RtpTime,
    /// Packets of the frame: k.
    pub packets: u16,
    /// Parity packets of the frame: r.
    pub parity: u16,
    /// Which of them this is, from 0.
    pub index: u16,
    /// Bytes of each shard.
    pub shard_len: u16,
}

impl RepairHeader {
    /// Whether the frame has a packet with this number.
    pub fn has(&self, seq: SeqNo) -> bool {
        u16::try_from(seq.distance(self.first)).is_ok_and(|index| index < self.packets)
    }

    /// Reads a datagram: the header and its shard.
    ///
    /// # Errors
    /// If it is not a repair packet, or its numbers cannot be true.
    pub fn parse(datagram: &[u8]) -> Result<(RepairHeader, &[u8]), InvalidRepair> {
        let Some((head, shard)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(InvalidRepair::Short(datagram.len()));
        };
        if head[..2] != [VERSION, PARITY] {
            let (version, kind) = (head[0], head[1]);
            return Err(InvalidRepair::Unknown { version, kind });
        }
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) << 16 | u32::from(u16_at(at + 2));
        let header = RepairHeader {
            first: SeqNo(u16_at(2)),
            time: RtpTime(u32_at(4)),
            ssrc: Ssrc(u32_at(8)),
            packets: u16_at(12),
            parity: u16_at(14),
            index: u16_at(16),
            shard_len: u16_at(18),
        };
        header.check(shard.len())?;
        Ok((header, shard))
    }

    fn check(&self, have: usize) -> Result<(), InvalidRepair> {
        let (packets, parity) = (usize::from(self.packets), usize::from(self.parity));
        let claimed = usize::from(self.shard_len);
        // The length is even: Reed-Solomon works on 16-bit symbols.
        if claimed != have || claimed <= LENGTH_LEN || claimed % 2 != 0 {
            return Err(InvalidRepair::Length { claimed, have });
        }
        if self.index >= self.parity || !is_possible(packets, parity, claimed) {
            return Err(InvalidRepair::Counts {
                index: self.index,
                parity: self.parity,
                packets: self.packets,
            });
        }
        Ok(())
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, PARITY]);
        out.extend(self.first.0.to_be_bytes());
        out.extend(self.time.0.to_be_bytes());
        out.extend(self.ssrc.0.to_be_bytes());
        for number in [self.packets, self.parity, self.index, self.shard_len] {
            out.extend(number.to_be_bytes());
        }
    }
}

/// The RTP packet in a retransmission; `None`: it is not one. The two bytes after the kind are
/// reserved.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  version = 1  |    kind = 1   |            reserved           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                 the RTP packet as it was sent                 |
/// ```
pub fn retransmitted(datagram: &[u8]) -> Option<&[u8]> {
    let (head, packet) = datagram.split_first_chunk::<{ RETRANSMISSION_HEADER.len() }>()?;
    (head[..2] == RETRANSMISSION_HEADER[..2]).then_some(packet)
}

/// Whether that many packets and parity packets with shards of that many bytes stay within the
/// limits.
pub(super) fn is_possible(packets: usize, parity: usize, shard_len: usize) -> bool {
    // No more parity than packets: one forged datagram of a frame of one packet would otherwise set
    // off a decoding over thousands of shards.
    if !(1..=MAX_PACKETS).contains(&packets) || !(1..=packets).contains(&parity) {
        return false;
    }
    // The most that the decoder needs: both counts as powers of two, the sum again as one, shards
    // in units of 64 bytes.
    let shards = packets.next_power_of_two() + parity.next_power_of_two();
    shards.next_power_of_two() * shard_len.next_multiple_of(64) <= MAX_WORK
}

/// Bytes of the shard of a packet of `len` bytes.
pub(super) fn shard_len(len: usize) -> usize {
    (LENGTH_LEN + len).next_multiple_of(2)
}

/// The largest packet whose parity still fits into a datagram of `datagram` bytes.
pub fn largest_packet(datagram: usize) -> usize {
    (datagram.saturating_sub(HEADER_LEN) & !1).saturating_sub(LENGTH_LEN)
}
