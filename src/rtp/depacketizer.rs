//! From datagrams to frames: follows one source, sorts its packets into frames, hands out whole
//! frames in order, and gives up those that cannot become whole. In: bytes and a time; out: events.
//! No socket, no clock. Change it ([`Depacketizer::push`]), then drain it ([`Depacketizer::poll`]),
//! then wait no longer than [`Depacketizer::deadline`].
//!
//! Who sends is decided by [`super::source`]; what packets carry is known to [`super::payload`].
//!
//! # Memory
//! At most 4 frames being put together, 8 waiting to be polled, 6 kept for reuse. A buffer grows to
//! the end of the furthest fragment, which is refused if it lies beyond all of: 1 MiB, twice the
//! largest frame that ever came whole, eight times the bytes that have arrived for this frame; and
//! always beyond [`Options::max_frame`]. Header copies and records add what arrived, at most 16 MiB
//! a frame.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::header::Packet;
use super::packets::{Arrived, Limits, Outcome, Packets, Placed, ReceivedPacket};
use super::payload::{self, Fragment, OtherFormat, ReceivedFrame, Stream};
use super::reception::Reception;
use super::source::{
    AnnouncedSource, Cause, DEFAULT_INTERVAL, Source, SourceChange, Sources, Verdict,
};
use super::stats::ViewerStats;
use super::types::{RtpTime, SeqNo, Ssrc};
use crate::clock::Mono;
use crate::jpeg::Picture;

/// Frames being put together at a time.
const MAX_SLOTS: usize = 4;
/// Events that wait to be polled; the oldest goes first if nobody does.
const MAX_PENDING: usize = 8;
/// Buffers kept for reuse.
const MAX_SPARE: usize = 6;

/// How far a buffer may grow before anything proves that frames are larger.
const FREE_GROWTH: usize = 1 << 20;
/// How long a whole frame waits for an earlier one that may merely be late, if few packets follow.
const HOLD: Duration = Duration::from_millis(5);
/// How long a frame waits for the rest of it when nothing else comes.
const STALLED: Duration = Duration::from_secs(1);

/// How to receive.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Payload type of JPEG; not 26 only if an SDP says so.
    pub payload_type: u8,
    /// True size from the SDP, for pictures over 2040 pixels whose packets lack it.
    pub size: Option<(u16, u16)>,
    /// Largest frame in bytes; at most 16 MiB.
    pub max_frame: usize,
    /// Packets of later frames that prove a missing one lost. Larger with repair, which may come
    /// after them: then [`Depacketizer::deadline`] decides.
    pub reorder: u16,
    /// How long to wait for an incomplete frame after its newest packet, in frame intervals.
    pub late: u8,
    /// Whether frames that stay incomplete come as [`Event::Partial`] if anything of them can be
    /// shown.
    pub give_partial: bool,
    /// The announced source, the only one to follow. `None`: whoever comes first.
    pub source: Option<AnnouncedSource>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            payload_type: payload::DEFAULT_TYPE,
            size: None,
            max_frame: payload::MAX_DATA,
            reorder: 32,
            late: 1,
            give_partial: false,
            source: None,
        }
    }
}

/// A frame that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFrame {
    /// Its RTP timestamp.
    pub time: RtpTime,
    /// Packets of it that arrived.
    pub received: u32,
    /// Packets of it that did not, as far as sequence numbers show; 0 if all came but made no
    /// frame.
    pub missing: u32,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A whole frame. Give the buffer back with [`Depacketizer::recycle`].
    Frame(ReceivedFrame),
    /// A frame that was given up, with what has arrived of it (only with
    /// [`Options::give_partial`]). Whoever shows it, or cannot, counts it. Give the buffer back
    /// with [`Depacketizer::recycle`].
    Partial(ReceivedFrame),
    /// A frame was given up.
    Lost(LostFrame),
    /// Another source is followed.
    Source(SourceChange),
    /// There is a second source in the group; it is ignored. Reported at most once a minute.
    OtherSource {
        /// The newest one.
        ssrc: Ssrc,
        /// Its address.
        address: IpAddr,
        /// Packets ignored since the last report.
        packets: u64,
    },
}

