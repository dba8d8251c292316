//! A sender's packets: sealed in the order of their numbers, each once.
//!
//! [`SealedFrame`] has a frame's packets as they go out. Pacing, repair and retransmission work with
//! those, so that what repairs them is made of what everybody sees, and what is rebuilt is proven
//! like all else.

use std::ops::Range;

use super::cipher::{Cipher, Place};
use super::hello::Hello;
use super::keys::{MasterKey, Salt, Secret};
use super::suite::Suite;
use super::window::MAX_INDEX;
use crate::rtp::header::Packet;
use crate::rtp::{PacketPlan, PlannedPacket, SeqNo, Ssrc};

/// Seals the packets of one run.
pub struct Sealer {
    cipher: Cipher,
    master: MasterKey,
    salt: Salt,
    ssrc: Ssrc,
    /// The index of the newest packet; before the first, one less.
    newest: u64,
}

impl Sealer {
    /// A run that begins with the packet `first`. `salt` is random and new for each run.
    pub fn new(secret: &Secret, suite: Suite, salt: Salt, ssrc: Ssrc, first: SeqNo) -> Sealer {
        let master = MasterKey::of_run(secret, suite, salt);
        Sealer {
            cipher: master.rtp(),
            master,
            salt,
            ssrc,
            // Never written: a packet in front of the first wraps to it.
            newest: u64::from(first.0).wrapping_sub(1),
        }
    }

    /// Goes on with another secret. Salt and numbers stay, so that viewers who have both need no
    /// packet to tell them.
    pub fn change(&mut self, secret: &Secret) {
        self.master = MasterKey::of_run(secret, self.master.suite(), self.salt);
        self.cipher = self.master.rtp();
    }

    /// The run's key, for other players.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// How long a packet of `len` bytes becomes.
    pub fn sealed_len(&self, len: usize) -> usize {
        len + self.master.suite().tag_len()
    }

    /// What the header of packet `seq`, which comes next, is to say.
    pub fn hello(&self, seq: SeqNo) -> Hello {
        Hello {
            suite: self.master.suite(),
            roc: (self.index(seq) >> 16) as u32,
            salt: self.salt,
        }
    }

    /// Writes the packet of `header`, which begins with the RTP header, and `payload` to `out`,
    /// sealed. False, and nothing is to be sent: it is none of this run, or not newer than the one
    /// before, so that its keystream may have been used.
    ///
    /// # Panics
    /// If `out` is not as long as [`sealed_len`](Self::sealed_len) says.
    #[must_use]
    pub fn seal(&mut self, header: &[u8], payload: &[u8], out: &mut [u8]) -> bool {
        let Ok(packet) = Packet::parse_head(header) else {
            return false;
        };
        let index = self.index(packet.seq());
        if packet.ssrc() != self.ssrc || index == self.newest || index > MAX_INDEX {
            return false;
        }
        self.newest = index;
        out[..header.len()].copy_from_slice(header);
        out[header.len()..][..payload.len()].copy_from_slice(payload);
        let place = Place {
            ssrc: self.ssrc,
            index,
        };
        self.cipher.seal_rtp(place, packet.header_len(), out);
        true
    }

    /// The next index with this number.
    fn index(&self, seq: SeqNo) -> u64 {
        let steps = seq.0.wrapping_sub(self.newest as u16);
        self.newest.wrapping_add(steps.into())
    }
}

/// A frame's packets, sealed a burst at a time, in memory that is reused.
#[derive(Debug, Default)]
pub struct SealedFrame {
    bytes: Vec<u8>,
    /// Where each packet is: of [`SealedFrame::bytes`], without a header apart.
    plan: PacketPlan,
}

impl SealedFrame {
    /// Makes room for the packets of `plan`.
    pub fn begin(&mut self, sealer: &Sealer, plan: &PacketPlan) {
        let mut end = 0;
        self.plan.packets.clear();
        self.plan.packets.extend(plan.packets.iter().map(|packet| {
            let len = sealer.sealed_len(packet.len()) as u32;
            end += len;
            PlannedPacket {
                payload_start: end - len,
                payload_len: len,
                ..PlannedPacket::default()
            }
        }));
        (self.plan.ssrc, self.plan.first_seq, self.plan.time) =
            (plan.ssrc, plan.first_seq, plan.time);
        // Only grows: what a packet does not fill is never looked at.
        self.bytes.resize(self.bytes.len().max(end as usize), 0);
    }

    /// Seals some of the packets of `plan`, made for `data`: those behind the ones sealed last.
    /// False: see [`Sealer::seal`].
    ///
    /// # Panics
    /// If [`begin`](Self::begin) had another plan.
    #[must_use]
    pub fn seal(
        &mut self,
        sealer: &mut Sealer,
        plan: &PacketPlan,
        data: &[u8],
        burst: Range<usize>,
    ) -> bool {
        burst.into_iter().all(|i| {
            let (header, payload) = plan.parts(i, data);
            let PlannedPacket {
                payload_start: start,
                payload_len: len,
                ..
            } = self.plan.packets[i];
            let out = &mut self.bytes[start as usize..][..len as usize];
            sealer.seal(header, payload, out)
        })
    }

    /// The sealed packets' plan and the data that it was made for.
    pub fn sent(&self) -> (&PacketPlan, &[u8]) {
        let last = self.plan.packets.last();
        let end = last.map_or(0, |packet| packet.payload_start + packet.payload_len);
        (&self.plan, &self.bytes[..end as usize])
    }
}
