//! What the service manager is told: that the streams have started, how they are, that they reload or stop, and that
//! frames still go out. sd_notify(3); without NOTIFY_SOCKET in the environment all of this does nothing. The unit that
//! listens is deploy/lancam.service.

use std::collections::HashMap;
use std::env;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

use crate::clock::Mono;
use crate::stats::report::{Report, StreamReport, Totals};
use crate::stats::{SenderSnapshot, State};

/// The status line goes out when it changed, and no more often than this.
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// A stream may be without a frame for so long, or for three of its own intervals.
const QUIET: Duration = Duration::from_secs(3);

/// The side of the service manager.
pub(super) struct Supervisor {
    is_there: bool,
    status: String,
    status_at: Option<Instant>,
    /// By the streams' names.
    pulses: HashMap<String, Pulse>,
}

impl Supervisor {
    /// Finds it by the environment.
    pub(super) fn find() -> Supervisor {
        Supervisor {
            is_there: env::var_os("NOTIFY_SOCKET").is_some(),
            status: String::new(),
            status_at: None,
            pulses: HashMap::new(),
        }
    }

    /// Whether anybody supervises this process.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The start, or a reload, is over.
    pub(super) fn ready(&mut self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// The streams cannot start yet. That is no reason to hold up the boot, nor to be ended by the watchdog.
    pub(super) fn waits(&mut self, why: &str) {
        self.notify(&[
            NotifyState::Ready,
            NotifyState::Status(&one_line(why)),
            NotifyState::Watchdog,
        ]);
    }

    /// The config is read again.
    pub(super) fn reloading(&mut self) {
        // sd_notify(3): "the service should send RELOADING=1 [...] together with MONOTONIC_USEC=".
        let now = i128::from(Mono::now().0 / 1000);
        self.notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now)]);
    }

    /// The streams are being ended.
    pub(super) fn stopping(&mut self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Takes in one more second's figures.
    pub(super) fn tell(&mut self, report: &Report) {
        if !self.is_there {
            return;
        }
        let now = Instant::now();
        if self.is_alive(report, now) {
            self.notify(&[NotifyState::Watchdog]);
        }
        let is_due = self
            .status_at
            .is_none_or(|at| now.duration_since(at) >= STATUS_PERIOD);
        let status = status(report);
        if is_due && status != self.status {
            self.notify(&[NotifyState::Status(&status)]);
            self.status = status;
            self.status_at = Some(now);
        }
    }

    /// Whether every stream does what it should.
    fn is_alive(&mut self, report: &Report, now: Instant) -> bool {
        self.pulses
            .retain(|name, _| report.streams.iter().any(|s| s.name == *name));
        let pulses = &mut self.pulses;
        // Each is looked at, also behind one that is not alive.
        let beats = report.streams.iter().map(|stream| {
            let pulse = pulses
                .entry(stream.name.clone())
                .or_insert_with(|| Pulse::new(now));
            pulse.beats(stream, now)
        });
        beats.fold(true, |all, beats| all & beats)
    }

    /// A manager that does not listen is no reason to stop sending.
    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            self.is_there = false;
            warn!("the service manager does not listen ({error}): it is told nothing from now on");
        }
    }
}

/// When a stream last did something.
struct Pulse {
    sent: u64,
    read: u64,
    errors: u64,
    /// The kernel refused packets, and has taken none since: no restart brings a network back.
    is_cut_off: bool,
    at: Instant,
    /// Time between the last two moments at which something was done.
    gap: Duration,
}

impl Pulse {
    fn new(now: Instant) -> Pulse {
        Pulse {
            sent: 0,
            read: 0,
            errors: 0,
            is_cut_off: false,
            at: now,
            gap: Duration::ZERO,
        }
    }

    /// Whether frames go out ("no signal" pictures count), or nobody wants any. While the network is down it is enough
    /// that frames come.
    fn beats(&mut self, stream: &StreamReport, now: Instant) -> bool {
        let Totals::Sender { sent, .. } = &stream.totals else {
            return true;
        };
        if self.has_moved(sent) || is_idle(&stream.state) {
            self.gap = now.saturating_duration_since(self.at);
            self.at = now;
        }
        now.saturating_duration_since(self.at) <= QUIET.max(self.gap * 3)
    }

    fn has_moved(&mut self, now: &SenderSnapshot) -> bool {
        let has_sent = now.frames_sent > self.sent;
        let has_read = now.frames_read > self.read;
        if has_sent {
            self.is_cut_off = false;
        } else if now.send_errors > self.errors {
            self.is_cut_off = true;
        }
        (self.sent, self.read, self.errors) = (now.frames_sent, now.frames_read, now.send_errors);
        has_sent || self.is_cut_off && has_read
    }
}

fn is_idle(state: &State) -> bool {
    matches!(state, State::WaitingForViewers | State::Ended(_))
}

