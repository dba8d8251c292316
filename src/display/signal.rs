//! Whether frames arrive, and what to show when they do not. It has no clock; callers pass the
//! time.

use std::time::{Duration, Instant};

/// A sender is lost after this long without a frame; streams of few frames get up to the longer
/// one.
const LOST: Duration = Duration::from_secs(2);
const LOST_SLOW: Duration = Duration::from_secs(10);
/// After this long without a frame, none is expected soon.
const QUIET: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Signal {
    last: Option<Instant>,
    /// How long a gap may be.
    patience: Duration,
    /// Whole seconds without a frame, once that is too long.
    lost_for: Option<u64>,
}

impl Signal {
    /// No frame has arrived yet.
    pub(super) fn new() -> Signal {
        Signal {
            last: None,
            patience: LOST,
            lost_for: None,
        }
    }

    /// A frame has arrived.
    pub(super) fn frame(&mut self, now: Instant) {
        let interval = self.last.map_or(Duration::ZERO, |last| now - last);
        self.patience = (interval * 3).clamp(LOST, LOST_SLOW);
        self.last = Some(now);
        self.lost_for = None;
    }

    /// Updates the notice; returns whether it has changed.
    pub(super) fn has_changed(&mut self, now: Instant) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        let silence = now.saturating_duration_since(last);
        if silence < self.patience || self.lost_for == Some(silence.as_secs()) {
            return false;
        }
        self.lost_for = Some(silence.as_secs());
        true
    }

    /// The notice that the stream called `name` is lost; `None` while frames arrive and before the
    /// first one.
    pub(super) fn notice(&self, name: &str) -> Option<String> {
        let seconds = self.lost_for?;
        Some(format!("{name}: no signal for {}", time(seconds)))
    }

    /// Whether no frame is expected soon.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) > QUIET)
    }
}

/// Seconds up to two minutes, minutes up to two hours, then hours.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_sender_is_said_second_by_second_and_forgotten_with_the_next_frame() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut signal = Signal::new();
        let notice = |signal: &Signal| signal.notice("porch").unwrap_or_default();
        assert!(!signal.has_changed(at(60_000)));
        assert_eq!(signal.notice("porch"), None);
        signal.frame(at(0));
        assert_eq!(signal.notice("porch"), None);
        assert!(!signal.has_changed(at(1_900)));
        assert!(signal.has_changed(at(2_010)));
        assert!(!signal.has_changed(at(2_900)));
        assert!(signal.has_changed(at(12_100)));
        assert_eq!(notice(&signal), "porch: no signal for 12 s");
        assert!(signal.has_changed(at(150_000)));
        assert_eq!(notice(&signal), "porch: no signal for 2 min");
        assert!(signal.has_changed(at(7_300_000)));
        assert_eq!(notice(&signal), "porch: no signal for 2 h");
        signal.frame(at(7_300_100));
        assert_eq!(signal.notice("porch"), None);
    }

    #[test]
    fn a_slow_stream_is_no_lost_one() {
        let start = Instant::now();
        let mut signal = Signal::new();
        for s in [0, 3, 6] {
            signal.frame(start + Duration::from_secs(s));
        }
        assert!(!signal.has_changed(start + Duration::from_secs(9)));
        assert!(signal.has_changed(start + Duration::from_secs(16)));
    }
}
