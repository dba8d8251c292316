//! Who sends: which source is followed, when another takes its place, and when it has restarted,
//! whatever its packets carry. In: headers, addresses and a time; out: a verdict.
//!
//! A source is an SSRC *and* an address (RFC 3550 §8.2): anybody can write another's SSRC into a
//! packet, and a host that does not forge its address can do no more here than send as another
//! source. The port means nothing: a sender's RTP, RTCP and repair come from different ones, and
//! its next socket has another.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::header::Packet;
use super::reception::{Reception, Tracker};
use super::types::{RtpTime, SeqNo, Ssrc};
use crate::clock::Mono;

/// Steps forward that are accepted at once; a packet further ahead is accepted when the next one
/// agrees with it.
const MAX_STEP: i16 = 32;
/// Steps forward that are still the same run of numbers: most of a second of a fast stream.
/// RFC 3550 §A.1 has 3000, for audio.
const MAX_DROPOUT: i16 = 16_000;
/// Steps back that are still reordering. RFC 3550 §A.1 has 100, for audio.
const MAX_MISORDER: i16 = -3_000;
/// How far apart two packets of one frame may be that arrived out of order.
const FRAME_REACH: u16 = 512;
/// RTP ticks within which neighbouring packets' timestamps lie: 10 s.
const MAX_TIME_STEP: i32 = 900_000;
/// How far numbers and times may be ahead if the SSRC has changed: a frame or two, and 1 s.
const MAX_STEP_OF_SSRC: i16 = 512;
const MAX_TIME_STEP_OF_SSRC: i32 = 90_000;
/// How near the second packet of a restarted source must be to the first, in numbers.
const RESTART_REACH: u16 = 16;
/// A source that has been quiet for this long may be replaced by another.
const SILENCE: Duration = Duration::from_millis(500);
/// The frame interval before two frames have shown it, and its bounds.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_millis(100);
const MIN_INTERVAL: Duration = Duration::from_millis(5);
const MAX_INTERVAL: Duration = Duration::from_millis(1000);
/// A source that was replaced because it was silent may come back within this time. Later its
/// address may be another host's.
const COMES_BACK: Duration = Duration::from_secs(3600);
/// How often packets of other sources are reported.
const OTHERS_EVERY: Duration = Duration::from_secs(60);

/// Why another run of packets is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the first source.
    First,
    /// The one before fell silent.
    Silence,
    /// The one before sent BYE.
    Bye,
    /// The same source restarted, with other numbers or times.
    Restart,
    /// The same source continues from another address, and is silent at the old one.
    Move,
    /// The source that was followed before the last one fell silent is back.
    Return,
    /// It is the announced one, and the one before was not.
    Announced,
}

/// The source of a stream, as announced. No other source is followed then, whatever it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedSource {
    /// The session's origin and the host that announces it.
    pub addresses: Vec<IpAddr>,
    /// Its packets' SSRC, if the description says so. RFC 5576.
    pub ssrc: Option<Ssrc>,
    /// The announced SSRCs of other streams in the same group: one host may send several.
    pub others: Arc<[Ssrc]>,
}

/// How well a source agrees with the announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It is not the announced one.
    No,
    /// The address is right, but not the SSRC: the sender may have restarted, and some draw one for
    /// each frame.
    Address,
    /// Everything announced is right.
    Full,
}

impl AnnouncedSource {
    fn fit(&self, address: IpAddr, ssrc: Ssrc) -> Fit {
        if !self.addresses.contains(&address) {
            return Fit::No;
        }
        match self.ssrc {
            Some(announced) if announced == ssrc => Fit::Full,
            None if !self.others.contains(&ssrc) => Fit::Full,
            _ if self.others.contains(&ssrc) => Fit::No,
            _ => Fit::Address,
        }
    }
}

/// Another source is followed from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceChange {
    /// The source that is followed.
    pub ssrc: Ssrc,
    /// Its address.
    pub address: IpAddr,
    /// The one before.
    pub previous: Option<Ssrc>,
    /// Why.
    pub cause: Cause,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// From the source that is followed.
    Followed,
    /// From the source that is followed, the first from its new address.
    Moved,
    /// The first of a source to be [followed](Sources::follow) from now on.
    New(Cause),
    /// It does not continue the run, and is held until the next one shows what it was.
    Held,
    /// It agrees with the held one: both are further ahead because packets were lost.
    Ahead,
    /// It agrees with the held one: both are from a source that restarted.
    Restarted,
    /// From another source. The number: how many came since the last report, if another one is due.
    Other(Option<u64>),
}

/// The source that is followed.
#[derive(Debug)]
pub(super) struct Source {
    ssrc: Ssrc,
    address: IpAddr,
    pub(super) tracker: Tracker,
    /// Timestamp of the newest packet.
    newest: RtpTime,
    last_arrival: Mono,
    said_bye: bool,
    interval: Option<Duration>,
}

