//! The parts that run on one of the two hosts, as processes of their own, so that what they cost
//! can be told apart: this program again, with the name of a part. They report frames once a second
//! as `lancam --stats -` does, and at their end one line for each frame on standard error.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lancam::clock::Mono;
use lancam::counters::Counter;
use lancam::display::decode::Decoder;
use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::net::{BatchSender, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket};
use lancam::rtp::jpeg::Packetizer;
use lancam::rtp::{RtpTime, SeqNo, Ssrc};
use lancam::signals::{Hangup, Signals};
use lancam::stats::StatsTo;
use lancam::view::{self, Feed, ViewPlan};
use serde_json::json;
use turbojpeg::{Decompressor, Image, PixelFormat};

use crate::bare::{BareReceive, BareSend};
use crate::clips::{Clip, INTERVAL, number};
use crate::common::http::Moving;
use crate::common::net::{GROUP, Host, INTERFACE, PORT, VIEWER_IP};
use crate::common::process::Process;

/// The first word of a part's command line.
pub(crate) const MARK: &str = "part";
/// Frames after which a viewer stalls, and for how long.
const STALL_AT: usize = 45;
const STALL: Duration = Duration::from_secs(1);

/// A command for a part on `host`.
pub(crate) fn command(host: &Host, words: &[&str]) -> Command {
    let program = std::env::current_exe().expect("this program's path");
    let mut command = host.command(program.to_str().expect("a plain path"));
    command.arg(MARK).args(words);
    command
}

/// What a part has seen of one frame; times in nanoseconds on the monotonic clock, which all
/// namespaces share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// The number in the picture, or 0 if it was not decoded.
    pub(crate) number: usize,
    /// RTP timestamp.
    pub(crate) time: u32,
    /// When it was taken up.
    pub(crate) begun: u64,
    /// When it was done with.
    pub(crate) done: u64,
    /// When the viewer's receiving thread had read its last packet.
    pub(crate) arrived: u64,
    /// The same of the packet that came first.
    pub(crate) first: u64,
}

/// What a part that has ended saw.
pub(crate) fn seen(part: &mut Process) -> Vec<Seen> {
    let text = part.messages();
    let frames = text.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("frame ")?.split(' ');
        Some(Seen {
            number: fields.next()?.parse().ok()?,
            time: fields.next()?.parse().ok()?,
            begun: fields.next()?.parse().ok()?,
            done: fields.next()?.parse().ok()?,
            arrived: fields.next()?.parse().ok()?,
            first: fields.next()?.parse().ok()?,
        })
    });
    frames.collect()
}

fn tell(seen: &[Seen]) {
    let mut text = String::new();
    for s in seen {
        text += &format!(
            "frame {} {} {} {} {} {}\n",
            s.number, s.time, s.begun, s.done, s.arrived, s.first
        );
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

pub(crate) fn run(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", clip] => bare(&Clip::load(Path::new(clip))),
        ["viewer", what] => viewer(what),
        ["plain"] => plain(),
        ["floor-send", clip] => floor_send(&Clip::load(Path::new(clip))),
        ["floor-receive"] => floor_receive(),
        ["watch", page, count] => watch(
            page.parse().expect("an address"),
            count.parse().expect("a number"),
        ),
        ["blast", clip, frames, interval_us] => blast(
            &Clip::load(Path::new(clip)),
            frames.parse().expect("a number"),
            Duration::from_micros(interval_us.parse().expect("a number")),
        ),
        _ => panic!("no such part: {words:?}"),
    }
}

/// Reports once a second.
struct Report {
    started: Instant,
    due: Instant,
}

impl Report {
    fn new() -> Report {
        let started = Instant::now();
        Report {
            started,
            due: started + Duration::from_secs(1),
        }
    }

    fn update(&mut self, frames: usize) {
        if Instant::now() >= self.due {
            self.due += Duration::from_secs(1);
            self.write(frames, false);
        }
    }

    fn write(&self, frames: usize, is_final: bool) {
        let uptime = self.started.elapsed().as_secs_f64();
        println!(
            "{}",
            json!({ "uptime_s": uptime, "frames": frames, "final": is_final })
        );
    }
}

/// Nothing but turbojpeg, at the clip's own pace, until it is told to stop.
fn bare(clip: &Clip) {
    let signals = Signals::install(Hangup::Stop).expect("signal handlers");
    let stop = signals.stop();
    let mut turbo = Decompressor::new().expect("turbojpeg");
    let mut pixels = vec![0; clip.width * clip.height * 4];
    let mut report = Report::new();
    let mut seen = Vec::with_capacity(100_000);
    let mut due = Instant::now();
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        due += INTERVAL;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let jpeg = &clip.frames[seen.len() % clip.frames.len()];
        let begun = Mono::now().0;
        let image = Image {
            pixels: &mut pixels[..],
            width: clip.width,
            pitch: clip.width * 4,
            height: clip.height,
            format: PixelFormat::BGRX,
        };
        turbo.decompress(jpeg, image).expect("a picture");
        seen.push(Seen {
            begun,
            done: Mono::now().0,
            ..Seen::default()
        });
        report.update(seen.len());
    }
    report.write(seen.len(), true);
    tell(&seen);
}

