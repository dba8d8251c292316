//! How much parity a stream gets, from its viewers' reports (`repair: Auto`). In: a report and a
//! time; out: a share. No socket, no clock.
//!
//! The share of packets that a viewer loses and the number of packets in a frame determine, by the
//! binomial distribution, how many parity packets leave one frame in `ONE_IN` incomplete. That
//! holds if packets are lost independently. If they are lost in bursts, frames stay incomplete all
//! the same, the viewer reports it, and its share grows until they do not.
//!
//! The worst viewer decides, unless even all the parity allowed could not help it. What a single
//! host reports, if there are others, is believed up to [`UNCONFIRMED`]: a report is easily forged.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Mono;
use crate::rtp::votes::Votes;

/// Parity per packet before anybody has reported.
pub const START: f32 = 0.1;
/// Parity if nothing is lost, so that the first loss is already repaired.
const LEAST: f32 = 0.02;
/// One frame in this many may stay incomplete by chance.
const ONE_IN: f64 = 5_000.0;
/// The share falls by a factor of e in this time: by 95 % in half a minute.
const FALL: Duration = Duration::from_secs(10);
/// Frames that stayed incomplete raise a viewer's share by this factor a report, more with more of
/// them.
const RAISE: (f32, f32) = (1.15, 1.6);
/// The share of frames that may stay incomplete without that, by chance.
const TOLERATED: f32 = 0.002;
/// Reports that come faster than this count less, each in proportion to its time.
const WHOLE_REPORT: Duration = Duration::from_millis(500);
/// A viewer is beyond help if the most parity would complete less than the first share of its
/// frames, until it would complete more than the second.
const HOPELESS: (f64, f64) = (0.3, 0.6);
/// Parity per packet that the viewers of one host get even if no other host reports as much loss.
pub const UNCONFIRMED: f32 = 0.1;
/// Viewers counted at a time, and of one host.
const MAX_VIEWERS: usize = 1024;
const MAX_OF_HOST: usize = 4;
/// A viewer that has reported nothing for this long is gone. Viewers of a large group report
/// rarely.
const GONE: Duration = Duration::from_secs(60);
/// Frames of more packets than this need a smaller share, never a larger one, and count as this
/// large.
const MOST_PACKETS: u32 = 256;

/// What one viewer reports. Not all viewers report on frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Who: its SSRC.
    pub viewer: u32,
    /// Where from.
    pub host: IpAddr,
    /// Share of the packets that it lost since its previous report, 0 to 1, before any repair.
    pub fraction_lost: f32,
    /// Frames since it began: whole or repaired, and those that stayed incomplete.
    pub frames: Option<(u32, u32)>,
}

/// One viewer.
#[derive(Clone, Copy, Debug)]
struct Viewer {
    id: u32,
    host: IpAddr,
    heard: Mono,
    /// Smoothed over its reports; `None` before the first.
    loss: Option<f32>,
    /// Its frames when last checked, and when that was.
    frames: Option<(u32, u32)>,
    looked: Mono,
    /// What it needs: rises at once, falls slowly.
    need: f32,
    /// What `need` is multiplied by for losses in bursts.
    boost: f32,
    is_hopeless: bool,
}

/// The share of parity that a stream's viewers need.
#[derive(Clone, Debug)]
pub struct Overhead {
    max: f32,
    viewers: Vec<Viewer>,
    /// Whether anybody has ever reported.
    is_cold: bool,
    share: f32,
    updated: Mono,
    /// More would not help now: the link is full, or that is being tested.
    is_held: bool,
}

impl Overhead {
    /// With at most `max` parity packets per packet.
    pub fn new(now: Mono, max: f32) -> Overhead {
        Overhead {
            max,
            viewers: Vec::new(),
            is_cold: true,
            share: START.min(max),
            updated: now,
            is_held: false,
        }
    }

    /// Sets whether the share must not rise for now.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Removes a viewer that has left.
    pub fn left(&mut self, now: Mono, viewer: u32) {
        self.viewers.retain(|v| v.id != viewer);
        self.update(now);
    }

    /// The present share.
    pub fn share(&self) -> f32 {
        self.share
    }

