//! How long frames took from capture to the screen: percentiles from a histogram of fixed size.
//! Recording is one atomic addition: no lock, no allocation. Not a clock: whoever shows the frame
//! measures the delay.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::clock::Ntp;

/// Longer delays, like negative ones, mean that a clock is wrong.
const ABSURD_DELAY: Duration = Duration::from_secs(60);
/// Buckets per doubling: a percentile is off by at most 1/32, about 3 %.
const STEPS: usize = 32;
/// Doublings beyond the exact range: up to 2^32 µs, more than an hour.
const DOUBLINGS: usize = 27;
const BUCKETS: usize = STEPS * (DOUBLINGS + 1);

/// Percentiles of a [`Histogram`], in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the frames took at most this long.
    pub p50: f64,
    /// 99 of 100 frames took at most this long.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// A log-linear histogram of durations: exact to the microsecond up to 32 µs, then to 3 %.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds one sample. More than an hour counts as an hour.
    pub fn record(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Percentiles of all samples; `None` when there are none.
    pub fn percentiles(&self) -> Option<Percentiles> {
        percentiles(&[self])
    }

    fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
        self.max_us.store(0, Ordering::Relaxed);
    }
}

/// The delay since the start, and that of the last seconds.
#[derive(Debug, Default)]
pub struct DelayMeter {
    total: Histogram,
    halves: [Histogram; 2],
    present: AtomicUsize,
}

impl DelayMeter {
    /// Adds one frame's delay.
    pub fn record(&self, delay: Duration) {
        self.total.record(delay);
        self.halves[self.present.load(Ordering::Relaxed)].record(delay);
    }

    /// Adds the delay of a frame that the sender captured at `captured`, seen at `now`. If it is
    /// negative or absurdly long, the clocks disagree and nothing is added.
    pub fn record_since(&self, captured: Ntp, now: SystemTime) {
        let nanos = Ntp::from(now).nanos_since(captured);
        let delay = u64::try_from(nanos).ok().map(Duration::from_nanos);
        if let Some(delay) = delay.filter(|&delay| delay < ABSURD_DELAY) {
            self.record(delay);
        }
    }

    /// Forgets the older half of the recent samples. If the recording thread calls this every few
    /// seconds, [`recent`](DelayMeter::recent) covers one to two such periods.
    pub fn rotate(&self) {
        let next = 1 - self.present.load(Ordering::Relaxed);
        self.halves[next].clear();
        self.present.store(next, Ordering::Relaxed);
    }

    /// Since the start; `None` when no frame had a capture time.
    pub fn total(&self) -> Option<Percentiles> {
        self.total.percentiles()
    }

    /// Of the last one to two rotation periods.
    pub fn recent(&self) -> Option<Percentiles> {
        percentiles(&[&self.halves[0], &self.halves[1]])
    }
}

/// The bucket of `us` microseconds.
fn bucket(us: u64) -> usize {
    let steps = STEPS as u64;
    if us < steps {
        return us as usize;
    }
    let doubling = us.ilog2() - steps.ilog2();
    // The bits below the highest one give the step within the doubling.
    let step = (us >> doubling) as usize - STEPS;
    (STEPS * (doubling as usize + 1) + step).min(BUCKETS - 1)
}

/// The first microsecond after bucket `index`.
fn upper_edge_us(index: usize) -> u64 {
    if index < STEPS {
        return index as u64 + 1;
    }
    let (doubling, step) = (index / STEPS - 1, index % STEPS);
    ((STEPS + step + 1) as u64) << doubling
}

fn percentiles(parts: &[&Histogram]) -> Option<Percentiles> {
    let count = |index: usize| -> u64 {
        parts
            .iter()
            .map(|part| part.buckets[index].load(Ordering::Relaxed))
            .sum()
    };
    let samples: u64 = (0..BUCKETS).map(count).sum();
    if samples == 0 {
        return None;
    }
    let max_us = parts
        .iter()
        .map(|part| part.max_us.load(Ordering::Relaxed))
        .max()?;
    let at = |percent: u64| -> f64 {
        let rank = (samples * percent).div_ceil(100).max(1);
        let mut below = 0;
        let index = (0..BUCKETS).find(|&index| {
            below += count(index);
            below >= rank
        });
        let edge = index.map_or(max_us, upper_edge_us);
        edge.min(max_us) as f64 / 1000.0
    };
    Some(Percentiles {
        p50: at(50),
        p99: at(99),
        max: max_us as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clocks_that_disagree_add_nothing() {
        let (meter, now) = (
            DelayMeter::default(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        );
        let captured = |ago: Duration| Ntp::from(now - ago);
        meter.record_since(Ntp::from(now + Duration::from_millis(1)), now);
        meter.record_since(captured(Duration::from_secs(60)), now);
        assert!(meter.total().is_none());
        meter.record_since(captured(Duration::from_millis(8)), now);
        assert!((7.5..8.5).contains(&meter.total().expect("one sample").p50));
    }

    #[test]
    fn nothing_recorded_is_nothing_said() {
        assert_eq!(DelayMeter::default().total(), None);
        assert_eq!(DelayMeter::default().recent(), None);
    }

    #[test]
    fn percentiles_of_a_known_series() {
        let histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        let p = histogram.percentiles().expect("samples");
        assert!((500.0..=516.0).contains(&p.p50), "{p:?}");
        assert!((990.0..=1000.0).contains(&p.p99), "{p:?}");
        assert_eq!(p.max, 1000.0);
    }

    #[test]
    fn recent_forgets_and_total_does_not() {
        let meter = DelayMeter::default();
        meter.record(Duration::from_secs(2));
        meter.rotate();
        meter.record(Duration::from_millis(5));
        assert_eq!(meter.recent().expect("samples").max, 2000.0);
        meter.rotate();
        assert_eq!(meter.recent().expect("samples").max, 5.0);
        meter.rotate();
        assert_eq!(meter.recent(), None);
        assert_eq!(meter.total().expect("samples").max, 2000.0);
    }

    #[test]
    fn absurd_delays_do_not_break_it() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let p = histogram.percentiles().expect("samples");
        assert!(p.p50 <= 0.001, "{p:?}");
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_falls_into_it(us in 0u64..(1 << 32)) {
            let index = bucket(us);
            prop_assert!(us < upper_edge_us(index));
            prop_assert!(index == 0 || us >= upper_edge_us(index - 1));
            prop_assert!(upper_edge_us(index) as f64 <= us as f64 * 1.04 + 1.0);
        }
    }
}
