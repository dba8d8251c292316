//! A stream as the main thread sees it: started, watched, ended.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tracing::warn;

use super::announce::Handle;
use super::feedback::Responder;
use super::group;
use super::identity::Identity;
use super::rtcp::{End, Reporter};
use super::shared::{Demand, Steering, StreamStats};
use super::stream::StreamThread;
use crate::config::Stream;
use crate::net::thread;
use crate::rtp::rtcp::SenderSide;
use crate::source::{SourceSpec, Stop};
use crate::stats::State;
use crate::text::counted;

/// How long to wait for a stream to stop. A source may hang in a system call.
pub(super) const END_LIMIT: Duration = Duration::from_secs(1);
/// How often to check whether it has.
const LOOK: Duration = Duration::from_millis(5);

type Thread = JoinHandle<(Result<()>, Identity)>;

/// A stream whose thread runs.
pub(super) struct Running {
    /// Its settings, as the user wants them.
    pub(super) config: Stream,
    /// Where it goes.
    group: SocketAddr,
    pub(super) stats: Arc<StreamStats>,
    stop: Arc<Stop>,
    demand: Arc<Demand>,
    reporter: Reporter,
    thread: Thread,
}

/// A stream whose thread has ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) config: Stream,
    group: SocketAddr,
    pub(super) stats: Arc<StreamStats>,
    pub(super) result: Result<()>,
    identity: Identity,
    /// The index of the interface by which its packets left.
    interface: Option<u32>,
    /// Its viewers.
    reports: SenderSide,
}

impl Ended {
    /// Its settings, with the group that it was sent to.
    pub(super) fn sent(&self) -> Stream {
        self.config.clone().sent_to(self.group)
    }

    /// The group for `config`, the same stream's new settings.
    fn next_group(&self, config: &Stream) -> SocketAddr {
        let of = |s: &Stream| (s.group, s.group_chosen);
        let lost = self.stats.displaced_by.take();
        match lost.map(|by| (self.group, by)) {
            None if of(config) == of(&self.config) => self.group,
            lost => group::choose(config, lost),
        }
    }

    /// One line on what was sent; `None`: nothing was, and the error says why.
    pub(super) fn summary(&self) -> Option<String> {
        let s = self.stats.sender.snapshot();
        if s.frames_sent == 0 && self.result.is_err() {
            return None;
        }
        Some(format!(
            "{}: {} sent, {} dropped, {}, {:.1} MB",
            self.name,
            counted(s.frames_sent, "frame"),
            s.frames_dropped,
            counted(s.packets_sent, "packet"),
            s.bytes_sent as f64 * 1e-6
        ))
    }
}

impl Running {
    /// Starts the thread and waits until its socket is open, but not for its source. `before`: the
    /// same stream as it ran until now, whose SSRC, sequence and counters continue.
    /// `ends_with_source`: a source that cannot be used at the start is an error and not retried.
    ///
    /// # Errors
    /// If the socket cannot be opened, or no thread or descriptor is left.
    pub(super) fn start(
        config: Stream,
        before: Option<&Ended>,
        announcer: Handle,
        ends_with_source: bool,
    ) -> Result<Running> {
        let group = before.map_or_else(|| group::choose(&config, None), |b| b.next_group(&config));
        let sent = config.clone().sent_to(group);
        let identity = before.map_or_else(Identity::random, |b| b.identity);
        // Another group has other viewers.
        let same_group = before.filter(|b| b.group == group);
        let reports = same_group.map(|b| b.reports.clone());
        let stop = Arc::<Stop>::default();
        let stats = stats(&config, before);
        let demand = Arc::new(demand(&config, before, reports.as_ref()));
        let steering = Arc::new(Steering::new(&sent));
        let stream = StreamThread {
            config: sent.clone(),
            stop: Arc::clone(&stop),
            stats: Arc::clone(&stats),
            demand: Arc::clone(&demand),
            steering: Arc::clone(&steering),
            announcer,
            ends_with_source,
        };
        // Before RTCP, which would log the same error if no socket can be opened.
        let thread = spawn(stream, identity)?;
        let responder = Responder::new(&sent, steering, Arc::clone(&stats), Arc::clone(&demand));
        let reporter = Reporter::start(
            &sent,
            identity,
            reports,
            Arc::clone(&stats),
            Arc::clone(&demand),
            responder,
        );
        // Without RTCP the thread must end too.
        let reporter = reporter.inspect_err(|_| stop.raise())?;
        Ok(Running {
            config,
            group,
            stats,
            stop,
            demand,
            reporter,
            thread,
        })
    }

    /// Whether the stream has the settings `wanted`, perhaps after changing what can be changed
    /// while it runs: a camera's controls.
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

    /// Its settings, with the group that it is sent to.
    pub(super) fn sent(&self) -> Stream {
        self.config.clone().sent_to(self.group)
    }

    /// Whether it must move because another sender has its group.
    pub(super) fn is_displaced(&self) -> bool {
        self.stats.displaced_by.get().is_some()
    }

    /// Asks the thread to stop at the end of a frame.
    pub(super) fn stop(&self) {
        self.stop.raise();
    }

    /// Whether the thread is waiting for its source to open, which may take any time.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.stats.state.get(), State::Waiting | State::NoSignal(_))
    }

    /// A number that changes while the thread is alive.
    pub(super) fn pulse(&self) -> u64 {
        self.stop.looks()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread to end, at most until `until`, then ends its RTCP.
    pub(super) fn join(self, how: End, until: Instant) -> Ended {
        let name = self.config.name.clone();
        let (result, identity) = end(self.thread, &name, until);
        // After the last packet.
        let reports = self.reporter.end(how);
        Ended {
            reports,
            result,
            name,
            config: self.config,
            group: self.group,
            stats: self.stats,
            identity,
            interface: self.demand.interface(),
        }
    }
}

/// The stream's counters; those of `before` continue.
fn stats(config: &Stream, before: Option<&Ended>) -> Arc<StreamStats> {
    match before {
        Some(before) => Arc::clone(&before.stats),
        None => Arc::new(StreamStats {
            name: config.name.clone(),
            ..StreamStats::default()
        }),
    }
}

/// The stream's demand at the start. `reports`: viewers that reported until now.
fn demand(config: &Stream, before: Option<&Ended>, reports: Option<&SenderSide>) -> Demand {
    let is_watched = reports.is_some_and(|r| r.viewers() > 0);
    let same_interface = before.filter(|b| b.config.interface == config.interface);
    Demand::new(
        !config.only_while_watched || is_watched,
        same_interface.and_then(|b| b.interface),
    )
}

/// Starts the thread and waits until its socket is open.
fn spawn(stream: StreamThread, identity: Identity) -> Result<Thread> {
    let name = stream.config.name.clone();
    let (started, has_started) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(name.chars().take(15).collect()) // The kernel keeps 15 bytes.
        .spawn(move || stream.run(identity, &started))
        .context("a thread could not be started")?;
    // If the start failed, the channel closes without a message, and the result says why.
    if has_started.recv().is_err() {
        end(thread, &name, Instant::now() + END_LIMIT).0?;
        bail!("a stream ended before it started");
    }
    Ok(thread)
}

/// Waits for the thread to end, at most until `until`. One that hangs in its source is left behind,
/// and its successor gets a new identity.
fn end(thread: Thread, name: &str, until: Instant) -> (Result<()>, Identity) {
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    if !thread.is_finished() {
        warn!("{name}: the source does not respond and is left behind");
        return (Ok(()), Identity::random());
    }
    let (result, identity) = thread::join(thread);
    (result.with_context(|| format!("stream {name:?}")), identity)
}
