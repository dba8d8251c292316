//! One stream's thread: source → gate → packetizer → sink, and what to do when one of them fails.

use std::fmt::Display;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tracing::{info, warn};

use super::announce::Handle;
use super::description::Description;
use super::identity::Identity;
use super::shared::{Demand, Steering, StreamStats};
use super::sink::Sink;
use crate::clock::Mono;
use crate::config::{Stream, WaitForViewers};
use crate::jpeg::Picture;
use crate::jpeg::gate::{Gate, GateOptions};
use crate::kept::Owner;
use crate::logging::stream_span;
use crate::net::thread;
use crate::rtp::adapt::FrameDropper;
use crate::source::{self, Frame, OpenOptions, Source, SourceError, SourceSpec, Stop, slate};
use crate::stats::State;
use crate::text::{counted, without_codes};

/// First and longest pause before a failed source is opened again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// A source counts as without signal if none of its frames could be sent for this long.
const REFUSED: Duration = Duration::from_secs(5);
/// The slate's size if neither a picture nor the config gives one.
const SLATE_SIZE: (u32, u32) = (1280, 720);
/// More than one tick of RTP's 90 kHz clock.
const RTP_TICK: Duration = Duration::from_micros(12);
/// How often to check for viewers, or whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// At most one log line about refused frames in this time.
const REFUSAL_LOG_PERIOD: Duration = Duration::from_secs(10);

/// What the thread owns.
pub(super) struct StreamThread {
    pub(super) config: Stream,
    pub(super) stop: Arc<Stop>,
    pub(super) stats: Arc<StreamStats>,
    pub(super) demand: Arc<Demand>,
    pub(super) steering: Arc<Steering>,
    pub(super) announcer: Handle,
    /// A source that cannot be used at the start ends the stream with an error.
    pub(super) ends_with_source: bool,
}

/// How a source ended without an error.
enum Played {
    ToTheEnd,
    /// Nobody watches any more.
    WhileWanted,
}

impl StreamThread {
    /// Runs the stream; `started` is signalled once the socket is open.
    pub(super) fn run(
        self,
        identity: Identity,
        started: &mpsc::SyncSender<()>,
    ) -> (Result<()>, Identity) {
        let span = stream_span(&self.config.name);
        let _entered = span.enter();
        self.prepare_thread();
        let sink = Sink::open(
            &self.config,
            identity,
            Arc::clone(&self.demand),
            Arc::clone(&self.steering),
        );
        let mut pipeline = match sink {
            Ok(sink) => Pipeline::new(&self, sink),
            Err(error) => return (Err(error), identity),
        };
        let result = self.stream(&mut pipeline, started);
        let failure = result
            .as_ref()
            .err()
            .map(|error| without_codes(format_args!("{error:#}")));
        self.stats.state.set(State::Ended(failure));
        (result, pipeline.sink.identity())
    }

    /// Pinning, priority and memory lock: a refusal is logged, and the stream runs without.
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

