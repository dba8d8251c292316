//! What more viewers cost the sender: nothing of its own. The bridge copies each packet to each
//! viewer, and the kernel does that within the sender's call. Bare `sendmmsg` with GSO of the same
//! packets to the same viewers shows how much that is. Viewers cost lancam itself only the thread
//! that receives their reports: the stream's thread does not know of them.

use crate::Bench;
use crate::child;
use crate::clips::Clip;
use crate::common::net::{GROUP, Lan};
use crate::common::process::Process;
use crate::cost::{Counter, measure, syscalls, thread_time};
use crate::programs::{self, Input};
use crate::table::{Table, percentile, target};

const VIEWERS: [usize; 3] = [1, 10, 50];
const ROUNDS: usize = 3;

/// Milliseconds and calls a frame.
struct Row {
    lancam: f64,
    bare: f64,
    /// Of lancam's, the thread that hears the viewers.
    reports: f64,
    calls: Option<f64>,
    /// Frames a second that the last viewer got, of those that lancam sent.
    fps: f64,
}

pub(crate) fn run(bench: &Bench) {
    let clip = &bench.clips[0];
    let title = format!(
        "Sender: more viewers on one bridge, {}, unpaced",
        clip.size()
    );
    let columns = [
        "viewers",
        "lancam, CPU ms/frame",
        "bare sendmmsg of the same packets",
        "lancam's own",
        "of it, the viewers' reports",
        "system calls/frame",
        "frames/s at the last viewer",
    ];
    let mut table = Table::new(&title, &columns);
    let mut rows = Vec::new();
    for count in VIEWERS {
        let Some(lan) = Lan::with_viewers("bench viewers", count) else {
            return;
        };
        let row = row(bench, &lan, clip);
        table.row([
            count.to_string(),
            format!("{:.3}", row.lancam),
            format!("{:.3}", row.bare),
            format!("{:.3}", row.lancam - row.bare),
            format!("{:.4}", row.reports),
            row.calls
                .map_or("no strace".to_owned(), |calls| format!("{calls:.1}")),
            format!("{:.1}", row.fps),
        ]);
        rows.push(row);
    }
    table.print();
    let (Some(one), Some(most)) = (rows.first(), rows.last()) else {
        return;
    };
    // In parts of what one viewer costs in all: the difference of two figures that grow is too
    // noisy for a ratio.
    let grown = ((most.lancam - most.bare) - (one.lancam - one.bare)) / one.lancam * 100.0;
    target(
        "50 viewers: lancam's own part grows by less than 10 % of a frame's cost with one",
        grown,
        " %",
        grown < 10.0,
    );
    let grown = (most.reports - one.reports) / one.lancam * 100.0;
    target(
        "50 viewers: the same of the thread that hears their reports, counted by the kernel",
        grown,
        " %",
        grown < 10.0,
    );
    if let (Some(one), Some(most)) = (one.calls, most.calls) {
        let more = most - one;
        target(
            "50 viewers: system calls a frame more",
            more,
            "",
            more.abs() < 0.5,
        );
    }
}

fn row(bench: &Bench, lan: &Lan, clip: &Clip) -> Row {
    let mut viewers: Vec<Process> = lan
        .viewers
        .iter()
        .map(|host| Process::spawn("lancam view", programs::lancam_view(host)))
        .collect();
    viewers.iter_mut().for_each(|v| v.wait_until_joined(GROUP));
    let rounds = if bench.is_short { 1 } else { ROUNDS };
    let (mut lancam, mut bare, mut fps) = (Vec::new(), Vec::new(), Vec::new());
    let mut reports = Vec::new();
    let avi = clip.avi();
    let ours = || {
        let more = "--loop --pacing off";
        let command = programs::lancam_send(&lan.sender, Input::File(&avi), more);
        Process::spawn("lancam send", command)
    };
    for _ in 0..rounds {
        let sender = ours();
        let at_last = Counter {
            process: &viewers[viewers.len() - 1],
            key: "frames_whole",
        };
        let before = received(&at_last);
        let cost = measure(&sender, own(&sender, "frames_sent"), bench.window());
        let after = received(&at_last);
        lancam.push(cost.cpu_ms);
        fps.push((after.1 - before.1) / (after.0 - before.0));
        let sent = received(&own(&sender, "frames_sent")).1;
        reports.push(thread_time(sender.pid(), "lancam-reports").as_secs_f64() * 1e3 / sent);
        drop(sender);

        let folder = clip.folder().to_str().expect("a plain path");
        let command = child::command(&lan.sender, &["floor-send", folder]);
        let sender = Process::spawn("bare sendmmsg", command);
        bare.push(measure(&sender, own(&sender, "frames"), bench.window()).cpu_ms);
    }
    let sender = ours();
    Row {
        lancam: percentile(&lancam, 0.5),
        bare: percentile(&bare, 0.5),
        reports: percentile(&reports, 0.5),
        calls: syscalls(&sender, own(&sender, "frames_sent")),
        fps: percentile(&fps, 0.5),
    }
}

/// A sender that counts its own frames.
fn own<'a>(process: &'a Process, key: &'static str) -> Counter<'a> {
    Counter { process, key }
}

/// Seconds and frames of the next report of figures.
fn received(counter: &Counter<'_>) -> (f64, f64) {
    let report = counter.process.wait_for_stats("figures", |_| true);
    let read = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    (read("uptime_s"), read(counter.key))
}
