//! Rebuilds missing packets for the depacketizer as soon as enough of their frame has arrived.
//!
//! # Memory
//! At most 8 MiB of parity, of at most 4 frames, waits for its frame; the frame's own packets stay
//! with the depacketizer and are not stored twice. Reed-Solomon works in at most 32 MiB (6 MiB for
//! a frame of 2,000 Ethernet packets, under 1 MiB for one of 150 KB), whatever a header claims.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reed_solomon_simd::{Error, ReedSolomonDecoder};

use super::encoder::fill_shard;
use super::wire::{LENGTH_LEN, RepairHeader, retransmitted};
use crate::clock::Mono;
use crate::rtp::depacketizer::Depacketizer;
use crate::rtp::header::Packet;
use crate::rtp::stats::ViewerStats;
use crate::rtp::types::{RtpTime, SeqNo, Ssrc};

/// Frames whose parity waits at a time: as many as the depacketizer puts together.
const MAX_BLOCKS: usize = 4;
/// Bytes of all parity that waits.
const MAX_BYTES: usize = 8 << 20;
/// After parity that did not fit its frame nothing is decoded for this long: forged parity must not
/// cost a decoding per datagram.
const PAUSE: Duration = Duration::from_millis(5);
/// A buffer larger than this is not kept for the next frame.
const MAX_KEPT: usize = 1 << 20;

/// An FEC block (RFC 6363): the parity of one frame.
#[derive(Debug, Default)]
struct Block {
    /// As the first of its packets said; the index means nothing.
    header: Option<RepairHeader>,
    indices: Vec<u16>,
    /// The shards of `indices`, one after the other.
    shards: Vec<u8>,
    /// When the last of them came.
    last_arrival: Mono,
    /// The frame is complete, or its parity does not fit it.
    is_done: bool,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairPacket {
    /// Not from the source that is followed.
    Invalid,
    /// Parity.
    Parity,
    /// This packet, retransmitted.
    Retransmission(SeqNo),
}

/// What repair knows of a frame that it cannot repair yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingRepair {
    /// Sequence number of the frame's first packet.
    pub first: SeqNo,
    /// Packets of the frame.
    pub packets: usize,
    /// Parity packets that have arrived.
    pub parity: usize,
    /// When the last of these came.
    pub last_arrival: Mono,
}

impl Block {
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

    /// Whether it belongs to the same frame.
    fn is_of(&self, other: RepairHeader) -> bool {
        self.header
            .is_some_and(|h| (h.ssrc, h.first, h.time) == (other.ssrc, other.first, other.time))
    }

    /// Whether its frame was handed out or given up, or belongs to a source no longer followed.
    fn is_over(&self, frames: &Depacketizer) -> bool {
        self.header.is_none_or(|h| {
            frames.ssrc() != Some(h.ssrc) || frames.is_over(h.ssrc, h.first, h.time)
        })
    }
}

/// A frame's parity does not fit its packets.
struct Mismatch;

impl From<Error> for Mismatch {
    fn from(_: Error) -> Mismatch {
        Mismatch
    }
}

/// Takes repair datagrams and gives the packets they recover to a [`Depacketizer`].
pub struct RepairDecoder {
    stats: Arc<ViewerStats>,
    /// Oldest first.
    blocks: Vec<Block>,
    codec: Option<ReedSolomonDecoder>,
    shard: Vec<u8>,
    paused_until: Mono,
    #[cfg(test)]
    decoded: u32,
}

impl RepairDecoder {
    /// Waits for its first packet; bumps `stats`.
    pub fn new(stats: Arc<ViewerStats>) -> RepairDecoder {
        RepairDecoder {
            stats,
            blocks: Vec::with_capacity(MAX_BLOCKS),
            codec: None,
            shard: Vec::new(),
            paused_until: Mono(0),
            #[cfg(test)]
            decoded: 0,
        }
    }

    /// Takes a datagram that came from `address` to the repair port. Poll `frames` afterwards.
    pub fn push(
        &mut self,
        now: Mono,
        address: IpAddr,
        datagram: &[u8],
        frames: &mut Depacketizer,
    ) -> RepairPacket {
        self.stats.bytes_received.add(datagram.len() as u64);
        if frames.address().is_some_and(|source| source != address) {
            self.stats.packets_foreign.add(1);
            return RepairPacket::Invalid;
        }
        let kind = match retransmitted(datagram) {
            Some(packet) => self.retransmission(now, packet, frames),
            None => self.parity(now, datagram, frames),
        };
        match kind {
            RepairPacket::Invalid => self.stats.packets_invalid.add(1),
            _ => self.stats.repair_packets_received.add(1),
        }
        kind
    }

    fn retransmission(
        &mut self,
        now: Mono,
        datagram: &[u8],
        frames: &mut Depacketizer,
    ) -> RepairPacket {
        let packet = Packet::parse(datagram).ok();
        let Some(packet) = packet.filter(|p| Some(p.ssrc()) == frames.ssrc()) else {
            return RepairPacket::Invalid;
        };
        frames.insert_recovered(now, datagram);
        self.packets_came(now, frames);
        RepairPacket::Retransmission(packet.seq())
    }

    fn parity(&mut self, now: Mono, datagram: &[u8], frames: &mut Depacketizer) -> RepairPacket {
        let parsed = RepairHeader::parse(datagram).ok();
        let Some((header, shard)) = parsed.filter(|(h, _)| Some(h.ssrc) == frames.ssrc()) else {
            return RepairPacket::Invalid;
        };
        // The usual case on a good network: the frame was whole before its parity came.
        if frames.is_over(header.ssrc, header.first, header.time) {
            return RepairPacket::Parity;
        }
        // Of no frame that can be put together now.
        if !frames.continues(header.first, header.time) {
            return RepairPacket::Invalid;
        }
        let block = self.block(header, frames);
        if !self.blocks[block].is_done && self.keep(block, header, shard) {
            self.blocks[block].last_arrival = now;
            self.try_repair(block, now, frames);
        }
        RepairPacket::Parity
    }

