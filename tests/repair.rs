//! Repair, retransmission and fewer frames over a network that loses packets: two hosts on one wire
//! on which 5 % of the packets are lost at random, or which is too narrow (nftables, on the
//! viewer's side: a sender whose own queue is full waits for it, one with a bottleneck behind it
//! does not notice).
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use common::net::{GROUP, INTERFACE, Net, PORT, SENDER_IP, VIEWER_IP, can_enter};
use common::process::Process;
use common::{PATIENCE, have, number};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Frames to send, at least.
const FRAMES: f64 = 150.0;
/// The stream's port and its repair's.
const PORTS: &str = "{ 10000, 10004 }";
/// What lets 5 % of the packets go lost before they reach a socket.
const LOSS: &str = "numgen random mod 1000 < 50";

/// Two hosts on one wire that carries packets one by one: in one piece a lost packet would be 46
/// lost ones.
struct Scene {
    net: Net,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(test: &str) -> Option<Scene> {
        if !have(test, &["nft", "ethtool"]) {
            return None;
        }
        let net = Net::pair(test)?;
        net.sender.without_segmentation_offload();
        let folder = tempfile::tempdir().unwrap();
        Some(Scene { net, folder })
    }

    /// From here on the viewer's host loses the packets that `which` names.
    fn lose(&self, which: &str) {
        self.net.viewer.run(&format!(
            "nft add table ip lossy
             nft add chain ip lossy input '{{ type filter hook input priority 0; }}'
             nft add rule ip lossy input 'udp dport {PORTS} {which} drop'"
        ));
    }

    /// A viewer that has joined.
    fn watch(&self, flags: &str) -> Process {
        let arguments =
            format!("view {GROUP}:{PORT} --headless --interface {INTERFACE} --stats - {flags}");
        let mut viewer = Process::spawn("viewer", self.net.viewer.lancam(&arguments));
        viewer.wait_until_joined(GROUP);
        viewer
    }

    /// A sender with these keys of its stream.
    fn send(&self, keys: &str) -> Process {
        self.send_pattern("1920x1080@15", keys)
    }

    fn send_pattern(&self, pattern: &str, keys: &str) -> Process {
        let config = self.folder.path().join("sender.ron");
        let stream =
            format!("source: Pattern({pattern:?}), quality: 100, interface: {INTERFACE:?}, {keys}");
        fs::write(&config, format!("(streams: [({stream})])")).unwrap();
        let arguments = format!("send --config {} --stats -", config.display());
        Process::spawn("sender", self.net.sender.lancam(&arguments))
    }
}

/// Ends it, and gives its totals.
fn stop(mut process: Process) -> Value {
    assert!(process.stop(Signal::SIGTERM).success(), "{process}");
    process.final_stats()
}

/// Frames that a viewer got whole, with or without repair.
fn whole(seen: &Value) -> f64 {
    number(seen, "frames_whole") + number(seen, "frames_repaired")
}

/// Sends over the lossy wire, and gives what sender and viewer counted.
fn over_a_lossy_wire(test: &str, keys: &str, flags: &str) -> Option<(Value, Value)> {
    let scene = Scene::new(test)?;
    scene.lose(LOSS);
    let viewer = scene.watch(flags);
    let sender = scene.send(keys);
    sender.wait_for_stats("frames", |s| number(s, "frames_sent") >= FRAMES);
    let (sent, seen) = (stop(sender), stop(viewer));
    eprintln!("{keys}\n  sender {sent}\n  viewer {seen}");
    Some((sent, seen))
}

#[test]
fn with_repair_nearly_all_frames_come_whole() {
    let Some((sent, seen)) = over_a_lossy_wire(
        "with_repair_nearly_all_frames_come_whole",
        "repair: Fixed(0.3)",
        "",
    ) else {
        return;
    };
    let frames = number(&sent, "frames_sent");
    let packets = number(&sent, "packets_sent");
    let share = number(&sent, "repair_packets_sent") / packets;
    assert!((0.3..0.33).contains(&share), "{share}");
    let lost = 1.0 - number(&seen, "packets_received") / packets;
    assert!((0.03..0.07).contains(&lost), "not the loss wanted: {lost}");
    let whole = whole(&seen);
    assert!(whole >= frames * 0.98, "{whole} of {frames} frames");
    assert!(number(&seen, "packets_repaired") > 0.0);
    assert_eq!(number(&seen, "packets_invalid"), 0.0);
}

#[test]
fn without_repair_few_frames_do() {
    let Some((sent, seen)) = over_a_lossy_wire("without_repair_few_frames_do", "repair: Off", "")
    else {
        return;
    };
    assert_eq!(number(&sent, "repair_packets_sent"), 0.0);
    let frames = number(&sent, "frames_sent");
    // 0.95 to the power of a frame's packets.
    let whole = number(&seen, "frames_whole");
    assert!(whole < frames * 0.2, "{whole} of {frames} frames");
    assert_eq!(number(&seen, "frames_repaired"), 0.0);
}

#[test]
fn repair_follows_what_the_viewer_loses() {
    let Some((sent, seen)) = over_a_lossy_wire(
        "repair_follows_what_the_viewer_loses",
        "repair: Auto(max: 0.5)",
        "",
    ) else {
        return;
    };
    let share = number(&sent, "repair_packets_sent") / number(&sent, "packets_sent");
    assert!((0.08..0.25).contains(&share), "{share}");
    assert!(
        whole(&seen) >= number(&sent, "frames_sent") * 0.95,
        "{seen}"
    );
}

