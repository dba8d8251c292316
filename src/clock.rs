//! The two clocks that lancam uses, and nothing else: monotonic time for pacing and RTP timestamps,
//! wall time for NTP stamps. The sans-IO layers never ask for the time; they are given it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// A moment on `CLOCK_MONOTONIC`, the clock that V4L2 drivers stamp their buffers with.
/// Nanoseconds since an arbitrary start (usually boot).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The present moment.
    pub fn now() -> Mono {
        // CLOCK_MONOTONIC always exists on Linux, so the call cannot fail.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Mono(0), |now| {
            Mono(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
        })
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same moment on the wall clock, as far as the two clocks agree now.
    pub fn to_wall(self) -> SystemTime {
        let now = Mono::now();
        let wall = SystemTime::now();
        if self.0 <= now.0 {
            wall - now.since(self)
        } else {
            wall + self.since(now)
        }
    }
}

impl std::ops::Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_add(rhs.as_nanos() as u64))
    }
}

/// When something periodic that was due at `due` is due next. Periods missed while the process was
/// stopped or the machine slept are not made up for.
pub fn next_due(due: Instant, period: Duration, now: Instant) -> Instant {
    let next = due + period;
    if next > now { next } else { now + period }
}

/// Seconds between the NTP era's start (1900) and the Unix epoch (1970). RFC 5905 §6.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Wall time as a 64-bit NTP timestamp (32.32 fixed point, seconds since 1900). RFC 5905 §6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ntp(pub u64);

impl From<SystemTime> for Ntp {
    fn from(t: SystemTime) -> Ntp {
        let d = t.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(d.subsec_nanos()) << 32) / 1_000_000_000;
        // The era wraps in 2036; so does this, as the format requires.
        Ntp((d.as_secs().wrapping_add(NTP_TO_UNIX) << 32) | fraction)
    }
}

impl Ntp {
    /// Signed difference `self - earlier` in nanoseconds; correct across the era's wrap.
    pub fn nanos_since(self, earlier: Ntp) -> i64 {
        let diff = self.0.wrapping_sub(earlier.0) as i64;
        ((i128::from(diff) * 1_000_000_000) >> 32) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_periods_are_not_made_up_for() {
        let (start, period) = (Instant::now(), Duration::from_secs(1));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(next_due(at(1000), period, at(1000)), at(2000));
        assert_eq!(next_due(at(1000), period, at(1900)), at(2000));
        assert_eq!(next_due(at(1000), period, at(20_500)), at(21_500));
    }

    #[test]
    fn ntp_of_the_unix_epoch() {
        assert_eq!(Ntp::from(UNIX_EPOCH).0, NTP_TO_UNIX << 32);
        let half = Ntp::from(UNIX_EPOCH + Duration::from_millis(500));
        assert_eq!(half.0 & 0xffff_ffff, 1 << 31);
        assert_eq!(half.nanos_since(Ntp::from(UNIX_EPOCH)), 500_000_000);
        assert_eq!(Ntp::from(UNIX_EPOCH).nanos_since(half), -500_000_000);
    }

    #[test]
    fn monotonic_time_maps_to_the_wall() {
        let wall = SystemTime::now();
        let mapped = Mono::now().to_wall();
        let gap = mapped.duration_since(wall).unwrap_or_else(|e| e.duration());
        assert!(gap < Duration::from_secs(5), "{gap:?}");
    }
}