/// Where the frames that have been handed out or given up end.
#[derive(Clone, Copy, Debug)]
struct Closed {
    /// Extended number of the last packet.
    ext: u64,
    time: RtpTime,
    /// Whether that was the frame's marker.
    has_end: bool,
}

/// A frame that waits for packets.
#[derive(Clone, Copy, Debug)]
pub struct IncompleteFrame<'a> {
    packets: &'a Packets,
    /// Extended numbers that belong to it as far as is known.
    from: u64,
    to: u64,
    /// Whether its last number is known.
    has_end: bool,
}

impl<'a> IncompleteFrame<'a> {
    /// Its timestamp.
    pub fn time(&self) -> RtpTime {
        self.packets.time()
    }

    /// When the last of its packets came.
    pub fn last_arrival(&self) -> Mono {
        self.packets.last_arrival()
    }

    /// How many of its packets have arrived.
    pub fn received(&self) -> usize {
        self.packets.len()
    }

    /// The extended number of its first packet, if that came.
    pub fn first(&self) -> Option<u64> {
        self.packets.first()
    }

    /// The extended number after the last one known to be its own.
    pub fn end(&self) -> u64 {
        self.to
    }

    /// Whether [`IncompleteFrame::end`] is its true end. If not, the sender may not have come that
    /// far yet.
    pub fn has_end(&self) -> bool {
        self.has_end
    }

    /// Extended numbers, below [`IncompleteFrame::end`], of packets that have not come.
    pub fn missing(&self) -> impl Iterator<Item = u64> + use<'a> {
        let mut next = self.from;
        self.packets
            .numbers()
            .chain([self.to])
            .flat_map(move |number| {
                let gap = next..number;
                next = number + 1;
                gap
            })
    }
}

/// Assembles frames from one group's datagrams.
#[derive(Debug)]
pub struct Depacketizer {
    options: Options,
    /// Missing packets are retransmitted.
    has_retransmission: bool,
    stats: Arc<ViewerStats>,
    sources: Sources,
    /// What the payload format remembers of the source.
    stream: Stream,
    /// Incomplete frames, oldest first.
    slots: Vec<ReceivedFrame>,
    closed: Option<Closed>,
    spare: Vec<ReceivedFrame>,
    pending: VecDeque<Event>,
    /// Bytes of the largest frame that came whole.
    largest: usize,
    /// The last datagram that could not be read.
    other: Option<(IpAddr, OtherFormat)>,
}

impl Depacketizer {
    /// A depacketizer that waits for its first packet and counts in `stats`.
    pub fn new(options: Options, stats: Arc<ViewerStats>) -> Depacketizer {
        let mut depacketizer = Depacketizer {
            stream: Stream::new(options.size),
            options: Options::default(),
            has_retransmission: false,
            stats,
            sources: Sources::default(),
            slots: Vec::with_capacity(MAX_SLOTS),
            closed: None,
            spare: Vec::with_capacity(MAX_SPARE),
            pending: VecDeque::with_capacity(MAX_PENDING),
            largest: 0,
            other: None,
        };
        depacketizer.set_options(options);
        depacketizer
    }

    /// Applies other options. What has arrived stays: the frames that come on are none the less
    /// whole.
    pub fn set_options(&mut self, options: Options) {
        self.stream.describe(options.size);
        self.sources.expect(options.source.clone());
        let max_frame = options.max_frame.min(payload::MAX_DATA);
        self.options = Options {
            max_frame,
            ..options
        };
    }

