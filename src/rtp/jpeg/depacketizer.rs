//! From datagrams to frames (RFC 2435): follows one sender, sorts its packets into frames, hands whole
//! frames out in order, and gives up those that cannot become whole. Bytes and a time in, events out:
//! no socket, no clock. Change it ([`Depacketizer::push`]), then drain it ([`Depacketizer::poll`]), then
//! wait no longer than [`Depacketizer::deadline`].
//!
//! # Memory
//! At most 4 frames being put together, 8 waiting to be polled, 6 kept
//! for reuse. A buffer grows to the end of the furthest fragment, and that is refused where it
//! lies beyond all of: 1 MiB, twice the largest frame that ever came whole, eight times the bytes that
//! have arrived for this frame; and always beyond [`Options::max_frame`]. Header copies and records add
//! what arrived, at most 16 MiB a frame.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use super::assembly::{Arrived, FrameBuffer, Placed, ReceivedPacket, fits};
use super::reception::{Reception, Tracker};
use super::wire::{self, MAX_SCAN, Payload, Tables};
use crate::clock::Mono;
use crate::jpeg::tables::quant_for_q;
use crate::rtp::header::Packet;
use crate::rtp::{RtpTime, SeqNo, Ssrc};
use crate::stats::ViewerStats;

/// Frames being put together at a time.
const MAX_SLOTS: usize = 4;
/// Events that wait to be polled; the oldest goes first if nobody does.
const MAX_PENDING: usize = 8;
/// Buffers kept for reuse.
const MAX_SPARE: usize = 6;

/// How far a buffer may grow before anything proves that frames are larger.
const FREE_GROWTH: usize = 1 << 20;
/// Steps forward that are still the same run of numbers: most of a second of a fast stream.
/// RFC 3550 §A.1 has 3000, for audio.
const MAX_DROPOUT: i16 = 16_000;
/// Steps back that are still reordering. RFC 3550 §A.1 has 100, for audio.
const MAX_MISORDER: i16 = -3_000;
/// RTP ticks within which neighbouring packets' timestamps lie: 10 s.
const MAX_TIME_STEP: i32 = 900_000;
/// How near the second packet of a restarted sender must be to the first, in numbers.
const RESTART_REACH: u16 = 16;
/// A sender that has been quiet for this long gives way to another.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a whole frame waits for one before it that may merely be late, where few packets follow.
const HOLD: Duration = Duration::from_millis(5);
/// How long a frame waits for its rest when nothing else comes.
const STALLED: Duration = Duration::from_secs(1);
/// The frame interval before the first two frames have told it, and its bounds.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);
const MIN_INTERVAL: Duration = Duration::from_millis(5);
const MAX_INTERVAL: Duration = Duration::from_millis(1000);
/// Packets of other senders are told of once in this time.
const OTHER_SENDER_EVERY: Duration = Duration::from_secs(1);

/// How to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Payload type of JPEG; another only where an SDP says so.
    pub payload_type: u8,
    /// True size from the SDP, for pictures over 2040 pixels whose packets do not tell it.
    pub size: Option<(u16, u16)>,
    /// Largest frame in bytes; at most 16 MiB.
    pub max_frame: usize,
    /// Packets of later frames that prove a missing one lost. With repair, which may come behind them, larger: then
    /// [`Depacketizer::deadline`] decides.
    pub reorder: u16,
    /// Frame intervals after its newest packet for which a frame that stays incomplete is waited for at most.
    pub late: u8,
    /// Whether frames that stay incomplete come as [`Event::Partial`] where anything of them can be shown.
    pub give_partial: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            payload_type: wire::PAYLOAD_TYPE,
            size: None,
            max_frame: MAX_SCAN,
            reorder: 32,
            late: 1,
            give_partial: false,
        }
    }
}

/// Why the depacketizer follows another run of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the first sender.
    First,
    /// The one before fell silent.
    Silence,
    /// The one before said goodbye.
    Bye,
    /// The same sender began again, with other numbers or times.
    Restart,
}

