//! The whole job against GStreamer and ffmpeg, each in its own process, over a veth pair between two network
//! namespaces: a file to RTP/JPEG to multicast, and multicast to decoded pictures. Prints Markdown tables; every
//! comparison comes from one run on one machine, with the receive buffers of an untouched kernel.
//!
//!     cargo bench --bench peers            everything, about ten minutes
//!     cargo bench --bench peers -- delay   one table: cpu, rate, delay, stall
#![cfg(feature = "send")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "../tests/common/mod.rs"]
mod common;

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, INTERFACE, Net, PORT, is_member};
use common::{have, wait_for};

const CAPS: &str =
    "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=JPEG,payload=26";
/// How long CPU time is added up.
const SPAN: Duration = Duration::from_secs(6);
const FPS: u32 = 30;
/// Frames of one delay measurement.
const DELAYS: usize = 200;

fn main() {
    let tools = ["gst-launch-1.0", "ffmpeg", "cjpeg", "strace"];
    if !have("bench", &tools) {
        std::process::exit(1);
    }
    let Some(net) = Net::pair("bench") else {
        std::process::exit(1)
    };
    let stock = StockBuffers::set();
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);

    print_machine(&stock);
    let clips = [
        Clip::get(Kind {
            frames: 30,
            noise: 9,
            ..Kind::new(1280, 720, Chroma::C422)
        }),
        Clip::get(Kind {
            frames: 30,
            noise: 6,
            ..Kind::new(1920, 1080, Chroma::C422)
        }),
    ];
    let films: Vec<Film<'_>> = clips.iter().map(Film::make).collect();
    if wants("cpu") {
        senders(&net, &films);
        receivers(&net, &films);
    }
    if wants("rate") {
        rates(&net, &films[1]);
    }
    if wants("delay") {
        delays(&net, &films);
    }
    if wants("stall") {
        stall(&net, &films[1]);
    }
}

// ---- the machine ----

/// The kernel's own limits for receive buffers while this lives.
struct StockBuffers(Vec<(&'static str, String)>);

impl StockBuffers {
    const BYTES: &'static str = "212992";
    const PATHS: [&'static str; 2] = [
        "/proc/sys/net/core/rmem_max",
        "/proc/sys/net/core/rmem_default",
    ];

    fn set() -> StockBuffers {
        let mut before: Vec<(&'static str, String)> = Vec::new();
        for path in Self::PATHS {
            let value = fs::read_to_string(path).unwrap_or_default();
            if value.trim() == Self::BYTES {
                continue;
            }
            if fs::write(path, Self::BYTES).is_ok() {
                before.push((path, value));
            }
        }
        // Put back too when the run is interrupted.
        let again = StockBuffers(before.clone());
        let mut signals = signal_hook::iterator::Signals::new([
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
        ])
        .unwrap();
        std::thread::spawn(move || {
            signals.forever().next();
            drop(again);
            std::process::exit(1);
        });
        StockBuffers(before)
    }

    fn describe(&self) -> String {
        let values: Vec<String> = Self::PATHS
            .iter()
            .map(|path| {
                fs::read_to_string(path)
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .collect();
        let note = if values.iter().any(|v| v != Self::BYTES) {
            " (NOT those of an untouched kernel: not root)"
        } else {
            ""
        };
        format!("rmem_max {}, rmem_default {}{note}", values[0], values[1])
    }
}

impl Drop for StockBuffers {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            let _ = fs::write(path, value);
        }
    }
}

fn print_machine(stock: &StockBuffers) {
    let line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        text.lines().next().unwrap_or("").to_owned()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{}, {}; {cores} cores,{}; Linux {}",
        line("date", &["-u", "+%F"]),
        line("lsb_release", &["-ds"]),
        model
            .trim_start_matches(['\t', ' ', ':'])
            .to_owned()
            .split_once('@')
            .map_or(
                format!(" {}", model.trim_start_matches(['\t', ' ', ':'])),
                |(m, _)| format!(" {}", m.trim())
            ),
        line("uname", &["-r"])
    );
    println!(
        "Peers: {}; {}",
        line("gst-launch-1.0", &["--version"]).replace("gst-launch-1.0 version", "GStreamer"),
        line("ffmpeg", &["-version"])
            .split(" Copyright")
            .next()
            .unwrap_or("")
    );
    println!(
        "Receive buffers: {}. Receivers run without privileges.\n",
        stock.describe()
    );
}

// ---- films ----

/// A clip that is long enough, in a container that every program reads.
struct Film<'a> {
    clip: &'a Clip,
    avi: PathBuf,
    /// Mean size of a frame.
    bytes: usize,
}

impl Film<'_> {
    fn make(clip: &Clip) -> Film<'_> {
        let avi = clip.avi().with_file_name(format!("long-{FPS}.avi"));
        if !avi.exists() {
            let draft = avi.with_extension("part.avi");
            let status = Command::new("ffmpeg")
                .args([
                    "-v",
                    "error",
                    "-y",
                    "-stream_loop",
                    "39",
                    "-f",
                    "mjpeg",
                    "-framerate",
                    &FPS.to_string(),
                    "-i",
                ])
                .arg(clip.mjpeg())
                .args(["-c", "copy"])
                .arg(&draft)
                .status();
            assert!(status.expect("ffmpeg").success());
            fs::rename(draft, &avi).unwrap();
        }
        let bytes = clip.frames.iter().map(Vec::len).sum::<usize>() / clip.frames.len();
        Film { clip, avi, bytes }
    }

    fn label(&self) -> String {
        let kind = self.clip.kind;
        format!("{}x{}, {} KB", kind.width, kind.height, self.bytes / 1000)
    }
}

