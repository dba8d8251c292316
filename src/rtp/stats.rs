//! What is counted of a stream that is received, and what viewers report of it. [`crate::stats`] shows both.

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
        /// Frames shown in part (headless: of which a part came that could be shown).
        frames_partial: Counter,
        /// Frames given up.
        frames_lost: Counter,
        /// Frames decoded and put on the screen (headless: handed on).
        frames_shown: Counter,
        /// Whole frames passed over because a newer one was there.
        frames_skipped: Counter,
        /// RTP packets received, duplicates included.
        packets_received: Counter,
        /// RTP packets that never came.
        packets_lost: Counter,
        /// Repair packets received, needed or not.
        repair_packets_received: Counter,
        /// RTP packets rebuilt by repair.
        packets_repaired: Counter,
        /// RTP packets that came after their frame had been given up or handed on.
        packets_late: Counter,
        /// Datagrams that are no valid packet of the stream.
        packets_invalid: Counter,
        /// Packets that are not the source's that is followed, by SSRC or address, its RTCP among them.
        packets_foreign: Counter,
        /// UDP payload bytes received.
        bytes_received: Counter in Bytes,
        /// Datagrams on the RTCP port that are no reports.
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
    /// Its CNAME or, where it tells one, its NAME; without control characters.
    pub name: String,
    /// Share of the packets that did not arrive since its report before, 0 to 1, before any repair.
    pub fraction_lost: f32,
    /// Packets that did not arrive since it began.
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds. RFC 3550 §6.4.1.
    pub jitter_ms: f32,
    /// Round trip in milliseconds, once it can be told.
    pub round_trip_ms: Option<f32>,
    /// Seconds since its last report.
    pub last_seen_s: f32,
    /// What only lancam's own viewers tell.
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
    /// Packets that neither came nor were brought back.
    pub packets_missing: u32,
    /// Capture-to-screen delay in milliseconds, median; `None`: not known.
    pub delay_ms: Option<f32>,
}
