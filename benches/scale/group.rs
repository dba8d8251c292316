//! One sender and its viewers on a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lancam::clock::{Mono, Ntp};
use lancam::rtp::adapt::Adapt;
use lancam::rtp::repair::Overhead;
use lancam::rtp::repair::overhead::Report;
use lancam::rtp::rtcp::members::Members;
use lancam::rtp::rtcp::sender::Sent;
use lancam::rtp::rtcp::timing::{Count, Timing};
use lancam::rtp::rtcp::wire::{Compound, ReportBlock};
use lancam::rtp::rtcp::{Description, Due, Feedback, FrameReport, SenderSide};
use lancam::rtp::{SeqNo, Ssrc};

/// 150 KB a frame in 107 packets, 30 a second.
const PACKETS: u32 = 107;
const FPS: u32 = 30;
const PACKET: f64 = 1_400.0;
/// The stream's bytes a second.
pub(crate) const BANDWIDTH: f64 = PACKETS as f64 * FPS as f64 * PACKET;
/// UDP and IPv4 headers, which RFC 3550 §6.2 counts.
const HEADERS: f64 = 28.0;
/// How often a viewer looks whether its loss has changed, as lancam's do.
const LOOK: Duration = Duration::from_millis(200);
/// A change of loss that is reported early: see `rtcp::viewer`.
const CHANGE: (f64, f64) = (0.01, 0.25);
/// After this a packet that is asked for comes too late.
const WISH_LASTS: Duration = Duration::from_millis(250);
const SENDER: Ssrc = Ssrc(0);
const SECOND: u64 = 1_000_000_000;

struct Viewer {
    timing: Timing,
    /// When it is polled next.
    due: u64,
    /// Reports of the group up to which it has weighed their size.
    weighed: u64,
    /// Packets expected and lost when it looked last, and when it reported last.
    looked: (f64, f64),
    reported: (f64, f64),
    /// The share of loss in its last report.
    told: f64,
    /// The packets that it asks for, and since when.
    wishes: Vec<SeqNo>,
    since: Mono,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// By second: bytes with headers, reports, NACKs.
    bytes: Vec<f64>,
    reports: Vec<f64>,
    pub(crate) nacks: Vec<f64>,
    pub(crate) lost: f64,
    /// Of those lost, asked for in time.
    pub(crate) asked: f64,
    /// Real time that the sender's end took.
    pub(crate) cpu: Duration,
    pub(crate) memory: f64,
}

/// Means a second.
pub(crate) struct Steady {
    pub(crate) bytes: f64,
    pub(crate) reports: f64,
}

impl Run {
    pub(crate) fn steady(&self, from: u64) -> Steady {
        let mean = |all: &[f64]| {
            let rest = all.get(from as usize..).unwrap_or_default();
            rest.iter().sum::<f64>() / rest.len().max(1) as f64
        };
        Steady {
            bytes: mean(&self.bytes),
            reports: mean(&self.reports),
        }
    }

    pub(crate) fn peak(&self) -> f64 {
        self.bytes.iter().copied().fold(0.0, f64::max)
    }
}

pub(crate) struct Group {
    now: Mono,
    pub(crate) sender: SenderSide,
    pub(crate) overhead: Overhead,
    pub(crate) adapt: Adapt,
    viewers: Vec<Viewer>,
    /// What every viewer knows of the others.
    members: Members,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Reports that everybody heard.
    reports: u64,
    loss: f64,
    /// The share of the full rate that the link takes.
    pub(crate) room: f64,
    /// Viewers ask for what they lose.
    pub(crate) asks: bool,
    /// Packets sent so far, by the shares of frames that were.
    packets: f64,
    last_sr: (u32, Mono),
    description: Description,
    dice: u64,
    resident: f64,
    run: Run,
}

fn host(n: usize) -> SocketAddr {
    SocketAddr::from(((0x0a00_0001 + n as u32).to_be_bytes(), 10_001))
}

/// Bytes of memory that the process has.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

impl Group {
    pub(crate) fn new(viewers: usize) -> Group {
        let now = Mono(SECOND);
        let description = Description {
            cname: "user@viewer-1234".to_owned(),
            name: "viewer-1234".to_owned(),
            tool: "lancam view 0.1.0".to_owned(),
        };
        let mut members = Members::default();
        members.sender_active(now, SENDER, Some(host(0).ip()));
        let all: Vec<Viewer> = (0..viewers as u64)
            .map(|n| Viewer {
                timing: Timing::new(n + 1, now),
                due: 0,
                weighed: 0,
                looked: (0.0, 0.0),
                reported: (0.0, 0.0),
                told: 0.0,
                wishes: Vec::new(),
                since: now,
            })
            .collect();
        let mut group = Group {
            now,
            sender: SenderSide::new(SENDER, 0, description.clone(), 99, now),
            overhead: Overhead::new(now, 0.5),
            adapt: Adapt::new(now, 0.1),
            viewers: all,
            members,
            due: BinaryHeap::new(),
            reports: 0,
            loss: 0.0,
            room: f64::INFINITY,
            asks: false,
            packets: 0.0,
            last_sr: (0, now),
            description,
            dice: 1,
            resident: 0.0,
            run: Run::default(),
        };
        (0..viewers).for_each(|n| group.schedule(n));
        group.resident = resident();
        group
    }

