//! Where the figures come from, and the kernel's settings that some of them are taken under.

use std::fs;
use std::process::Command;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Bench;
use crate::clips::FPS;

/// `net.core.rmem_*` as Linux ships it, in bytes.
pub(crate) const STOCK: &str = "212992";
const RMEM: [&str; 2] = [
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/rmem_default",
];

/// Prints the machine, the programs and the clips.
pub(crate) fn describe(bench: &Bench) {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{model}, {cores} cores; Linux {}; {}; load {} at the start; rmem_max {}, rmem_default {}.",
        read("/proc/sys/kernel/osrelease"),
        chrono::Local::now().format("%Y-%m-%d"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
        read(RMEM[0]),
        read(RMEM[1])
    );
    let lancam = first_line(env!("CARGO_BIN_EXE_lancam"), "--version");
    println!(
        "{lancam}; {}; {}.",
        first_line("gst-launch-1.0", "--version"),
        first_line("ffmpeg", "-version")
    );
    for clip in &bench.clips {
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

/// The kernel's receive buffers as it ships them, for as long as this lives; put back even if the run is
/// interrupted.
pub(crate) struct StockBuffers {
    signals: signal_hook::iterator::Handle,
    before: [String; 2],
}

impl StockBuffers {
    pub(crate) fn set() -> StockBuffers {
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
        write(&[STOCK, STOCK].map(str::to_owned));
        StockBuffers {
            signals: handle,
            before,
        }
    }
}

impl Drop for StockBuffers {
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