    /// Takes a datagram that came from `address` to the group. [`Depacketizer::poll`] returns the
    /// outcome.
    pub fn push(&mut self, now: Mono, address: IpAddr, datagram: &[u8]) {
        self.stats.bytes_received.add(datagram.len() as u64);
        let Some((packet, fragment)) = self.read(datagram) else {
            self.stats.packets_invalid.add(1);
            self.other = Some((address, OtherFormat::of(datagram)));
            return;
        };
        let verdict = self.sources.judge(now, address, &packet, datagram);
        if let Verdict::Other(report) = verdict {
            self.stats.packets_foreign.add(1);
            if let Some(packets) = report {
                let ssrc = packet.ssrc();
                self.emit(Event::OtherSource {
                    ssrc,
                    address,
                    packets,
                });
            }
            return;
        }
        self.stats.packets_received.add(1);
        match verdict {
            Verdict::Held => return,
            Verdict::New(cause) => self.follow(now, address, &packet, cause),
            Verdict::Moved => {
                if let Some(change) = self.sources.follow_to(now, address) {
                    self.emit(Event::Source(change));
                }
            }
            Verdict::Ahead => self.take_held(now, None),
            Verdict::Restarted => self.take_held(now, Some(address)),
            Verdict::Followed | Verdict::Other(_) => {}
        }
        self.take(now, packet, &fragment, datagram);
    }

    /// Takes a packet that repair or retransmission recovered, byte for byte as it was sent. It
    /// counts as repaired, not as received.
    pub fn insert_recovered(&mut self, now: Mono, datagram: &[u8]) {
        let Some((packet, fragment)) = self.read(datagram) else {
            return;
        };
        let Some(source) = self.source_of(packet.ssrc()) else {
            return;
        };
        let ext = source.tracker.extend(packet.seq());
        if !source.continues(packet.seq(), packet.time()) || self.is_closed(ext, packet.time()) {
            return;
        }
        let arrived = Arrived {
            now,
            ext,
            packet,
            datagram,
            recovered: true,
        };
        if self.place(&arrived, &fragment) == Placed::New {
            self.stats.packets_repaired.add(1);
        }
    }