// ---- processes ----

/// A child that ends with this value.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn wait_until_joined(&mut self, what: &str) {
        let pid = self.pid();
        wait_for(&format!("{what} to join"), || {
            if let Some(status) = self.0.try_wait().unwrap() {
                panic!("{what} ended with {status}");
            }
            is_member(pid, GROUP).then_some(())
        });
    }

    /// CPU time of all its threads so far.
    fn cpu(&self) -> Duration {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid())) else {
            return Duration::ZERO;
        };
        let nanos = |task: fs::DirEntry| -> Option<u64> {
            fs::read_to_string(task.path().join("schedstat"))
                .ok()?
                .split(' ')
                .next()?
                .parse()
                .ok()
        };
        Duration::from_nanos(tasks.filter_map(|task| nanos(task.ok()?)).sum())
    }

    /// The most memory it has had, in MB.
    fn peak_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap_or("0");
        line.split_whitespace()
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1024.0
    }

    /// System calls of all its threads during `span`.
    fn syscalls(&self, span: Duration) -> f64 {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("strace");
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-p", &self.pid().to_string(), "-o"])
            .arg(&out);
        let mut strace = Running::start(command);
        let attached = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
            (!status.contains("TracerPid:\t0")).then_some(())
        };
        wait_for("strace", attached);
        std::thread::sleep(span);
        kill(Pid::from_raw(strace.pid() as i32), Signal::SIGINT).unwrap();
        strace.0.wait().unwrap();
        let text = fs::read_to_string(out).unwrap_or_default();
        let total = text
            .lines()
            .rev()
            .find(|line| line.ends_with("total"))
            .unwrap_or("");
        // Columns: % time, seconds, usecs/call (absent in some versions), calls, errors (absent when none), "total".
        let numbers: Vec<&str> = total.split_whitespace().collect();
        let calls = numbers
            .iter()
            .skip(2)
            .filter_map(|n| n.parse::<f64>().ok())
            .fold(0.0, f64::max);
        calls / span.as_secs_f64()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program cost per frame while it ran at [`FPS`].
struct Cost {
    cpu_ms: f64,
    syscalls: f64,
    peak_mb: f64,
}

fn cost_of(process: &Running) -> Cost {
    // Past its start.
    std::thread::sleep(Duration::from_secs(2));
    let (start, before) = (Instant::now(), process.cpu());
    std::thread::sleep(SPAN);
    let (taken, cpu) = (start.elapsed(), process.cpu() - before);
    let frames = taken.as_secs_f64() * f64::from(FPS);
    Cost {
        cpu_ms: cpu.as_secs_f64() * 1e3 / frames,
        syscalls: process.syscalls(Duration::from_secs(3)) / f64::from(FPS),
        peak_mb: process.peak_mb(),
    }
}

fn without_privileges(net: &Net, program: &str) -> Command {
    let mut command = net.viewer.command("unshare");
    command.args([
        "--user",
        "--map-user=1000",
        "--map-group=1000",
        "--",
        program,
    ]);
    command
}

