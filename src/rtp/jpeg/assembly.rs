//! One frame being put together, and handed out: each packet's part of the scan is written once, from
//! the datagram to its place (RFC 2435's fragment offset *is* the place). Which packets belong to which
//! frame, and when a frame is given up, is the depacketizer's business.

use std::mem::take;
use std::ops::Range;

use super::packetizer::MAX_PACKETS;
use super::wire::{Facts, Payload, Tables, size_in_blocks};
use crate::clock::{Mono, Ntp};
use crate::jpeg::Picture;
use crate::jpeg::rebuild::{self, EOI};
use crate::jpeg::recode::partial::{Concealer, Part};
use crate::rtp::header::Packet;
use crate::rtp::{RtpTime, SeqNo};

/// Room in front of the scan for the rebuilt JPEG header; a multiple of a cache line.
const HEADROOM: usize = rebuild::MAX_HEADER.next_multiple_of(64);
/// Buffers grow in steps of this many bytes.
const STEP: usize = 1 << 16;
/// Most bytes of headers that a packet may have.
const MAX_HEADER: usize = 1024;

/// A packet that the frame has, as repair needs it.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Extended sequence number.
    seq: u64,
    /// Place of its part of the scan.
    offset: u32,
    /// Length of its part of the scan.
    len: u32,
    /// Where its header bytes start in [`FrameBuffer::headers`].
    header_start: u32,
    /// How many they are.
    header_len: u32,
}

impl Record {
    fn end(&self) -> usize {
        self.offset as usize + self.len as usize
    }
}

/// A packet that has arrived or was rebuilt: `header` followed by `payload` is the datagram, but for
/// RTP padding.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedPacket<'a> {
    /// Its sequence number.
    pub seq: SeqNo,
    /// RTP and JPEG headers, byte for byte as they came.
    pub header: &'a [u8],
    /// Its part of the scan.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is in its place.
    New,
    /// The frame had it already.
    Duplicate,
    /// Its frame is older than all that are being put together.
    Late,
    /// It contradicts the frame's other packets, or asks for more memory than it should.
    Refused,
}

/// How a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Packets are missing.
    Open,
    /// All packets are there, since then.
    Whole(Mono),
    /// All packets are there and do not fit together.
    Broken,
}

/// A frame: its buffer, and what is known of it. Made, lent out and taken back by the depacketizer.
#[derive(Debug)]
pub struct FrameBuffer {
    /// [`HEADROOM`], the scan, room for [`EOI`].
    data: Vec<u8>,
    /// Where in `data` the JPEG lies, once it is finished.
    jpeg: Range<usize>,
    /// Length of the scan without EOI, once it is finished.
    scan_len: usize,
    present: Vec<Range<usize>>,
    width: u16,
    height: u16,

    time: RtpTime,
    facts: Facts,
    tables: Option<[u8; 128]>,
    size: Option<(u16, u16)>,
    captured: Option<Ntp>,
    /// Extended number of the packet at offset 0.
    first: Option<u64>,
    /// Extended number of the packet with the marker.
    last: Option<u64>,
    /// In order of their numbers.
    records: Vec<Record>,
    headers: Vec<u8>,
    /// Scan bytes that have arrived.
    arrived: usize,
    repaired: u32,
    first_arrival: Mono,
    last_arrival: Mono,
    state: State,
}

impl FrameBuffer {
    /// An empty buffer, without memory yet.
    pub(super) fn new() -> FrameBuffer {
        FrameBuffer {
            data: Vec::new(),
            jpeg: 0..0,
            scan_len: 0,
            present: Vec::new(),
            width: 0,
            height: 0,
            time: RtpTime(0),
            facts: Facts {
                sampling: crate::jpeg::Sampling::Yuv422,
                q: 0,
                width8: 0,
                height8: 0,
                restart_interval: 0,
            },
            tables: None,
            size: None,
            captured: None,
            first: None,
            last: None,
            records: Vec::new(),
            headers: Vec::new(),
            arrived: 0,
            repaired: 0,
            first_arrival: Mono(0),
            last_arrival: Mono(0),
            state: State::Open,
        }
    }

