//! Whether the network is full, and how many frames it takes (`adapt: FrameRate`). In: viewers'
//! losses and a time; out: the share of frames to send. No socket, no clock.
//!
//! Loss alone does not say why. A full link loses the excess, so it loses less when less is sent; a
//! link with interference loses the same share of whatever is sent. So if loss lasts, fewer frames
//! are sent for a moment, and the viewers' reports decide: if the loss has gone down with the rate,
//! the link is full and the rate stays down; if not, it goes up again, and the next trial comes
//! later. While the link is full, a little more is tried now and then.
//!
//! More than one host sees a full link, so if several report, only the loss that a second one
//! confirms counts.

use std::net::IpAddr;
use std::time::Duration;

use super::votes::Votes;
use crate::clock::Mono;

/// Loss that is worth a trial, as a share of the packets.
const WORTH: f32 = 0.02;
/// Loss up to which the rate fits the link.
const FITS: f32 = 0.01;
/// Share of the frames sent in a trial.
const TRIAL: f32 = 0.75;
/// The part of the expected drop in loss that proves a full link.
const PROOF: f32 = 0.5;
/// How long reports at one rate are collected before they count.
const LISTEN: Duration = Duration::from_millis(1_500);
/// The longest wait for more hosts to report: in a large group each does so seldom.
const LISTEN_MOST: Duration = Duration::from_secs(20);
/// How long after a change of rate reports still cover the old one.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Time without loss before more is tried, at first and at most: each failure doubles it.
const TRY_MORE: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(120));
/// Time from a trial that proved nothing to the next.
const TRY_LESS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(300));
/// Fewer packets say nothing about loss.
const LEAST_PACKETS: f32 = 100.0;
/// Viewers counted at a time, and of one host.
const MAX_VIEWERS: usize = 1024;
const MAX_OF_HOST: usize = 4;
/// A viewer that has reported nothing for this long is gone.
const GONE: Duration = Duration::from_secs(60);
/// How much more is tried.
const STEP: f32 = 1.15;
/// Share of a full link to leave free.
const ROOM: f32 = 0.95;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The rate is right as far as is known; a trial comes no sooner than at this time.
    Steady(Mono),
    /// Loss was seen, and is measured from here on: the reports so far cover the time before it
    /// too.
    Suspected,
    /// Fewer frames for a moment; the loss before was this.
    Trial { before: f32, keep: f32 },
    /// The link is full.
    Full,
}

/// What one viewer reported first and last of the present rate: the highest number, and packets
/// lost. Reports that come early are those of a bad moment, so shares of loss cannot be put
/// together report by report.
#[derive(Clone, Copy, Debug)]
struct Viewer {
    id: u32,
    host: IpAddr,
    /// `None` before its first report of this rate, whose losses are of the rate before in part.
    first: Option<(u32, i32)>,
    last: (u32, i32),
    reported: Mono,
}

impl Viewer {
    /// Packets sent to it and lost; zero where it did not report of this rate, or began to count
    /// again.
    fn packets(&self) -> (f32, f32) {
        let Some(first) = self.first else {
            return (0.0, 0.0);
        };
        let sent = self.last.0.wrapping_sub(first.0);
        if sent > u32::MAX / 2 {
            return (0.0, 0.0);
        }
        let lost = self.last.1.saturating_sub(first.1).max(0);
        (sent as f32, (lost as f32).min(sent as f32))
    }
}

/// Finds the share of frames that a link takes.
#[derive(Clone, Debug)]
pub struct Adapt {
    /// The least share.
    least: f32,
    /// The present share.
    keep: f32,
    phase: Phase,
    /// Since when this rate has been sent, and what the viewers have reported about it.
    since: Mono,
    viewers: Vec<Viewer>,
    /// Since when nothing has been lost.
    clean_since: Mono,
    more_after: Duration,
    less_after: Duration,
    /// The last share that was too much.
    was_too_much: Option<f32>,
}

impl Adapt {
    /// Starts with all frames, and never sends fewer than the share `least`.
    pub fn new(now: Mono, least: f32) -> Adapt {
        Adapt {
            least: least.clamp(0.0, 1.0),
            keep: 1.0,
            phase: Phase::Steady(now),
            since: now,
            viewers: Vec::new(),
            clean_since: now,
            more_after: TRY_MORE.0,
            less_after: TRY_LESS.0,
            was_too_much: None,
        }
    }

    /// Sets the least share, after the source's rate changed.
    pub fn set_least(&mut self, least: f32) {
        self.least = least.clamp(0.0, 1.0);
    }