fn lancam_sender(net: &Net, film: &Film<'_>, more: &str) -> Running {
    let mut command = net.sender.lancam(&format!(
        "send --loop --interface {INTERFACE} {more} --source"
    ));
    command.arg(&film.avi);
    Running::start(command)
}

/// lancam counting frames; `stats` is where it writes them.
fn lancam_viewer(net: &Net, stats: &Path) -> Running {
    let mut command = without_privileges(net, env!("CARGO_BIN_EXE_lancam"));
    command
        .args(["view", "--headless", "--interface", INTERFACE, "--stats"])
        .arg(stats);
    let mut viewer = Running::start(command);
    viewer.wait_until_joined("lancam view");
    viewer
}

fn add_words(command: &mut Command, words: &str) {
    command.args(words.split_whitespace());
}

/// `rest` says what is done with the packets; without `-v` in it nothing is printed.
fn gst_receiver(net: &Net, rest: &str) -> Command {
    let mut command = without_privileges(net, "gst-launch-1.0");
    add_words(
        &mut command,
        &format!("{} udpsrc address={GROUP} port={PORT} multicast-iface={INTERFACE} {CAPS}", if rest.ends_with("-v") { "" } else { "-q" }),
    );
    add_words(&mut command, rest);
    command
}

fn ffmpeg_receiver(net: &Net, sdp: &Path, rest: &str) -> Command {
    ffmpeg_receiver_with(net, sdp, "", rest)
}

fn ffmpeg_receiver_with(net: &Net, sdp: &Path, flags: &str, rest: &str) -> Command {
    let mut command = without_privileges(net, "ffmpeg");
    add_words(&mut command, "-v error -nostdin -protocol_whitelist file,udp,rtp");
    add_words(&mut command, flags);
    command.arg("-i").arg(sdp);
    add_words(&mut command, rest);
    command
}

/// The lowest delay that ffmpeg can be told to have. With more threads its output comes a frame late.
const FFMPEG_LOW_DELAY: &str =
    "-fflags nobuffer -flags low_delay -probesize 32 -analyzeduration 0 -threads 1";

fn write_sdp(folder: &Path) -> PathBuf {
    let path = folder.join("stream.sdp");
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 10.77.0.1\r\ns=x\r\nc=IN IP4 {GROUP}/1\r\nt=0 0\r\nm=video {PORT} RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\na=framerate:{FPS}\r\n"
    );
    fs::write(&path, text).unwrap();
    path
}

// ---- cost ----

fn print_costs(rows: &[(&str, Cost)]) {
    let best_peer = rows
        .iter()
        .filter(|(name, _)| !name.starts_with("lancam"))
        .map(|(_, c)| c.cpu_ms)
        .fold(f64::MAX, f64::min);
    for (name, cost) in rows {
        let ratio = if name.starts_with("lancam") {
            format!("{:.1}x less", best_peer / cost.cpu_ms)
        } else {
            String::new()
        };
        println!(
            "| {name} | {:.3} | {ratio} | {:.1} | {:.1} |",
            cost.cpu_ms, cost.syscalls, cost.peak_mb
        );
    }
    println!();
}

