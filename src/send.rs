//! The sending pipeline: one thread per stream does everything from the source to the kernel; the
//! caller's thread waits for signals, writes statistics and reloads the config. The only module
//! that connects sources, gate, packetizer and sockets.

mod announce;
mod description;
mod feedback;
mod figures;
mod group;
mod identity;
mod progress;
mod rtcp;
mod running;
mod shared;
mod sink;
mod stream;
mod supervisor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::{info, warn};

use crate::board::{Board, Role};
use crate::clock::next_due;
use crate::config::{Config, Stream};
use crate::net::{GroupError, is_network_down};
pub use crate::send::announce::Tell;

use crate::send::announce::Announcer;
use crate::send::figures::Figures;
use crate::send::progress::Progress;
use crate::send::rtcp::End;
use crate::send::running::{END_LIMIT, Ended, Running};
use crate::send::supervisor::Supervisor;
use crate::serve::Server;
use crate::signals::{Signal, Signals};
use crate::stats::report::Report;
use crate::stats::{StatsTo, StatsWriter};
use crate::text::{counted, without_codes};

/// How often signals, ended streams and the progress line are checked.
const TICK: Duration = Duration::from_millis(200);
/// How often figures are collected.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// How often to retry while there is no network at the start.
const NETWORK_RETRY: Duration = Duration::from_secs(1);

/// What `lancam send` was asked to do.
pub struct SendPlan {
    /// The streams.
    pub config: Config,
    /// Where statistics go.
    pub stats: Option<StatsTo>,
    /// Reads the config again, on SIGHUP.
    pub reload: Box<dyn Fn() -> Result<Config>>,
}

/// Runs the streams until all have ended or a signal asks to stop.
///
/// # Errors
/// If a stream's socket cannot be opened; no stream runs then. A failing source is retried, unless
/// it is the only one, fails at the start, and there is no supervisor: a user at a terminal is told
/// at once. If one stream ends with an error, the others go on, and the first error is returned at
/// the end.
pub fn run(plan: SendPlan, mut signals: Signals) -> Result<()> {
    let stats = plan.stats.as_ref().map(StatsWriter::open).transpose()?;
    let supervisor = Supervisor::find();
    signals
        .limit_end()
        .context("no file descriptors are left")?;
    let Some((config, mut streams)) = start(&plan, &supervisor, &mut signals)? else {
        return Ok(());
    };
    let board = Arc::new(Board::new(Role::Sender));
    let mut figures = Figures::new();
    // The page's first visitor finds the streams there.
    streams.publish(&mut figures, &board);
    let server = match Server::start(&config.services, &board) {
        Ok(server) => server,
        Err(error) => {
            streams.end_all();
            return Err(error.into());
        }
    };
    let service = Service {
        plan,
        streams,
        supervisor,
        board,
        server,
        stats,
        figures,
    };
    service.run(&mut signals)
}

/// The running streams and everything that reports on them.
struct Service {
    plan: SendPlan,
    streams: Streams,
    supervisor: Supervisor,
    board: Arc<Board>,
    server: Option<Server>,
    stats: Option<StatsWriter>,
    figures: Figures,
}

impl Service {
    fn run(mut self, signals: &mut Signals) -> Result<()> {
        let mut progress = Progress::new();
        let mut stats_due = Instant::now() + STATS_PERIOD;
        self.supervisor.ready();
        while !self.streams.running.is_empty() {
            match signals.wait(TICK) {
                Some(Signal::Stop) => break,
                Some(Signal::Reload) => self.reload(),
                Some(Signal::Woken) | None => {}
            }
            self.streams.reap();
            self.streams.move_displaced();
            progress.show(self.streams.running.iter().map(|r| &r.stats));
            let now = Instant::now();
            if now >= stats_due {
                stats_due = next_due(stats_due, STATS_PERIOD, now);
                self.tick();
            }
        }
        self.supervisor.stopping();
        self.streams.end_all();
        progress.clear();
        self.finish()
    }

    fn reload(&mut self) {
        self.supervisor.reloading();
        if let Some(new) = read_again(&self.plan) {
            self.streams.reload(&new);
            self.server = Server::follow(self.server.take(), &new.services, &self.board);
        }
        self.supervisor.ready();
    }

    fn tick(&mut self) {
        let report = self.streams.publish(&mut self.figures, &self.board);
        self.supervisor.tell(&report, &self.streams.running);
        if let Some(stats) = &mut self.stats {
            stats.write(&*report);
        }
    }

    /// Writes the last figures, when all streams have ended.
    fn finish(mut self) -> Result<()> {
        if let Some(stats) = &mut self.stats {
            stats.write(&self.streams.report(&mut self.figures, true));
        }
        for summary in self.streams.ended.iter().filter_map(Ended::summary) {
            info!("{summary}");
        }
        self.streams.into_result()
    }
}

/// Starts the streams. Under a supervisor it waits for the network, which may come up after the
/// service. Returns the config they started with; `None`: a signal asked to stop meanwhile.
fn start(
    plan: &SendPlan,
    supervisor: &Supervisor,
    signals: &mut Signals,
) -> Result<Option<(Config, Streams)>> {
    let mut config = plan.config.clone();
    let mut logged = String::new();
    loop {
        let ends_with_source = config.streams.len() == 1 && !supervisor.is_there();
        let rtsp = config.services.rtsp;
        let error = match Streams::start(&config, Tell::Commands { rtsp }, ends_with_source) {
            Ok(streams) => return Ok(Some((config, streams))),
            Err(error) => error,
        };
        if !supervisor.is_there() || !is_network_missing(&error) {
            return Err(error);
        }
        let why = without_codes(format_args!("waiting for the network: {error:#}"));
        supervisor.waits(&why);
        if why != logged {
            warn!("{why}");
            logged = why;
        }
        match signals.wait(NETWORK_RETRY) {
            Some(Signal::Stop) => return Ok(None),
            Some(Signal::Reload) => config = read_again(plan).unwrap_or(config),
            Some(Signal::Woken) | None => {}
        }
    }
}

