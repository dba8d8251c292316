//! Repair, retransmission and fewer frames over a network that loses packets: both programs, two network namespaces, one
//! wire on which 5 % of the packets are lost at random, or which is too narrow (nftables, on the viewer's side: a sender
//! whose own queue is full waits for it, one with a bottleneck behind it does not notice). Skipped where that is not allowed.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

mod namespaces;
use namespaces::{Machine, two_machines};

const GROUP: &str = "224.3.29.71:10000";
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames to send, at least.
const FRAMES: u64 = 150;

/// Lets 5 % of the stream and of its repair go lost before they reach a socket.
const LOSS: &str = "\
    add table ip lossy
    add chain ip lossy input { type filter hook input priority 0; }
    add rule ip lossy input udp dport { 10000, 10004 } numgen random mod 1000 < 50 drop
";

/// A program under test, killed with the test.
struct Program {
    child: Child,
    stats: PathBuf,
}

impl Program {
    fn start(on: &Machine, folder: &Path, name: &str, arguments: &str) -> Program {
        let stats = folder.join(format!("{name}.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lancam"));
        command
            .args(arguments.split_whitespace())
            .arg("--stats")
            .arg(&stats)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = on.run(move || command.spawn().unwrap());
        Program { child, stats }
    }

    /// The last whole line of its statistics.
    fn stats(&self) -> Option<Value> {
        let text = fs::read_to_string(&self.stats).ok()?;
        let line = text.lines().last()?;
        serde_json::from_str(line).ok()
    }

    fn stop(mut self) -> Value {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let last = self.stats().unwrap();
        assert_eq!(last["final"], true);
        last
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn shell(on: &Machine, script: &str) -> bool {
    let script = script.to_owned();
    on.run(move || {
        let status = Command::new("sh").args(["-ec", &script]).status();
        status.is_ok_and(|s| s.success())
    })
}

/// Two machines on one wire that carries packets one by one.
struct Scene {
    camera: Machine,
    viewer: Machine,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Option<Scene> {
        let (camera, viewer) = two_machines()?;
        for (machine, device) in [(&camera, "cam0"), (&viewer, "view0")] {
            machine.ip(&format!("route add 224.0.0.0/4 dev {device}"));
        }
        // In one piece a lost packet would be 46 lost ones.
        if !shell(&camera, "ethtool -K cam0 tx-udp-segmentation off gso off") {
            eprintln!("SKIPPED: no ethtool here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        Some(Scene {
            camera,
            viewer,
            folder,
        })
    }

    /// One whose wire loses packets.
    fn lossy() -> Option<Scene> {
        let scene = Scene::new()?;
        let rules = scene.folder.path().join("loss.nft");
        fs::write(&rules, LOSS).unwrap();
        if !shell(&scene.viewer, &format!("nft -f {}", rules.display())) {
            eprintln!("SKIPPED: no nftables here");
            return None;
        }
        Some(scene)
    }

    /// A viewer that has joined.
    fn watch(&self, flags: &str) -> Program {
        let arguments = format!("view {GROUP} --headless --interface view0 {flags}");
        let watching = Program::start(&self.viewer, self.folder.path(), "viewer", &arguments);
        // The kernel prints the group as it lies in memory.
        let group = format!("{:08X}", u32::from_ne_bytes([224, 3, 29, 71]));
        wait_for("the viewer to join", || {
            let path = format!("/proc/{}/net/igmp", watching.child.id());
            fs::read_to_string(path).is_ok_and(|text| text.contains(&group))
        });
        watching
    }

    /// A sender with these keys of its stream.
    fn send(&self, keys: &str) -> Program {
        self.send_pattern("1920x1080@15", keys)
    }

    fn send_pattern(&self, pattern: &str, keys: &str) -> Program {
        let config = self.folder.path().join("sender.ron");
        let text = format!(
            "(streams: [(source: Pattern({pattern:?}), quality: 100, group: {GROUP:?}, interface: \"cam0\", {keys})])"
        );
        fs::write(&config, text).unwrap();
        let arguments = format!("send --config {}", config.display());
        Program::start(&self.camera, self.folder.path(), "sender", &arguments)
    }
}

/// Sends over the lossy wire, and gives what sender and viewer counted.
fn over_a_lossy_wire(keys: &str, flags: &str) -> Option<(Value, Value)> {
    let scene = Scene::lossy()?;
    let watching = scene.watch(flags);
    let sending = scene.send(keys);
    wait_for("frames", || {
        (sending.stats()).is_some_and(|s| s["frames_sent"].as_u64() >= Some(FRAMES))
    });
    let sent = sending.stop();
    let seen = watching.stop();
    eprintln!("{keys}\n  sender {sent}\n  viewer {seen}");
    Some((sent, seen))
}

fn number(of: &Value, key: &str) -> f64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} in {of}")) as f64
}

#[test]
fn with_repair_nearly_all_frames_come_whole() {
    let Some((sent, seen)) = over_a_lossy_wire("repair: Fixed(0.3)", "") else {
        return;
    };
    let frames = number(&sent, "frames_sent");
    let packets = number(&sent, "packets_sent");
    let share = number(&sent, "repair_packets_sent") / packets;
    assert!((0.3..0.33).contains(&share), "{share}");
    let lost = 1.0 - number(&seen, "packets_received") / packets;
    assert!((0.03..0.07).contains(&lost), "not the loss wanted: {lost}");
    let whole = number(&seen, "frames_whole") + number(&seen, "frames_repaired");
    assert!(whole >= frames * 0.98, "{whole} of {frames} frames");
    assert!(number(&seen, "packets_repaired") > 0.0);
    assert_eq!(number(&seen, "packets_invalid"), 0.0);
}

