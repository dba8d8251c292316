//! Tells a supervisor such as systemd, by sd_notify(3), about readiness, status, reloads, and the
//! watchdog. Without `NOTIFY_SOCKET` nothing happens. Not a log: that goes to standard error.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::debug;

use super::running::Running;
use crate::clock::Mono;
use crate::stats::State;
use crate::stats::report::{Report, StreamReport, Totals};

/// How often a changed status line is sent.
const STATUS_PERIOD: Duration = Duration::from_secs(2);

/// The supervisor, if there is one.
pub(super) struct Supervisor {
    is_there: bool,
    /// How long a stream's thread may show no progress; `None`: there is no watchdog.
    patience: Option<Duration>,
    /// By stream name.
    streams: HashMap<String, Seen>,
    sent: String,
    say_at: Instant,
}

/// A stream's thread as last seen.
struct Seen {
    pulse: u64,
    at: Instant,
}

impl Supervisor {
    /// As the environment says.
    pub(super) fn find() -> Supervisor {
        Supervisor {
            is_there: std::env::var_os("NOTIFY_SOCKET").is_some(),
            // It is fed once a second: half its time is enough for both.
            patience: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            streams: HashMap::new(),
            sent: String::new(),
            say_at: Instant::now(),
        }
    }

    /// Whether there is a supervisor, which would restart this program.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Reports ready: the streams run, or wait for their sources.
    pub(super) fn ready(&self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// Reports why nothing is sent yet; this is no reason for a restart.
    pub(super) fn waits(&self, why: &str) {
        let line = one_line(why);
        self.notify(&[
            NotifyState::Ready,
            NotifyState::Status(&line),
            NotifyState::Watchdog,
        ]);
    }

    /// Reports that the config is being reloaded, until [`Supervisor::ready`].
    pub(super) fn reloading(&self) {
        // systemd tells this reload from an older one by the time, in microseconds since boot. Not
        // by `NotifyState::monotonic_usec_now`, whose seconds overflow on 32-bit boards after half
        // an hour.
        let now = i128::from(Mono::now().0 / 1000);
        self.notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now)]);
    }

    /// Reports that the sender is stopping.
    pub(super) fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Reports the figures of one more second.
    pub(super) fn tell(&mut self, report: &Report, running: &[Running]) {
        if !self.is_there {
            return;
        }
        let now = Instant::now();
        // A source that hangs while opening would hang again after a restart, which would interrupt
        // the other streams.
        let pulses = running.iter().filter(|stream| !stream.is_opening());
        if self.all_live(pulses.map(|s| (s.config.name.as_str(), s.pulse())), now) {
            self.notify(&[NotifyState::Watchdog]);
        }
        let line = status(report);
        if now >= self.say_at && line != self.sent {
            self.notify(&[NotifyState::Status(&line)]);
            self.sent = line;
            self.say_at = now + STATUS_PERIOD;
        }
    }

    /// Whether the threads of these streams are alive, whatever their sources do.
    fn all_live<'a>(&mut self, pulses: impl Iterator<Item = (&'a str, u64)>, now: Instant) -> bool {
        let patience = self.patience.unwrap_or(Duration::MAX);
        let mut before = std::mem::take(&mut self.streams);
        let mut all = true;
        for (name, pulse) in pulses {
            let seen = before.remove(name).filter(|seen| seen.pulse == pulse);
            let seen = seen.unwrap_or(Seen { pulse, at: now });
            all &= now.saturating_duration_since(seen.at) <= patience;
            self.streams.insert(name.to_owned(), seen);
        }
        all
    }

    fn notify(&self, states: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            debug!("the supervisor was not told: {error}");
        }
    }
}

/// `porch: 30.0 fps, 3 viewers, 0.2 % loss; yard: no signal: /dev/video0 was unplugged`
fn status(report: &Report) -> String {
    let lines: Vec<String> = report.streams.iter().map(line).collect();
    one_line(&lines.join("; "))
}

fn line(stream: &StreamReport) -> String {
    let name = &stream.name;
    match (&stream.state, &stream.totals) {
        (State::NoSignal(why), _) => return format!("{name}: no signal: {why}"),
        (State::WaitingForViewers, _) => return format!("{name}: waiting for viewers"),
        (State::Ended(None), _) => return format!("{name}: ended"),
        (State::Ended(Some(why)), _) => return format!("{name}: failed: {why}"),
        (State::Waiting, _) => return format!("{name}: starting"),
        (State::Streaming, totals) if totals.is_offline() => {
            return format!("{name}: no network");
        }
        (State::Streaming, _) => {}
    }
    let mut line = format!("{name}: {:.1} fps", stream.rates.fps);
    if let Totals::Sender { watching, .. } = &stream.totals {
        line += &match watching.len() {
            1 => ", 1 viewer".to_owned(),
            n => format!(", {n} viewers"),
        };
    }
    if let Some(loss) = stream.rates.loss_percent {
        line += &format!(", {loss:.1} % loss");
    }
    line
}

/// sd_notify(3) takes one assignment per line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::gate::GateSnapshot;
    use crate::stats::SenderSnapshot;
    use crate::stats::report::Rates;

    fn stream(name: &str, state: State, sent: SenderSnapshot) -> StreamReport {
        StreamReport {
            name: name.to_owned(),
            state,
            format: None,
            totals: Totals::Sender {
                sent,
                gate: GateSnapshot::default(),
                watching: Vec::new(),
            },
            rates: Rates {
                fps: 29.97,
                loss_percent: Some(0.21),
                ..Rates::default()
            },
        }
    }

    fn sent(frames_sent: u64) -> SenderSnapshot {
        SenderSnapshot {
            frames_sent,
            ..SenderSnapshot::default()
        }
    }

    fn report(streams: Vec<StreamReport>) -> Report {
        Report {
            streams,
            ..Report::default()
        }
    }

    fn supervisor() -> Supervisor {
        Supervisor {
            is_there: true,
            patience: Some(Duration::from_secs(10)),
            streams: HashMap::new(),
            sent: String::new(),
            say_at: Instant::now(),
        }
    }

    #[test]
    fn the_status_is_one_line() {
        let both = report(vec![
            stream("porch", State::Streaming, sent(9)),
            stream("yard", State::NoSignal("gone\nREADY=1".into()), sent(9)),
        ]);
        assert_eq!(
            status(&both),
            "porch: 30.0 fps, 0 viewers, 0.2 % loss; yard: no signal: gone READY=1"
        );
    }

    #[test]
    fn the_watchdog_is_fed_while_threads_live() {
        let mut supervisor = supervisor();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let one = |pulse| [("porch", pulse)].into_iter();
        assert!(supervisor.all_live(one(1), at(0)));
        assert!(supervisor.all_live(one(2), at(9)));
        assert!(supervisor.all_live(one(2), at(19)));
        assert!(!supervisor.all_live(one(2), at(20)));
        assert!(supervisor.all_live(one(3), at(21)));
    }

    #[test]
    fn one_stream_that_hangs_is_enough() {
        let mut supervisor = supervisor();
        let start = Instant::now();
        let two = |pulse| [("porch", pulse), ("yard", 7)].into_iter();
        assert!(supervisor.all_live(two(1), start));
        assert!(!supervisor.all_live(two(2), start + Duration::from_secs(11)));
        // A stream that is gone does not hang.
        let porch = [("porch", 3)].into_iter();
        assert!(supervisor.all_live(porch, start + Duration::from_secs(22)));
    }
}
