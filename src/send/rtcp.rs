//! One stream's RTCP: a thread beside the stream's own that sends its reports, receives its
//! viewers', and finds out whether anybody watches. The stream's thread reads and writes atomics
//! only; nothing here makes it wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tracing::{debug, info, warn};

use super::feedback::Responder;
use super::identity::Identity;
use super::shared::{Demand, StreamStats};
use crate::clock::{Mono, Ntp};
use crate::config::Stream;
use crate::host;
use crate::logging::stream_span;
use crate::net::thread::join;
use crate::net::{Bell, BellRope, GroupError, Interface, ReportOptions, ReportSocket};
use crate::rtp::rtcp::sender::{self, Sent};
use crate::rtp::rtcp::{self, Due, SenderSide};

/// How often the counters are read, silent viewers removed and the network checked.
const TICK: Duration = Duration::from_secs(1);
/// The longest wait for sending BYE: stopping may take one second in all.
const BYE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a source stays open after the last viewer has left: it may only be restarting.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// Datagrams read per tick; in a flood the rest waits in the kernel, which drops what does not fit.
const MAX_PER_TICK: u32 = 4_000;

/// How the thread is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream ends: send BYE.
    Goodbye,
    /// The stream goes on in another thread, under the same SSRC.
    Silent,
}

/// The thread.
pub(super) struct Reporter {
    end: Arc<AtomicU8>,
    rope: BellRope,
    thread: JoinHandle<SenderSide>,
}

impl Reporter {
    /// Starts the thread. `before`: the same stream's viewers until now.
    ///
    /// # Errors
    /// If there are no threads or descriptors left.
    pub(super) fn start(
        config: &Stream,
        identity: Identity,
        before: Option<SenderSide>,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
        responder: Responder,
    ) -> Result<Reporter> {
        let (bell, rope) = Bell::new().context("no file descriptors are left")?;
        let end = Arc::new(AtomicU8::new(0));
        let now = Mono::now();
        let side = before.unwrap_or_else(|| {
            let description = host::description(sender::TOOL);
            SenderSide::new(
                identity.ssrc,
                identity.time_offset,
                description,
                host::random(),
                now,
            )
        });
        let rtcp = RtcpThread {
            options: options(config),
            on_demand: config.only_while_watched,
            end: Arc::clone(&end),
            side,
            stats,
            demand,
            responder,
            way: None,
            socket: None,
            has_complained: false,
            logged: (0, now),
            was_watched: false,
            watched_at: now,
            obeyed: None,
            received: 0,
        };
        let span = stream_span(&config.name);
        let thread = std::thread::Builder::new()
            .name("lancam-rtcp".to_owned())
            .spawn(move || span.in_scope(|| rtcp.run(&bell)))
            .context("a thread could not be started")?;
        Ok(Reporter { end, rope, thread })
    }

    /// Ends the thread; returns what it knows of the viewers.
    pub(super) fn end(self, how: End) -> SenderSide {
        self.end.store(how as u8 + 1, Ordering::Relaxed);
        self.rope.pull();
        join(self.thread)
    }
}

fn options(config: &Stream) -> ReportOptions {
    // RFC 3550 §11; the config check ensures that this port exists.
    let send = config.send_options().at_port_above(rtcp::PORT_OFFSET);
    let group = send.group;
    ReportOptions {
        send,
        hear: group.ip().is_multicast().then_some(group),
        source: None,
        claims_port: true,
    }
}

/// What the thread owns.
struct RtcpThread {
    options: ReportOptions,
    on_demand: bool,
    /// 0: go on; else an [`End`] plus one.
    end: Arc<AtomicU8>,
    side: SenderSide,
    stats: Arc<StreamStats>,
    demand: Arc<Demand>,
    responder: Responder,
    /// The interface in use when last checked.
    way: Option<Interface>,
    /// `None` while the network is down.
    socket: Option<ReportSocket>,
    has_complained: bool,
    /// How many viewers were last logged, and when the next line is allowed.
    logged: (usize, Mono),
    /// Whether anybody has reported by this interface.
    was_watched: bool,
    /// When somebody last watched.
    watched_at: Mono,
    /// What the camera was last told.
    obeyed: Option<bool>,
    /// Datagrams read in this tick.
    received: u32,
}

