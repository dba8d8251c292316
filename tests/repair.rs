//! Repair over a network that loses packets: both programs, two network namespaces, one wire on which 5 % of
//! the packets are lost at random (nftables, on the viewer's side). Skipped where that is not allowed.

use std::fs;
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

/// Sends over the lossy wire, and gives what sender and viewer counted.
fn over_a_lossy_wire(repair: &str) -> Option<(Value, Value)> {
    let (camera, viewer) = two_machines()?;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("loss.nft");
    fs::write(&rules, LOSS).unwrap();
    // In one piece a lost packet would be 46 lost ones.
    let cut = shell(&camera, "ethtool -K cam0 tx-udp-segmentation off gso off");
    if !cut || !shell(&viewer, &format!("nft -f {}", rules.display())) {
        eprintln!("SKIPPED: no ethtool or nftables here");
        return None;
    }
    for (machine, device) in [(&camera, "cam0"), (&viewer, "view0")] {
        machine.ip(&format!("route add 224.0.0.0/4 dev {device}"));
    }
    let watching = Program::start(
        &viewer,
        folder.path(),
        "viewer",
        &format!("view {GROUP} --headless --interface view0"),
    );
    // The kernel prints the group as it lies in memory.
    let group = format!("{:08X}", u32::from_ne_bytes([224, 3, 29, 71]));
    wait_for("the viewer to join", || {
        let path = format!("/proc/{}/net/igmp", watching.child.id());
        fs::read_to_string(path).is_ok_and(|text| text.contains(&group))
    });
    let sending = Program::start(
        &camera,
        folder.path(),
        "sender",
        &format!(
            "send --source pattern:1920x1080@15 --quality 100 --group {GROUP} --interface cam0 --repair {repair}"
        ),
    );
    wait_for("frames", || {
        (sending.stats()).is_some_and(|s| s["frames_sent"].as_u64() >= Some(FRAMES))
    });
    let sent = sending.stop();
    let seen = watching.stop();
    eprintln!("--repair {repair}\n  sender {sent}\n  viewer {seen}");
    Some((sent, seen))
}

fn number(of: &Value, key: &str) -> f64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} in {of}")) as f64
}

#[test]
fn with_repair_nearly_all_frames_come_whole() {
    let Some((sent, seen)) = over_a_lossy_wire("0.3") else {
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
    let Some((sent, seen)) = over_a_lossy_wire("off") else {
        return;
    };
    assert_eq!(number(&sent, "repair_packets_sent"), 0.0);
    let frames = number(&sent, "frames_sent");
    // 0.95 to the power of a frame's packets.
    let whole = number(&seen, "frames_whole");
    assert!(whole < frames * 0.2, "{whole} of {frames} frames");
    assert_eq!(number(&seen, "frames_repaired"), 0.0);
}
