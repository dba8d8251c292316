//! From a sender on this machine to a window on an X server without a monitor (Xvfb), beside GStreamer's and ffplay's
//! windows: frames shown, how long after capture and after the last packet the server has drawn them, and what that
//! costs client and server.
//!
//!     cargo bench --bench window                      all streams
//!     cargo bench --bench window -- 1920x1080         those whose name has that in it
//!     LANCAM_BASE=BINARY cargo bench --bench window   another build of lancam too

#[allow(dead_code, reason = "the clips serve other benchmarks too")]
#[path = "../peers/clips.rs"]
mod clips;
mod screen;
mod stream;
#[allow(dead_code, reason = "the other columns are not needed here")]
#[path = "../peers/table.rs"]
mod table;
#[path = "../../tests/common/xserver.rs"]
mod xserver;

use std::process::{Command, Stdio};
use std::time::Duration;

use lancam::clock::Mono;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use clips::Clip;
use screen::Shown;
use stream::{Came, Stream};
use table::{Table, figure, percentile};
use xserver::Kept;

const SCREEN: &str = "3840x2160x24";
const GROUP: &str = "239.255.77.1:20770";
/// Until all is at rest, and how long it is measured then.
const START: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(8);
/// How long a player may take until it shows something.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent.
struct Sent {
    size: (usize, usize),
    bytes: usize,
    fps: u32,
    /// The sender's `--pacing`, and what it stands for.
    pacing: (&'static str, &'static str),
    /// Whether the window is to be as large as the picture.
    is_full: bool,
}

const AT_ONCE: (&str, &str) = ("off", "at once");

fn streams() -> Vec<Sent> {
    let hd = |fps, pacing| Sent {
        size: (1920, 1080),
        bytes: 200_000,
        fps,
        pacing,
        is_full: false,
    };
    let uhd = |pacing, is_full| Sent {
        size: (3840, 2160),
        bytes: 600_000,
        fps: 30,
        pacing,
        is_full,
    };
    vec![
        Sent {
            size: (1280, 720),
            bytes: 90_000,
            ..hd(30, AT_ONCE)
        },
        hd(30, AT_ONCE),
        hd(30, ("0.09", "over 3 ms")),
        hd(30, ("0.24", "over 8 ms")),
        hd(60, AT_ONCE),
        hd(60, ("0.18", "over 3 ms")),
        uhd(AT_ONCE, false),
        uhd(("0.24", "over 8 ms"), false),
        uhd(("0.24", "over 8 ms"), true),
    ]
}

enum Program {
    /// A binary, and how many threads help it.
    Lancam(String, Option<u8>),
    Gstreamer,
    Ffplay,
}

fn programs() -> Vec<(&'static str, Program)> {
    let own = || env!("CARGO_BIN_EXE_lancam").to_owned();
    let mut programs = vec![
        ("lancam", Program::Lancam(own(), None)),
        ("lancam, `--decoders 0`", Program::Lancam(own(), Some(0))),
    ];
    if let Ok(base) = std::env::var("LANCAM_BASE") {
        programs.push(("lancam before", Program::Lancam(base, None)));
    }
    programs.push(("GStreamer, ximagesink", Program::Gstreamer));
    programs.push(("ffplay", Program::Ffplay));
    programs
}

/// One program in its window.
struct Measured {
    sent: usize,
    shown: usize,
    /// From capture to the screen, and from the last packet, in ms.
    delays: Vec<f64>,
    rests: Vec<f64>,
    client_ms: f64,
    server_ms: f64,
}

fn main() {
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let mut table = Table::new(
        "In a window",
        &[
            "stream",
            "program",
            "sent",
            "not shown",
            "capture to screen p50 ms",
            "p99 ms",
            "last packet to screen p50 ms",
            "CPU ms a frame: client",
            "X server",
            "together",
        ],
    );
    for sent in streams() {
        let window = if sent.is_full { ", full screen" } else { "" };
        let ((width, height), fps, pacing) = (sent.size, sent.fps, sent.pacing.1);
        let name = format!("{width}x{height}, {fps} fps, {pacing}{window}");
        if !only.is_empty() && !only.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let clip = Clip::get(width, height, sent.bytes);
        for (program_name, program) in programs() {
            // ffmpeg knows no RTP/JPEG above 2040 pixels.
            if width > 2040 && matches!(program, Program::Ffplay) {
                continue;
            }
            let m = measure(&clip, &sent, &program);
            let ms = |value| figure(value, |v| format!("{v:.1}"));
            let cost = |value: f64| figure(value / m.shown as f64, |v| format!("{v:.2}"));
            table.row([
                name.clone(),
                program_name.to_owned(),
                m.sent.to_string(),
                m.sent.saturating_sub(m.shown).to_string(),
                ms(percentile(&m.delays, 0.5)),
                ms(percentile(&m.delays, 0.99)),
                ms(percentile(&m.rests, 0.5)),
                cost(m.client_ms),
                cost(m.server_ms),
                cost(m.client_ms + m.server_ms),
            ]);
        }
    }
    table.print();
}

