//! One stream's RTCP: a thread beside the stream's own, which sends its reports, hears its viewers, and says
//! whether anybody watches. The stream's thread reads and writes atomics only; nothing here makes it wait.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tracing::{debug, info, info_span, warn};

use super::feedback::Control;
use super::stream::StreamStats;
use crate::clock::{Mono, Ntp};
use crate::config::Stream;
use crate::host;
use crate::net::{GroupError, Interface, ReportOptions, ReportSocket, SendOptions};
use crate::rtp::Ssrc;
use crate::rtp::rtcp::sender::{self, Sent};
use crate::rtp::rtcp::{Due, SenderSide};
use crate::source::camera::Remote;

/// How often the counters are looked at, silent viewers are taken out, and the network is looked after.
const TICK: Duration = Duration::from_secs(1);
/// The longest that a goodbye is waited for: the stop has one second in all.
const BYE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a source stays open after the last viewer has left: for one that merely starts again.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// Datagrams heard in one tick; a flood of more waits in the kernel, which drops what does not fit.
const MAX_PER_TICK: u32 = 4_000;

/// What the stream's thread hears from this one: whether the source is to be open, and that the network has changed.
#[derive(Debug)]
pub(super) struct Demand {
    wanted: AtomicBool,
    has_moved: AtomicBool,
    /// A camera is told by this to close and open again.
    pub(super) remote: OnceLock<Remote>,
}

impl Demand {
    /// For a stream that is open always, or else until it turns out that nobody watches.
    pub(super) fn new(wanted: bool) -> Demand {
        Demand {
            wanted: AtomicBool::new(wanted),
            has_moved: AtomicBool::new(false),
            remote: OnceLock::new(),
        }
    }

    /// Whether frames are wanted.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether the way out is another one since this was asked last, so that sockets are to be made anew.
    pub(super) fn take_move(&self) -> bool {
        self.has_moved.load(Ordering::Relaxed) && self.has_moved.swap(false, Ordering::Relaxed)
    }
}

/// How the thread is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream ends: its viewers are told.
    Goodbye,
    /// The stream goes on in another thread, under the same SSRC.
    Silent,
}

/// The thread.
pub(super) struct Reporter {
    end: Arc<AtomicU8>,
    bell: UnixStream,
    thread: JoinHandle<SenderSide>,
}

/// What of the stream its reports tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) ssrc: Ssrc,
    /// Added to capture times on the stream's clock.
    pub(super) time_offset: u32,
}

impl Reporter {
    /// Starts the thread. `before`: the viewers of the same stream as it ran until now.
    ///
    /// # Errors
    /// No thread or no descriptors may be had.
    pub(super) fn start(
        config: &Stream,
        subject: Subject,
        before: Option<SenderSide>,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
        control: Control,
    ) -> Result<Reporter> {
        let (bell, woken) = UnixStream::pair().context("no descriptors are left")?;
        let end = Arc::new(AtomicU8::new(0));
        let now = Mono::now();
        let side = before.unwrap_or_else(|| {
            let description = host::description(sender::TOOL);
            SenderSide::new(
                subject.ssrc,
                subject.time_offset,
                description,
                host::random(),
                now,
            )
        });
        let worker = Worker {
            options: options(config),
            on_demand: config.only_while_watched,
            end: Arc::clone(&end),
            side,
            stats,
            demand,
            control,
            way: None,
            socket: None,
            has_complained: false,
            told: (0, now),
            watched_at: now,
            obeyed: None,
            heard: 0,
        };
        let span = info_span!("stream", name = %config.name);
        let thread = std::thread::Builder::new()
            .name("lancam-reports".to_owned())
            .spawn(move || span.in_scope(|| worker.run(&woken)))
            .context("a thread could not be started")?;
        Ok(Reporter { end, bell, thread })
    }

    /// Ends the thread; gives what it knows of the viewers.
    pub(super) fn end(mut self, how: End) -> Option<SenderSide> {
        self.end.store(how as u8 + 1, Ordering::Relaxed);
        let _ = self.bell.write(&[0]);
        self.thread.join().ok()
    }
}

fn options(config: &Stream) -> ReportOptions {
    let mut group = config.group;
    // RFC 3550 §11; the config has seen to it that this port exists.
    group.set_port(group.port() + 1);
    ReportOptions {
        send: SendOptions {
            group,
            interface: config.interface.clone(),
            ttl: config.ttl,
            loopback: config.loopback,
            dscp: config.dscp,
        },
        hear: group.ip().is_multicast().then_some(group),
        source: None,
        claims_port: true,
    }
}

/// What the thread owns.
struct Worker {
    options: ReportOptions,
    on_demand: bool,
    /// 0: go on; else an [`End`] plus one.
    end: Arc<AtomicU8>,
    side: SenderSide,
    stats: Arc<StreamStats>,
    demand: Arc<Demand>,
    control: Control,
    /// The way out as it was seen last.
    way: Option<Interface>,
    /// `None` while the network is down.
    socket: Option<ReportSocket>,
    has_complained: bool,
    /// How many viewers were told of, and from when on it may be told again.
    told: (usize, Mono),
    /// When somebody watched last.
    watched_at: Mono,
    /// What the camera was told last.
    obeyed: Option<bool>,
    /// Datagrams in this tick.
    heard: u32,
}

