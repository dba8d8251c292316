//! Wire formats, one folder or file each: the RTP header (RFC 3550), its extensions (RFC 8285), the
//! JPEG payload (RFC 2435), lancam's repair, RTCP (RFC 3550), SDP (RFC 8866), SAP (RFC 2974). Bytes and a time in, bytes and events out: no sockets, no
//! clocks, no threads.

pub mod adapt;
pub mod header;
pub mod jpeg;
pub mod repair;
pub mod rtcp;
pub mod sap;
pub mod sdp;

pub use jpeg::{Depacketizer, Event, FrameBuffer, Options, Packetizer};
pub use repair::{RepairDecoder, RepairEncoder};

/// Synchronisation source: who sends. RFC 3550 §3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

/// A 16-bit RTP sequence number; compares by RFC 1982 arithmetic through [`SeqNo::distance`]. RFC 3550 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// Signed steps from `earlier` to `self`, right across the wrap for gaps under 32768.
    pub fn distance(self, earlier: SeqNo) -> i16 {
        self.0.wrapping_sub(earlier.0) as i16
    }

    /// The number `n` packets later.
    pub fn plus(self, n: u16) -> SeqNo {
        SeqNo(self.0.wrapping_add(n))
    }
}

/// An RTP timestamp on the 90 kHz clock of video. RFC 2435 §3, RFC 3550 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Ticks a second.
    pub const RATE: u64 = 90_000;

    /// The timestamp of a moment `nanos` nanoseconds after the one stamped 0.
    pub fn from_nanos(nanos: u64) -> RtpTime {
        // 90,000 / 10^9 = 9 / 100,000, in two steps: nanos * 9 would overflow after 65 years.
        let (whole, rest) = (nanos / 100_000, nanos % 100_000);
        RtpTime((whole * 9 + rest * 9 / 100_000) as u32)
    }

    /// Signed ticks from `earlier` to `self`, right across the wrap.
    pub fn distance(self, earlier: RtpTime) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// How the packets of one frame are to be built: the header bytes of each, and which part of the
/// scan follows them. Ranges, never pointers: a plan is pure data, reused from frame to frame without
/// allocation, and the scan is borrowed only while it is sent.
#[derive(Clone, Debug, Default)]
pub struct PacketPlan {
    /// All packets' header bytes, one after the other.
    pub headers: Vec<u8>,
    /// The packets, in sending order.
    pub packets: Vec<PlannedPacket>,
    /// Who sends them.
    pub ssrc: Ssrc,
    /// Sequence number of the first; the others count up from it.
    pub first_seq: SeqNo,
    /// Timestamp of them all.
    pub time: RtpTime,
}

/// One packet of a [`PacketPlan`]: `headers[header]` followed by `scan[payload]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedPacket {
    /// Where its header starts in [`PacketPlan::headers`].
    pub header_start: u32,
    /// Length of its header in bytes.
    pub header_len: u32,
    /// Where its part of the scan starts.
    pub payload_start: u32,
    /// Length of its part of the scan in bytes.
    pub payload_len: u32,
}

impl PlannedPacket {
    /// Bytes of the whole datagram.
    pub fn len(&self) -> usize {
        (self.header_len + self.payload_len) as usize
    }

    /// Whether the datagram would be empty; a planned packet never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PacketPlan {
    /// The two parts of packet `i` of a plan made for `scan`.
    ///
    /// # Panics
    /// If the plan was not made for this scan.
    pub fn parts<'a>(&'a self, i: usize, scan: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let p = self.packets[i];
        let header =
            &self.headers[p.header_start as usize..(p.header_start + p.header_len) as usize];
        let payload = &scan[p.payload_start as usize..(p.payload_start + p.payload_len) as usize];
        (header, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(SeqNo(2).distance(SeqNo(65_534)), 4);
        assert_eq!(SeqNo(65_534).distance(SeqNo(2)), -4);
        assert_eq!(SeqNo(65_535).plus(2), SeqNo(1));
    }

    #[test]
    fn a_second_is_90000_ticks() {
        assert_eq!(RtpTime::from_nanos(1_000_000_000), RtpTime(90_000));
        assert_eq!(RtpTime::from_nanos(33_333_333), RtpTime(2_999));
        let years = u64::MAX;
        let exact = (u128::from(years) * 9 / 100_000) as u32;
        assert_eq!(RtpTime::from_nanos(years), RtpTime(exact));
        assert_eq!(RtpTime(5).distance(RtpTime(u32::MAX - 4)), 10);
    }
}