/// Another sender is followed from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderChange {
    /// The sender that is followed.
    pub ssrc: Ssrc,
    /// The one before.
    pub previous: Option<Ssrc>,
    /// Why.
    pub why: Why,
}

/// A frame that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFrame {
    /// Its RTP timestamp.
    pub time: RtpTime,
    /// Packets of it that came.
    pub received: u32,
    /// Packets of it that did not, as far as the numbers tell; 0 if all came and made no frame.
    pub missing: u32,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A whole frame. Give the buffer back with [`Depacketizer::recycle`].
    Frame(Box<FrameBuffer>),
    /// A frame that was given up, with what is there of it (only with [`Options::give_partial`]). It is
    /// counted by who shows it, or cannot. Give the buffer back with [`Depacketizer::recycle`].
    Partial(Box<FrameBuffer>),
    /// A frame was given up.
    Lost(LostFrame),
    /// Another sender is followed.
    Sender(SenderChange),
    /// There is a second sender in the group; it is ignored. Told at most once a second.
    OtherSender {
        /// The newest one.
        ssrc: Ssrc,
        /// Packets ignored since this was told last.
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
    ended: bool,
}

/// What is known of the sender that is followed.
#[derive(Debug)]
struct Sender {
    ssrc: Ssrc,
    tracker: Tracker,
    /// Timestamp of the newest packet.
    newest: RtpTime,
    last_arrival: Mono,
    said_bye: bool,
    closed: Option<Closed>,
    interval: Option<Duration>,
    /// Tables by Q, 128 to 254. RFC 2435 §3.1.8.
    tables: Vec<(u8, [u8; 128])>,
    /// The newest true size told in-band.
    size: Option<(u16, u16)>,
}

impl Sender {
    fn new(now: Mono, first: &Packet<'_>) -> Sender {
        Sender {
            ssrc: first.ssrc(),
            tracker: Tracker::new(first.seq()),
            newest: first.time(),
            last_arrival: now,
            said_bye: false,
            closed: None,
            interval: None,
            tables: Vec::new(),
            size: None,
        }
    }

    fn interval(&self) -> Duration {
        self.interval
            .unwrap_or(DEFAULT_INTERVAL)
            .clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    /// When a frame that stays incomplete is given up. Without a packet behind it nothing says that the
    /// rest was lost: the sender may have been held up in the middle of it.
    fn due(&self, frame: &FrameBuffer, late: Duration) -> Mono {
        let wait = match self.tracker.highest() > frame.newest() {
            true => late,
            false => STALLED,
        };
        frame.last_arrival() + wait
    }

    /// How long it may be quiet before another takes over: a slow stream is quiet between frames.
    fn patience(&self) -> Duration {
        SILENCE.max(3 * self.interval.map_or(Duration::ZERO, |_| self.interval()))
    }

    /// Whether a packet goes on where the others are, as opposed to a sender that began again.
    fn continues(&self, packet: &Packet<'_>) -> bool {
        let steps = packet.seq().distance(SeqNo(self.tracker.highest() as u16));
        let ticks = packet.time().distance(self.newest);
        match steps {
            1 => true,
            2..=MAX_DROPOUT => (0..=MAX_TIME_STEP).contains(&ticks),
            MAX_MISORDER..=0 => (-MAX_TIME_STEP..=0).contains(&ticks),
            _ => false,
        }
    }

    /// Whether the packet belongs to a frame that was handed out or given up.
    fn is_closed(&self, ext: u64, time: RtpTime) -> bool {
        self.closed
            .is_some_and(|c| ext <= c.ext || (time == c.time && !c.ended))
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

/// A packet that does not go on where the others are: perhaps the first of a restarted sender.
#[derive(Debug, Default)]
struct Suspect {
    at: Option<(SeqNo, RtpTime)>,
    datagram: Vec<u8>,
}

/// Senders that are not followed.
#[derive(Debug, Default)]
struct Others {
    packets: u64,
    told: Option<Mono>,
}

/// A frame that waits for packets.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    frame: &'a FrameBuffer,
    /// Extended numbers that are its own for all that is known.
    from: u64,
    to: u64,
    /// Whether its last number is known.
    has_end: bool,
}

impl<'a> Waiting<'a> {
    /// Its timestamp.
    pub fn time(&self) -> RtpTime {
        self.frame.time()
    }

    /// When the last of its packets came.
    pub fn last_arrival(&self) -> Mono {
        self.frame.last_arrival()
    }

    /// How many of its packets are there.
    pub fn received(&self) -> usize {
        self.frame.received_count()
    }

    /// The extended number of its first packet, if that came.
    pub fn first(&self) -> Option<u64> {
        self.frame.has_start().then(|| self.frame.oldest())
    }

    /// The extended number behind the last one that is known to be its own.
    pub fn end(&self) -> u64 {
        self.to
    }

    /// Whether [`Waiting::end`] is its true end. If not, the sender may not have come that far yet.
    pub fn has_end(&self) -> bool {
        self.has_end
    }

    /// Extended numbers, below [`Waiting::end`], of packets that have not come.
    pub fn missing(&self) -> impl Iterator<Item = u64> + use<'a> {
        let mut next = self.from;
        self.frame
            .numbers()
            .chain([self.to])
            .flat_map(move |number| {
                let gap = next..number;
                next = number + 1;
                gap
            })
    }
}

/// Puts frames together from one group's datagrams.
#[derive(Debug)]
pub struct Depacketizer {
    options: Options,
    /// Missing packets are asked for again.
    is_asking: bool,
    stats: Arc<ViewerStats>,
    sender: Option<Sender>,
    /// Frames being put together, oldest first.
    #[expect(
        clippy::vec_box,
        reason = "the boxes go to the viewer and back without allocation"
    )]
    slots: Vec<Box<FrameBuffer>>,
    #[expect(
        clippy::vec_box,
        reason = "the boxes go to the viewer and back without allocation"
    )]
    spare: Vec<Box<FrameBuffer>>,
    pending: VecDeque<Event>,
    suspect: Suspect,
    others: Others,
    /// Bytes of the largest frame that came whole.
    largest: usize,
}

