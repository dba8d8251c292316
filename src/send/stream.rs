//! One stream's thread: source → gate → packetizer → outlet, and what to do when one of them fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use tracing::{info, info_span, warn};

use super::announce::Handle;
use super::description::Description;
use super::feedback::{Control, Steering};
use super::outlet::{Identity, Outlet};
use super::reports::{Demand, End, Reporter};
use crate::clock::Mono;
use crate::config::{Stream, WaitForViewers};
use crate::jpeg::Picture;
use crate::jpeg::gate::{Gate, GateCounters, GateOptions};
use crate::jpeg::rebuild::write_jpeg;
use crate::net::thread;
use crate::rtp::adapt::Thinner;
use crate::rtp::rtcp::SenderSide;
use crate::source::{self, Frame, OpenOptions, Source, SourceError, SourceSpec};
use crate::stats::report::{Rates, StreamReport, Totals};
use crate::stats::{Audience, Counter, FormatSeen, Latest, SenderStats, State};
use crate::status::preview::Preview;

/// First and longest pause before a source that failed is opened again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How often the "no signal" card goes out while there is no source.
const CARD_PERIOD: Duration = Duration::from_secs(1);
/// How often it is looked whether viewers have come.
const LOOK: Duration = Duration::from_millis(20);
/// At most one line about refused frames in this time.
const REFUSAL_LOG_PERIOD: Duration = Duration::from_secs(10);

/// What one stream counts, shared with whoever shows it.
#[derive(Debug, Default)]
pub(super) struct StreamStats {
    pub(super) name: String,
    pub(super) sender: SenderStats,
    pub(super) gate: Arc<GateCounters>,
    /// The viewers that report.
    pub(super) audience: Audience,
    /// What the stream is doing.
    pub(super) state: Latest<State>,
    /// What its pictures are.
    pub(super) format: FormatSeen,
    /// Pictures for the status page.
    pub(super) preview: Arc<Preview>,
    /// The frame of a file sent last, counted from 1.
    pub(super) position: Counter,
    /// Frames in the file; 0: not known.
    pub(super) frames_in_all: Counter,
    /// Its SDP. Never touched by the thread that sends.
    pub(super) sdp: Latest<String>,
}

impl StreamStats {
    /// All figures of this moment but the rates.
    pub(super) fn report(&self) -> StreamReport {
        StreamReport {
            name: self.name.clone(),
            state: self.state.get(),
            format: self.format.get(),
            totals: Totals::Sender {
                sent: self.sender.snapshot(),
                gate: self.gate.snapshot(),
                watching: self.audience.get(),
            },
            rates: Rates::default(),
        }
    }
}

/// A stream whose thread runs.
pub(super) struct Running {
    pub(super) config: Stream,
    pub(super) stats: Arc<StreamStats>,
    stop: Arc<AtomicBool>,
    demand: Arc<Demand>,
    reporter: Reporter,
    thread: JoinHandle<(Result<()>, Identity)>,
}

/// A stream whose thread has ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) config: Stream,
    pub(super) stats: Arc<StreamStats>,
    pub(super) result: Result<()>,
    identity: Identity,
    /// Its viewers.
    reports: Option<SenderSide>,
}

impl Ended {
    /// One line on what was sent.
    pub(super) fn summary(&self) -> String {
        let s = self.stats.sender.snapshot();
        format!(
            "{}: {} frames sent, {} dropped, {} packets, {:.1} MB",
            self.name,
            s.frames_sent,
            s.frames_dropped,
            s.packets_sent,
            s.bytes_sent as f64 * 1e-6
        )
    }
}

impl Running {
    /// Starts the thread and waits until its socket and source are open; a camera counts as open while it
    /// is waited for. `before` is the same stream as it ran until now: SSRC, sequence and counters go on.
    ///
    /// # Errors
    /// If source or socket cannot be opened; no thread is left then.
    pub(super) fn start(
        config: Stream,
        before: Option<&Ended>,
        announcer: Handle,
    ) -> Result<Running> {
        let identity = before.map_or_else(Identity::random, |b| b.identity);
        let stats = before.map_or_else(
            || {
                Arc::new(StreamStats {
                    name: config.name.clone(),
                    ..StreamStats::default()
                })
            },
            |b| Arc::clone(&b.stats),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let reports = before.and_then(|b| b.reports.clone());
        let is_watched = reports.as_ref().is_some_and(|r| r.viewers() > 0);
        let demand = Arc::new(Demand::new(!config.only_while_watched || is_watched));
        let steering = Arc::new(Steering::new(&config));
        let control = Control::new(&config, Arc::clone(&steering), Arc::clone(&stats));
        let reporter = Reporter::start(
            &config,
            identity.subject(),
            reports,
            Arc::clone(&stats),
            Arc::clone(&demand),
            control,
        )?;
        let (opened, is_open) = mpsc::sync_channel(1);
        let worker = Worker {
            config: config.clone(),
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
            demand: Arc::clone(&demand),
            steering,
            announcer,
        };
        let name: String = config.name.chars().take(15).collect(); // The kernel keeps 15 bytes.
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(identity, &opened))
            .context("a thread could not be started")?;
        // The sender is dropped without a word when opening failed: the thread's result says why.
        if is_open.recv().is_ok() {
            return Ok(Running {
                config,
                stats,
                stop,
                demand,
                reporter,
                thread,
            });
        }
        reporter.end(End::Silent);
        match thread.join() {
            Ok((Err(error), _)) => Err(error.context(format!("stream {:?}", config.name))),
            _ => Err(anyhow!(
                "stream {:?}: its thread ended at once",
                config.name
            )),
        }
    }

