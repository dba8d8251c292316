//! One JPEG being assembled, and handed out: each packet's part of the scan is written once, from
//! the datagram to its place (RFC 2435's fragment offset *is* the place).

use std::mem::take;
use std::ops::Range;

use super::wire::{FrameHeader, Payload, Tables, size_in_blocks};
use crate::clock::{Mono, Ntp};
use crate::jpeg::rebuild::{self, EOI};
use crate::jpeg::recode::partial::{Concealer, Part as PartialPicture};
use crate::jpeg::tables::quant_for_q;
use crate::jpeg::{Picture, Sampling};
use crate::rtp::packets::{Arrived, Limits, Outcome, Packets, Part, Placed, ReceivedPacket};
use crate::rtp::types::RtpTime;

/// Room before the scan for the rebuilt JPEG header; a multiple of a cache line.
const HEADROOM: usize = rebuild::MAX_HEADER.next_multiple_of(64);
/// Buffers grow in steps of this many bytes.
const STEP: usize = 1 << 16;

/// A JPEG and its buffer. Made, lent out and taken back by the depacketizer.
#[derive(Debug)]
pub struct FrameBuffer {
    packets: Packets,
    /// [`HEADROOM`], the scan, room for [`EOI`].
    data: Vec<u8>,
    /// Where in `data` the JPEG lies, once it is finished.
    jpeg: Range<usize>,
    /// Length of the scan without EOI, once it is finished.
    scan_len: usize,
    present: Vec<Range<usize>>,
    width: u16,
    height: u16,
    header: FrameHeader,
    tables: Option<[u8; 128]>,
    size: Option<(u16, u16)>,
    captured: Option<Ntp>,
}

impl Default for FrameBuffer {
    /// An empty buffer, without memory yet.
    fn default() -> FrameBuffer {
        FrameBuffer {
            packets: Packets::default(),
            data: Vec::new(),
            jpeg: 0..0,
            scan_len: 0,
            present: Vec::new(),
            width: 0,
            height: 0,
            header: FrameHeader {
                sampling: Sampling::Yuv422,
                q: 0,
                width8: 0,
                height8: 0,
                restart_interval: 0,
            },
            tables: None,
            size: None,
            captured: None,
        }
    }
}

impl FrameBuffer {
    /// Forgets all, keeps the memory.
    pub(in crate::rtp) fn reset(&mut self, now: Mono, time: RtpTime, header: FrameHeader) {
        self.packets.reset(now, time);
        self.present.clear();
        *self = FrameBuffer {
            packets: take(&mut self.packets),
            data: take(&mut self.data),
            present: take(&mut self.present),
            header,
            ..FrameBuffer::default()
        };
    }

    /// The JPEG, from SOI to EOI, as one slice. Of a partial frame only [`FrameBuffer::present`] is
    /// picture data; the gaps are zero.
    pub fn jpeg(&self) -> &[u8] {
        &self.data[self.jpeg.clone()]
    }

