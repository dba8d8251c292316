//! The viewing pipeline: a thread that receives and puts frames together and never waits for anything else;
//! a thread that answers signals and writes statistics; the caller's thread, which shows the window. The
//! only module that wires sockets, depacketizer and viewer together.

mod control;
pub(crate) mod find;
mod receive;
mod reports;
mod sockets;
mod tape;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tracing::{info, warn};

use crate::cli::{OnLoss, Record, Target, ViewConfig};
use crate::clock::Ntp;
use crate::config::check::REPAIR_PORT_OFFSET;
use crate::jpeg::recode::partial::Concealer;
use crate::net::{ReceiveOptions, ReceiveSocket};
use crate::rtp::jpeg::{FrameBuffer, Options};
use crate::rtp::sdp::{self, StreamDescription};
use crate::signals::{Signal, Signals, Waker};
use crate::stats::{FormatSeen, Latest, State, StatsWriter, ViewerStats};
use crate::status::preview::Preview;
use crate::status::{Board, Page, Role};
use crate::view::control::{Control, Outputs};
use crate::view::receive::Receiver;
use crate::view::reports::Reporter;
use crate::view::tape::Tape;
use crate::viewer::delay::DelayMeter;
use crate::viewer::mailbox::Mailbox;

/// Used frame buffers that the window gives back at a time.
const SPARES: usize = 4;
/// Read of an SDP file; one byte more than is allowed, so that a longer one is refused, not cut.
const MOST_SDP_BYTES: u64 = sdp::MAX_LEN as u64 + 1;

/// What the threads of one viewer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stats: ViewerStatsHandle,
    pub(crate) delay: DelayMeter,
    /// What the stream is doing.
    pub(crate) state: Latest<State>,
    /// What its pictures are.
    pub(crate) format: FormatSeen,
    /// Pictures for the status page.
    pub(crate) preview: Arc<Preview>,
    /// Raised to end all.
    pub(crate) stop: Arc<AtomicBool>,
    waker: Waker,
}

/// The counters, as the depacketizer shares them.
pub(crate) type ViewerStatsHandle = Arc<ViewerStats>;

impl Shared {
    /// Asks every thread to end.
    pub(crate) fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl crate::viewer::Frame for FrameBuffer {
    fn jpeg(&self) -> &[u8] {
        self.jpeg()
    }

    fn captured(&self) -> Option<Ntp> {
        self.captured()
    }

    fn is_whole(&self) -> bool {
        self.is_whole()
    }

    fn conceal(&mut self, last: &FrameBuffer, concealer: &mut Concealer) -> bool {
        self.conceal(last, concealer)
    }
}

/// The stream to watch, as far as it is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) receive: ReceiveOptions,
    /// Port of the repair packets, where another than the usual one.
    repair_port: Option<u16>,
    /// The stream's TTL, where that is known.
    ttl: Option<u8>,
    pub(crate) options: Options,
    /// The session description that it was found by.
    sdp: Option<String>,
}

impl Wanted {
    /// Whatever comes to `group`.
    pub(crate) fn group(group: SocketAddr) -> Wanted {
        Wanted {
            name: group.to_string(),
            receive: ReceiveOptions::new(group),
            repair_port: None,
            ttl: None,
            options: Options::default(),
            sdp: None,
        }
    }

