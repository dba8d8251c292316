//! What a sender does about its viewers' feedback: how much repair and how many frames it sends, and what it sends again.
//! It is told in the reports' thread, which may lock and allocate; what the stream's thread is to know goes there
//! by atomics.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::{debug, info};

use super::outlet;
use super::stream::StreamStats;
use crate::clock::Mono;
use crate::config::{Adapt as AdaptConfig, Repair, Stream};
use crate::net::{BatchSender, SendSocket};
use crate::rtp::SeqNo;
use crate::rtp::adapt::Adapt;
use crate::rtp::repair::History;
use crate::rtp::repair::history::Shelf;
use crate::rtp::repair::overhead::{self, Overhead, Report};
use crate::rtp::rtcp::{Feedback, ViewerLoss};

/// Pause before a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Packets of a frame before one was sent.
const DEFAULT_PACKETS: u32 = 100;

/// Between the two threads of a stream.
#[derive(Debug)]
pub(super) struct Steering {
    /// Parity packets for each packet, as the bits of an `f32`.
    share: AtomicU32,
    /// The share of frames that is sent, likewise.
    keep: AtomicU32,
    /// Packets of the last frame, and the time from frame to frame in microseconds.
    packets: AtomicU32,
    interval: AtomicU32,
    /// Where frames are laid down that may be asked for again; `None`: none are.
    pub(super) shelf: Option<Arc<Shelf>>,
}

impl Steering {
    /// As the config says at the start.
    pub(super) fn new(config: &Stream) -> Steering {
        let share = match config.repair {
            Repair::Off => 0.0,
            Repair::Fixed(share) => share,
            Repair::Auto { max } => overhead::START.min(max),
        };
        Steering {
            share: AtomicU32::new(share.to_bits()),
            keep: AtomicU32::new(1f32.to_bits()),
            packets: AtomicU32::new(0),
            interval: AtomicU32::new(0),
            shelf: config.retransmit.then(Shelf::new),
        }
    }

    /// Parity packets for each packet of the next frame.
    pub(super) fn share(&self) -> f32 {
        f32::from_bits(self.share.load(Ordering::Relaxed))
    }

    /// The share of frames to send.
    pub(super) fn keep(&self) -> f32 {
        f32::from_bits(self.keep.load(Ordering::Relaxed))
    }

    /// A frame of so many packets was sent, and the next one is due after `interval`.
    pub(super) fn sent(&self, packets: usize, interval: Duration) {
        self.packets.store(packets as u32, Ordering::Relaxed);
        let micros = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        self.interval.store(micros, Ordering::Relaxed);
    }

    fn packets(&self) -> u32 {
        match self.packets.load(Ordering::Relaxed) {
            0 => DEFAULT_PACKETS,
            packets => packets,
        }
    }

    /// Frames a second of the source; `None`: not known yet.
    fn fps(&self) -> Option<f64> {
        let micros = self.interval.load(Ordering::Relaxed);
        (micros > 0).then(|| 1e6 / f64::from(micros))
    }
}

/// Takes the feedback of one stream's viewers.
pub(super) struct Control {
    steering: Arc<Steering>,
    stats: Arc<StreamStats>,
    overhead: Option<Overhead>,
    /// With the least frames a second.
    adapt: Option<(Adapt, f64)>,
    again: Option<Again>,
}

impl Control {
    pub(super) fn new(
        config: &Stream,
        steering: Arc<Steering>,
        stats: Arc<StreamStats>,
    ) -> Control {
        let now = Mono::now();
        let overhead = match config.repair {
            Repair::Auto { max } => Some(Overhead::new(now, max)),
            Repair::Off | Repair::Fixed(_) => None,
        };
        let adapt = match config.adapt {
            AdaptConfig::FrameRate { min } => Some((Adapt::new(now, 0.0), min)),
            AdaptConfig::Off => None,
        };
        let again = (steering.shelf.as_ref()).map(|shelf| Again::new(config, Arc::clone(shelf)));
        Control {
            steering,
            stats,
            overhead,
            adapt,
            again,
        }
    }

    /// A viewer reported, asked for packets, or left.
    pub(super) fn heard(&mut self, now: Mono, feedback: Feedback<'_>) {
        match feedback {
            Feedback::Report(loss) => self.report(now, &loss),
            Feedback::Nack {
                address, missing, ..
            } => {
                if let Some(again) = &mut self.again {
                    again.send(now, address, missing, &self.stats);
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

    /// To be called about once a second.
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
            adapt.report(now, loss.ssrc.0, loss.highest, loss.lost);
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
                    fraction_lost: loss.fraction_lost,
                    frames,
                },
                packets,
            );
        }
        self.steer();
    }

    /// Tells the stream's thread.
    fn steer(&mut self) {
        if let Some(overhead) = &self.overhead {
            let share = overhead.share();
            (self.steering.share).store(share.to_bits(), Ordering::Relaxed);
        }
        if let Some((adapt, _)) = &self.adapt {
            let keep = adapt.keep();
            let before = self.steering.keep.swap(keep.to_bits(), Ordering::Relaxed);
            if before != keep.to_bits() {
                let percent = keep * 100.0;
                info!("{percent:.0} % of the frames are sent, so that the link is not overrun");
            }
        }
        let sent = (self.steering.share() * 1000.0) as u64;
        self.stats.sender.repair_permille.set(sent);
    }
}

/// Sends packets again.
struct Again {
    history: History,
    options: crate::net::SendOptions,
    sender: Option<BatchSender>,
    retry_at: Mono,
}

impl Again {
    fn new(config: &Stream, shelf: Arc<Shelf>) -> Again {
        Again {
            history: History::new(shelf),
            options: outlet::repair_options(&outlet::options(config)),
            sender: None,
            retry_at: Mono(0),
        }
    }

    fn send(&mut self, now: Mono, from: SocketAddr, missing: &[SeqNo], stats: &StreamStats) {
        if self.sender.is_none() && now >= self.retry_at {
            self.retry_at = now + RETRY;
            match SendSocket::open(&self.options) {
                Ok(socket) => self.sender = Some(BatchSender::new(socket)),
                Err(error) => debug!("nothing can be sent again: {error}"),
            }
        }
        let Some(sender) = &mut self.sender else {
            return;
        };
        let (datagrams, refused) = self.history.ask(now, canonical(from), missing);
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

/// An address by which a viewer's share is known. Whoever has an IPv6 network has all its addresses.
fn canonical(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}
