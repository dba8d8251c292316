//! What a supervisor sees of `lancam send`: a real notification socket in its place. The unit file by systemd's own
//! checks. Booting with it is the image test's part.
#![cfg(feature = "send")]

mod common;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::clip::{Chroma, Clip, Kind};
use common::have;
use common::net::{INTERFACE, Net};
use common::process::Process;
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// The supervisor's end.
struct Supervisor {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Supervisor {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Supervisor { folder, socket }
    }

    /// Starts `command` under it, with a watchdog of four seconds.
    fn spawn(&self, mut command: Command) -> Process {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", "4000000");
        Process::spawn("lancam send", command)
    }

    /// The next message within `limit`.
    fn next(&self, limit: Duration) -> Option<String> {
        let mut text = [0; 4096];
        self.socket.set_read_timeout(Some(limit)).expect("a limit");
        let len = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..len]).into_owned())
    }

    /// Waits for a message with `words`.
    fn hears(&self, words: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        let mut heard = Vec::new();
        while let Some(message) = self.next(
            until
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)),
        ) {
            if message.contains(words) {
                return message;
            }
            heard.push(message);
        }
        panic!("nobody said {words:?}, but {heard:?}");
    }
}

#[test]
fn a_supervisor_hears_of_start_figures_reload_and_end() {
    let test = "a_supervisor_hears_of_start_figures_reload_and_end";
    let Some(net) = Net::pair(test) else { return };
    let supervisor = Supervisor::new();
    let command = format!("send --name porch --source pattern:320x240@30 --interface {INTERFACE}");
    let mut sender = supervisor.spawn(net.sender.lancam(&command));
    supervisor.hears("READY=1");
    supervisor.hears("STATUS=porch: 30");
    supervisor.hears("WATCHDOG=1");
    sender.signal(Signal::SIGHUP);
    let reloading = supervisor.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    supervisor.hears("READY=1");
    sender.signal(Signal::SIGTERM);
    supervisor.hears("STOPPING=1");
    assert!(sender.wait().success(), "{sender}");
}

/// A pipe that falls silent is a stream that hangs: nobody feeds the watchdog any more.
#[test]
fn the_watchdog_is_fed_only_while_frames_go_out() {
    let test = "the_watchdog_is_fed_only_while_frames_go_out";
    let Some(net) = Net::pair(test) else { return };
    let clip = Clip::get(Kind::new(320, 240, Chroma::C420));
    let frames = std::fs::read(clip.mjpeg()).expect("the clip");
    let supervisor = Supervisor::new();
    let mut command = net
        .sender
        .lancam(&format!("send --source - --interface {INTERFACE}"));
    command.stdin(Stdio::piped());
    let mut sender = supervisor.spawn(command);
    let mut pipe = sender.stdin();
    for _ in 0..20 {
        pipe.write_all(&frames).expect("a pipe");
        if supervisor
            .next(Duration::from_millis(200))
            .is_some_and(|m| m.contains("WATCHDOG=1"))
        {
            break;
        }
    }
    // Half of the four seconds, and one period to notice.
    let silent = Instant::now();
    let mut last = silent;
    while silent.elapsed() < Duration::from_secs(6) {
        if supervisor
            .next(Duration::from_millis(500))
            .is_some_and(|m| m.contains("WATCHDOG=1"))
        {
            last = Instant::now();
        }
    }
    let fed = last.duration_since(silent);
    assert!(
        fed < Duration::from_millis(3500),
        "fed for {fed:?} after the last frame"
    );
    pipe.write_all(&frames).expect("a pipe");
    supervisor.hears("WATCHDOG=1");
}

/// Without a supervisor that is an error; with one, the boot goes on and the stream comes with its network.
#[test]
fn under_a_supervisor_the_network_is_waited_for() {
    let test = "under_a_supervisor_the_network_is_waited_for";
    let Some(net) = Net::pair(test) else { return };
    let command = "send --source pattern:320x240@30 --interface late0 --stats -";
    let alone = net.sender.lancam(command).output().expect("lancam");
    assert_eq!(alone.status.code(), Some(1));

    let supervisor = Supervisor::new();
    let mut sender = supervisor.spawn(net.sender.lancam(command));
    let message = supervisor.hears("STATUS=waiting for the network");
    assert!(
        message.contains("READY=1") && message.contains("WATCHDOG=1"),
        "{message}"
    );
    net.sender.run(
        "ip link add late0 type veth peer name late1 && ip addr add 10.9.9.1/24 dev late0 && ip link set late0 up && ip link set late1 up",
    );
    sender.wait_for_stats("30 frames", |stats| {
        stats["frames_sent"].as_u64() >= Some(30)
    });
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
}

/// A new start would not bring the network back, and would cost the stream its identity.
#[test]
fn a_network_that_goes_away_starves_no_watchdog() {
    let test = "a_network_that_goes_away_starves_no_watchdog";
    let Some(net) = Net::pair(test) else { return };
    let supervisor = Supervisor::new();
    let command = format!("send --name porch --source pattern:320x240@30 --interface {INTERFACE}");
    let mut sender = supervisor.spawn(net.sender.lancam(&command));
    supervisor.hears("STATUS=porch: 30");
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    supervisor.hears("STATUS=porch: no network");
    // Once a second: the four seconds of the watchdog pass.
    for _ in 0..6 {
        supervisor.hears("WATCHDOG=1");
    }
    net.sender.run(&format!("ip link set {INTERFACE} up"));
    supervisor.hears("STATUS=porch: 30");
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
    let messages = sender.messages();
    for said in ["frames are dropped until", "the network is back:"] {
        assert_eq!(messages.matches(said).count(), 1, "{said}: {messages}");
    }
}

#[test]
fn the_unit_is_closed_as_far_as_its_job_allows() {
    if !have("the unit's checks", &["systemd-analyze"]) {
        return;
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lancam.service");
    let checked = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", unit])
        .output()
        .expect("systemd-analyze");
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{text}");
}
