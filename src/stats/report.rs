//! All figures at one moment, made once a second by the thread that reads the counters, and shown
//! by the log line, `--stats`, the status page and the metrics. Rates and history are computed from
//! counters: nothing here touches a streaming thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::delay::Percentiles;
use super::{Format, SenderSnapshot, State, ViewerReport, ViewerSnapshot};
use crate::jpeg::gate::GateSnapshot;

/// Seconds that the history covers.
pub const HISTORY: usize = 300;
/// Rates are not computed over a shorter time.
const SHORTEST: Duration = Duration::from_millis(200);
/// A stream without a frame for this long is unhealthy, unless its frames are usually further
/// apart.
const QUIET: Duration = Duration::from_secs(3);

/// One stream's figures at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// The stream's name.
    pub name: String,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Its pictures' format; `None` before the first.
    pub format: Option<Format>,
    /// Totals since the start.
    #[serde(flatten)]
    pub totals: Totals,
    /// Rates of the last second.
    #[serde(flatten)]
    pub rates: Rates,
}

/// The counters of either end.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Totals {
    /// A sender.
    Sender {
        /// Its counters.
        #[serde(flatten)]
        sent: SenderSnapshot,
        /// What its gate did.
        gate: GateSnapshot,
        /// The viewers that report.
        watching: Vec<ViewerReport>,
    },
    /// A viewer.
    Viewer {
        /// Its counters.
        #[serde(flatten)]
        received: ViewerSnapshot,
        /// Capture to screen (headless: to the whole frame), in milliseconds since the start.
        delay_ms: Option<Percentiles>,
    },
}

impl Totals {
    /// The counters that rates are computed from.
    fn amounts(&self) -> Amounts {
        match self {
            Totals::Sender { sent, .. } => sent.into(),
            Totals::Viewer { received, .. } => received.into(),
        }
    }

    /// Viewers, as far as known.
    fn viewers(&self) -> usize {
        match self {
            Totals::Sender { watching, .. } => watching.len(),
            Totals::Viewer { .. } => 0,
        }
    }

    /// Whether there is no network to send by.
    pub fn is_offline(&self) -> bool {
        matches!(self, Totals::Sender { sent, .. } if sent.offline > 0)
    }

    /// The mean loss that viewers report, in percent; `None` if nobody does.
    fn reported_loss(&self) -> Option<f64> {
        let Totals::Sender { watching, .. } = self else {
            return None;
        };
        let sum: f64 = watching.iter().map(|v| f64::from(v.fraction_lost)).sum();
        (!watching.is_empty()).then(|| sum * 100.0 / watching.len() as f64)
    }
}

/// The counters that rates are computed from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amounts {
    frames: u64,
    bytes: u64,
    packets: u64,
    lost: u64,
    repair: u64,
}

impl From<&SenderSnapshot> for Amounts {
    fn from(sent: &SenderSnapshot) -> Amounts {
        Amounts {
            // A slate is not a picture of the source.
            frames: sent.frames_sent.saturating_sub(sent.slates_sent),
            bytes: sent.bytes_sent,
            packets: sent.packets_sent,
            lost: 0,
            repair: sent.repair_packets_sent,
        }
    }
}

impl From<&ViewerSnapshot> for Amounts {
    fn from(received: &ViewerSnapshot) -> Amounts {
        Amounts {
            // Frames that could be shown.
            frames: received.frames_whole + received.frames_repaired + received.frames_partial,
            bytes: received.bytes_received,
            packets: received.packets_received,
            lost: received.packets_lost,
            repair: received.repair_packets_received,
        }
    }
}

/// Rates over about one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Frames a second.
    pub fps: f64,
    /// UDP payload in Mbit/s, repair included.
    pub mbit_per_s: f64,
    /// Packets that did not arrive, in percent of those sent, before repair; on a sender, the mean
    /// of its viewers' reports. `None`: unknown.
    pub loss_percent: Option<f64>,
    /// Repair packets in percent of the stream's own.
    pub repair_overhead_percent: f64,
}

