//! lancam under a service manager: what it tells by sd_notify(3), when the watchdog goes without its food, and that a
//! supervised sender waits for its interface. The manager is a datagram socket of the test; deploy/lancam.service is
//! looked at by systemd's own tools.
#![cfg(feature = "send")]

mod common;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::net::{Host, INTERFACE, Net};
use common::process::Process;
use common::{PATIENCE, have};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The side of systemd.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Manager { socket, folder }
    }

    /// Starts lancam as the unit does, with a watchdog.
    fn start(&self, host: &Host, arguments: &str) -> Process {
        let mut command = host.lancam(arguments);
        command
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "15000000");
        Process::spawn("lancam send", command)
    }

    /// The next message, if one comes in time.
    fn next(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(String::from_utf8(buffer[..len].to_vec()).unwrap()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Waits for a message that `wanted` holds of.
    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}");
            if let Some(message) = self.next(left).filter(|message| wanted(message)) {
                return message;
            }
        }
    }

    /// Waits until 2.5 seconds pass without the watchdog's food, which comes once a second.
    fn wait_for_hunger(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut fed = Instant::now();
        while fed.elapsed() < Duration::from_millis(2500) {
            assert!(Instant::now() < deadline, "the watchdog is fed on and on");
            let message = self.next(Duration::from_millis(100));
            if message.is_some_and(|m| m.contains("WATCHDOG=1")) {
                fed = Instant::now();
            }
        }
    }
}

fn pattern(more: &str) -> String {
    format!("send --source pattern:320x240@30 --name porch {more}")
}

#[test]
fn a_sender_says_when_it_is_ready_how_it_is_and_when_it_stops() {
    let test = "a_sender_says_when_it_is_ready_how_it_is_and_when_it_stops";
    let Some(net) = Net::pair(test) else { return };
    let manager = Manager::new();
    let mut sender = manager.start(&net.sender, &pattern(&format!("--interface {INTERFACE}")));
    assert_eq!(manager.next(PATIENCE).as_deref(), Some("READY=1\n"));
    let status = manager.wait_for("a status", |m| m.starts_with("STATUS="));
    assert!(status.starts_with("STATUS=porch: "), "{status}");
    assert!(status.contains(" fps, 0 viewers"), "{status}");
    manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
    manager.wait_for("the end", |m| m == "STOPPING=1\n");
}

#[test]
fn a_reload_is_told_with_its_time() {
    let Some(net) = Net::pair("a_reload_is_told_with_its_time") else {
        return;
    };
    let manager = Manager::new();
    let file = manager.folder.path().join("porch.ron");
    let text = format!(
        "(streams: [(name: \"porch\", source: Pattern(\"320x240@30\"), interface: Some(\"{INTERFACE}\"))])"
    );
    std::fs::write(&file, text).unwrap();
    let sender = manager.start(&net.sender, &format!("send --config {}", file.display()));
    manager.wait_for("the start", |m| m == "READY=1\n");
    sender.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("the reload", |m| m.starts_with("RELOADING=1\n"));
    let time = reloading.trim().rsplit_once("MONOTONIC_USEC=").unwrap().1;
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let now = Duration::from(now).as_micros();
    let time: u128 = time.parse().unwrap();
    assert!(time <= now && now - time < 40_000_000, "{time} at {now}");
    manager.wait_for("the end of the reload", |m| m == "READY=1\n");
}

#[test]
fn the_watchdog_is_not_fed_when_no_frames_go_out() {
    let test = "the_watchdog_is_not_fed_when_no_frames_go_out";
    let Some(net) = Net::pair(test) else { return };
    let manager = Manager::new();
    // A source that hangs: the reader of this pipe waits, and so does the stream.
    let clip = common::clip::Clip::get(common::clip::Kind::new(
        320,
        240,
        common::clip::Chroma::C420,
    ));
    let mut sender = manager.start(
        &net.sender,
        &format!("send --source - --name porch --interface {INTERFACE}"),
    );
    let mut pipe = sender.stdin();
    let frames = clip.frames.concat();
    let is_hungry = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            while !is_hungry.load(std::sync::atomic::Ordering::Relaxed) {
                io::Write::write_all(&mut pipe, &frames).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
            pipe
        });
        for _ in 0..3 {
            manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
        }
        is_hungry.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut pipe = feeder.join().unwrap();
        manager.wait_for_hunger();
        // And again when frames do.
        io::Write::write_all(&mut pipe, &frames).unwrap();
        manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
    });
}

#[test]
fn a_stopped_process_feeds_nobody() {
    let Some(net) = Net::pair("a_stopped_process_feeds_nobody") else {
        return;
    };
    let manager = Manager::new();
    let sender = manager.start(&net.sender, &pattern(&format!("--interface {INTERFACE}")));
    manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
    kill(Pid::from_raw(sender.pid() as i32), Signal::SIGSTOP).unwrap();
    manager.wait_for_hunger();
}

#[test]
fn a_supervised_sender_waits_for_its_interface() {
    let Some(net) = Net::pair("a_supervised_sender_waits_for_its_interface") else {
        return;
    };
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    let manager = Manager::new();
    let mut sender = manager.start(&net.sender, &pattern(&format!("--interface {INTERFACE}")));
    let message = manager.wait_for("word of the interface", |m| m.contains("is down"));
    // It does not hold up the boot, nor is it ended by the watchdog.
    assert!(
        message.starts_with("READY=1\nSTATUS=waiting for the network: "),
        "{message}"
    );
    assert!(message.ends_with("WATCHDOG=1\n"), "{message}");
    net.sender.run(&format!("ip link set {INTERFACE} up"));
    manager.wait_for("frames", |m| m.contains(" fps, "));
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");

    // It ends at once when it is asked to while it waits.
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    let mut sender = manager.start(&net.sender, &pattern(&format!("--interface {INTERFACE}")));
    manager.wait_for("word of the interface", |m| m.contains("is down"));
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");

    // Without a supervisor somebody is there to read it.
    let words = pattern(&format!("--interface {INTERFACE}"));
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&words));
    assert_eq!(sender.wait().code(), Some(1), "{sender}");
}

#[test]
fn a_network_that_goes_is_no_reason_for_the_watchdog() {
    let Some(net) = Net::pair("a_network_that_goes_is_no_reason_for_the_watchdog") else {
        return;
    };
    let manager = Manager::new();
    let sender = manager.start(&net.sender, &pattern(&format!("--interface {INTERFACE}")));
    manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    sender.wait_for_message("frames are dropped until the network is back");
    // Longer than a stream may be silent otherwise.
    for _ in 0..6 {
        manager.wait_for("the watchdog's food", |m| m == "WATCHDOG=1\n");
    }
    net.sender.run(&format!("ip link set {INTERFACE} up"));
    sender.wait_for_message("the network is back");
}

/// The unit as it is installed, but for a program that this machine has.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit_and_calls_it_safe() {
    let test = "systemd_finds_nothing_wrong_with_the_unit_and_calls_it_safe";
    if !have(test, &["systemd-analyze"]) {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/lancam.service");
    let text = std::fs::read_to_string(unit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lancam.service");
    let text = text
        .replace("/usr/bin/lancam ", "/bin/true ")
        .replace("Documentation=man:lancam-send(1)\n", "");
    std::fs::write(&file, text).unwrap();
    for arguments in [
        &["verify"][..],
        &["security", "--offline=true", "--threshold=20"],
    ] {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{complaint}");
        if arguments == ["verify"] {
            assert_eq!(complaint.trim(), "", "{arguments:?}");
        }
    }
}