    /// Whether the stream is as `wanted`, perhaps by a change that it takes while it runs: a camera's
    /// controls.
    pub(super) fn adopt(&mut self, wanted: &Stream) -> bool {
        if self.config == *wanted {
            return true;
        }
        let (Some(remote), SourceSpec::Camera(new)) = (self.demand.remote.get(), &wanted.source)
        else {
            return false;
        };
        let mut as_before = wanted.clone();
        if let (SourceSpec::Camera(new), SourceSpec::Camera(old)) =
            (&mut as_before.source, &self.config.source)
        {
            new.controls.clone_from(&old.controls);
        }
        if as_before != self.config {
            return false;
        }
        remote.set_controls(new.controls.clone());
        self.config = wanted.clone();
        true
    }

    /// Asks the thread to stop at a frame's end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end, then ends its reports.
    pub(super) fn join(self, how: End) -> Ended {
        let (result, identity) = self.thread.join().unwrap_or_else(|_| {
            (
                Err(anyhow!("a bug in lancam ended the stream")),
                Identity::random(),
            )
        });
        // Behind the last packet.
        let reports = self.reporter.end(how);
        Ended {
            reports,
            name: self.config.name.clone(),
            result: result.with_context(|| format!("stream {:?}", self.config.name)),
            config: self.config,
            stats: self.stats,
            identity,
        }
    }
}

/// What the thread owns.
struct Worker {
    config: Stream,
    stop: Arc<AtomicBool>,
    stats: Arc<StreamStats>,
    demand: Arc<Demand>,
    steering: Arc<Steering>,
    announcer: Handle,
}

/// Why the inner loop came back.
enum Outcome {
    Finished,
    /// Open the source again after a pause.
    Failed(String),
    /// Nobody watches: open it again when somebody does.
    Unwanted,
}

impl Worker {
    fn run(self, identity: Identity, opened: &mpsc::SyncSender<()>) -> (Result<()>, Identity) {
        let span = info_span!("stream", name = %self.config.name);
        let _entered = span.enter();
        self.prepare_thread();
        let outlet = Outlet::open(
            &self.config,
            identity,
            Arc::clone(&self.demand),
            Arc::clone(&self.steering),
        );
        let mut outlet = match outlet {
            Ok(outlet) => outlet,
            Err(error) => return (Err(error), identity),
        };
        let result = self.stream(&mut outlet, opened);
        let failure = result.as_ref().err().map(|error| format!("{error:#}"));
        self.stats.state.set(State::Ended(failure));
        (result, outlet.identity())
    }

    /// Pinning, priority and memory lock: what is refused is said, and the stream runs all the same.
    fn prepare_thread(&self) {
        let wishes = [
            self.config.pin.map(thread::pin_to),
            self.config.realtime.map(thread::realtime),
            self.config.lock_memory.then(thread::lock_memory),
        ];
        for refused in wishes.into_iter().flatten().filter_map(Result::err) {
            warn!("{refused}; going on without");
        }
    }