impl Rates {
    /// From `before` to `now`, `elapsed` apart.
    pub fn between(before: &Amounts, now: &Amounts, elapsed: Duration) -> Rates {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let frames = now.frames.saturating_sub(before.frames);
        let bytes = now.bytes.saturating_sub(before.bytes);
        let packets = now.packets.saturating_sub(before.packets);
        let lost = now.lost.saturating_sub(before.lost);
        let repair = now.repair.saturating_sub(before.repair);
        Rates {
            fps: frames as f64 / seconds,
            mbit_per_s: bytes as f64 * 8e-6 / seconds,
            loss_percent: Some(percent(lost, lost + packets)),
            repair_overhead_percent: percent(repair, packets),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}

/// One second of the history, by column, as the page draws it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Frames a second.
    pub fps: f32,
    /// UDP payload in Mbit/s.
    pub mbit_per_s: f32,
    /// Packets lost in percent; `None`: unknown.
    pub loss_percent: Option<f32>,
    /// Viewers that reported.
    pub viewers: u32,
}

/// Follows one stream from second to second: its rates, history and health.
#[derive(Debug)]
pub struct Tracker {
    at: Instant,
    before: Amounts,
    rates: Rates,
    history: VecDeque<Point>,
    frame_at: Instant,
    /// Time between the last two updates that saw new frames.
    gap: Duration,
    is_live: bool,
}

impl Tracker {
    /// Starts at `now`, with all counters at zero.
    pub fn new(now: Instant) -> Tracker {
        Tracker {
            at: now,
            before: Amounts::default(),
            rates: Rates::default(),
            history: VecDeque::with_capacity(HISTORY),
            frame_at: now,
            gap: Duration::ZERO,
            is_live: false,
        }
    }

    /// Adds one more second. If called again at once, returns the last rates.
    pub fn update(&mut self, now: Instant, totals: &Totals) -> Rates {
        let amounts = totals.amounts();
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed < SHORTEST {
            return self.rates;
        }
        let mut rates = Rates::between(&self.before, &amounts, elapsed);
        if let Totals::Sender { .. } = totals {
            rates.loss_percent = totals.reported_loss();
        }
        if amounts.frames > self.before.frames {
            self.gap = now.saturating_duration_since(self.frame_at);
            self.frame_at = now;
        }
        let quiet = now.saturating_duration_since(self.frame_at);
        self.is_live = amounts.frames > 0 && quiet <= QUIET.max(self.gap * 3);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Point {
            fps: rounded(rates.fps),
            mbit_per_s: rounded(rates.mbit_per_s),
            loss_percent: rates.loss_percent.map(rounded),
            viewers: totals.viewers() as u32,
        });
        self.at = now;
        self.before = amounts;
        self.rates = rates;
        rates
    }

    /// The last seconds, the newest last.
    pub fn history(&self) -> Vec<Point> {
        self.history.iter().copied().collect()
    }

    /// Whether pictures of the source go out, or frames come in.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn health(&self, report: &StreamReport) -> Result<(), String> {
        let name = &report.name;
        match &report.state {
            State::NoSignal(why) => return Err(format!("{name}: no signal: {why}")),
            State::Ended(None) => return Err(format!("{name}: ended")),
            State::Ended(Some(why)) => return Err(format!("{name}: failed: {why}")),
            State::WaitingForViewers => return Err(format!("{name}: waiting for viewers")),
            State::Waiting | State::Streaming => {}
        }
        if report.totals.is_offline() {
            return Err(format!("{name}: no network"));
        }
        let frames = report.totals.amounts().frames;
        // Before the first update there is no last second: use the counters.
        if self.is_live || frames > self.before.frames {
            return Ok(());
        }
        if frames == 0 {
            return Err(format!("{name}: no frame yet"));
        }
        let quiet = self.at.saturating_duration_since(self.frame_at);
        Err(format!("{name}: no frame for {} s", quiet.as_secs()))
    }
}

/// Two decimals are enough for any display.
fn rounded(value: f64) -> f32 {
    ((value * 100.0).round() / 100.0) as f32
}

