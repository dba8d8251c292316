//! The figures in the title and the overlay, updated once a second: rates of the last seconds, from
//! the viewer's counters. It has no clock; callers pass the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::stats::ViewerSnapshot;
use crate::stats::delay::Percentiles;
use crate::stats::report::{Amounts, Rates};

/// What the viewer shows about its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Width and height of the stream's pictures in pixels; 0 before the first.
    pub size: (usize, usize),
    /// Frames that arrived per second, shown or not.
    pub fps: f64,
    /// UDP payload, in Mbit/s.
    pub mbit_per_s: f64,
    /// Packets that never came, of those sent, in percent.
    pub loss_percent: f64,
    /// Counters since the start.
    pub total: ViewerSnapshot,
    /// Capture-to-screen delay of the last seconds; `None` where the stream carries no capture
    /// time.
    pub delay: Option<Percentiles>,
}

impl Figures {
    /// The window's title: name, size, frame rate, loss and, where known, delay.
    pub fn title(&self, name: &str) -> String {
        let (width, height) = self.size;
        if width == 0 {
            return format!("{name} - waiting");
        }
        let mut title = format!(
            "{name} - {width}x{height} - {:.1} fps - loss {:.1} %",
            self.fps, self.loss_percent
        );
        if let Some(delay) = self.delay {
            title += &format!(" - {:.0} ms", delay.p50);
        }
        title
    }

    /// The overlay's rows: a name and a value each.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let (width, height) = self.size;
        let total = &self.total;
        let delay = match self.delay {
            Some(delay) => format!("{:.1} ms, p99 {:.1} ms", delay.p50, delay.p99),
            None => "unknown".to_owned(),
        };
        vec![
            ("picture", format!("{width}×{height}")),
            (
                "rate",
                format!("{:.1} fps, {:.1} Mbit/s", self.fps, self.mbit_per_s),
            ),
            (
                "packets",
                format!(
                    "lost {}, repaired {}",
                    total.packets_lost, total.packets_repaired
                ),
            ),
            (
                "frames",
                format!(
                    "shown {}, skipped {}",
                    total.frames_shown, total.frames_skipped
                ),
            ),
            ("delay", delay),
        ]
    }
}

/// Makes [`Figures`] from counters.
#[derive(Debug)]
pub struct Meter {
    /// The counters of the last updates, oldest first.
    updates: VecDeque<(Instant, ViewerSnapshot)>,
    figures: Figures,
}

/// How often the figures are updated.
const PERIOD: Duration = Duration::from_secs(1);
/// Rates are taken over this many periods: over a single one, 30 fps would read as 29 or 31.
const PERIODS: usize = 4;

impl Meter {
    /// Starts at `now` with the counters' present values.
    pub fn new(now: Instant, counters: ViewerSnapshot) -> Meter {
        Meter {
            updates: VecDeque::from([(now, counters)]),
            figures: Figures {
                total: counters,
                ..Figures::default()
            },
        }
    }

    /// The latest figures.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whether [`update`](Meter::update) is due.
    pub fn is_due(&self, now: Instant) -> bool {
        let last = self.updates.back();
        last.is_none_or(|(at, _)| now.saturating_duration_since(*at) >= PERIOD)
    }

    /// Updates the figures, from the counters of some calls ago and now.
    pub fn update(
        &mut self,
        now: Instant,
        counters: ViewerSnapshot,
        size: (usize, usize),
        delay: Option<Percentiles>,
    ) {
        self.updates.push_back((now, counters));
        if self.updates.len() > PERIODS + 1 {
            self.updates.pop_front();
        }
        let (since, before) = self.updates[0];
        let elapsed = now.saturating_duration_since(since);
        let before = Amounts::from(&before);
        let rates = Rates::between(&before, &Amounts::from(&counters), elapsed);
        self.figures = Figures {
            size,
            fps: rates.fps,
            mbit_per_s: rates.mbit_per_s,
            loss_percent: rates.loss_percent.unwrap_or(0.0),
            total: counters,
            delay,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_periods_and_counters_of_all_time() {
        let start = Instant::now();
        let first = ViewerSnapshot {
            frames_whole: 100,
            packets_received: 1000,
            bytes_received: 1 << 20,
            ..Default::default()
        };
        let mut meter = Meter::new(start, first);
        assert!(!meter.is_due(start + Duration::from_millis(900)));
        let now = start + Duration::from_secs(2);
        assert!(meter.is_due(now));
        let second = ViewerSnapshot {
            frames_whole: 150,
            frames_repaired: 9,
            frames_partial: 1,
            packets_received: 1990,
            packets_lost: 10,
            packets_repaired: 7,
            bytes_received: (1 << 20) + 1_000_000,
            frames_shown: 158,
            frames_skipped: 2,
            ..Default::default()
        };
        let delay = Percentiles {
            p50: 11.6,
            p99: 20.0,
            max: 30.0,
        };
        meter.update(now, second, (1280, 720), Some(delay));
        let figures = meter.figures();
        assert_eq!(figures.fps, 30.0);
        assert_eq!(figures.mbit_per_s, 4.0);
        assert_eq!(figures.loss_percent, 1.0);
        assert_eq!(
            figures.title("porch"),
            "porch - 1280x720 - 30.0 fps - loss 1.0 % - 12 ms"
        );
        let rows = figures.rows();
        let value = |name| rows.iter().find(|row| row.0 == name).map(|row| &*row.1);
        assert_eq!(value("picture"), Some("1280×720"));
        assert_eq!(value("rate"), Some("30.0 fps, 4.0 Mbit/s"));
        assert_eq!(value("packets"), Some("lost 10, repaired 7"));
        assert_eq!(value("frames"), Some("shown 158, skipped 2"));
        assert_eq!(value("delay"), Some("11.6 ms, p99 20.0 ms"));
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let start = Instant::now();
        let mut meter = Meter::new(start, ViewerSnapshot::default());
        let mut counters = ViewerSnapshot::default();
        // A second at 90 fps, then 30 fps: 29, 31, 29, 31 and so on in each.
        for second in 1..10 {
            counters.frames_whole += match second {
                1 => 90,
                _ => 29 + second % 2 * 2,
            };
            let now = start + Duration::from_secs(second);
            assert!(meter.is_due(now));
            meter.update(now, counters, (640, 480), None);
            assert!(!meter.is_due(now));
            let expected = match second {
                1 => 90.0,
                4 => (90.0 + 29.0 + 31.0 + 29.0) / 4.0,
                5.. => 30.0,
                _ => continue,
            };
            assert_eq!(meter.figures().fps, expected, "second {second}");
        }
    }

    #[test]
    fn nothing_yet() {
        let meter = Meter::new(Instant::now(), ViewerSnapshot::default());
        assert_eq!(meter.figures().title("porch"), "porch - waiting");
    }
}