#[test]
fn what_is_asked_for_is_sent_again() {
    // A viewer asks once it has reported.
    let keys = "retransmit: true, wait_for_viewers: (count: 1, at_most_s: 10)";
    let Some((sent, seen)) =
        over_a_lossy_wire("what_is_asked_for_is_sent_again", keys, "--retransmit")
    else {
        return;
    };
    let again = number(&sent, "packets_resent");
    let share = again / number(&sent, "packets_sent");
    assert!((0.03..0.10).contains(&share), "{share}");
    assert_eq!(again, number(&sent, "repair_packets_sent"));
    assert!(
        whole(&seen) >= number(&sent, "frames_sent") * 0.95,
        "{seen}"
    );
    assert_eq!(number(&seen, "packets_invalid"), 0.0);
}

#[test]
fn nobody_is_answered_where_retransmission_is_off() {
    let Some((sent, _)) = over_a_lossy_wire(
        "nobody_is_answered_where_retransmission_is_off",
        "repair: Off",
        "--retransmit",
    ) else {
        return;
    };
    assert_eq!(number(&sent, "packets_resent"), 0.0);
    assert_eq!(number(&sent, "repair_packets_sent"), 0.0);
}

/// One who asks for everything, over and over.
#[test]
fn a_flood_of_requests_is_answered_within_its_share() {
    let test = "a_flood_of_requests_is_answered_within_its_share";
    if !can_enter(test) {
        return;
    }
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let sender = scene.send("retransmit: true");
    sender.wait_for_stats("the stream", |s| number(s, "frames_sent") >= 5.0);
    let (asked, junk) = scene.net.viewer.inside(ask_for_everything);
    let sent = stop(sender);
    eprintln!("{asked} asked for, {junk} datagrams of junk: {sent}");
    let share = number(&sent, "packets_resent") / number(&sent, "packets_sent");
    assert!((0.01..0.20).contains(&share), "{share}");
    assert!(number(&sent, "requests_refused") > 0.0);
    assert!(number(&sent, "reports_invalid") > 0.0);
    assert_eq!(number(&sent, "frames_dropped"), 0.0);
}

/// For five seconds, with junk in between; how many packets were asked for, and how many datagrams
/// were junk.
fn ask_for_everything() -> (u32, u32) {
    let group: Ipv4Addr = GROUP.parse().unwrap();
    let own: Ipv4Addr = VIEWER_IP.parse().unwrap();
    let reports = (SENDER_IP, PORT + 1);
    let stream = UdpSocket::bind((group, PORT)).unwrap();
    stream.join_multicast_v4(&group, &own).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = UdpSocket::bind((own, 0)).unwrap();
    let mut packet = [0; 2048];
    let until = Instant::now() + Duration::from_secs(5);
    let (mut asked, mut junk) = (0, 0);
    while Instant::now() < until {
        let len = stream.recv(&mut packet).unwrap();
        assert!(len > 12);
        // RFC 4585 §6.1, §6.2.1: this packet and the 16 behind it; SSRC 1 asks.
        let mut nack = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 205, 0, 3, 0, 0, 0, 1];
        nack.extend_from_slice(&packet[8..12]);
        nack.extend_from_slice(&packet[2..4]);
        nack.extend([0xff, 0xff]);
        socket.send_to(&nack, reports).unwrap();
        asked += 17;
        // And what is no RTCP at all, or of no length.
        if asked % 1700 == 0 {
            socket.send_to(&nack[..7], reports).unwrap();
            socket.send_to(&[0xff; 900], reports).unwrap();
            junk += 2;
        }
    }
    (asked, junk)
}

/// A wire too narrow for the stream: with more repair it would only get worse.
#[test]
fn a_full_link_gets_fewer_frames() {
    let Some(scene) = Scene::new("a_full_link_gets_fewer_frames") else {
        return;
    };
    let viewer = scene.watch("");
    // Small, so that this machine makes every frame in time: where it does not, fewer frames sent
    // are others made.
    let keys = "repair: Auto(max: 0.5), adapt: FrameRate(min: 2), pacing: Spread(0.8)";
    let sender = scene.send_pattern("640x480@15", keys);
    let stats = sender.wait_for_stats("the stream's rate", |s| number(s, "frames_sent") >= 30.0);
    let rate = number(&stats, "bytes_sent") * 8.0 / number(&stats, "frames_sent") * 15.0;
    // Room for half of it; what is too much is lost.
    let bytes = (rate / 16.0) as u64;
    scene.lose(&format!(
        "limit rate over {bytes} bytes/second burst 65536 bytes"
    ));
    // Found out within some seconds, and then nearly every frame that is sent comes whole.
    let fewer = sender.wait_for_stats("fewer frames", |s| number(s, "frames_decimated") >= 60.0);
    let before = (
        number(&fewer, "frames_sent"),
        whole(&viewer.wait_for_stats("anything", |_| true)),
    );
    let after = sender.wait_for_stats("more frames", |s| {
        number(s, "frames_sent") >= before.0 + 100.0
    });
    let seen = viewer.wait_for_stats("anything", |_| true);
    let (sent, whole) = (
        number(&after, "frames_sent") - before.0,
        whole(&seen) - before.1,
    );
    eprintln!("{whole} of {sent} frames whole: {after}");
    assert!(whole >= sent * 0.7, "{whole} of {sent} frames");
}
