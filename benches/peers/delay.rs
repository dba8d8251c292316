//! Frame handed to the sender → decoded picture: the delay of the whole chain.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use lancam::clock::Mono;
use nix::sys::signal::Signal;

use crate::Bench;
use crate::child::{self, Seen};
use crate::clips::{Clip, DIFFERENT, number};
use crate::common::net::GROUP;
use crate::common::process::Process;
use crate::common::wait_for;
use crate::feed::{START, feed, widen};
use crate::programs::{self, Gst, Input, Job};
use crate::table::{Table, percentile, target};

/// Frames before the first that counts: programs look at the first ones before they start.
const WARM_UP: usize = 30;

/// Delays in milliseconds, and how many frames were handed over.
struct Delays {
    values: Vec<f64>,
    frames: usize,
}

pub(crate) fn run(bench: &Bench) {
    let mut table = Table::new(
        "Delay: frame handed to the sender → decoded picture, 1920x1080, 30 fps, unpaced",
        &["", "p50 ms", "p99 ms", "least ms", "frames seen"],
    );
    let (camera, viewer) = (&bench.net.sender, &bench.net.viewer);
    let bare = add(&mut table, "bare turbojpeg, no network", bare(bench));
    let ours = {
        let sender = programs::lancam_send(camera, Input::Pipe, "--pacing off");
        add(&mut table, "lancam", lancam(bench, sender))
    };
    let mut peers = Vec::new();
    if bench.has_gst {
        for has_jitter_buffer in [true, false] {
            let name = if has_jitter_buffer {
                "GStreamer, its jitter buffer, shown when due"
            } else {
                "GStreamer, without jitter buffer"
            };
            let gst = Gst {
                has_jitter_buffer,
                ..Gst::new(Job::Write)
            };
            let delays = peer(
                bench,
                programs::gst_send(camera, Input::Pipe),
                gst.command(viewer),
                bytes_420(bench.full_hd()),
            );
            peers.push(add(&mut table, name, delays));
        }
    }
    if bench.has_ffmpeg {
        let folder = tempfile::tempdir().expect("a folder");
        let receive = programs::ffmpeg_receive(viewer, Job::Write, folder.path(), true);
        let delays = peer(
            bench,
            programs::ffmpeg_send(camera, Input::Pipe),
            receive,
            bytes_422(bench.full_hd()),
        );
        peers.push(add(&mut table, "ffmpeg, its lowest delay", delays));
    }
    if bench.has_gst && bench.has_ffmpeg {
        let receive = Gst::new(Job::Write).command(viewer);
        let delays = peer(
            bench,
            programs::ffmpeg_send(camera, Input::Pipe),
            receive,
            bytes_420(bench.full_hd()),
        );
        peers.push(add(
            &mut table,
            "ffmpeg → GStreamer, without jitter buffer",
            delays,
        ));
    }
    table.print();
    let best = peers.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    target(
        "lancam's p50 below every peer's, by",
        best - ours.0,
        " ms",
        best > ours.0,
    );
    target(
        "p50 over bare decoding, at most 0.7 ms",
        ours.0 - bare.0,
        " ms",
        ours.0 - bare.0 <= 0.7,
    );
    target(
        "p99 over bare decoding, at most 1.5 ms",
        ours.1 - bare.1,
        " ms",
        ours.1 - bare.1 <= 1.5,
    );
}

/// One row; p50 and p99.
fn add(table: &mut Table, name: &str, delays: Delays) -> (f64, f64) {
    let (p50, p99) = (
        percentile(&delays.values, 0.5),
        percentile(&delays.values, 0.99),
    );
    table.row([
        name.to_owned(),
        format!("{p50:.2}"),
        format!("{p99:.2}"),
        format!("{:.2}", percentile(&delays.values, 0.0)),
        format!("{} of {}", delays.values.len(), delays.frames),
    ]);
    (p50, p99)
}

