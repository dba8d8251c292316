//! The viewing pipeline: the window's thread is there first, and the caller's waits for it; one
//! finds the stream and starts the others; one receives packets, assembles frames and waits for
//! nothing else; one handles signals and writes statistics. The only module that wires sockets,
//! depacketizer and window together.

mod choose;
mod control;
pub(crate) mod find;
mod follow;
mod plan;
mod receive;
mod recording;
mod rtcp;
mod shared;
mod sockets;
mod threads;
mod waiting;
mod wanted;

pub(crate) use wanted::Wanted;

pub use plan::{BadSdp, OnLoss, Record, Target, ViewPlan};

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{info, warn};

use crate::board::{Board, Role};
use crate::clock::{Mono, Ntp};
use crate::display::arriving::{Arriving, Progress};
use crate::display::lobby::Lobby;
use crate::jpeg::Picture;
use crate::jpeg::recode::partial::Concealer;
use crate::mailbox::Mailbox;
use crate::net::thread::join;
use crate::net::{Interface, ReceiveOptions, ReceiveSocket, choice};
use crate::record::Recorder;
use crate::rtp::FrameBuffer;
use crate::serve::Server;
use crate::signals::{Signal, Signals};
use crate::stats::delay::DelayMeter;
use crate::stats::{StatsWriter, ViewerStats};
use crate::view::control::{Control, Outputs};
use crate::view::find::Found;
use crate::view::follow::{Follower, Screen};
use crate::view::receive::Receiver;
use crate::view::recording::Recording;
use crate::view::rtcp::Reporter;
use crate::view::shared::Shared;
use crate::view::threads::spawn;

/// How many used frame buffers may be on their way back from the window.
const SPARES: usize = 4;

impl crate::display::Frame for FrameBuffer {
    fn jpeg(&self) -> &[u8] {
        self.jpeg()
    }

    fn captured(&self) -> Option<Ntp> {
        self.captured()
    }

    fn picture(&self) -> Option<Picture<'_>> {
        Some(self.picture())
    }

    fn number(&self) -> u64 {
        self.number()
    }

    fn last_arrival(&self) -> Option<Mono> {
        Some(self.last_arrival())
    }

    fn is_whole(&self) -> bool {
        self.is_whole()
    }

    fn conceal(&mut self, last: &FrameBuffer, concealer: &mut Concealer) -> bool {
        self.conceal(last, concealer)
    }
}

/// Logs where the viewer is listening.
fn introduce(wanted: &ReceiveOptions, interface: &Interface) {
    let (group, name) = (wanted.group, &interface.name);
    let is_chosen = wanted.interface.is_none() && group.ip().is_multicast();
    match is_chosen && interface.is_loopback {
        true => warn!(
            "waiting for {group} on {name}: no network is up, so only this machine's own streams come"
        ),
        false if is_chosen => info!(
            "waiting for {group} on {name}{}",
            choice::describe_alternatives(interface, group)
        ),
        false => info!("waiting for {group} on {name}"),
    }
}

/// Watches one stream until a signal, the window closing, or the requested number of frames.
///
/// # Errors
/// The stream cannot be received, there is no screen, or recording failed.
pub fn run(config: &ViewPlan, signals: Signals) -> Result<()> {
    run_with(config, signals, window)
}