    /// The share of frames to send, 0 to 1.
    pub fn keep(&self) -> f32 {
        self.keep.max(self.least).min(1.0)
    }

    /// Whether more repair would, or might, make things worse.
    pub fn holds_repair(&self) -> bool {
        matches!(self.phase, Phase::Trial { .. } | Phase::Full)
    }

    /// The report of a viewer on `host`: the highest number that it has received, with the count of
    /// wraps, and the packets that it has lost since it began, before repair.
    pub fn report(&mut self, now: Mono, viewer: u32, host: IpAddr, highest: u32, lost: i32) {
        let age = now.since(self.since);
        self.note(now, viewer, host, (highest, lost), age < SETTLE);
        let is_patient = age < SETTLE + LISTEN_MOST;
        if age < SETTLE + LISTEN || is_patient && !self.has_heard_enough() {
            return;
        }
        let Some(loss) = self.loss() else { return };
        // The rate has not changed: the next reports count at once.
        self.since = Mono(now.0.saturating_sub(SETTLE.as_nanos() as u64));
        if loss > FITS {
            self.clean_since = now;
        }
        self.judge(now, loss);
        self.begin();
    }

    fn note(&mut self, now: Mono, id: u32, host: IpAddr, report: (u32, i32), is_settling: bool) {
        self.viewers.retain(|v| now.since(v.reported) < GONE);
        let is_it = |v: &&mut Viewer| (v.id, v.host) == (id, host);
        if let Some(viewer) = self.viewers.iter_mut().find(is_it) {
            if is_settling || viewer.first.is_none() {
                viewer.first = Some(report);
            }
            (viewer.last, viewer.reported) = (report, now);
            return;
        }
        let of_host = self.viewers.iter().filter(|v| v.host == host).count();
        if of_host < MAX_OF_HOST && self.viewers.len() < MAX_VIEWERS {
            self.viewers.push(Viewer {
                id,
                host,
                first: Some(report),
                last: report,
                reported: now,
            });
        }
    }

    /// Starts to collect reports of a new period or rate.
    fn begin(&mut self) {
        for viewer in &mut self.viewers {
            viewer.first = viewer.first.and(Some(viewer.last));
        }
    }

    /// Whether enough hosts have reported at this rate: two, to confirm each other; in a trial half
    /// of all, since those that see the loss may not report first.
    fn has_heard_enough(&self) -> bool {
        let all = hosts(&self.viewers, |_| true);
        let heard = hosts(&self.viewers, |viewer| viewer.packets().0 > 0.0);
        let needed = match self.phase {
            Phase::Trial { .. } => all.div_ceil(2).max(2),
            Phase::Steady(_) | Phase::Suspected | Phase::Full => 2,
        };
        heard >= needed.min(all)
    }

    /// The share of packets lost at the present rate, as far as a second host confirms it; `None`:
    /// too little was reported. A viewer that reports nothing has lost nothing: one whose loss
    /// changes reports early.
    fn loss(&self) -> Option<f32> {
        let mut votes = Votes::default();
        let mut all = 0.0;
        for viewer in &self.viewers {
            let (sent, lost) = viewer.packets();
            all += sent;
            votes.add(viewer.host, if sent > 0.0 { lost / sent } else { 0.0 });
        }
        (all >= LEAST_PACKETS).then(|| votes.confirmed())
    }

    fn judge(&mut self, now: Mono, loss: f32) {
        match self.phase {
            Phase::Steady(not_before) => {
                if loss >= WORTH && now >= not_before && self.least < 1.0 {
                    self.phase = Phase::Suspected;
                    self.forget(|viewer| viewer.packets().1 <= 0.0);
                }
            }
            Phase::Suspected if loss >= WORTH => {
                let (before, keep) = (loss, self.keep);
                self.phase = Phase::Trial { before, keep };
                self.set(now, keep * TRIAL);
            }
            Phase::Suspected => self.phase = Phase::Steady(now),
            Phase::Trial { before, keep } => {
                // A full link loses the excess: 1 - loss is its capacity over the rate.
                let fitting = (1.0 - before) / (self.keep() / keep);
                let expected = before - (1.0 - fitting).max(0.0);
                if before - loss >= PROOF * expected && expected > 0.0 {
                    self.phase = Phase::Full;
                    self.was_too_much = Some(keep);
                    self.fit(now, loss);
                    return;
                }
                self.phase = Phase::Steady(now + self.less_after);
                self.less_after = (self.less_after * 2).min(TRY_LESS.1);
                self.set(now, keep);
            }
            Phase::Full => self.full(now, loss),
        }
    }