    /// The frame's header and its scan, without EOI.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            width: self.width,
            height: self.height,
            sampling: self.header.sampling,
            restart_interval: self.header.restart_interval,
            quant: self.tables.unwrap_or([1; 128]),
            scan: &self.data[HEADROOM..][..self.scan_len],
        }
    }

    /// Makes a partial frame a picture that can be shown: what arrived stays as it is, and the rest
    /// comes from `last`. It has no gaps then, but is still not [whole](FrameBuffer::is_whole).
    /// False, and nothing changed, if nothing of it can be shown over `last`.
    pub fn conceal(&mut self, last: &FrameBuffer, concealer: &mut Concealer) -> bool {
        let part = PartialPicture {
            picture: self.picture(),
            present: &self.present,
            has_end: self.packets.has_end(),
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

    /// Which parts of the scan (of [`Picture::scan`]) are present, in order; for a whole frame one
    /// part that is all of it.
    pub fn present(&self) -> &[Range<usize>] {
        &self.present
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.packets.whole_since().is_some()
    }

    /// Width in pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// No other frame of this process has the same number; later ones have larger numbers.
    pub fn number(&self) -> u64 {
        self.packets.number()
    }

    /// All frames that begin from now on have this number or larger ones.
    pub fn next_number() -> u64 {
        Packets::next_number()
    }

    /// RTP timestamp.
    pub fn time(&self) -> RtpTime {
        self.packets.time()
    }

    /// When the picture was taken, by the sender's wall clock, if the sender says.
    pub fn captured(&self) -> Option<Ntp> {
        self.captured
    }

    /// When the first of its packets came.
    pub fn first_arrival(&self) -> Mono {
        self.packets.first_arrival()
    }

    /// When the last of its packets came.
    pub fn last_arrival(&self) -> Mono {
        self.packets.last_arrival()
    }

    /// Packets that it was sent in, as far as sequence numbers show.
    pub fn packets(&self) -> u32 {
        self.packets.sent()
    }

    /// Packets of it that are missing.
    pub fn missing(&self) -> u32 {
        self.packets.missing()
    }

    /// Packets of it that repair or retransmission recovered.
    pub fn repaired(&self) -> u32 {
        self.packets.recovered()
    }

    pub(in crate::rtp) fn received_packets(&self) -> &Packets {
        &self.packets
    }

    /// The packets it has, in order: what repair builds its shards from.
    pub(in crate::rtp) fn received(&self) -> impl Iterator<Item = ReceivedPacket<'_>> {
        let scan = self.data.get(HEADROOM..).unwrap_or_default();
        self.packets.received(scan)
    }

    /// Writes a packet's part of the scan to its place.
    fn place(&mut self, p: &Arrived<'_>, payload: &Payload<'_>, limits: Limits) -> Placed {
        let part = Part {
            offset: payload.offset as usize,
            len: payload.scan.len(),
            is_start: payload.offset == 0,
        };
        if payload.header != self.header {
            return Placed::Refused;
        }
        let placed = self.packets.insert(p, &part, limits);
        if placed != Placed::New {
            return placed;
        }
        self.grow(part.end());
        let place = HEADROOM + part.offset;
        self.data[place..place + part.len].copy_from_slice(payload.scan);
        if self.packets.first() == Some(p.ext) {
            self.start_with(p, payload);
        }
        placed
    }

    /// Reads what only a frame's first packet has.
    fn start_with(&mut self, p: &Arrived<'_>, payload: &Payload<'_>) {
        if let Tables::Given(tables) = payload.tables {
            self.tables = Some(tables);
        }
        let size = p.packet.picture_size();
        self.size = size.filter(|&size| fits(&self.header, size));
        // The extension's identifier means capture time in lancam's packets; the size marks them.
        if self.size.is_some() {
            self.captured = p.packet.captured();
        }
    }

    /// Makes a JPEG of a frame whose packets are all there; false if its scan is empty.
    fn finish(&mut self, size: (u16, u16), tables: [u8; 128]) -> bool {
        let end = self.packets.data_end();
        self.present.push(0..end);
        self.seal(end, size, tables);
        // An end marker alone is not a picture.
        self.scan_len > 0
    }

    /// Makes what it can of a frame with gaps a JPEG; false if its packets do not fit together,
    /// there are none, or nothing can be decoded without the start.
    fn finish_partial(&mut self, size: (u16, u16), tables: [u8; 128]) -> bool {
        let mut end = 0;
        for part in self.packets.parts() {
            if part.start < end {
                return false;
            }
            // An earlier frame's data must not show in the gaps.
            self.data[HEADROOM + end..HEADROOM + part.start].fill(0);
            end = part.end;
            match self.present.last_mut() {
                Some(range) if range.end == part.start => range.end = part.end,
                _ => self.present.push(part),
            }
        }
        let has_start = self.present.first().is_some_and(|range| range.start == 0);
        if end == 0 || !has_start && self.header.restart_interval == 0 {
            return false;
        }
        self.seal(end, size, tables);
        true
    }

    /// Writes the header before the scan and EOI after it.
    fn seal(&mut self, end: usize, size: (u16, u16), tables: [u8; 128]) {
        (self.width, self.height) = size;
        self.tables = Some(tables);
        let scan = HEADROOM;
        // RFC 2435 §3.1.9 leaves EOI to the sender.
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
            self.header.sampling,
            self.header.restart_interval,
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

/// What a source's frames have said that applies to later ones.
#[derive(Debug)]
pub(in crate::rtp) struct Stream {
    /// True size by the SDP.
    described: Option<(u16, u16)>,
    /// The latest true size sent in-band.
    told: Option<(u16, u16)>,
    /// Tables by Q, 128 to 254. RFC 2435 §3.1.8.
    tables: Vec<(u8, [u8; 128])>,
}

impl Stream {
    /// Nothing said yet; `size`: from the SDP.
    pub(in crate::rtp) fn new(size: Option<(u16, u16)>) -> Stream {
        Stream {
            described: size,
            told: None,
            tables: Vec::new(),
        }
    }

    /// Takes another true size by the SDP.
    pub(in crate::rtp) fn describe(&mut self, size: Option<(u16, u16)>) {
        self.described = size;
    }

    /// Forgets everything but the SDP.
    pub(in crate::rtp) fn forget(&mut self) {
        *self = Stream::new(self.described);
    }

    /// Writes a packet's part of the scan to its place.
    pub(in crate::rtp) fn place(
        &mut self,
        frame: &mut FrameBuffer,
        p: &Arrived<'_>,
        payload: &Payload<'_>,
        limits: Limits,
    ) -> Placed {
        let placed = frame.place(p, payload, limits);
        if placed == Placed::New {
            match &payload.tables {
                Tables::Absent => {}
                Tables::AsBefore => frame.tables = self.tables_for(payload.header.q),
                Tables::Given(tables) => self.keep_tables(payload.header.q, tables),
            }
            self.told = frame.size.or(self.told);
        }
        placed
    }

    /// What is known of a frame while it arrives: its scan is what has come of it up to the first
    /// gap. `None`: not enough to decode it.
    pub(in crate::rtp) fn arriving<'a>(&self, frame: &'a mut FrameBuffer) -> Option<Picture<'a>> {
        let len = frame.packets.contiguous();
        if len == 0 {
            return None;
        }
        let (width, height) = self.size_of(frame)?;
        Some(Picture {
            width,
            height,
            sampling: frame.header.sampling,
            restart_interval: frame.header.restart_interval,
            quant: tables_of(frame)?,
            scan: &frame.data[HEADROOM..][..len],
        })
    }

    /// Makes a frame a JPEG, whole or, if it may be, with gaps.
    pub(in crate::rtp) fn finish(&self, frame: &mut FrameBuffer, may_be_partial: bool) -> Outcome {
        let (Some(size), Some(tables)) = (self.size_of(frame), tables_of(frame)) else {
            return Outcome::Nothing;
        };
        match frame.is_whole() {
            true if frame.finish(size, tables) => Outcome::Whole,
            false if may_be_partial && frame.finish_partial(size, tables) => Outcome::Partial,
            _ => Outcome::Nothing,
        }
    }

    /// The frame's true size: as its first packet says, else as the source said last or the SDP
    /// says, if that fits the header; else the header's, which is rounded up to 8.
    fn size_of(&self, frame: &FrameBuffer) -> Option<(u16, u16)> {
        let header = &frame.header;
        let rounded = (u16::from(header.width8) * 8, u16::from(header.height8) * 8);
        [frame.size, self.told, self.described, Some(rounded)]
            .into_iter()
            .flatten()
            .find(|&size| size.0 > 0 && size.1 > 0 && fits(header, size))
    }

    fn tables_for(&self, q: u8) -> Option<[u8; 128]> {
        let (_, tables) = self.tables.iter().find(|(key, _)| *key == q)?;
        Some(*tables)
    }

    fn keep_tables(&mut self, q: u8, tables: &[u8; 128]) {
        if !(128..255).contains(&q) {
            return;
        }
        match self.tables.iter_mut().find(|(key, _)| *key == q) {
            Some((_, kept)) => *kept = *tables,
            None => self.tables.push((q, *tables)),
        }
    }
}

/// The frame's quantisation tables. RFC 2435 §3.1.4: Q below 128 computes them.
fn tables_of(frame: &FrameBuffer) -> Option<[u8; 128]> {
    match frame.header.q {
        q @ 1..=99 => quant_for_q(q),
        _ => frame.tables,
    }
}

/// Whether a true size can be that of a frame with this header.
fn fits(header: &FrameHeader, size: (u16, u16)) -> bool {
    let unsaid = header.width8 == 0 || header.height8 == 0;
    unsaid || size_in_blocks(size) == (header.width8, header.height8)
}
