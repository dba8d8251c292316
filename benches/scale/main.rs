//! RTCP by the number of viewers: what their reports take of the network and of the sender, how
//! soon it reacts, and how long it waits for them. A simulation on a virtual clock: one sender with
//! its real RTCP end, `Overhead` and `Adapt`, and viewers whose report times are those of
//! `rtcp::timing` and whose datagrams are real. All viewers join at once and lose packets
//! independently; RTCP itself loses nothing, so they have one table of members in common. Prints
//! Markdown and draws `docs/scale.svg`.
//!
//!     cargo bench --bench scale                1 to 10,000 viewers for an hour
//!     cargo bench --bench scale -- short       for two minutes; draws `.cache/scale.svg`

mod group;
mod plot;
#[path = "../svg/mod.rs"]
mod svg;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../peers/table.rs"]
mod table;

use std::path::Path;
use std::time::Duration;

use group::{BANDWIDTH, Group, Run};
use plot::Point;
use table::{Table, figure, target};

const VIEWERS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// In percent.
const LOSSES: [u32; 2] = [1, 5];
/// What reports may take of the session. RFC 3550 §6.2.
const RFC_SHARE: f64 = 0.05;
/// After this everybody knows how many take part.
const SETTLED: u64 = 60;

fn main() {
    let is_short = std::env::args().any(|argument| argument == "short");
    let seconds = if is_short { 120 } else { 3_600 };
    let mut table = Table::new(
        &format!(
            "Scale: viewers of one stream of {:.0} Mbit/s, {seconds} s, simulated",
            BANDWIDTH * 8e-6
        ),
        &[
            "viewers",
            "loss",
            "RTCP, kbit/s",
            "of the stream",
            "most in one second",
            "reports/s",
            "sender: CPU of a core",
            "sender: memory",
            "NACKs/s",
            "asked for in time",
            "`Auto` reacts after",
            "`adapt` reacts after",
            "all counted after",
        ],
    );
    let mut points = Vec::new();
    let mut shares = Vec::new();
    let mut costs = Vec::new();
    for loss in LOSSES {
        for viewers in VIEWERS {
            let share_lost = f64::from(loss) / 100.0;
            let run = hour(viewers, share_lost, seconds);
            let (nacks, in_time) = nacks(viewers, share_lost);
            let auto = auto(viewers, share_lost);
            let adapt = adapt(viewers);
            let counted = counted(viewers);
            let steady = run.steady(SETTLED);
            shares.push(steady.bytes / BANDWIDTH);
            costs.push((viewers, run.cpu.as_secs_f64() / seconds as f64));
            let mut point = |panel, line, value| {
                points.push(Point {
                    panel,
                    line,
                    viewers: viewers as f64,
                    value,
                });
            };
            let [rtcp, auto_line] = match loss {
                1 => ["RTCP, 1 % loss", "Auto, 1 % loss"],
                _ => ["RTCP, 5 % loss", "Auto, 5 % loss"],
            };
            point("kbit/s", rtcp, steady.bytes * 8e-3);
            point("seconds", auto_line, auto);
            if loss == 1 {
                point(
                    "kbit/s",
                    "RFC 3550: 5 % of the stream",
                    BANDWIDTH * RFC_SHARE * 8e-3,
                );
                point("seconds", "adapt, link half full", adapt);
                point("seconds", "all viewers counted", counted);
            }
            let time = |seconds: f64| figure(seconds, |s| format!("{s:.1} s"));
            table.row([
                viewers.to_string(),
                format!("{loss} %"),
                format!("{:.1}", steady.bytes * 8e-3),
                format!("{:.3} %", steady.bytes / BANDWIDTH * 100.0),
                format!("{:.0} kbit", run.peak() * 8e-3),
                format!("{:.1}", steady.reports),
                format!("{:.3} %", run.cpu.as_secs_f64() / seconds as f64 * 100.0),
                format!("{:.1} MB", run.memory * 1e-6),
                format!("{nacks:.1}"),
                format!("{:.1} %", in_time * 100.0),
                time(auto),
                time(adapt),
                time(counted),
            ]);
        }
    }
    table.print();
    let most = shares.iter().copied().fold(0.0, f64::max);
    target(
        "reports, at most 5 % of the stream with any number of viewers",
        most * 100.0,
        " %",
        most <= RFC_SHARE,
    );
    let cost = costs.iter().map(|(_, cost)| *cost).fold(0.0, f64::max);
    target(
        "the sender's CPU for them, at most 2 % of a core",
        cost * 100.0,
        " %",
        cost <= 0.02,
    );
    let path = match is_short {
        true => Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/scale.svg"),
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scale.svg"),
    };
    let _ = std::fs::create_dir_all(path.parent().unwrap());
    std::fs::write(&path, plot::draw(&points)).unwrap();
    eprintln!("drawn: {}", path.display());
}

/// Steady loss, no retransmission.
fn hour(viewers: usize, loss: f64, seconds: u64) -> Run {
    let mut group = Group::new(viewers);
    group.set_loss(loss);
    group.run(seconds, |_| false);
    group.into_run()
}

/// A minute with retransmission: NACK datagrams a second once the group has settled, and the share
/// of the lost packets that they name within the time in which they are of use.
fn nacks(viewers: usize, loss: f64) -> (f64, f64) {
    let mut group = Group::new(viewers);
    group.set_loss(loss);
    group.asks = true;
    group.run(40, |_| false);
    let run = group.into_run();
    let settled = 20;
    let nacks: f64 = run.nacks.iter().skip(settled).sum();
    let seconds = run.nacks.len().saturating_sub(settled).max(1);
    (nacks / seconds as f64, run.asked / run.lost.max(1.0))
}

/// Seconds from the beginning of loss until there is parity for it.
fn auto(viewers: usize, loss: f64) -> f64 {
    let needed = if loss > 0.02 { 0.13 } else { 0.04 };
    reaction(viewers, loss, |group| group.overhead.share() >= needed)
}

/// Seconds from the moment from which the link takes half of the stream until no more is sent than
/// that.
fn adapt(viewers: usize) -> f64 {
    let mut group = Group::new(viewers);
    group.run(90, |_| false);
    group.room = 0.5;
    let began = group.now();
    let done = group.run(600, |group| group.adapt.keep() <= 0.55);
    if done {
        (group.now() - began).as_secs_f64()
    } else {
        f64::NAN
    }
}

fn reaction(viewers: usize, loss: f64, is_done: impl FnMut(&Group) -> bool) -> f64 {
    let mut group = Group::new(viewers);
    // Until what was sent at first, for losses unknown, has fallen.
    group.run(90, |_| false);
    group.set_loss(loss);
    let began = group.now();
    let done = group.run(600, is_done);
    if done {
        (group.now() - began).as_secs_f64()
    } else {
        f64::NAN
    }
}

/// Seconds until the sender has counted all of them.
fn counted(viewers: usize) -> f64 {
    let mut group = Group::new(viewers);
    let done = group.run(1_200, |group| group.sender.viewers() >= viewers);
    let took: Duration = group.now();
    if done { took.as_secs_f64() } else { f64::NAN }
}
