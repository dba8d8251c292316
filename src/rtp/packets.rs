//! The packets of one frame: which have arrived, in the order of their numbers, and whether the
//! frame is whole. Their payload is in the frame's own buffer; this module knows no payload format.

use std::sync::atomic::{AtomicU64, Ordering};

use super::header::Packet;
use super::types::{RtpTime, SeqNo};
use crate::clock::Mono;

/// How many frames this process has begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Most packets of one frame: a quarter of the sequence numbers, so that their order is
/// unambiguous.
pub const MAX_PACKETS: usize = 1 << 14;
/// Most bytes of headers that a packet may have.
const MAX_HEADER: usize = 1024;

/// A packet of the frame, as repair needs it.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Extended sequence number.
    seq: u64,
    /// Place of its payload in the frame's data.
    offset: u32,
    /// Length of its payload.
    len: u32,
    /// Where its header bytes start in [`Packets::headers`].
    header_start: u32,
    /// How many they are.
    header_len: u32,
}

impl Record {
    fn end(&self) -> usize {
        self.offset as usize + self.len as usize
    }
}

/// A packet that has arrived or was rebuilt: `header` followed by `payload` is the datagram without
/// RTP padding.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedPacket<'a> {
    /// Its sequence number.
    pub seq: SeqNo,
    /// The headers of RTP and of the payload format, byte for byte as they came.
    pub header: &'a [u8],
    /// Its part of the frame's data.
    pub payload: &'a [u8],
}

/// A packet on its way to its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'a> {
    pub(super) now: Mono,
    /// Extended sequence number.
    pub(super) ext: u64,
    pub(super) packet: Packet<'a>,
    pub(super) datagram: &'a [u8],
    /// Whether repair or retransmission recovered it.
    pub(super) recovered: bool,
}

/// A packet's place in its frame, by its payload format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where it belongs in the frame's data.
    pub(super) offset: usize,
    pub(super) len: usize,
    /// Whether it is the frame's first.
    pub(super) is_start: bool,
}

impl Part {
    pub(super) fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// How large a frame's data may grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// However little has arrived.
    pub(super) free: usize,
    /// At all.
    pub(super) max: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It was stored.
    New,
    /// The frame already had it.
    Duplicate,
    /// Its frame is older than all incomplete ones.
    Late,
    /// It contradicts the frame's other packets, or asks for more memory than it should.
    Refused,
}

/// The outcome when a frame stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// With gaps; something of it can be shown.
    Partial,
    Nothing,
}

/// How a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Packets are missing.
    Open,
    /// All packets are there, since then.
    Whole(Mono),
    /// All packets are there but do not fit together.
    Broken,
}

/// The packets of one frame.
#[derive(Debug)]
pub(super) struct Packets {
    /// No other frame of this process has it; later ones have larger ones.
    number: u64,
    time: RtpTime,
    /// In order of their numbers.
    records: Vec<Record>,
    headers: Vec<u8>,
    /// Extended number of the frame's first packet.
    first: Option<u64>,
    /// Extended number of the packet with the marker.
    last: Option<u64>,
    /// Bytes of data that have arrived.
    arrived: usize,
    /// The records from the frame's start on that follow each other, as far as they were looked at.
    joined: usize,
    recovered: u32,
    first_arrival: Mono,
    last_arrival: Mono,
    state: State,
}

impl Default for Packets {
    fn default() -> Packets {
        Packets {
            number: 0,
            time: RtpTime(0),
            records: Vec::new(),
            headers: Vec::new(),
            first: None,
            last: None,
            arrived: 0,
            joined: 0,
            recovered: 0,
            first_arrival: Mono(0),
            last_arrival: Mono(0),
            state: State::Open,
        }
    }
}

impl Packets {
    /// Forgets everything but keeps the memory, and begins the frame of `time`.
    pub(super) fn reset(&mut self, now: Mono, time: RtpTime) {
        let (mut records, mut headers) = (
            std::mem::take(&mut self.records),
            std::mem::take(&mut self.headers),
        );
        records.clear();
        headers.clear();
        *self = Packets {
            number: BEGUN.fetch_add(1, Ordering::Relaxed) + 1,
            time,
            records,
            headers,
            first_arrival: now,
            last_arrival: now,
            ..Packets::default()
        };
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The least number of those that begin from now on.
    pub(super) fn next_number() -> u64 {
        BEGUN.load(Ordering::Relaxed) + 1
    }

    pub(super) fn time(&self) -> RtpTime {
        self.time
    }

    /// When the first of them came.
    pub(super) fn first_arrival(&self) -> Mono {
        self.first_arrival
    }

    /// When the last of them came.
    pub(super) fn last_arrival(&self) -> Mono {
        self.last_arrival
    }

    /// How many have arrived.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many the frame was sent in, as far as sequence numbers show.
    pub(super) fn sent(&self) -> u32 {
        (self.newest() + 1 - self.oldest()) as u32
    }

    /// How many of these are missing.
    pub(super) fn missing(&self) -> u32 {
        self.sent() - self.records.len() as u32
    }

    /// How many repair or retransmission recovered.
    pub(super) fn recovered(&self) -> u32 {
        self.recovered
    }

    /// Their extended numbers, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<'_> {
        self.records.iter().map(|r| r.seq)
    }