    /// What waits for the rest of a frame that is still incomplete.
    pub fn pending(&self, ssrc: Ssrc, time: RtpTime) -> Option<PendingRepair> {
        let blocks = self.blocks.iter().filter(|b| !b.is_done);
        blocks.into_iter().find_map(|block| {
            let header = block.header.filter(|h| (h.ssrc, h.time) == (ssrc, time))?;
            Some(PendingRepair {
                first: header.first,
                packets: header.packets.into(),
                parity: block.indices.len(),
                last_arrival: block.last_arrival,
            })
        })
    }

    /// Packets of frames have come: repairs those that have enough now. Call it after
    /// [`Depacketizer::push`] and before [`Depacketizer::poll`]; costs nothing where no parity
    /// waits.
    pub fn packets_came(&mut self, now: Mono, frames: &mut Depacketizer) {
        for block in 0..self.blocks.len() {
            if !self.blocks[block].indices.is_empty() {
                self.try_repair(block, now, frames);
            }
        }
    }

    /// Frames that were decoded, or tried to.
    #[cfg(test)]
    pub(super) fn decoded(&self) -> u32 {
        self.decoded
    }

    /// Frames whose parity waits, and its bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.blocks.iter().filter(|b| !b.shards.is_empty());
        (
            waiting.clone().count(),
            waiting.map(|b| b.shards.len()).sum(),
        )
    }

    /// The block of a frame, which may be new.
    fn block(&mut self, header: RepairHeader, frames: &Depacketizer) -> usize {
        if let Some(found) = self.blocks.iter().position(|b| b.is_of(header)) {
            return found;
        }
        let over = self.blocks.iter().position(|b| b.is_over(frames));
        let mut block = match over {
            Some(over) => self.blocks.remove(over),
            None if self.blocks.len() < MAX_BLOCKS => Block::default(),
            None => self.evict(0),
        };
        block.begin(header);
        self.blocks.push(block);
        self.blocks.len() - 1
    }

    /// Takes a block out whose frame is not over, and perhaps never was.
    fn evict(&mut self, block: usize) -> Block {
        let block = self.blocks.remove(block);
        self.stats.packets_invalid.add(block.indices.len() as u64);
        block
    }

    /// Keeps a shard; false if it contradicts the others, came before, or there is no room.
    fn keep(&mut self, block: usize, header: RepairHeader, shard: &[u8]) -> bool {
        let said = self.blocks[block].header.map(|h| RepairHeader {
            index: header.index,
            ..h
        });
        let waiting: usize = self.blocks.iter().map(|b| b.shards.len()).sum();
        if said != Some(header) || waiting + shard.len() > MAX_BYTES {
            self.stats.packets_invalid.add(1);
            return false;
        }
        let block = &mut self.blocks[block];
        if block.indices.contains(&header.index) {
            return false;
        }
        block.indices.push(header.index);
        block.shards.extend_from_slice(shard);
        true
    }

    /// Repairs a frame if any k of its packets are there.
    fn try_repair(&mut self, block: usize, now: Mono, frames: &mut Depacketizer) {
        let Some(header) = self.blocks[block].header else {
            return;
        };
        let wanted = usize::from(header.packets);
        let have = frames.received_count(header.ssrc, header.time);
        if have >= wanted {
            self.blocks[block].finish();
            return;
        }
        if have + self.blocks[block].indices.len() < wanted {
            return;
        }
        let fits = (frames.received(header.ssrc, header.time)).all(|p| header.has(p.seq));
        if !fits {
            self.stats.packets_invalid.add(1);
        } else if now >= self.paused_until && self.repair(block, header, now, frames).is_err() {
            self.stats.packets_invalid.add(1);
            self.paused_until = now + PAUSE;
        }
        // Once and no more: parity that does not fit must not cost a decoding for each of its
        // packets.
        self.blocks[block].finish();
    }

    fn repair(
        &mut self,
        block: usize,
        header: RepairHeader,
        now: Mono,
        frames: &mut Depacketizer,
    ) -> Result<(), Mismatch> {
        #[cfg(test)]
        {
            self.decoded += 1;
        }
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
            let index = usize::try_from(packet.seq.distance(header.first)).map_err(|_| Mismatch)?;
            if LENGTH_LEN + packet.header.len() + packet.payload.len() > len {
                return Err(Mismatch);
            }
            fill_shard(&mut self.shard, len, packet.header, packet.payload);
            codec.add_original_shard(index, &self.shard)?;
        }
        let block = &self.blocks[block];
        for (index, shard) in block.indices.iter().zip(block.shards.chunks_exact(len)) {
            codec.add_recovery_shard(usize::from(*index), shard)?;
        }
        for (index, shard) in codec.decode()?.restored_original_iter() {
            let packet = packet_of(shard).ok_or(Mismatch)?;
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
fn is_of_frame(packet: &[u8], header: RepairHeader, seq: SeqNo) -> Result<(), Mismatch> {
    let packet = Packet::parse(packet).map_err(|_| Mismatch)?;
    let is = (packet.ssrc(), packet.time(), packet.seq());
    match is == (header.ssrc, header.time, seq) {
        true => Ok(()),
        false => Err(Mismatch),
    }
}
