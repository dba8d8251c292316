//! The viewer's control thread: waits for signals, and once a second reads the counters for the
//! statistics, the status page and, headless, a line of figures.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::shared::Shared;
use super::wanted::Wanted;
use crate::board::{Board, Scene};
use crate::clock::next_due;
use crate::players::{self, Watched};
use crate::rtp::sdp::Announcement;
use crate::signals::Signals;
use crate::stats::delay::Percentiles;
use crate::stats::report::{Rates, Report, StreamReport, Totals, Tracker};
use crate::stats::{Format, StatsWriter, ViewerSnapshot};
use crate::text::counted;

const PERIOD: Duration = Duration::from_secs(1);
/// Seconds between log lines of figures when there is no terminal.
const LOG_EVERY: u64 = 5;

/// Where the figures go.
pub(super) struct Outputs {
    pub(super) stats: Option<StatsWriter>,
    pub(super) board: Arc<Board>,
    pub(super) is_headless: bool,
}

/// What the thread owns.
pub(super) struct Control {
    shared: Arc<Shared>,
    outputs: Outputs,
    tracker: Tracker,
    is_terminal: bool,
    ticks: u64,
    started: Instant,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>, outputs: Outputs) -> Control {
        let now = Instant::now();
        Control {
            shared,
            outputs,
            tracker: Tracker::new(now),
            is_terminal: io::stderr().is_terminal(),
            ticks: 0,
            started: now,
        }
    }

    /// Runs until the viewer is asked to stop, then logs the totals.
    pub(super) fn run(mut self, mut signals: Signals) {
        self.publish(self.stream_report());
        let mut due = Instant::now() + PERIOD;
        while !self.shared.is_over() {
            let left = due.saturating_duration_since(Instant::now());
            signals.wait(left);
            let now = Instant::now();
            if now < due {
                continue;
            }
            due = next_due(due, PERIOD, now);
            self.tick(false);
        }
        self.tick(true);
        let s = self.shared.stats.snapshot();
        info!(
            "{} whole, {} repaired, {} partial, {} lost, {} shown, {} skipped; {}, {} lost",
            counted(s.frames_whole, "frame"),
            s.frames_repaired,
            s.frames_partial,
            s.frames_lost,
            s.frames_shown,
            s.frames_skipped,
            counted(s.packets_received, "packet"),
            s.packets_lost
        );
    }

    fn stream_report(&self) -> StreamReport {
        StreamReport {
            name: self.shared.wanted.get().name.clone(),
            state: self.shared.state.get(),
            format: self.shared.format.get(),
            totals: Totals::Viewer {
                received: self.shared.stats.snapshot(),
                delay_ms: self.shared.delay.total(),
            },
            rates: Rates::default(),
        }
    }

    fn tick(&mut self, is_final: bool) {
        let mut stream = self.stream_report();
        stream.rates = self.tracker.update(Instant::now(), &stream.totals);
        let line = match &stream.totals {
            Totals::Viewer { received, delay_ms } => line(&stream.rates, received, *delay_ms),
            Totals::Sender { .. } => String::new(),
        };
        let mut report = self.publish(stream);
        if let Some(stats) = &mut self.outputs.stats {
            report.is_final = is_final;
            stats.write(&report);
        }
        self.ticks += 1;
        if self.outputs.is_headless {
            self.show(&line, is_final);
        }
    }

    /// Publishes the figures on the status page, and returns them.
    fn publish(&self, stream: StreamReport) -> Report {
        let wanted = self.shared.wanted.get();
        let sdp = sdp(&wanted, stream.format);
        let scene = Scene {
            health: self.tracker.health(&stream),
            history: self.tracker.history(),
            preview: Arc::clone(&self.shared.preview),
            commands: players::commands(&Watched {
                group: wanted.receive.group,
                name: None,
                size: stream.format.map(|f| (f.width, f.height)),
                sdp: sdp.as_deref().unwrap_or_default(),
                sdp_file: Some("stream.sdp"),
            }),
            sdp,
        };
        let report = Report {
            uptime_s: self.started.elapsed().as_secs_f64(),
            is_final: false,
            streams: vec![stream],
        };
        self.outputs
            .board
            .publish(Arc::new(report.clone()), vec![scene]);
        report
    }

    /// On a terminal, one line redrawn in place; otherwise a log line now and then.
    fn show(&self, line: &str, is_final: bool) {
        if self.is_terminal {
            // Carriage return and "erase to end of line"; errors do not matter.
            let end = if is_final { "\n" } else { "" };
            let _ = write!(io::stderr(), "\r{line}\x1b[K{end}");
        } else if self.ticks % LOG_EVERY == 0 {
            info!("{line}");
        }
    }
}

/// The session description: the one the stream was found by, or one made from its packets.
fn sdp(wanted: &Wanted, format: Option<Format>) -> Option<String> {
    let format = match &wanted.sdp {
        Some(text) => return Some(text.clone()),
        None => format?,
    };
    let group = wanted.receive.group;
    let announcement = Announcement {
        name: &wanted.name,
        session: u64::from(group.port()),
        version: 1,
        ssrc: None,
        // The sender is not known here, and no player needs it.
        origin: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        destination: group,
        ttl: 1,
        source: None,
        framerate: None,
        size: Some((format.width, format.height)),
        repair_port: wanted.repair_port,
        control: None,
    };
    Some(announcement.to_sdp())
}

fn line(rates: &Rates, totals: &ViewerSnapshot, delay_ms: Option<Percentiles>) -> String {
    let delay = delay_ms.map_or(String::new(), |d| {
        format!(", delay {:.1} ms (p99 {:.1})", d.p50, d.p99)
    });
    format!(
        "{:.1} fps, {:.1} Mbit/s, {}, {} lost{delay}",
        rates.fps,
        rates.mbit_per_s,
        counted(totals.frames_shown, "frame"),
        totals.frames_lost
    )
}
