//! How small and how quick the sender is: the time from starting the process to its first packet
//! and to its line in `lancam list`, its memory at 1080p, and the size of the binaries that
//! deploy/build has made. On loopback.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lancam::net::{BatchReceiver, ReceiveOptions, ReceiveSocket};

const GROUP: &str = "239.255.77.78:17780";
const STARTS: usize = 21;
/// How long a first packet may take at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets after which memory has stopped growing: some seconds of the stream.
const PACKETS: usize = 20_000;

/// A running lancam.
struct Lancam(Child);

impl Lancam {
    fn start(arguments: &[&str], stdout: Stdio) -> Lancam {
        let child = Command::new(env!("CARGO_BIN_EXE_lancam"))
            .args(arguments)
            .args(["--interface", "lo"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn();
        Lancam(child.expect("lancam does not start"))
    }

    fn send(source: &str, name: &str) -> Lancam {
        let mut words = vec!["send", "--source", source, "--name", name];
        words.extend(["--group", GROUP, "--ttl", "0"]);
        Lancam::start(&words, Stdio::null())
    }

    /// A line of /proc/PID/status, in kilobytes.
    fn kilobytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Lancam {
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
    let _sender = Lancam::send(source, "start");
    packets(&mut receiver);
    start.elapsed()
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |n: usize| times[n].as_secs_f64() * 1e3;
    println!(
        "| {what} | {:.1} | {:.1} | {:.1} |",
        ms(0),
        ms(times.len() / 2),
        ms(times.len() - 1)
    );
}

/// From before the process is made to the line of a `lancam list` that runs already.
fn listed() {
    let mut list = Lancam::start(&["list", "--watch", "--json"], Stdio::piped());
    let output = list.0.stdout.take().expect("a pipe");
    let (heard, lines) = mpsc::channel();
    thread::spawn(move || {
        (BufReader::new(output).lines().map_while(Result::ok)).try_for_each(|l| heard.send(l))
    });
    let once = |n: usize| {
        let name = format!("start-{n}");
        let start = Instant::now();
        let _sender = Lancam::send("pattern:1280x720@30", &name);
        // A stream in the same group takes the place of the one before: "changed", not "new".
        let name = format!("\"{name}\"");
        while !(lines.recv_timeout(PATIENCE).expect("it is not listed")).contains(&name) {}
        start.elapsed()
    };
    // The first one waits for the list to be there.
    once(0);
    row(
        "its line in `lancam list`",
        (1..=STARTS).map(once).collect(),
    );
}

fn memory(source: &str) {
    let mut receiver = receiver();
    let sender = Lancam::send(source, "start");
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
    println!("### The sender's start: from before its process is made, {STARTS} times\n");
    println!("| to | best ms | median ms | worst ms |\n|---|---|---|---|");
    for source in ["pattern:1280x720@30", "pattern:1920x1080@30"] {
        let times = (0..STARTS).map(|_| first_packet(source)).collect();
        row(&format!("its first packet, {source}"), times);
    }
    listed();
    println!("\n### Its memory\n\n| source | RSS MB | at most MB |\n|---|---|---|");
    memory("pattern:1920x1080@30");
    sizes();
}