/// `porch: 30.0 fps, 3 viewers, 0.2 % loss; yard: no signal: unplugged`
fn status(report: &Report) -> String {
    let parts: Vec<String> = report.streams.iter().map(stream_status).collect();
    one_line(&parts.join("; "))
}

fn stream_status(stream: &StreamReport) -> String {
    let Totals::Sender { watching, .. } = &stream.totals else {
        return stream.name.clone();
    };
    let what = match &stream.state {
        State::Waiting => "starting".to_owned(),
        State::WaitingForViewers => "waits for viewers".to_owned(),
        State::NoSignal(why) => format!("no signal: {why}"),
        State::Ended(None) => "has ended".to_owned(),
        State::Ended(Some(why)) => format!("has failed: {why}"),
        State::Streaming => {
            let viewers = match watching.len() {
                1 => "1 viewer".to_owned(),
                count => format!("{count} viewers"),
            };
            let loss = stream.rates.loss_percent;
            let loss = loss.map_or(String::new(), |percent| format!(", {percent:.1} % loss"));
            format!("{:.1} fps, {viewers}{loss}", stream.rates.fps)
        }
    };
    format!("{}: {what}", stream.name)
}

/// A line break would end the status and begin another message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::report::Rates;

    fn stream(sent: SenderSnapshot, state: State) -> StreamReport {
        StreamReport {
            name: "porch".to_owned(),
            state,
            format: None,
            totals: Totals::Sender {
                sent,
                gate: Default::default(),
                watching: Vec::new(),
            },
            rates: Rates {
                fps: 29.96,
                loss_percent: Some(0.234),
                ..Rates::default()
            },
        }
    }

    fn sent(frames: u64) -> SenderSnapshot {
        SenderSnapshot {
            frames_read: frames,
            frames_sent: frames,
            ..Default::default()
        }
    }

    /// Whether the pulse beats in each second, given the counters of that second.
    fn beats(seconds: &[(SenderSnapshot, State)]) -> Vec<bool> {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        let of_second = |(second, (sent, state)): (usize, &(SenderSnapshot, State))| {
            let now = start + Duration::from_secs(second as u64 + 1);
            pulse.beats(&stream(*sent, state.clone()), now)
        };
        seconds.iter().enumerate().map(of_second).collect()
    }

    #[test]
    fn a_stream_without_frames_stops_beating() {
        let seconds = [10, 20, 20, 20, 20, 20, 30].map(|n| (sent(n), State::Streaming));
        assert_eq!(
            beats(&seconds),
            [true, true, true, true, true, false, true],
            "three seconds may pass"
        );
    }

    #[test]
    fn the_card_counts_and_so_does_waiting_for_viewers() {
        let lost = || State::NoSignal("unplugged".to_owned());
        let cards: Vec<_> = (1..20).map(|n| (sent(n), lost())).collect();
        assert!(beats(&cards).iter().all(|beats| *beats));
        let idle: Vec<_> = (1..20)
            .map(|_| (sent(5), State::WaitingForViewers))
            .collect();
        assert!(beats(&idle).iter().all(|beats| *beats));
        let stuck: Vec<_> = (1..20).map(|_| (sent(5), lost())).collect();
        assert!(!beats(&stuck)[18]);
    }

    #[test]
    fn a_network_that_is_down_needs_no_restart_but_a_stuck_source_does() {
        let down = |read| SenderSnapshot {
            frames_read: read,
            frames_sent: 30,
            send_errors: 1,
            ..Default::default()
        };
        let mut seconds = vec![(sent(30), State::Streaming)];
        seconds.extend((2..20).map(|second| (down(second * 30), State::Streaming)));
        assert!(beats(&seconds).iter().all(|beats| *beats));
        seconds.extend((0..5).map(|_| (down(570), State::Streaming)));
        assert_eq!(beats(&seconds).last(), Some(&false));
        // Frames of which none can be sent are no life.
        let broken = |read| SenderSnapshot {
            frames_read: read,
            ..Default::default()
        };
        let seconds: Vec<_> = (1..9).map(|n| (broken(n * 30), State::Streaming)).collect();
        assert_eq!(beats(&seconds).last(), Some(&false));
    }

    #[test]
    fn a_slow_stream_may_be_slow() {
        // A frame every ten seconds.
        let seconds: Vec<_> = (1..60).map(|n| (sent(n / 10), State::Streaming)).collect();
        assert!(beats(&seconds)[20..].iter().all(|beats| *beats));
    }

    #[test]
    fn the_status_says_how_each_stream_is() {
        let streams = vec![
            stream(sent(30), State::Streaming),
            stream(sent(30), State::NoSignal("un\nplugged".to_owned())),
        ];
        let report = Report {
            streams,
            ..Report::default()
        };
        assert_eq!(
            status(&report),
            "porch: 30.0 fps, 0 viewers, 0.2 % loss; porch: no signal: un plugged"
        );
    }
}