/// lancam's own viewer with this in the window's place: `take` only takes the frames, `decode`
/// decodes them, `stall` also stops for a second once.
fn viewer(what: &str) {
    let config = ViewPlan {
        interface: Some(INTERFACE.into()),
        stats: Some(StatsTo::Stdout),
        ..ViewPlan::default()
    };
    let signals = Signals::install(Hangup::Stop).expect("signal handlers");
    let result = view::run_with(&config, signals, |feed| {
        show(feed, what != "take", what == "stall");
        Ok(())
    });
    result.expect("a viewer");
}

fn show(feed: Feed<'_>, decodes: bool, stalls: bool) {
    let mut decoder = Decoder::new().expect("turbojpeg");
    let mut pixels = Vec::new();
    let mut seen = Vec::with_capacity(100_000);
    while !feed.mailbox.is_closed() {
        let Some(frame) = feed.mailbox.take(Duration::from_millis(100)) else {
            continue;
        };
        let begun = Mono::now().0;
        let mut picture = 0;
        if decodes {
            let decoded = decoder
                .decode_exact(frame.jpeg(), &mut pixels)
                .expect("a picture");
            picture = decoded.width;
        }
        let done = Mono::now().0;
        let number = match decodes {
            true => number(|x, y| pixels[y * picture + x] as u8),
            false => 0,
        };
        seen.push(Seen {
            number,
            time: frame.time().0,
            begun,
            done,
            arrived: frame.last_arrival().0,
            first: frame.first_arrival().0,
        });
        feed.mailbox.recycle(frame);
        feed.stats.frames_shown.add(1);
        if stalls && seen.len() == STALL_AT {
            thread::sleep(STALL);
        }
    }
    tell(&seen);
}

/// The receiver of a textbook: one `recv` a packet, the default buffer, nothing else. A frame is
/// whole if no number is missing up to its marker.
fn plain() {
    let signals = Signals::install(Hangup::Stop).expect("signal handlers");
    let stop = signals.stop();
    let group: Ipv4Addr = GROUP.parse().expect("an address");
    let socket = UdpSocket::bind((group, PORT)).expect("a socket");
    let own: Ipv4Addr = VIEWER_IP.parse().expect("an address");
    socket.join_multicast_v4(&group, &own).expect("a member");
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a limit");
    let mut report = Report::new();
    let mut packet = [0; 65_536];
    let (mut frames, mut is_whole, mut next) = (0, true, None);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        report.update(frames);
        let Ok(12..) = socket.recv(&mut packet) else {
            continue;
        };
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        is_whole &= next.is_none_or(|next| next == seq);
        next = Some(seq.wrapping_add(1));
        // The marker: the last packet of a frame. RFC 2435 §3.
        if packet[1] & 0x80 != 0 {
            frames += usize::from(is_whole);
            is_whole = true;
        }
    }
    report.write(frames, true);
}