/// Reads the config again; a mistake in it is logged.
fn read_again(plan: &SendPlan) -> Option<Config> {
    match (plan.reload)() {
        Ok(config) => Some(config),
        Err(error) => {
            warn!("the config was not reloaded, the old settings remain: {error:#}");
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

/// The streams of one process.
pub struct Streams {
    running: Vec<Running>,
    ended: Vec<Ended>,
    /// `None` once all have ended.
    announcer: Option<Announcer>,
}

impl Streams {
    /// Starts all streams, or none: if one cannot start, those already started are stopped.
    /// `ends_with_source`: a source that cannot be used ends its stream with an error instead of
    /// being retried.
    ///
    /// # Errors
    /// If a stream's socket cannot be opened.
    pub fn start(config: &Config, tell: Tell, ends_with_source: bool) -> Result<Streams> {
        let mut streams = Streams {
            running: Vec::new(),
            ended: Vec::new(),
            announcer: Some(Announcer::start(tell)?),
        };
        for stream in &config.streams {
            match streams.start_one(stream, None, ends_with_source) {
                Ok(started) => streams.running.push(started),
                Err(error) => {
                    streams.end_all();
                    return Err(error);
                }
            }
        }
        Ok(streams)
    }

    /// Whether none of them runs any more.
    pub fn have_ended(&self) -> bool {
        self.running.iter().all(Running::has_ended)
    }

    /// Stops all of them, each at the end of a frame.
    ///
    /// # Errors
    /// The first failure of a stream, if one failed.
    pub fn stop(mut self) -> Result<()> {
        self.end_all();
        self.into_result()
    }

    fn start_one(
        &self,
        stream: &Stream,
        before: Option<&Ended>,
        ends_with_source: bool,
    ) -> Result<Running> {
        let announcer = self.announcer.as_ref().context("the streams have ended")?;
        Running::start(stream.clone(), before, announcer.handle(), ends_with_source)
    }

    fn end_all(&mut self) {
        self.running.iter().for_each(Running::stop);
        let until = Instant::now() + END_LIMIT;
        let ended = self.running.drain(..).map(|r| r.join(End::Goodbye, until));
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

    /// Leaves unchanged streams alone, stops those that are gone, and starts new ones. A changed
    /// one keeps its SSRC and sequence.
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
        let until = Instant::now() + END_LIMIT;
        let before: Vec<Ended> = (replaced.into_iter())
            .map(|r| match goes_on(&r) {
                true => r.join(End::Silent, until),
                false => r.join(End::Goodbye, until),
            })
            .collect();
        let mut refused = 0;
        for stream in &config.streams {
            if self.running.iter().any(|r| r.config == *stream) {
                continue;
            }
            let old = before.iter().find(|end| end.name == stream.name);
            match self.start_one(stream, old, false) {
                Ok(started) => self.running.push(started),
                Err(error) => {
                    refused += 1;
                    self.restore(old, &stream.name, &error);
                }
            }
        }
        let streams = counted(config.streams.len() as u64, "stream");
        match refused {
            0 => info!("config reloaded: {streams}"),
            _ => warn!("config reloaded in part: {refused} of {streams} did not start"),
        }
    }

    /// A stream that cannot start with its new settings goes on with the old ones.
    fn restore(&mut self, old: Option<&Ended>, name: &str, error: &anyhow::Error) {
        warn!("{name}: not started with the new settings: {error:#}");
        let Some(old) = old else { return };
        match self.start_one(&old.config, Some(old), false) {
            Ok(started) => self.running.push(started),
            Err(error) => {
                warn!("{name}: cannot be started with the old settings either: {error:#}")
            }
        }
    }

    /// Moves streams whose default group is taken by another sender.
    fn move_displaced(&mut self) {
        while let Some(i) = self.running.iter().position(Running::is_displaced) {
            let stream = self.running.remove(i);
            stream.stop();
            let end = stream.join(End::Goodbye, Instant::now() + END_LIMIT);
            match self.start_one(&end.config, Some(&end), false) {
                Ok(moved) => self.running.push(moved),
                Err(error) => self.restore(Some(&end), &end.name, &error),
            }
        }
    }

    /// Removes streams that have ended by themselves.
    fn reap(&mut self) {
        while let Some(i) = self.running.iter().position(Running::has_ended) {
            let end = self
                .running
                .swap_remove(i)
                .join(End::Goodbye, Instant::now());
            // The last one's error is printed at the end.
            if let (Err(error), false) = (&end.result, self.running.is_empty()) {
                warn!("{error:#}");
            }
            self.ended.push(end);
        }
    }

    /// Publishes the current figures on the status page and returns them.
    fn publish(&self, figures: &mut Figures, board: &Board) -> Arc<Report> {
        let report = Arc::new(self.report(figures, false));
        let scenes = figures.scenes(&report, &self.running, &self.ended);
        board.publish(Arc::clone(&report), scenes);
        report
    }

    fn report(&self, figures: &mut Figures, is_final: bool) -> Report {
        let running = self.running.iter().map(|r| &r.stats);
        figures.report(running.chain(self.ended.iter().map(|e| &e.stats)), is_final)
    }
}
