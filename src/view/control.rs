//! The viewer's control thread: waits for signals, and once a second writes statistics and, headless on a
//! terminal, a line of figures.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::info;

use super::Shared;
use crate::signals::{Signal, Signals};
use crate::stats::{StatsWriter, ViewerSnapshot};
use crate::viewer::delay::Percentiles;
use crate::viewer::figures::Meter;

const PERIOD: Duration = Duration::from_secs(1);
/// Seconds between two log lines of figures where there is no terminal to draw them on.
const LOG_EVERY: u64 = 5;

/// What the thread owns.
pub(super) struct Control {
    shared: Arc<Shared>,
    stats: Option<StatsWriter>,
    meter: Meter,
    is_headless: bool,
    is_terminal: bool,
    ticks: u64,
    started: Instant,
}

/// One object of the statistics.
#[derive(Serialize)]
struct Report {
    uptime_s: f64,
    #[serde(rename = "final")]
    is_final: bool,
    #[serde(flatten)]
    totals: ViewerSnapshot,
    /// Capture to screen (headless: to the whole frame), in milliseconds since the start.
    delay_ms: Option<Percentiles>,
    /// Frames that arrived in the last second.
    fps: f64,
}

impl Control {
    pub(super) fn new(
        shared: Arc<Shared>,
        stats: Option<StatsWriter>,
        is_headless: bool,
    ) -> Control {
        let now = Instant::now();
        Control {
            meter: Meter::new(now, shared.stats.snapshot()),
            shared,
            stats,
            is_headless,
            is_terminal: io::stderr().is_terminal(),
            ticks: 0,
            started: now,
        }
    }

    /// Works until the viewer is asked to stop, then says what came of it.
    pub(super) fn run(mut self, mut signals: Signals) {
        let mut due = Instant::now() + PERIOD;
        while !self.shared.is_over() {
            let left = due.saturating_duration_since(Instant::now());
            if signals.wait(left) == Some(Signal::Reload) {
                info!("a viewer has no config to reload");
            }
            if Instant::now() < due {
                continue;
            }
            due += PERIOD;
            self.tick(false);
        }
        self.tick(true);
        let s = self.shared.stats.snapshot();
        info!(
            "{} frames whole, {} repaired, {} partial, {} lost, {} shown, {} skipped; {} packets, {} lost",
            s.frames_whole,
            s.frames_repaired,
            s.frames_partial,
            s.frames_lost,
            s.frames_shown,
            s.frames_skipped,
            s.packets_received,
            s.packets_lost
        );
    }

    fn tick(&mut self, is_final: bool) {
        let totals = self.shared.stats.snapshot();
        let delay_ms = self.shared.delay.total();
        self.meter.update(Instant::now(), totals, (0, 0), delay_ms);
        let figures = self.meter.figures();
        if let Some(stats) = &mut self.stats {
            let uptime_s = self.started.elapsed().as_secs_f64();
            stats.write(&Report {
                uptime_s,
                is_final,
                totals,
                delay_ms,
                fps: figures.fps,
            });
        }
        self.ticks += 1;
        if self.is_headless {
            self.show(&self.line(&totals, delay_ms), is_final);
        }
    }

    fn line(&self, totals: &ViewerSnapshot, delay_ms: Option<Percentiles>) -> String {
        let figures = self.meter.figures();
        let delay = delay_ms.map_or(String::new(), |d| {
            format!(", delay {:.1} ms (p99 {:.1})", d.p50, d.p99)
        });
        format!(
            "{:.1} fps, {:.1} Mbit/s, {} frames, {} lost{delay}",
            figures.fps, figures.mbit_per_s, totals.frames_shown, totals.frames_lost
        )
    }

    /// On a terminal one line, drawn over itself; else a log line now and then.
    fn show(&self, line: &str, is_final: bool) {
        if self.is_terminal {
            // Carriage return and "erase to the end of the line"; lost output is no loss.
            let end = if is_final { "\n" } else { "" };
            let _ = write!(io::stderr(), "\r{line}\x1b[K{end}");
        } else if self.ticks % LOG_EVERY == 0 {
            info!("{line}");
        }
    }
}
