//! Frames that arrive with the kernel's stock receive buffers, also while a viewer's decoder stands
//! still.

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::Bench;
use crate::child;
use crate::common::net::GROUP;
use crate::common::process::Process;
use crate::programs::{self, Gst, Input, Job, unprivileged};
use crate::table::{Table, target};

/// How a receiver says how many frames it has.
#[derive(Clone, Copy)]
enum Count {
    /// A last JSON object with this key.
    Final(&'static str),
    /// GStreamer's line for each buffer.
    Gst,
    /// ffmpeg's progress.
    Ffmpeg,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Lancam,
    Gst,
    Ffmpeg,
}

pub(crate) fn run(bench: &Bench) {
    bench.buffers.stock();
    let mut table = Table::new(
        "Delivery: 1920x1080 frames that arrive whole with stock `rmem_max` and `rmem_default`",
        &["sender", "receiver", "fps", "arrived", "sent", ""],
    );
    let mut is_complete = true;
    for fps in [30, 60] {
        for (name, what) in [
            ("lancam view, decoding", "decode"),
            ("lancam view, decoder stalled for 1 s", "stall"),
        ] {
            let receiver = child::command(&bench.net.viewer, &["viewer", what]);
            let share = row(
                bench,
                &mut table,
                (Sender::Lancam, fps),
                name,
                &receiver,
                Count::Final("frames_whole"),
            );
            is_complete &= share >= 1.0;
        }
        let plain = child::command(&bench.net.viewer, &["plain"]);
        row(
            bench,
            &mut table,
            (Sender::Lancam, fps),
            "plain `recv`, packet by packet",
            &plain,
            Count::Final("frames"),
        );
        peers(bench, &mut table, Sender::Lancam, fps);
    }
    // What the peers' own senders reach, at the rate of the file.
    if bench.has_gst {
        peers(bench, &mut table, Sender::Gst, 30);
    }
    if bench.has_ffmpeg {
        peers(bench, &mut table, Sender::Ffmpeg, 30);
    }
    bench.buffers.large();
    table.print();
    let share = if is_complete { 100.0 } else { 0.0 };
    target(
        "every frame at 30 and 60 fps, lancam to lancam, stalled or not",
        share,
        " %",
        is_complete,
    );
}

/// GStreamer and ffmpeg as receivers that decode.
fn peers(bench: &Bench, table: &mut Table, sender: Sender, fps: u32) {
    let viewer = &bench.net.viewer;
    if bench.has_gst {
        let gst = Gst {
            has_large_buffer: false,
            counts: true,
            ..Gst::new(Job::Decode)
        };
        row(
            bench,
            table,
            (sender, fps),
            "GStreamer, decoding",
            &gst.command(viewer),
            Count::Gst,
        );
    }
    if bench.has_ffmpeg {
        let folder = tempfile::tempdir().expect("a folder");
        let command = programs::ffmpeg_receive(viewer, Job::Decode, folder.path(), false);
        row(
            bench,
            table,
            (sender, fps),
            "ffmpeg, decoding",
            &command,
            Count::Ffmpeg,
        );
    }
}

/// The share of frames that arrived, of those that were sent.
fn row(
    bench: &Bench,
    table: &mut Table,
    from: (Sender, u32),
    name: &str,
    receiver: &Command,
    count: Count,
) -> f64 {
    let (sender, fps) = from;
    let mut receiver = Process::spawn(name, unprivileged(receiver));
    receiver.wait_until_joined(GROUP);
    let sent = send(bench, sender, fps);
    let arrived = count.settle(&mut receiver);
    let sender = match sender {
        Sender::Lancam => "lancam",
        Sender::Gst => "GStreamer",
        Sender::Ffmpeg => "ffmpeg",
    };
    let share = arrived as f64 / sent as f64;
    table.row([
        sender.to_owned(),
        name.to_owned(),
        fps.to_string(),
        arrived.to_string(),
        sent.to_string(),
        format!("{:.1} %", share * 100.0),
    ]);
    share
}

/// Sends the whole clip once; how many frames that is.
fn send(bench: &Bench, sender: Sender, fps: u32) -> usize {
    let avi = bench.full_hd().avi();
    let (host, input) = (&bench.net.sender, Input::File(&avi));
    let command = match sender {
        Sender::Lancam => programs::lancam_send(host, input, &format!("--fps {fps}")),
        Sender::Gst => programs::gst_send(host, input),
        Sender::Ffmpeg => programs::ffmpeg_send(host, input),
    };
    let mut sending = Process::spawn("sender", command);
    if sender == Sender::Lancam {
        return sending.final_stats()["frames_sent"]
            .as_u64()
            .expect("a count") as usize;
    }
    sending.succeed();
    crate::clips::FRAMES
}

impl Count {
    /// The count once it has stopped growing; ends the receiver.
    fn settle(self, receiver: &mut Process) -> usize {
        if let Count::Final(key) = self {
            thread::sleep(Duration::from_millis(200));
            receiver.signal(Signal::SIGTERM);
            return receiver.final_stats()[key].as_u64().expect("a count") as usize;
        }
        let mut last = usize::MAX;
        loop {
            let now = self.read(&receiver.messages());
            if now == last {
                return now;
            }
            last = now;
            // ffmpeg reports twice a second.
            thread::sleep(Duration::from_millis(1100));
        }
    }

    fn read(self, text: &str) -> usize {
        match self {
            Count::Gst => text.lines().filter(|line| line.contains("chain")).count(),
            _ => {
                let frames = text
                    .lines()
                    .rev()
                    .find_map(|line| line.strip_prefix("frame="));
                frames.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
            }
        }
    }
}