fn senders(net: &Net, films: &[Film<'_>]) {
    let folder = tempfile::tempdir().unwrap();
    for film in films {
        println!("### Sending a file at {FPS} fps, {}\n", film.label());
        println!(
            "| sender | CPU ms/frame | against the better peer | system calls/frame | peak MB |\n|---|---|---|---|---|"
        );
        let mut rows = Vec::new();
        for (name, pacing) in [
            ("lancam", "--pacing auto"),
            ("lancam, not paced", "--pacing off"),
        ] {
            let _viewer = lancam_viewer(net, &folder.path().join("stats"));
            rows.push((name, cost_of(&lancam_sender(net, film, pacing))));
        }
        let _viewer = lancam_viewer(net, &folder.path().join("stats"));
        let mut gst = net.sender.command("gst-launch-1.0");
        add_words(&mut gst, "-q filesrc");
        gst.arg(format!("location={}", film.avi.display()));
        add_words(
            &mut gst,
            &format!(
                "! avidemux ! rtpjpegpay mtu=1472 ! udpsink host={GROUP} port={PORT} multicast-iface={INTERFACE} sync=true"
            ),
        );
        rows.push(("GStreamer", cost_of(&Running::start(gst))));
        let mut ffmpeg = net.sender.command("ffmpeg");
        add_words(&mut ffmpeg, "-v error -nostdin -re -i");
        ffmpeg.arg(&film.avi);
        add_words(
            &mut ffmpeg,
            &format!("-c copy -f rtp rtp://{GROUP}:{PORT}?ttl=1&localaddr=10.77.0.1"),
        );
        rows.push(("ffmpeg", cost_of(&Running::start(ffmpeg))));
        print_costs(&rows);
    }
}

fn receivers(net: &Net, films: &[Film<'_>]) {
    let folder = tempfile::tempdir().unwrap();
    let sdp = write_sdp(folder.path());
    for film in films {
        let _sender = lancam_sender(net, film, "");
        println!(
            "### Receiving at {FPS} fps, {}, without decoding\n",
            film.label()
        );
        println!(
            "| receiver | CPU ms/frame | against the better peer | system calls/frame | peak MB |\n|---|---|---|---|---|"
        );
        let mut rows = vec![(
            "lancam",
            cost_of(&lancam_viewer(net, &folder.path().join("stats"))),
        )];
        rows.push((
            "GStreamer",
            cost_of(&Running::start(gst_receiver(
                net,
                "! rtpjpegdepay ! fakesink sync=false",
            ))),
        ));
        rows.push((
            "ffmpeg",
            cost_of(&Running::start(ffmpeg_receiver(
                net,
                &sdp,
                "-c copy -f null -",
            ))),
        ));
        print_costs(&rows);

        println!(
            "### Receiving at {FPS} fps, {}, with decoding\n",
            film.label()
        );
        println!(
            "| receiver | CPU ms/frame | against bare decoding | peak MB |\n|---|---|---|---|"
        );
        let bare = bare_decoding(film.clip);
        println!(
            "| bare turbojpeg, no network | {:.3} | | |",
            bare.as_secs_f64() * 1e3
        );
        let mut rows = vec![(
            "lancam (frames piped to a turbojpeg decoder)",
            piped_decoding(net, film.clip),
        )];
        rows.push((
            "GStreamer",
            cost_of(&Running::start(gst_receiver(
                net,
                "! rtpjpegdepay ! jpegdec ! fakesink sync=false",
            ))),
        ));
        rows.push((
            "ffmpeg",
            cost_of(&Running::start(ffmpeg_receiver(net, &sdp, "-f null -"))),
        ));
        for (name, cost) in rows {
            println!(
                "| {name} | {:.3} | {:.2}x | {:.1} |",
                cost.cpu_ms,
                cost.cpu_ms / (bare.as_secs_f64() * 1e3),
                cost.peak_mb
            );
        }
        println!();
    }
}

/// The decoder of lancam's window: into 32-bit pixels.
struct Decoder {
    decompressor: turbojpeg::Decompressor,
    pixels: Vec<u8>,
}

impl Decoder {
    fn new(kind: Kind) -> Decoder {
        Decoder {
            decompressor: turbojpeg::Decompressor::new().unwrap(),
            pixels: vec![0; kind.width * kind.height * 4],
        }
    }

    fn decode(&mut self, jpeg: &[u8], kind: Kind) {
        let image = turbojpeg::Image {
            pixels: &mut self.pixels[..],
            width: kind.width,
            pitch: kind.width * 4,
            height: kind.height,
            format: turbojpeg::PixelFormat::BGRX,
        };
        self.decompressor.decompress(jpeg, image).unwrap();
    }
}

fn thread_cpu() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32)
}

/// CPU time of one decode. Warm, and with a pause between frames as in a stream.
fn bare_decoding(clip: &Clip) -> Duration {
    let mut decoder = Decoder::new(clip.kind);
    decoder.decode(&clip.frames[0], clip.kind);
    let mut total = Duration::ZERO;
    for n in 0..90 {
        std::thread::sleep(Duration::from_millis(20));
        let before = thread_cpu();
        decoder.decode(&clip.frames[n % clip.frames.len()], clip.kind);
        total += thread_cpu() - before;
    }
    total / 90
}