    /// Forgets all, keeps the memory.
    pub(super) fn reset(&mut self, now: Mono, time: RtpTime, facts: Facts) {
        self.present.clear();
        self.records.clear();
        self.headers.clear();
        *self = FrameBuffer {
            data: take(&mut self.data),
            present: take(&mut self.present),
            records: take(&mut self.records),
            headers: take(&mut self.headers),
            time,
            facts,
            first_arrival: now,
            last_arrival: now,
            ..FrameBuffer::new()
        };
    }

    /// The JPEG, from SOI to EOI, as one slice. Of a partial frame only [`FrameBuffer::present`] is
    /// picture data; the gaps are zero.
    pub fn jpeg(&self) -> &[u8] {
        &self.data[self.jpeg.clone()]
    }

    /// The frame's facts and its scan, without EOI.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            width: self.width,
            height: self.height,
            sampling: self.facts.sampling,
            restart_interval: self.facts.restart_interval,
            quant: self.tables.unwrap_or([1; 128]),
            scan: &self.data[HEADROOM..][..self.scan_len],
        }
    }

    /// Makes a partial frame a picture that can be shown: what came of it stays as it is, in place of the
    /// rest stands what `last` has there. It has no gaps then, but is still not
    /// [whole](FrameBuffer::is_whole). False, and nothing changed, if nothing of it can be shown over `last`.
    pub fn conceal(&mut self, last: &FrameBuffer, concealer: &mut Concealer) -> bool {
        let part = Part {
            picture: self.picture(),
            present: &self.present,
            has_end: self.has_end(),
        };
        let Some(scan) = concealer.conceal(&part, &last.picture()) else {
            return false;
        };
        self.grow(scan.len());
        self.data[HEADROOM..HEADROOM + scan.len()].copy_from_slice(scan);
        self.scan_len = scan.len();
        let end = HEADROOM + scan.len();
        self.data[end..end + EOI.len()].copy_from_slice(&EOI);
        self.jpeg.end = end + EOI.len();
        self.present.clear();
        self.present.push(0..scan.len());
        true
    }

    /// Bytes of [`FrameBuffer::jpeg`] in front of the scan.
    pub fn jpeg_header_len(&self) -> usize {
        HEADROOM - self.jpeg.start
    }

    /// Which parts of the scan (of [`Picture::scan`]) are there, in order; one that is all of it for a
    /// whole frame.
    pub fn present(&self) -> &[Range<usize>] {
        &self.present
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole(_))
    }

    /// Width in pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// RTP timestamp.
    pub fn time(&self) -> RtpTime {
        self.time
    }

    /// When the picture was taken, by the sender's wall clock, where the sender tells.
    pub fn captured(&self) -> Option<Ntp> {
        self.captured
    }

    /// When the first of its packets came.
    pub fn first_arrival(&self) -> Mono {
        self.first_arrival
    }

    /// When the last of its packets came.
    pub fn last_arrival(&self) -> Mono {
        self.last_arrival
    }

    /// Packets that it was sent in, as far as their numbers tell.
    pub fn packets(&self) -> u32 {
        (self.newest() + 1 - self.oldest()) as u32
    }

    /// Packets of it that did not come by themselves, repaired ones included.
    pub fn lost(&self) -> u32 {
        self.missing() + self.repaired
    }

    /// Packets of it that are not there.
    pub fn missing(&self) -> u32 {
        self.packets() - self.records.len() as u32
    }

    /// Packets of it that repair brought back.
    pub fn repaired(&self) -> u32 {
        self.repaired
    }

    /// The packets it has, in order: what repair builds its shards from.
    pub fn received(&self) -> impl Iterator<Item = ReceivedPacket<'_>> {
        self.records.iter().map(|r| {
            let place = HEADROOM + r.offset as usize;
            ReceivedPacket {
                seq: SeqNo(r.seq as u16),
                header: &self.headers[r.header_start as usize..][..r.header_len as usize],
                payload: &self.data[place..][..r.len as usize],
            }
        })
    }

    /// The extended numbers of the packets it has, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<'_> {
        self.records.iter().map(|r| r.seq)
    }

    /// How many packets it has.
    pub(super) fn received_count(&self) -> usize {
        self.records.len()
    }

    /// When it became whole.
    pub(super) fn whole_since(&self) -> Option<Mono> {
        match self.state {
            State::Whole(since) => Some(since),
            _ => None,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    pub(super) fn has_start(&self) -> bool {
        self.first.is_some()
    }

    pub(super) fn has_end(&self) -> bool {
        self.last.is_some()
    }

    /// Extended number of its oldest packet.
    pub(super) fn oldest(&self) -> u64 {
        self.records.first().map_or(0, |r| r.seq)
    }

    /// Extended number of its newest packet.
    pub(super) fn newest(&self) -> u64 {
        self.records.last().map_or(0, |r| r.seq)
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    pub(super) fn scan_len(&self) -> usize {
        self.scan_len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The tables that came with it, or were set.
    pub(super) fn tables(&self) -> Option<[u8; 128]> {
        self.tables
    }

    pub(super) fn set_tables(&mut self, tables: Option<[u8; 128]>) {
        self.tables = tables;
    }

    /// The true size that the first packet told, if it fits what the header says.
    pub(super) fn told_size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// Whether a packet with this number and timestamp is one of this frame.
    pub(super) fn takes(&self, ext: u64, time: RtpTime) -> bool {
        // The numbers tell frames apart for senders whose timestamps stand still.
        self.time == time
            && self.first.is_none_or(|first| ext >= first)
            && self.last.is_none_or(|last| ext <= last)
    }

    /// Writes a packet's part of the scan to its place. `limit`: how far the buffer may grow, however
    /// little has arrived; `max`: how far at all.
    pub(super) fn place(&mut self, p: &Arrived<'_>, limit: usize, max: usize) -> Placed {
        let offset = p.payload.offset as usize;
        let end = offset + p.payload.scan.len();
        let arrived = self.arrived + p.payload.scan.len();
        // A hostile offset must not make the buffer much larger than what has come.
        if end > max || end > limit.max(8 * arrived) || !self.agrees(p) {
            return Placed::Refused;
        }
        let index = match self.records.last() {
            Some(last) if p.ext <= last.seq => {
                match self.records.binary_search_by_key(&p.ext, |r| r.seq) {
                    Ok(_) => return Placed::Duplicate,
                    Err(index) => index,
                }
            }
            _ => self.records.len(),
        };
        let header = p.header();
        if self.records.len() >= MAX_PACKETS || header.len() > MAX_HEADER {
            return Placed::Refused;
        }
        self.records.insert(
            index,
            Record {
                seq: p.ext,
                offset: p.payload.offset,
                len: p.payload.scan.len() as u32,
                header_start: self.headers.len() as u32,
                header_len: header.len() as u32,
            },
        );
        self.headers.extend_from_slice(header);
        self.grow(end);
        let place = HEADROOM + offset;
        self.data[place..place + p.payload.scan.len()].copy_from_slice(p.payload.scan);
        self.arrived = arrived;
        self.repaired += u32::from(p.recovered);
        self.last_arrival = p.now;
        if offset == 0 && self.first.is_none_or(|first| p.ext < first) {
            self.start_with(p);
        }
        if p.packet.marker() {
            self.last = Some(p.ext);
        }
        self.check(p.now);
        Placed::New
    }

    /// Whether a packet says the same as those before it, and stands where it can.
    fn agrees(&self, p: &Arrived<'_>) -> bool {
        // One marker, and nothing behind it (`takes` sees to the latter).
        let marker = !p.packet.marker()
            || self.last.is_none_or(|last| last == p.ext) && p.ext >= self.newest();
        let near = self.records.is_empty()
            || p.ext
                .abs_diff(self.oldest())
                .max(p.ext.abs_diff(self.newest()))
                < MAX_PACKETS as u64;
        marker && near && self.facts == p.payload.facts
    }

    /// Takes what only a frame's first packet tells.
    fn start_with(&mut self, p: &Arrived<'_>) {
        self.first = Some(p.ext);
        if let Tables::Given(tables) = p.payload.tables {
            self.tables = Some(tables);
        }
        let size = p.packet.picture_size();
        self.size = size.filter(|&size| fits(&self.facts, size));
        // The extension's identifier means capture time in lancam's packets; the size marks them.
        if self.size.is_some() {
            self.captured = p.packet.captured();
        }
    }

    /// Sees whether all packets are there, and whether each goes on where the one before it ends.
    fn check(&mut self, now: Mono) {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return;
        };
        // Every number once, from `first` to `last`.
        if self.records.len() as u64 != (last + 1).wrapping_sub(first) {
            return;
        }
        let mut end = 0;
        for record in &self.records {
            if record.offset as usize != end {
                self.state = State::Broken;
                return;
            }
            end = record.end();
        }
        // An end marker alone is no picture.
        let scan = &self.data[HEADROOM..HEADROOM + end];
        self.state = match scan.strip_suffix(&EOI).unwrap_or(scan) {
            [] => State::Broken,
            _ => State::Whole(now),
        };
    }

    /// Makes a whole frame a JPEG.
    pub(super) fn finish(&mut self, size: (u16, u16), tables: [u8; 128]) {
        let end = self.records.last().map_or(0, Record::end);
        self.present.push(0..end);
        self.seal(end, size, tables);
    }

    /// Makes a frame with gaps a JPEG as far as it goes; false if its packets do not fit together, there
    /// are none, or nothing can be decoded without the start.
    pub(super) fn finish_partial(&mut self, size: (u16, u16), tables: [u8; 128]) -> bool {
        let mut end = 0;
        for record in &self.records {
            let offset = record.offset as usize;
            if offset < end {
                return false;
            }
            match self.present.last_mut() {
                Some(range) if range.end == offset => range.end = record.end(),
                _ => self.present.push(offset..record.end()),
            }
            // What an earlier frame left there is not this one's.
            self.data[HEADROOM + end..HEADROOM + offset].fill(0);
            end = record.end();
        }
        let has_start = self.present.first().is_some_and(|range| range.start == 0);
        if end == 0 || !has_start && self.facts.restart_interval == 0 {
            return false;
        }
        self.seal(end, size, tables);
        true
    }

    /// Writes the header before the scan and EOI behind it.
    fn seal(&mut self, end: usize, size: (u16, u16), tables: [u8; 128]) {
        (self.width, self.height) = size;
        self.tables = Some(tables);
        let scan = HEADROOM;
        // GStreamer sends EOI, ffmpeg does not.
        self.scan_len = match self.data[scan..scan + end].strip_suffix(&EOI) {
            Some(without) => without.len(),
            None => end,
        };
        if let Some(range) = self.present.last_mut() {
            range.end = range.end.min(self.scan_len);
        }
        self.present.retain(|range| range.start < range.end);
        let end = scan + self.scan_len;
        self.data[end..end + EOI.len()].copy_from_slice(&EOI);
        let start = rebuild::write_header_before(
            &mut self.data,
            scan,
            size.0,
            size.1,
            self.facts.sampling,
            self.facts.restart_interval,
            &tables,
        );
        self.jpeg = start..end + EOI.len();
    }

    /// Makes room for a scan of `end` bytes.
    fn grow(&mut self, end: usize) {
        let need = HEADROOM + end + EOI.len();
        if self.data.len() < need {
            self.data.resize(need.next_multiple_of(STEP), 0);
        }
    }
}

/// Whether a true size can be that of a frame with these facts.
pub(super) fn fits(facts: &Facts, size: (u16, u16)) -> bool {
    let unsaid = facts.width8 == 0 || facts.height8 == 0;
    unsaid || size_in_blocks(size) == (facts.width8, facts.height8)
}

/// A packet on its way to its frame.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) now: Mono,
    pub(super) ext: u64,
    pub(super) packet: Packet<'a>,
    pub(super) payload: Payload<'a>,
    pub(super) datagram: &'a [u8],
    /// Whether repair made it.
    pub(super) recovered: bool,
}

impl<'a> Arrived<'a> {
    /// All bytes before its part of the scan.
    fn header(&self) -> &'a [u8] {
        let jpeg_headers = self.packet.payload().len() - self.payload.scan.len();
        &self.datagram[..self.packet.header_len() + jpeg_headers]
    }
}
