//! The sending pipeline: one thread per stream does everything from the source to the kernel; the
//! caller's thread waits for signals, writes statistics and reloads the config. The only module that
//! wires sources, gate, packetizer and sockets together; each of them is told what it needs here.

mod announce;
pub(crate) mod commands;
mod description;
mod feedback;
mod figures;
mod outlet;
mod progress;
mod reports;
mod stream;
mod supervisor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::{info, warn};

use crate::cli::StatsTo;
use crate::config::{Config, Stream};
use crate::net::{GroupError, is_network_down};
use crate::send::announce::Announcer;
use crate::send::figures::Figures;
use crate::send::progress::Progress;
use crate::send::reports::End;
use crate::send::stream::{Ended, Running};
use crate::send::supervisor::Supervisor;
use crate::signals::{Signal, Signals};
use crate::stats::StatsWriter;
use crate::stats::report::Report;
use crate::status::{Board, Page, Role};

/// How often signals, ends of streams and the progress line are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often the figures are taken.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// How often a network is looked for that was not there at the start.
const NETWORK_RETRY: Duration = Duration::from_secs(1);

/// What `lancam send` does, and where it tells about it.
pub struct Job {
    /// The streams.
    pub config: Config,
    /// Where statistics go.
    pub stats: Option<StatsTo>,
    /// Makes the config anew on SIGHUP.
    pub reload: Box<dyn Fn() -> Result<Config>>,
}

/// Runs the streams until all have ended or a signal asks to stop.
///
/// # Errors
/// If a stream cannot start, nothing runs on. If one fails later the others go on, and the first failure
/// is returned at the end.
pub fn run(job: Job, mut signals: Signals) -> Result<()> {
    let mut stats = job.stats.as_ref().map(StatsWriter::open).transpose()?;
    let mut supervisor = Supervisor::find();
    let Some((config, mut streams)) = start(&job, &supervisor, &mut signals)? else {
        return Ok(());
    };
    let board = Arc::new(Board::new(Role::Sender));
    let mut page = match Page::start(&config.status, &board) {
        Ok(page) => page,
        Err(error) => {
            streams.end_all();
            return Err(error.into());
        }
    };
    let mut figures = Figures::new();
    let mut progress = Progress::new();
    let mut stats_due = Instant::now() + STATS_PERIOD;
    streams.put_up(&mut figures, &board);
    supervisor.ready();

    while !streams.running.is_empty() {
        match signals.wait(TICK) {
            Some(Signal::Stop) => break,
            Some(Signal::Reload) => {
                supervisor.reloading();
                if let Some(new) = read_again(&job) {
                    streams.reload(&new);
                    page = Page::follow(page, &new.status, &board);
                }
                supervisor.ready();
            }
            Some(Signal::Woken) | None => {}
        }
        streams.reap();
        progress.show(streams.running.iter().map(|r| &r.stats));
        if Instant::now() >= stats_due {
            stats_due += STATS_PERIOD;
            let report = streams.put_up(&mut figures, &board);
            supervisor.tell(&report);
            if let Some(stats) = &mut stats {
                stats.write(&*report);
            }
        }
    }

    supervisor.stopping();
    streams.end_all();
    progress.clear();
    if let Some(stats) = &mut stats {
        stats.write(&streams.report(&mut figures, true));
    }
    for end in &streams.ended {
        info!("{}", end.summary());
    }
    streams.into_result()
}

/// Starts the streams. Under a supervisor a network that is not there yet is waited for: a board must come up in
/// whatever order its parts do. Gives the config that they started with; `None`: the end was asked for meanwhile.
fn start(
    job: &Job,
    supervisor: &Supervisor,
    signals: &mut Signals,
) -> Result<Option<(Config, Streams)>> {
    let mut config = job.config.clone();
    let mut told = String::new();
    loop {
        let error = match Streams::start(&config, Tell::Commands) {
            Ok(streams) => return Ok(Some((config, streams))),
            Err(error) => error,
        };
        if !supervisor.is_there() || !is_network_missing(&error) {
            return Err(error);
        }
        let why = format!("waiting for the network: {error:#}");
        supervisor.waits(&why);
        if why != told {
            warn!("{why}");
            told = why;
        }
        match signals.wait(NETWORK_RETRY) {
            Some(Signal::Stop) => return Ok(None),
            Some(Signal::Reload) => config = read_again(job).unwrap_or(config),
            Some(Signal::Woken) | None => {}
        }
    }
}

/// The config as it is now; if it is wrong, that is said.
fn read_again(job: &Job) -> Option<Config> {
    match (job.reload)() {
        Ok(config) => Some(config),
        Err(error) => {
            warn!("the config was not reloaded, the old settings stay: {error:#}");
            None
        }
    }
}

