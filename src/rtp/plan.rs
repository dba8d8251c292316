//! The packets of one frame to send, as a packetizer plans them.

use std::ops::Range;

use super::types::{RtpTime, SeqNo, Ssrc};

/// How the packets of one frame are built: the header bytes of each, and which part of the frame's
/// data follows them. Ranges, never pointers: a plan is pure data, reused from frame to frame
/// without allocation, and the data are borrowed only while they are sent.
#[derive(Clone, Debug, Default)]
pub struct PacketPlan {
    /// All packets' header bytes, one after the other.
    pub headers: Vec<u8>,
    /// The packets, in sending order.
    pub packets: Vec<PlannedPacket>,
    /// The source that sends them.
    pub ssrc: Ssrc,
    /// Sequence number of the first; the others count up from it.
    pub first_seq: SeqNo,
    /// Timestamp of them all.
    pub time: RtpTime,
}

/// One packet of a [`PacketPlan`]: part of its headers, followed by part of the frame's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedPacket {
    /// Where its header starts in [`PacketPlan::headers`].
    pub header_start: u32,
    /// Length of its header in bytes.
    pub header_len: u32,
    /// Where its part of the data starts.
    pub payload_start: u32,
    /// Length of its part of the data in bytes.
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
    /// The two parts of packet `i` of a plan made for `data`.
    ///
    /// # Panics
    /// If the plan was not made for these data.
    pub fn parts<'a>(&'a self, i: usize, data: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let p = self.packets[i];
        let header =
            &self.headers[p.header_start as usize..(p.header_start + p.header_len) as usize];
        let payload = &data[p.payload_start as usize..(p.payload_start + p.payload_len) as usize];
        (header, payload)
    }

    /// The parts of the packets `range`.
    ///
    /// # Panics
    /// As [`parts`](Self::parts).
    pub fn packets<'a>(
        &'a self,
        range: Range<usize>,
        data: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        range.map(move |i| self.parts(i, data))
    }
}
