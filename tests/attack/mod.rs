//! A third host on the LAN, with an address of its own, that forges what it can against a stream of
//! 640x480 at 30 fps. tests/hostile.rs says what must not come of it; `tests/bench attack` prints
//! the figures.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::rtp::{Packetizer, RtpTime, SeqNo, Ssrc};
use nix::sys::signal::Signal;

use crate::common::net::{GROUP, Host, INTERFACE, Lan, PORT, can_enter};
use crate::common::pixels::split;
use crate::common::process::Process;
use crate::common::{PATIENCE, have, number};

/// What a frame of the sender measures; those that attackers send are smaller.
pub const SIZE: (usize, usize) = (640, 480);

/// Frames that the sender sends while the attack goes on.
pub const FRAMES: f64 = 300.0;

/// How often an attacker looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

const STRANGERS_PICTURE: &[u8] = include_bytes!("../data/jpeg/cjpeg-422-restart.jpg");

/// What the third host does. All but [`Attack::Goodbye`] send under the sender's SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    Nothing,
    /// The first packet of each frame before the sender sends it: one byte of scan.
    Poison,
    /// A packet far ahead, now and then: what comes next would be late.
    Ahead,
    /// Two packets for each frame that agree with each other, far from the sender's numbers.
    Restart,
    /// A whole stream.
    Replace,
    /// BYE for the sender, and a stream under an SSRC of its own.
    Goodbye,
}

impl Attack {
    pub const ALL: [Attack; 6] = [
        Attack::Nothing,
        Attack::Poison,
        Attack::Ahead,
        Attack::Restart,
        Attack::Replace,
        Attack::Goodbye,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Attack::Nothing => "none",
            Attack::Poison => "21 bytes ahead of each frame, same SSRC",
            Attack::Ahead => "one packet every 3 s, 2,900 ahead, same SSRC",
            Attack::Restart => "two packets a frame, 30,000 ahead, same SSRC",
            Attack::Replace => "a stream under the same SSRC",
            Attack::Goodbye => "BYE, and a stream under another SSRC",
        }
    }
}

/// What came of it on the viewer's side.
#[derive(Debug)]
pub struct Outcome {
    /// Frames sent from the attack's begin.
    pub sent: f64,
    /// Those of them that were shown.
    pub shown: f64,
    /// Frames of the attacker's that were shown.
    pub strange: usize,
}

/// Sends with 20 % of repair to a viewer that loses `percent` of the packets, under attack.
pub fn run(test: &str, attack: Attack, percent: u32) -> Option<Outcome> {
    if !have(test, &["nft", "ethtool"]) {
        return None;
    }
    let scene = Scene::new(test)?;
    scene.lose(percent);
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("shown.mjpeg");
    let mut viewer = scene.view(&format!("--record {}", record.display()));
    viewer.wait_until_joined(GROUP);
    let mut sender = scene.send("--repair 0.2");
    let shown_before = viewer.wait_for_stats("frames", |s| whole(s) >= 30.0);
    let sent_before = sender.wait_for_stats("frames", |s| number(s, "frames_sent") >= 30.0);
    let until = number(&sent_before, "frames_sent") + FRAMES;
    let attacker = Attacker::start(scene.attacker(), attack);
    sender.wait_for_stats("the last frame", |s| number(s, "frames_sent") >= until);
    // First, as once the sender has said goodbye another may be followed.
    attacker.stop();
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
    assert!(viewer.stop(Signal::SIGTERM).success(), "{viewer}");
    let total = number(&sender.final_stats(), "frames_sent");
    let recorded = split(&fs::read(&record).unwrap());
    let (ours, strange): (Vec<_>, Vec<_>) = recorded.iter().partition(|jpeg| {
        let header = turbojpeg::read_header(jpeg).unwrap();
        (header.width, header.height) == SIZE
    });
    let before = whole(&shown_before);
    Some(Outcome {
        // The frames that were sent until the viewer reported, as far as it had them.
        sent: total - before,
        shown: ours.len() as f64 - before,
        strange: strange.len(),
    })
}

