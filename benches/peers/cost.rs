//! What a running program costs: between two moments of its run, so that its start does not count.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::process::Process;

/// Cost of one program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time of all its threads, in milliseconds a frame.
    pub(crate) cpu_ms: f64,
    /// Most memory it ever had, in megabytes.
    pub(crate) rss_mb: f64,
    /// Frames a second meanwhile.
    pub(crate) fps: f64,
}

/// Who counts frames, once a second, as a JSON object on standard output; and under which key.
#[derive(Clone, Copy)]
pub(crate) struct Counter<'a> {
    pub(crate) process: &'a Process,
    pub(crate) key: &'static str,
}

impl Counter<'_> {
    /// Waits for a report that `wanted` holds of: seconds since the counter's start, frames.
    fn wait(&self, wanted: impl Fn(f64, f64) -> bool) -> (f64, f64) {
        let read = |v: &Value| (v["uptime_s"].as_f64(), v[self.key].as_f64());
        let is_wanted = |v: &Value| matches!(read(v), (Some(at), Some(n)) if wanted(at, n));
        let value = self.process.wait_for_stats("more frames", is_wanted);
        (
            value["uptime_s"].as_f64().unwrap_or(0.0),
            value[self.key].as_f64().unwrap_or(0.0),
        )
    }

    /// Waits until half a second of video has come.
    fn wait_for_start(&self) -> (f64, f64) {
        self.wait(|_, frames| frames >= 15.0)
    }
}

/// Takes the cost of `measured` over `seconds`.
pub(crate) fn measure(measured: &Process, counter: Counter<'_>, seconds: u64) -> Cost {
    let (start, frames_before) = counter.wait_for_start();
    let before = cpu_time(measured.pid());
    let (end, frames) = counter.wait(|at, _| at > start + seconds as f64 - 0.2);
    let cpu = cpu_time(measured.pid()) - before;
    let frames = frames - frames_before;
    Cost {
        cpu_ms: cpu.as_secs_f64() * 1e3 / frames,
        rss_mb: peak_memory(measured.pid()),
        fps: frames / (end - start),
    }
}

/// System calls a frame, counted over three seconds by strace; `None` where it is not installed.
pub(crate) fn syscalls(measured: &Process, counter: Counter<'_>) -> Option<f64> {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = folder.path().join("summary");
    // Attached right after one report and ended right after another one, so that both count the
    // same frames.
    let (start, before) = counter.wait_for_start();
    let mut strace = Command::new("strace")
        .args(["-q", "-c", "-f", "-p", &measured.pid().to_string(), "-o"])
        .arg(&summary)
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let (_, after) = counter.wait(|at, _| at > start + 2.8);
    let _ = kill(Pid::from_raw(strace.id() as i32), Signal::SIGINT);
    let _ = strace.wait();
    let text = fs::read_to_string(summary).ok()?;
    let total = text.lines().rev().find(|line| line.ends_with("total"))?;
    let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
    Some(calls / (after - before))
}

/// User and system time of all threads of a process, those that have ended included.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).expect("the process lives");
    clock_gettime(clock).expect("the process lives").into()
}

/// What the threads of this name have taken since they began. proc(5),
/// /proc/PID/task/TID/schedstat: the first number is the time on the processor in nanoseconds.
pub(crate) fn thread_time(pid: u32, name: &str) -> Duration {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let nanoseconds = (threads.flatten())
        .filter(|thread| read(thread.path().join("comm")).trim_end() == name)
        .filter_map(|thread| {
            let figures = read(thread.path().join("schedstat"));
            figures.split_whitespace().next()?.parse::<u64>().ok()
        });
    Duration::from_nanos(nanoseconds.sum())
}

/// Peak of the resident memory in megabytes.
fn peak_memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}
