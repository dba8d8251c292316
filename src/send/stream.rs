//! One stream's thread: source → gate → packetizer → outlet, and what to do when one of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use tracing::{info, info_span, warn};

use super::outlet::{Identity, Outlet};
use crate::clock::Mono;
use crate::config::Stream;
use crate::jpeg::Picture;
use crate::jpeg::gate::{Gate, GateCounters, GateOptions};
use crate::jpeg::rebuild::write_jpeg;
use crate::net::thread;
use crate::source::camera::Remote;
use crate::source::{self, Frame, OpenOptions, Source, SourceError, SourceSpec};
use crate::stats::report::{Rates, StreamReport, Totals};
use crate::stats::{Audience, Counter, FormatSeen, Latest, SenderStats, State};
use crate::status::preview::Preview;

/// First and longest pause before a source that failed is opened again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How often the "no signal" card goes out while there is no source.
const CARD_PERIOD: Duration = Duration::from_secs(1);
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
    /// Its session description, once the socket is open.
    pub(super) sdp: Arc<Latest<String>>,
    /// Pictures for the status page.
    pub(super) preview: Arc<Preview>,
    /// The frame of a file sent last, counted from 1.
    pub(super) position: Counter,
    /// Frames in the file; 0: not known.
    pub(super) frames_in_all: Counter,
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
                audience: self.audience.get(),
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
    remote: Option<Remote>,
    thread: JoinHandle<(Result<()>, Identity)>,
}

/// A stream whose thread has ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) config: Stream,
    pub(super) stats: Arc<StreamStats>,
    pub(super) result: Result<()>,
    identity: Identity,
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
    pub(super) fn start(config: Stream, before: Option<&Ended>) -> Result<Running> {
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
        let (opened, is_open) = mpsc::sync_channel(1);
        let worker = Worker {
            config: config.clone(),
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
        };
        let name: String = config.name.chars().take(15).collect(); // The kernel keeps 15 bytes.
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(identity, &opened))
            .context("a thread could not be started")?;
        // The sender is dropped without a word when opening failed: the thread's result says why.
        if let Ok(remote) = is_open.recv() {
            return Ok(Running {
                config,
                stats,
                stop,
                remote,
                thread,
            });
        }
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
        let (Some(remote), SourceSpec::Camera(new)) = (&self.remote, &wanted.source) else {
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

    /// Waits for the thread's end.
    pub(super) fn join(self) -> Ended {
        let (result, identity) = self.thread.join().unwrap_or_else(|_| {
            (
                Err(anyhow!("a bug in lancam ended the stream")),
                Identity::random(),
            )
        });
        Ended {
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
}

/// Why the inner loop came back.
enum Outcome {
    Finished,
    /// Open the source again after a pause.
    Failed(String),
}

impl Worker {
    fn run(
        self,
        identity: Identity,
        opened: &mpsc::SyncSender<Option<Remote>>,
    ) -> (Result<()>, Identity) {
        let span = info_span!("stream", name = %self.config.name);
        let _entered = span.enter();
        self.prepare_thread();
        let mut outlet = match Outlet::open(&self.config, identity, &self.stats.sdp) {
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

    fn stream(&self, outlet: &mut Outlet, opened: &mpsc::SyncSender<Option<Remote>>) -> Result<()> {
        let mut gate = Gate::with_counters(
            GateOptions {
                resize: self.config.resize,
                quality: self.config.quality,
            },
            Arc::clone(&self.stats.gate),
        );
        let mut source = self.open_source().map_err(|e| anyhow!(e))?;
        info!("{} to {}", source.describe(), outlet.describe());
        // Nobody waits for this where the thread is the first of a reload.
        let _ = opened.send(source.remote());
        let mut pause = BACKOFF.0;
        loop {
            let sent_before = self.stats.sender.frames_sent.get();
            self.stats.state.set(State::Streaming);
            let reason = match self.frames(source.as_mut(), &mut gate, outlet)? {
                Outcome::Finished => return Ok(()),
                Outcome::Failed(reason) if self.may_come_back() => reason,
                Outcome::Failed(reason) => return Err(anyhow!(reason)),
            };
            drop(source);
            self.stats.state.set(State::NoSignal(reason.clone()));
            if self.stats.sender.frames_sent.get() > sent_before {
                pause = BACKOFF.0;
            }
            warn!("{reason}; trying again in {:.2} s", pause.as_secs_f32());
            source = match self.reopen(&reason, &mut pause, &mut gate, outlet)? {
                Some(source) => source,
                None => return Ok(()),
            };
        }
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
            self.send(&frame, interval, gate, outlet, &mut refusals);
            if let Some((at, in_all)) = source.position() {
                self.stats.position.set(at);
                self.stats.frames_in_all.set(in_all.unwrap_or(0));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Finished);
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
