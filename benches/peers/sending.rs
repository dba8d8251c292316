//! File to multicast: what the sender costs.

use crate::Bench;
use crate::child;
use crate::clips::Clip;
use crate::common::net::{GROUP, INTERFACE};
use crate::common::process::Process;
use crate::cost::{Cost, Counter, measure, syscalls};
use crate::programs::{self, Input};
use crate::table::{Table, target};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Lancam(&'static str),
    /// lancam's packets from frames in memory: what remains without a file, pacing and the rest of
    /// the program.
    Memory,
    /// The least that any program takes for these bytes.
    Floor,
    Gst,
    Ffmpeg,
}

pub(crate) fn run(bench: &Bench) {
    let mut table = Table::new(
        "Sender: file → RTP/JPEG → multicast",
        &[
            "",
            "frame",
            "CPU ms/frame",
            "system calls/frame",
            "RSS MB",
            "frames/s",
        ],
    );
    let mut gains = Vec::new();
    for clip in &bench.clips {
        let ours = row(bench, &mut table, clip, "lancam", Sender::Lancam(""));
        let unpaced = row(
            bench,
            &mut table,
            clip,
            "lancam, `--pacing off`",
            Sender::Lancam("--pacing off"),
        );
        offload(bench, false);
        row(
            bench,
            &mut table,
            clip,
            "lancam, packets cut by the kernel",
            Sender::Lancam(""),
        );
        offload(bench, true);
        row(
            bench,
            &mut table,
            clip,
            "lancam's packets from memory, unpaced",
            Sender::Memory,
        );
        let floor = row(
            bench,
            &mut table,
            clip,
            "bare `sendmmsg` + GSO of one buffer, unpaced",
            Sender::Floor,
        );
        let mut peers = Vec::new();
        if bench.has_gst {
            peers.push(row(bench, &mut table, clip, "GStreamer", Sender::Gst).cpu_ms);
        }
        if bench.has_ffmpeg {
            peers.push(row(bench, &mut table, clip, "ffmpeg", Sender::Ffmpeg).cpu_ms);
        }
        let best = peers.into_iter().fold(f64::INFINITY, f64::min);
        gains.push((
            clip.size(),
            best / ours.cpu_ms,
            best / unpaced.cpu_ms,
            best / floor.cpu_ms,
            ours.rss_mb,
        ));
    }
    table.print();
    for (size, paced, unpaced, floor, rss) in gains {
        target(
            &format!("{size}: less CPU than the better peer, paced, at least 10x"),
            paced,
            "x",
            paced >= 10.0,
        );
        target(
            &format!("{size}: the same unpaced"),
            unpaced,
            "x",
            unpaced >= 10.0,
        );
        println!("- {size}: the same for the bare system call: {floor:.2}x");
        target(
            &format!("{size}: sender's memory, under 10 MB"),
            rss,
            " MB",
            rss < 10.0,
        );
    }
}

/// Whether the veth device takes a frame's packets in one piece, as a network card with UDP
/// segmentation does.
fn offload(bench: &Bench, is_on: bool) {
    let state = if is_on { "on" } else { "off" };
    bench.net.sender.run(&format!(
        "ethtool -K {INTERFACE} tx-udp-segmentation {state} gso {state} >/dev/null"
    ));
}

fn row(bench: &Bench, table: &mut Table, clip: &Clip, name: &str, sender: Sender) -> Cost {
    let cost = with_stream(bench, clip, sender, |sender, counter| {
        measure(sender, counter, bench.window())
    });
    let calls = with_stream(bench, clip, sender, syscalls);
    table.row([
        name.to_owned(),
        clip.size(),
        format!("{:.3}", cost.cpu_ms),
        calls.map_or("no strace".to_owned(), |calls| format!("{calls:.1}")),
        format!("{:.1}", cost.rss_mb),
        format!("{:.1}", cost.fps),
    ]);
    cost
}

/// Starts the sender with a lancam viewer at the other end of the wire, which counts.
fn with_stream<T>(
    bench: &Bench,
    clip: &Clip,
    kind: Sender,
    f: impl FnOnce(&Process, Counter<'_>) -> T,
) -> T {
    let mut viewer = Process::spawn("lancam view", programs::lancam_view(&bench.net.viewer));
    viewer.wait_until_joined(GROUP);
    let avi = clip.avi();
    let (host, input) = (&bench.net.sender, Input::File(&avi));
    let command = match kind {
        Sender::Lancam(more) => programs::lancam_send(host, input, more),
        Sender::Memory => {
            let folder = clip.folder().to_str().expect("a plain path");
            child::command(host, &["blast", folder, "100000", "33333"])
        }
        Sender::Floor => {
            let folder = clip.folder().to_str().expect("a plain path");
            child::command(host, &["floor-send", folder])
        }
        Sender::Gst => programs::gst_send(host, input),
        Sender::Ffmpeg => programs::ffmpeg_send(host, input),
    };
    let sender = Process::spawn("sender", command);
    // The bare loop sends one frame again and again, which no viewer counts: it counts itself.
    let counter = match kind {
        Sender::Floor => Counter {
            process: &sender,
            key: "frames",
        },
        _ => Counter {
            process: &viewer,
            key: "frames_whole",
        },
    };
    f(&sender, counter)
}
