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
#[path = "../tests/common/xserver.rs"]
mod xserver;

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

use clips::Clip;
use table::Table;
use xserver::Kept;

const SCREEN: &str = "3840x2160x24";
const GROUP: &str = "239.255.77.1:20770";
/// What is measured, once the first second has passed.
const SECONDS: u64 = 8;

/// User and system time of a process so far, in ms.
fn cpu_ms(process: &Kept) -> f64 {
    let pid = Pid::from_raw(process.0.id() as i32);
    let clock = ClockId::pid_cpu_clock_id(pid).expect("it runs");
    let time: Duration = clock_gettime(clock).expect("it runs").into();
    time.as_secs_f64() * 1e3
}

/// What client and server have taken so far, in ms.
fn costs(client: &Kept, server: &Server) -> (f64, f64) {
    (cpu_ms(client), cpu_ms(&server.process))
}

struct Server {
    process: Kept,
    display: String,
}

impl Server {
    fn start() -> Server {
        let (process, display) = xserver::start(SCREEN, &[]);
        Server { process, display }
    }

    /// Starts a viewer on it; also what it says.
    fn view(&self, mut viewer: Command) -> (Kept, BufReader<ChildStdout>) {
        let viewer = viewer
            .env("DISPLAY", &self.display)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut viewer = Kept(viewer.expect("the viewer starts"));
        let stdout = viewer.0.stdout.take().expect("piped");
        (viewer, BufReader::new(stdout))
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
        Program::Gstreamer => gstreamer(&server, clip),
    }
}

fn lancam(server: &Server, binary: &str) -> Measured {
    let mut command = Command::new(binary);
    command.args(["view", GROUP, "--interface", "lo", "--stats", "-"]);
    let (viewer, said) = server.view(command);
    // A line a second.
    let lines = said.lines().map_while(Result::ok);
    let mut reports = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap_or(0.0);
    let first = reports
        .find(|r| number(r, "frames_shown") > 0.0)
        .expect("a report");
    let before = costs(&viewer, server);
    let last = reports.nth(SECONDS as usize - 1).expect("another report");
    let after = costs(&viewer, server);
    let delay = &last["delay_ms"];
    Measured {
        shown: number(&last, "frames_shown") - number(&first, "frames_shown"),
        skipped: number(&last, "frames_skipped") - number(&first, "frames_skipped"),
        delay: delay["p50"].as_f64().zip(delay["p99"].as_f64()),
        client_ms: after.0 - before.0,
        server_ms: after.1 - before.1,
    }
}

fn gstreamer(server: &Server, clip: &Clip) -> Measured {
    let (group, port) = GROUP.split_once(':').expect("a port");
    // Beyond 2040 pixels the packets do not say the size (RFC 2435 §3.1.5).
    let caps = format!(
        "'application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26,\
         x-dimensions=(string)\"{},{}\"'",
        clip.width, clip.height
    );
    let words = format!(
        "exec gst-launch-1.0 -v udpsrc address={group} port={port} multicast-iface=lo \
         buffer-size=8000000 caps={caps} ! rtpjpegdepay ! jpegdec ! videoconvert ! fpsdisplaysink \
         video-sink=ximagesink text-overlay=false sync=false"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &words]);
    let (viewer, said) = server.view(command);
    let mut counts = said.lines().map_while(Result::ok).filter_map(|line| {
        let after = |word: &str| -> Option<f64> {
            let rest = line.split(word).nth(1)?;
            rest.split(',').next()?.trim().parse().ok()
        };
        after("rendered: ").zip(after("dropped: "))
    });
    let mut next = || {
        let next = counts.next();
        next.expect("GStreamer's counts (Debian: apt install gstreamer1.0-x)")
    };
    let first = next();
    let (start, before) = (Instant::now(), costs(&viewer, server));
    let mut last = next();
    while start.elapsed() < Duration::from_secs(SECONDS) {
        last = next();
    }
    let after = costs(&viewer, server);
    Measured {
        shown: last.0 - first.0,
        skipped: last.1 - first.1,
        delay: None,
        client_ms: after.0 - before.0,
        server_ms: after.1 - before.1,
    }
}
