//! The sender's end of RTCP: its reports, and what it knows about its viewers. In: datagrams and
//! times; out: datagrams and [`Feedback`]. What to do about feedback is decided elsewhere.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::session::Session;
use super::time::{in_65536ths, middle};
use super::timing::Due;
use super::wire::{
    self, Compound, Description, FrameReport, Item, NotRtcp, ReportBlock, SenderInfo,
};
use crate::clock::{Mono, Ntp};
use crate::rtp::stats::{ViewerFrames, ViewerReport};
use crate::rtp::types::{RtpTime, SeqNo, Ssrc};

/// The program name (TOOL) of lancam's senders, which tells them from viewers while they send
/// nothing.
pub const TOOL: &str = "lancam send";
/// Viewers listed one by one; all are counted.
pub const MAX_LISTED: usize = 256;
/// A sender that sent nothing for this long writes receiver reports: two intervals. RFC 3550
/// §6.3.8.
const SILENCE: Duration = Duration::from_secs(10);
/// A longer round trip is a viewer's error.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(60);
/// How old the highest number in a report may be.
const RECENT: Duration = Duration::from_secs(3);
/// Sender reports that a viewer's report may refer to.
const MAX_SENT_REPORTS: usize = 32;
/// A host reports as long as the last of its reports is not older than this.
const REPORTING: Duration = Duration::from_secs(60);

/// A viewer's report on the stream. It is consistent with what was sent, but may still be false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewerLoss {
    /// The viewer.
    pub ssrc: Ssrc,
    /// The host that it reports from.
    pub host: IpAddr,
    /// Share of the packets lost since its previous report, before any repair: 0 to 1.
    pub fraction_lost: f32,
    /// Packets lost since it began, before any repair.
    pub lost: i32,
    /// The highest sequence number that it has received, with the count of wraps in the upper half.
    pub highest: u32,
    /// Network round trip, once known.
    pub round_trip: Option<Duration>,
    /// What only lancam's viewers report.
    pub frames: Option<FrameReport>,
}

/// What a sender may act on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feedback<'a> {
    /// A viewer reports about this stream.
    Report(ViewerLoss),
    /// A viewer requests packets of this stream again (generic NACK).
    Nack {
        /// The viewer. It need not be one that is counted.
        from: Ssrc,
        /// The host that asks.
        host: IpAddr,
        /// Whether that host reports what it receives.
        reports: bool,
        /// Which packets; at most [`wire::MAX_NACKED`].
        missing: &'a [SeqNo],
    },
    /// A viewer sent BYE, or nothing for too long.
    Left {
        /// Which.
        ssrc: Ssrc,
    },
    /// Another sender is in the group.
    OtherSender {
        /// Where its RTCP comes from.
        host: IpAddr,
    },
}

/// What was sent so far, in packets and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// RTP packets, without repair.
    pub packets: u64,
    /// Their payload. RFC 3550 §6.4.1: without headers.
    pub octets: u64,
    /// UDP payload of everything sent.
    pub bytes: u64,
    /// The highest sequence number.
    pub highest: SeqNo,
}

#[derive(Clone, Debug)]
struct Viewer {
    address: SocketAddr,
    last_seen: Mono,
    description: Description,
    /// Its last report, and how many packets had been sent then.
    block: Option<ReportBlock>,
    sent: u64,
    frames: Option<FrameReport>,
    round_trip: Option<Duration>,
}

/// One stream's reports and viewers. Memory: a session's members, and for each viewer three names
/// of 64 characters.
#[derive(Clone, Debug)]
pub struct SenderSide {
    session: Session,
    description: Description,
    /// Added to capture times on the stream's clock.
    time_offset: u32,
    viewers: HashMap<Ssrc, Viewer>,
    /// When each host last reported what it receives.
    reporting: HashMap<IpAddr, Mono>,
    sent: Sent,
    /// Packets sent up to each of the last ticks.
    history: VecDeque<(Mono, u64)>,
    /// Our last sender reports: the middle of their NTP time, and when they were sent.
    sent_reports: VecDeque<(u32, Mono)>,
    counted_at: Mono,
    /// When packets were last seen to be sent.
    sent_at: Option<Mono>,
}

