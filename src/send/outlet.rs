//! The way out of one stream: packetizer, socket and pacing. It outlives its socket: when the network
//! goes, frames are dropped, never queued, and the socket is made anew.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tracing::{debug, info, warn};

use super::announce::Told;
use super::description::{self, Facts};
use super::feedback::Steering;
use super::reports::{Demand, Subject};
use crate::clock::{Mono, Ntp};
use crate::config::check::REPAIR_PORT_OFFSET;
use crate::config::{Repair, Stream};
use crate::host;
use crate::jpeg::Picture;
use crate::net::pacing::{self, Load, Pacer};
use crate::net::{BatchSender, SendError, SendOptions, SendSocket, Sent};
use crate::rtp::header::{FRAME_EXTENSION_LEN, HEADER_LEN};
use crate::rtp::jpeg::Packetizer;
use crate::rtp::repair::wire::AGAIN_HEADER;
use crate::rtp::repair::{Parity, largest_packet};
use crate::rtp::{RepairEncoder, RtpTime, SeqNo, Ssrc};
use crate::stats::SenderStats;

/// ffmpeg's receiver reads no RTP packet above 8,192 bytes, whatever the MTU (RTP_MAX_PACKET_LENGTH
/// in its libavformat/rtp.h).
const LARGEST_DEFAULT_DATAGRAM: usize = 8_192;
/// How often a socket is tried again while the network is down.
const RETRY: Duration = Duration::from_millis(500);
/// Taken for the frame interval before two frames have told it.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(33);
/// Frames further apart than this say nothing about the rate.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// What a receiver knows a sender by; it stays when sockets and settings change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    ssrc: Ssrc,
    next_seq: SeqNo,
    /// Added to capture times, so that timestamps start anywhere. RFC 3550 §5.1.
    time_offset: u32,
    /// The number of its session in SDP.
    pub(super) session: u64,
}

impl Identity {
    /// Numbers that no other sender has, as RFC 3550 §8.1 asks.
    pub(super) fn random() -> Identity {
        let ssrc = host::random() as u32;
        // RFC 8866 §5.2 recommends a timestamp; the SSRC tells streams apart that began in the same second.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        Identity {
            ssrc: Ssrc(ssrc),
            next_seq: SeqNo(host::random() as u16),
            time_offset: host::random() as u32,
            session: seconds << 32 | u64::from(ssrc),
        }
    }

    /// What its reports tell.
    pub(super) fn subject(&self) -> Subject {
        Subject {
            ssrc: self.ssrc,
            time_offset: self.time_offset,
        }
    }
}

/// Where a stream's pictures leave.
pub(super) struct Outlet {
    options: SendOptions,
    /// Largest IP packet that the config asks for; `None`: what the interface takes.
    mtu: Option<u16>,
    packetizer: Packetizer,
    time_offset: u32,
    session: u64,
    pacing: pacing::Pacing,
    pacer: Pacer,
    sender: Option<BatchSender>,
    /// `None`: no repair packets.
    repair: Option<RepairOutlet>,
    /// How much of them, and where frames are laid down that may be asked for again.
    steering: Arc<Steering>,
    retry_at: Mono,
    /// Why nothing could be sent lately, as it was told.
    outage: Option<String>,
    /// Says when the way out is another one.
    demand: Arc<Demand>,
    rate: FrameRate,
    size: Option<(u32, u32)>,
    has_told_size: bool,
    /// Who is told what the stream turns out to be.
    told: Option<Told>,
}

impl Outlet {
    /// Opens the socket.
    ///
    /// # Errors
    /// If it cannot be opened; what is wrong then is more likely the config than the network.
    pub(super) fn open(
        config: &Stream,
        identity: Identity,
        demand: Arc<Demand>,
        steering: Arc<Steering>,
    ) -> Result<Outlet> {
        let mut outlet = Outlet {
            options: options(config),
            mtu: config.mtu,
            packetizer: Packetizer::new(identity.ssrc, identity.next_seq, 0),
            time_offset: identity.time_offset,
            session: identity.session,
            pacing: config.pacing,
            pacer: Pacer::new(),
            sender: None,
            repair: (config.repair != Repair::Off).then(RepairOutlet::default),
            steering,
            retry_at: Mono(0),
            outage: None,
            demand,
            rate: FrameRate::default(),
            size: None,
            has_told_size: false,
            told: None,
        };
        outlet.connect()?;
        if !config.group.ip().is_multicast() {
            info!(
                "{} is one machine's address, not a multicast group: only that machine can watch",
                config.group
            );
        }
        Ok(outlet)
    }