/// lancam's receiver with a decoder behind it in another process, which is this one.
fn piped_decoding(net: &Net, clip: &Clip) -> Cost {
    let (viewer, out) = piped_viewer(net);
    let mut frames = Frames::new(out);
    let mut decoder = Decoder::new(clip.kind);
    let mut run = |span: Duration| {
        let (start, mut n) = (Instant::now(), 0_u32);
        while start.elapsed() < span {
            decoder.decode(frames.next().expect("a frame"), clip.kind);
            n += 1;
        }
        n
    };
    run(Duration::from_secs(2));
    let (own, theirs) = (thread_cpu(), viewer.cpu());
    let n = run(SPAN);
    let cpu = (thread_cpu() - own) + (viewer.cpu() - theirs);
    Cost {
        cpu_ms: cpu.as_secs_f64() * 1e3 / f64::from(n),
        syscalls: 0.0,
        peak_mb: viewer.peak_mb(),
    }
}

fn piped_viewer(net: &Net) -> (Running, ChildStdout) {
    let mut command = without_privileges(net, env!("CARGO_BIN_EXE_lancam"));
    command.args([
        "view",
        "--headless",
        "--interface",
        INTERFACE,
        "--record",
        "-",
    ]);
    let mut viewer = Running(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let out = viewer.0.stdout.take().unwrap();
    widen(&out);
    viewer.wait_until_joined("lancam view");
    (viewer, out)
}

/// A pipe that holds a frame: 1 MiB is what anybody may have.
fn widen(pipe: &impl std::os::fd::AsFd) {
    let _ = nix::fcntl::fcntl(pipe.as_fd(), nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
}

/// Cuts a pipe of JPEGs into frames. A frame is over when its last two bytes have come and nothing follows at once.
struct Frames {
    pipe: ChildStdout,
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
}

impl Frames {
    fn new(pipe: ChildStdout) -> Frames {
        Frames {
            pipe,
            buffer: vec![0; 8 << 20],
            filled: 0,
            taken: 0,
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let mut looked = 0;
        loop {
            let from = looked.max(1);
            let end = (from..self.filled).find(|&i| self.buffer[i - 1..=i] == [0xff, 0xd9]);
            if let Some(end) = end {
                self.taken = end + 1;
                return Some(&self.buffer[..self.taken]);
            }
            looked = self.filled;
            match self.pipe.read(&mut self.buffer[self.filled..]) {
                Ok(n) if n > 0 => self.filled += n,
                _ => return None,
            }
        }
    }
}

// ---- delivery ----

/// Frames that arrive whole, of those sent, at rising rates.
fn rates(net: &Net, film: &Film<'_>) {
    println!(
        "### Frames delivered with stock receive buffers, {}, in percent\n",
        film.label()
    );
    println!(
        "| sender: lancam | lancam | GStreamer, decoding | ffmpeg, decoding |\n|---|---|---|---|"
    );
    for (fps, pacing) in [
        (30, "auto"),
        (30, "off"),
        (60, "auto"),
        (60, "off"),
        (120, "auto"),
        (120, "off"),
        (240, "off"),
    ] {
        let shares: Vec<String> = (0..3)
            .map(|tool| format!("{:.1}", delivered(net, film, fps, pacing, tool)))
            .collect();
        println!("| {fps} fps, pacing {pacing} | {} |", shares.join(" | "));
    }
    println!();
}

fn delivered(net: &Net, film: &Film<'_>, fps: u32, pacing: &str, tool: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let sdp = write_sdp(folder.path());
    let stats = folder.path().join("stats");
    let frames = fps * 5;
    let name = ["lancam", "GStreamer", "ffmpeg"][tool];
    let mut command = match tool {
        0 => {
            let mut command = without_privileges(net, env!("CARGO_BIN_EXE_lancam"));
            command
                .args(["view", "--headless", "--interface", INTERFACE, "--stats"])
                .arg(&stats);
            command
        }
        // One line a picture.
        1 => gst_receiver(
            net,
            "! rtpjpegdepay ! jpegdec ! fakesink name=shown sync=false silent=false -v",
        ),
        _ => ffmpeg_receiver(net, &sdp, "-vsync passthrough -f null -progress pipe:1 -"),
    };
    let out = folder.path().join("out");
    command
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(Stdio::null());
    let mut receiver = Running(command.spawn().unwrap());
    receiver.wait_until_joined(name);

    let mut command = net.sender.lancam(&format!(
        "send --interface {INTERFACE} --fps {fps} --pacing {pacing} --source"
    ));
    let short = first_frames(film, frames);
    let sent = Running(
        command
            .arg(&short)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
    .0
    .wait();
    assert!(sent.unwrap().success());
    // What lies in buffers is read within a second or not at all.
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(receiver.pid() as i32), Signal::SIGINT).unwrap();
    let _ = receiver.0.wait();
    let text = fs::read_to_string(if tool == 0 { &stats } else { &out }).unwrap_or_default();
    let got = match tool {
        0 => serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap_or(""))
            .map_or(0, |v| v["frames_whole"].as_u64().unwrap_or(0)),
        1 => text.matches("chain").count() as u64,
        _ => text
            .lines()
            .rev()
            .find_map(|l| l.strip_prefix("frame="))
            .and_then(|n| n.trim().parse().ok())
            .unwrap_or(0),
    };
    got as f64 * 100.0 / f64::from(frames)
}

/// The film's first frames, as a file of JPEGs.
fn first_frames(film: &Film<'_>, frames: u32) -> PathBuf {
    let path = film.avi.with_file_name(format!("first-{frames}.mjpeg"));
    if !path.exists() {
        let draft = path.with_extension("part");
        let mut file = fs::File::create(&draft).unwrap();
        for n in 0..frames as usize {
            file.write_all(&film.clip.frames[n % film.clip.frames.len()])
                .unwrap();
        }
        fs::rename(draft, &path).unwrap();
    }
    path
}

// ---- delay ----

/// A sender that takes frames from a pipe, a receiver that gives pictures to one.
struct Chain {
    sender: Running,
    input: ChildStdin,
    receiver: Running,
    output: ChildStdout,
}

fn delays(net: &Net, films: &[Film<'_>]) {
    for film in films {
        println!(
            "### Delay, frame handed to the sender to decoded picture, {}, ms\n",
            film.label()
        );
        println!("| chain | p50 | p99 | above bare decoding, p50 | p99 |\n|---|---|---|---|---|");
        let bare = bare_delay(film.clip);
        let (bare50, bare99) = (percentile(&bare, 50), percentile(&bare, 99));
        println!("| bare turbojpeg, no network | {bare50:.2} | {bare99:.2} | | |");
        for (name, sender, receiver) in [
            ("lancam to lancam, not paced", "lancam", "lancam"),
            ("lancam to GStreamer", "lancam", "gst"),
            ("lancam to ffmpeg", "lancam", "ffmpeg"),
            ("GStreamer to GStreamer, no jitter buffer", "gst", "gst"),
            (
                "GStreamer to GStreamer, default jitter buffer",
                "gst",
                "gst-jitter",
            ),
        ] {
            let times = delay(net, film.clip, sender, receiver);
            if times.len() < DELAYS / 2 {
                println!(
                    "| {name} | only {} of {DELAYS} frames came | | | |",
                    times.len()
                );
                continue;
            }
            let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
            println!(
                "| {name} | {p50:.2} | {p99:.2} | {:.2} | {:.2} |",
                p50 - bare50,
                p99 - bare99
            );
        }
        println!();
    }
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

fn bare_delay(clip: &Clip) -> Vec<Duration> {
    let mut decoder = Decoder::new(clip.kind);
    let mut times = Vec::new();
    for n in 0..DELAYS {
        std::thread::sleep(Duration::from_millis(25));
        let start = Instant::now();
        decoder.decode(&clip.frames[n % clip.frames.len()], clip.kind);
        times.push(start.elapsed());
    }
    times
}

fn chain(net: &Net, sdp: &Path, sender: &str, receiver: &str) -> Chain {
    let mut command = match receiver {
        "lancam" => {
            let mut command = without_privileges(net, env!("CARGO_BIN_EXE_lancam"));
            command.args([
                "view",
                "--headless",
                "--interface",
                INTERFACE,
                "--record",
                "-",
            ]);
            command
        }
        "gst" => gst_receiver(net, "! rtpjpegdepay ! jpegdec ! fdsink fd=1 sync=false"),
        "gst-jitter" => gst_receiver(
            net,
            "! rtpjitterbuffer ! rtpjpegdepay ! jpegdec ! fdsink fd=1 sync=false",
        ),
        _ => ffmpeg_receiver_with(
            net,
            sdp,
            FFMPEG_LOW_DELAY,
            "-vsync passthrough -f rawvideo -flush_packets 1 pipe:1",
        ),
    };
    let spawn = |command: &mut Command| {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut receiver_process = Running(spawn(&mut command));
    let output = receiver_process.0.stdout.take().unwrap();
    widen(&output);
    receiver_process.wait_until_joined(receiver);

    let mut command = if sender == "lancam" {
        net.sender.lancam(&format!(
            "send --source - --pacing off --interface {INTERFACE}"
        ))
    } else {
        let mut command = net.sender.command("gst-launch-1.0");
        add_words(
            &mut command,
            &format!(
                "-q fdsrc fd=0 blocksize=1048576 ! jpegparse ! rtpjpegpay mtu=1472 ! udpsink host={GROUP} port={PORT} multicast-iface={INTERFACE} sync=false"
            ),
        );
        command
    };
    let mut sender_process = Running(spawn(&mut command));
    let input = sender_process.0.stdin.take().unwrap();
    widen(&input);
    Chain {
        sender: sender_process,
        input,
        receiver: receiver_process,
        output,
    }
}

/// One frame at a time through the whole chain.
fn delay(net: &Net, clip: &Clip, sender: &str, receiver: &str) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let Chain {
        sender: _sender,
        mut input,
        receiver: _receiver,
        output,
    } = chain(net, &write_sdp(folder.path()), sender, receiver);
    let kind = clip.kind;
    let (done, finished) = mpsc::channel();
    let is_ours = receiver == "lancam";
    let raw_bytes = match receiver {
        // 4:2:0 from GStreamer, 4:2:2 from ffmpeg.
        "gst" | "gst-jitter" => kind.width * kind.height * 3 / 2,
        _ => kind.width * kind.height * 2,
    };
    std::thread::spawn(move || {
        if is_ours {
            let mut frames = Frames::new(output);
            let mut decoder = Decoder::new(kind);
            while let Some(jpeg) = frames.next() {
                decoder.decode(jpeg, kind);
                if done.send(Instant::now()).is_err() {
                    return;
                }
            }
            return;
        }
        let (mut output, mut picture) = (output, vec![0; raw_bytes]);
        while output.read_exact(&mut picture).is_ok() {
            if done.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut times = Vec::new();
    // The first frames, in which programs learn the format, do not count.
    let warm_up = 30;
    for n in 0..DELAYS + warm_up {
        let start = Instant::now();
        if input
            .write_all(&clip.frames[n % clip.frames.len()])
            .is_err()
        {
            break;
        }
        let patience = Duration::from_millis(if n < warm_up { 300 } else { 1000 });
        if let Ok(end) = finished.recv_timeout(patience) {
            if n >= warm_up {
                times.push(end - start);
            }
        } else if n > warm_up + 20 && times.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(33).saturating_sub(start.elapsed()));
    }
    times
}

// ---- a decoder that stands still ----

/// Nobody reads the viewer's pipe for a second: what arrives meanwhile is still received whole.
fn stall(net: &Net, film: &Film<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("stats");
    let mut command = without_privileges(net, env!("CARGO_BIN_EXE_lancam"));
    command
        .args([
            "view",
            "--headless",
            "--interface",
            INTERFACE,
            "--record",
            "-",
            "--stats",
        ])
        .arg(&stats);
    let mut viewer = Running(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut frames = Frames::new(viewer.0.stdout.take().unwrap());
    viewer.wait_until_joined("lancam view");
    let sender = lancam_sender(net, film, "");
    let mut decoder = Decoder::new(film.clip.kind);
    let mut read = |frames: &mut Frames, n: usize| {
        for _ in 0..n {
            decoder.decode(frames.next().expect("a frame"), film.clip.kind);
        }
    };
    read(&mut frames, 30);
    std::thread::sleep(Duration::from_secs(1));
    read(&mut frames, 60);
    drop(sender);
    std::thread::sleep(Duration::from_millis(1200));
    let text = fs::read_to_string(&stats).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    println!(
        "### A decoder that stands still for a second, {}, {FPS} fps\n",
        film.label()
    );
    println!(
        "Received whole: {}, lost: {}, packets lost: {}.\n",
        last["frames_whole"], last["frames_lost"], last["packets_lost"]
    );
}