/// Bytes of a decoded picture as GStreamer's decoder gives it, whatever the sampling.
fn bytes_420(clip: &Clip) -> usize {
    clip.width * clip.height * 3 / 2
}

/// The same as ffmpeg gives it.
fn bytes_422(clip: &Clip) -> usize {
    clip.width * clip.height * 2
}

/// Decoding alone, in a process that wakes up for each frame as a viewer does.
fn bare(bench: &Bench) -> Delays {
    let folder = bench.full_hd().folder().to_str().expect("a plain path");
    let mut bare = Process::spawn("bare", child::command(&bench.net.viewer, &["bare", folder]));
    let frames = bench.frames() + WARM_UP;
    bare.wait_for_stats("enough frames", |v| {
        v["frames"].as_u64() >= Some(frames as u64)
    });
    bare.stop(Signal::SIGTERM);
    let seen = child::seen(&mut bare);
    let values: Vec<_> = seen[WARM_UP..frames]
        .iter()
        .map(|s| millis(s.begun, s.done))
        .collect();
    Delays {
        values,
        frames: frames - WARM_UP,
    }
}

fn lancam(bench: &Bench, sender: Command) -> Delays {
    let mut viewer = Process::spawn(
        "lancam's viewer",
        child::command(&bench.net.viewer, &["viewer", "decode"]),
    );
    viewer.wait_until_joined(GROUP);
    let handed = feed(
        &bench.full_hd().frames,
        bench.frames() + WARM_UP,
        sender,
        false,
    );
    viewer.stop(Signal::SIGTERM);
    delays(&handed, &child::seen(&mut viewer))
}

fn peer(bench: &Bench, sender: Command, receiver: Command, picture_bytes: usize) -> Delays {
    let receiver = Raw::start(receiver, picture_bytes, bench.full_hd().width);
    let pid = receiver.child.id();
    wait_for("a peer to join", || {
        crate::common::net::is_member(pid, GROUP).then_some(())
    });
    thread::sleep(START);
    let handed = feed(
        &bench.full_hd().frames,
        bench.frames() + WARM_UP,
        sender,
        true,
    );
    delays(&handed, &receiver.stop())
}

/// Each frame seen belongs to the last one handed over with its number.
fn delays(handed: &[u64], seen: &[Seen]) -> Delays {
    let values = seen.iter().filter_map(|s| {
        let n = (0..handed.len())
            .rev()
            .find(|&n| n % DIFFERENT == s.number && handed[n] < s.done)?;
        (n >= WARM_UP).then(|| millis(handed[n], s.done))
    });
    Delays {
        values: values.collect(),
        frames: handed.len() - WARM_UP,
    }
}

fn millis(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 * 1e-6
}

/// A receiver that writes decoded pictures to its standard output. A picture counts as decoded when
/// its first bytes arrive: writing it out is not part of the job.
struct Raw {
    child: Child,
    reader: JoinHandle<Vec<Seen>>,
}

impl Raw {
    fn start(mut command: Command, picture_bytes: usize, width: usize) -> Raw {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a peer");
        let output = child.stdout.take().expect("its output");
        widen(&output);
        let reader = thread::spawn(move || read_pictures(output, picture_bytes, width));
        Raw { child, reader }
    }

    fn stop(mut self) -> Vec<Seen> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.join().expect("the reader")
    }
}

fn read_pictures(mut output: ChildStdout, picture_bytes: usize, width: usize) -> Vec<Seen> {
    let mut picture = vec![0; picture_bytes];
    let mut seen = Vec::new();
    while let Ok(len @ 1..) = output.read(&mut picture) {
        let done = Mono::now().0;
        if output.read_exact(&mut picture[len..]).is_err() {
            break;
        }
        // Both layouts begin with all of the brightness.
        let number = number(|x, y| picture[y * width + x]);
        seen.push(Seen {
            number,
            done,
            ..Seen::default()
        });
    }
    seen
}