    /// What an SDP file describes.
    ///
    /// # Errors
    /// The file cannot be read, or describes no stream that can be shown.
    pub(crate) fn of_file(path: &Path) -> Result<Wanted> {
        let text = read_sdp(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let stream = StreamDescription::parse(&text)
            .with_context(|| format!("{} is no SDP that describes a stream", path.display()))?;
        let wanted = described(stream).with_context(|| path.display().to_string())?;
        Ok(Wanted {
            sdp: Some(String::from_utf8_lossy(&text).into_owned()),
            ..wanted
        })
    }

    /// Where its repair packets are heard; `None` where no port is left for them.
    pub(crate) fn repair(&self) -> Option<ReceiveOptions> {
        let mut options = self.receive.clone();
        let usual = options.group.port().checked_add(REPAIR_PORT_OFFSET);
        options.group.set_port(self.repair_port.or(usual)?);
        Some(options)
    }
}

/// Watches one stream until a signal, the window's end, or the wanted number of frames.
///
/// # Errors
/// If the stream cannot be listened to, there is no screen, or a recording failed.
pub fn run(config: &ViewConfig, signals: Signals) -> Result<()> {
    run_with(config, signals, window)
}

/// [`run`] with another taker of the frames in the window's place; it is not called where `config` is headless.
/// It returns when the stream's mailbox is closed, or earlier to end the viewer.
///
/// # Errors
/// As of [`run`], and what `show` fails with.
pub fn run_with(
    config: &ViewConfig,
    mut signals: Signals,
    show: impl FnOnce(Feed<'_>) -> Result<()>,
) -> Result<()> {
    let stats_file = config.stats.as_ref().map(StatsWriter::open).transpose()?;
    let Some((wanted, socket)) = find(config, &mut signals)? else {
        return Ok(());
    };
    let shared = Arc::new(Shared {
        stats: Arc::default(),
        delay: DelayMeter::default(),
        state: Latest::default(),
        format: FormatSeen::default(),
        preview: Arc::default(),
        stop: signals.stop(),
        waker: signals.waker().context("no descriptors are left")?,
    });
    let socket = match socket {
        Some(open) => open,
        None => ReceiveSocket::open(&wanted.receive)?,
    };
    if let Some(advice) = socket.buffer().advice() {
        warn!("{advice}");
    }
    info!(
        "waiting for {} on {}",
        wanted.receive.group,
        socket.interface().name
    );
    let board = Arc::new(Board::new(Role::Viewer));
    let page = Page::start(&config.status, &board)?;
    let tape = Tape::start(
        record_path(config.record.as_ref()),
        config.snapshot.clone(),
        &shared,
    )?;
    let mailbox = (!config.headless).then(|| Arc::new(Mailbox::new(SPARES)));
    let (messages, told) = mpsc::sync_channel(8);
    let reporter = Reporter::start(&wanted.receive, wanted.ttl, &shared)?;
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        link: reporter.link(),
        wanted: wanted.receive.clone(),
        wanted_repair: wanted.repair(),
        options: wanted.options.clone(),
        retransmit: config.retransmit,
        mailbox: mailbox.clone(),
        tape: tape.as_ref().map(Tape::inlet),
        frames: config.headless.then_some(config.frames).flatten(),
        messages,
    };
    let receiving = spawn("lancam-receive", move || receiver.run(socket))?;
    let outputs = Outputs {
        stats: stats_file,
        board,
        is_headless: config.headless,
    };
    let control = Control::new(Arc::clone(&shared), &wanted, outputs);
    let controlling = spawn("lancam-control", move || control.run(signals))?;

    let shown = match mailbox {
        Some(mailbox) => show(Feed {
            config,
            name: &wanted.name,
            group: wanted.receive.group,
            mailbox: &mailbox,
            stats: &shared.stats,
            delay: &shared.delay,
            stop: &shared.stop,
            messages: told,
        }),
        None => Ok(()),
    };
    // Headless, the control thread ends when it is asked to stop; a window ends by itself.
    if !config.headless {
        shared.finish();
    }
    join(controlling)?;
    shared.finish();
    join(receiving)?;
    reporter.join()?;
    drop(page);
    let recorded = tape.map_or(Ok(()), Tape::finish);
    shown.and(recorded)
}

/// What the taker of the frames works with.
pub struct Feed<'a> {
    /// The viewer's settings.
    pub config: &'a ViewConfig,
    /// The stream's name.
    pub name: &'a str,
    /// Where the stream comes from.
    pub group: SocketAddr,
    /// The frames.
    pub mailbox: &'a Mailbox<FrameBuffer>,
    /// The viewer's counters; the taker counts the frames that it shows.
    pub stats: &'a ViewerStats,
    /// Takes the delay of each frame shown.
    pub delay: &'a DelayMeter,
    /// Raised when the viewer is to end.
    pub stop: &'a AtomicBool,
    /// Sentences for the user.
    pub messages: mpsc::Receiver<String>,
}

#[cfg(feature = "view")]
fn window(feed: Feed<'_>) -> Result<()> {
    use crate::viewer::window::{self, WindowOptions};

    let config = feed.config;
    let options = WindowOptions {
        name: feed.name.to_owned(),
        waiting_for: feed.group.to_string(),
        scale: config.scale,
        overlay: config.overlay,
        frames: config.frames,
        pictures: PathBuf::from("."),
    };
    let feed = window::Feed {
        mailbox: feed.mailbox,
        stats: feed.stats,
        delay: feed.delay,
        stop: feed.stop,
        messages: Some(feed.messages),
    };
    Ok(window::run(options, feed)?)
}

#[cfg(not(feature = "view"))]
fn window(_: Feed<'_>) -> Result<()> {
    Err(anyhow!("this build has no window: use --headless"))
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .context("a thread could not be started")
}

fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a bug in lancam ended one of its threads"))
}

fn record_path(record: Option<&Record>) -> Option<PathBuf> {
    record.map(|r| match r {
        Record::Avi(path) | Record::Mjpeg(path) => path.clone(),
        Record::Stdout => PathBuf::from("-"),
    })
}

/// What the target means: a group as it is, what an SDP file says, or what is announced. With the stream's socket, where
/// finding it has opened one. `None`: the user does not want to wait.
fn find(
    config: &ViewConfig,
    signals: &mut Signals,
) -> Result<Option<(Wanted, Option<ReceiveSocket>)>> {
    let interface = config.interface.as_deref();
    let is_over = || signals.wait(Duration::ZERO) == Some(Signal::Stop);
    let mut socket = None;
    let mut wanted = match &config.target {
        Target::Group(group) => Wanted::group(*group),
        Target::Sdp(path) => Wanted::of_file(path)?,
        Target::Name(name) => match find::by_name(name, interface, is_over)? {
            Some(wanted) => wanted,
            None => return Ok(None),
        },
        Target::Any => match find::only(interface, is_over)? {
            Some(found) => {
                socket = found.socket;
                found.wanted
            }
            None => return Ok(None),
        },
    };
    if config.interface.is_some() {
        wanted.receive.interface.clone_from(&config.interface);
    }
    wanted.options.give_partial = config.on_loss == OnLoss::Conceal;
    wanted.options.late = config.late;
    if let Some(name) = &config.name {
        wanted.name.clone_from(name);
    }
    Ok(Some((wanted, socket)))
}

fn read_sdp(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_SDP_BYTES)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// What to open for a stream that an SDP describes.
fn described(stream: StreamDescription) -> Result<Wanted> {
    stream
        .playable
        .map_err(|why| anyhow!("the stream {:?} cannot be shown: {why}", stream.name))?;
    Ok(Wanted {
        name: stream.name,
        receive: ReceiveOptions {
            source: stream.source,
            ..ReceiveOptions::new(stream.addr)
        },
        repair_port: stream.repair_port,
        ttl: stream.ttl,
        options: Options {
            payload_type: stream.payload_type,
            size: stream.size,
            ..Options::default()
        },
        sdp: None,
    })
}
