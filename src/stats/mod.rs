//! What is counted and shown: the counters of sender and viewer, and the report of one moment that
//! log line, `--stats`, status page and metrics share. Totals count from the start.

pub mod delay;
pub mod report;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::counters::{Latest, counters};
use crate::jpeg::{Picture, Sampling};

pub use crate::rtp::stats::{ViewerFrames, ViewerReport, ViewerSnapshot, ViewerStats};
pub use writer::{StatsTo, StatsWriter};

counters! {
    /// What one stream's sender counts.
    SenderStats, SenderSnapshot {
        /// Frames read from the source.
        frames_read: Counter,
        /// Frames sent, slates included.
        frames_sent: Counter,
        /// Slates sent: pictures that say why there is no signal.
        slates_sent: Counter,
        /// Frames dropped: refused by the gate, lost by the source, or no network.
        frames_dropped: Counter,
        /// RTP packets sent.
        packets_sent: Counter,
        /// Repair packets sent, retransmissions included.
        repair_packets_sent: Counter,
        /// Packets retransmitted at a viewer's request.
        packets_resent: Counter,
        /// Retransmissions refused: viewer over its limit.
        requests_refused: Counter,
        /// Repair packets per thousand packets, at present.
        repair_permille: Gauge in Permille,
        /// Frames left out because the network is full.
        frames_decimated: Counter,
        /// UDP payload bytes sent, repair included.
        bytes_sent: Counter in Bytes,
        /// Send calls that the kernel refused.
        send_errors: Counter,
        /// RTP payload bytes sent, without headers and repair: the octet count of sender reports.
        /// RFC 3550 §6.4.1.
        octets_sent: Counter in Bytes,
        /// Viewers that report at present.
        viewers: Gauge,
        /// 1 while there is no network to send by.
        offline: Gauge,
        /// Datagrams on the RTCP port that are not valid RTCP.
        reports_invalid: Counter,
    }
}

/// What a stream is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum State {
    /// Not started: the source is being opened, or no packet has come yet.
    #[default]
    Waiting,
    /// Held back until viewers report.
    WaitingForViewers,
    /// Frames go out, or come in.
    Streaming,
    /// The source failed or the sender is silent, and why.
    NoSignal(String),
    /// It has ended, and why if it failed.
    Ended(Option<String>),
}

/// Size and sampling of a stream's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Chroma sampling: `4:2:0` or `4:2:2`.
    pub sampling: &'static str,
}

/// The format of the last picture: one relaxed store per frame.
#[derive(Debug, Default)]
pub struct FormatSeen(AtomicU64);

impl FormatSeen {
    /// Notes the format of a picture.
    pub fn note(&self, picture: &Picture<'_>) {
        let sampling = match picture.sampling {
            Sampling::Yuv420 => 0,
            Sampling::Yuv422 => 1,
        };
        let packed =
            (u64::from(picture.width) << 32) | (u64::from(picture.height) << 16) | sampling;
        self.0.store(packed, Ordering::Relaxed);
    }

    /// The format, once there was a picture.
    pub fn get(&self) -> Option<Format> {
        let packed = self.0.load(Ordering::Relaxed);
        (packed != 0).then_some(Format {
            width: (packed >> 32) as u16,
            height: (packed >> 16) as u16,
            sampling: if packed & 1 == 0 { "4:2:0" } else { "4:2:2" },
        })
    }
}

/// A stream's viewers: written by the RTCP thread, read by whoever shows them, never touched by the
/// sending thread.
#[derive(Debug, Default)]
pub struct Audience(Latest<Vec<ViewerReport>>);

impl Audience {
    /// Replaces the viewers.
    pub fn set(&self, viewers: Vec<ViewerReport>) {
        self.0.set(viewers);
    }

    /// The viewers.
    pub fn get(&self) -> Vec<ViewerReport> {
        self.0.get()
    }
}