/// All streams of a process at one moment. A single stream's figures stand at the top level in
/// `--stats` and `/status.json`.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Whether this is the last report.
    pub is_final: bool,
    /// The streams.
    pub streams: Vec<StreamReport>,
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Lines<'a> {
            uptime_s: f64,
            #[serde(rename = "final")]
            is_final: bool,
            #[serde(flatten)]
            only: Option<&'a StreamReport>,
            #[serde(skip_serializing_if = "Option::is_none")]
            streams: Option<&'a [StreamReport]>,
        }
        let only = match self.streams.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        Lines {
            uptime_s: self.uptime_s,
            is_final: self.is_final,
            only,
            streams: only.is_none().then_some(&self.streams),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(frames: u64, bytes: u64) -> Totals {
        Totals::Sender {
            sent: SenderSnapshot {
                frames_sent: frames,
                packets_sent: frames * 10,
                repair_packets_sent: frames * 2,
                bytes_sent: bytes,
                ..Default::default()
            },
            gate: GateSnapshot::default(),
            watching: Vec::new(),
        }
    }

    fn report(totals: Totals, state: State) -> StreamReport {
        StreamReport {
            name: "porch".to_owned(),
            state,
            format: None,
            totals,
            rates: Rates::default(),
        }
    }

    #[test]
    fn rates_are_those_of_the_last_second() {
        let start = Instant::now();
        let mut tracker = Tracker::new(start);
        tracker.update(start + Duration::from_secs(1), &sent(30, 1_000_000));
        let rates = tracker.update(start + Duration::from_secs(3), &sent(80, 2_000_000));
        assert_eq!((rates.fps, rates.mbit_per_s), (25.0, 4.0));
        assert_eq!(rates.repair_overhead_percent, 20.0);
        // Nobody reports: the loss is unknown.
        assert_eq!(rates.loss_percent, None);
        assert_eq!(tracker.history().len(), 2);
    }

    #[test]
    fn a_viewer_counts_its_own_loss() {
        let before = Amounts::default();
        let received = ViewerSnapshot {
            packets_received: 990,
            packets_lost: 10,
            ..Default::default()
        };
        let rates = Rates::between(&before, &(&received).into(), Duration::from_secs(1));
        assert_eq!(rates.loss_percent, Some(1.0));
    }

    #[test]
    fn the_history_is_bounded() {
        let start = Instant::now();
        let mut tracker = Tracker::new(start);
        for second in 1..2000 {
            tracker.update(start + Duration::from_secs(second), &sent(second, 0));
        }
        assert_eq!(tracker.history().len(), HISTORY);
    }

    #[test]
    fn a_stream_is_well_while_frames_go_out() {
        let start = Instant::now();
        let mut tracker = Tracker::new(start);
        let well =
            |tracker: &Tracker, frames| tracker.health(&report(sent(frames, 0), State::Streaming));
        tracker.update(start + Duration::from_secs(1), &sent(0, 0));
        assert_eq!(well(&tracker, 0).unwrap_err(), "porch: no frame yet");
        assert!(well(&tracker, 1).is_ok(), "the first frame counts at once");
        tracker.update(start + Duration::from_secs(2), &sent(30, 0));
        assert!(well(&tracker, 30).is_ok());
        for second in 3..=5 {
            tracker.update(start + Duration::from_secs(second), &sent(30, 0));
        }
        assert!(well(&tracker, 30).is_ok(), "three seconds may pass");
        // The two seconds before the first frame do not count as its interval.
        tracker.update(start + Duration::from_secs(12), &sent(30, 0));
        assert_eq!(well(&tracker, 30).unwrap_err(), "porch: no frame for 10 s");
        let lost = State::NoSignal("unplugged".to_owned());
        tracker.update(start + Duration::from_secs(13), &sent(60, 0));
        let report = report(sent(60, 0), lost);
        assert_eq!(
            tracker.health(&report).unwrap_err(),
            "porch: no signal: unplugged"
        );
    }

    #[test]
    fn slates_are_no_sign_of_health() {
        let start = Instant::now();
        let mut tracker = Tracker::new(start);
        let totals = |slates| {
            let mut totals = sent(slates, 0);
            if let Totals::Sender { sent, .. } = &mut totals {
                sent.slates_sent = slates;
            }
            totals
        };
        for second in 1..5 {
            let rates = tracker.update(start + Duration::from_secs(second), &totals(second));
            assert_eq!(rates.fps, 0.0);
        }
        let report = report(totals(5), State::Streaming);
        assert_eq!(tracker.health(&report).unwrap_err(), "porch: no frame yet");
    }

    #[test]
    fn one_stream_stands_at_the_top_and_several_in_a_list() {
        let one = report(sent(7, 0), State::NoSignal("unplugged".to_owned()));
        let mut all = Report {
            uptime_s: 1.0,
            is_final: true,
            streams: vec![one.clone()],
        };
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json["frames_sent"], 7);
        assert_eq!(json["final"], true);
        assert_eq!(json["state"], "no_signal");
        assert_eq!(json["reason"], "unplugged");
        assert_eq!(json["gate"]["passed"], 0);
        assert!(json.get("streams").is_none());
        all.streams.push(one);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json["streams"][1]["name"], "porch");
        assert!(json.get("name").is_none());
    }
}