fn is_network_missing(error: &anyhow::Error) -> bool {
    let group = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<GroupError>());
    match group {
        Some(GroupError::Interface(_)) => true,
        Some(GroupError::Io { cause, .. }) => is_network_down(cause),
        _ => false,
    }
}

/// Whether streams tell how to watch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The commands are printed once.
    Commands,
    /// They are not.
    Nothing,
}

/// The streams of one process.
pub struct Streams {
    running: Vec<Running>,
    ended: Vec<Ended>,
    /// `None` once all have ended.
    announcer: Option<Announcer>,
}

impl Streams {
    /// Starts all streams, or none: one that cannot start stops those that did.
    ///
    /// # Errors
    /// If a stream's source or socket cannot be opened.
    pub fn start(config: &Config, tell: Tell) -> Result<Streams> {
        let mut streams = Streams {
            running: Vec::new(),
            ended: Vec::new(),
            announcer: Some(Announcer::start(tell == Tell::Commands)?),
        };
        for stream in &config.streams {
            match streams.start_one(stream, None) {
                Ok(started) => streams.running.push(started),
                Err(error) => {
                    streams.end_all();
                    return Err(error);
                }
            }
        }
        Ok(streams)
    }

    /// Stops all at a frame's end.
    ///
    /// # Errors
    /// The first failure of a stream, if one failed.
    pub fn stop(mut self) -> Result<()> {
        self.end_all();
        self.into_result()
    }

    fn start_one(&self, stream: &Stream, before: Option<&Ended>) -> Result<Running> {
        let announcer = self.announcer.as_ref().context("the streams have ended")?;
        Running::start(stream.clone(), before, announcer.handle())
    }

    fn end_all(&mut self) {
        self.running.iter().for_each(Running::stop);
        let ended = self.running.drain(..).map(|r| r.join(End::Goodbye));
        self.ended.extend(ended);
        if let Some(announcer) = self.announcer.take() {
            announcer.finish();
        }
    }

    fn into_result(self) -> Result<()> {
        self.ended
            .into_iter()
            .find_map(|end| end.result.err())
            .map_or(Ok(()), Err)
    }

    /// Leaves streams alone whose settings are the same, stops those that are gone, starts the new ones;
    /// one whose settings changed goes on under the same SSRC and sequence.
    fn reload(&mut self, config: &Config) {
        let is_wanted = |r: &mut Running| config.streams.iter().any(|wanted| r.adopt(wanted));
        let (mut kept, mut replaced) = (Vec::new(), Vec::new());
        for mut stream in self.running.drain(..) {
            let place = if is_wanted(&mut stream) {
                &mut kept
            } else {
                &mut replaced
            };
            place.push(stream);
        }
        self.running = kept;
        replaced.iter().for_each(Running::stop);
        let goes_on = |r: &Running| config.streams.iter().any(|s| s.name == r.config.name);
        let before: Vec<Ended> = (replaced.into_iter())
            .map(|r| match goes_on(&r) {
                true => r.join(End::Silent),
                false => r.join(End::Goodbye),
            })
            .collect();
        for stream in &config.streams {
            if self.running.iter().any(|r| r.config == *stream) {
                continue;
            }
            let old = before.iter().find(|end| end.name == stream.name);
            match self.start_one(stream, old) {
                Ok(started) => self.running.push(started),
                Err(error) => self.restore(old, &stream.name, &error),
            }
        }
        info!("config reloaded: {} stream(s)", self.running.len());
    }

    /// A stream that cannot start with its new settings goes on with the old ones.
    fn restore(&mut self, old: Option<&Ended>, name: &str, error: &anyhow::Error) {
        warn!("{name}: not started with the new settings: {error:#}");
        let Some(old) = old else { return };
        match self.start_one(&old.config, Some(old)) {
            Ok(started) => self.running.push(started),
            Err(error) => warn!("{name}: the old settings do not start either: {error:#}"),
        }
    }

    /// Takes streams out that have ended by themselves.
    fn reap(&mut self) {
        while let Some(i) = self.running.iter().position(Running::has_ended) {
            let end = self.running.swap_remove(i).join(End::Goodbye);
            if let Err(error) = &end.result {
                warn!("{error:#}");
            }
            self.ended.push(end);
        }
    }

    /// Puts the figures of this moment on the status page, and gives them.
    fn put_up(&self, figures: &mut Figures, board: &Board) -> Arc<Report> {
        let report = Arc::new(self.report(figures, false));
        let scenes = figures.scenes(&report, &self.running, &self.ended);
        board.put_up(Arc::clone(&report), scenes);
        report
    }

    fn report(&self, figures: &mut Figures, is_final: bool) -> Report {
        let running = self.running.iter().map(|r| &r.stats);
        figures.report(running.chain(self.ended.iter().map(|e| &e.stats)), is_final)
    }
}
