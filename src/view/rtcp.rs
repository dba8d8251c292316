//! A viewer's RTCP: a thread that sends receiver reports and reads senders' packets. It shares
//! [`Link`] with the receiving thread: reception one way, BYEs the other, through atomics alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_queue::ArrayQueue;
use tracing::{debug, info};

use super::shared::Shared;
use super::wanted::Wanted;
use crate::clock::Mono;
use crate::host;
use crate::net::thread::join;
use crate::net::{Bell, BellRope, GroupError, ReportOptions, ReportSocket, SendOptions};
use crate::rtp::reception::Reception;
use crate::rtp::rtcp::viewer::{Counts, Outgoing};
use crate::rtp::rtcp::{Due, FrameReport, ViewerSide, wire};
use crate::rtp::{SeqNo, Ssrc};

/// The TOOL item of the viewer's SDES.
const TOOL: &str = "lancam view";
/// How often to check whether there is more to report than usual.
const LOOK: Duration = Duration::from_millis(200);
/// How old figures may be when sending a NACK.
const FRESH: Duration = Duration::from_millis(20);
/// How often to refresh the sockets.
const REFRESH: Duration = Duration::from_secs(1);
/// How long a BYE is remembered: packets sent before it may still arrive.
const BYE_LASTS: Duration = Duration::from_secs(2);
/// How long to wait for our own BYE to be sent.
const BYE_PATIENCE: Duration = Duration::from_millis(300);
/// A request for a packet is of no use after this.
const WISH_LASTS: Duration = Duration::from_millis(250);

/// Shared by the receiving thread and the RTCP thread. Neither waits for the other.
#[derive(Debug)]
pub(super) struct Link {
    reception: Published,
    /// Who sent a BYE, plus [`IS_SET`]; 0: nobody.
    bye: AtomicU64,
    missing: ArrayQueue<Wish>,
    rope: BellRope,
}

const IS_SET: u64 = 1 << 32;

/// A packet to request again.
#[derive(Clone, Copy, Debug)]
struct Wish {
    at: Mono,
    media: Ssrc,
    seq: SeqNo,
}

/// A [`Reception`] that one thread writes and another reads consistently (a seqlock): a read counts
/// only if `writes`, odd during a write, did not change meanwhile.
#[derive(Debug, Default)]
struct Published {
    writes: AtomicU32,
    ssrc: AtomicU32,
    /// As an IPv6 address, in halves.
    address: [AtomicU64; 2],
    highest: AtomicU32,
    jitter: AtomicU32,
    expected: AtomicU64,
    received: AtomicU64,
}