    /// Which parts of the data they carry, in the order of their numbers.
    pub(super) fn parts(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<'_> {
        self.records.iter().map(|r| r.offset as usize..r.end())
    }

    /// Them, in order; `data`: the frame's.
    pub(super) fn received<'a>(
        &'a self,
        data: &'a [u8],
    ) -> impl Iterator<Item = ReceivedPacket<'a>> {
        self.records.iter().map(|r| ReceivedPacket {
            seq: SeqNo(r.seq as u16),
            header: &self.headers[r.header_start as usize..][..r.header_len as usize],
            payload: &data[r.offset as usize..r.end()],
        })
    }

    /// When the frame became whole.
    pub(super) fn whole_since(&self) -> Option<Mono> {
        match self.state {
            State::Whole(since) => Some(since),
            _ => None,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Extended number of the frame's first packet, if that is there.
    pub(super) fn first(&self) -> Option<u64> {
        self.first
    }

    pub(super) fn has_end(&self) -> bool {
        self.last.is_some()
    }

    /// Extended number of the oldest.
    pub(super) fn oldest(&self) -> u64 {
        self.records.first().map_or(0, |r| r.seq)
    }

    /// Extended number of the newest.
    pub(super) fn newest(&self) -> u64 {
        self.records.last().map_or(0, |r| r.seq)
    }

    /// Where the newest one's data ends.
    pub(super) fn data_end(&self) -> usize {
        self.records.last().map_or(0, Record::end)
    }

    /// Bytes of data from the frame's start up to the first gap. What is there stays as it is.
    pub(super) fn contiguous(&mut self) -> usize {
        let Some(first) = self.first else { return 0 };
        let mut at = match self.joined {
            0 => 0,
            n => self.records[n - 1].end(),
        };
        while let Some(next) = self.records.get(self.joined) {
            if next.seq != first + self.joined as u64 || next.offset as usize != at {
                break;
            }
            at = next.end();
            self.joined += 1;
        }
        at
    }

    /// Whether a packet with this number and timestamp belongs to this frame.
    pub(super) fn takes(&self, ext: u64, time: RtpTime) -> bool {
        // The numbers tell frames apart for senders whose timestamps stand still.
        self.time == time
            && self.first.is_none_or(|first| ext >= first)
            && self.last.is_none_or(|last| ext <= last)
    }

    /// Adds a packet. If it is [new](Placed::New), its payload must be written to its place.
    pub(super) fn insert(&mut self, p: &Arrived<'_>, part: &Part, limits: Limits) -> Placed {
        let arrived = self.arrived + part.len;
        // A hostile offset must not make the buffer much larger than what has arrived.
        let limit = limits.free.max(8 * arrived).min(limits.max);
        if part.end() > limit || !self.fits(p) {
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
        let payload_header = p.packet.payload().len() - part.len;
        let header = &p.datagram[..p.packet.header_len() + payload_header];
        if self.records.len() >= MAX_PACKETS || header.len() > MAX_HEADER {
            return Placed::Refused;
        }
        self.records.insert(
            index,
            Record {
                seq: p.ext,
                offset: part.offset as u32, // Below 2^24, like the limits.
                len: part.len as u32,
                header_start: self.headers.len() as u32,
                header_len: header.len() as u32,
            },
        );
        self.headers.extend_from_slice(header);
        self.arrived = arrived;
        self.recovered += u32::from(p.recovered);
        self.last_arrival = p.now;
        if part.is_start {
            self.first = Some(self.first.map_or(p.ext, |first| first.min(p.ext)));
        }
        if p.packet.marker() {
            self.last = Some(p.ext);
        }
        self.check(p.now);
        Placed::New
    }

    /// Whether a packet's place is possible.
    fn fits(&self, p: &Arrived<'_>) -> bool {
        // One marker, and nothing after it (`takes` ensures the latter).
        let marker = !p.packet.marker()
            || self.last.is_none_or(|last| last == p.ext) && p.ext >= self.newest();
        let furthest = p
            .ext
            .abs_diff(self.oldest())
            .max(p.ext.abs_diff(self.newest()));
        marker && (self.records.is_empty() || furthest < MAX_PACKETS as u64)
    }

    /// Checks whether all packets are there, and each continues where the one before it ends.
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
        self.state = State::Whole(now);
    }
}
