//! The sending pipeline: one thread per stream does everything from the source to the kernel; the
//! caller's thread waits for signals, writes statistics and reloads the config. The only module that
//! wires sources, gate, packetizer and sockets together; each of them is told what it needs here.

mod outlet;
mod progress;
mod stream;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tracing::{info, warn};

use crate::config::{Config, Stream};
use crate::jpeg::gate::GateSnapshot;
use crate::send::progress::Progress;
use crate::send::stream::{Ended, Running};
use crate::signals::{Signal, Signals};
use crate::stats::{SenderSnapshot, StatsWriter};

/// How often signals, ends of streams and the progress line are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often statistics are written.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// What `lancam send` does, and where it tells about it.
pub struct Job {
    /// The streams.
    pub config: Config,
    /// Where statistics go; `-` is standard output.
    pub stats: Option<PathBuf>,
    /// Makes the config anew on SIGHUP.
    pub reload: Box<dyn Fn() -> Result<Config>>,
}

/// Runs the streams until all have ended or a signal asks to stop.
///
/// # Errors
/// If a stream cannot start, nothing runs on. If one fails later the others go on, and the first failure
/// is returned at the end.
pub fn run(job: Job, signals: &Signals) -> Result<()> {
    let mut stats = open_stats(job.stats.as_deref())?;
    let mut running = start_all(&job.config)?;
    let mut ended = Vec::new();
    let mut progress = Progress::new();
    let started = Instant::now();
    let mut stats_due = started + STATS_PERIOD;

    while !running.is_empty() {
        match signals.wait(TICK) {
            Some(Signal::Stop) => break,
            Some(Signal::Reload) => match (job.reload)() {
                Ok(config) => running = reload(running, &config),
                Err(error) => warn!("the config was not reloaded, the old settings stay: {error:#}"),
            },
            None => {}
        }
        reap(&mut running, &mut ended);
        progress.show(running.iter().map(|r| &r.stats));
        if Instant::now() >= stats_due {
            stats_due += STATS_PERIOD;
            write_stats(stats.as_mut(), &running, &ended, started, false);
        }
    }

    for stream in &running {
        stream.stop();
    }
    ended.extend(running.drain(..).map(Running::join));
    progress.clear();
    write_stats(stats.as_mut(), &running, &ended, started, true);
    for end in &ended {
        info!("{}", end.summary());
    }
    ended.into_iter().find_map(|end| end.result.err()).map_or(Ok(()), Err)
}

/// Opens what `--stats` names.
pub(crate) fn open_stats(path: Option<&std::path::Path>) -> Result<Option<StatsWriter>> {
    path.map(|p| {
        StatsWriter::create(p).with_context(|| format!("statistics cannot be written to {}", p.display()))
    })
    .transpose()
}

/// Starts all streams, or none: one that cannot start stops those that did.
fn start_all(config: &Config) -> Result<Vec<Running>> {
    let mut running: Vec<Running> = Vec::with_capacity(config.streams.len());
    for stream in &config.streams {
        match Running::start(stream.clone(), None) {
            Ok(started) => running.push(started),
            Err(error) => {
                running.iter().for_each(Running::stop);
                running.into_iter().for_each(|r| drop(r.join()));
                return Err(error);
            }
        }
    }
    Ok(running)
}

/// Leaves streams alone whose settings are the same, stops those that are gone, starts the new ones;
/// one whose settings changed goes on under the same SSRC and sequence.
fn reload(running: Vec<Running>, config: &Config) -> Vec<Running> {
    let is_wanted = |r: &Running| config.streams.contains(&r.config);
    let (mut kept, replaced): (Vec<_>, Vec<_>) = running.into_iter().partition(is_wanted);
    replaced.iter().for_each(Running::stop);
    let before: Vec<Ended> = replaced.into_iter().map(Running::join).collect();
    let is_new = |s: &&Stream| !kept.iter().any(|r| r.config == **s);
    let wanted: Vec<Stream> = config.streams.iter().filter(is_new).cloned().collect();
    for stream in wanted {
        let old = before.iter().find(|end| end.name == stream.name);
        let name = stream.name.clone();
        match Running::start(stream, old) {
            Ok(started) => kept.push(started),
            Err(error) => restore(&mut kept, old, &name, &error),
        }
    }
    info!("config reloaded: {} stream(s)", kept.len());
    kept
}

/// A stream that cannot start with its new settings goes on with the old ones.
fn restore(kept: &mut Vec<Running>, old: Option<&Ended>, name: &str, error: &anyhow::Error) {
    warn!("{name}: not started with the new settings: {error:#}");
    let Some(old) = old else { return };
    match Running::start(old.config.clone(), Some(old)) {
        Ok(started) => kept.push(started),
        Err(error) => warn!("{name}: the old settings do not start either: {error:#}"),
    }
}

/// Takes streams out that have ended by themselves.
fn reap(running: &mut Vec<Running>, ended: &mut Vec<Ended>) {
    while let Some(i) = running.iter().position(Running::has_ended) {
        let end = running.swap_remove(i).join();
        if let Err(error) = &end.result {
            if !running.is_empty() {
                warn!("{}: ended: {error:#}", end.name);
            }
        }
        ended.push(end);
    }
}

/// One stream's part of the statistics.
#[derive(Serialize)]
struct StreamReport<'a> {
    name: &'a str,
    #[serde(flatten)]
    sender: SenderSnapshot,
    gate: GateSnapshot,
}

/// One object of the statistics. With one stream its figures stand at the top.
#[derive(Serialize)]
struct Report<'a> {
    uptime_s: f64,
    #[serde(rename = "final")]
    is_final: bool,
    #[serde(flatten)]
    only: Option<&'a StreamReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<&'a [StreamReport<'a>]>,
}

fn write_stats(
    writer: Option<&mut StatsWriter>,
    running: &[Running],
    ended: &[Ended],
    started: Instant,
    is_final: bool,
) {
    let Some(writer) = writer else { return };
    let all = running.iter().map(|r| &r.stats).chain(ended.iter().map(|e| &e.stats));
    let reports: Vec<StreamReport<'_>> = all
        .map(|s| StreamReport { name: &s.name, sender: s.sender.snapshot(), gate: s.gate.snapshot() })
        .collect();
    let is_single = reports.len() == 1;
    writer.write(&Report {
        uptime_s: started.elapsed().as_secs_f64(),
        is_final,
        only: reports.first().filter(|_| is_single),
        streams: (!is_single).then_some(&reports),
    });
}
