//! lancam's rows: one sender, one viewer without a window.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Outcome;
use crate::channel::{Channel, Pattern};
use crate::clips::Clip;
use crate::common::net::{GROUP, INTERFACE, Net};
use crate::common::process::Process;

/// How lancam is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// This much repair.
    Fixed(f32),
    /// This much repair, and what it does not mend is sent again.
    Both(f32),
    /// Repair by what viewers report.
    Auto,
    /// Nothing but sending again.
    Again,
}

/// What the plot and the targets call the modes.
pub(crate) const FIXED: &str = "lancam, repair";
pub(crate) const BOTH: &str = "lancam, repair and retransmission";
pub(crate) const AUTO: &str = "lancam, repair: Auto";
pub(crate) const AGAIN: &str = "lancam, retransmission";

/// How long what is under way may take to arrive.
const LAST: Duration = Duration::from_millis(300);

impl Mode {
    pub(crate) fn all(channel: Channel) -> Vec<Mode> {
        let share = share(channel);
        vec![
            Mode::Fixed(share),
            Mode::Both(share),
            Mode::Auto,
            Mode::Again,
        ]
    }

    pub(crate) fn line(self) -> &'static str {
        match self {
            Mode::Fixed(_) => FIXED,
            Mode::Both(_) => BOTH,
            Mode::Auto => AUTO,
            Mode::Again => AGAIN,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Mode::Fixed(share) | Mode::Both(share) => format!("{} ({share})", self.line()),
            Mode::Auto | Mode::Again => self.line().to_owned(),
        }
    }

    /// The keys of the sender's stream, and what the viewer is told.
    fn settings(self) -> (String, &'static str) {
        // A viewer may ask for packets once it has reported: frames sent before that say nothing
        // about this way.
        const AGAIN: &str = "retransmit: true, wait_for_viewers: (count: 1, at_most_s: 10)";
        match self {
            Mode::Fixed(share) => (format!("repair: Fixed({share})"), ""),
            Mode::Both(share) => (format!("repair: Fixed({share}), {AGAIN}"), "--retransmit"),
            Mode::Auto => ("repair: Auto(max: 0.5)".to_owned(), ""),
            Mode::Again => (AGAIN.to_owned(), "--retransmit"),
        }
    }

    pub(crate) fn run(self, net: &Net, clip: &Clip, frames: u64) -> Outcome {
        let (keys, flags) = self.settings();
        let view = net.viewer.lancam(&format!(
            "view --headless --on-loss conceal --interface {INTERFACE} --stats - {flags}"
        ));
        let mut viewer = Process::spawn("lancam view", view);
        viewer.wait_until_joined(GROUP);
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("loss.ron");
        let text = format!(
            "(streams: [(source: File({:?}), loop: true, interface: {INTERFACE:?}, {keys})])",
            clip.avi()
        );
        std::fs::write(&config, text).expect("a config");
        let send = net
            .sender
            .lancam(&format!("send --config {} --stats -", config.display()));
        let mut sender = Process::spawn("lancam send", send);
        sender.wait_for_stats("enough frames", |v| {
            v["frames_sent"].as_u64() >= Some(frames)
        });
        sender.signal(Signal::SIGTERM);
        let sent = sender.final_stats();
        thread::sleep(LAST);
        viewer.signal(Signal::SIGTERM);
        let seen = viewer.final_stats();
        let count = |key: &str| seen[key].as_u64().expect("a count") as f64;
        let (whole, repaired) = (count("frames_whole"), count("frames_repaired"));
        let (partial, lost) = (count("frames_partial"), count("frames_lost"));
        let all = whole + repaired + partial + lost;
        let sent = sent["frames_sent"].as_f64().expect("a count");
        // The last frames may still have been waiting for their rest when their sender was gone.
        assert!(
            (sent - 4.0..=sent).contains(&all),
            "{all} of {sent} frames accounted for: {seen}"
        );
        Outcome {
            whole: (whole + repaired) / all,
            partial: partial / all,
            lost: lost / all,
            frames: all as u64,
            p50: seen["delay_ms"]["p50"].as_f64().unwrap_or(f64::NAN),
            p99: seen["delay_ms"]["p99"].as_f64().unwrap_or(f64::NAN),
            ..Outcome::default()
        }
    }
}

/// As much repair as the targets allow, or, for bursts, as it takes for nearly all frames.
fn share(channel: Channel) -> f32 {
    match (channel.pattern, channel.percent) {
        (_, 0) => 0.05,
        (Pattern::Random, 1) => 0.053,
        (Pattern::Random, 3) => 0.0975,
        (Pattern::Random, 5) => 0.135,
        (Pattern::Random, 10) => 0.235,
        (Pattern::Random, _) => 0.48,
        (Pattern::Bursts, 1) => 0.2,
        (Pattern::Bursts, 3) => 0.25,
        (Pattern::Bursts, 5) => 0.28,
        (Pattern::Bursts, 10) => 0.5,
        (Pattern::Bursts, _) => 0.8,
    }
}