impl Depacketizer {
    /// Waits for its first packet; bumps `stats`.
    pub fn new(options: Options, stats: Arc<ViewerStats>) -> Depacketizer {
        let max_frame = options.max_frame.min(MAX_SCAN);
        Depacketizer {
            options: Options {
                max_frame,
                ..options
            },
            is_asking: false,
            stats,
            sender: None,
            slots: Vec::with_capacity(MAX_SLOTS),
            spare: Vec::with_capacity(MAX_SPARE),
            pending: VecDeque::with_capacity(MAX_PENDING),
            suspect: Suspect::default(),
            others: Others::default(),
            largest: 0,
        }
    }

    /// Takes a datagram from the group. [`Depacketizer::poll`] tells what came of it.
    pub fn push(&mut self, now: Mono, datagram: &[u8]) {
        self.stats.bytes_received.add(datagram.len() as u64);
        let Some((packet, payload)) = self.read(datagram) else {
            self.stats.packets_invalid.add(1);
            return;
        };
        if !self.follows(now, &packet) {
            self.stats.packets_invalid.add(1);
            return;
        }
        self.stats.packets_received.add(1);
        if !self.continues(now, &packet, datagram) {
            return;
        }
        self.take(now, packet, payload, datagram);
    }

    /// Takes a packet that repair or retransmission brought back, byte for byte as it was sent. It
    /// counts as repaired, not as received.
    pub fn insert_recovered(&mut self, now: Mono, datagram: &[u8]) {
        let Some((packet, payload)) = self.read(datagram) else {
            return;
        };
        let Some(sender) = &self.sender else { return };
        let ext = sender.tracker.extend(packet.seq());
        let known = sender.ssrc == packet.ssrc() && sender.continues(&packet);
        if !known || sender.is_closed(ext, packet.time()) {
            return;
        }
        let arrived = Arrived {
            now,
            ext,
            packet,
            payload,
            datagram,
            recovered: true,
        };
        if self.place(&arrived) == Placed::New {
            self.stats.packets_repaired.add(1);
        }
    }