    fn stream(&self, pipeline: &mut Pipeline<'_>, started: &mpsc::SyncSender<()>) -> Result<()> {
        // Before waiting for viewers, who must be able to find it.
        self.publish(&mut pipeline.sink)?;
        let _ = started.send(());
        if !self.await_viewers() {
            return Ok(());
        }
        let mut pause = BACKOFF.0;
        loop {
            let pictures_before = self.pictures();
            let error = match self.play(pipeline) {
                Ok(Played::ToTheEnd) | Err(SourceError::Stopped) => return Ok(()),
                Ok(Played::WhileWanted) if self.await_demand() => continue,
                Ok(Played::WhileWanted) => return Ok(()),
                Err(error) if self.is_final(&error) => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            if self.pictures() > pictures_before {
                pause = BACKOFF.0;
            }
            if !pipeline.pause(pause, &error) {
                return Ok(());
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Writes the file of `--sdp`, so that mistakes in its path show at once, and starts
    /// announcing.
    fn publish(&self, sink: &mut Sink) -> Result<()> {
        let Some(origin) = sink.origin() else {
            return Ok(());
        };
        let description = Description::new(&self.config, &sink.identity(), origin);
        description.write_file()?;
        let (stats, demand) = (Arc::clone(&self.stats), Arc::clone(&self.demand));
        sink.publish(self.announcer.announce(description, stats, demand));
        Ok(())
    }

    /// Opens the source and sends its pictures until it ends, fails, or nobody watches.
    fn play(&self, pipeline: &mut Pipeline<'_>) -> Result<Played, SourceError> {
        let mut source = self.open_source()?;
        if pipeline.logged.is_empty() {
            pipeline.sink.introduce(&source.describe());
        }
        if let Some(remote) = source.remote() {
            let _ = self.demand.remote.set(remote);
        }
        pipeline.play(source.as_mut())
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

    /// Whether `error` ends the stream. A source that ends by itself is not restarted, and a
    /// mistake on the command line of a single stream is for its user to fix.
    fn is_final(&self, error: &SourceError) -> bool {
        let has_played = self.pictures() > 0;
        match self.config.source {
            SourceSpec::Stdin | SourceSpec::Pattern { .. } => true,
            SourceSpec::File { .. } if !self.config.looped && has_played => true,
            _ => self.ends_with_source && !has_played && matches!(error, SourceError::Unusable(_)),
        }
    }

    /// Pictures of the source that were sent.
    fn pictures(&self) -> u64 {
        let sent = &self.stats.sender;
        sent.frames_sent
            .get()
            .saturating_sub(sent.slates_sent.get())
    }

    /// Delays the start as the config says; false if the stream is asked to stop.
    fn await_viewers(&self) -> bool {
        let has_begun = self.stats.sender.frames_sent.get() > 0;
        let wait = self.config.wait_for_viewers.filter(|_| !has_begun);
        wait.is_none_or(|wait| self.await_count(wait)) && self.await_demand()
    }

    fn await_count(&self, wait: WaitForViewers) -> bool {
        let (began, viewers) = (Mono::now(), &self.stats.sender.viewers);
        let until = began + Duration::from_secs(wait.at_most_s.into());
        let wanted = u64::from(wait.count);
        info!(
            "waiting for {}, at most {} s",
            counted(wanted, "viewer"),
            wait.at_most_s
        );
        self.stats.state.set(State::WaitingForViewers);
        if !self.sleep_until(|| viewers.get() >= wanted || Mono::now() >= until) {
            return false;
        }
        self.stats.state.set(State::Waiting);
        let time = Mono::now().since(began).as_secs_f32();
        let count = viewers.get();
        if count >= wanted {
            info!("{} after {time:.1} s: starting", counted(count, "viewer"));
        } else {
            warn!(
                "{count} of {} after {time:.1} s: starting anyway",
                counted(wanted, "viewer")
            );
        }
        true
    }

    /// Waits until somebody watches; false if the stream is asked to stop.
    fn await_demand(&self) -> bool {
        if self.demand.is_wanted() {
            return true;
        }
        info!("the source stays closed until somebody watches");
        self.stats.state.set(State::WaitingForViewers);
        let goes_on = self.sleep_until(|| self.demand.is_wanted());
        self.stats.state.set(State::Waiting);
        goes_on
    }

    /// Sleeps until `is_over`; false if the stream is asked to stop.
    fn sleep_until(&self, is_over: impl Fn() -> bool) -> bool {
        while !is_over() {
            if self.stop.is_raised() {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

/// What every frame passes through, whatever its source.
struct Pipeline<'a> {
    thread: &'a StreamThread,
    gate: Gate,
    sink: Sink,
    dropper: FrameDropper,
    refusals: RefusalLog,
    /// The last frame was sent.
    has_signal: bool,
    /// When the last picture that was sent was taken, and when the last slate was drawn.
    picture_at: Mono,
    slate_at: Mono,
    /// The capture time sent last.
    sent_at: Mono,
    /// Why the source failed, as logged; empty once it works again.
    logged: String,
}

impl Pipeline<'_> {
    fn new(thread: &StreamThread, sink: Sink) -> Pipeline<'_> {
        let options = GateOptions {
            resize: thread.config.resize,
            quality: thread.config.quality,
        };
        Pipeline {
            thread,
            gate: Gate::with_counters(options, Arc::clone(&thread.stats.gate)),
            sink,
            dropper: FrameDropper::default(),
            refusals: RefusalLog::default(),
            has_signal: false,
            picture_at: Mono(0),
            slate_at: Mono(0),
            sent_at: Mono(0),
            logged: String::new(),
        }
    }

    /// The hot loop.
    fn play(&mut self, source: &mut dyn Source) -> Result<Played, SourceError> {
        let StreamThread {
            stop,
            stats,
            demand,
            steering,
            ..
        } = self.thread;
        let before = self.thread.pictures();
        self.picture_at = Mono::now();
        loop {
            // A camera that was replugged may have a different rate.
            let interval = source.interval();
            let frame = match source.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(SourceError::NoSignal(reason)) => {
                    self.send_slate(&reason);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if stop.is_raised() {
                return Err(SourceError::Stopped);
            }
            match self.dropper.passes(steering.keep()) {
                true => self.send(&frame, interval),
                false => self.leave_out(&frame),
            }
            if let Some((at, in_all)) = source.position() {
                stats.position.set(at);
                stats.frames_in_all.set(in_all.unwrap_or(0));
            }
            // A camera closes and opens by itself, on its remote's orders.
            if !demand.is_wanted() && demand.remote.get().is_none() {
                return Ok(Played::WhileWanted);
            }
        }
        let dropped = stats.sender.frames_dropped.get();
        if self.thread.pictures() > before || dropped == 0 {
            return Ok(Played::ToTheEnd);
        }
        Err(SourceError::Unusable(format!(
            "no frame of {} could be sent; the log says why",
            source.describe()
        )))
    }

    /// Leaves out a frame that the network has no room for.
    fn leave_out(&mut self, frame: &Frame<'_>) {
        let stats = &self.thread.stats.sender;
        stats.frames_read.add(1);
        stats.frames_dropped.add(u64::from(frame.missed));
        stats.frames_decimated.add(1);
    }

    /// Sends one frame through gate and sink, or counts it as dropped.
    fn send(&mut self, frame: &Frame<'_>, interval: Option<Duration>) {
        let stats = &self.thread.stats;
        stats.sender.frames_read.add(1);
        stats.sender.frames_dropped.add(u64::from(frame.missed));
        if frame.flagged {
            stats.gate.flagged.add(1);
            return self.refuse(frame.captured, &"the driver flagged the frame as broken");
        }
        let passed = match frame.is_split {
            true => self.gate.pass_split(frame.data),
            false => self.gate.pass(frame.data),
        };
        let picture = match passed {
            Ok(picture) => picture,
            Err(refusal) => return self.refuse(frame.captured, &refusal),
        };
        let captured = after(&mut self.sent_at, frame.captured);
        self.sink.send(&picture, captured, interval, &stats.sender);
        show(stats, &picture, captured, frame.owner.as_ref());
        self.picture_at = frame.captured;
        if !self.has_signal {
            self.has_signal = true;
            stats.state.set(State::Streaming);
            if !std::mem::take(&mut self.logged).is_empty() {
                info!("the source works again");
            }
        }
    }

    fn refuse(&mut self, captured: Mono, why: &dyn Display) {
        self.thread.stats.sender.frames_dropped.add(1);
        self.refusals.note(why);
        let is_long = captured.since(self.picture_at) >= REFUSED;
        if is_long && captured.since(self.slate_at) >= slate::PERIOD {
            self.send_slate(&format!("no frame can be sent: {why}"));
        }
    }

    /// Waits for `time` before a failed source is reopened; viewers see the slate. False if the
    /// stream is asked to stop.
    fn pause(&mut self, time: Duration, reason: &str) -> bool {
        if self.logged != reason {
            warn!("{reason}; trying again");
            self.logged = reason.to_owned();
        }
        let until = Mono::now() + time;
        loop {
            let now = Mono::now();
            if self.thread.stop.is_raised() {
                return false;
            }
            if now >= until {
                return true;
            }
            if now.since(self.slate_at) >= slate::PERIOD {
                self.send_slate(reason);
            }
            std::thread::sleep(LOOK.min(until.since(now)));
        }
    }

    fn send_slate(&mut self, reason: &str) {
        let StreamThread { config, stats, .. } = self.thread;
        self.has_signal = false;
        self.slate_at = Mono::now();
        let reason = without_codes(reason);
        stats.state.set(State::NoSignal(reason.clone()));
        let size = self.sink.picture_size().or(match &config.source {
            SourceSpec::Camera(camera) => camera.size,
            _ => None,
        });
        let size = size.unwrap_or(SLATE_SIZE);
        let Ok(jpeg) = slate::no_signal(&config.name, &reason, SystemTime::now(), size) else {
            return;
        };
        let Ok(picture) = self.gate.pass(&jpeg) else {
            return;
        };
        let sent_before = stats.sender.frames_sent.get();
        let captured = after(&mut self.sent_at, self.slate_at);
        let period = Some(slate::PERIOD);
        self.sink.send(&picture, captured, period, &stats.sender);
        let sent = stats.sender.frames_sent.get() - sent_before;
        stats.sender.slates_sent.add(sent);
        show(stats, &picture, captured, None);
    }
}

/// `at`, but later than the previous capture time, so that no two frames have the same RTP
/// timestamp: a slate may be younger than the picture after it, and a pipe may hold several frames
/// at once.
fn after(before: &mut Mono, at: Mono) -> Mono {
    *before = at.max(*before + RTP_TICK);
    *before
}

/// After sending, so that no packet of the frame is delayed.
fn show(stats: &StreamStats, picture: &Picture<'_>, captured: Mono, owner: Option<&Owner>) {
    stats.format.note(picture);
    stats.preview.offer(captured, picture, owner);
}

/// Logs refused frames, but not each one.
#[derive(Default)]
struct RefusalLog {
    logged: Option<Mono>,
    since: u64,
}

impl RefusalLog {
    fn note(&mut self, refusal: &dyn Display) {
        self.since += 1;
        let now = Mono::now();
        if self
            .logged
            .is_some_and(|t| now.since(t) < REFUSAL_LOG_PERIOD)
        {
            return;
        }
        let frames = counted(self.since, "frame");
        match self.since {
            1 => warn!("{frames} dropped: {refusal}"),
            _ => warn!("{frames} dropped; the last: {refusal}"),
        }
        self.logged = Some(now);
        self.since = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpTime;

    #[test]
    fn no_two_frames_have_one_timestamp() {
        let mut before = Mono(0);
        let at = [5_000_000, 5_000_000, 4_000_000, 5_000_001, 9_000_000].map(Mono);
        let sent = at.map(|at| RtpTime::from_nanos(after(&mut before, at).0).0);
        assert!(sent.windows(2).all(|pair| pair[0] < pair[1]), "{sent:?}");
        assert_eq!((sent[0], sent[4]), (450, 810));
    }
}