    /// Makes the socket anew.
    fn connect(&mut self) -> Result<()> {
        let socket = SendSocket::open(&self.options)?;
        let mut datagram = self.datagram(&socket);
        if let Some(repair) = &mut self.repair {
            repair.connect(&self.options)?;
            // A parity packet holds a whole packet and more, and must fit too.
            datagram = largest_packet(datagram);
        } else if self.steering.shelf.is_some() {
            datagram -= AGAIN_HEADER.len();
        }
        self.packetizer.set_max_datagram(datagram);
        self.sender = Some(BatchSender::new(socket));
        Ok(())
    }

    /// UDP payload that fits: the interface's, less what the config or other receivers ask for.
    fn datagram(&self, socket: &SendSocket) -> usize {
        let headers = if self.options.group.is_ipv6() { 48 } else { 28 };
        let wanted = self
            .mtu
            .map_or(LARGEST_DEFAULT_DATAGRAM, |mtu| usize::from(mtu) - headers);
        socket.max_datagram().min(wanted)
    }

    /// For a log line: `224.3.29.71:10000 on eth0, 1472-byte packets`.
    pub(super) fn describe(&self) -> String {
        let interface = self
            .sender
            .as_ref()
            .map_or("no interface", |s| &s.socket().interface().name);
        format!(
            "{} on {interface}, {}-byte packets",
            self.options.group,
            self.packetizer.max_datagram()
        )
    }

    /// What the stream is known by, for the outlet that comes after this one.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            ssrc: self.packetizer.ssrc(),
            next_seq: self.packetizer.next_seq(),
            time_offset: self.time_offset,
            session: self.session,
        }
    }

    /// The address that viewers see as the sender's.
    pub(super) fn origin(&self) -> Option<IpAddr> {
        let socket = self.sender.as_ref()?.socket();
        let is_ipv6 = socket.group().is_ipv6();
        Some(description::origin(socket.interface(), is_ipv6))
    }

    /// From now on `told` hears what the stream turns out to be.
    pub(super) fn tell(&mut self, told: Told) {
        self.told = Some(told);
    }

    /// Width and height of the last picture in pixels.
    pub(super) fn picture_size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Sends one picture, spread over time as the pacing says; returns when its last packet is with the
    /// kernel. What cannot be sent is counted and dropped.
    pub(super) fn send(
        &mut self,
        picture: &Picture<'_>,
        captured: Mono,
        interval: Option<Duration>,
        stats: &SenderStats,
    ) {
        self.size = Some((picture.width.into(), picture.height.into()));
        let promised = interval;
        let interval = self.rate.interval(captured, interval);
        if self.sender.is_some() && self.demand.take_move() {
            self.follow();
        }
        if self.sender.is_none() && !self.reconnect() {
            stats.frames_dropped.add(1);
            return;
        }
        if let Some(told) = &mut self.told {
            told.tell(Facts {
                size: Some((picture.width, picture.height)),
                interval: promised,
            });
        }
        let Some(sender) = &mut self.sender else {
            return;
        };
        let time = RtpTime(
            RtpTime::from_nanos(captured.0)
                .0
                .wrapping_add(self.time_offset),
        );
        let plan = match self
            .packetizer
            .plan(picture, time, Some(Ntp::from(captured.to_wall())))
        {
            Ok(plan) => plan,
            Err(error) => {
                stats.frames_dropped.add(1);
                if !std::mem::replace(&mut self.has_told_size, true) {
                    warn!("a frame cannot be sent: {error}");
                }
                return;
            }
        };
        let packets = plan.packets.len();
        let parity = match &self.repair {
            Some(_) => Parity::of(plan, self.steering.share()),
            None => Parity::default(),
        };
        self.steering.sent(packets, interval);
        let load = Load {
            bytes: plan.headers.len() + picture.scan.len() + parity.bytes(),
            packets: packets + parity.packets,
            interval,
        };
        let schedule = pacing::schedule(self.pacing, sender.socket().interface().link, load);
        for burst in schedule.bursts(packets) {
            self.pacer.wait(schedule.gap);
            let is_first = burst.start == 0;
            match sender.send(plan, picture.scan, burst) {
                Ok(sent) => {
                    count(stats, &sent, is_first);
                    // In the pause before the second burst, or behind the only one: no packet waits for this copy, and
                    // it is there before the first request.
                    if let Some(shelf) = self.steering.shelf.as_ref().filter(|_| is_first) {
                        shelf.keep(plan, picture.scan);
                    }
                }
                Err(error) => {
                    count(stats, &error.sent, is_first);
                    stats.frames_dropped.add(1);
                    self.lose(&error, stats);
                    return;
                }
            }
        }
        // Behind the frame and in bursts of its own: what takes one of them leaves the others, and a
        // frame that needs no repair has not waited for it.
        if let Some(repair) = &mut self.repair {
            repair.encoder.encode(plan, picture.scan, parity);
            for burst in schedule.bursts(parity.packets) {
                self.pacer.wait(schedule.gap);
                if let Err(error) = repair.send(burst, stats) {
                    self.lose(&error, stats);
                    break;
                }
            }
        }
        stats.frames_sent.add(1);
        // By the gauge, which outlives this outlet: one that a reload has made says so too.
        if stats.offline.get() > 0 && self.sender.is_some() {
            stats.offline.set(0);
            self.outage = None;
            info!("the network is back: {}", self.describe());
        }
    }

    /// After a refused send: the socket is made anew, now and then, until it works again. Told once for each reason.
    fn lose(&mut self, error: &SendError, stats: &SenderStats) {
        stats.send_errors.add(1);
        stats.offline.set(1);
        let why = error.to_string();
        if self.outage.as_ref() != Some(&why) {
            warn!("{why}; frames are dropped until the network is back");
            self.outage = Some(why);
        }
        self.sender = None;
        if let Some(repair) = &mut self.repair {
            repair.sender = None;
        }
        self.retry_at = Mono::now() + RETRY;
    }

    /// Goes on by the way that packets take now. Where that does not work yet, the old sockets are as good.
    fn follow(&mut self) {
        match self.connect() {
            Ok(()) => info!("the network has changed: {}", self.describe()),
            Err(error) => debug!("{error:#}"),
        }
    }

    fn reconnect(&mut self) -> bool {
        if Mono::now() < self.retry_at {
            return false;
        }
        self.retry_at = Mono::now() + RETRY;
        if let Err(error) = self.connect() {
            debug!("{error:#}");
            return false;
        }
        true
    }
}

