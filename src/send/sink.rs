//! Where one stream goes out: packetizer, socket and pacing. It outlives its socket: when the
//! network goes down, frames are dropped, never queued, and the socket is reopened.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tracing::{debug, info, warn};

use super::announce::Publication;
use super::description::{self, MediaInfo};
use super::identity::Identity;
use super::shared::{Demand, Steering};
use crate::clock::{Mono, Ntp};
use crate::config::{Repair, Stream};
use crate::jpeg::Picture;
use crate::net::pacing::{self, Load, Pacer};
use crate::net::{BatchSender, SendError, SendOptions, SendSocket, Sent, choice};
use crate::rtp::header::{FRAME_EXTENSION_LEN, HEADER_LEN};
use crate::rtp::jpeg::Packetizer;
use crate::rtp::repair::wire::RETRANSMISSION_HEADER;
use crate::rtp::repair::{self, Parity, largest_packet};
use crate::rtp::{RepairEncoder, RtpTime, SeqNo};
use crate::stats::SenderStats;

/// ffmpeg's receiver reads no RTP packet above 8,192 bytes, whatever the MTU (RTP_MAX_PACKET_LENGTH
/// in its libavformat/rtp.h).
const LARGEST_DEFAULT_DATAGRAM: usize = 8_192;
/// How often to retry a socket while the network is down.
const RETRY: Duration = Duration::from_millis(500);
/// Assumed frame interval until two frames have been sent.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(33);
/// Frames further apart than this say nothing about the rate.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// Where a stream's pictures go out.
pub(super) struct Sink {
    options: SendOptions,
    /// Largest IP packet according to the config; `None`: what the interface takes.
    mtu: Option<u16>,
    packetizer: Packetizer,
    time_offset: u32,
    session: u64,
    pacing: pacing::Pacing,
    pacer: Pacer,
    sender: Option<BatchSender>,
    /// `None`: no repair packets.
    repair: Option<RepairSink>,
    /// Their number, and the frames kept for retransmission.
    steering: Arc<Steering>,
    retry_at: Mono,
    /// Why nothing can be sent, as logged; `None`: all is well.
    outage: Option<String>,
    /// Signals that the route changed.
    demand: Arc<Demand>,
    rate: FrameRate,
    size: Option<(u32, u32)>,
    has_told_size: bool,
    /// Its description, once published.
    publication: Option<Publication>,
}

impl Sink {
    /// Opens the socket.
    ///
    /// # Errors
    /// If it cannot be opened; the config is more likely wrong than the network.
    pub(super) fn open(
        config: &Stream,
        identity: Identity,
        demand: Arc<Demand>,
        steering: Arc<Steering>,
    ) -> Result<Sink> {
        let mut sink = Sink {
            options: config.send_options(),
            mtu: config.mtu,
            packetizer: Packetizer::new(identity.ssrc, identity.next_seq, 0),
            time_offset: identity.time_offset,
            session: identity.session,
            pacing: config.pacing,
            pacer: Pacer::new(),
            sender: None,
            repair: (config.repair != Repair::Off).then(RepairSink::default),
            steering,
            retry_at: Mono(0),
            outage: None,
            demand,
            rate: FrameRate::default(),
            size: None,
            has_told_size: false,
            publication: None,
        };
        sink.connect()?;
        let interface = sink.sender.as_ref().map(|s| s.socket().interface());
        if let Some(why) = interface.and_then(|i| i.smaller_than(config.mtu)) {
            warn!("{why}: smaller ones are sent");
        }
        if !config.group.ip().is_multicast() {
            info!(
                "{} is one machine's address, not a multicast group: only that machine can watch",
                config.group
            );
        }
        Ok(sink)
    }

    /// Reopens the socket.
    fn connect(&mut self) -> Result<()> {
        let socket = SendSocket::open_on(&self.options, self.demand.interface())?;
        let index = socket.interface().index;
        let mut datagram = self.datagram(&socket);
        if let Some(repair) = &mut self.repair {
            repair.connect(&self.options, index)?;
            // A parity packet holds a whole packet and more, and must fit too.
            datagram = largest_packet(datagram);
        } else if self.steering.retransmit.is_some() {
            datagram -= RETRANSMISSION_HEADER.len();
        }
        self.packetizer.set_max_datagram(datagram);
        self.demand.set_interface(index);
        self.sender = Some(BatchSender::new(socket));
        Ok(())
    }

    /// The UDP payload that fits: the interface's, limited by the config and by what other
    /// receivers can take.
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

    /// Logs where the pictures of `source` go.
    pub(super) fn introduce(&self, source: &str) {
        let group = self.options.group;
        let where_to = format!("{source} to {}", self.describe());
        let interface = self.sender.as_ref().map(|s| s.socket().interface());
        match interface.filter(|_| self.options.interface.is_none()) {
            Some(i) if i.is_loopback && group.ip().is_multicast() => warn!(
                "{where_to}: no network is up, so only this machine can watch; the stream goes out as soon as there is one"
            ),
            Some(i) => info!("{where_to}{}", choice::describe_alternatives(i, group)),
            None => info!("{where_to}"),
        }
    }

    /// The stream's identity, for the next sink.
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

