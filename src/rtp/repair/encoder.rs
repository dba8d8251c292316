//! Makes the parity packets of a frame from its plan and its scan.

use std::ops::Range;

use reed_solomon_simd::{Error, ReedSolomonEncoder};

use super::wire::{HEADER_LEN, RepairHeader, is_possible, shard_len};
use crate::rtp::plan::PacketPlan;

/// How much parity a frame gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parity {
    /// Parity packets: r.
    pub packets: usize,
    /// Bytes of each of their datagrams.
    pub datagram: usize,
}

impl Parity {
    /// `share` parity packets (at most 1) per packet of the frame, rounded up, at least one. `None`
    /// for a frame beyond the limits (2,048 packets), which is sent without.
    pub fn of(plan: &PacketPlan, share: f32) -> Parity {
        let k = plan.packets.len();
        // A share such as 0.3 is not exact in binary; 10 packets of 0.3 are 3, not 4.
        let r = (k as f64 * f64::from(share) - 1e-4).ceil().max(1.0) as usize;
        let r = r.min(k);
        let longest = plan.packets.iter().map(|p| p.len()).max().unwrap_or(0);
        let shard = shard_len(longest);
        if shard > usize::from(u16::MAX) || !is_possible(k, r, shard) {
            return Parity::default();
        }
        Parity {
            packets: r,
            datagram: HEADER_LEN + shard,
        }
    }

    /// Bytes of all its datagrams.
    pub fn bytes(&self) -> usize {
        self.packets * self.datagram
    }
}

/// Makes parity packets, frame by frame, in memory that it reuses.
#[derive(Default)]
pub struct RepairEncoder {
    codec: Option<ReedSolomonEncoder>,
    shard: Vec<u8>,
    /// The datagrams, one after the other.
    datagrams: Vec<u8>,
    parity: Parity,
}

impl RepairEncoder {
    /// An encoder without memory yet.
    pub fn new() -> RepairEncoder {
        RepairEncoder::default()
    }

    /// Makes the `parity` of the frame that `plan` plans to send, which was made for `scan`; the
    /// datagrams are then in [`RepairEncoder::datagrams`].
    ///
    /// # Panics
    /// If the plan was not made for this scan.
    pub fn encode(&mut self, plan: &PacketPlan, scan: &[u8], parity: Parity) {
        self.datagrams.clear();
        self.parity = parity;
        if parity.packets == 0 {
            return;
        }
        if let Err(error) = self.try_encode(plan, scan, parity) {
            // `Parity::of` excludes everything that the codec can refuse.
            debug_assert!(false, "{error}");
            self.datagrams.clear();
            self.parity = Parity::default();
        }
    }

    fn try_encode(&mut self, plan: &PacketPlan, scan: &[u8], parity: Parity) -> Result<(), Error> {
        let (k, r) = (plan.packets.len(), parity.packets);
        let len = parity.datagram - HEADER_LEN;
        let codec = match &mut self.codec {
            Some(codec) => {
                codec.reset(k, r, len)?;
                codec
            }
            none => none.insert(ReedSolomonEncoder::new(k, r, len)?),
        };
        for i in 0..k {
            let (header, payload) = plan.parts(i, scan);
            fill_shard(&mut self.shard, len, header, payload);
            codec.add_original_shard(&self.shard)?;
        }
        // All below 65,536 by `Parity::of`.
        let mut header = RepairHeader {
            ssrc: plan.ssrc,
            first: plan.first_seq,
            time: plan.time,
            packets: k as u16,
            parity: r as u16,
            index: 0,
            shard_len: len as u16,
        };
        for shard in codec.encode()?.recovery_iter() {
            header.write(&mut self.datagrams);
            self.datagrams.extend_from_slice(shard);
            header.index += 1;
        }
        Ok(())
    }

    /// The parity packets `range` of the frame encoded last.
    ///
    /// # Panics
    /// If `range` reaches beyond [`Parity::packets`].
    pub fn datagrams(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> + Clone {
        let len = self.parity.datagram;
        // Chunks of zero bytes do not exist.
        self.datagrams[range.start * len..range.end * len].chunks_exact(len.max(1))
    }
}

/// Fills `shard` with a packet: its length, the packet, zeros.
pub(super) fn fill_shard(shard: &mut Vec<u8>, len: usize, header: &[u8], payload: &[u8]) {
    let packet = header.len() + payload.len();
    shard.clear();
    shard.extend((packet as u16).to_be_bytes());
    shard.extend_from_slice(header);
    shard.extend_from_slice(payload);
    shard.resize(len, 0);
}