    /// The next event, perhaps due at `now`; `None`: nothing until the next packet
    /// or [`Depacketizer::deadline`].
    pub fn poll(&mut self, now: Mono) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if !self.is_oldest_due(now) {
                return None;
            }
            self.close_oldest();
        }
    }

    /// When [`Depacketizer::poll`] may return something even if no packet came.
    pub fn deadline(&self) -> Option<Mono> {
        let source = self.sources.followed()?;
        let head = self.slots.first()?.packets();
        let hold = self.hold(source, head);
        let own = match head.whole_since() {
            Some(since) => since + hold,
            None => self.due(source, head),
        };
        let later = self.slots[1..]
            .iter()
            .filter_map(|s| s.packets().whole_since());
        Some(later.map(|since| since + hold).fold(own, Mono::min))
    }

    /// How long to wait for an incomplete frame.
    fn late(&self, source: &Source) -> Duration {
        source.interval() * u32::from(self.options.late)
    }

    /// Whether what is missing of the oldest frame is retransmitted. It is not if the viewer joined
    /// in the middle of it: its start is unknown, and so not requested.
    fn is_retransmitted(&self, head: &Packets) -> bool {
        self.has_retransmission && (self.closed.is_some() || head.first().is_some())
    }

    /// How long a whole frame waits for those before it, of which `head` is the oldest.
    fn hold(&self, source: &Source, head: &Packets) -> Duration {
        match self.is_retransmitted(head) {
            true => self.late(source),
            false => HOLD,
        }
    }

    /// When a frame that stays incomplete is given up. Without a later packet nothing shows that
    /// the rest was lost: the sender may have been held up in the middle of it.
    fn due(&self, source: &Source, frame: &Packets) -> Mono {
        let wait = match source.tracker.highest() > frame.newest() {
            true => self.late(source),
            false => STALLED,
        };
        frame.last_arrival() + wait
    }

    /// Takes a buffer back, for a later frame.
    pub fn recycle(&mut self, frame: impl Into<ReceivedFrame>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(frame.into());
        }
    }

    /// The source that is followed.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.sources.followed().map(Source::ssrc)
    }

    /// The address of the source that is followed.
    pub fn address(&self) -> Option<IpAddr> {
        self.sources.followed().map(Source::address)
    }

    /// An RTCP BYE came from `address` (RFC 3550 §6.6): if it is from the source that is followed,
    /// another may take over at once.
    pub fn bye(&mut self, address: IpAddr, ssrc: Ssrc) {
        self.sources.bye(address, ssrc);
    }

    /// What a receiver report says about the source that is followed.
    pub fn reception(&self) -> Option<Reception> {
        self.sources.followed().map(Source::reception)
    }

    /// The packets that have arrived of an incomplete frame, in order; nothing if there is no such
    /// frame. Repair builds its shards from them.
    pub fn received(&self, ssrc: Ssrc, time: RtpTime) -> impl Iterator<Item = ReceivedPacket<'_>> {
        let frame = self.slot_of(ssrc, time);
        frame.into_iter().flat_map(ReceivedFrame::received)
    }

    /// How many packets [`Depacketizer::received`] gives.
    pub fn received_count(&self, ssrc: Ssrc, time: RtpTime) -> usize {
        self.slot_of(ssrc, time).map_or(0, |s| s.packets().len())
    }

    fn slot_of(&self, ssrc: Ssrc, time: RtpTime) -> Option<&ReceivedFrame> {
        self.source_of(ssrc)?;
        self.slots.iter().find(|s| s.packets().time() == time)
    }

    /// Sets [`Options::reorder`].
    pub fn set_reorder(&mut self, reorder: u16) {
        self.options.reorder = reorder;
    }

    /// Sets whether missing packets are retransmitted: then only time proves one lost, and whole
    /// frames wait as long as [`Options::late`] says for an earlier one.
    pub fn set_retransmission(&mut self, has_retransmission: bool) {
        self.has_retransmission = has_retransmission;
    }

    /// The incomplete frames, oldest first.
    pub fn incomplete(&self) -> impl Iterator<Item = IncompleteFrame<'_>> {
        // What came before the first packet of all was not lost.
        let mut next = self.closed.map(|c| c.ext + 1);
        let slots = self.slots.iter().map(ReceivedFrame::packets);
        slots.enumerate().filter_map(move |(i, packets)| {
            let later = self.slots.get(i + 1).map(|s| s.packets().oldest());
            let from = match packets.first() {
                Some(_) => packets.oldest(),
                None => next.unwrap_or(packets.oldest()).min(packets.oldest()),
            };
            let has_end = packets.has_end() || later.is_some();
            let to = match later {
                Some(later) if !packets.has_end() => later,
                _ => packets.newest() + 1,
            };
            next = Some(to);
            let waits = packets.whole_since().is_none() && !packets.is_broken();
            waits.then_some(IncompleteFrame {
                packets,
                from,
                to,
                has_end,
            })
        })
    }

    /// The oldest incomplete frame, if its start is there: its
    /// [number](super::FrameBuffer::number), and the picture with as much of its scan as has come
    /// without a gap.
    pub fn arriving(&mut self) -> Option<(u64, Picture<'_>)> {
        let frame = self.slots.first_mut()?;
        let packets = frame.packets();
        if packets.whole_since().is_some() || packets.is_broken() {
            return None;
        }
        let number = packets.number();
        Some((number, self.stream.arriving(frame)?))
    }

    /// The newest extended number of all that came.
    pub fn highest(&self) -> Option<u64> {
        self.sources.followed().map(|s| s.tracker.highest())
    }

    /// The frame interval, as measured.
    pub fn interval(&self) -> Duration {
        let source = self.sources.followed();
        source.map_or(DEFAULT_INTERVAL, Source::interval)
    }

    /// Whether the frame that begins with `first` is over: handed out or given up.
    pub fn is_over(&self, ssrc: Ssrc, first: SeqNo, time: RtpTime) -> bool {
        let source = self.source_of(ssrc);
        source.is_some_and(|s| self.is_closed(s.tracker.extend(first), time))
    }

    /// Whether a frame that begins with `first` goes on where the others are.
    pub fn continues(&self, first: SeqNo, time: RtpTime) -> bool {
        let source = self.sources.followed();
        source.is_some_and(|s| s.continues(first, time))
    }

    /// The source that is followed, if this is it.
    fn source_of(&self, ssrc: Ssrc) -> Option<&Source> {
        self.sources.followed().filter(|s| s.ssrc() == ssrc)
    }

    /// The last datagram that could not be read, since the last call: where it came from, and what
    /// it is.
    pub fn take_other(&mut self) -> Option<(IpAddr, OtherFormat)> {
        self.other.take()
    }

    /// Whether the packet belongs to a frame that was handed out or given up.
    fn is_closed(&self, ext: u64, time: RtpTime) -> bool {
        self.closed
            .is_some_and(|c| ext <= c.ext || (time == c.time && !c.has_end))
    }

    fn read<'a>(&self, datagram: &'a [u8]) -> Option<(Packet<'a>, Fragment<'a>)> {
        let packet = Packet::parse(datagram).ok()?;
        if packet.payload_type() != self.options.payload_type {
            return None;
        }
        Some((packet, self.stream.read(&packet)?))
    }

    /// Starts over with the source of `first`.
    fn follow(&mut self, now: Mono, address: IpAddr, first: &Packet<'_>, cause: Cause) {
        while !self.slots.is_empty() {
            self.close_oldest();
        }
        self.closed = None;
        self.stream.forget();
        let change = self.sources.follow(now, address, first, cause);
        self.emit(Event::Source(change));
    }

    /// Takes the packet that was held; if the source at `address` began again with it, starts
    /// over.
    fn take_held(&mut self, now: Mono, restarted: Option<IpAddr>) {
        let held = self.sources.take_held();
        if let Some((packet, fragment)) = self.read(&held) {
            if let Some(address) = restarted {
                self.follow(now, address, &packet, Cause::Restart);
            }
            self.take(now, packet, &fragment, &held);
        }
        self.sources.give_back(held);
    }

    /// Records a packet of the source that is followed, and puts it into its frame.
    fn take(&mut self, now: Mono, packet: Packet<'_>, fragment: &Fragment<'_>, datagram: &[u8]) {
        let Some(source) = self.sources.followed_mut() else {
            return;
        };
        let Some(ext) = source.record(now, &packet) else {
            return;
        };
        if self.is_closed(ext, packet.time()) {
            self.stats.packets_late.add(1);
            return;
        }
        let arrived = Arrived {
            now,
            ext,
            packet,
            datagram,
            recovered: false,
        };
        match self.place(&arrived, fragment) {
            Placed::New | Placed::Duplicate => {}
            Placed::Late => self.stats.packets_late.add(1),
            Placed::Refused => self.stats.packets_invalid.add(1),
        }
    }

    /// Puts a packet into its frame.
    fn place(&mut self, p: &Arrived<'_>, fragment: &Fragment<'_>) -> Placed {
        let time = p.packet.time();
        let found = (self.slots.iter()).rposition(|s| s.packets().takes(p.ext, time));
        let Some(slot) = found.or_else(|| self.open(p, fragment)) else {
            return Placed::Late;
        };
        let limits = Limits {
            free: FREE_GROWTH.max(2 * self.largest),
            max: self.options.max_frame,
        };
        let frame = &mut self.slots[slot];
        let placed = self.stream.place(frame, p, fragment, limits);
        if frame.packets().is_empty() {
            // Opened for a packet that it then refused.
            let buffer = self.slots.remove(slot);
            self.recycle(buffer);
        }
        placed
    }

    /// Begins a frame; `None` if it is older than all incomplete ones and there is no room.
    fn open(&mut self, p: &Arrived<'_>, fragment: &Fragment<'_>) -> Option<usize> {
        if self.slots.len() == MAX_SLOTS {
            let oldest = self.slots.first().map(|s| s.packets().oldest());
            if oldest.is_some_and(|oldest| p.ext < oldest) {
                return None;
            }
            self.close_oldest();
        }
        let frame = self.stream.begin(self.spare.pop(), p, fragment);
        let index = (self.slots).partition_point(|s| s.packets().oldest() < p.ext);
        self.slots.insert(index, frame);
        Some(index)
    }

    /// Whether to hand out or give up the oldest frame.
    fn is_oldest_due(&self, now: Mono) -> bool {
        let (Some(source), Some(head)) = (self.sources.followed(), self.slots.first()) else {
            return false;
        };
        let head = head.packets();
        let highest = source.tracker.highest();
        let hold = self.hold(source, head);
        let reorder = match self.is_retransmitted(head) {
            true => u64::MAX / 2,
            false => u64::from(self.options.reorder),
        };
        if let Some(since) = head.whole_since() {
            // Is the one before it over, or can nothing of it come any more?
            return self.closed.is_none_or(|c| c.ext + 1 == head.oldest())
                || highest >= head.oldest() + reorder
                || now >= since + hold;
        }
        let overtaken = self.slots[1..]
            .iter()
            .filter_map(|s| s.packets().whole_since())
            .any(|since| now >= since + hold);
        head.is_broken()
            || overtaken
            || highest > head.newest() + reorder
            || now >= self.due(source, head)
    }

    /// Hands out the oldest frame, or gives it up.
    fn close_oldest(&mut self) {
        let mut frame = self.slots.remove(0);
        let Some(source) = self.sources.followed_mut() else {
            return;
        };
        let packets = frame.packets();
        let is_first = self.closed.is_none() && packets.oldest() == source.tracker.base();
        let unseen = frames_unseen(self.closed, source, packets);
        learn_interval(self.closed, source, packets);
        self.closed = Some(Closed {
            ext: packets.newest(),
            time: packets.time(),
            has_end: packets.has_end(),
        });
        self.stats.frames_lost.add(unseen);
        let lost = source.tracker.settle(packets.newest());
        self.stats.packets_lost.add(lost);

        // A viewer that joins in the middle of a frame has not lost it.
        if is_first && packets.first().is_none() {
            self.recycle(frame);
            return;
        }
        let may_be_partial = self.options.give_partial && !packets.is_broken();
        match self.stream.finish(&mut frame, may_be_partial) {
            Outcome::Whole => {
                self.largest = self.largest.max(frame.data_len());
                match frame.packets().recovered() {
                    0 => self.stats.frames_whole.add(1),
                    _ => self.stats.frames_repaired.add(1),
                }
                self.emit(Event::Frame(frame));
            }
            Outcome::Partial => self.emit(Event::Partial(frame)),
            Outcome::Nothing => self.give_up(frame),
        }
    }

    fn give_up(&mut self, frame: ReceivedFrame) {
        self.stats.frames_lost.add(1);
        let packets = frame.packets();
        let lost = LostFrame {
            time: packets.time(),
            received: packets.len() as u32,
            missing: packets.missing(),
        };
        self.recycle(frame);
        self.emit(Event::Lost(lost));
    }

    fn emit(&mut self, event: Event) {
        if self.pending.len() == MAX_PENDING {
            if let Some(Event::Frame(frame) | Event::Partial(frame)) = self.pending.pop_front() {
                self.recycle(frame);
            }
        }
        self.pending.push_back(event);
    }
}

/// Frames of which no packet came, between the last one that was closed and `frame`: where numbers
/// are missing, as many as the timestamps leave room for.
fn frames_unseen(closed: Option<Closed>, source: &Source, frame: &Packets) -> u64 {
    let Some(closed) = closed else {
        return 0;
    };
    let gap = frame.oldest().saturating_sub(closed.ext + 1);
    if gap == 0 {
        return 0;
    }
    // Between a marker and a first packet there is at least one.
    let least = u64::from(closed.has_end && frame.first().is_some());
    let ticks = u64::try_from(frame.time().distance(closed.time)).unwrap_or(0);
    let by_time = source.known_interval().map_or(0, |interval| {
        let interval = (interval.as_nanos() as u64 * 9 / 100_000).max(1);
        ((ticks + interval / 2) / interval).saturating_sub(1)
    });
    by_time.max(least).min(gap)
}

/// Two frames that follow each other without a gap show the frame interval.
fn learn_interval(closed: Option<Closed>, source: &mut Source, frame: &Packets) {
    let Some(closed) = closed else { return };
    if closed.ext + 1 == frame.oldest() && closed.has_end {
        source.learn_interval(frame.time().distance(closed.time));
    }
}