    fn full(&mut self, now: Mono, loss: f32) {
        if loss >= WORTH {
            // The increase was too much: wait longer before the next one.
            if self
                .was_too_much
                .is_none_or(|too_much| self.keep < too_much)
            {
                self.was_too_much = Some(self.keep);
                self.more_after = (self.more_after * 2).min(TRY_MORE.1);
            }
            self.fit(now, loss);
        } else if now.since(self.clean_since) >= self.more_after {
            self.set(now, self.keep * STEP);
            if self.keep >= 1.0 {
                self.phase = Phase::Steady(now);
                self.less_after = TRY_LESS.0;
            }
        }
    }

    /// Less by what is lost.
    fn fit(&mut self, now: Mono, loss: f32) {
        if loss >= FITS {
            self.set(now, self.keep * (1.0 - loss) * ROOM);
        } else {
            self.set(now, self.keep);
        }
    }

    fn set(&mut self, now: Mono, keep: f32) {
        self.keep = keep.clamp(self.least.min(1.0), 1.0);
        self.since = now;
        self.forget(|_| true);
        self.clean_since = now;
    }

    /// Drops what such viewers have reported: it is of another rate, or of the time before the
    /// loss.
    fn forget(&mut self, is_such: impl Fn(&Viewer) -> bool) {
        let such = self.viewers.iter_mut().filter(|viewer| is_such(viewer));
        such.for_each(|viewer| viewer.first = None);
    }
}

/// Hosts that have such viewers.
fn hosts(viewers: &[Viewer], is_such: impl Fn(&Viewer) -> bool) -> usize {
    let such = viewers.iter().filter(|viewer| is_such(viewer));
    let mut hosts: Vec<IpAddr> = such.map(|viewer| viewer.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.len()
}

/// Lets a share of the frames through, evenly spread.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameDropper {
    /// Frames owed.
    credit: f32,
}