/// [`run`] with `show` in place of the window; not called if `config` is headless. It is called at
/// once, whatever is to be found first, and returns when the mailbox is closed, or earlier to end
/// the viewer.
///
/// # Errors
/// Those of [`run`], and those of `show`.
pub fn run_with(
    config: &ViewPlan,
    signals: Signals,
    show: impl FnOnce(Feed<'_>) -> Result<()>,
) -> Result<()> {
    let stats_file = config.stats.as_ref().map(StatsWriter::open).transpose()?;
    let recorder = recording::create(
        record_path(config.record.as_ref()),
        config.snapshot.as_deref(),
    )?;
    let (messages, received) = mpsc::sync_channel(8);
    let has_window = !config.headless;
    let pipeline = Pipeline {
        config: config.clone(),
        stats_file,
        recorder,
        mailbox: has_window.then(|| Arc::new(Mailbox::new(SPARES))),
        arriving: (has_window && config.decoders > 0).then(Arc::default),
        lobby: Arc::new(Lobby::new(waiting::at_first(config))),
        stats: Arc::default(),
        delay: Arc::default(),
        shared: Arc::default(),
        messages,
    };
    let Some(mailbox) = pipeline.mailbox.clone() else {
        return pipeline.run(signals);
    };
    let waker = signals.waker().context("no file descriptors are left")?;
    let stop = signals.stop();
    let feed = Feed {
        config,
        name: Box::new({
            let (shared, title) = (Arc::clone(&pipeline.shared), waiting::title(config));
            move || match shared.get() {
                Some(shared) => shared.wanted.get().name.clone(),
                None => title.clone(),
            }
        }),
        reason: Box::new({
            let shared = Arc::clone(&pipeline.shared);
            move || shared.get().and_then(|shared| shared.no_signal())
        }),
        lobby: Arc::clone(&pipeline.lobby),
        mailbox,
        arriving: pipeline.arriving.clone(),
        stats: Arc::clone(&pipeline.stats),
        delay: Arc::clone(&pipeline.delay),
        stop: Arc::clone(&stop),
        messages: received,
    };
    let viewing = spawn("lancam-view", move || pipeline.run_beside_window(signals))?;
    let shown = show(feed);
    stop.store(true, Ordering::Relaxed);
    waker.wake();
    shown.and(join(viewing))
}

/// All of a viewer but its window.
struct Pipeline {
    config: ViewPlan,
    stats_file: Option<StatsWriter>,
    recorder: Option<Recorder>,
    /// To the window; `None` if there is none.
    mailbox: Option<Arc<Mailbox<FrameBuffer>>>,
    /// What has come of the next frame, for the window.
    arriving: Option<Arc<Arriving>>,
    lobby: Arc<Lobby>,
    stats: Arc<ViewerStats>,
    delay: Arc<DelayMeter>,
    /// Set when the stream is found.
    shared: Arc<OnceLock<Arc<Shared>>>,
    messages: SyncSender<String>,
}

impl Pipeline {
    /// Runs until the viewer ends, and then ends the window. An error is shown in the window if
    /// nobody would see it elsewhere.
    fn run_beside_window(self, signals: Signals) -> Result<()> {
        let (mailbox, lobby) = (self.mailbox.clone(), Arc::clone(&self.lobby));
        let stop = signals.stop();
        let ended = self.run(signals);
        if let Err(error) = &ended {
            if !choose::has_terminal() {
                choose::explain(&lobby, error, &stop);
            }
            stop.store(true, Ordering::Relaxed);
        }
        if let Some(mailbox) = mailbox {
            mailbox.close();
        }
        ended
    }

    /// Finds the stream, and receives it until the viewer ends.
    fn run(self, mut signals: Signals) -> Result<()> {
        let config = &self.config;
        let Some(found) = find(
            config,
            self.mailbox.as_ref().map(|_| &*self.lobby),
            &mut signals,
        )?
        else {
            return Ok(());
        };
        let (wanted, socket) = (Arc::new(found.wanted), found.socket);
        let shared = Arc::new(Shared::new(
            Arc::clone(&wanted),
            self.stats,
            self.delay,
            &signals,
        )?);
        let _ = self.shared.set(Arc::clone(&shared));
        let socket = match socket {
            Some(open) => open,
            None => ReceiveSocket::open(&wanted.receive)?,
        };
        if let Some(advice) = socket.buffer().advice() {
            warn!("{advice}");
        }
        introduce(&wanted.receive, socket.interface());
        let board = Arc::new(Board::new(Role::Viewer));
        let page = Server::start(&config.services, &board)?;
        let recording = Recording::start(self.recorder, config.snapshot.clone(), &shared)?;
        let reporter = Reporter::start(&shared)?;
        let screen = self.mailbox.as_ref().map(|_| Screen {
            lobby: &self.lobby,
            messages: self.messages.clone(),
        });
        let receiver = Receiver {
            shared: Arc::clone(&shared),
            link: reporter.link(),
            wanted,
            retransmit: config.retransmit,
            mailbox: self.mailbox,
            arriving: self.arriving.map(|slot| (slot, Progress::default())),
            recording: recording.as_ref().map(Recording::input),
            frames: config.headless.then_some(config.frames).flatten(),
            lobby: Arc::clone(&self.lobby),
            messages: self.messages,
        };
        let receiving = spawn("lancam-receive", move || receiver.run(socket))?;
        let outputs = Outputs {
            stats: self.stats_file,
            board,
            is_headless: config.headless,
        };
        let control = Control::new(Arc::clone(&shared), outputs);
        let controlling = spawn("lancam-control", move || control.run(signals))?;
        Follower::new(config, &shared, found.by, found.announced, screen).run();
        // It ends when it is asked to stop: by a signal, the window, or the number of frames.
        join(controlling);
        shared.finish();
        join(receiving);
        reporter.join();
        drop(page);
        recording.map_or(Ok(()), Recording::finish)
    }
}

/// What `show` works with in [`run_with`].
pub struct Feed<'a> {
    /// The viewer's settings.
    pub config: &'a ViewPlan,
    /// Returns the stream's current name.
    pub name: Box<dyn Fn() -> String + Send>,
    /// Why no frames arrive, as far as that is known.
    pub reason: Box<dyn Fn() -> Option<String> + Send>,
    /// What to say before the first frame, and where to leave what the user chooses.
    pub lobby: Arc<Lobby>,
    /// The frames.
    pub mailbox: Arc<Mailbox<FrameBuffer>>,
    /// What has come of the next frame; `None`: nobody wants it sooner.
    pub arriving: Option<Arc<Arriving>>,
    /// The viewer's counters; `show` counts the frames it shows.
    pub stats: Arc<ViewerStats>,
    /// Records the delay of each frame shown.
    pub delay: Arc<DelayMeter>,
    /// Set when the viewer should end.
    pub stop: Arc<AtomicBool>,
    /// Messages for the user.
    pub messages: mpsc::Receiver<String>,
}