impl Published {
    fn write(&self, r: &Reception) {
        let writes = self.writes.load(Ordering::Relaxed);
        self.writes.store(writes.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.ssrc.store(r.ssrc.0, Ordering::Relaxed);
        let bits = match r.address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        self.address[0].store((bits >> 64) as u64, Ordering::Relaxed);
        self.address[1].store(bits as u64, Ordering::Relaxed);
        self.highest.store(r.highest, Ordering::Relaxed);
        self.jitter.store(r.jitter, Ordering::Relaxed);
        self.expected.store(r.expected, Ordering::Relaxed);
        self.received.store(r.received, Ordering::Relaxed);
        self.writes.store(writes.wrapping_add(2), Ordering::Release);
    }

    /// `None` before the first write and during a write.
    fn read(&self) -> Option<Reception> {
        let before = self.writes.load(Ordering::Acquire);
        let [high, low] = [0, 1].map(|i| u128::from(self.address[i].load(Ordering::Relaxed)));
        let reception = Reception {
            ssrc: Ssrc(self.ssrc.load(Ordering::Relaxed)),
            address: IpAddr::V6((high << 64 | low).into()).to_canonical(),
            highest: self.highest.load(Ordering::Relaxed),
            expected: self.expected.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            jitter: self.jitter.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let is_whole = before % 2 == 0 && self.writes.load(Ordering::Relaxed) == before;
        (is_whole && reception.received > 0).then_some(reception)
    }
}

impl Link {
    /// Publishes what was received so far; called for each batch.
    pub(super) fn publish(&self, reception: &Reception) {
        self.reception.write(reception);
    }

    /// The sender that recently sent a BYE, remembered for a while since earlier packets may arrive
    /// after it.
    pub(super) fn bye(&self) -> Option<Ssrc> {
        let bye = self.bye.load(Ordering::Relaxed);
        (bye != 0).then_some(Ssrc(bye as u32))
    }

    /// Requests packets of `media` with a NACK as soon as RTCP's rules allow: at once in a small
    /// group. A request that cannot be sent within [`WISH_LASTS`] is dropped, as are those beyond
    /// [`wire::MAX_NACKED`] queued at a time. One system call for all of `missing`.
    pub(super) fn ask_for(&self, now: Mono, media: Ssrc, missing: impl Iterator<Item = SeqNo>) {
        for seq in missing {
            let wish = Wish {
                at: now,
                media,
                seq,
            };
            if self.missing.push(wish).is_err() {
                break;
            }
        }
        self.ring();
    }

    fn ring(&self) {
        self.rope.pull();
    }
}

/// The RTCP thread.
pub(super) struct Reporter {
    link: Arc<Link>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Starts the thread for the wanted stream.
    ///
    /// # Errors
    /// No thread or descriptor is available. A busy port is logged, not an error.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Reporter> {
        let (bell, rope) = Bell::new().context("no file descriptors are left")?;
        let link = Arc::new(Link {
            reception: Published::default(),
            bye: AtomicU64::new(0),
            missing: ArrayQueue::new(wire::MAX_NACKED),
            rope,
        });
        let now = Mono::now();
        let wanted = shared.wanted.get();
        let worker = Worker {
            side: side(now),
            choice: wanted.choice,
            options: options(&wanted),
            socket: None,
            interface: None,
            has_complained: false,
            link: Arc::clone(&link),
            shared: Arc::clone(shared),
            bye_until: now,
            looked: now,
        };
        let thread = super::threads::spawn("lancam-reports", move || worker.run(&bell))?;
        Ok(Reporter { link, thread })
    }

    /// The receiving thread's end.
    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Waits for the thread, which sends a BYE once the viewer is over.
    pub(super) fn join(self) {
        self.link.ring();
        join(self.thread);
    }
}

fn side(now: Mono) -> ViewerSide {
    let own = Ssrc(host::random() as u32);
    ViewerSide::new(own, host::description(TOOL), host::random(), now)
}

/// `None`: there is no port above the stream's.
fn options(wanted: &Wanted) -> Option<ReportOptions> {
    let receive = &wanted.receive;
    let mut group = receive.group;
    group.set_port(group.port().checked_add(1)?);
    let defaults = SendOptions::new(group);
    Some(ReportOptions {
        send: SendOptions {
            interface: receive.interface.clone(),
            ttl: wanted.ttl.unwrap_or(defaults.ttl),
            ..defaults
        },
        hear: Some(group),
        source: receive.source,
        claims_port: false,
    })
}

/// What the thread owns.
struct Worker {
    side: ViewerSide,
    /// [`Wanted::choice`] of the stream that is reported on.
    choice: u32,
    options: Option<ReportOptions>,
    /// `None` while the network is down.
    socket: Option<ReportSocket>,
    /// Index of the interface used last.
    interface: Option<u32>,
    has_complained: bool,
    link: Arc<Link>,
    shared: Arc<Shared>,
    bye_until: Mono,
    looked: Mono,
}

impl Worker {
    fn run(mut self, bell: &Bell) {
        let (mut look_at, mut refresh_at) = (Mono(0), Mono(0));
        let mut leave_until = None;
        loop {
            let now = Mono::now();
            if now >= refresh_at {
                refresh_at = now + REFRESH;
                self.connect();
            }
            if now >= look_at {
                look_at = now + LOOK;
                self.look(now);
            }
            self.take_wishes(now);
            if self.shared.is_over() {
                if leave_until.is_none() {
                    // The last report has all figures.
                    self.look(now);
                }
                let until = *leave_until.get_or_insert(now + BYE_PATIENCE);
                if !self.side.leave(now) || now >= until {
                    return;
                }
            }
            if self.report(now) == Some(Due::Bye) {
                return;
            }
            let next = self.side.deadline().min(look_at);
            let limit = next.since(Mono::now());
            self.listen(limit, bell);
        }
    }

    fn look(&mut self, now: Mono) {
        self.looked = now;
        let stats = self.shared.stats.snapshot();
        let saturate = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let delay = self.shared.delay.total().map(|d| (d.p50 * 10.0) as u16);
        let missing = stats.packets_lost.saturating_sub(stats.packets_repaired);
        self.side.update(
            now,
            Counts {
                reception: self.link.reception.read(),
                frames: FrameReport {
                    media: Ssrc(0),
                    whole: saturate(stats.frames_whole),
                    repaired: saturate(stats.frames_repaired),
                    lost: saturate(stats.frames_lost + stats.frames_partial),
                    missing: saturate(missing),
                    delay,
                },
                bytes: stats.bytes_received,
            },
        );
        if now >= self.bye_until {
            self.link.bye.store(0, Ordering::Relaxed);
        }
    }