fn measure(clip: &Clip, sent: &Sent, program: &Program) -> Measured {
    let (server, display) = xserver::start(SCREEN, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let sdp = folder.path().join("stream.sdp");
    let mut sender = Command::new(env!("CARGO_BIN_EXE_lancam"));
    sender
        .args(["send", "--group", GROUP, "--interface", "lo", "--loop"])
        .args(["--fps", &sent.fps.to_string(), "--pacing", sent.pacing.0])
        .arg("--source")
        .arg(clip.avi())
        .arg("--sdp")
        .arg(&sdp)
        .stderr(Stdio::null());
    let _sender = Kept(sender.spawn().expect("the sender starts"));
    let stream = Stream::receive(GROUP, clip);
    let screen = screen::watch(&display, sent.size);
    let mut command = match program {
        Program::Lancam(binary, decoders) => lancam(binary, *decoders, sent),
        Program::Gstreamer => gstreamer(clip),
        Program::Ffplay => ffplay(&sdp),
    };
    let viewer = command
        .env("DISPLAY", &display)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let viewer = Kept(viewer.expect("the viewer starts"));
    let first = screen.recv_timeout(PATIENCE);
    first.expect("a picture on the screen (Debian: apt install gstreamer1.0-x ffmpeg)");
    std::thread::sleep(START);
    let (start, before) = (Mono::now(), costs(&viewer, &server));
    std::thread::sleep(WINDOW);
    let (end, after) = (Mono::now(), costs(&viewer, &server));
    let came: Vec<Came> = stream.end();
    let shown: Vec<Shown> = screen.try_iter().collect();
    let is_within = |at: Mono| start <= at && at < end;
    let shown: Vec<Shown> = shown.into_iter().filter(|s| is_within(s.at)).collect();
    let pairs: Vec<(Came, Shown)> = shown
        .iter()
        .filter_map(|&shown| Some((source(&came, shown)?, shown)))
        .collect();
    let ms = |from: Mono, to: Mono| to.since(from).as_secs_f64() * 1e3;
    Measured {
        sent: came.iter().filter(|c| is_within(c.last_packet)).count(),
        shown: shown.len(),
        delays: pairs.iter().map(|(c, s)| ms(c.captured, s.at)).collect(),
        rests: pairs.iter().map(|(c, s)| ms(c.last_packet, s.at)).collect(),
        client_ms: after.0 - before.0,
        server_ms: after.1 - before.1,
    }
}

/// The newest frame of that number that had come by then.
fn source(came: &[Came], shown: Shown) -> Option<Came> {
    let mut candidates = came.iter().rev();
    candidates
        .find(|c| c.number == shown.number && c.captured <= shown.at)
        .copied()
}

/// What client and server have taken so far, in ms.
fn costs(client: &Kept, server: &Kept) -> (f64, f64) {
    (cpu_ms(client), cpu_ms(server))
}

/// User and system time of a process so far, in ms.
fn cpu_ms(process: &Kept) -> f64 {
    let pid = Pid::from_raw(process.0.id() as i32);
    let clock = ClockId::pid_cpu_clock_id(pid).expect("it runs");
    let time: Duration = clock_gettime(clock).expect("it runs").into();
    time.as_secs_f64() * 1e3
}

fn lancam(binary: &str, decoders: Option<u8>, sent: &Sent) -> Command {
    let mut command = Command::new(binary);
    command.args(["view", GROUP, "--interface", "lo"]);
    if let Some(decoders) = decoders {
        command.args(["--decoders", &decoders.to_string()]);
    }
    if sent.is_full {
        command.args(["--scale", "1"]);
    }
    command
}

fn gstreamer(clip: &Clip) -> Command {
    let (group, port) = GROUP.split_once(':').expect("a port");
    // Beyond 2040 pixels the packets do not say the size (RFC 2435 §3.1.5).
    let caps = format!(
        "'application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26,\
         x-dimensions=(string)\"{},{}\"'",
        clip.width, clip.height
    );
    let words = format!(
        "exec gst-launch-1.0 udpsrc address={group} port={port} multicast-iface=lo \
         buffer-size=8000000 caps={caps} ! rtpjpegdepay ! jpegdec ! videoconvert ! ximagesink sync=false"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &words]);
    command
}

fn ffplay(sdp: &std::path::Path) -> Command {
    let mut command = Command::new("ffplay");
    command
        .args([
            "-protocol_whitelist",
            "file,udp,rtp",
            "-localaddr",
            "127.0.0.1",
        ])
        .args(["-fflags", "nobuffer", "-flags", "low_delay", "-framedrop"])
        .args(["-probesize", "32", "-analyzeduration", "0", "-sync", "ext"])
        .arg(sdp);
    command
}