#[cfg(feature = "view")]
fn window(feed: Feed<'_>) -> Result<()> {
    use crate::display::window::{self, WindowOptions};

    let config = feed.config;
    let options = WindowOptions {
        scale: config.scale,
        overlay: config.overlay,
        decoders: config.decoders,
        full_screen: config.full_screen,
        frames: config.frames,
        pictures: Path::new(".").to_owned(),
    };
    let feed = window::Feed {
        name: feed.name,
        reason: feed.reason,
        lobby: feed.lobby,
        mailbox: feed.mailbox,
        arriving: feed.arriving,
        stats: feed.stats,
        delay: feed.delay,
        stop: feed.stop,
        messages: Some(feed.messages),
    };
    Ok(window::run(options, feed)?)
}

#[cfg(not(feature = "view"))]
fn window(_: Feed<'_>) -> Result<()> {
    Err(anyhow::anyhow!("this build has no window: use --headless"))
}

fn record_path(record: Option<&Record>) -> Option<&Path> {
    record.map(|r| match r {
        Record::Avi(path) | Record::Mjpeg(path) => path.as_path(),
        Record::Stdout => Path::new("-"),
    })
}

/// Resolves the target: a group as given, an SDP file, or an announced stream. `None` if the user
/// stopped waiting. With a window, its `lobby` says what there is, and the user may choose there.
fn find(config: &ViewPlan, lobby: Option<&Lobby>, signals: &mut Signals) -> Result<Option<Found>> {
    let interface = config.interface.as_deref();
    let is_over = || signals.wait(Duration::ZERO) == Some(Signal::Stop);
    let mut found = match (&config.target, lobby) {
        (Target::Group(group), _) => Some(Wanted::group(*group).into()),
        (Target::Sdp(path), _) => Some(Wanted::of_file(path).context(BadSdp)?.into()),
        (_, Some(lobby)) => choose::find(config, lobby, is_over)?,
        (Target::Name(name), None) => find::by_name(name, interface, is_over)?,
        (Target::Any, None) => find::only(interface, is_over)?,
    };
    if let Some(found) = &mut found {
        found.wanted.settle(config);
    }
    Ok(found)
}
