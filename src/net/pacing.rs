//! Pacing: how large the bursts of a frame's packets are, and how far apart, so that a 250 KB frame
//! does not overrun a switch, an access point or a viewer's stock receive buffer. [`schedule`]
//! decides and is pure; [`Pacer`] waits. Neither queues: a frame that comes late is not sent
//! faster.

use std::ops::Range;
use std::time::Duration;

use super::interface::Link;
use super::sys;
use crate::clock::Mono;

/// How a stream's packets are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pacing {
    /// By the link: four fifths of its speed and at most 1 Gbit/s; on Wi-Fi and on links of unknown
    /// speed over a quarter of the frame interval.
    #[default]
    Auto,
    /// Each frame as fast as possible.
    Off,
    /// Over this fraction of the frame interval, 0 to [`MOST_OF_INTERVAL`].
    Spread(f32),
}

/// No frame takes longer than this fraction of the interval, so that it is sent before the next one
/// comes.
pub const MOST_OF_INTERVAL: f32 = 0.8;

/// Auto on links of unknown speed.
const QUARTER: f32 = 0.25;

/// Auto never sends faster than this many Mbit/s, however fast the sender's own link is: the switch
/// may lead to a slower one, and a viewer has to keep up.
const AUTO_MOST_MBIT: u32 = 1000;

/// Bytes that each packet takes on an Ethernet wire beyond its UDP payload: preamble 8, header 14,
/// IPv4 20, UDP 8, check sequence 4, gap 12. IEEE 802.3 §4.2.3.2.
const WIRE_OVERHEAD: usize = 66;

/// Largest burst in bytes of UDP payload. A stock receive buffer is 212,992 bytes, and the kernel
/// books memory there, not payload: 2,304 bytes or more for a packet of 1,472. Half of the buffer
/// is left for the burst that a viewer has not read yet.
const MAX_BURST: usize = 64 * 1024;

/// Shortest gap worth a timer: below it, waking up costs more than it smooths.
const MIN_GAP: Duration = Duration::from_micros(50);

/// What the pacing of a frame depends on.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// UDP payload of all its packets in bytes, repair included.
    pub bytes: usize,
    /// Its packets, repair included.
    pub packets: usize,
    /// Time from this frame to the next.
    pub interval: Duration,
}

/// How one frame goes out: packets per burst, and time from the start of one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstPlan {
    /// Packets of each burst but the last, which may have fewer. At least 1.
    pub packets_per_burst: usize,
    /// Time from the start of one burst to the start of the next.
    pub gap: Duration,
}

impl BurstPlan {
    /// Everything at once.
    pub fn at_once(packets: usize) -> BurstPlan {
        BurstPlan {
            packets_per_burst: packets.max(1),
            gap: Duration::ZERO,
        }
    }

    /// The bursts of packets `0..packets`, as ranges.
    pub fn bursts(self, packets: usize) -> impl Iterator<Item = Range<usize>> {
        let size = self.packets_per_burst.max(1);
        (0..packets)
            .step_by(size)
            .map(move |start| start..(start + size).min(packets))
    }
}

/// How to send a frame of this `load` over this `link`.
pub fn schedule(pacing: Pacing, link: Link, load: Load) -> BurstPlan {
    let most = load.interval.mul_f32(MOST_OF_INTERVAL);
    let duration = match pacing {
        Pacing::Off => Duration::ZERO,
        Pacing::Spread(fraction) => load.interval.mul_f32(valid_fraction(fraction)),
        Pacing::Auto => auto_duration(link, load),
    };
    spread(load, duration.min(most))
}

/// A fraction from 0 to [`MOST_OF_INTERVAL`], whatever was given.
fn valid_fraction(fraction: f32) -> f32 {
    match fraction.is_nan() {
        true => 0.0,
        false => fraction.clamp(0.0, MOST_OF_INTERVAL),
    }
}

fn auto_duration(link: Link, load: Load) -> Duration {
    let mbit = match link {
        Link::Wireless | Link::Unknown => return load.interval.mul_f32(QUARTER),
        Link::Loopback => AUTO_MOST_MBIT,
        Link::Wired(mbit) => (mbit.saturating_mul(4) / 5).clamp(1, AUTO_MOST_MBIT),
    };
    let bits = (load.bytes + load.packets * WIRE_OVERHEAD) as u64 * 8;
    // bits / (Mbit/s) = microseconds.
    Duration::from_nanos(bits * 1000 / u64::from(mbit))
}

/// Bursts of at most [`MAX_BURST`] whose starts fill `duration`: the last begins one gap before its
/// end.
fn spread(load: Load, duration: Duration) -> BurstPlan {
    if load.packets == 0 || duration < MIN_GAP {
        return BurstPlan::at_once(load.packets);
    }
    let packet = load.bytes.div_ceil(load.packets).max(1);
    let packets_per_burst = (MAX_BURST / packet).clamp(1, load.packets);
    let bursts = load.packets.div_ceil(packets_per_burst);
    // In proportion: a last burst of few packets needs little time of its own.
    let gap = duration.mul_f64(packets_per_burst as f64 / load.packets as f64);
    if bursts == 1 || gap < MIN_GAP {
        return BurstPlan::at_once(load.packets);
    }
    BurstPlan {
        packets_per_burst,
        gap,
    }
}

/// Waits between bursts on `CLOCK_MONOTONIC`, from deadline to deadline, so that sleeping a little
/// long once does not add up. One for each sending thread.
#[derive(Debug, Default)]
pub struct Pacer {
    /// When the next burst may start.
    due: Mono,
}