    fn schedule(&mut self, n: usize) {
        let at = self.viewers[n].timing.deadline().0;
        self.viewers[n].due = at;
        self.due.push(Reverse((at, n)));
    }

    pub(crate) fn set_loss(&mut self, loss: f64) {
        self.loss = loss;
    }

    /// Since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.now.since(Mono(SECOND))
    }

    pub(crate) fn into_run(mut self) -> Run {
        self.run.memory = (resident() - self.resident).max(0.0);
        self.run
    }

    /// Lets so many seconds pass, or fewer, until `is_done`; whether it was.
    pub(crate) fn run(&mut self, seconds: u64, mut is_done: impl FnMut(&Group) -> bool) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        // With NACKs a look for each frame.
        let step = if self.asks {
            Duration::from_secs(1) / FPS
        } else {
            LOOK
        };
        let mut tick_at = self.now;
        while self.now < end {
            let next = self.now + step;
            while let Some(Reverse((at, n))) = self.due.peek().copied() {
                if at > next.0 {
                    break;
                }
                self.due.pop();
                // It may be polled sooner by now.
                if at == self.viewers[n].due {
                    self.now = self.now.max(Mono(at));
                    self.poll(n);
                }
            }
            self.now = next;
            self.packets += f64::from(PACKETS * FPS) * step.as_secs_f64() * self.kept();
            (0..self.viewers.len()).for_each(|n| self.look(n, step));
            if self.now >= tick_at {
                tick_at = self.now + Duration::from_secs(1);
                self.tick();
            }
            if is_done(self) {
                return true;
            }
        }
        false
    }

    fn kept(&self) -> f64 {
        self.adapt.keep().into()
    }

    fn sent(&self) -> Sent {
        Sent {
            packets: self.packets as u64,
            octets: (self.packets * PACKET) as u64,
            bytes: (self.packets * PACKET) as u64,
            highest: SeqNo(self.packets as u64 as u16),
        }
    }

    fn count(&self) -> Count {
        let all = self.members.count();
        // The viewer itself is in the table.
        let members = all.members.saturating_sub(1).max(2);
        Count {
            members,
            receivers: all.receivers.saturating_sub(1).max(1),
            ..all
        }
    }

    fn wall(&self) -> Ntp {
        Ntp((3_900_000_000 << 32)
            + (u128::from(self.now.0) * (1 << 32) / u128::from(SECOND)) as u64)
    }

    /// What the sender does once a second, and its own report.
    fn tick(&mut self) {
        let (now, wall, sent) = (self.now, self.wall(), self.sent());
        let began = Instant::now();
        self.sender.tick(now, sent, |_| {});
        self.overhead.update(now);
        std::hint::black_box(self.sender.reports(now));
        while let Some((_, datagram)) = self.sender.poll(now, wall, sent) {
            self.last_sr = ((wall.0 >> 16) as u32, now);
            self.note(datagram.len(), false);
        }
        self.run.cpu += began.elapsed();
        let interval = Timing::new(0, now).expiry_interval(self.count());
        self.members.expire(now, interval);
        self.members.sender_active(now, SENDER, Some(host(0).ip()));
    }

    /// A datagram went over the network.
    fn note(&mut self, bytes: usize, is_nack: bool) {
        let second = self.now().as_secs() as usize;
        for all in [
            &mut self.run.bytes,
            &mut self.run.reports,
            &mut self.run.nacks,
        ] {
            all.resize(all.len().max(second + 1), 0.0);
        }
        self.run.bytes[second] += bytes as f64 + HEADERS;
        match is_nack {
            true => self.run.nacks[second] += 1.0,
            false => self.run.reports[second] += 1.0,
        }
    }

    /// The share of packets lost at present.
    fn share_lost(&self) -> f64 {
        1.0 - (self.room / self.kept()).min(1.0) * (1.0 - self.loss)
    }

    /// A normal distribution is near enough to the binomial one, and never below zero.
    fn draw(&mut self, packets: f64) -> f64 {
        let p = self.share_lost();
        if p <= 0.0 {
            return 0.0;
        }
        // The sum of twelve even numbers.
        let normal = (0..12).map(|_| self.roll()).sum::<f64>() - 6.0;
        let drawn = packets * p + normal * (packets * p * (1.0 - p)).sqrt();
        drawn.round().clamp(0.0, packets)
    }

    fn roll(&mut self) -> f64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.dice >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn look(&mut self, n: usize, step: Duration) {
        let expected = f64::from(PACKETS * FPS) * step.as_secs_f64() * self.kept();
        let lost = self.draw(expected);
        self.run.lost += lost;
        let (now, count, asks) = (self.now, self.count(), self.asks);
        let viewer = &mut self.viewers[n];
        viewer.looked.0 += expected;
        viewer.looked.1 += lost;
        let since = viewer.looked.0 - viewer.reported.0;
        let share = (viewer.looked.1 - viewer.reported.1) / since.max(1.0);
        let has_changed = (share - viewer.told).abs() >= CHANGE.0.max(viewer.told * CHANGE.1);
        if asks && lost > 0.0 {
            if viewer.wishes.is_empty() || now.since(viewer.since) > WISH_LASTS {
                viewer.wishes.clear();
                viewer.since = now;
            }
            let more = (0..lost as u16).map(|i| SeqNo(i * 3));
            viewer.wishes.extend(more);
        }
        if has_changed && since >= 50.0 || !viewer.wishes.is_empty() {
            let before = viewer.timing.deadline();
            viewer.timing.request_feedback(now, count);
            if viewer.timing.deadline() < before {
                self.schedule(n);
            }
        }
    }

    fn poll(&mut self, n: usize) {
        let (now, count, sent) = (self.now, self.count(), self.sent());
        let viewer = &mut self.viewers[n];
        for _ in 0..(self.reports - viewer.weighed).min(64) {
            viewer.timing.received(150);
        }
        viewer.weighed = self.reports;
        viewer.timing.set_bandwidth(BANDWIDTH, count);
        if let Some(due) = viewer.timing.poll(now, count) {
            self.report(n, due, sent);
        }
        self.schedule(n);
    }

    fn report(&mut self, n: usize, due: Due, sent: Sent) {
        let (now, count) = (self.now, self.count());
        let viewer = &mut self.viewers[n];
        let (expected, lost) = (
            viewer.looked.0 - viewer.reported.0,
            viewer.looked.1 - viewer.reported.1,
        );
        let share = if expected > 0.0 { lost / expected } else { 0.0 };
        let wishes = std::mem::take(&mut viewer.wishes);
        let is_in_time = now.since(viewer.since) <= WISH_LASTS;
        let is_nack = due == Due::Feedback && !wishes.is_empty();
        let block = ReportBlock {
            ssrc: SENDER,
            fraction_lost: (share * 256.0) as u8,
            lost: viewer.looked.1 as i32,
            highest: sent.packets as u32,
            jitter: 100,
            last_sr: self.last_sr.0,
            since_last_sr: (now.since(self.last_sr.1).as_nanos() * 65_536 / 1_000_000_000) as u32,
        };
        let frames = FrameReport {
            media: SENDER,
            whole: (viewer.looked.0 / f64::from(PACKETS)) as u32,
            ..FrameReport::default()
        };
        if !is_nack {
            (viewer.reported, viewer.told) = (viewer.looked, share);
        }
        let datagram = Compound {
            from: Ssrc(n as u32 + 1),
            info: None,
            block: (!is_nack && expected > 0.0).then_some(block),
            description: &self.description,
            frames: (!is_nack && expected > 0.0).then_some(frames),
            nack: (!wishes.is_empty()).then_some((SENDER, &wishes[..])),
            bye: false,
        }
        .to_bytes();
        viewer.timing.sent(now, due, datagram.len(), count);
        if !wishes.is_empty() && is_in_time {
            self.run.asked += wishes.len() as f64;
        }
        self.note(datagram.len(), is_nack);
        // A NACK goes to the sender alone.
        if !is_nack {
            self.members
                .active(now, Ssrc(n as u32 + 1), Some(host(n + 1).ip()));
            self.members.receives(Ssrc(n as u32 + 1), host(n + 1).ip());
            self.reports += 1;
        }
        let (overhead, adapt) = (&mut self.overhead, &mut self.adapt);
        let began = Instant::now();
        let take = |feedback: Feedback<'_>| {
            let Feedback::Report(loss) = feedback else {
                return;
            };
            adapt.report(now, loss.ssrc.0, loss.host, loss.highest, loss.lost);
            let frames = loss.frames.map(|f| (f.whole, f.lost));
            let report = Report {
                viewer: loss.ssrc.0,
                host: loss.host,
                fraction_lost: loss.fraction_lost,
                frames,
            };
            overhead.report(now, report, PACKETS);
        };
        let taken = self.sender.receive(now, sent, host(n + 1), &datagram, take);
        self.run.cpu += began.elapsed();
        assert!(taken.is_ok(), "the sender does not read its viewer");
    }
}