/// The least that any sender of this clip takes: its first frame's packets, made before, in one
/// `sendmmsg` with GSO for each interval.
fn floor_send(clip: &Clip) {
    let signals = Signals::install(Hangup::Stop).expect("signal handlers");
    let stop = signals.stop();
    let socket = group_socket();
    let datagram = socket.max_datagram();
    let mut gate = Gate::new(GateOptions::default());
    let picture = gate.pass(&clip.frames[0]).expect("a good frame");
    let mut packetizer = Packetizer::new(Ssrc(1), SeqNo(0), datagram);
    let plan = packetizer.plan(&picture, RtpTime(0), None).expect("a plan");
    let flat: Vec<u8> = (0..plan.packets.len())
        .flat_map(|i| {
            let (header, payload) = plan.parts(i, picture.scan);
            [header, payload].concat()
        })
        .collect();
    let to = socket.group().into();
    let mut bare = BareSend::new(&flat, datagram, &to);
    let mut report = Report::new();
    let mut frames = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        frames += 1;
        let due = report.started + INTERVAL * frames as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        bare.send(socket.as_fd());
        report.update(frames);
    }
    report.write(frames, true);
}

/// The least that any receiver takes: `recvmmsg` with GRO and one copy of each message.
fn floor_receive() {
    let signals = Signals::install(Hangup::Stop).expect("signal handlers");
    let stop = signals.stop();
    let group = SocketAddr::new(GROUP.parse().expect("an address"), PORT);
    let socket = ReceiveSocket::open(&ReceiveOptions {
        interface: Some(INTERFACE.into()),
        ..ReceiveOptions::new(group)
    });
    let socket = socket.expect("a socket");
    let mut bare = BareReceive::new(1 << 20);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        bare.receive(socket.as_fd(), |_| ());
    }
}

/// `count` who watch the status page's moving picture as a browser reads it, until this is killed.
fn watch(page: SocketAddr, count: usize) {
    let pictures = Counter::default();
    let mut report = Report::new();
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut moving = Moving::open(page, "/stream.mjpg");
                loop {
                    moving.next();
                    pictures.add(1);
                }
            });
        }
        loop {
            thread::sleep(Duration::from_millis(100));
            report.update(pictures.get() as usize);
        }
    });
}

fn group_socket() -> SendSocket {
    let group = SocketAddr::new(GROUP.parse().expect("an address"), PORT);
    let socket = SendSocket::open(&SendOptions {
        interface: Some(INTERFACE.into()),
        ..SendOptions::new(group)
    });
    socket.expect("a socket")
}

/// Sends frames unpaced, one every `interval` (as fast as it can, if that is zero), and tells when
/// it came to the last packet of each. Its timestamps are the frames' numbers.
fn blast(clip: &Clip, frames: usize, interval: Duration) {
    let socket = group_socket();
    let mut packetizer = Packetizer::new(Ssrc(1), SeqNo(0), socket.max_datagram());
    let mut sender = BatchSender::new(socket);
    let mut gate = Gate::new(GateOptions::default());
    let mut seen = Vec::with_capacity(frames);
    let mut report = Report::new();
    let started = report.started;
    for n in 0..frames {
        let due = started + interval * n as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let picture = gate
            .pass(&clip.frames[n % clip.frames.len()])
            .expect("a good frame");
        let plan = packetizer
            .plan(&picture, RtpTime(n as u32), None)
            .expect("a plan");
        let last = plan.packets.len() - 1;
        let begun = Mono::now().0;
        let first = sender.send(plan.packets(0..last, picture.scan));
        // By itself, so that the time before it is the time at which everything else is out.
        let done = Mono::now().0;
        let second = sender.send(plan.packets(last..last + 1, picture.scan));
        first.and(second).expect("a network");
        seen.push(Seen {
            number: 0,
            time: n as u32,
            begun,
            done,
            ..Seen::default()
        });
        report.update(seen.len());
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({ "frames": frames, "seconds": seconds, "final": true })
    );
    tell(&seen);
}