    /// The next thing that happened, or that `now` makes happen; None: nothing until the next packet
    /// or [`Depacketizer::deadline`].
    pub fn poll(&mut self, now: Mono) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            match self.verdict(now) {
                Verdict::Wait => return None,
                Verdict::Close => self.close_oldest(),
            }
        }
    }

    /// When [`Depacketizer::poll`] may have something to say though no packet came.
    pub fn deadline(&self) -> Option<Mono> {
        let sender = self.sender.as_ref()?;
        let head = self.slots.first()?;
        let hold = self.hold(sender);
        let own = match head.whole_since() {
            Some(since) => since + hold,
            None => sender.due(head, self.late(sender)),
        };
        let later = self.slots[1..].iter().filter_map(|s| s.whole_since());
        Some(later.map(|since| since + hold).fold(own, Mono::min))
    }

    /// How long an incomplete frame is waited for.
    fn late(&self, sender: &Sender) -> Duration {
        sender.interval() * u32::from(self.options.late)
    }

    /// How long a whole frame waits for those before it.
    fn hold(&self, sender: &Sender) -> Duration {
        match self.is_asking {
            true => self.late(sender),
            false => HOLD,
        }
    }

    /// Takes a buffer back, for a later frame.
    pub fn recycle(&mut self, buffer: Box<FrameBuffer>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    /// The sender that is followed.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.sender.as_ref().map(|s| s.ssrc)
    }

    /// An RTCP BYE came (RFC 3550 §6.6): if it is from the sender that is followed, another may take
    /// over at once.
    pub fn bye(&mut self, ssrc: Ssrc) {
        if let Some(sender) = self.sender.as_mut().filter(|s| s.ssrc == ssrc) {
            sender.said_bye = true;
        }
    }

    /// What a receiver report says of the sender that is followed.
    pub fn reception(&self) -> Option<Reception> {
        self.sender.as_ref().map(|s| s.tracker.reception(s.ssrc))
    }

    /// The packets that are there of a frame still being put together, in order; nothing if there is
    /// no such frame. What repair builds its shards from.
    pub fn received(&self, ssrc: Ssrc, time: RtpTime) -> impl Iterator<Item = ReceivedPacket<'_>> {
        let followed = self.ssrc() == Some(ssrc);
        let frame = self.slots.iter().find(|s| followed && s.time() == time);
        frame.into_iter().flat_map(|s| s.received())
    }

    /// How many packets [`Depacketizer::received`] has, without going through them.
    pub fn received_count(&self, ssrc: Ssrc, time: RtpTime) -> usize {
        let followed = self.ssrc() == Some(ssrc);
        let frame = self.slots.iter().find(|s| followed && s.time() == time);
        frame.map_or(0, |s| s.received_count())
    }

    /// Another [`Options::reorder`] from now on.
    pub fn set_reorder(&mut self, reorder: u16) {
        self.options.reorder = reorder;
    }

    /// Whether missing packets are asked for again from now on: then only time proves one lost, and whole frames wait
    /// as long as [`Options::late`] says for one before them.
    pub fn set_asking(&mut self, is_asking: bool) {
        self.is_asking = is_asking;
    }

    /// The frames that wait for packets, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        let closed = self.sender.as_ref().and_then(|s| s.closed);
        // What came before the first packet of all was not lost.
        let mut next = closed.map(|c| c.ext + 1);
        self.slots.iter().enumerate().filter_map(move |(i, frame)| {
            let later = self.slots.get(i + 1).map(|s| s.oldest());
            let from = match frame.has_start() {
                true => frame.oldest(),
                false => next.unwrap_or(frame.oldest()).min(frame.oldest()),
            };
            let has_end = frame.has_end() || later.is_some();
            let to = match later {
                Some(later) if !frame.has_end() => later,
                _ => frame.newest() + 1,
            };
            next = Some(to);
            let waits = frame.whole_since().is_none() && !frame.is_broken();
            waits.then_some(Waiting {
                frame,
                from,
                to,
                has_end,
            })
        })
    }

    /// The newest extended number of all that came.
    pub fn highest(&self) -> Option<u64> {
        self.sender.as_ref().map(|s| s.tracker.highest())
    }

    /// The time from frame to frame, as the frames tell it.
    pub fn interval(&self) -> Duration {
        let interval = self.sender.as_ref().map(|s| s.interval());
        interval.unwrap_or(DEFAULT_INTERVAL)
    }

    /// Whether the frame that begins with `first` is over: handed out or given up.
    pub fn is_over(&self, ssrc: Ssrc, first: SeqNo, time: RtpTime) -> bool {
        let sender = self.sender.as_ref().filter(|s| s.ssrc == ssrc);
        sender.is_some_and(|s| s.is_closed(s.tracker.extend(first), time))
    }

    fn read<'a>(&self, datagram: &'a [u8]) -> Option<(Packet<'a>, Payload<'a>)> {
        let packet = Packet::parse(datagram).ok()?;
        if packet.payload_type() != self.options.payload_type {
            return None;
        }
        let payload = Payload::parse(packet.payload()).ok()?;
        Some((packet, payload))
    }

    /// Whether the packet is of the sender that is followed; follows another where it should.
    fn follows(&mut self, now: Mono, packet: &Packet<'_>) -> bool {
        let ssrc = packet.ssrc();
        let why = match &self.sender {
            Some(sender) if sender.ssrc == ssrc => return true,
            Some(sender) if sender.said_bye => Why::Bye,
            Some(sender) if now.since(sender.last_arrival) >= sender.patience() => Why::Silence,
            Some(_) => {
                self.ignore_other(now, ssrc);
                return false;
            }
            None => Why::First,
        };
        self.switch(now, packet, why);
        true
    }

    /// Starts afresh with `first`.
    fn switch(&mut self, now: Mono, first: &Packet<'_>, why: Why) {
        while !self.slots.is_empty() {
            self.close_oldest();
        }
        self.suspect.at = None;
        let ssrc = first.ssrc();
        let previous = self.sender.replace(Sender::new(now, first)).map(|s| s.ssrc);
        self.tell(Event::Sender(SenderChange {
            ssrc,
            previous,
            why,
        }));
    }

    fn ignore_other(&mut self, now: Mono, ssrc: Ssrc) {
        self.others.packets += 1;
        if self
            .others
            .told
            .is_some_and(|told| now.since(told) < OTHER_SENDER_EVERY)
        {
            return;
        }
        self.others.told = Some(now);
        let packets = take(&mut self.others.packets);
        self.tell(Event::OtherSender { ssrc, packets });
    }

    /// Whether the packet goes on where the others are. Two in a row that do not, but fit each other,
    /// are a sender that began again: the first one is kept until then. RFC 3550 §A.1.
    fn continues(&mut self, now: Mono, packet: &Packet<'_>, datagram: &[u8]) -> bool {
        if self.sender.as_ref().is_some_and(|s| s.continues(packet)) {
            self.suspect.at = None;
            return true;
        }
        let at = self.suspect.at.replace((packet.seq(), packet.time()));
        let again = at.is_some_and(|(seq, time)| {
            let steps = packet.seq().distance(seq).unsigned_abs();
            let ticks = packet.time().distance(time).unsigned_abs();
            (1..=RESTART_REACH).contains(&steps) && ticks <= MAX_TIME_STEP.unsigned_abs()
        });
        if !again {
            self.suspect.datagram.clear();
            self.suspect.datagram.extend_from_slice(datagram);
            return false;
        }
        let first = take(&mut self.suspect.datagram);
        if let Some((packet, payload)) = self.read(&first) {
            self.switch(now, &packet, Why::Restart);
            self.take(now, packet, payload, &first);
        }
        self.suspect.datagram = first;
        true
    }

    /// Keeps the books of a packet of the sender, and puts it in its place.
    fn take(&mut self, now: Mono, packet: Packet<'_>, payload: Payload<'_>, datagram: &[u8]) {
        let Some(sender) = &mut self.sender else {
            return;
        };
        sender.last_arrival = now;
        sender.said_bye = false;
        let ext = sender.tracker.extend(packet.seq());
        if ext > sender.tracker.highest() {
            sender.newest = packet.time();
        }
        if !sender.tracker.note(ext) {
            return;
        }
        sender.tracker.clock(now, packet.time());
        if sender.is_closed(ext, packet.time()) {
            self.stats.packets_late.add(1);
            return;
        }
        let arrived = Arrived {
            now,
            ext,
            packet,
            payload,
            datagram,
            recovered: false,
        };
        match self.place(&arrived) {
            Placed::New | Placed::Duplicate => {}
            Placed::Late => self.stats.packets_late.add(1),
            Placed::Refused => self.stats.packets_invalid.add(1),
        }
    }

    /// Puts a packet into its frame.
    fn place(&mut self, p: &Arrived<'_>) -> Placed {
        let time = p.packet.time();
        let found = self.slots.iter().rposition(|s| s.takes(p.ext, time));
        let Some(slot) = found.or_else(|| self.open(p)) else {
            return Placed::Late;
        };
        let limit = FREE_GROWTH.max(2 * self.largest);
        let frame = &mut self.slots[slot];
        let placed = frame.place(p, limit, self.options.max_frame);
        let Some(sender) = &mut self.sender else {
            return placed;
        };
        if placed == Placed::New {
            match &p.payload.tables {
                Tables::Absent => {}
                Tables::AsBefore => frame.set_tables(sender.tables_for(p.payload.facts.q)),
                Tables::Given(tables) => sender.keep_tables(p.payload.facts.q, tables),
            }
            sender.size = frame.told_size().or(sender.size);
        } else if frame.is_empty() {
            // Opened for a packet that it then refused.
            let buffer = self.slots.remove(slot);
            self.recycle(buffer);
        }
        placed
    }

    /// Begins a frame; None if it is older than all that are being put together and there is no room.
    fn open(&mut self, p: &Arrived<'_>) -> Option<usize> {
        if self.slots.len() == MAX_SLOTS {
            if self.slots.first().is_some_and(|s| p.ext < s.oldest()) {
                return None;
            }
            self.close_oldest();
        }
        let mut buffer = self
            .spare
            .pop()
            .unwrap_or_else(|| Box::new(FrameBuffer::new()));
        buffer.reset(p.now, p.packet.time(), p.payload.facts);
        let index = self.slots.partition_point(|s| s.oldest() < p.ext);
        self.slots.insert(index, buffer);
        Some(index)
    }

    /// Whether the oldest frame is to be handed out or given up.
    fn verdict(&self, now: Mono) -> Verdict {
        let (Some(sender), Some(head)) = (&self.sender, self.slots.first()) else {
            return Verdict::Wait;
        };
        let highest = sender.tracker.highest();
        let hold = self.hold(sender);
        let reorder = match self.is_asking {
            true => u64::MAX / 2,
            false => u64::from(self.options.reorder),
        };
        let close = if let Some(since) = head.whole_since() {
            // Is the one before it over, or can nothing of it come any more?
            sender.closed.is_none_or(|c| c.ext + 1 == head.oldest())
                || highest >= head.oldest() + reorder
                || now >= since + hold
        } else {
            let overtaken = self.slots[1..]
                .iter()
                .filter_map(|s| s.whole_since())
                .any(|since| now >= since + hold);
            head.is_broken()
                || overtaken
                || highest > head.newest() + reorder
                || now >= sender.due(head, self.late(sender))
        };
        if close { Verdict::Close } else { Verdict::Wait }
    }

    /// Hands the oldest frame out, or gives it up.
    fn close_oldest(&mut self) {
        let mut frame = self.slots.remove(0);
        let Some(sender) = &mut self.sender else {
            return;
        };
        let first_of_all = sender.closed.is_none() && frame.oldest() == sender.tracker.base();
        let unseen = frames_unseen(sender, &frame);
        learn_interval(sender, &frame);
        sender.closed = Some(Closed {
            ext: frame.newest(),
            time: frame.time(),
            ended: frame.has_end(),
        });
        self.stats.frames_lost.add(unseen);
        self.stats
            .packets_lost
            .add(sender.tracker.settle(frame.newest()));

        let size = true_size(&frame, sender.size, self.options.size);
        let tables = tables_of(&frame);
        if let (true, Some(size), Some(tables)) = (frame.is_whole(), size, tables) {
            frame.finish(size, tables);
            self.largest = self.largest.max(frame.scan_len());
            match frame.repaired() {
                0 => self.stats.frames_whole.add(1),
                _ => self.stats.frames_repaired.add(1),
            }
            self.tell(Event::Frame(frame));
            return;
        }
        // Who comes in the middle of a frame has not lost it.
        if first_of_all && !frame.has_start() {
            self.recycle(frame);
            return;
        }
        let partial = self.options.give_partial && !frame.is_whole() && !frame.is_broken();
        if let (true, Some(size), Some(tables)) = (partial, size, tables) {
            if frame.finish_partial(size, tables) {
                self.tell(Event::Partial(frame));
                return;
            }
        }
        self.stats.frames_lost.add(1);
        let lost = LostFrame {
            time: frame.time(),
            received: frame.packets() - frame.missing(),
            missing: frame.missing(),
        };
        self.recycle(frame);
        self.tell(Event::Lost(lost));
    }

    fn tell(&mut self, event: Event) {
        if self.pending.len() == MAX_PENDING {
            if let Some(Event::Frame(buffer) | Event::Partial(buffer)) = self.pending.pop_front() {
                self.recycle(buffer);
            }
        }
        self.pending.push_back(event);
    }
}

