//! Where the figures come from, and the kernel's settings that some of them are taken under.

use std::fs;
use std::process::Command;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clips::{Clip, FPS};

/// `net.core.rmem_*` as Linux ships it, in bytes.
const STOCK: &str = "212992";
/// More than any of the programs asks for.
const LARGE: &str = "8388608";
const RMEM: [&str; 2] = [
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/rmem_default",
];

/// Prints the machine, the programs and the clips.
pub(crate) fn describe<'a>(clips: impl IntoIterator<Item = &'a Clip>) {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{model}, {cores} cores; Linux {}; {}; load {} at the start.",
        read("/proc/sys/kernel/osrelease"),
        chrono::Local::now().format("%Y-%m-%d"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?")
    );
    let lancam = first_line(env!("CARGO_BIN_EXE_lancam"), "--version");
    println!(
        "{lancam}; {}; {}.",
        first_line("gst-launch-1.0", "--version"),
        first_line("ffmpeg", "-version")
    );
    for clip in clips {
        println!(
            "Clip {}: 4:2:2, {} KB a frame, {FPS} fps.",
            clip.size(),
            clip.mean_size() / 1000
        );
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn first_line(program: &str, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map_or(String::new(), |o| {
        String::from_utf8_lossy(&o.stdout).into_owned()
    });
    let line = text.lines().next().unwrap_or("not installed");
    line.split(" Copyright").next().unwrap_or(line).to_owned()
}

/// The kernel's limits of receive buffers: large ones, so that programs get what they ask for, or
/// what Linux ships. Put back as they were when this goes, even if the run is interrupted.
pub(crate) struct Buffers {
    signals: signal_hook::iterator::Handle,
    before: [String; 2],
}

impl Buffers {
    /// Sets large ones.
    pub(crate) fn set() -> Buffers {
        let before = RMEM.map(read);
        let mut signals = Signals::new([SIGINT, SIGTERM]).expect("signal handlers");
        let handle = signals.handle();
        let restore = before.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                write(&restore);
                std::process::exit(130);
            }
        });
        let buffers = Buffers {
            signals: handle,
            before,
        };
        buffers.large();
        buffers
    }

    /// Stock limit and default.
    pub(crate) fn stock(&self) {
        write(&[STOCK, STOCK].map(str::to_owned));
    }

    /// A large limit, the stock default.
    pub(crate) fn large(&self) {
        write(&[LARGE, STOCK].map(str::to_owned));
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        write(&self.before);
        self.signals.close();
    }
}

fn write(values: &[String; 2]) {
    for (path, value) in RMEM.iter().zip(values) {
        if let Err(error) = fs::write(path, value) {
            eprintln!("{path} stays as it is: {error}");
        }
    }
}
