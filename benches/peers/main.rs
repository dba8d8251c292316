//! The whole job against GStreamer and ffmpeg doing the same, each in network namespaces of its own
//! on a veth pair: CPU time and system calls a frame, memory, delay, frames delivered. Everything
//! that is compared is measured in one run. Needs root; prints Markdown; leaves nothing behind but
//! the clips in `.cache/clips`.
//!
//!     cargo bench --bench peers                       all tables
//!     cargo bench --bench peers -- short delay        a fifth of the time, for a look; one of: sending,
//!                                                     receiving, delay, delivery, throughput, viewers, status
//!
//! What the tables mean is told in docs/BENCHMARKS.md.

mod child;
mod clips;
mod cost;
mod delay;
mod delivery;
mod feed;
mod machine;
mod programs;
mod receiving;
mod sending;
mod status;
mod table;
mod throughput;
mod viewers;

#[path = "../bare/mod.rs"]
mod bare;
#[path = "../../tests/common/mod.rs"]
mod common;

use clips::Clip;
use common::net::Net;

/// What all tables work with.
pub(crate) struct Bench {
    net: Net,
    clips: [Clip; 2],
    has_gst: bool,
    has_ffmpeg: bool,
    is_short: bool,
    buffers: machine::Buffers,
    /// For what programs leave behind; goes with this.
    folder: tempfile::TempDir,
}

impl Bench {
    fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The clip of 1920x1080.
    fn full_hd(&self) -> &Clip {
        &self.clips[1]
    }

    /// Seconds that one CPU figure is taken over.
    fn window(&self) -> u64 {
        if self.is_short { 2 } else { 5 }
    }

    /// Frames that one delay is taken over.
    fn frames(&self) -> usize {
        if self.is_short { 90 } else { 450 }
    }
}

type Table = fn(&Bench);
const TABLES: [(&str, Table); 7] = [
    ("sending", sending::run),
    ("receiving", receiving::run),
    ("delay", delay::run),
    ("delivery", delivery::run),
    ("throughput", throughput::run),
    ("viewers", viewers::run),
    ("status", status::run),
];

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == child::MARK) {
        return child::run(&words[1..]);
    }
    // cargo adds a flag of its own.
    words.retain(|word| word != "--bench");
    let is_short = words.iter().any(|word| word == "short");
    words.retain(|word| word != "short");
    if let Some(unknown) = words
        .iter()
        .find(|word| TABLES.iter().all(|(name, _)| name != word))
    {
        eprintln!("peers: there is no table {unknown:?}; there are short and:");
        TABLES.iter().for_each(|(name, _)| eprintln!("  {name}"));
        std::process::exit(2);
    }
    let Some(net) = Net::pair("bench peers") else {
        eprintln!("peers: run as root");
        std::process::exit(1);
    };
    let bench = Bench {
        net,
        clips: [
            Clip::get(1280, 720, 150_000),
            Clip::get(1920, 1080, 270_000),
        ],
        has_gst: common::have("GStreamer's rows", &["gst-launch-1.0"]),
        has_ffmpeg: common::have("ffmpeg's rows", &["ffmpeg"]),
        is_short,
        buffers: machine::Buffers::set(),
        folder: tempfile::tempdir().expect("a folder"),
    };
    machine::describe(&bench.clips);
    for (name, table) in TABLES {
        if words.is_empty() || words.iter().any(|word| word == name) {
            table(&bench);
        }
    }
}