impl Worker {
    fn run(mut self, woken: &UnixStream) -> SenderSide {
        let mut tick_at = Mono(0);
        let mut leave_until = None;
        loop {
            let now = Mono::now();
            if now >= tick_at {
                tick_at = now + TICK;
                self.tick(now);
            }
            match self.end.load(Ordering::Relaxed) {
                0 => {}
                end if end == End::Silent as u8 + 1 => return self.side,
                _ => {
                    let until = *leave_until.get_or_insert(now + BYE_PATIENCE);
                    if !self.side.leave(now, self.sent()) || now >= until {
                        return self.side;
                    }
                }
            }
            if self.report(now) == Some(Due::Bye) {
                return self.side;
            }
            self.decide(now);
            let next = self.side.deadline().min(tick_at);
            let next = leave_until.map_or(next, |until| next.min(until));
            self.listen(next.since(Mono::now()), woken);
        }
    }

    fn sent(&self) -> Sent {
        let stats = &self.stats.sender;
        Sent {
            packets: stats.packets_sent.get(),
            octets: stats.octets_sent.get(),
            bytes: stats.bytes_sent.get(),
        }
    }

    fn tick(&mut self, now: Mono) {
        self.heard = 0;
        let sent = self.sent();
        let control = &mut self.control;
        control.tick(now);
        (self.side).tick(now, sent, |feedback| control.heard(now, feedback));
        self.connect();
        self.look_for_a_move();
        self.stats.audience.set(self.side.reports(now));
        self.tell(now);
    }

    /// Says how many viewers there are, at once but not more than once a tick.
    fn tell(&mut self, now: Mono) {
        let viewers = self.side.viewers();
        if self.told.0 == viewers || now < self.told.1 {
            return;
        }
        self.told = (viewers, now + TICK);
        info!("{viewers} viewer(s) report");
    }

    /// A cable that is plugged in after the start, an address by DHCP, a default route that moved: packets would go on
    /// leaving by the old way, without an error. The reports take the same way.
    fn look_for_a_move(&mut self) {
        let Some(way) = self.socket.as_ref().map(ReportSocket::interface) else {
            return;
        };
        if self.way.as_ref() == Some(way) {
            return;
        }
        if self.way.replace(way.clone()).is_some() {
            self.demand.has_moved.store(true, Ordering::Relaxed);
        }
    }

    /// Opens the sockets, or follows the interface.
    fn connect(&mut self) {
        let result = match &mut self.socket {
            Some(socket) => socket.refresh().map(|_| None),
            None => ReportSocket::open(self.options.clone()).map(|(socket, deaf)| {
                self.socket = Some(socket);
                deaf
            }),
        };
        match result {
            Ok(None) => self.has_complained = false,
            Ok(Some(error)) | Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &GroupError) {
        if !std::mem::replace(&mut self.has_complained, true) {
            warn!("viewers' reports may not be heard: {error}");
        }
    }

    /// Sends what is due.
    fn report(&mut self, now: Mono) -> Option<Due> {
        let wall = Ntp::from(SystemTime::now());
        let (due, datagram) = self.side.poll(now, wall, self.sent())?;
        if let Some(Err(error)) = self.socket.as_ref().map(|s| s.send(None, &datagram)) {
            debug!("a report was not sent: {error}");
        }
        Some(due)
    }

    /// Waits for datagrams, at most `limit`, and takes those that come.
    fn listen(&mut self, limit: Duration, woken: &UnixStream) {
        let Some(socket) = self.socket.as_mut().filter(|_| self.heard < MAX_PER_TICK) else {
            // Woken, or the time is over: both are looked at by the caller.
            let limit = limit.max(Duration::from_millis(1));
            let _ = woken.set_read_timeout(Some(limit));
            let _ = std::io::Read::read(&mut &*woken, &mut [0]);
            return;
        };
        let (side, control, heard) = (&mut self.side, &mut self.control, &mut self.heard);
        let invalid = &self.stats.sender.reports_invalid;
        let result = socket.receive(limit, woken.as_fd(), |from, datagram| {
            *heard += 1;
            let (now, wall) = (Mono::now(), Ntp::from(SystemTime::now()));
            let taken = side.receive(now, wall, from, datagram, |f| control.heard(now, f));
            invalid.add(u64::from(taken.is_err()));
        });
        if let Err(error) = result {
            debug!("the sockets of reports are made anew: {error}");
            self.socket = None;
        }
    }

    /// Counts the viewers, and says whether the source is to be open.
    fn decide(&mut self, now: Mono) {
        let viewers = self.side.viewers();
        if self.stats.sender.viewers.get() != viewers as u64 {
            self.stats.sender.viewers.set(viewers as u64);
            self.stats.audience.set(self.side.reports(now));
            self.tell(now);
        }
        if !self.on_demand {
            return;
        }
        // Visitors of the status page watch too, though they do not report.
        let is_watched = viewers > 0 || self.stats.preview.is_watched(now);
        if is_watched {
            self.watched_at = now;
        }
        let wanted = is_watched || (self.demand.is_wanted() && now.since(self.watched_at) < LINGER);
        self.demand.wanted.store(wanted, Ordering::Relaxed);
        if let Some(remote) = self.demand.remote.get() {
            if self.obeyed != Some(wanted) {
                self.obeyed = Some(wanted);
                remote.set_wanted(wanted);
            }
        }
    }
}
