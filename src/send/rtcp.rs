//! One stream's RTCP: a thread beside the stream's own, which sends its reports, hears its viewers, and says
//! whether anybody watches. The stream's thread reads and writes atomics only; nothing here makes it wait.

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

/// How often the counters are looked at, silent viewers are taken out, and the network is looked after.
const TICK: Duration = Duration::from_secs(1);
/// The longest that a goodbye is waited for: the stop has one second in all.
const BYE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a source stays open after the last viewer has left: for one that merely starts again.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// Datagrams heard in one tick; a flood of more waits in the kernel, which drops what does not fit.
const MAX_PER_TICK: u32 = 4_000;

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
    rope: BellRope,
    thread: JoinHandle<SenderSide>,
}

impl Reporter {
    /// Starts the thread. `before`: the viewers of the same stream as it ran until now.
    ///
    /// # Errors
    /// No thread or no descriptors may be had.
    pub(super) fn start(
        config: &Stream,
        identity: Identity,
        before: Option<SenderSide>,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
        responder: Responder,
    ) -> Result<Reporter> {
        let (bell, rope) = Bell::new().context("no descriptors are left")?;
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
            told: (0, now),
            was_watched: false,
            watched_at: now,
            obeyed: None,
            heard: 0,
        };
        let span = stream_span(&config.name);
        let thread = std::thread::Builder::new()
            .name("lancam-rtcp".to_owned())
            .spawn(move || span.in_scope(|| rtcp.run(&bell)))
            .context("a thread could not be started")?;
        Ok(Reporter { end, rope, thread })
    }

    /// Ends the thread; gives what it knows of the viewers.
    pub(super) fn end(self, how: End) -> SenderSide {
        self.end.store(how as u8 + 1, Ordering::Relaxed);
        self.rope.pull();
        join(self.thread)
    }
}

fn options(config: &Stream) -> ReportOptions {
    // RFC 3550 §11; the config has seen to it that this port exists.
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
    /// The way out as it was seen last.
    way: Option<Interface>,
    /// `None` while the network is down.
    socket: Option<ReportSocket>,
    has_complained: bool,
    /// How many viewers were told of, and from when on it may be told again.
    told: (usize, Mono),
    /// Whether anybody has reported on this way.
    was_watched: bool,
    /// When somebody watched last.
    watched_at: Mono,
    /// What the camera was told last.
    obeyed: Option<bool>,
    /// Datagrams in this tick.
    heard: u32,
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
        self.heard = 0;
        let sent = self.sent();
        let responder = &mut self.responder;
        responder.tick(now);
        (self.side).tick(now, sent, |feedback| responder.heard(now, feedback));
        self.was_watched |= self.side.viewers() > 0;
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
        match viewers {
            1 => info!("1 viewer reports"),
            _ => info!("{viewers} viewers report"),
        }
    }

    /// A cable that is plugged in after the start, an address by DHCP, a default route that moved before anybody watched:
    /// packets would go on leaving by the old way, without an error. The reports take the same way.
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
            // Where somebody has watched, the stream stays.
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
    fn listen(&mut self, limit: Duration, bell: &Bell) {
        let Some(socket) = self.socket.as_mut().filter(|_| self.heard < MAX_PER_TICK) else {
            // Woken, or the time is over: both are looked at by the caller.
            let limit = limit.max(Duration::from_millis(1));
            let _ = bell.wait([], limit);
            return;
        };
        let (side, responder, heard) = (&mut self.side, &mut self.responder, &mut self.heard);
        let stats = &self.stats;
        let result = socket.receive(limit, bell, |from, datagram| {
            *heard += 1;
            let now = Mono::now();
            let sent = sent(stats, responder);
            let taken = side.receive(now, sent, from, datagram, |f| responder.heard(now, f));
            stats.sender.reports_invalid.add(u64::from(taken.is_err()));
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
        self.demand.set_wanted(wanted);
        if let Some(remote) = self.demand.remote.get() {
            if self.obeyed != Some(wanted) {
                self.obeyed = Some(wanted);
                remote.set_wanted(wanted);
            }
        }
    }
}

/// What was sent so far.
fn sent(stats: &StreamStats, responder: &Responder) -> Sent {
    let stats = &stats.sender;
    Sent {
        packets: stats.packets_sent.get(),
        octets: stats.octets_sent.get(),
        bytes: stats.bytes_sent.get(),
        highest: responder.highest(),
    }
}
