//! What RTSP's clients cost the stream, and how soon they have a picture: a sender of 1920x1080 at
//! 30 frames a second and its clients, in network namespaces on a veth pair. Needs root; prints
//! Markdown.
//!
//!     cargo bench --bench rtsp              all of it
//!     cargo bench --bench rtsp -- short     a fifth of the time

#[path = "../tests/rtsp/client.rs"]
#[allow(dead_code, unreachable_pub)]
mod client;
#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use client::Client;
use common::clip::{Chroma, Clip, Kind};
use common::have;
use common::net::{GROUP, INTERFACE, Net, PORT, SENDER_IP, VIEWER_IP};
use common::process::Process;
use lancam::clock::Mono;
use lancam::net::{BatchReceiver, ReceiveOptions, ReceiveSocket};
use lancam::rtp::header::Packet;
use socket2::{Domain, Socket, Type};

/// Half of the clients have this address: one may have four sessions.
const SECOND_IP: &str = "10.77.0.3";
const CLIENTS: usize = 8;
/// A client that takes nothing is disconnected after ten seconds.
const PHASE: Duration = Duration::from_secs(9);
const SETTLE: Duration = Duration::from_millis(800);
const STARTS: usize = 21;
const GST_PORT: u16 = 8654;
const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
const MULTICAST: &str = "Transport: RTP/AVP;multicast\r\n";

/// gst-rtsp-server with the same pictures.
const GST_SERVER: &str = "
import sys, gi
gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch('( multifilesrc loop=true location=%s caps=image/jpeg,framerate=30/1 ! identity sync=true ! rtpjpegpay name=pay0 )' % sys.argv[2])
factory.set_shared(True)
server.get_mount_points().add_factory('/porch', factory)
server.attach(None)
print('ready', file=sys.stderr, flush=True)
GLib.MainLoop().run()
";

fn main() {
    let is_short = std::env::args().any(|word| word == "short");
    if !have("the table", &["cjpeg", "ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair("the table") else {
        return;
    };
    net.viewer
        .ip(&format!("address add {SECOND_IP}/24 dev {INTERFACE}"));
    let clip = Clip::get(Kind {
        frames: 30,
        ..Kind::new(1920, 1080, Chroma::C422)
    });
    let command = format!(
        "send --source {} --loop --fps 30 --name porch --interface {INTERFACE} --rtsp",
        clip.series().display()
    );
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.wait_for_message("RTSP: rtsp://");
    let bytes = clip.frames.iter().map(Vec::len).sum::<usize>() / clip.frames.len();
    println!(
        "Frames of 1920x1080, {} KB each, 30 a second.\n",
        bytes / 1000
    );
    net.viewer.inside(|| {
        cost(&sender, if is_short { 1 } else { 5 });
        starts(&net, &clip, if is_short { 5 } else { STARTS });
    });
}

// ---- What clients cost ----

/// What was seen in all times with the same clients.
#[derive(Default)]
struct Seen {
    /// First to last packet of a frame, and frame to frame, in ms.
    send: Vec<f64>,
    step: Vec<f64>,
    /// CPU time in ms of the stream's thread, of the feed's and of the one that serves.
    cpu: [f64; 3],
    /// Frames that all clients that read got.
    got: u64,
    seconds: f64,
    memory_kb: u64,
}

fn cost(sender: &Process, rounds: usize) {
    let mut watch = Watch::start();
    let (mut alone, mut crowded) = (Seen::default(), Seen::default());
    for _ in 0..rounds {
        phase(sender, &mut watch, &mut alone, 0);
        phase(sender, &mut watch, &mut crowded, CLIENTS);
    }
    println!(
        "| TCP clients | first to last packet ms, p50 | p99 | frame to frame ms, p50 | p99 | stream's thread ms/frame | feed's | serving | frames/s each | RSS MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (who, seen, readers) in [
        ("none", &alone, 0),
        ("8, one stalled", &crowded, CLIENTS - 1),
    ] {
        let frames = seen.step.len() as f64;
        let rate = match readers {
            0 => "–".to_owned(),
            readers => format!("{:.1}", seen.got as f64 / seen.seconds / readers as f64),
        };
        let [stream, feed, serve] = seen.cpu.map(|ms| ms / frames);
        println!(
            "| {who} | {:.3} | {:.3} | {:.3} | {:.3} | {stream:.3} | {feed:.3} | {serve:.3} | {rate} | {:.1} |",
            percentile(&seen.send, 0.5),
            percentile(&seen.send, 0.99),
            percentile(&seen.step, 0.5),
            percentile(&seen.step, 0.99),
            seen.memory_kb as f64 / 1024.0
        );
    }
    let moved = |of: fn(&Seen) -> f64| (of(&crowded) / of(&alone) - 1.0) * 100.0;
    println!(
        "\nframe to frame moves by {:+.2} %, first to last packet by {:+.2} %, CPU of the stream's thread by {:+.2} %; {:.2} MB a client",
        moved(|seen| percentile(&seen.step, 0.5)),
        moved(|seen| percentile(&seen.send, 0.5)),
        moved(|seen| seen.cpu[0] / seen.step.len() as f64),
        (crowded.memory_kb.saturating_sub(alone.memory_kb)) as f64 / 1024.0 / CLIENTS as f64
    );
}

fn phase(sender: &Process, watch: &mut Watch, seen: &mut Seen, clients: usize) {
    let readers: Vec<Reader> = (0..clients.saturating_sub(1)).map(Reader::start).collect();
    let _stalled = (clients > 0).then(|| playing(clients - 1));
    thread::sleep(SETTLE);
    watch.take();
    let got = || {
        readers
            .iter()
            .map(|r| r.frames.load(Ordering::Relaxed))
            .sum::<u64>()
    };
    let (start, cpu, before) = (Instant::now(), cpu_times(sender), got());
    thread::sleep(PHASE - SETTLE);
    let (send, step) = watch.take();
    seen.send.extend(send);
    seen.step.extend(step);
    seen.got += got() - before;
    seen.seconds += start.elapsed().as_secs_f64();
    seen.memory_kb = seen.memory_kb.max(memory_kb(sender));
    for (sum, (now, before)) in seen.cpu.iter_mut().zip(cpu_times(sender).iter().zip(cpu)) {
        *sum += now - before;
    }
}

/// A client that plays over TCP.
fn playing(n: usize) -> Client {
    let own: IpAddr = [VIEWER_IP, SECOND_IP][n % 2].parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
    socket.connect(&lancam().into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket));
    play(&mut client, TCP);
    client
}

