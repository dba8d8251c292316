//! The sender's figures, second by second: each stream's rates and history, and what the status
//! page shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::description::how_to_watch;
use super::running::{Ended, Running};
use super::shared::StreamStats;
use crate::board::Scene;
use crate::config::Stream;
use crate::stats::report::{Report, StreamReport, Tracker};

/// Kept from one second to the next.
pub(super) struct Figures {
    started: Instant,
    /// By stream name.
    trackers: HashMap<String, Tracker>,
}

impl Figures {
    pub(super) fn new() -> Figures {
        Figures {
            started: Instant::now(),
            trackers: HashMap::new(),
        }
    }

    /// All figures of this moment.
    pub(super) fn report<'a>(
        &mut self,
        streams: impl Iterator<Item = &'a Arc<StreamStats>>,
        is_final: bool,
    ) -> Report {
        let now = Instant::now();
        let streams: Vec<StreamReport> = streams.map(|s| self.stream(s, now)).collect();
        self.trackers
            .retain(|name, _| streams.iter().any(|stream| stream.name == *name));
        Report {
            uptime_s: self.started.elapsed().as_secs_f64(),
            is_final,
            streams,
        }
    }

    fn stream(&mut self, stats: &StreamStats, now: Instant) -> StreamReport {
        let mut report = stats.report();
        let name = report.name.clone();
        let started = self.started;
        let tracker = self
            .trackers
            .entry(name)
            .or_insert_with(|| Tracker::new(started));
        report.rates = tracker.update(now, &report.totals);
        report
    }

    /// What the page shows besides the report's streams.
    pub(super) fn scenes(
        &self,
        report: &Report,
        running: &[Running],
        ended: &[Ended],
    ) -> Vec<Scene> {
        let running = running.iter().map(|r| (r.sent(), &r.stats));
        let all = running.chain(ended.iter().map(|e| (e.sent(), &e.stats)));
        let reports = report.streams.iter();
        reports
            .zip(all)
            .map(|(report, (config, stats))| self.scene(report, &config, stats))
            .collect()
    }

    fn scene(&self, report: &StreamReport, config: &Stream, stats: &StreamStats) -> Scene {
        let tracker = self.trackers.get(&report.name);
        let sdp = stats.sdp.get();
        Scene {
            health: tracker.map_or(Ok(()), |tracker| tracker.health(report)),
            history: tracker.map(Tracker::history).unwrap_or_default(),
            preview: Arc::clone(&stats.preview),
            commands: how_to_watch(config, report.format.map(|f| (f.width, f.height)), &sdp),
            sdp: Some(sdp).filter(|sdp| !sdp.is_empty()),
        }
    }
}