/// How a stream's packets leave.
pub(super) fn options(config: &Stream) -> SendOptions {
    SendOptions {
        group: config.group,
        interface: config.interface.clone(),
        ttl: config.ttl,
        loopback: config.loopback,
        dscp: config.dscp,
    }
}

/// How its repair packets do.
pub(super) fn repair_options(stream: &SendOptions) -> SendOptions {
    let mut options = stream.clone();
    // The config has seen to it that this port exists.
    options
        .group
        .set_port(stream.group.port() + REPAIR_PORT_OFFSET);
    options
}

/// Where a stream's repair packets leave.
#[derive(Default)]
struct RepairOutlet {
    encoder: RepairEncoder,
    sender: Option<BatchSender>,
}

impl RepairOutlet {
    /// Opens the socket beside that of a stream.
    fn connect(&mut self, stream: &SendOptions) -> Result<()> {
        let options = repair_options(stream);
        self.sender = Some(BatchSender::new(SendSocket::open(&options)?));
        Ok(())
    }

    /// Sends some of the parity packets that were made last.
    fn send(&mut self, burst: Range<usize>, stats: &SenderStats) -> Result<(), SendError> {
        let Some(sender) = &mut self.sender else {
            return Ok(());
        };
        let result = sender.send_datagrams(self.encoder.datagrams(burst));
        let sent = result.as_ref().map_or_else(|e| e.sent, |sent| *sent);
        stats.repair_packets_sent.add(sent.packets as u64);
        stats.bytes_sent.add(sent.bytes as u64);
        result.map(|_| ())
    }
}

fn count(stats: &SenderStats, sent: &Sent, has_first_packet: bool) {
    stats.packets_sent.add(sent.packets as u64);
    stats.bytes_sent.add(sent.bytes as u64);
    let extension = usize::from(has_first_packet) * FRAME_EXTENSION_LEN;
    let headers = sent.packets * HEADER_LEN + extension;
    stats
        .octets_sent
        .add(sent.bytes.saturating_sub(headers) as u64);
}

/// The time from frame to frame, as the source promises it or as it is seen.
#[derive(Default)]
struct FrameRate {
    last: Option<Mono>,
    seen: Option<Duration>,
}

impl FrameRate {
    fn interval(&mut self, captured: Mono, promised: Option<Duration>) -> Duration {
        if let Some(step) = self.last.replace(captured).map(|last| captured.since(last)) {
            if !step.is_zero() && step < LONGEST_INTERVAL {
                self.seen = Some(step);
            }
        }
        promised.or(self.seen).unwrap_or(DEFAULT_INTERVAL)
    }
}
