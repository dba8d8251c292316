//! Frames over a network that loses packets: lancam's repair and retransmission beside GStreamer,
//! with and without its own FEC, and ffmpeg. 1280x720 at 30 fps, about 150 KB a frame, 600 frames a
//! figure, each sender and viewer in network namespaces of their own on a veth pair that carries
//! packets one by one. Needs root; prints Markdown and draws `docs/loss.svg`.
//!
//!     cargo bench --bench loss                 all of it
//!     cargo bench --bench loss -- short        a fifth of the frames, for a look; draws `.cache/loss.svg`
//!     cargo bench --bench loss -- lancam 5     one sender's rows, one loss in percent (both may be left out)
//!
//! What the columns mean is told in docs/BENCHMARKS.md.

mod channel;
mod encode;
mod ours;
mod peers;
mod plot;
#[path = "../svg/mod.rs"]
mod svg;

#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../peers/clips.rs"]
mod clips;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../peers/feed.rs"]
mod feed;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../peers/machine.rs"]
mod machine;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../peers/programs.rs"]
mod programs;
#[path = "../peers/table.rs"]
mod table;

use std::path::Path;
use std::thread;

use channel::{Channel, Losses, Pattern};
use clips::Clip;
use common::net::Net;
use ours::Mode;
use peers::Peer;
use table::{Table, figure, target};

/// Loss in percent of the packets.
const LOSSES: [u32; 6] = [0, 1, 3, 5, 10, 20];
/// Runs side by side: each costs little of a core, and takes 20 seconds.
const LANES: usize = 3;

/// What was sent and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Shares of the frames, 0 to 1.
    pub(crate) whole: f64,
    pub(crate) partial: f64,
    pub(crate) lost: f64,
    /// Frames that these are shares of.
    pub(crate) frames: u64,
    /// Delay in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// What the network carried and lost.
    pub(crate) carried: Losses,
}

impl Outcome {
    const FAILED: Outcome = Outcome {
        whole: f64::NAN,
        partial: f64::NAN,
        lost: f64::NAN,
        frames: 0,
        p50: f64::NAN,
        p99: f64::NAN,
        carried: Losses::NONE,
    };
}

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Lancam(Mode),
    Peer(Peer),
}

impl Who {
    fn name(self) -> String {
        match self {
            Who::Lancam(mode) => mode.name(),
            Who::Peer(peer) => peer.name().to_owned(),
        }
    }

    /// What the plot calls it: the same for all shares of repair.
    fn line(self) -> &'static str {
        match self {
            Who::Lancam(mode) => mode.line(),
            Who::Peer(peer) => peer.name(),
        }
    }

    fn run(self, net: &Net, channel: Channel, clip: &Clip, frames: u64) -> Outcome {
        channel.set(net);
        let outcome = match self {
            Who::Lancam(mode) => mode.run(net, clip, frames),
            Who::Peer(peer) => peer.run(net, clip, frames),
        };
        Outcome {
            carried: channel::losses(net),
            ..outcome
        }
    }
}

/// One figure that is wanted.
#[derive(Clone, Copy)]
struct Job {
    who: Who,
    channel: Channel,
}

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    words.retain(|word| word != "--bench");
    let is_short = words.iter().any(|word| word == "short");
    words.retain(|word| word != "short");
    let only_loss: Vec<u32> = words.iter().filter_map(|w| w.parse().ok()).collect();
    words.retain(|word| word.parse::<u32>().is_err());
    let is_wanted = |job: &Job| {
        let name = job.who.name().to_lowercase();
        (words.is_empty() || words.iter().any(|word| name.contains(&word.to_lowercase())))
            && (only_loss.is_empty() || only_loss.contains(&job.channel.percent))
    };
    let has_gst = common::have("GStreamer's rows", &["gst-launch-1.0"]);
    let has_ffmpeg = common::have("ffmpeg's rows", &["ffmpeg"]);
    let jobs: Vec<Job> = jobs(has_gst, has_ffmpeg)
        .into_iter()
        .filter(is_wanted)
        .collect();
    if jobs.is_empty() {
        eprintln!(
            "loss: nothing is called {words:?}; there are short, a loss in percent, lancam, GStreamer, ffmpeg"
        );
        std::process::exit(2);
    }
    let Some(nets) = (0..LANES.min(jobs.len()))
        .map(|_| Net::pair("bench loss"))
        .collect::<Option<Vec<_>>>()
    else {
        eprintln!("loss: run as root");
        std::process::exit(1);
    };
    nets.iter()
        .for_each(|net| net.sender.without_segmentation_offload());
    let clip = Clip::get(1280, 720, 142_000);
    let buffers = machine::Buffers::set();
    machine::describe([&clip]);
    let frames = if is_short { 120 } else { 600 };
    println!("{frames} frames a row.");

    let outcomes = run_all(&nets, &jobs, &clip, frames);
    drop(buffers);
    for pattern in [Pattern::Random, Pattern::Bursts] {
        print(pattern, &jobs, &outcomes);
    }
    targets(&jobs, &outcomes);
    encode::print();
    let is_complete = !is_short && words.is_empty() && only_loss.is_empty();
    let path = if is_complete {
        "docs/loss.svg"
    } else {
        ".cache/loss.svg"
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    match std::fs::write(&path, plot::draw(&points(&jobs, &outcomes))) {
        Ok(()) => println!("\nWhole frames over loss: {}", path.display()),
        Err(error) => eprintln!("{}: {error}", path.display()),
    }
}

