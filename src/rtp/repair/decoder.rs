//! Gives missing packets back to the depacketizer, the moment enough of their frame is there.
//!
//! # Memory
//! Parity of at most 4 frames and 8 MiB in all waits for its frame; packets of the frame itself are the
//! depacketizer's and are not kept twice. Reed-Solomon works in at most 32 MiB (6 MiB for a frame of 2,000
//! Ethernet packets, under 1 MiB for one of 150 KB), whatever a header claims.

use std::sync::Arc;

use reed_solomon_simd::{Error, ReedSolomonDecoder};

use super::encoder::fill_shard;
use super::wire::{LENGTH_LEN, RepairHeader, packet_again};
use crate::clock::Mono;
use crate::rtp::header::Packet;
use crate::rtp::{Depacketizer, RtpTime, SeqNo, Ssrc};
use crate::stats::ViewerStats;

/// Frames whose parity waits at a time: as many as the depacketizer puts together.
const MAX_GROUPS: usize = 4;
/// Bytes of all parity that waits.
const MAX_BYTES: usize = 8 << 20;
/// A buffer larger than this is not kept for the next frame.
const MAX_KEPT: usize = 1 << 20;

/// The parity of one frame.
#[derive(Debug, Default)]
struct Group {
    /// As the first of its packets said; the index means nothing.
    header: Option<RepairHeader>,
    indices: Vec<u16>,
    /// The shards of `indices`, one after the other.
    shards: Vec<u8>,
    /// When the last of them came.
    heard: Mono,
    /// The frame is complete, or its parity has lied.
    is_done: bool,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing of the sender that is followed.
    Nothing,
    /// Parity.
    Parity,
    /// This packet, again.
    Again(SeqNo),
}

/// What repair has of a frame that it cannot repair yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Number of the frame's first packet.
    pub first: SeqNo,
    /// Packets of the frame.
    pub packets: usize,
    /// Parity packets that have come.
    pub parity: usize,
    /// When the last of these came.
    pub heard: Mono,
}

impl Group {
    fn begin(&mut self, header: RepairHeader) {
        self.clear();
        self.header = Some(header);
        self.is_done = false;
    }

    /// Forgets the shards.
    fn clear(&mut self) {
        self.indices.clear();
        self.shards.clear();
        if self.shards.capacity() > MAX_KEPT {
            self.shards = Vec::new();
        }
    }

    fn finish(&mut self) {
        self.clear();
        self.is_done = true;
    }

    /// Whether it is of the same frame.
    fn is_of(&self, other: RepairHeader) -> bool {
        self.header
            .is_some_and(|h| (h.ssrc, h.first, h.time) == (other.ssrc, other.first, other.time))
    }

    /// Whether its frame was handed out or given up, or is of a sender that is followed no more.
    fn is_over(&self, frames: &Depacketizer) -> bool {
        self.header.is_none_or(|h| {
            frames.ssrc() != Some(h.ssrc) || frames.is_over(h.ssrc, h.first, h.time)
        })
    }
}

/// A frame's parity does not fit its packets.
struct Lie;

impl From<Error> for Lie {
    fn from(_: Error) -> Lie {
        Lie
    }
}

/// Takes repair datagrams and puts what they bring back into a [`Depacketizer`].
pub struct RepairDecoder {
    stats: Arc<ViewerStats>,
    /// Oldest first.
    groups: Vec<Group>,
    codec: Option<ReedSolomonDecoder>,
    shard: Vec<u8>,
}

impl RepairDecoder {
    /// Waits for its first packet; bumps `stats`.
    pub fn new(stats: Arc<ViewerStats>) -> RepairDecoder {
        RepairDecoder {
            stats,
            groups: Vec::with_capacity(MAX_GROUPS),
            codec: None,
            shard: Vec::new(),
        }
    }

    /// Takes a datagram from the repair port. Poll `frames` afterwards.
    pub fn push(&mut self, now: Mono, datagram: &[u8], frames: &mut Depacketizer) -> Heard {
        self.stats.bytes_received.add(datagram.len() as u64);
        let heard = match packet_again(datagram) {
            Some(packet) => self.again(now, packet, frames),
            None => self.parity(now, datagram, frames),
        };
        match heard {
            Heard::Nothing => self.stats.packets_invalid.add(1),
            _ => self.stats.repair_packets_received.add(1),
        }
        heard
    }

    /// A packet that was sent again.
    fn again(&mut self, now: Mono, datagram: &[u8], frames: &mut Depacketizer) -> Heard {
        let packet = Packet::parse(datagram).ok();
        let Some(packet) = packet.filter(|p| Some(p.ssrc()) == frames.ssrc()) else {
            return Heard::Nothing;
        };
        frames.insert_recovered(now, datagram);
        self.packets_came(now, frames);
        Heard::Again(packet.seq())
    }

    fn parity(&mut self, now: Mono, datagram: &[u8], frames: &mut Depacketizer) -> Heard {
        let parsed = RepairHeader::parse(datagram).ok();
        let Some((header, shard)) = parsed.filter(|(h, _)| Some(h.ssrc) == frames.ssrc()) else {
            return Heard::Nothing;
        };
        // The usual case on a good network: the frame was whole before its parity came.
        if frames.is_over(header.ssrc, header.first, header.time) {
            return Heard::Parity;
        }
        let group = self.group(header, frames);
        if !self.groups[group].is_done && self.keep(group, header, shard) {
            self.groups[group].heard = now;
            self.try_repair(group, now, frames);
        }
        Heard::Parity
    }

