//! What a stream's threads share: counters, and the atomics with which the RTCP thread steers the
//! stream's thread, which never waits or locks for them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::board::preview::Preview;
use crate::clock::Mono;
use crate::config::{Repair, Stream};
use crate::counters::{Gauge, Latest};
use crate::jpeg::gate::GateCounters;
use crate::logging::Limit;
use crate::rtp::SeqNo;
use crate::rtp::repair::overhead;
use crate::rtp::repair::retransmit::RetransmitQueue;
use crate::source::camera::Remote;
use crate::stats::report::{Rates, StreamReport, Totals};
use crate::stats::{Audience, FormatSeen, SenderStats, State};

/// Assumed packets per frame before the first is sent.
const DEFAULT_PACKETS: u32 = 100;

/// What one stream counts, shared with whoever shows it.
#[derive(Debug, Default)]
pub(super) struct StreamStats {
    pub(super) name: String,
    pub(super) sender: SenderStats,
    pub(super) gate: Arc<GateCounters>,
    /// The viewers that report.
    pub(super) audience: Audience,
    /// What the stream is doing.
    pub(super) state: Latest<State>,
    /// Its pictures' format.
    pub(super) format: FormatSeen,
    /// Pictures for the status page.
    pub(super) preview: Arc<Preview>,
    /// The last sent frame of a file, counted from 1.
    pub(super) position: Gauge,
    /// Frames in the file; 0: unknown.
    pub(super) frames_in_all: Gauge,
    /// When the warning about another sender in its group was last logged.
    pub(super) group_warning: Latest<Limit>,
    /// The sender that has the stream's group, if the stream must move.
    pub(super) displaced_by: Latest<Option<IpAddr>>,
    /// Its SDP. The sending thread never touches it.
    pub(super) sdp: Latest<String>,
}

impl StreamStats {
    /// Whether to warn about another sender in the group, whichever thread noticed it.
    pub(super) fn warns_of_group(&self, now: Mono) -> bool {
        let mut limit = self.group_warning.get();
        let passes = limit.passes(now);
        self.group_warning.set(limit);
        passes
    }

    /// All current figures except the rates.
    pub(super) fn report(&self) -> StreamReport {
        StreamReport {
            name: self.name.clone(),
            state: self.state.get(),
            format: self.format.get(),
            totals: Totals::Sender {
                sent: self.sender.snapshot(),
                gate: self.gate.snapshot(),
                watching: self.audience.get(),
            },
            rates: Rates::default(),
        }
    }
}

/// From the RTCP thread to the stream's thread and back.
#[derive(Debug)]
pub(super) struct Steering {
    /// Parity packets per packet, as the bits of an `f32`.
    share: AtomicU32,
    /// The share of frames to send, likewise.
    keep: AtomicU32,
    /// Packets of the last frame, and the frame interval in microseconds.
    packets: AtomicU32,
    interval: AtomicU32,
    /// The highest sequence number.
    highest: AtomicU32,
    /// Frames kept for retransmission; `None`: none are kept.
    pub(super) retransmit: Option<Arc<RetransmitQueue>>,
}

impl Steering {
    /// Initial values from the config.
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
            highest: AtomicU32::new(0),
            retransmit: config.retransmit.then(RetransmitQueue::new),
        }
    }

    /// Parity packets per packet of the next frame.
    pub(super) fn share(&self) -> f32 {
        f32::from_bits(self.share.load(Ordering::Relaxed))
    }

    /// The share of frames to send.
    pub(super) fn keep(&self) -> f32 {
        f32::from_bits(self.keep.load(Ordering::Relaxed))
    }

    /// From the next frame on, `share` parity packets are sent per packet.
    pub(super) fn set_share(&self, share: f32) {
        self.share.store(share.to_bits(), Ordering::Relaxed);
    }

    /// From the next frame on, the share `keep` of the frames is sent; returns whether it has
    /// changed.
    pub(super) fn set_keep(&self, keep: f32) -> bool {
        let keep = keep.to_bits();
        self.keep.swap(keep, Ordering::Relaxed) != keep
    }

    /// Notes that a frame of this many packets, up to `highest`, was sent, and the next is due
    /// after `interval`.
    pub(super) fn sent(&self, packets: usize, highest: SeqNo, interval: Duration) {
        self.highest.store(highest.0.into(), Ordering::Relaxed);
        self.packets.store(packets as u32, Ordering::Relaxed);
        let micros = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        self.interval.store(micros, Ordering::Relaxed);
    }

    /// The highest sequence number sent.
    pub(super) fn highest(&self) -> SeqNo {
        SeqNo(self.highest.load(Ordering::Relaxed) as u16)
    }

    pub(super) fn packets(&self) -> u32 {
        match self.packets.load(Ordering::Relaxed) {
            0 => DEFAULT_PACKETS,
            packets => packets,
        }
    }

    /// The source's frames a second; `None`: not known yet.
    pub(super) fn fps(&self) -> Option<f64> {
        let micros = self.interval.load(Ordering::Relaxed);
        (micros > 0).then(|| 1e6 / f64::from(micros))
    }
}

/// What the RTCP thread tells the stream's thread: whether the source should be open, and which
/// interface to use.
#[derive(Debug)]
pub(super) struct Demand {
    wanted: AtomicBool,
    has_moved: AtomicBool,
    /// The index of the interface; 0: none yet.
    interface: AtomicU32,
    /// Tells a camera to close and open again.
    pub(super) remote: OnceLock<Remote>,
}

impl Demand {
    /// `wanted`: the source is open at first. `interface`: the one used before.
    pub(super) fn new(wanted: bool, interface: Option<u32>) -> Demand {
        Demand {
            wanted: AtomicBool::new(wanted),
            has_moved: AtomicBool::new(false),
            interface: AtomicU32::new(interface.unwrap_or(0)),
            remote: OnceLock::new(),
        }
    }

    /// Sets whether frames are wanted.
    pub(super) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Packets should leave by this interface from now on: the sockets must be reopened.
    pub(super) fn set_moved(&self, interface: u32) {
        self.set_interface(interface);
        self.has_moved.store(true, Ordering::Relaxed);
    }

    /// Notes that packets leave by this interface.
    pub(super) fn set_interface(&self, index: u32) {
        self.interface.store(index, Ordering::Relaxed);
    }

    /// The index of the interface by which packets leave, once there is one.
    pub(super) fn interface(&self) -> Option<u32> {
        Some(self.interface.load(Ordering::Relaxed)).filter(|&index| index != 0)
    }

    /// Whether frames are wanted.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether the interface has changed since the last call.
    pub(super) fn take_move(&self) -> bool {
        self.has_moved.load(Ordering::Relaxed) && self.has_moved.swap(false, Ordering::Relaxed)
    }
}