    /// Takes a viewer's report; frames have about `packets` packets.
    pub fn report(&mut self, now: Mono, report: Report, packets: u32) {
        let fraction = match report.fraction_lost.is_finite() {
            true => report.fraction_lost.clamp(0.0, 1.0),
            false => return,
        };
        self.is_cold = false;
        let (max, is_held) = (self.max, self.is_held);
        let Some(viewer) = self.viewer(now, &report) else {
            return;
        };
        let age = now.since(viewer.heard);
        viewer.heard = now;
        viewer.boost = 1.0 + (viewer.boost - 1.0) * fall(age);
        let weight = (age.as_secs_f32() / WHOLE_REPORT.as_secs_f32()).min(1.0);
        let loss = viewer
            .loss
            .map_or(fraction, |old| old + (fraction - old) * weight);
        viewer.loss = Some(loss);
        let loss = f64::from(loss);
        let could = mended(loss, packets, max);
        viewer.is_hopeless = could
            < match viewer.is_hopeless {
                true => HOPELESS.1,
                false => HOPELESS.0,
            };
        let incomplete = viewer.incomplete(now, report.frames);
        // If the most parity was already sent, more would not have helped.
        if incomplete > TOLERATED && viewer.need * viewer.boost < max && !is_held {
            viewer.boost *= (1.0 + incomplete * 4.0).clamp(RAISE.0, RAISE.1);
        }
        let wanted = share_for(loss, packets, max);
        viewer.need = wanted.max(LEAST + (viewer.need - LEAST) * fall(age));
        self.update(now);
    }

    /// Lets time pass: viewers that fell silent are removed, and the share falls.
    pub fn update(&mut self, now: Mono) {
        self.viewers.retain(|v| now.since(v.heard) < GONE);
        let wanted = self.wanted();
        let age = now.since(std::mem::replace(&mut self.updated, now));
        if self.is_cold {
            return;
        }
        let fallen = LEAST + (self.share - LEAST) * fall(age);
        let risen = match self.is_held {
            true => wanted.min(self.share),
            false => wanted,
        };
        self.share = risen.max(fallen).min(self.max);
    }

    /// The share that the viewers need, as far as they are believed.
    fn wanted(&self) -> f32 {
        let mut votes = Votes::default();
        for viewer in &self.viewers {
            let need = match viewer.is_hopeless {
                true => 0.0,
                false => viewer.need * viewer.boost,
            };
            votes.add(viewer.host, need);
        }
        let alone = votes.worst().min(UNCONFIRMED);
        votes.confirmed().max(alone).max(LEAST)
    }

    /// The viewer, which may be new; `None`: there are too many, in all or of its host.
    fn viewer(&mut self, now: Mono, report: &Report) -> Option<&mut Viewer> {
        let is_it = |v: &Viewer| (v.id, v.host) == (report.viewer, report.host);
        let at = match self.viewers.iter().position(is_it) {
            Some(at) => at,
            None => {
                let of_host = self.viewers.iter().filter(|v| v.host == report.host);
                if of_host.count() >= MAX_OF_HOST || self.viewers.len() >= MAX_VIEWERS {
                    return None;
                }
                self.viewers.push(Viewer {
                    id: report.viewer,
                    host: report.host,
                    heard: now,
                    loss: None,
                    frames: None,
                    looked: now,
                    need: LEAST,
                    boost: 1.0,
                    is_hopeless: false,
                });
                self.viewers.len() - 1
            }
        };
        self.viewers.get_mut(at)
    }
}

impl Viewer {
    /// The share of its frames that stayed incomplete since the last check, which not every report
    /// triggers.
    fn incomplete(&mut self, now: Mono, frames: Option<(u32, u32)>) -> f32 {
        let Some(frames) = frames else { return 0.0 };
        let Some(before) = self.frames else {
            (self.frames, self.looked) = (Some(frames), now);
            return 0.0;
        };
        if now.since(self.looked) < WHOLE_REPORT {
            return 0.0;
        }
        (self.frames, self.looked) = (Some(frames), now);
        // A restarted viewer counts from zero.
        let (Some(good), Some(bad)) = (
            frames.0.checked_sub(before.0),
            frames.1.checked_sub(before.1),
        ) else {
            return 0.0;
        };
        bad as f32 / (good as f32 + bad as f32).max(1.0)
    }
}

/// What remains of a value after `age`.
fn fall(age: Duration) -> f32 {
    (-age.as_secs_f32() / FALL.as_secs_f32()).exp()
}

