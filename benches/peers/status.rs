//! What the status page costs the stream: frame times while nobody, ten readers, or nine readers
//! and Chromium watch its moving picture. One sender and one viewer run all the time; visitors come
//! and go.

use std::thread;
use std::time::Duration;

use lancam::clock::Mono;
use nix::sys::signal::Signal;

use crate::Bench;
use crate::child::{self, Seen, seen};
use crate::common::have;
use crate::common::net::{GROUP, SENDER_IP};
use crate::common::process::Process;
use crate::cost::cpu_time;
use crate::programs::{self, Input};
use crate::table::{Table, figure, percentile, target};

const PORT: u16 = 8080;
/// Visitors.
const WATCHERS: usize = 10;
/// What their start costs is not what is measured.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visitors {
    Nobody,
    Readers,
    Chromium,
}

impl Visitors {
    fn name(self) -> String {
        match self {
            Visitors::Nobody => "nobody".to_owned(),
            Visitors::Readers => format!("{WATCHERS} readers"),
            Visitors::Chromium => format!("{} readers and Chromium", WATCHERS - 1),
        }
    }

    /// Starts them on the viewer's host.
    fn come(self, bench: &Bench) -> Vec<Process> {
        let host = &bench.net.viewer;
        let readers = |count: usize| {
            let page = format!("{SENDER_IP}:{PORT}");
            let words = ["watch", &page, &count.to_string()];
            Process::spawn("readers", child::command(host, &words))
        };
        match self {
            Visitors::Nobody => Vec::new(),
            Visitors::Readers => vec![readers(WATCHERS)],
            Visitors::Chromium => {
                let mut chromium = host.command("chromium");
                chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu"]);
                chromium.args(["--no-first-run", "--remote-debugging-port=9222"]);
                chromium.arg(format!("--user-data-dir={}", bench.folder().display()));
                chromium.arg(format!("http://{SENDER_IP}:{PORT}/"));
                vec![readers(WATCHERS - 1), Process::spawn("chromium", chromium)]
            }
        }
    }
}

/// A time in which the same visitors were there.
struct Phase {
    visitors: Visitors,
    from: Mono,
    to: Mono,
    cpu: Duration,
    /// Pictures a second that each reader got.
    pictures: f64,
}

pub(crate) fn run(bench: &Bench) {
    let clip = bench.full_hd();
    let title = format!("Status page: a stream of {} that is watched", clip.size());
    let columns = [
        "visitors",
        "first to last packet ms, p50",
        "p99",
        "frame to frame ms, p50",
        "p99",
        "sender's CPU ms/frame",
        "pictures/s each",
    ];
    let mut table = Table::new(&title, &columns);
    let mut viewer = Process::spawn(
        "viewer",
        child::command(&bench.net.viewer, &["viewer", "take"]),
    );
    viewer.wait_until_joined(GROUP);
    let more = format!("--loop --status {SENDER_IP}:{PORT}");
    let avi = clip.avi();
    let command = programs::lancam_send(&bench.net.sender, Input::File(&avi), &more);
    let mut sender = Process::spawn("sender", command);
    sender.wait_for_stats("frames", |stats| stats["frames_sent"].as_u64() > Some(30));

    let has_chromium = have("Chromium's row", &["chromium"]);
    let all = [Visitors::Nobody, Visitors::Readers, Visitors::Chromium];
    let rows = &all[..if has_chromium { 3 } else { 2 }];
    let rounds = if bench.is_short { 1 } else { 4 };
    let phases: Vec<Phase> = (0..rounds)
        .flat_map(|_| rows)
        .map(|&visitors| phase(bench, visitors, &sender))
        .collect();
    sender.stop(Signal::SIGTERM);
    viewer.stop(Signal::SIGTERM);
    let frames = seen(&mut viewer);

    let figures: Vec<Figures> = rows
        .iter()
        .map(|&visitors| Figures::of(&frames, &phases, visitors))
        .collect();
    for (visitors, f) in rows.iter().zip(&figures) {
        let cells = [f.send.0, f.send.1, f.step.0, f.step.1, f.cpu_ms];
        let cells = cells.map(|value| format!("{value:.3}"));
        let pictures = figure(f.pictures, |pictures| format!("{pictures:.1}"));
        table.row([visitors.name()].into_iter().chain(cells).chain([pictures]));
    }
    table.print();
    for (visitors, watched) in rows.iter().zip(&figures).skip(1) {
        let moved = |now: f64, before: f64| (now / before - 1.0).abs() * 100.0;
        let alone = &figures[0];
        let worst = moved(watched.send.0, alone.send.0).max(moved(watched.step.0, alone.step.0));
        let what = format!("{}: frame times move by less than 5 %", visitors.name());
        target(&what, worst, " %", worst < 5.0);
    }
}

fn phase(bench: &Bench, visitors: Visitors, sender: &Process) -> Phase {
    let here = visitors.come(bench);
    thread::sleep(SETTLE);
    let pictures = || match here.first() {
        Some(readers) => {
            let report = readers.wait_for_stats("pictures", |_| true);
            (report["uptime_s"].as_f64(), report["frames"].as_f64())
        }
        None => (Some(0.0), Some(0.0)),
    };
    let (start, before) = pictures();
    let (from, cpu) = (Mono::now(), cpu_time(sender.pid()));
    thread::sleep(Duration::from_secs(bench.window() * 2));
    let (to, cpu) = (Mono::now(), cpu_time(sender.pid()) - cpu);
    let (end, after) = pictures();
    let readers = match visitors {
        Visitors::Chromium => WATCHERS - 1,
        _ => WATCHERS,
    };
    let per_second = |n: Option<f64>, m: Option<f64>| Some((n? - m?) / (end? - start?));
    Phase {
        visitors,
        from,
        to,
        cpu,
        pictures: per_second(after, before).unwrap_or(f64::NAN) / readers as f64,
    }
}

/// Median and 99th percentile in milliseconds, over all times of the same visitors.
struct Figures {
    send: (f64, f64),
    step: (f64, f64),
    cpu_ms: f64,
    pictures: f64,
}

impl Figures {
    fn of(frames: &[Seen], phases: &[Phase], visitors: Visitors) -> Figures {
        let phases: Vec<&Phase> = phases.iter().filter(|p| p.visitors == visitors).collect();
        let (mut send, mut step) = (Vec::new(), Vec::new());
        for pair in frames.windows(2) {
            let [before, frame] = pair else { continue };
            let at = Mono(before.arrived);
            if phases
                .iter()
                .any(|p| at > p.from && Mono(frame.arrived) < p.to)
            {
                send.push((frame.arrived - frame.first) as f64 * 1e-6);
                step.push((frame.arrived - before.arrived) as f64 * 1e-6);
            }
        }
        let cpu: f64 = phases.iter().map(|p| p.cpu.as_secs_f64() * 1e3).sum();
        let both = |values: &[f64]| (percentile(values, 0.5), percentile(values, 0.99));
        Figures {
            send: both(&send),
            step: both(&step),
            cpu_ms: cpu / step.len() as f64,
            pictures: phases.iter().map(|p| p.pictures).sum::<f64>() / phases.len() as f64,
        }
    }
}
