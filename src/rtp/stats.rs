//! What a viewer counts of a stream, and what it reports to the sender. [`crate::stats`] shows
//! both.

use std::net::SocketAddr;

use serde::Serialize;

use crate::counters::counters;

counters! {
    /// What one viewer counts.
    ViewerStats, ViewerSnapshot {
        /// Frames that arrived whole without repair.
        frames_whole: Counter,
        /// Frames made whole by repair or retransmission.
        frames_repaired: Counter,
        /// Frames shown in part (headless: that could be shown in part).
        frames_partial: Counter,
        /// Frames given up.
        frames_lost: Counter,
        /// Frames decoded and put on the screen (headless: handed on).
        frames_shown: Counter,
        /// Whole frames skipped because a newer one was there.
        frames_skipped: Counter,
        /// RTP packets received, duplicates included.
        packets_received: Counter,
        /// RTP packets that never came.
        packets_lost: Counter,
        /// Repair packets received, needed or not.
        repair_packets_received: Counter,
        /// RTP packets rebuilt by repair.
        packets_repaired: Counter,
        /// RTP packets that came after their frame was given up or handed on.
        packets_late: Counter,
        /// Datagrams that are not valid packets of the stream.
        packets_invalid: Counter,
        /// Packets of sources other than the one followed, by SSRC or address, RTCP included.
        packets_foreign: Counter,
        /// UDP payload bytes received.
        bytes_received: Counter in Bytes,
        /// Datagrams on the RTCP port that are not valid RTCP.
        reports_invalid: Counter,
    }
}

/// What one viewer has reported about the stream, as the sender keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewerReport {
    /// Its SSRC.
    pub ssrc: u32,
    /// Where its reports come from.
    pub address: SocketAddr,
    /// Its NAME, if it has one, else its CNAME; without control characters.
    pub name: String,
    /// Share of the packets lost since its previous report, 0 to 1, before any repair.
    pub fraction_lost: f32,
    /// Packets lost since it began, before any repair.
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds. RFC 3550 §6.4.1.
    pub jitter_ms: f32,
    /// Round trip in milliseconds, once known.
    pub round_trip_ms: Option<f32>,
    /// Seconds since its last report.
    pub last_seen_s: f32,
    /// What only lancam's own viewers report.
    pub frames: Option<ViewerFrames>,
}

/// A lancam viewer's frames since it began, and its delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ViewerFrames {
    /// Frames that arrived whole without repair.
    pub whole: u32,
    /// Frames made whole by repair or retransmission.
    pub repaired: u32,
    /// Frames shown in part or given up.
    pub lost: u32,
    /// Packets that neither arrived nor were recovered.
    pub packets_missing: u32,
    /// Capture-to-screen delay in milliseconds, median; `None`: not known.
    pub delay_ms: Option<f32>,
}
