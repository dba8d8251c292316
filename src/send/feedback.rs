//! What a sender does about its viewers' feedback: how much repair and how many frames it sends,
//! and what it retransmits. It runs on the RTCP thread, which may lock and allocate, and reaches
//! the stream's thread through atomics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::shared::{Demand, Steering, StreamStats};
use crate::clock::Mono;
use crate::config::{Adapt as AdaptConfig, Repair, Stream};
use crate::net::{BatchSender, SendSocket};
use crate::rtp::SeqNo;
use crate::rtp::adapt::Adapt;
use crate::rtp::repair::overhead::{Overhead, Report};
use crate::rtp::repair::retransmit::RetransmitQueue;
use crate::rtp::repair::{self, RetransmitBuffer};
use crate::rtp::rtcp::{Feedback, ViewerLoss};

/// How long to wait before retrying a socket that could not be opened.
const RETRY: Duration = Duration::from_secs(1);
/// Handles the feedback of one stream's viewers.
pub(super) struct Responder {
    steering: Arc<Steering>,
    stats: Arc<StreamStats>,
    overhead: Option<Overhead>,
    /// With the lowest frame rate.
    adapt: Option<(Adapt, f64)>,
    retransmitter: Option<Retransmitter>,
}

impl Responder {
    pub(super) fn new(
        config: &Stream,
        steering: Arc<Steering>,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
    ) -> Responder {
        let now = Mono::now();
        let overhead = match config.repair {
            Repair::Auto { max } => Some(Overhead::new(now, max)),
            Repair::Off | Repair::Fixed(_) => None,
        };
        let adapt = match config.adapt {
            AdaptConfig::FrameRate { min } => Some((Adapt::new(now, 0.0), min)),
            AdaptConfig::Off => None,
        };
        let retransmitter = (steering.retransmit.as_ref())
            .map(|queue| Retransmitter::new(config, Arc::clone(queue), demand));
        Responder {
            steering,
            stats,
            overhead,
            adapt,
            retransmitter,
        }
    }

    /// A viewer reported, asked for packets, or left.
    pub(super) fn handle(&mut self, now: Mono, feedback: Feedback<'_>) {
        match feedback {
            Feedback::Report(loss) => self.report(now, &loss),
            Feedback::Nack {
                host,
                reports,
                missing,
                ..
            } => {
                if let Some(retransmitter) = &mut self.retransmitter {
                    retransmitter.send(now, (host, reports), missing, &self.stats);
                }
            }
            Feedback::OtherSender { host } => {
                if self.stats.warns_of_group(now) {
                    warn!(
                        "{host} also sends to this group: viewers see only one of the two; give one stream another group"
                    );
                }
            }
            Feedback::Left { ssrc } => {
                if let Some(overhead) = &mut self.overhead {
                    overhead.left(now, ssrc.0);
                }
                self.steer();
            }
        }
    }

    /// The highest sequence number that was sent.
    pub(super) fn highest(&self) -> SeqNo {
        self.steering.highest()
    }

    /// Call it about once a second.
    pub(super) fn tick(&mut self, now: Mono) {
        if let Some(overhead) = &mut self.overhead {
            overhead.update(now);
        }
        self.steer();
    }

    fn report(&mut self, now: Mono, loss: &ViewerLoss) {
        let packets = self.steering.packets();
        if let Some((adapt, min)) = &mut self.adapt {
            let least = self.steering.fps().map_or(0.0, |fps| *min / fps);
            adapt.set_least(least as f32);
            adapt.report(now, loss.ssrc.0, loss.host, loss.highest, loss.lost);
        }
        if let Some(overhead) = &mut self.overhead {
            overhead.hold(self.adapt.as_ref().is_some_and(|(a, _)| a.holds_repair()));
            let frames = loss
                .frames
                .map(|f| (f.whole.saturating_add(f.repaired), f.lost));
            overhead.report(
                now,
                Report {
                    viewer: loss.ssrc.0,
                    host: loss.host,
                    fraction_lost: loss.fraction_lost,
                    frames,
                },
                packets,
            );
        }
        self.steer();
    }

    /// Passes repair and frame share to the stream's thread.
    fn steer(&mut self) {
        if let Some(overhead) = &self.overhead {
            let share = overhead.share();
            self.steering.set_share(share);
        }
        if let Some((adapt, _)) = &self.adapt {
            let keep = adapt.keep();
            if self.steering.set_keep(keep) {
                let percent = keep * 100.0;
                info!("sending {percent:.0} % of the frames: the network is full");
            }
        }
        let sent = (self.steering.share() * 1000.0) as u64;
        self.stats.sender.repair_permille.set(sent);
    }
}

/// Retransmits packets.
struct Retransmitter {
    buffer: RetransmitBuffer,
    options: crate::net::SendOptions,
    /// The interface by which the stream leaves.
    demand: Arc<Demand>,
    sender: Option<BatchSender>,
    retry_at: Mono,
}

impl Retransmitter {
    fn new(config: &Stream, queue: Arc<RetransmitQueue>, demand: Arc<Demand>) -> Retransmitter {
        Retransmitter {
            buffer: RetransmitBuffer::new(queue),
            options: config.send_options().at_port_above(repair::PORT_OFFSET),
            demand,
            sender: None,
            retry_at: Mono(0),
        }
    }

    /// `from`: the host that asks, and whether it reports.
    fn send(&mut self, now: Mono, from: (IpAddr, bool), missing: &[SeqNo], stats: &StreamStats) {
        let interface = self.demand.interface();
        let is_there =
            |s: &BatchSender| interface.is_none_or(|i| i == s.socket().interface().index);
        if !self.sender.as_ref().is_some_and(is_there) && now >= self.retry_at {
            self.retry_at = now + RETRY;
            match SendSocket::open_on(&self.options, interface) {
                Ok(socket) => self.sender = Some(BatchSender::new(socket)),
                Err(error) => debug!("nothing can be retransmitted: {error}"),
            }
        }
        let Some(sender) = &mut self.sender else {
            return;
        };
        let (datagrams, refused) = self.buffer.request(now, from.0, from.1, missing);
        stats.sender.requests_refused.add(refused);
        let result = sender.send_datagrams(datagrams);
        let sent = result.as_ref().map_or_else(|e| e.sent, |sent| *sent);
        stats.sender.repair_packets_sent.add(sent.packets as u64);
        stats.sender.packets_resent.add(sent.packets as u64);
        stats.sender.bytes_sent.add(sent.bytes as u64);
        if let Err(error) = result {
            debug!("{error}");
            self.sender = None;
        }
    }
}