/// Parity per packet with which all but one frame in [`ONE_IN`] arrive whole, at most `max`.
fn share_for(loss: f64, packets: u32, max: f32) -> f32 {
    if loss <= 0.0 {
        return LEAST.min(max);
    }
    let packets = packets.clamp(1, MOST_PACKETS);
    let most = (f64::from(packets) * f64::from(max)).ceil() as u32;
    let parity = (1..most).find(|&r| incomplete(loss, packets, r) <= 1.0 / ONE_IN);
    parity.map_or(max, |r| {
        (r as f32 / packets as f32).clamp(LEAST.min(max), max)
    })
}

/// The share of frames that arrive whole with the most parity.
fn mended(loss: f64, packets: u32, max: f32) -> f64 {
    let packets = packets.clamp(1, MOST_PACKETS);
    let most = (f64::from(packets) * f64::from(max)).ceil() as u32;
    1.0 - incomplete(loss, packets, most)
}

/// Chance that more than `parity` of a frame's packets and parity packets are lost.
fn incomplete(loss: f64, packets: u32, parity: u32) -> f64 {
    if loss >= 1.0 {
        return 1.0;
    }
    let n = packets + parity;
    let mut term = (1.0 - loss).powi(n as i32);
    let mut whole = 0.0;
    for lost in 0..=parity {
        whole += term;
        term *= f64::from(n - lost) / f64::from(lost + 1) * loss / (1.0 - loss);
    }
    (1.0 - whole).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACKETS: u32 = 107;
    const FPS: u32 = 30;

    /// Gilbert-Elliott: loses all while it is bad. With a burst of 1 packets are lost
    /// independently.
    struct Channel {
        begin: f64,
        end: f64,
        is_bad: bool,
        seed: u64,
    }

    impl Channel {
        fn new(loss: f64, burst: f64, seed: u64) -> Channel {
            let (begin, end) = match burst > 1.0 {
                true => (loss / (1.0 - loss) / burst, 1.0 / burst),
                false => (loss, 1.0 - loss),
            };
            Channel {
                begin,
                end,
                is_bad: false,
                seed: seed | 1,
            }
        }

        fn loses(&mut self) -> bool {
            // xorshift64*
            self.seed ^= self.seed >> 12;
            self.seed ^= self.seed << 25;
            self.seed ^= self.seed >> 27;
            let dice =
                (self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64;
            self.is_bad = match self.is_bad {
                true => dice >= self.end,
                false => dice < self.begin,
            };
            self.is_bad
        }
    }

    fn host(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// A viewer behind a channel, on a host of its own, which reports once a second.
    struct Watching {
        channel: Channel,
        id: u32,
        frames: (u32, u32),
        lost: u32,
        packets: u32,
    }

    impl Watching {
        fn new(id: u32, channel: Channel) -> Watching {
            Watching {
                channel,
                id,
                frames: (0, 0),
                lost: 0,
                packets: 0,
            }
        }

        fn frame(&mut self, parity: u32) {
            let lost: Vec<bool> = (0..PACKETS + parity)
                .map(|_| self.channel.loses())
                .collect();
            let missing = lost.iter().filter(|&&l| l).count() as u32;
            match missing <= parity {
                true => self.frames.0 += 1,
                false => self.frames.1 += 1,
            }
            self.lost += lost[..PACKETS as usize].iter().filter(|&&l| l).count() as u32;
            self.packets += PACKETS;
        }

        fn report(&mut self) -> Report {
            // RFC 3550 §6.4.1: eight bits.
            let fraction = (self.lost * 256 / self.packets) as f32 / 256.0;
            (self.lost, self.packets) = (0, 0);
            Report {
                viewer: self.id,
                host: host(self.id as u8),
                fraction_lost: fraction,
                frames: Some(self.frames),
            }
        }
    }

    /// Seconds of a stream; the share after each.
    fn run(
        overhead: &mut Overhead,
        now: &mut Mono,
        viewers: &mut [Watching],
        seconds: u32,
    ) -> Vec<f32> {
        let mut shares = Vec::new();
        for _ in 0..seconds {
            for _ in 0..FPS {
                let parity = (overhead.share() * PACKETS as f32).ceil() as u32;
                viewers.iter_mut().for_each(|v| v.frame(parity));
            }
            *now = *now + Duration::from_secs(1);
            for viewer in viewers.iter_mut() {
                overhead.report(*now, viewer.report(), PACKETS);
            }
            shares.push(overhead.share());
        }
        shares
    }

    fn mean(shares: &[f32]) -> f32 {
        shares.iter().sum::<f32>() / shares.len() as f32
    }

    #[test]
    fn from_a_cold_start_at_five_percent() {
        for seed in 1..20 {
            let mut now = Mono(0);
            let mut overhead = Overhead::new(now, 0.5);
            let mut viewers = [Watching::new(1, Channel::new(0.05, 1.0, seed * 7919))];
            let shares = run(&mut overhead, &mut now, &mut viewers, 20);
            assert!(viewers[0].frames.1 <= 3, "{seed}: {:?}", viewers[0].frames);
            assert!(mean(&shares) <= 0.195, "{seed}: {shares:?}");
        }
    }

    #[test]
    fn bursts_are_answered() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let mut viewers = [Watching::new(1, Channel::new(0.05, 5.0, 99))];
        run(&mut overhead, &mut now, &mut viewers, 10);
        let before = viewers[0].frames;
        let shares = run(&mut overhead, &mut now, &mut viewers, 60);
        let bad = viewers[0].frames.1 - before.1;
        assert!(bad <= 18, "{bad} of 1800: {shares:?}");
        assert!(mean(&shares) < 0.45, "{shares:?}");
    }

    #[test]
    fn it_rises_within_a_second_and_falls_over_half_a_minute() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let mut viewers = [Watching::new(1, Channel::new(0.0, 1.0, 5))];
        run(&mut overhead, &mut now, &mut viewers, 60);
        assert!(overhead.share() < 0.025, "{}", overhead.share());
        viewers[0].channel = Channel::new(0.1, 1.0, 5);
        let shares = run(&mut overhead, &mut now, &mut viewers, 5);
        assert!(shares[0] >= 0.22, "{shares:?}");
        viewers[0].channel = Channel::new(0.0, 1.0, 5);
        let shares = run(&mut overhead, &mut now, &mut viewers, 40);
        assert!(shares[4] > 0.1, "falls at leisure: {shares:?}");
        assert!(shares[34] < 0.04, "but falls: {shares:?}");
    }

    #[test]
    fn the_worst_viewer_decides_unless_it_is_hopeless() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let mut viewers = [
            Watching::new(1, Channel::new(0.01, 1.0, 5)),
            Watching::new(2, Channel::new(0.1, 1.0, 6)),
            Watching::new(3, Channel::new(0.1, 1.0, 7)),
        ];
        let shares = run(&mut overhead, &mut now, &mut viewers, 30);
        assert!((0.22..0.4).contains(&mean(&shares[5..])), "{shares:?}");
        viewers[1].channel = Channel::new(0.6, 1.0, 6);
        viewers[2].channel = Channel::new(0.6, 1.0, 7);
        let shares = run(&mut overhead, &mut now, &mut viewers, 60);
        assert!(mean(&shares[45..]) < 0.08, "{shares:?}");
        viewers[1].channel = Channel::new(0.1, 1.0, 6);
        viewers[2].channel = Channel::new(0.1, 1.0, 7);
        let shares = run(&mut overhead, &mut now, &mut viewers, 5);
        assert!(shares[4] >= 0.22, "it is back: {shares:?}");
    }

    /// One that reports whatever it likes, under as many SSRCs, beside a viewer that loses nothing.
    #[test]
    fn one_host_among_others_gets_little() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let mut viewers = [Watching::new(1, Channel::new(0.0, 1.0, 5))];
        run(&mut overhead, &mut now, &mut viewers, 40);
        for (n, fraction_lost) in (0..600).zip([0.05, 0.1, 0.25, 0.6, 1.0].into_iter().cycle()) {
            let report = Report {
                viewer: 1000 + n % 40,
                host: host(66),
                fraction_lost,
                frames: Some((n, n)),
            };
            overhead.report(now, report, PACKETS);
            assert!(overhead.share() <= UNCONFIRMED, "{}", overhead.share());
            if n % 10 == 0 {
                run(&mut overhead, &mut now, &mut viewers, 1);
            }
        }
        // A second host that loses as much confirms it.
        let mut viewers = [66, 67].map(|id| Watching::new(id, Channel::new(0.1, 1.0, id.into())));
        let shares = run(&mut overhead, &mut now, &mut viewers, 30);
        assert!(shares[29] > 0.2, "{shares:?}");
    }

    #[test]
    fn many_small_reports_say_what_a_large_one_says() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let mut viewer = Watching::new(1, Channel::new(0.05, 1.0, 4242));
        let mut shares = Vec::new();
        // A report for each frame, as of a viewer that loses many.
        for _ in 0..600 {
            viewer.frame((overhead.share() * PACKETS as f32).ceil() as u32);
            now = now + Duration::from_millis(33);
            overhead.report(now, viewer.report(), PACKETS);
            shares.push(overhead.share());
        }
        assert!(
            (0.14..0.22).contains(&mean(&shares[60..])),
            "{}",
            mean(&shares)
        );
        assert!(viewer.frames.1 <= 4, "{:?}", viewer.frames);
    }

    #[test]
    fn it_does_not_rise_while_it_is_held() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        overhead.hold(true);
        let mut viewers = [Watching::new(1, Channel::new(0.2, 1.0, 5))];
        let shares = run(&mut overhead, &mut now, &mut viewers, 10);
        assert!(shares.iter().all(|&s| s <= START), "{shares:?}");
        overhead.hold(false);
        let shares = run(&mut overhead, &mut now, &mut viewers, 2);
        assert!(shares[1] > 0.4, "{shares:?}");
    }

    #[test]
    fn who_falls_silent_is_forgotten() {
        let mut now = Mono(0);
        let mut overhead = Overhead::new(now, 0.5);
        let report = |viewer, fraction_lost| Report {
            viewer,
            host: host(viewer as u8),
            fraction_lost,
            frames: None,
        };
        overhead.report(now, report(1, 0.1), PACKETS);
        assert!(overhead.share() > 0.2);
        for _ in 0..90 {
            now = now + Duration::from_secs(1);
            overhead.report(now, report(2, 0.0), PACKETS);
        }
        assert!(overhead.share() < 0.03, "{}", overhead.share());
    }

    #[test]
    fn nobody_reports_and_it_stays_as_it_began() {
        let mut overhead = Overhead::new(Mono(0), 0.5);
        overhead.update(Mono(60_000_000_000));
        assert_eq!(overhead.share(), START);
        assert_eq!(Overhead::new(Mono(0), 0.05).share(), 0.05);
    }

    #[test]
    fn shares_are_those_of_the_binomial_distribution() {
        for (loss, parity) in [(0.01, 6), (0.03, 12), (0.05, 16), (0.10, 27), (0.20, 50)] {
            let share = share_for(loss, PACKETS, 1.0);
            let r = (share * PACKETS as f32).round() as u32;
            assert_eq!(r, parity, "{loss}");
        }
    }

    proptest! {
        /// Whatever is reported, by however many: a share within its bounds, and bounded memory.
        #[test]
        fn nonsense_is_harmless(
            reports in prop::collection::vec(
                (any::<u32>(), any::<f32>(), prop::option::of((any::<u32>(), any::<u32>())), 0u64..100_000, any::<u32>()),
                0..300,
            ),
            max in 0.01f32..=1.0,
        ) {
            let mut now = Mono(0);
            let mut overhead = Overhead::new(now, max);
            for (viewer, fraction_lost, frames, millis, packets) in reports {
                now = now + Duration::from_millis(millis);
                let host = host(viewer as u8);
                overhead.report(now, Report { viewer, host, fraction_lost, frames }, packets);
                let share = overhead.share();
                prop_assert!(share > 0.0 && share <= max, "{}", share);
                prop_assert!(overhead.viewers.len() <= MAX_VIEWERS);
            }
        }

        /// On any channel that the most parity can mend, nearly all frames come after a few
        /// seconds.
        #[test]
        fn what_can_be_mended_is(loss in 0.005f64..0.15, seed in any::<u64>()) {
            let mut now = Mono(0);
            let mut overhead = Overhead::new(now, 0.5);
            let mut viewers = [Watching::new(1, Channel::new(loss, 1.0, seed))];
            run(&mut overhead, &mut now, &mut viewers, 4);
            let before = viewers[0].frames.1;
            run(&mut overhead, &mut now, &mut viewers, 30);
            prop_assert!(viewers[0].frames.1 - before <= 3);
        }
    }
}