impl Source {
    fn new(now: Mono, address: IpAddr, first: &Packet<'_>) -> Source {
        Source {
            ssrc: first.ssrc(),
            address,
            tracker: Tracker::new(first.seq()),
            newest: first.time(),
            last_arrival: now,
            said_bye: false,
            interval: None,
        }
    }

    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn reception(&self) -> Reception {
        self.tracker.reception(self.ssrc, self.address)
    }

    /// Records a packet's arrival. Returns its extended number; `None`: it is a duplicate.
    pub(super) fn record(&mut self, now: Mono, packet: &Packet<'_>) -> Option<u64> {
        self.last_arrival = now;
        self.said_bye = false;
        let ext = self.tracker.extend(packet.seq());
        if ext > self.tracker.highest() {
            self.newest = packet.time();
            self.ssrc = packet.ssrc();
        }
        if !self.tracker.record(ext) {
            return None;
        }
        self.tracker.clock(now, packet.time());
        Some(ext)
    }

    /// The frame interval.
    pub(super) fn interval(&self) -> Duration {
        self.interval
            .unwrap_or(DEFAULT_INTERVAL)
            .clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    /// The same, if two frames have shown it.
    pub(super) fn known_interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Notes that two successive frames are this many ticks apart.
    pub(super) fn learn_interval(&mut self, ticks: i32) {
        if ticks <= 0 || ticks > MAX_TIME_STEP {
            return;
        }
        let new = Duration::from_nanos(ticks as u64 * 100_000 / 9);
        self.interval = Some(self.interval.map_or(new, |old| (old * 7 + new) / 8));
    }

    /// How long it may be quiet before another takes over; a slow stream is quiet between frames.
    fn patience(&self) -> Duration {
        SILENCE.max(3 * self.interval.map_or(Duration::ZERO, |_| self.interval()))
    }

    /// How far a number is ahead of the newest.
    fn steps(&self, seq: SeqNo) -> i16 {
        seq.distance(SeqNo(self.tracker.highest() as u16))
    }

    /// Whether a packet with this number and time continues the run, as opposed to that of a
    /// restarted source.
    pub(super) fn continues(&self, seq: SeqNo, time: RtpTime) -> bool {
        let ticks = time.distance(self.newest);
        match self.steps(seq) {
            1 => true,
            2..=MAX_DROPOUT => (0..=MAX_TIME_STEP).contains(&ticks),
            MAX_MISORDER..=0 => (-MAX_TIME_STEP..=0).contains(&ticks),
            _ => false,
        }
    }

    /// Whether it is the source of a packet, by SSRC or, since some senders draw a new one for each
    /// frame, by numbers and times that continue the run.
    fn is_of(&self, packet: &Packet<'_>) -> bool {
        let ticks = packet.time().distance(self.newest);
        self.ssrc == packet.ssrc()
            || self.continues(packet.seq(), packet.time())
                && self.steps(packet.seq()) <= MAX_STEP_OF_SSRC
                && ticks.unsigned_abs() <= MAX_TIME_STEP_OF_SSRC.unsigned_abs()
    }

    fn is_silent(&self, now: Mono) -> bool {
        now.since(self.last_arrival) >= self.patience()
    }
}

/// Where a source was before it was replaced because it was silent.
#[derive(Clone, Copy, Debug)]
struct Absent {
    address: IpAddr,
    since: Mono,
}

/// All who send.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// `None`: not announced, so whoever comes first is followed.
    announced: Option<AnnouncedSource>,
    followed: Option<Source>,
    /// The first source followed, while another is.
    absent: Option<Absent>,
    /// A packet that does not continue the run: perhaps the first of a restarted source.
    suspect: Option<(SeqNo, RtpTime)>,
    held: Vec<u8>,
    /// Packets of others not yet reported, and when they last were.
    others: u64,
    reported: Option<Mono>,
}

impl Sources {
    /// The source that is followed.
    pub(super) fn followed(&self) -> Option<&Source> {
        self.followed.as_ref()
    }

    /// The same, for recording what it sends.
    pub(super) fn followed_mut(&mut self) -> Option<&mut Source> {
        self.followed.as_mut()
    }

    /// Sets the announced source; `None`: not announced.
    pub(super) fn expect(&mut self, announced: Option<AnnouncedSource>) {
        self.announced = announced;
    }

    /// What a packet from `address` is.
    pub(super) fn judge(
        &mut self,
        now: Mono,
        address: IpAddr,
        packet: &Packet<'_>,
        datagram: &[u8],
    ) -> Verdict {
        let source = self.followed.as_ref();
        if source.is_some_and(|s| s.address == address && s.is_of(packet)) {
            return self.in_run(packet, datagram);
        }
        self.change(now, address, packet)
            .unwrap_or_else(|| Verdict::Other(self.count_other(now)))
    }