    /// What waits for the rest of a frame that is still incomplete.
    pub fn standing(&self, ssrc: Ssrc, time: RtpTime) -> Option<Standing> {
        let groups = self.groups.iter().filter(|g| !g.is_done);
        groups.into_iter().find_map(|group| {
            let header = group.header.filter(|h| (h.ssrc, h.time) == (ssrc, time))?;
            Some(Standing {
                first: header.first,
                packets: header.packets.into(),
                parity: group.indices.len(),
                heard: group.heard,
            })
        })
    }

    /// Packets of frames have come: repairs those that have enough now. Call it after
    /// [`Depacketizer::push`] and before [`Depacketizer::poll`]; costs nothing where no parity waits.
    pub fn packets_came(&mut self, now: Mono, frames: &mut Depacketizer) {
        for group in 0..self.groups.len() {
            if !self.groups[group].indices.is_empty() {
                self.try_repair(group, now, frames);
            }
        }
    }

    /// Frames whose parity waits, and its bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.groups.iter().filter(|g| !g.shards.is_empty());
        (
            waiting.clone().count(),
            waiting.map(|g| g.shards.len()).sum(),
        )
    }

    /// The group of a frame, which may be new.
    fn group(&mut self, header: RepairHeader, frames: &Depacketizer) -> usize {
        if let Some(found) = self.groups.iter().position(|g| g.is_of(header)) {
            return found;
        }
        let over = self.groups.iter().position(|g| g.is_over(frames));
        let mut group = match over {
            Some(over) => self.groups.remove(over),
            None if self.groups.len() < MAX_GROUPS => Group::default(),
            None => self.evict(0),
        };
        group.begin(header);
        self.groups.push(group);
        self.groups.len() - 1
    }

    /// Takes a group out whose frame is not over, and perhaps never was.
    fn evict(&mut self, group: usize) -> Group {
        let group = self.groups.remove(group);
        self.stats.packets_invalid.add(group.indices.len() as u64);
        group
    }

    /// Keeps a shard; false if it contradicts the others, came before, or there is no room.
    fn keep(&mut self, group: usize, header: RepairHeader, shard: &[u8]) -> bool {
        let said = self.groups[group].header.map(|h| RepairHeader {
            index: header.index,
            ..h
        });
        let waiting: usize = self.groups.iter().map(|g| g.shards.len()).sum();
        if said != Some(header) || waiting + shard.len() > MAX_BYTES {
            self.stats.packets_invalid.add(1);
            return false;
        }
        let group = &mut self.groups[group];
        if group.indices.contains(&header.index) {
            return false;
        }
        group.indices.push(header.index);
        group.shards.extend_from_slice(shard);
        true
    }

    /// Repairs a frame if any k of its packets are there.
    fn try_repair(&mut self, group: usize, now: Mono, frames: &mut Depacketizer) {
        let Some(header) = self.groups[group].header else {
            return;
        };
        let wanted = usize::from(header.packets);
        let have = frames.received_count(header.ssrc, header.time);
        if have >= wanted {
            self.groups[group].finish();
            return;
        }
        if have + self.groups[group].indices.len() < wanted {
            return;
        }
        if self.repair(group, header, now, frames).is_err() {
            self.stats.packets_invalid.add(1);
        }
        // Once and no more: a frame that lies must not cost a decoding for each of its packets.
        self.groups[group].finish();
    }

    fn repair(
        &mut self,
        group: usize,
        header: RepairHeader,
        now: Mono,
        frames: &mut Depacketizer,
    ) -> Result<(), Lie> {
        let (k, r) = (usize::from(header.packets), usize::from(header.parity));
        let len = usize::from(header.shard_len);
        let codec = match &mut self.codec {
            Some(codec) => {
                codec.reset(k, r, len)?;
                codec
            }
            none => none.insert(ReedSolomonDecoder::new(k, r, len)?),
        };
        for packet in frames.received(header.ssrc, header.time) {
            let index = usize::try_from(packet.seq.distance(header.first)).map_err(|_| Lie)?;
            if LENGTH_LEN + packet.header.len() + packet.payload.len() > len {
                return Err(Lie);
            }
            fill_shard(&mut self.shard, len, packet.header, packet.payload);
            codec.add_original_shard(index, &self.shard)?;
        }
        let group = &self.groups[group];
        for (index, shard) in group.indices.iter().zip(group.shards.chunks_exact(len)) {
            codec.add_recovery_shard(usize::from(*index), shard)?;
        }
        for (index, shard) in codec.decode()?.restored_original_iter() {
            let packet = packet_of(shard).ok_or(Lie)?;
            // An index is below 2,048.
            is_of_frame(packet, header, header.first.plus(index as u16))?;
            frames.insert_recovered(now, packet);
        }
        Ok(())
    }
}

/// The packet in a shard.
fn packet_of(shard: &[u8]) -> Option<&[u8]> {
    let (len, rest) = shard.split_first_chunk::<LENGTH_LEN>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Made-up parity makes noise, which is no packet of this frame.
fn is_of_frame(packet: &[u8], header: RepairHeader, seq: SeqNo) -> Result<(), Lie> {
    let packet = Packet::parse(packet).map_err(|_| Lie)?;
    let is = (packet.ssrc(), packet.time(), packet.seq());
    match is == (header.ssrc, header.time, seq) {
        true => Ok(()),
        false => Err(Lie),
    }
}
