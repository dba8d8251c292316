//! When the frames of a source without a clock of its own are due. Drift-free: the n-th frame is
//! due n intervals after the first, however late earlier ones were.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use super::frame::SourceError;
use super::stop::Stop;
use crate::clock::Mono;

/// Longest wait without a look at the stop flag.
pub(super) const SLICE: Duration = Duration::from_millis(200);

/// A source later than this many intervals (and [`SLACK`]) does not catch up in a burst: the
/// schedule restarts.
const LATE_INTERVALS: u32 = 3;
const SLACK: Duration = Duration::from_millis(100);

/// The schedule of one source.
pub(super) struct Pacer {
    fps: f64,
    /// When frame 0 was due, and how many have been planned since.
    start: Option<Mono>,
    planned: u64,
    stop: Arc<Stop>,
}

impl Pacer {
    pub(super) fn new(fps: f64, stop: Arc<Stop>) -> Pacer {
        Pacer {
            fps,
            start: None,
            planned: 0,
            stop,
        }
    }

    pub(super) fn fps(&self) -> f64 {
        self.fps
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps)
    }

    /// Plans the next frame and returns when it is due: the first one now.
    pub(super) fn plan(&mut self, now: Mono) -> Mono {
        if let Some(start) = self.start {
            let due = start + Duration::from_secs_f64(self.planned as f64 / self.fps);
            let limit = (self.interval() * LATE_INTERVALS).max(SLACK);
            if now.since(due) <= limit {
                self.planned += 1;
                return due;
            }
        }
        self.start = Some(now);
        self.planned = 1;
        now
    }

    /// Plans the next frame and waits until it is due.
    pub(super) fn next(&mut self) -> Result<Mono, SourceError> {
        let due = self.plan(Mono::now());
        self.wait_until(due)?;
        Ok(due)
    }

    /// Sleeps until `due`; an error as soon as the stop flag is seen.
    pub(super) fn wait_until(&self, due: Mono) -> Result<(), SourceError> {
        loop {
            if self.stop.is_raised() {
                return Err(SourceError::Stopped);
            }
            let now = Mono::now();
            if now >= due {
                return Ok(());
            }
            let until = due.min(now + SLICE);
            let until = TimeSpec::from_duration(Duration::from_nanos(until.0));
            // A signal ends the sleep early: the loop looks again.
            let _ = clock_nanosleep(
                ClockId::CLOCK_MONOTONIC,
                ClockNanosleepFlags::TIMER_ABSTIME,
                &until,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Mono {
        Mono(n * 1_000_000)
    }

    #[test]
    fn the_beat_does_not_drift() {
        let mut pacer = Pacer::new(1000.0 / 3.0, Arc::default());
        for n in 0..10_000 {
            // Asked up to 2 ms early or late: the answer is the same.
            let due = pacer.plan(ms(5000 + 3 * n + n % 3 - u64::from(n > 0)));
            assert_eq!(due, ms(5000 + 3 * n), "frame {n}");
        }
    }

    #[test]
    fn a_very_late_source_starts_again() {
        let mut pacer = Pacer::new(25.0, Arc::default());
        assert_eq!(pacer.plan(ms(1000)), ms(1000));
        assert_eq!(
            pacer.plan(ms(1150)),
            ms(1040),
            "three intervals late: caught up"
        );
        assert_eq!(
            pacer.plan(ms(9000)),
            ms(9000),
            "no burst of two hundred frames"
        );
        assert_eq!(pacer.plan(ms(9000)), ms(9040));
    }

    #[test]
    fn a_long_wait_ends_with_the_stop_flag() {
        let stop = Arc::<Stop>::default();
        let pacer = Pacer::new(0.1, stop.clone());
        let far = Mono::now() + Duration::from_secs(3600);
        let waiter = std::thread::spawn(move || pacer.wait_until(far));
        stop.raise();
        assert!(matches!(waiter.join().unwrap(), Err(SourceError::Stopped)));
    }
}