fn play(client: &mut Client, transport: &str) {
    let setup = client.get("SETUP", "/porch/trackID=0", transport);
    client.get("PLAY", "/porch", &setup.session());
}

fn lancam() -> SocketAddr {
    SocketAddr::new(SENDER_IP.parse().unwrap(), 8554)
}

/// A client that reads.
struct Reader {
    frames: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(n: usize) -> Reader {
        let mut client = playing(n);
        let frames = Arc::<AtomicU64>::default();
        let stop = Arc::<AtomicBool>::default();
        let (counted, stopped) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                counted.fetch_add(u64::from(is_last(&client.frame())), Ordering::Relaxed);
            }
        });
        Reader {
            frames,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Whether this is a frame's last packet.
fn is_last((channel, packet): &(u8, Vec<u8>)) -> bool {
    *channel == 0 && Packet::parse(packet).is_ok_and(|packet| packet.marker())
}

/// The group's packets, as a viewer sees them.
struct Watch(std::sync::mpsc::Receiver<(u64, u64)>);

impl Watch {
    fn start() -> Watch {
        let (tell, seen) = std::sync::mpsc::channel();
        let mut receiver = receiver();
        thread::spawn(move || {
            let mut first = None;
            loop {
                let batch = receiver.receive(None).expect("cannot receive");
                let now = Mono::now().0;
                for (_, datagram) in batch.datagrams() {
                    let Ok(packet) = Packet::parse(datagram) else {
                        continue;
                    };
                    let begun = *first.get_or_insert(now);
                    if packet.marker() {
                        first = None;
                        if tell.send((begun, now)).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Watch(seen)
    }

    /// The frames since the last call: sending times and steps in ms.
    fn take(&mut self) -> (Vec<f64>, Vec<f64>) {
        let frames: Vec<(u64, u64)> = self.0.try_iter().collect();
        let send = frames
            .iter()
            .map(|(first, last)| (last - first) as f64 * 1e-6);
        let step = frames
            .windows(2)
            .map(|pair| (pair[1].1 - pair[0].1) as f64 * 1e-6);
        (send.collect(), step.collect())
    }
}

fn receiver() -> BatchReceiver {
    let group = SocketAddr::new(GROUP.parse().unwrap(), PORT);
    let mut options = ReceiveOptions::new(group);
    options.interface = Some(INTERFACE.to_owned());
    BatchReceiver::new(ReceiveSocket::open(&options).expect("cannot join the group"))
}

/// CPU time in ms of the threads that matter.
fn cpu_times(process: &Process) -> [f64; 3] {
    let mut times = [0.0; 3];
    let tasks = format!("/proc/{}/task", process.pid());
    for task in fs::read_dir(tasks).unwrap() {
        let path = task.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let place = match name.trim() {
            "lancam-feed" => 1,
            "lancam-serve" => 2,
            // The stream's thread has the stream's name.
            "porch" => 0,
            _ => continue,
        };
        // In nanoseconds: proc(5), schedstat.
        let spent = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let nanos = spent
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<f64>().ok());
        times[place] += nanos.unwrap_or(0.0) * 1e-6;
    }
    times
}

fn memory_kb(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

// ---- From connecting to a picture ----

fn starts(net: &Net, clip: &Clip, count: usize) {
    println!("\n| from connecting to the first whole frame | best ms | median ms | worst ms |");
    println!("|---|---|---|---|");
    let row = |what: &str, mut once: Box<dyn FnMut() -> Duration + '_>| {
        let times: Vec<f64> = (0..count).map(|_| once().as_secs_f64() * 1e3).collect();
        let at = |share| percentile(&times, share);
        println!(
            "| {what} | {:.1} | {:.1} | {:.1} |",
            at(0.0),
            at(0.5),
            at(1.0)
        );
    };
    row("lancam, multicast", Box::new(by_group));
    row(
        "lancam, TCP",
        Box::new(|| by_tcp(lancam(), "/porch/trackID=0")),
    );
    // Somebody else watches already, as its media starts with its first client.
    let _other = playing(0);
    row(
        "lancam, TCP, one more",
        Box::new(|| by_tcp(lancam(), "/porch/trackID=0")),
    );

    let mut command = net.sender.command("/usr/bin/python3");
    let series = clip.series();
    command.args([
        "-c",
        GST_SERVER,
        &GST_PORT.to_string(),
        series.to_str().unwrap(),
    ]);
    let mut server = Process::spawn("gst-rtsp-server", command);
    thread::sleep(SETTLE);
    if server.try_wait().is_some() {
        return println!("\ngst-rtsp-server cannot run here: {}", server.messages());
    }
    server.wait_for_message("ready");
    let gst = SocketAddr::new(SENDER_IP.parse().unwrap(), GST_PORT);
    let mut other = Client::connect(gst);
    let setup = other.get("SETUP", "/porch/stream=0", TCP);
    other.get("PLAY", "/porch", &setup.session());
    thread::spawn(move || while other.frame().0 < 9 {});
    row(
        "gst-rtsp-server, TCP, one more",
        Box::new(|| by_tcp(gst, "/porch/stream=0")),
    );
}

fn by_tcp(server: SocketAddr, track: &str) -> Duration {
    let start = Instant::now();
    let mut client = Client::connect(server);
    client.get("OPTIONS", "/porch", "");
    client.get("DESCRIBE", "/porch", "");
    let setup = client.get("SETUP", track, TCP);
    client.get("PLAY", "/porch", &setup.session());
    // The first may have been joined in its middle.
    let mut has_begun = false;
    loop {
        let frame = client.frame();
        if frame.0 != 0 {
            continue;
        }
        has_begun |= is_first(&frame.1);
        if has_begun && is_last(&frame) {
            return start.elapsed();
        }
    }
}

fn by_group() -> Duration {
    let start = Instant::now();
    let mut client = Client::connect(lancam());
    client.get("OPTIONS", "/porch", "");
    client.get("DESCRIBE", "/porch", "");
    let mut receiver = receiver();
    play(&mut client, MULTICAST);
    let mut has_begun = false;
    loop {
        let batch = receiver.receive(None).expect("cannot receive");
        for (_, datagram) in batch.datagrams() {
            has_begun |= is_first(datagram);
            let is_end = Packet::parse(datagram).is_ok_and(|packet| packet.marker());
            if has_begun && is_end {
                return start.elapsed();
            }
        }
    }
}

/// Whether this packet has the beginning of a frame. RFC 2435 §3.1.2: the fragment offset is 0.
fn is_first(packet: &[u8]) -> bool {
    Packet::parse(packet).is_ok_and(|packet| packet.payload().get(1..4) == Some(&[0, 0, 0]))
}