    /// Keeps `publication` up to date from now on.
    pub(super) fn publish(&mut self, publication: Publication) {
        self.publication = Some(publication);
    }

    /// Width and height of the last picture in pixels.
    pub(super) fn picture_size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Sends one picture, spread over time according to the pacing; returns when its last packet is
    /// with the kernel. What cannot be sent is counted and dropped.
    pub(super) fn send(
        &mut self,
        picture: &Picture<'_>,
        captured: Mono,
        promised: Option<Duration>,
        stats: &SenderStats,
    ) {
        self.size = Some((picture.width.into(), picture.height.into()));
        let interval = self.rate.interval(captured, promised);
        if self.sender.is_some() && self.demand.take_move() {
            self.follow();
        }
        if self.sender.is_none() && !self.reconnect() {
            stats.frames_dropped.add(1);
            return;
        }
        if let Some(publication) = &mut self.publication {
            publication.update(MediaInfo {
                size: Some((picture.width, picture.height)),
                interval: promised,
            });
        }
        let ticks = RtpTime::from_nanos(captured.0).0;
        let time = RtpTime(ticks.wrapping_add(self.time_offset));
        let captured = Some(Ntp::from(captured.to_wall()));
        if let Err(error) = self.packetizer.plan(picture, time, captured) {
            stats.frames_dropped.add(1);
            if !std::mem::replace(&mut self.has_told_size, true) {
                warn!("a frame cannot be sent: {error}");
            }
            return;
        }
        if let Err(error) = self.transmit(picture.scan, interval, stats) {
            self.lose(&error, stats);
            return;
        }
        // The gauge outlives this sink, so an outage also ends after a reload.
        if stats.offline.get() > 0 && self.sender.is_some() {
            stats.offline.set(0);
            self.outage = None;
            info!("the network is back: {}", self.describe());
        }
    }

    /// Sends the frame planned last, then its parity: after the frame, in bursts of its own, so
    /// that one loss does not hit both and a frame that needs no repair does not wait for it.
    fn transmit(
        &mut self,
        scan: &[u8],
        interval: Duration,
        stats: &SenderStats,
    ) -> Result<(), SendError> {
        let Some(sender) = &mut self.sender else {
            return Ok(());
        };
        let plan = self.packetizer.planned();
        let packets = plan.packets.len();
        let parity = match &self.repair {
            Some(_) => Parity::of(plan, self.steering.share()),
            None => Parity::default(),
        };
        let highest = SeqNo(
            plan.first_seq
                .0
                .wrapping_add(packets as u16)
                .wrapping_sub(1),
        );
        self.steering.sent(packets, highest, interval);
        let load = Load {
            bytes: plan.headers.len() + scan.len() + parity.bytes(),
            packets: packets + parity.packets,
            interval,
        };
        let schedule = pacing::schedule(self.pacing, sender.socket().interface().link, load);
        for burst in schedule.bursts(packets) {
            self.pacer.wait(schedule.gap);
            let is_first = burst.start == 0;
            let result = sender.send(plan.packets(burst, scan));
            count(stats, &sent(&result), is_first);
            if let Err(error) = result {
                stats.frames_dropped.add(1);
                return Err(error);
            }
            // In the pause before the second burst, or after the only one: no packet waits for this
            // copy, and it is there before the first request.
            if let Some(queue) = self.steering.retransmit.as_ref().filter(|_| is_first) {
                queue.store(plan, scan);
            }
        }
        stats.frames_sent.add(1);
        let Some(repair) = &mut self.repair else {
            return Ok(());
        };
        repair.encoder.encode(plan, scan, parity);
        for burst in schedule.bursts(parity.packets) {
            self.pacer.wait(schedule.gap);
            repair.send(burst, stats)?;
        }
        Ok(())
    }

    /// After a refused send: retries the socket at intervals until it works. Each reason is logged
    /// once.
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

    /// Reopens the sockets after the route changed. If that does not work yet, the old ones stay.
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

/// Where a stream's repair packets go out.
#[derive(Default)]
struct RepairSink {
    encoder: RepairEncoder,
    sender: Option<BatchSender>,
}

impl RepairSink {
    /// Opens the socket beside the stream's, on the same interface.
    fn connect(&mut self, stream: &SendOptions, interface: u32) -> Result<()> {
        // The config check ensures that this port exists.
        let options = stream.clone().at_port_above(repair::PORT_OFFSET);
        let socket = SendSocket::open_on(&options, Some(interface))?;
        self.sender = Some(BatchSender::new(socket));
        Ok(())
    }

    /// Sends some of the newest parity packets.
    fn send(&mut self, burst: Range<usize>, stats: &SenderStats) -> Result<(), SendError> {
        let Some(sender) = &mut self.sender else {
            return Ok(());
        };
        let result = sender.send_datagrams(self.encoder.datagrams(burst));
        let sent = sent(&result);
        stats.repair_packets_sent.add(sent.packets as u64);
        stats.bytes_sent.add(sent.bytes as u64);
        result.map(|_| ())
    }
}

/// Counts what went out, even if an error followed.
fn sent(result: &Result<Sent, SendError>) -> Sent {
    result.as_ref().map_or_else(|e| e.sent, |sent| *sent)
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

/// The frame interval, as the source states it or as measured.
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