impl RtcpThread {
    fn run(mut self, bell: &Bell) -> SenderSide {
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
            self.listen(next.since(Mono::now()), bell);
        }
    }

    fn sent(&self) -> Sent {
        sent(&self.stats, &self.responder)
    }

    fn tick(&mut self, now: Mono) {
        self.received = 0;
        let sent = self.sent();
        let responder = &mut self.responder;
        responder.tick(now);
        (self.side).tick(now, sent, |feedback| responder.handle(now, feedback));
        self.was_watched |= self.side.viewers() > 0;
        self.connect();
        self.look_for_a_move();
        self.stats.audience.set(self.side.reports(now));
        self.tell(now);
    }

    /// Logs how many viewers there are, at once but at most once a tick.
    fn tell(&mut self, now: Mono) {
        let viewers = self.side.viewers();
        if self.logged.0 == viewers || now < self.logged.1 {
            return;
        }
        self.logged = (viewers, now + TICK);
        match viewers {
            1 => info!("1 viewer reports"),
            _ => info!("{viewers} viewers report"),
        }
    }

    /// After a cable is plugged in, DHCP assigns an address or the default route moves, packets
    /// would keep leaving by the old interface, without an error. RTCP follows the stream.
    fn look_for_a_move(&mut self) {
        let Some(way) = self.socket.as_ref().map(ReportSocket::interface) else {
            return;
        };
        if self.way.as_ref() == Some(way) {
            return;
        }
        let index = way.index;
        if self.way.replace(way.clone()).is_some() {
            self.was_watched = false;
            self.demand.set_moved(index);
        }
    }

    /// Opens the sockets, or follows the interface.
    fn connect(&mut self) {
        let result = match &mut self.socket {
            // Once somebody has watched, the stream stays.
            Some(socket) => socket.refresh(self.was_watched).map(|_| None),
            None => {
                let opened = ReportSocket::open(self.options.clone(), self.demand.interface());
                opened.map(|(socket, deaf)| {
                    self.socket = Some(socket);
                    deaf
                })
            }
        };
        match result {
            Ok(None) => self.has_complained = false,
            Ok(Some(error)) | Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &GroupError) {
        if !std::mem::replace(&mut self.has_complained, true) {
            warn!("viewers' reports may not arrive: {error}");
        }
    }

    /// Sends what is due.
    fn report(&mut self, now: Mono) -> Option<Due> {
        let wall = Ntp::from(SystemTime::now());
        let (due, datagram) = self.side.poll(now, wall, self.sent())?;
        if let Some(Err(error)) = self.socket.as_ref().map(|s| s.send(None, &datagram)) {
            debug!("an RTCP packet was not sent: {error}");
        }
        Some(due)
    }

    /// Waits for datagrams, at most `limit`, and reads them.
    fn listen(&mut self, limit: Duration, bell: &Bell) {
        let Some(socket) = self
            .socket
            .as_mut()
            .filter(|_| self.received < MAX_PER_TICK)
        else {
            // Woken or timed out: the caller checks for both.
            let limit = limit.max(Duration::from_millis(1));
            let _ = bell.wait([], limit);
            return;
        };
        let (side, responder, received) = (&mut self.side, &mut self.responder, &mut self.received);
        let stats = &self.stats;
        let result = socket.receive(limit, bell, |from, datagram| {
            *received += 1;
            let now = Mono::now();
            let sent = sent(stats, responder);
            let taken = side.receive(now, sent, from, datagram, |f| responder.handle(now, f));
            stats.sender.reports_invalid.add(u64::from(taken.is_err()));
        });
        if let Err(error) = result {
            debug!("the RTCP sockets are reopened: {error}");
            self.socket = None;
        }
    }

    /// Counts the viewers and decides whether the source should be open.
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
        self.demand.set_wanted(wanted);
        if let Some(remote) = self.demand.remote.get() {
            if self.obeyed != Some(wanted) {
                self.obeyed = Some(wanted);
                remote.set_wanted(wanted);
            }
        }
    }
}

/// What has been sent so far.
fn sent(stats: &StreamStats, responder: &Responder) -> Sent {
    let stats = &stats.sender;
    Sent {
        packets: stats.packets_sent.get(),
        octets: stats.octets_sent.get(),
        bytes: stats.bytes_sent.get(),
        highest: responder.highest(),
    }
}
