//! From a sender on this machine to a window on an X server without a monitor (Xvfb), beside GStreamer's window: frames
//! shown, delay from capture until the server has the picture, and what it costs client and server.
//!
//! What others show is what GStreamer's fpsdisplaysink says it has rendered; nobody else tells the delay.

#[allow(dead_code, reason = "the clips serve other benchmarks too")]
#[path = "peers/clips.rs"]
mod clips;
#[allow(dead_code, reason = "the other columns are not needed here")]
#[path = "peers/table.rs"]
mod table;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use clips::Clip;
use table::Table;

const SCREEN: &str = "3840x2160x24";
const GROUP: &str = "239.255.77.1:20770";
/// What is measured, once the first second has passed.
const SECONDS: u64 = 8;

/// A process that ends with its owner.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Kept {
    /// User and system time so far, in ms.
    fn cpu_ms(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.0.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        // proc_pid_stat(5): fields 14 and 15, in clock ticks; the name before them may hold anything.
        let after = text.rsplit(')').next().expect("fields");
        let ticks = |n: usize| -> f64 {
            let field = after.split_whitespace().nth(n);
            field.and_then(|f| f.parse().ok()).expect("a number")
        };
        (ticks(11) + ticks(12)) * 10.0
    }

    fn interrupt(&self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    }
}

struct Server {
    process: Kept,
    display: String,
}

impl Server {
    fn start() -> Server {
        let mut server = Command::new("Xvfb")
            .args(["-noreset", "-displayfd", "1", "-nolisten", "tcp"])
            .args(["-screen", "0", SCREEN])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb (Debian: apt install xvfb)");
        let mut number = String::new();
        let stdout = server.stdout.take().expect("piped");
        let process = Kept(server);
        BufReader::new(stdout)
            .read_line(&mut number)
            .expect("a display");
        Server {
            process,
            display: format!(":{}", number.trim()),
        }
    }
}

/// One program in its window.
struct Measured {
    shown: f64,
    skipped: f64,
    delay: Option<(f64, f64)>,
    client_ms: f64,
    server_ms: f64,
}

fn main() {
    let mut table = Table::new(
        "In a window",
        &[
            "stream",
            "program",
            "frames shown",
            "skipped",
            "delay p50 ms",
            "p99 ms",
            "CPU ms a frame: client",
            "X server",
            "together",
        ],
    );
    let streams = [
        (1280, 720, 90_000, 30),
        (1920, 1080, 200_000, 30),
        (1920, 1080, 200_000, 60),
        (3840, 2160, 600_000, 30),
    ];
    for (width, height, bytes, fps) in streams {
        let clip = Clip::get(width, height, bytes);
        let stream = format!("{}, {fps} fps", clip.size());
        for (name, program) in programs() {
            let m = measure(&clip, fps, program);
            let delay = |pick: fn((f64, f64)) -> f64| {
                m.delay
                    .map_or("–".to_owned(), |d| format!("{:.1}", pick(d)))
            };
            table.row([
                stream.clone(),
                name,
                format!("{:.0}", m.shown),
                format!("{:.0}", m.skipped),
                delay(|d| d.0),
                delay(|d| d.1),
                format!("{:.2}", m.client_ms / m.shown),
                format!("{:.2}", m.server_ms / m.shown),
                format!("{:.2}", (m.client_ms + m.server_ms) / m.shown),
            ]);
        }
    }
    table.print();
}

#[derive(Clone)]
enum Program {
    Lancam(String),
    Gstreamer,
}

/// This build, another one for comparison (`LANCAM_BASE=BINARY`), GStreamer.
fn programs() -> Vec<(String, Program)> {
    let own = env!("CARGO_BIN_EXE_lancam").to_owned();
    let mut programs = vec![("lancam".to_owned(), Program::Lancam(own))];
    if let Ok(base) = std::env::var("LANCAM_BASE") {
        programs.push(("lancam before".to_owned(), Program::Lancam(base)));
    }
    programs.push(("GStreamer, ximagesink".to_owned(), Program::Gstreamer));
    programs
}

fn measure(clip: &Clip, fps: u32, program: Program) -> Measured {
    let server = Server::start();
    let sender = Command::new(env!("CARGO_BIN_EXE_lancam"))
        .args([
            "send",
            "--group",
            GROUP,
            "--interface",
            "lo",
            "--loop",
            "--fps",
        ])
        .arg(fps.to_string())
        .arg("--source")
        .arg(clip.avi())
        .stderr(Stdio::null())
        .spawn();
    let _sender = Kept(sender.expect("the sender starts"));
    match program {
        Program::Lancam(binary) => lancam(&server, &binary),
        Program::Gstreamer => gstreamer(&server),
    }
}

fn lancam(server: &Server, binary: &str) -> Measured {
    let viewer = Command::new(binary)
        .args(["view", GROUP, "--interface", "lo", "--stats", "-"])
        .env("DISPLAY", &server.display)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut viewer = Kept(viewer.expect("the viewer starts"));
    let stdout = viewer.0.stdout.take().expect("piped");
    // A line a second.
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let mut reports = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap_or(0.0);
    let first = reports
        .find(|r| number(r, "frames_shown") > 0.0)
        .expect("a report");
    let (client, x) = (viewer.cpu_ms(), server.process.cpu_ms());
    let last = reports.nth(SECONDS as usize - 1).expect("another report");
    let delay = &last["delay_ms"];
    Measured {
        shown: number(&last, "frames_shown") - number(&first, "frames_shown"),
        skipped: number(&last, "frames_skipped") - number(&first, "frames_skipped"),
        delay: delay["p50"].as_f64().zip(delay["p99"].as_f64()),
        client_ms: viewer.cpu_ms() - client,
        server_ms: server.process.cpu_ms() - x,
    }
}

fn gstreamer(server: &Server) -> Measured {
    let (group, port) = GROUP.split_once(':').expect("a port");
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26";
    let words = format!(
        "exec gst-launch-1.0 -v udpsrc address={group} port={port} multicast-iface=lo \
         buffer-size=8000000 caps={caps} ! rtpjpegdepay ! jpegdec ! videoconvert ! fpsdisplaysink \
         video-sink=ximagesink text-overlay=false sync=false"
    );
    let viewer = Command::new("sh")
        .args(["-c", &words])
        .env("DISPLAY", &server.display)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut viewer = Kept(viewer.expect("GStreamer starts"));
    let stdout = viewer.0.stdout.take().expect("piped");
    let mut said = BufReader::new(stdout);
    let mut counts = move || loop {
        let mut line = String::new();
        let read = said.by_ref().read_line(&mut line).expect("its output");
        assert!(
            read > 0,
            "GStreamer has ended (Debian: apt install gstreamer1.0-x)"
        );
        let after = |word: &str| -> Option<f64> {
            let rest = line.split(word).nth(1)?;
            rest.split(',').next()?.trim().parse().ok()
        };
        if let Some(counts) = after("rendered: ").zip(after("dropped: ")) {
            return counts;
        }
    };
    let first = counts();
    let (client, x) = (viewer.cpu_ms(), server.process.cpu_ms());
    let start = std::time::Instant::now();
    let mut last = counts();
    while start.elapsed() < Duration::from_secs(SECONDS) {
        last = counts();
    }
    let (client_ms, server_ms) = (viewer.cpu_ms() - client, server.process.cpu_ms() - x);
    viewer.interrupt();
    Measured {
        shown: last.0 - first.0,
        skipped: last.1 - first.1,
        delay: None,
        client_ms,
        server_ms,
    }
}
