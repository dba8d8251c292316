//! Multicast to frames, and to decoded pictures: what the receiver costs.

use std::process::Command;

use crate::Bench;
use crate::child;
use crate::clips::Clip;
use crate::common::net::{GROUP, INTERFACE};
use crate::common::process::Process;
use crate::cost::{Cost, Counter, measure};
use crate::programs::{self, Gst, Input, Job};
use crate::table::{Table, target};

pub(crate) fn run(bench: &Bench) {
    let mut table = Table::new(
        "Receiver: multicast → frames",
        &[
            "",
            "frame",
            "decoding",
            "sent",
            "CPU ms/frame",
            "RSS MB",
            "frames/s",
        ],
    );
    let mut verdicts = Vec::new();
    for clip in &bench.clips {
        let mut rows = Rows {
            bench,
            clip,
            table: &mut table,
            pacing: Pacing::Auto,
        };
        let viewer = &bench.net.viewer;
        for pacing in [Pacing::Off, Pacing::Auto] {
            rows.pacing = pacing;
            let ours = rows
                .add("lancam", "no", programs::lancam_view(viewer))
                .cpu_ms;
            let floor = rows
                .add(
                    "bare `recvmmsg` + GRO + memcpy",
                    "no",
                    child::command(viewer, &["floor-receive"]),
                )
                .cpu_ms;
            let best = rows.peers(Job::Take);
            let what = |who: &str| {
                format!(
                    "{}, {}: {who} less CPU than the better peer, at least 8x",
                    clip.size(),
                    pacing.name()
                )
            };
            verdicts.push((what("lancam"), best / ours, "x", best / ours >= 8.0));
            let bare = what("the bare system call");
            verdicts.push((bare, best / floor, "x", best / floor >= 8.0));
        }
        cut(bench, true);
        rows.add(
            "lancam, packets one by one",
            "no",
            programs::lancam_view(viewer),
        );
        cut(bench, false);
        let decoding = rows.add(
            "lancam",
            "yes",
            child::command(viewer, &["viewer", "decode"]),
        );
        let bare = rows.bare().cpu_ms;
        rows.peers(Job::Decode);
        let ratio = decoding.cpu_ms / bare;
        verdicts.push((
            format!(
                "{}: decoding against bare turbojpeg, at most 1.1x",
                clip.size()
            ),
            ratio,
            "x",
            ratio <= 1.1,
        ));
        let rss = decoding.rss_mb;
        verdicts.push((
            format!("{}: viewer's memory, under 48 MB", clip.size()),
            rss,
            " MB",
            rss < 48.0,
        ));
    }
    table.print();
    for (what, value, unit, is_kept) in verdicts {
        target(&what, value, unit, is_kept);
    }
}

/// Whether packets come one by one, as from a network card, or joined as the sender gave them to
/// the kernel.
fn cut(bench: &Bench, is_on: bool) {
    let state = if is_on { "off" } else { "on" };
    bench.net.sender.run(&format!(
        "ethtool -K {INTERFACE} tx-udp-segmentation {state} gso {state} >/dev/null"
    ));
}

/// How lancam's sender spreads the frames.
#[derive(Clone, Copy)]
enum Pacing {
    /// As it does by default: in bursts that a stock receive buffer holds.
    Auto,
    /// Each frame at once, as the peers' senders do.
    Off,
}

impl Pacing {
    fn flags(self) -> &'static str {
        match self {
            Pacing::Auto => "",
            Pacing::Off => "--pacing off",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Pacing::Auto => "paced",
            Pacing::Off => "at once",
        }
    }
}

struct Rows<'a> {
    bench: &'a Bench,
    clip: &'a Clip,
    table: &'a mut Table,
    pacing: Pacing,
}

impl Rows<'_> {
    /// A row for a receiver of what lancam sends.
    fn add(&mut self, name: &str, decoding: &str, receiver: Command) -> Cost {
        let mut receiver = Process::spawn(name, receiver);
        receiver.wait_until_joined(GROUP);
        let avi = self.clip.avi();
        let sender = programs::lancam_send(
            &self.bench.net.sender,
            Input::File(&avi),
            self.pacing.flags(),
        );
        let sender = Process::spawn("lancam send", sender);
        let counter = Counter {
            process: &sender,
            key: "frames_sent",
        };
        let cost = measure(&receiver, counter, self.bench.window());
        self.write(name, decoding, self.pacing.name(), cost)
    }

    /// Nothing but turbojpeg.
    fn bare(&mut self) -> Cost {
        let folder = self.clip.folder().to_str().expect("a plain path");
        let bare = Process::spawn(
            "bare",
            child::command(&self.bench.net.viewer, &["bare", folder]),
        );
        let counter = Counter {
            process: &bare,
            key: "frames",
        };
        let cost = measure(&bare, counter, self.bench.window());
        self.write("bare turbojpeg, no network", "yes", "-", cost)
    }

    /// Rows for the peers; the lower CPU time of them.
    fn peers(&mut self, job: Job) -> f64 {
        let viewer = &self.bench.net.viewer;
        let decoding = if job == Job::Take { "no" } else { "yes" };
        let mut best = f64::INFINITY;
        if self.bench.has_gst {
            best = best.min(
                self.add("GStreamer", decoding, Gst::new(job).command(viewer))
                    .cpu_ms,
            );
        }
        if self.bench.has_ffmpeg {
            let folder = tempfile::tempdir().expect("a folder");
            let command = programs::ffmpeg_receive(viewer, job, folder.path(), true);
            best = best.min(self.add("ffmpeg", decoding, command).cpu_ms);
        }
        best
    }

    fn write(&mut self, name: &str, decoding: &str, sent: &str, cost: Cost) -> Cost {
        self.table.row([
            name.to_owned(),
            self.clip.size(),
            decoding.to_owned(),
            sent.to_owned(),
            format!("{:.3}", cost.cpu_ms),
            format!("{:.1}", cost.rss_mb),
            format!("{:.1}", cost.fps),
        ]);
        cost
    }
}