/// The highest share of repair, with `repair: Auto`, while a stranger reports 25 % of loss and
/// nobody else any.
pub fn repair_by_a_stranger(test: &str) -> Option<f64> {
    let scene = Scene::new(test)?;
    let sender = scene.send("--repair auto");
    let viewer = scene.view("");
    viewer.wait_for_stats("frames", |s| whole(s) >= 30.0);
    sender.wait_for_stats("a viewer", |s| number(s, "viewers") >= 1.0);
    let (hears, sends) = sockets(scene.attacker());
    let media = ssrc_of(&hears);
    let seconds = (1..=12).map(|n: u32| {
        let forged = report(0xbad, media, 64, n * 1_000, n * 4_000);
        sends.send_to(&forged, (GROUP, PORT + 1)).unwrap();
        let stats = sender.wait_for_stats("the next second", |_| true);
        number(&stats, "repair_permille") / 1_000.0
    });
    Some(seconds.fold(0.0, f64::max))
}

fn whole(stats: &serde_json::Value) -> f64 {
    number(stats, "frames_whole") + number(stats, "frames_repaired")
}

/// A sender, a viewer and an attacker on one bridge.
pub struct Scene {
    pub lan: Lan,
}

impl Scene {
    pub fn new(test: &str) -> Option<Scene> {
        let lan = can_enter(test)
            .then(|| Lan::with_viewers(test, 2))
            .flatten()?;
        Some(Scene { lan })
    }

    pub fn attacker(&self) -> &Host {
        &self.lan.viewers[1]
    }

    /// The viewer loses so many of the stream's packets, one by one.
    pub fn lose(&self, percent: u32) {
        self.lan.sender.without_segmentation_offload();
        self.lan.viewers[0].run(&format!(
            "nft add table ip lossy
             nft add chain ip lossy input '{{ type filter hook input priority 0; }}'
             nft add rule ip lossy input udp dport '{{ {PORT}, {} }}' numgen random mod 100 '<' {percent} drop",
            PORT + 4
        ));
    }

    pub fn send(&self, flags: &str) -> Process {
        let (width, height) = SIZE;
        let command = format!(
            "send --source pattern:{width}x{height}@30 --name porch --interface {INTERFACE} --stats - {flags}"
        );
        Process::spawn("the sender", self.lan.sender.lancam(&command))
    }

    pub fn view(&self, flags: &str) -> Process {
        let command =
            format!("view {GROUP}:{PORT} --headless --interface {INTERFACE} --stats - {flags}");
        Process::spawn("the viewer", self.lan.viewers[0].lancam(&command))
    }
}

/// A packet of the sender's, as far as attackers read it.
struct Heard {
    is_last: bool,
    seq: u16,
    time: u32,
    ssrc: u32,
    /// RFC 2435 §3.1: type, Q, width, height.
    facts: [u8; 4],
}

impl Heard {
    fn read(packet: &[u8]) -> Option<Heard> {
        let four = |at: usize| -> [u8; 4] { packet[at..at + 4].try_into().unwrap() };
        // RFC 3550 §5.1. The marked packet, from which the facts are taken, has no header
        // extension.
        let is_stream = packet.len() >= 21 && packet[0] == 0x80 && packet[1] & 0x7f == 26;
        is_stream.then(|| Heard {
            is_last: packet[1] & 0x80 != 0,
            seq: u16::from_be_bytes([packet[2], packet[3]]),
            time: u32::from_be_bytes(four(4)),
            ssrc: u32::from_be_bytes(four(8)),
            facts: four(16),
        })
    }

    /// The shortest packet of a frame: one byte of scan at `offset`.
    fn forge(&self, seq: u16, time: u32, offset: u8) -> Vec<u8> {
        let mut packet = rtp(
            self.ssrc,
            self.seq.wrapping_add(seq),
            self.time.wrapping_add(time),
        );
        packet.extend([0, 0, 0, offset]);
        packet.extend(self.facts);
        // Types from 64 on have a restart header.
        if self.facts[0] >= 64 {
            packet.extend([0, 1, 0xff, 0xff]);
        }
        packet.push(0);
        packet
    }
}

fn rtp(ssrc: u32, seq: u16, time: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 26];
    packet.extend(seq.to_be_bytes());
    packet.extend(time.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet
}