impl FrameDropper {
    /// Whether this frame is sent, if the share `keep` of them is.
    pub fn passes(&mut self, keep: f32) -> bool {
        self.credit += keep.clamp(0.0, 1.0);
        // Ten tenths are not quite one.
        let passes = self.credit >= 0.999;
        if passes {
            self.credit -= 1.0;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A link that takes a share of the full rate, and loses some of what it takes; one report a
    /// second.
    #[derive(Default)]
    struct Link {
        room: f32,
        random: f32,
        told: (u32, i32),
    }

    impl Link {
        fn loss(&self, keep: f32) -> f32 {
            let through = (self.room / keep).min(1.0) * (1.0 - self.random);
            1.0 - through
        }
    }

    fn host(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn run(adapt: &mut Adapt, now: &mut Mono, link: &mut Link, seconds: u32) -> Vec<f32> {
        let mut kept = Vec::new();
        for _ in 0..seconds {
            let sent = 3_000.0 * adapt.keep();
            link.told.0 += sent as u32;
            link.told.1 += (sent * link.loss(adapt.keep())) as i32;
            *now = *now + Duration::from_secs(1);
            adapt.report(*now, 1, host(1), link.told.0, link.told.1);
            kept.push(adapt.keep());
        }
        kept
    }

    #[test]
    fn a_full_link_gets_as_many_frames_as_it_takes() {
        let (mut now, mut link) = (
            Mono(0),
            Link {
                room: 0.5,
                random: 0.0,
                ..Link::default()
            },
        );
        let mut adapt = Adapt::new(now, 0.1);
        run(&mut adapt, &mut now, &mut link, 20);
        let kept = run(&mut adapt, &mut now, &mut link, 120);
        let over = kept.iter().filter(|&&k| k > link.room * 1.02).count();
        assert!(over <= 20, "{over} seconds too much: {kept:?}");
        assert!(
            kept.iter().sum::<f32>() / kept.len() as f32 > 0.38,
            "{kept:?}"
        );
    }

    #[test]
    fn interference_is_not_answered_with_fewer_frames() {
        let (mut now, mut link) = (
            Mono(0),
            Link {
                room: 9.0,
                random: 0.1,
                ..Link::default()
            },
        );
        let mut adapt = Adapt::new(now, 0.1);
        let kept = run(&mut adapt, &mut now, &mut link, 300);
        let fewer = kept.iter().filter(|&&k| k < 1.0).count();
        assert!(fewer <= 24, "{fewer} seconds of trials: {kept:?}");
        assert_eq!(adapt.keep(), 1.0);
    }

    #[test]
    fn room_that_comes_back_is_used() {
        let (mut now, mut link) = (
            Mono(0),
            Link {
                room: 0.6,
                random: 0.0,
                ..Link::default()
            },
        );
        let mut adapt = Adapt::new(now, 0.1);
        run(&mut adapt, &mut now, &mut link, 30);
        assert!(adapt.keep() <= 0.62, "{}", adapt.keep());
        link.room = 2.0;
        let kept = run(&mut adapt, &mut now, &mut link, 200);
        assert_eq!(adapt.keep(), 1.0, "{kept:?}");
        assert!(!adapt.holds_repair());
    }

    /// However it times its reports, and whatever it says of rates and losses.
    #[test]
    fn one_host_among_others_changes_nothing() {
        let (mut now, mut link) = (
            Mono(0),
            Link {
                room: 9.0,
                ..Link::default()
            },
        );
        let mut adapt = Adapt::new(now, 0.05);
        let mut stranger = (1000, 0);
        for second in 0..300_u32 {
            run(&mut adapt, &mut now, &mut link, 1);
            for n in 0..4 {
                let lossy = adapt.keep() > 0.5 || second % 7 == 0;
                stranger.0 += 200_000;
                stranger.1 += if lossy { 100_000 } else { 0 };
                adapt.report(now, second / 20 + n, host(66), stranger.0, stranger.1);
            }
            assert_eq!(adapt.keep(), 1.0, "{second}");
        }
    }

    #[test]
    fn what_two_hosts_see_is_answered() {
        let mut now = Mono(0);
        let mut links = [0, 1].map(|_| Link {
            room: 0.5,
            ..Link::default()
        });
        let mut adapt = Adapt::new(now, 0.1);
        for _ in 0..60 {
            now = now + Duration::from_secs(1);
            for (n, link) in (2..).zip(&mut links) {
                let sent = 3_000.0 * adapt.keep();
                link.told.0 += sent as u32;
                link.told.1 += (sent * link.loss(adapt.keep())) as i32;
                adapt.report(now, 1, host(n), link.told.0, link.told.1);
            }
        }
        assert!(adapt.keep() <= 0.52, "{}", adapt.keep());
    }

    /// Many viewers, each of which reports every five seconds, as RFC 3550 §6.2 asks for.
    #[test]
    fn a_large_group_is_answered() {
        for viewers in [3_u8, 10, 100] {
            let mut now = Mono(0);
            let mut link = Link {
                room: 0.5,
                ..Link::default()
            };
            let mut adapt = Adapt::new(now, 0.1);
            let fits = (0..40 * 10).position(|tick| {
                now = now + Duration::from_millis(100);
                let sent = 300.0 * adapt.keep();
                link.told.0 += sent as u32;
                link.told.1 += (sent * link.loss(adapt.keep())) as i32;
                let turn = |n: u8| usize::from(n) * 50 / usize::from(viewers);
                for n in (0..viewers).filter(|n| tick % 50 == turn(*n)) {
                    adapt.report(now, 1, host(n), link.told.0, link.told.1);
                }
                adapt.keep() <= link.room * 1.02
            });
            assert!(fits.is_some(), "{viewers} viewers: {}", adapt.keep());
        }
    }

    #[test]
    fn never_less_than_the_least() {
        let (mut now, mut link) = (
            Mono(0),
            Link {
                room: 0.05,
                random: 0.0,
                ..Link::default()
            },
        );
        let mut adapt = Adapt::new(now, 0.25);
        let kept = run(&mut adapt, &mut now, &mut link, 60);
        assert!(kept.iter().all(|&k| k >= 0.25));
        assert!(kept[30..].iter().all(|&k| k <= 0.35), "{kept:?}");
    }

    #[test]
    fn frames_are_left_out_evenly() {
        for (keep, of) in [(1.0, 1), (0.5, 2), (0.1, 10), (0.25, 4)] {
            let mut dropper = FrameDropper::default();
            let passed: Vec<bool> = (0..100).map(|_| dropper.passes(keep)).collect();
            for window in passed.chunks(of) {
                assert_eq!(window.iter().filter(|&&p| p).count(), 1, "{keep}");
            }
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_harmless(
            reports in prop::collection::vec((0u32..80, any::<u32>(), any::<i32>(), 0u64..10_000), 0..300),
            least in 0f32..=1.0,
        ) {
            let mut now = Mono(0);
            let mut adapt = Adapt::new(now, least);
            for (viewer, highest, lost, millis) in reports {
                now = now + Duration::from_millis(millis);
                adapt.report(now, viewer, host(viewer as u8), highest, lost);
                prop_assert!(adapt.viewers.len() <= MAX_VIEWERS);
                prop_assert!((least..=1.0).contains(&adapt.keep()));
            }
        }
    }
}