/// All rows. Without loss there is one of each.
fn jobs(has_gst: bool, has_ffmpeg: bool) -> Vec<Job> {
    let mut jobs = Vec::new();
    for pattern in [Pattern::Random, Pattern::Bursts] {
        for percent in LOSSES {
            if percent == 0 && pattern == Pattern::Bursts {
                continue;
            }
            let channel = Channel { percent, pattern };
            let ours = Mode::all(channel).into_iter().map(Who::Lancam);
            let peers = Peer::all(has_gst, has_ffmpeg).into_iter().map(Who::Peer);
            jobs.extend(ours.chain(peers).map(|who| Job { who, channel }));
        }
    }
    jobs
}

/// Works the jobs off, one on each net at a time.
fn run_all(nets: &[Net], jobs: &[Job], clip: &Clip, frames: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    for batch in jobs.chunks(nets.len()) {
        outcomes.extend(thread::scope(|scope| {
            let running: Vec<_> = batch
                .iter()
                .zip(nets)
                .map(|(job, net)| scope.spawn(move || job.who.run(net, job.channel, clip, frames)))
                .collect();
            // What went wrong is on standard error; the others' figures stand.
            let done = (running.into_iter()).map(|run| run.join().unwrap_or(Outcome::FAILED));
            done.collect::<Vec<_>>()
        }));
        for (job, outcome) in batch.iter().zip(&outcomes[outcomes.len() - batch.len()..]) {
            let channel = job.channel;
            eprintln!(
                "{:>2} % {:<8} {:<50} {:6.2} % of {} frames, {:4.1} % overhead, {:.2} % lost",
                channel.percent,
                channel.pattern.name(),
                job.who.name(),
                outcome.whole * 100.0,
                outcome.frames,
                outcome.carried.overhead() * 100.0,
                outcome.carried.share() * 100.0
            );
        }
    }
    outcomes
}

fn print(pattern: Pattern, jobs: &[Job], outcomes: &[Outcome]) {
    let title = match pattern {
        Pattern::Random => "Random loss",
        Pattern::Bursts => "Loss in bursts (Gilbert-Elliott, mean burst 5)",
    };
    let columns = [
        "loss",
        "",
        "whole %",
        "partial %",
        "lost %",
        "overhead %",
        "added p50 ms",
        "added p99 ms",
        "loss measured %",
    ];
    let mut table = Table::new(title, &columns);
    for (job, outcome) in jobs.iter().zip(outcomes) {
        if job.channel.pattern != pattern {
            continue;
        }
        let still = jobs
            .iter()
            .zip(outcomes)
            .find(|(other, _)| other.channel.percent == 0 && other.who.line() == job.who.line());
        let added = |of: fn(&Outcome) -> f64| {
            still.map_or("?".to_owned(), |(_, still)| {
                // NaN: nothing came whole.
                figure(of(outcome) - of(still), |more| format!("{more:+.2}"))
            })
        };
        table.row([
            format!("{} %", job.channel.percent),
            job.who.name(),
            format!("{:.2}", outcome.whole * 100.0),
            format!("{:.2}", outcome.partial * 100.0),
            format!("{:.2}", outcome.lost * 100.0),
            format!("{:.1}", outcome.carried.overhead() * 100.0),
            added(|o| o.p50),
            added(|o| o.p99),
            format!("{:.2}", outcome.carried.share() * 100.0),
        ]);
    }
    table.print();
}

/// A goal.
struct Target {
    percent: u32,
    pattern: Pattern,
    line: &'static str,
    /// Least share of whole frames and most overhead, in percent.
    whole: f64,
    overhead: f64,
}

const TARGETS: [Target; 8] = {
    const fn random(percent: u32, line: &'static str, whole: f64, overhead: f64) -> Target {
        Target {
            percent,
            pattern: Pattern::Random,
            line,
            whole,
            overhead,
        }
    }
    [
        random(1, ours::BOTH, 99.9, 6.0),
        random(3, ours::BOTH, 99.9, 11.0),
        random(5, ours::BOTH, 99.9, 15.0),
        random(10, ours::BOTH, 99.9, 25.0),
        random(20, ours::BOTH, 99.9, 50.0),
        Target {
            percent: 5,
            pattern: Pattern::Bursts,
            line: ours::BOTH,
            whole: 99.0,
            overhead: 30.0,
        },
        random(5, ours::AGAIN, 99.9, 8.0),
        random(5, ours::AUTO, 99.5, 20.0),
    ]
};

fn targets(jobs: &[Job], outcomes: &[Outcome]) {
    for wanted in TARGETS {
        let found = jobs.iter().zip(outcomes).find(|(job, _)| {
            job.channel
                == Channel {
                    percent: wanted.percent,
                    pattern: wanted.pattern,
                }
                && job.who.line() == wanted.line
        });
        let Some((_, got)) = found else { continue };
        let (whole, overhead) = (got.whole * 100.0, got.carried.overhead() * 100.0);
        target(
            &format!(
                "{} % {}, {}: at least {} % whole with at most {} % more ({overhead:.1} %)",
                wanted.percent,
                wanted.pattern.name(),
                wanted.line,
                wanted.whole,
                wanted.overhead
            ),
            whole,
            " %",
            whole >= wanted.whole && overhead <= wanted.overhead,
        );
    }
}

/// What the plot shows: panel, line, loss, share.
fn points(jobs: &[Job], outcomes: &[Outcome]) -> Vec<plot::Point> {
    let mut points = Vec::new();
    for (job, outcome) in jobs.iter().zip(outcomes) {
        let mut add = |pattern: Pattern| {
            points.push(plot::Point {
                panel: pattern.name(),
                line: job.who.line(),
                loss: f64::from(job.channel.percent),
                whole: outcome.whole,
            });
        };
        add(job.channel.pattern);
        if job.channel.percent == 0 {
            add(Pattern::Bursts);
        }
    }
    points
}