    fn take_wishes(&mut self, now: Mono) {
        let mut missing = Vec::new();
        while let Some(wish) = self.link.missing.pop() {
            if self.side.followed() != Some(wish.media) || now.since(self.looked) > FRESH {
                self.look(now);
            }
            if now.since(wish.at) < WISH_LASTS && self.side.followed() == Some(wish.media) {
                missing.push(wish.seq);
            }
        }
        if !missing.is_empty() {
            self.side.request_packets(now, &missing);
        }
    }

    fn connect(&mut self) {
        let wanted = self.shared.wanted.get();
        if wanted.choice != self.choice {
            self.choice = wanted.choice;
            self.leave();
        }
        let options = options(&wanted);
        if options != self.options {
            (self.options, self.socket) = (options, None);
        }
        let Some(options) = &self.options else { return };
        let result = match &mut self.socket {
            Some(socket) => socket.refresh(self.shared.is_streaming()).map(|_| None),
            None => {
                let opened = ReportSocket::open(options.clone(), self.interface);
                opened.map(|(socket, deaf)| {
                    self.socket = Some(socket);
                    deaf
                })
            }
        };
        if let Some(socket) = &self.socket {
            self.interface = Some(socket.interface().index);
        }
        match result {
            Ok(None) => self.has_complained = false,
            Ok(Some(error)) | Err(error) => self.complain(&error),
        }
    }

    /// Leaves the session of a stream that is no longer watched, with a BYE if it may be sent at
    /// once (RFC 3550 §6.3.7), and gets ready for another.
    fn leave(&mut self) {
        let now = Mono::now();
        if self.side.leave(now) {
            while self.report(now).is_some_and(|due| due != Due::Bye) {}
        }
        self.side = side(now);
    }

    fn complain(&mut self, error: &GroupError) {
        if !std::mem::replace(&mut self.has_complained, true) {
            info!("senders' reports cannot be received: {error}");
        }
    }

    /// Sends what is due.
    fn report(&mut self, now: Mono) -> Option<Due> {
        let (due, Outgoing { bytes, to }) = self.side.poll(now)?;
        let Some(options) = &self.options else {
            return Some(due);
        };
        // To the group, unless the stream is unicast or only its source may send there.
        let to = match has_members(options) {
            true => to,
            false => match self.side.address_of_sender() {
                Some(sender) => Some(sender),
                None => return Some(due),
            },
        };
        if let Some(Err(error)) = self.socket.as_ref().map(|s| s.send(to, &bytes)) {
            debug!("an RTCP packet was not sent: {error}");
        }
        Some(due)
    }

    fn listen(&mut self, limit: Duration, bell: &Bell) {
        let Some(socket) = &mut self.socket else {
            std::thread::sleep(limit.min(LOOK));
            return;
        };
        let (side, link, shared) = (&mut self.side, &self.link, &self.shared);
        let bye_until = &mut self.bye_until;
        let result = socket.receive(limit, bell, |from, datagram| {
            let now = Mono::now();
            let followed = link.reception.read();
            let taken = side.receive(now, from, datagram, followed.as_ref(), |ssrc| {
                let bye = IS_SET | u64::from(ssrc.0);
                link.bye.store(bye, Ordering::Relaxed);
                *bye_until = now + BYE_LASTS;
            });
            match taken {
                Ok(foreign) => shared.stats.packets_foreign.add(foreign),
                Err(_) => shared.stats.reports_invalid.add(1),
            }
        });
        if let Err(error) = result {
            debug!("the RTCP sockets are reopened: {error}");
            self.socket = None;
        }
    }
}

/// Whether packets to the stream's address reach the sender: not with unicast, nor with
/// source-specific multicast (RFC 5760 §1).
fn has_members(options: &ReportOptions) -> bool {
    let group: SocketAddr = options.send.group;
    let is_specific = match group.ip() {
        IpAddr::V4(v4) => v4.octets()[0] == 232,
        IpAddr::V6(v6) => v6.segments()[0] & 0xfff0 == 0xff30,
    };
    group.ip().is_multicast() && !is_specific && options.source.is_none()
}
