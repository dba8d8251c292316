//! How fast frames can come without pacing before one is lost, and how soon a frame is ready after
//! its last packet.

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Bench;
use crate::child::{self, Seen};
use crate::common::net::GROUP;
use crate::common::process::Process;
use crate::programs::{self, unprivileged};
use crate::table::{Table, percentile, target};

/// Frames a second that are tried, and at last as many as the sender can.
const RATES: [u32; 7] = [60, 125, 250, 500, 1000, 2000, 4000];
/// Time that each takes.
const SECONDS: f64 = 0.5;

pub(crate) fn run(bench: &Bench) {
    throughput(bench);
    ready(bench);
}

fn throughput(bench: &Bench) {
    let mut table = Table::new(
        "Throughput: 1920x1080 frames, each sent at once, before the first one is lost",
        &[
            "receiver",
            "most without loss, frames/s",
            "Gbit/s",
            "first loss at frames/s",
            "arrived there",
        ],
    );
    let viewer = &bench.net.viewer;
    let lancam = programs::lancam_view(viewer);
    row(
        bench,
        &mut table,
        "lancam view, as root (receive buffer as it asks)",
        &lancam,
        "frames_whole",
    );
    bench.buffers.stock();
    row(
        bench,
        &mut table,
        "lancam view, stock receive buffer",
        &unprivileged(&lancam),
        "frames_whole",
    );
    let plain = child::command(viewer, &["plain"]);
    row(
        bench,
        &mut table,
        "plain `recv`, stock receive buffer",
        &unprivileged(&plain),
        "frames",
    );
    bench.buffers.large();
    table.print();
}

fn row(bench: &Bench, table: &mut Table, name: &str, receiver: &Command, key: &str) {
    let mut best = None;
    let mut loss = ("none".to_owned(), String::new());
    for rate in RATES.map(Some).into_iter().chain([None]) {
        let (arrived, sent, seconds) = try_rate(bench, again(receiver), key, rate);
        let reached = sent as f64 / seconds;
        if arrived < sent {
            loss = (
                format!("{reached:.0}"),
                format!("{:.1} %", 100.0 * arrived as f64 / sent as f64),
            );
            break;
        }
        best = Some(reached);
    }
    let bits = 8.0 * bench.full_hd().mean_size() as f64;
    table.row([
        name.to_owned(),
        best.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
        best.map_or("-".to_owned(), |rate| format!("{:.2}", rate * bits * 1e-9)),
        loss.0,
        loss.1,
    ]);
}

/// A command can be started once only.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            again.env(key, value);
        }
    }
    again
}

/// Frames that arrived, frames sent, and the seconds that it took.
fn try_rate(bench: &Bench, receiver: Command, key: &str, rate: Option<u32>) -> (usize, usize, f64) {
    let mut receiver = Process::spawn("receiver", receiver);
    receiver.wait_until_joined(GROUP);
    let frames = (f64::from(rate.unwrap_or(4000)) * SECONDS) as usize;
    let interval = rate.map_or(0, |rate| 1_000_000 / rate);
    let mut blast = blast(bench, frames, interval);
    let sent = blast.final_stats();
    thread::sleep(Duration::from_millis(200));
    receiver.signal(Signal::SIGTERM);
    let arrived = receiver.final_stats()[key].as_u64().expect("a count") as usize;
    (arrived, frames, sent["seconds"].as_f64().expect("a time"))
}

fn blast(bench: &Bench, frames: usize, interval_us: u32) -> Process {
    let folder = bench.full_hd().folder().to_str().expect("a plain path");
    let words = [
        "blast",
        folder,
        &frames.to_string(),
        &interval_us.to_string(),
    ];
    Process::spawn("blast", child::command(&bench.net.sender, &words))
}

/// From the last packet's arrival to the frame in the hands of the decoding thread, and the same
/// from before the sender's system call: delivery by the kernel and the receiving thread's waking
/// up are in that one too.
fn ready(bench: &Bench) {
    let mut table = Table::new(
        "Last packet in → frame with the decoding thread, 30 fps, unpaced",
        &["frame", "from", "p50 ms", "p99 ms", "frames"],
    );
    let mut viewer = Process::spawn(
        "viewer",
        child::command(&bench.net.viewer, &["viewer", "take"]),
    );
    viewer.wait_until_joined(GROUP);
    let mut blast = blast(bench, bench.frames(), 33_333);
    blast.succeed();
    thread::sleep(Duration::from_millis(200));
    viewer.stop(Signal::SIGTERM);
    let sent = child::seen(&mut blast);
    let taken = child::seen(&mut viewer);
    let mut row = |from: &str, start: &dyn Fn(&Seen) -> Option<u64>| {
        let delays: Vec<f64> = taken
            .iter()
            .filter_map(|taken| Some(taken.begun.saturating_sub(start(taken)?) as f64 * 1e-6))
            .collect();
        let p99 = percentile(&delays, 0.99);
        table.row([
            bench.full_hd().size(),
            from.to_owned(),
            format!("{:.3}", percentile(&delays, 0.5)),
            format!("{p99:.3}"),
            format!("{} of {}", delays.len(), bench.frames()),
        ]);
        p99
    };
    let p99 = row("received by the viewer", &|taken| Some(taken.arrived));
    row("before it is sent", &|taken| {
        Some(sent.iter().find(|sent| sent.time == taken.time)?.done)
    });
    table.print();
    target(
        "last packet received → frame with the decoding thread, p99, under 0.2 ms",
        p99,
        " ms",
        p99 < 0.2,
    );
}