/// An empty receiver report: compound packets begin with one. RFC 3550 §6.4.2.
pub fn empty_report(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

/// RFC 3550 §6.6.
fn goodbye(ssrc: u32) -> Vec<u8> {
    [
        &empty_report(ssrc)[..],
        &[0x81, 203, 0, 1],
        &ssrc.to_be_bytes(),
    ]
    .concat()
}

/// A receiver report about `media`: a fraction of 256 lost. RFC 3550 §6.4.2.
pub fn report(ssrc: u32, media: u32, fraction: u8, lost: u32, highest: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(media.to_be_bytes());
    packet.extend((u32::from(fraction) << 24 | lost & 0x00ff_ffff).to_be_bytes());
    packet.extend(highest.to_be_bytes());
    packet.extend([0; 12]);
    packet
}

/// Two sockets of a host: one hears the group, one sends.
pub fn sockets(host: &Host) -> (UdpSocket, UdpSocket) {
    host.inside(|| {
        let group: Ipv4Addr = GROUP.parse().unwrap();
        let hears = UdpSocket::bind((group, PORT)).unwrap();
        hears
            .join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
            .unwrap();
        hears.set_read_timeout(Some(PATIENCE)).unwrap();
        let sends = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        sends.set_multicast_loop_v4(false).unwrap();
        (hears, sends)
    })
}

/// The SSRC of the stream that is heard.
pub fn ssrc_of(hears: &UdpSocket) -> u32 {
    let mut packet = [0; 2048];
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let len = hears.recv(&mut packet).unwrap();
        if let Some(heard) = Heard::read(&packet[..len]) {
            return heard.ssrc;
        }
    }
    panic!("no stream is heard");
}

/// An attack that goes on until it is stopped.
pub struct Attacker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Its own stream.
    _stream: Option<Process>,
}

impl Attacker {
    pub fn start(host: &Host, attack: Attack) -> Attacker {
        let (hears, sends) = sockets(host);
        let ssrc = ssrc_of(&hears);
        // Once the sender has stopped nothing is heard any more.
        hears.set_read_timeout(Some(LOOK)).unwrap();
        let stream = (attack == Attack::Goodbye).then(|| {
            // A group that is chosen is not left to the other sender.
            let command = format!(
                "send --source pattern:320x240@5 --interface {INTERFACE} --group {GROUP}:{PORT}"
            );
            Process::spawn("the attacker's stream", host.lancam(&command))
        });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut forger = Forger {
                    attack,
                    ssrc,
                    sends,
                    stream: Packetizer::new(Ssrc(ssrc), SeqNo(1000), 1400),
                    due: Instant::now(),
                };
                let mut packet = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(len) = hears.recv(&mut packet) else {
                        continue;
                    };
                    let heard = Heard::read(&packet[..len]);
                    if let Some(heard) = heard.filter(|h| h.is_last && h.ssrc == ssrc) {
                        forger.at_end_of_frame(&heard);
                    }
                }
            }
        });
        Attacker {
            stop,
            thread: Some(thread),
            _stream: stream,
        }
    }

    /// The sender has stopped, or goes on: no more packets are forged.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the attacker's thread");
        }
    }
}

struct Forger {
    attack: Attack,
    ssrc: u32,
    sends: UdpSocket,
    /// The stranger's pictures under the sender's SSRC.
    stream: Packetizer,
    /// When that which is done now and then is done next.
    due: Instant,
}

impl Forger {
    fn at_end_of_frame(&mut self, heard: &Heard) {
        match self.attack {
            Attack::Nothing => {}
            Attack::Poison => self.send(PORT, &heard.forge(1, 1500, 8)),
            Attack::Ahead => {
                if self.is_due(Duration::from_secs(3)) {
                    self.send(PORT, &heard.forge(2_900, 600_000, 8));
                }
            }
            Attack::Restart => {
                for n in 0..2 {
                    self.send(PORT, &heard.forge(30_000 + n, 0x4000_0000, 0));
                }
            }
            Attack::Replace => self.send_picture(heard.time),
            Attack::Goodbye => {
                if self.is_due(Duration::from_millis(100)) {
                    self.send(PORT + 1, &goodbye(self.ssrc));
                }
            }
        }
    }

    fn is_due(&mut self, every: Duration) -> bool {
        let is_due = Instant::now() >= self.due;
        if is_due {
            self.due = Instant::now() + every;
        }
        is_due
    }

    fn send_picture(&mut self, time: u32) {
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(STRANGERS_PICTURE).unwrap();
        let plan = self.stream.plan(&picture, RtpTime(time), None).unwrap();
        let packets: Vec<Vec<u8>> = (0..plan.packets.len())
            .map(|i| {
                let (header, payload) = plan.parts(i, picture.scan);
                [header, payload].concat()
            })
            .collect();
        packets.iter().for_each(|packet| self.send(PORT, packet));
    }

    fn send(&self, port: u16, datagram: &[u8]) {
        self.sends.send_to(datagram, (GROUP, port)).unwrap();
    }
}