/// What to do with the oldest frame.
enum Verdict {
    Wait,
    Close,
}

/// Frames of which no packet came, between the last one that was closed and `frame`: where numbers are
/// missing, as many as the timestamps leave room for.
fn frames_unseen(sender: &Sender, frame: &FrameBuffer) -> u64 {
    let Some(closed) = sender.closed else {
        return 0;
    };
    let gap = frame.oldest().saturating_sub(closed.ext + 1);
    if gap == 0 {
        return 0;
    }
    // Between a marker and a first packet there is at least one.
    let least = u64::from(closed.ended && frame.has_start());
    let ticks = u64::try_from(frame.time().distance(closed.time)).unwrap_or(0);
    let by_time = sender.interval.map_or(0, |interval| {
        let interval = (interval.as_nanos() as u64 * 9 / 100_000).max(1);
        ((ticks + interval / 2) / interval).saturating_sub(1)
    });
    by_time.max(least).min(gap)
}

/// Two frames that follow each other without a gap tell the frame interval.
fn learn_interval(sender: &mut Sender, frame: &FrameBuffer) {
    let Some(closed) = sender.closed else { return };
    let ticks = frame.time().distance(closed.time);
    if closed.ext + 1 != frame.oldest() || !closed.ended || ticks <= 0 || ticks > MAX_TIME_STEP {
        return;
    }
    let new = Duration::from_nanos(ticks as u64 * 100_000 / 9);
    sender.interval = Some(sender.interval.map_or(new, |old| (old * 7 + new) / 8));
}

/// The frame's true size: as its first packet says, else as the sender said last or the SDP says,
/// if that fits the header; else the header's, which is rounded up to 8.
fn true_size(
    frame: &FrameBuffer,
    last_told: Option<(u16, u16)>,
    sdp: Option<(u16, u16)>,
) -> Option<(u16, u16)> {
    let facts = frame.facts();
    let rounded = (u16::from(facts.width8) * 8, u16::from(facts.height8) * 8);
    [frame.told_size(), last_told, sdp, Some(rounded)]
        .into_iter()
        .flatten()
        .find(|&size| size.0 > 0 && size.1 > 0 && fits(&facts, size))
}

/// The frame's quantisation tables. RFC 2435 §3.1.4: Q below 128 computes them.
fn tables_of(frame: &FrameBuffer) -> Option<[u8; 128]> {
    match frame.facts().q {
        q @ 1..=99 => quant_for_q(q),
        _ => frame.tables(),
    }
}