#[test]
fn without_repair_few_frames_do() {
    let Some((sent, seen)) = over_a_lossy_wire("repair: Off", "") else {
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
    let Some((sent, seen)) = over_a_lossy_wire("repair: Auto(max: 0.5)", "") else {
        return;
    };
    let share = number(&sent, "repair_packets_sent") / number(&sent, "packets_sent");
    assert!((0.08..0.25).contains(&share), "{share}");
    let whole = number(&seen, "frames_whole") + number(&seen, "frames_repaired");
    assert!(whole >= number(&sent, "frames_sent") * 0.95, "{seen}");
}

#[test]
fn what_is_asked_for_is_sent_again() {
    // A viewer asks once it has reported.
    let keys = "retransmit: true, wait_for_viewers: (count: 1, at_most_s: 10)";
    let Some((sent, seen)) = over_a_lossy_wire(keys, "--retransmit") else {
        return;
    };
    let again = number(&sent, "packets_resent");
    let share = again / number(&sent, "packets_sent");
    assert!((0.03..0.10).contains(&share), "{share}");
    assert_eq!(again, number(&sent, "repair_packets_sent"));
    let whole = number(&seen, "frames_whole") + number(&seen, "frames_repaired");
    assert!(whole >= number(&sent, "frames_sent") * 0.95, "{seen}");
    assert_eq!(number(&seen, "packets_invalid"), 0.0);
}

#[test]
fn nobody_is_answered_where_retransmission_is_off() {
    let Some((sent, _)) = over_a_lossy_wire("repair: Off", "--retransmit") else {
        return;
    };
    assert_eq!(number(&sent, "packets_resent"), 0.0);
    assert_eq!(number(&sent, "repair_packets_sent"), 0.0);
}

/// One who asks for everything, over and over.
#[test]
fn a_flood_of_requests_is_answered_within_its_share() {
    let Some(scene) = Scene::new() else { return };
    let sending = scene.send("retransmit: true");
    wait_for("the stream", || {
        (sending.stats()).is_some_and(|s| s["frames_sent"].as_u64() >= Some(5))
    });
    let (asked, junk) = scene.viewer.run(|| {
        let group: Ipv4Addr = "224.3.29.71".parse().unwrap();
        let own: Ipv4Addr = "10.77.0.2".parse().unwrap();
        let stream = UdpSocket::bind((group, 10_000)).unwrap();
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
            socket.send_to(&nack, "10.77.0.1:10001").unwrap();
            asked += 17;
            // And what is no RTCP at all, or of no length.
            if asked % 1700 == 0 {
                socket.send_to(&nack[..7], "10.77.0.1:10001").unwrap();
                socket.send_to(&[0xff; 900], "10.77.0.1:10001").unwrap();
                junk += 2;
            }
        }
        (asked, junk)
    });
    let sent = sending.stop();
    eprintln!("{asked} asked for, {junk} datagrams of junk: {sent}");
    let share = number(&sent, "packets_resent") / number(&sent, "packets_sent");
    assert!((0.01..0.20).contains(&share), "{share}");
    assert!(number(&sent, "requests_refused") > 0.0);
    assert!(number(&sent, "reports_invalid") > 0.0);
    assert_eq!(number(&sent, "frames_dropped"), 0.0);
}

/// A wire too narrow for the stream: with more repair it would only get worse.
#[test]
fn a_full_link_gets_fewer_frames() {
    let Some(scene) = Scene::new() else { return };
    let watching = scene.watch("");
    // Small, so that this machine makes every frame in time: where it does not, fewer frames sent are others made.
    let keys = "repair: Auto(max: 0.5), adapt: FrameRate(min: 2), pacing: Spread(0.8)";
    let sending = scene.send_pattern("640x480@15", keys);
    wait_for("the stream's rate", || {
        (sending.stats()).is_some_and(|s| s["frames_sent"].as_u64() >= Some(30))
    });
    let stats = sending.stats().unwrap();
    let rate = number(&stats, "bytes_sent") * 8.0 / number(&stats, "frames_sent") * 15.0;
    // Room for half of it; what is too much is lost.
    let bytes = (rate / 16.0) as u64;
    let rules = scene.folder.path().join("full.nft");
    let full = format!(
        "add table ip full\n\
         add chain ip full input {{ type filter hook input priority 0; }}\n\
         add rule ip full input udp dport {{ 10000, 10004 }} limit rate over {bytes} bytes/second burst 65536 bytes drop\n"
    );
    fs::write(&rules, full).unwrap();
    if !shell(&scene.viewer, &format!("nft -f {}", rules.display())) {
        eprintln!("SKIPPED: no nftables here");
        return;
    }
    // Found out within some seconds, and then nearly every frame that is sent comes whole.
    wait_for("fewer frames", || {
        (sending.stats()).is_some_and(|s| s["frames_thinned"].as_u64() >= Some(60))
    });
    let count = |p: &Program| {
        let s = p.stats().unwrap();
        let whole = ["frames_whole", "frames_repaired"].map(|key| s[key].as_f64().unwrap_or(0.0));
        (
            s["frames_sent"].as_f64().unwrap_or(0.0),
            whole[0] + whole[1],
        )
    };
    let before = (count(&sending).0, count(&watching).1);
    wait_for("more frames", || count(&sending).0 >= before.0 + 100.0);
    let (sent, whole) = (count(&sending).0 - before.0, count(&watching).1 - before.1);
    eprintln!(
        "{whole} of {sent} frames whole: {}",
        sending.stats().unwrap()
    );
    assert!(whole >= sent * 0.7, "{whole} of {sent} frames");
    sending.stop();
    watching.stop();
}