    /// Whether a packet of another source makes that the one to follow; `None`: it does not.
    fn change(&self, now: Mono, address: IpAddr, packet: &Packet<'_>) -> Option<Verdict> {
        let fit = self.fit(address, packet.ssrc());
        let Some(source) = &self.followed else {
            return (fit > Fit::No).then_some(Verdict::New(Cause::First));
        };
        let new = |cause| (fit > Fit::No).then_some(Verdict::New(cause));
        if source.said_bye {
            return new(Cause::Bye);
        }
        if fit > self.fit(source.address, source.ssrc) {
            return new(Cause::Announced);
        }
        if self.is_back(now, address) {
            return new(Cause::Return);
        }
        if !source.is_silent(now) {
            return None;
        }
        let goes_on = source.continues(packet.seq(), packet.time());
        match source.ssrc == packet.ssrc() && goes_on {
            // Even from an address that is not announced yet.
            true => Some(Verdict::Moved),
            false => new(Cause::Silence),
        }
    }

    fn fit(&self, address: IpAddr, ssrc: Ssrc) -> Fit {
        let announced = self.announced.as_ref();
        announced.map_or(Fit::Full, |a| a.fit(address, ssrc))
    }

    /// Whether a packet from `address` is from the source that was followed first and only paused.
    /// Its SSRC means nothing: it may have been restarted.
    fn is_back(&self, now: Mono, address: IpAddr) -> bool {
        self.absent
            .is_some_and(|a| a.address == address && now.since(a.since) < COMES_BACK)
    }

    /// Whether the packet continues the run. If not, the next one shows whether packets were lost
    /// or the source restarted; until then it is held, so that it is not lost. RFC 3550 §A.1.
    fn in_run(&mut self, packet: &Packet<'_>, datagram: &[u8]) -> Verdict {
        let Some(source) = &self.followed else {
            return Verdict::Held;
        };
        let continues = source.continues(packet.seq(), packet.time());
        let steps = source.steps(packet.seq());
        let is_of_one_frame = self.suspect.is_some_and(|(seq, time)| {
            time == packet.time() && packet.seq().distance(seq).unsigned_abs() <= FRAME_REACH
        });
        if continues && is_of_one_frame {
            self.suspect = None;
            return Verdict::Ahead;
        }
        if continues && steps <= 0 {
            return Verdict::Followed;
        }
        if continues && steps <= MAX_STEP {
            self.suspect = None;
            return Verdict::Followed;
        }
        let suspect = self.suspect.replace((packet.seq(), packet.time()));
        let agrees = suspect.is_some_and(|(seq, time)| {
            let steps = packet.seq().distance(seq).unsigned_abs();
            let ticks = packet.time().distance(time).unsigned_abs();
            (1..=RESTART_REACH).contains(&steps) && ticks <= MAX_TIME_STEP.unsigned_abs()
        });
        if agrees {
            self.suspect = None;
            return match continues {
                true => Verdict::Ahead,
                false => Verdict::Restarted,
            };
        }
        self.held.clear();
        self.held.extend_from_slice(datagram);
        Verdict::Held
    }

    /// How many packets of others to report, if that is due.
    fn count_other(&mut self, now: Mono) -> Option<u64> {
        self.others += 1;
        if (self.reported).is_some_and(|at| now.since(at) < OTHERS_EVERY) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.others))
    }

    /// Starts to follow the source of `first`.
    pub(super) fn follow(
        &mut self,
        now: Mono,
        address: IpAddr,
        first: &Packet<'_>,
        cause: Cause,
    ) -> SourceChange {
        self.suspect = None;
        let previous = self.followed.replace(Source::new(now, address, first));
        if let (Cause::Silence, Some(silent)) = (cause, &previous) {
            self.note_absent(now, silent.address);
        }
        self.absent = self.absent.filter(|a| a.address != address);
        SourceChange {
            ssrc: first.ssrc(),
            address,
            previous: previous.map(|s| s.ssrc),
            cause,
        }
    }

    /// Continues with the followed source at its new address.
    pub(super) fn follow_to(&mut self, now: Mono, address: IpAddr) -> Option<SourceChange> {
        let source = self.followed.as_mut()?;
        let (ssrc, old) = (source.ssrc, std::mem::replace(&mut source.address, address));
        self.note_absent(now, old);
        Some(SourceChange {
            ssrc,
            address,
            previous: Some(ssrc),
            cause: Cause::Move,
        })
    }

    /// Notes that the source at `address` is replaced because it is silent. The first such is
    /// followed again when it is back.
    fn note_absent(&mut self, now: Mono, address: IpAddr) {
        let is_known = self.absent.is_some_and(|a| now.since(a.since) < COMES_BACK);
        if !is_known {
            self.absent = Some(Absent {
                address,
                since: now,
            });
        }
    }

    /// The held datagram; its memory must be [given back](Sources::give_back).
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    pub(super) fn give_back(&mut self, held: Vec<u8>) {
        self.held = held;
    }

    /// BYE of `ssrc` came from `address`.
    pub(super) fn bye(&mut self, address: IpAddr, ssrc: Ssrc) {
        let source = self.followed.as_mut();
        if let Some(source) = source.filter(|s| (s.address, s.ssrc) == (address, ssrc)) {
            source.said_bye = true;
        }
    }
}