    fn stream(&self, outlet: &mut Outlet, opened: &mpsc::SyncSender<()>) -> Result<()> {
        let mut gate = Gate::with_counters(
            GateOptions {
                resize: self.config.resize,
                quality: self.config.quality,
            },
            Arc::clone(&self.stats.gate),
        );
        // Its file is written at once, so that mistakes show.
        if let Some(description) = self.describe(outlet) {
            description.write_file()?;
            // Before viewers are waited for: they are to find it.
            let stats = Arc::clone(&self.stats);
            outlet.tell(self.announcer.announce(description, stats));
        }
        if !self.await_viewers(opened) {
            return Ok(());
        }
        let mut source = self.open_source().map_err(|e| anyhow!(e))?;
        info!("{} to {}", source.describe(), outlet.describe());
        if let Some(remote) = source.remote() {
            let _ = self.demand.remote.set(remote);
        }
        // Nobody waits for this any more where viewers were waited for.
        let _ = opened.send(());
        let mut pause = BACKOFF.0;
        loop {
            let sent_before = self.stats.sender.frames_sent.get();
            self.stats.state.set(State::Streaming);
            let reason = match self.frames(source.as_mut(), &mut gate, outlet)? {
                Outcome::Finished => return Ok(()),
                Outcome::Failed(reason) if self.may_come_back() => Some(reason),
                Outcome::Failed(reason) => return Err(anyhow!(reason)),
                Outcome::Unwanted => None,
            };
            drop(source);
            self.stats.state.set(match &reason {
                Some(reason) => State::NoSignal(reason.clone()),
                None => State::WaitingForViewers,
            });
            if self.stats.sender.frames_sent.get() > sent_before {
                pause = BACKOFF.0;
            }
            let next = match reason {
                Some(reason) => {
                    warn!("{reason}; trying again in {:.2} s", pause.as_secs_f32());
                    self.reopen(&reason, &mut pause, &mut gate, outlet)?
                }
                None => self.open_when_wanted()?,
            };
            source = match next {
                Some(source) => source,
                None => return Ok(()),
            };
        }
    }

    /// Holds the start as long as the config says; false when the stream is asked to stop. What is waited for without
    /// a source counts as open.
    fn await_viewers(&self, opened: &mpsc::SyncSender<()>) -> bool {
        let has_begun = self.stats.sender.frames_sent.get() > 0;
        let wait = self.config.wait_for_viewers.filter(|_| !has_begun);
        if wait.is_none() && self.demand.is_wanted() {
            return true;
        }
        let _ = opened.send(());
        self.stats.state.set(State::WaitingForViewers);
        wait.is_none_or(|wait| self.await_count(wait)) && self.await_demand()
    }

    fn await_count(&self, wait: WaitForViewers) -> bool {
        let (began, viewers) = (Mono::now(), &self.stats.sender.viewers);
        let until = began + Duration::from_secs(wait.at_most_s.into());
        let is_over = || viewers.get() >= wait.count.into() || Mono::now() >= until;
        info!(
            "waiting for {} viewer(s) to report, at most {} s",
            wait.count, wait.at_most_s
        );
        if !self.sleep_until(is_over) {
            return false;
        }
        let time = Mono::now().since(began).as_secs_f32();
        match viewers.get() {
            count if count >= wait.count.into() => {
                info!("{count} viewer(s) report after {time:.1} s: starting");
            }
            count => warn!(
                "{count} of {} viewer(s) report after {time:.1} s: starting all the same",
                wait.count
            ),
        }
        true
    }

    /// Waits until somebody watches; false when the stream is asked to stop.
    fn await_demand(&self) -> bool {
        if self.demand.is_wanted() {
            return true;
        }
        info!("the source stays closed until somebody watches");
        self.sleep_until(|| self.demand.is_wanted())
    }

    fn open_when_wanted(&self) -> Result<Option<Box<dyn Source>>> {
        if !self.await_demand() {
            return Ok(None);
        }
        Ok(Some(self.open_source().map_err(|e| anyhow!(e))?))
    }

    /// Sleeps until `is_over`; false when the stream is asked to stop.
    fn sleep_until(&self, is_over: impl Fn() -> bool) -> bool {
        while !is_over() {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    fn describe(&self, outlet: &Outlet) -> Option<Description> {
        let session = outlet.identity().session;
        Some(Description::new(&self.config, session, outlet.origin()?))
    }

    fn open_source(&self) -> Result<Box<dyn Source>, SourceError> {
        source::open(
            &self.config.source,
            &OpenOptions {
                name: self.config.name.clone(),
                fps: self.config.fps,
                looped: self.config.looped,
                stop: Arc::clone(&self.stop),
            },
        )
    }

    /// Whether a source that failed is worth opening again: what has an end of its own is not.
    fn may_come_back(&self) -> bool {
        match self.config.source {
            SourceSpec::Camera(_) | SourceSpec::Exec { .. } => true,
            SourceSpec::File { .. } => self.config.looped,
            SourceSpec::Stdin | SourceSpec::Pattern { .. } => false,
        }
    }

    /// The hot loop. Comes back when the source ends or fails.
    fn frames(
        &self,
        source: &mut dyn Source,
        gate: &mut Gate,
        outlet: &mut Outlet,
    ) -> Result<Outcome> {
        let mut refusals = RefusalLog::default();
        let mut thinner = Thinner::default();
        loop {
            // A camera that was plugged in again may have another rate.
            let interval = source.interval();
            let frame = match source.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.at_the_end(source),
                Err(SourceError::Stopped) => return Ok(Outcome::Finished),
                Err(SourceError::Unusable(reason)) => return Err(anyhow!(reason)),
                Err(SourceError::Failed(reason)) => return Ok(Outcome::Failed(reason)),
            };
            match thinner.passes(self.steering.keep()) {
                true => self.send(&frame, interval, gate, outlet, &mut refusals),
                false => self.leave_out(&frame),
            }
            if let Some((at, in_all)) = source.position() {
                self.stats.position.set(at);
                self.stats.frames_in_all.set(in_all.unwrap_or(0));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Finished);
            }
            // A camera closes and opens by itself, when its remote is told to.
            if !self.demand.is_wanted() && self.demand.remote.get().is_none() {
                return Ok(Outcome::Unwanted);
            }
        }
    }