impl SenderSide {
    /// For the stream of `ssrc`, whose timestamps are capture times plus `time_offset`.
    pub fn new(
        ssrc: Ssrc,
        time_offset: u32,
        description: Description,
        seed: u64,
        now: Mono,
    ) -> SenderSide {
        SenderSide {
            session: Session::new(ssrc, seed, now),
            description,
            time_offset,
            viewers: HashMap::new(),
            reporting: HashMap::new(),
            sent: Sent::default(),
            history: VecDeque::new(),
            sent_reports: VecDeque::new(),
            counted_at: now,
            sent_at: None,
        }
    }

    /// Takes a datagram that came `from` an address at `now`, when `sent` had been sent.
    ///
    /// # Errors
    /// It is not RTCP.
    pub fn receive(
        &mut self,
        now: Mono,
        sent: Sent,
        from: SocketAddr,
        datagram: &[u8],
        mut each: impl FnMut(Feedback<'_>),
    ) -> Result<(), NotRtcp> {
        let items = wire::parse(datagram)?;
        let (own, address) = (self.session.own(), from);
        let host = address.ip().to_canonical();
        // Its own, looped back.
        if matches!(items[0], Item::Sender { from, .. } | Item::Receiver { from } if from == own) {
            return Ok(());
        }
        self.session.received(datagram.len());
        let (mut block, mut frames, mut reporter) = (None, None, None);
        for item in &items {
            match item {
                Item::Sender { from, .. } => {
                    if self.session.sender_active(now, *from, Some(host)) {
                        self.viewers.remove(from);
                        each(Feedback::OtherSender { host });
                    }
                }
                Item::Receiver { from } => {
                    reporter = self.note(now, address, *from).then_some(*from);
                }
                Item::Block { block: b, .. } if b.ssrc == own => block = Some(*b),
                Item::Block { .. } => {}
                Item::Description { from, description } if reporter == Some(*from) => {
                    self.describe(*from, description);
                }
                Item::Description { .. } => {}
                Item::Frames { report, .. } if report.media == own => frames = Some(*report),
                Item::Frames { .. } => {}
                Item::Nack {
                    from: ssrc,
                    media,
                    missing,
                } => {
                    if *media == own {
                        each(Feedback::Nack {
                            from: *ssrc,
                            host,
                            reports: self.reporting.contains_key(&host),
                            missing,
                        });
                    }
                }
                Item::Bye { from } => {
                    let is_member = self.session.bye_received(now, *from, host);
                    if is_member && self.viewers.remove(from).is_some() {
                        each(Feedback::Left { ssrc: *from });
                    }
                    reporter = reporter.filter(|r| r != from);
                }
            }
        }
        if let (Some(ssrc), Some(block)) = (reporter, block) {
            let loss = self.take_report(now, sent, (ssrc, host), block, frames);
            if let Some(loss) = loss {
                each(Feedback::Report(loss));
            }
        }
        Ok(())
    }

    /// Records what a viewer reports; `None` if it cannot be true.
    fn take_report(
        &mut self,
        now: Mono,
        sent: Sent,
        (ssrc, host): (Ssrc, IpAddr),
        block: ReportBlock,
        frames: Option<FrameReport>,
    ) -> Option<ViewerLoss> {
        let round_trip = self.round_trip(now, &block);
        let recent = self.sent_recently(now, sent);
        let viewer = self.viewers.get_mut(&ssrc)?;
        if round_trip.is_err() || !viewer.agrees(&block, sent, recent) {
            // It may have restarted its count.
            viewer.block = None;
            return None;
        }
        viewer.block = Some(block);
        viewer.sent = sent.packets;
        viewer.frames = frames;
        viewer.round_trip = round_trip.unwrap_or_default().or(viewer.round_trip);
        self.reporting.insert(host, now);
        Some(ViewerLoss {
            ssrc,
            host,
            fraction_lost: f32::from(block.fraction_lost) / 256.0,
            lost: block.lost,
            highest: block.highest,
            round_trip: viewer.round_trip,
            frames,
        })
    }

    /// Packets sent within [`RECENT`].
    fn sent_recently(&self, now: Mono, sent: Sent) -> u64 {
        let mut newest_first = self.history.iter().rev();
        let before = newest_first.find(|(at, _)| now.since(*at) >= RECENT);
        let before = before.or(self.history.front());
        let before = before.map_or(0, |(_, packets)| *packets);
        sent.packets.saturating_sub(before)
    }

    /// RFC 3550 §6.4.1: arrival less the report's time less the time that the viewer kept it.
    /// `None`: no report of ours reached it yet.
    ///
    /// # Errors
    /// It refers to a report that was not sent, or cannot have been kept for that long.
    fn round_trip(&self, now: Mono, block: &ReportBlock) -> Result<Option<Duration>, ()> {
        if block.last_sr == 0 {
            return Ok(None);
        }
        let ours = self
            .sent_reports
            .iter()
            .find(|(ntp, _)| *ntp == block.last_sr);
        let (_, at) = ours.ok_or(())?;
        let units = i64::from(in_65536ths(now.since(*at))) - i64::from(block.since_last_sr);
        // The viewer rounds, and may be off by a unit or two.
        if !(-4..=i64::from(in_65536ths(LONGEST_ROUND_TRIP))).contains(&units) {
            return Err(());
        }
        Ok(Some(Duration::from_nanos(
            (units.max(0) as u64 * 1_000_000_000) >> 16,
        )))
    }

    /// Notes a member that does not send; false if it is not a viewer.
    fn note(&mut self, now: Mono, address: SocketAddr, ssrc: Ssrc) -> bool {
        // It may merely pause: RFC 3550 §6.4 has it write receiver reports then.
        let host = address.ip().to_canonical();
        if !self.session.member_active(now, ssrc, host) || self.session.is_sender(ssrc) {
            return false;
        }
        let viewer = self.viewers.entry(ssrc).or_insert_with(|| Viewer {
            address,
            last_seen: now,
            description: Description::default(),
            block: None,
            sent: 0,
            frames: None,
            round_trip: None,
        });
        viewer.address = address;
        viewer.last_seen = now;
        true
    }

    fn describe(&mut self, ssrc: Ssrc, description: &Description) {
        if description.tool.starts_with(TOOL) {
            self.viewers.remove(&ssrc);
        }
        if let Some(viewer) = self.viewers.get_mut(&ssrc) {
            if viewer.description != *description {
                viewer.description.clone_from(description);
            }
        }
    }

    /// Call it about once a second with what was sent so far; removes members that were silent for
    /// too long.
    pub fn tick(&mut self, now: Mono, sent: Sent, mut each: impl FnMut(Feedback<'_>)) {
        let time = now.since(self.counted_at).as_secs_f64();
        if time > 0.0 {
            // At a reload the counters go on.
            let bytes = sent.bytes.saturating_sub(self.sent.bytes);
            self.session.set_bandwidth(bytes as f64 / time);
        }
        if sent.packets > self.sent.packets {
            self.sent_at = Some(now);
        }
        (self.sent, self.counted_at) = (sent, now);
        let is_sending = self.sent_at.is_some_and(|at| now.since(at) < SILENCE);
        if self.session.set_sending(is_sending) && is_sending {
            // Those who were there before wait for the mapping of times.
            self.session.request_feedback(now);
        }
        self.history.push_back((now, sent.packets));
        if self.history.len() > 1 + RECENT.as_secs() as usize {
            self.history.pop_front();
        }
        (self.reporting).retain(|_, last| now.since(*last) < REPORTING);
        for ssrc in self.session.expire(now) {
            if self.viewers.remove(&ssrc).is_some() {
                each(Feedback::Left { ssrc });
            }
        }
    }

    /// The datagram that is due at `now`, which is `wall` on the wall clock; call it again until
    /// there is none. After [`SenderSide::leave`] the last one is BYE.
    pub fn poll(&mut self, now: Mono, wall: Ntp, sent: Sent) -> Option<(Due, Vec<u8>)> {
        let due = self.session.poll(now)?;
        let compound = self.compound(now, wall, sent, due == Due::Bye);
        let (is_sender_report, bytes) = (compound.info.is_some(), compound.to_bytes());
        if is_sender_report {
            self.sent_reports.truncate(MAX_SENT_REPORTS - 1);
            self.sent_reports.push_front((middle(wall), now));
        }
        self.session.sent(now, due, bytes.len());
        Some((due, bytes))
    }

    fn compound(&self, now: Mono, wall: Ntp, sent: Sent, bye: bool) -> Compound<'_> {
        // Sent since the last tick counts, too: a sender's first report says that it is one.
        let is_sending = self.sent_at.is_some_and(|at| now.since(at) < SILENCE)
            || sent.packets > self.sent.packets;
        let time = RtpTime::from_nanos(now.0).0.wrapping_add(self.time_offset);
        Compound {
            from: self.session.own(),
            info: is_sending.then_some(SenderInfo {
                ntp: wall,
                time: RtpTime(time),
                packets: sent.packets as u32,
                octets: sent.octets as u32,
            }),
            block: None,
            description: &self.description,
            frames: None,
            nack: None,
            bye,
        }
    }

    /// Starts leaving, after what has been `sent`; false if there is nothing to send. See
    /// [`Session::leave`].
    pub fn leave(&mut self, now: Mono, sent: Sent) -> bool {
        if sent.packets > 0 {
            self.session.set_sending(true);
        }
        let bytes = (self.compound(now, Ntp(0), Sent::default(), true)).to_bytes();
        self.session.leave(now, bytes.len())
    }

    /// The latest time at which [`SenderSide::poll`] has something.
    pub fn deadline(&self) -> Mono {
        self.session.deadline()
    }

    /// How many viewers report.
    pub fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// What they report, in the order of their addresses; the first [`MAX_LISTED`].
    pub fn reports(&self, now: Mono) -> Vec<ViewerReport> {
        let mut all: Vec<_> = self.viewers.iter().collect();
        all.sort_unstable_by_key(|(ssrc, viewer)| (viewer.address, ssrc.0));
        all.truncate(MAX_LISTED);
        (all.into_iter())
            .map(|(&ssrc, viewer)| viewer.report(ssrc, now))
            .collect()
    }
}

impl Viewer {
    /// Whether it can have received what the block says, given what was `sent`, `recent` packets of
    /// it lately.
    fn agrees(&self, block: &ReportBlock, sent: Sent, recent: u64) -> bool {
        let behind = sent.highest.0.wrapping_sub(block.highest as u16);
        if u64::from(behind) > recent {
            return false;
        }
        let Some(before) = &self.block else {
            return true;
        };
        let received = block.highest.wrapping_sub(before.highest);
        let lost = i64::from(block.lost) - i64::from(before.lost);
        u64::from(received) <= sent.packets.saturating_sub(self.sent) + recent
            && lost <= i64::from(received)
    }

    fn report(&self, ssrc: Ssrc, now: Mono) -> ViewerReport {
        let block = self.block.unwrap_or_default();
        let name = match self.description.name.is_empty() {
            true => &self.description.cname,
            false => &self.description.name,
        };
        ViewerReport {
            ssrc: ssrc.0,
            address: self.address,
            name: name.clone(),
            fraction_lost: f32::from(block.fraction_lost) / 256.0,
            packets_lost: block.lost.into(),
            jitter_ms: (f64::from(block.jitter) * 1e3 / RtpTime::RATE as f64) as f32,
            round_trip_ms: self.round_trip.map(|time| time.as_secs_f32() * 1e3),
            last_seen_s: now.since(self.last_seen).as_secs_f32(),
            frames: self.frames.map(|f| ViewerFrames {
                whole: f.whole,
                repaired: f.repaired,
                lost: f.lost,
                packets_missing: f.missing,
                delay_ms: f.delay.map(|tenths| f32::from(tenths) / 10.0),
            }),
        }
    }
}