impl Pacer {
    /// A pacer for the calling thread, whose timers it makes precise: the kernel may otherwise let
    /// each sleep run 50 µs long. prctl(2), PR_SET_TIMERSLACK.
    pub fn new() -> Pacer {
        sys::make_timers_precise();
        Pacer::default()
    }

    /// Waits until the next burst may start, which is at once after a pause, and sets the time of
    /// the one after. Call it before each burst, also of the next frame, which may not follow
    /// closer on the last burst of this one.
    pub fn wait(&mut self, gap: Duration) {
        let now = Mono::now();
        if now < self.due {
            sys::sleep_until(self.due.0);
        }
        self.due = next_due(self.due, now, gap);
    }
}

/// When the burst after the one that was `due` may start. A burst that is late by more than a gap
/// restarts the schedule: lost time is not made up by bursts without a gap.
fn next_due(due: Mono, now: Mono, gap: Duration) -> Mono {
    match now.since(due) > gap {
        true => now + gap,
        false => due + gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_micros(33_333);

    fn load(bytes: usize) -> Load {
        Load {
            bytes,
            packets: bytes.div_ceil(1472),
            interval: INTERVAL,
        }
    }

    /// From the first burst's start to when the last one's time is over.
    fn duration(plan: BurstPlan, packets: usize) -> Duration {
        plan.gap
            .mul_f64(packets as f64 / plan.packets_per_burst as f64)
    }

    fn millis(pacing: Pacing, link: Link, bytes: usize) -> f64 {
        let load = load(bytes);
        duration(schedule(pacing, link, load), load.packets).as_secs_f64() * 1e3
    }

    fn is_near(is: f64, should: f64) -> bool {
        (is - should).abs() <= should * 0.01
    }

    #[test]
    fn auto_takes_four_fifths_of_the_link_and_at_most_a_gigabit() {
        // 170 packets: 250,000 + 170 x 66 bytes on the wire = 2.0898 Mbit.
        for (link, should) in [
            (Link::Wired(100), 26.12),
            (Link::Wired(1000), 2.612),
            (Link::Wired(10_000), 2.090),
            (Link::Loopback, 2.090),
            (Link::Wireless, 8.333),
            (Link::Unknown, 8.333),
        ] {
            let is = millis(Pacing::Auto, link, 250_000);
            assert!(is_near(is, should), "{link:?}: {is} ms, not {should}");
        }
    }

    #[test]
    fn never_longer_than_four_fifths_of_the_interval() {
        for (pacing, link) in [
            (Pacing::Auto, Link::Wired(10)),
            (Pacing::Spread(0.8), Link::Unknown),
            (Pacing::Spread(7.0), Link::Unknown),
            (Pacing::Spread(f32::INFINITY), Link::Unknown),
        ] {
            let is = millis(pacing, link, 300_000);
            assert!(is_near(is, 26.67), "{pacing:?}: {is} ms");
        }
    }

    #[test]
    fn off_and_small_frames_go_at_once() {
        let all = load(250_000);
        for (pacing, load) in [
            (Pacing::Off, all),
            (Pacing::Spread(0.0), all),
            (Pacing::Spread(f32::NAN), all),
            (Pacing::Auto, load(20_000)),
        ] {
            let plan = schedule(pacing, Link::Wired(1000), load);
            assert_eq!(plan, BurstPlan::at_once(load.packets), "{pacing:?}");
        }
    }

    #[test]
    fn an_empty_frame_is_no_burst() {
        let plan = schedule(Pacing::Auto, Link::Unknown, load(0));
        assert_eq!(plan.bursts(0).count(), 0);
    }

    #[test]
    fn a_late_burst_is_not_made_up_for() {
        let gap = Duration::from_millis(1);
        let ms = |n: u64| Mono(n * 1_000_000);
        // On time, or a little late: the rhythm stays.
        assert_eq!(next_due(ms(10), ms(9), gap), ms(11));
        assert_eq!(next_due(ms(10), Mono(10_900_000), gap), ms(11));
        // Late by more than a gap, or a first burst: from now.
        assert_eq!(next_due(ms(10), ms(15), gap), ms(16));
        assert_eq!(next_due(Mono(0), ms(15), gap), ms(16));
        assert_eq!(next_due(ms(10), ms(15), Duration::ZERO), ms(15));
    }

    #[test]
    fn waiting_keeps_the_rhythm() {
        let mut pacer = Pacer::new();
        let gap = Duration::from_micros(500);
        let start = Mono::now();
        for _ in 0..21 {
            pacer.wait(gap);
        }
        let took = Mono::now().since(start);
        assert!(took >= gap * 20, "{took:?}");
    }

    proptest! {
        #[test]
        fn bursts_cover_every_packet_once_and_stay_small(
            bytes in 0usize..4_000_000,
            packet in 100usize..9000,
            micros in 1000u64..1_000_000,
            fraction in -1f32..2.0,
            link in prop_oneof![
                Just(Link::Unknown), Just(Link::Loopback), (0u32..100_000).prop_map(Link::Wired)
            ],
        ) {
            let interval = Duration::from_micros(micros);
            let load = Load { bytes, packets: bytes.div_ceil(packet), interval };
            for pacing in [Pacing::Auto, Pacing::Off, Pacing::Spread(fraction)] {
                let plan = schedule(pacing, link, load);
                let mut next = 0;
                for burst in plan.bursts(load.packets) {
                    prop_assert_eq!(burst.start, next);
                    prop_assert!(burst.end > burst.start);
                    next = burst.end;
                }
                prop_assert_eq!(next, load.packets);
                if !plan.gap.is_zero() {
                    prop_assert!(plan.packets_per_burst * bytes.div_ceil(load.packets) <= MAX_BURST);
                    prop_assert!(duration(plan, load.packets) <= interval.mul_f32(0.801));
                }
            }
        }
    }
}
