//! How small and how quick the sender is: the time from starting the process to its first packet, its memory at 1080p,
//! and the size of the binaries that deploy/build has made. On loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lancam::net::{BatchReceiver, ReceiveOptions, ReceiveSocket};

const GROUP: &str = "239.255.77.78:17780";
const STARTS: usize = 21;
/// How long a first packet may take at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets after which memory has stopped growing: some seconds of the stream.
const PACKETS: usize = 20_000;

struct Sender(Child);

impl Sender {
    fn start(source: &str) -> Sender {
        let child = Command::new(env!("CARGO_BIN_EXE_lancam"))
            .args(["send", "--source", source, "--group", GROUP])
            .args(["--interface", "lo", "--ttl", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Sender(child.expect("lancam does not start"))
    }

    /// A line of /proc/PID/status, in kilobytes.
    fn kilobytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn receiver() -> BatchReceiver {
    let group: SocketAddr = GROUP.parse().unwrap();
    let mut options = ReceiveOptions::new(group);
    options.interface = Some("lo".to_owned());
    BatchReceiver::new(ReceiveSocket::open(&options).expect("no multicast on loopback"))
}

/// Those that came at once, at least one.
fn packets(receiver: &mut BatchReceiver) -> usize {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let batch = receiver.receive(None).expect("cannot receive");
        let count = batch.datagrams().count();
        if count > 0 {
            return count;
        }
    }
    panic!("no packet came within {PATIENCE:?}");
}

/// From before the process is made to its first packet.
fn first_packet(source: &str) -> Duration {
    let mut receiver = receiver();
    let start = Instant::now();
    let _sender = Sender::start(source);
    packets(&mut receiver);
    start.elapsed()
}

fn starts(source: &str) {
    let mut times: Vec<Duration> = (0..STARTS).map(|_| first_packet(source)).collect();
    times.sort();
    let ms = |n: usize| times[n].as_secs_f64() * 1e3;
    println!(
        "| {source} | {:.1} | {:.1} | {:.1} |",
        ms(0),
        ms(STARTS / 2),
        ms(STARTS - 1)
    );
}

fn memory(source: &str) {
    let mut receiver = receiver();
    let sender = Sender::start(source);
    let mut seen = 0;
    while seen < PACKETS {
        seen += packets(&mut receiver);
    }
    println!(
        "| {source} | {:.1} | {:.1} |",
        sender.kilobytes("VmRSS:") as f64 / 1024.0,
        sender.kilobytes("VmHWM:") as f64 / 1024.0
    );
}

fn sizes() {
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/board");
    let mut files: Vec<_> = fs::read_dir(&board)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        println!("\nNo binary in {}: see deploy/build.", board.display());
        return;
    }
    println!("\n| binary | bytes |\n|---|---|");
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "| {name} | {} |",
            fs::metadata(&file).map_or(0, |m| m.len())
        );
    }
}

fn main() {
    println!("### The sender's start: process made → first packet, {STARTS} times\n");
    println!("| source | best ms | median ms | worst ms |\n|---|---|---|---|");
    for source in ["pattern:1280x720@30", "pattern:1920x1080@30"] {
        starts(source);
    }
    println!("\n### Its memory\n\n| source | RSS MB | at most MB |\n|---|---|---|");
    memory("pattern:1920x1080@30");
    sizes();
}
