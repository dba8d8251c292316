//! The counters, defined once: plain atomics that the pipelines bump, and one snapshot that the log
//! line, `--stats`, the status page and the metrics all show. All totals since the start.

pub mod report;

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::Serialize;

use crate::cli::StatsTo;
use crate::jpeg::{Picture, Sampling};

/// A counter or gauge that one thread writes and others read, without ordering.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One value of a snapshot with what the definition says about it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// Its documentation.
    pub help: &'static str,
    /// Its value.
    pub value: u64,
}

/// Defines a struct of [`Counter`]s together with its serialisable snapshot. The fields' documentation is shown to users.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $snapshot:ident { $($(#[doc = $help:literal])+ $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $crate::stats::Counter,)+ }

        #[doc = concat!("The values of [`", stringify!($name), "`] at one moment.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $snapshot { $($(#[doc = $help])+ pub $field: u64,)+ }

        impl $name {
            /// The present values.
            pub fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)+ }
            }
        }

        impl $snapshot {
            /// All values with their names.
            pub fn fields(&self) -> Vec<$crate::stats::Field> {
                vec![$($crate::stats::Field {
                    name: stringify!($field),
                    help: concat!($($help),+).trim_ascii(),
                    value: self.$field,
                },)+]
            }
        }
    };
}
pub(crate) use counters;

counters! {
    /// What one stream's sender counts.
    SenderStats, SenderSnapshot {
        /// Frames that the source lent.
        frames_read,
        /// Frames whose packets went to the kernel.
        frames_sent,
        /// Frames that were not sent: refused by the gate, lost by the source, or no network.
        frames_dropped,
        /// RTP packets sent.
        packets_sent,
        /// Repair packets sent, those with packets that viewers asked for again included.
        repair_packets_sent,
        /// Packets sent again because a viewer asked.
        packets_resent,
        /// Packets not sent again because those who asked had their share.
        requests_refused,
        /// Repair packets for each thousand packets, at present.
        repair_permille,
        /// Frames left out because the link is full.
        frames_thinned,
        /// UDP payload bytes sent, repair included.
        bytes_sent,
        /// Calls to send that the kernel refused.
        send_errors,
        /// RTP payload bytes sent, without headers and repair: what sender reports tell. RFC 3550 §6.4.1.
        octets_sent,
        /// Viewers that report at present.
        viewers,
        /// 1 while there is no network to send by.
        offline,
        /// Datagrams on the RTCP port that are no reports.
        reports_invalid,
    }
}

counters! {
    /// What one viewer counts.
    ViewerStats, ViewerSnapshot {
        /// Frames that arrived whole without repair.
        frames_whole,
        /// Frames made whole by repair or retransmission.
        frames_repaired,
        /// Frames shown in part (headless: of which a part came that could be shown).
        frames_partial,
        /// Frames given up.
        frames_lost,
        /// Frames decoded and put on the screen (headless: handed on).
        frames_shown,
        /// Whole frames passed over because a newer one was there.
        frames_skipped,
        /// RTP packets received, duplicates included.
        packets_received,
        /// RTP packets that never came.
        packets_lost,
        /// Repair packets received, needed or not.
        repair_packets_received,
        /// RTP packets rebuilt by repair.
        packets_repaired,
        /// RTP packets that came after their frame had been given up or handed on.
        packets_late,
        /// Datagrams that are no valid packet of the stream.
        packets_invalid,
        /// UDP payload bytes received.
        bytes_received,
        /// Datagrams on the RTCP port that are no reports.
        reports_invalid,
    }
}

/// A value that changes seldom: set on change, read by others. Nobody sets it for each frame or packet.
#[derive(Debug, Default)]
pub struct Latest<T>(Mutex<T>);

impl<T: Clone> Latest<T> {
    /// Puts `value` in the place of the one before.
    pub fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The present value.
    pub fn get(&self) -> T {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a stream is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum State {
    /// It has not begun: the source opens, or no packet came yet.
    #[default]
    Waiting,
    /// The start is held until viewers report.
    WaitingForViewers,
    /// Frames go out, or come in.
    Streaming,
    /// There is no source, or the sender fell silent; and why.
    NoSignal(String),
    /// It is over; and why, if it failed.
    Ended(Option<String>),
}

/// What the pictures of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Chroma sampling: `4:2:0` or `4:2:2`.
    pub sampling: &'static str,
}

/// The format of the last picture: one relaxed store a frame.
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

/// Who watches a stream: written by the thread that hears reports, read by whoever shows them. Never touched by
/// the thread that sends.
#[derive(Debug, Default)]
pub struct Audience(Latest<Vec<ViewerReport>>);

impl Audience {
    /// Puts the viewers of this moment in the place of those before.
    pub fn set(&self, viewers: Vec<ViewerReport>) {
        self.0.set(viewers);
    }

    /// The viewers.
    pub fn get(&self) -> Vec<ViewerReport> {
        self.0.get()
    }
}

/// Where `--stats` goes: one JSON object a line, to a file or to standard output.
#[derive(Debug)]
pub struct StatsWriter {
    out: Out,
}

#[derive(Debug)]
enum Out {
    Stdout,
    File(File),
}

impl StatsWriter {
    /// Opens where `to` says; a file that exists is emptied.
    ///
    /// # Errors
    /// When the file cannot be created; says which.
    pub fn open(to: &StatsTo) -> anyhow::Result<StatsWriter> {
        let out = match to {
            StatsTo::Stdout => Out::Stdout,
            StatsTo::File(path) => {
                let create = File::create(path);
                Out::File(create.with_context(|| {
                    format!("statistics cannot be written to {}", path.display())
                })?)
            }
        };
        Ok(StatsWriter { out })
    }

    /// Writes one object and its line end at once, so that a reader never sees half a line.
    pub fn write(&mut self, value: &impl Serialize) {
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        let written = match &mut self.out {
            Out::Stdout => io::stdout()
                .write_all(&line)
                .and_then(|()| io::stdout().flush()),
            Out::File(file) => file.write_all(&line),
        };
        if let Err(error) = written {
            // The stream matters more than its statistics.
            tracing::debug!("statistics not written: {error}");
        }
    }
}