    /// A source that ends without a single frame that could be sent has failed.
    fn at_the_end(&self, source: &dyn Source) -> Result<Outcome> {
        let totals = self.stats.sender.snapshot();
        if totals.frames_sent > 0 || totals.frames_dropped == 0 {
            return Ok(Outcome::Finished);
        }
        Err(anyhow!(
            "none of the {} frame(s) of {} could be sent; the log says why",
            totals.frames_dropped,
            source.describe()
        ))
    }

    /// A frame for which the link has no room.
    fn leave_out(&self, frame: &Frame<'_>) {
        let stats = &self.stats.sender;
        stats.frames_read.add(1);
        stats.frames_dropped.add(u64::from(frame.missed));
        stats.frames_thinned.add(1);
    }

    /// One frame through gate and outlet, or into the count of those that were dropped.
    fn send(
        &self,
        frame: &Frame<'_>,
        interval: Option<Duration>,
        gate: &mut Gate,
        outlet: &mut Outlet,
        refusals: &mut RefusalLog,
    ) {
        let stats = &self.stats.sender;
        stats.frames_read.add(1);
        stats.frames_dropped.add(u64::from(frame.missed));
        if frame.flagged {
            self.stats.gate.flagged.add(1);
            stats.frames_dropped.add(1);
            return refusals.note(&"the driver flagged the frame as broken");
        }
        match gate.pass(frame.data) {
            Ok(picture) => {
                outlet.send(&picture, frame.captured, interval, stats);
                self.show(&picture);
            }
            Err(refusal) => {
                stats.frames_dropped.add(1);
                refusals.note(&refusal);
            }
        }
    }

    /// Behind the sending, so that it delays no packet of the frame.
    fn show(&self, picture: &Picture<'_>) {
        self.stats.format.note(picture);
        self.stats.preview.offer(|out| write_jpeg(out, picture));
    }

    /// Opens the source again, however long it takes; viewers see the "no signal" card meanwhile.
    /// `None` when the stream is asked to stop.
    fn reopen(
        &self,
        reason: &str,
        pause: &mut Duration,
        gate: &mut Gate,
        outlet: &mut Outlet,
    ) -> Result<Option<Box<dyn Source>>> {
        let mut reason = reason.to_owned();
        let mut card_due = Mono::now();
        loop {
            let retry_at = Mono::now() + *pause;
            while Mono::now() < retry_at {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                if Mono::now() >= card_due {
                    card_due = Mono::now() + CARD_PERIOD;
                    self.send_card(&reason, gate, outlet);
                }
                std::thread::sleep(Duration::from_millis(50).min(retry_at.since(Mono::now())));
            }
            *pause = (*pause * 2).min(BACKOFF.1);
            match self.open_source() {
                Ok(source) => return Ok(Some(source)),
                Err(SourceError::Stopped) => return Ok(None),
                // It worked once: whatever is wrong now may pass.
                Err(SourceError::Unusable(why) | SourceError::Failed(why)) => {
                    reason = why;
                    self.stats.state.set(State::NoSignal(reason.clone()));
                }
            }
        }
    }

    fn send_card(&self, reason: &str, gate: &mut Gate, outlet: &mut Outlet) {
        let size = outlet.picture_size().unwrap_or((640, 480));
        let card = source::card::no_signal(&self.config.name, reason, SystemTime::now(), size);
        let Ok(card) = card else { return };
        if let Ok(picture) = gate.pass(&card) {
            outlet.send(&picture, Mono::now(), Some(CARD_PERIOD), &self.stats.sender);
            self.show(&picture);
        }
    }
}

/// Tells about refused frames, but not about each.
#[derive(Default)]
struct RefusalLog {
    told: Option<Mono>,
    since: u64,
}

impl RefusalLog {
    fn note(&mut self, refusal: &dyn std::fmt::Display) {
        self.since += 1;
        let now = Mono::now();
        if self.told.is_some_and(|t| now.since(t) < REFUSAL_LOG_PERIOD) {
            return;
        }
        warn!("{} frame(s) dropped; the last: {refusal}", self.since);
        self.told = Some(now);
        self.since = 0;
    }
}
