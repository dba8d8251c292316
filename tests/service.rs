//! What a supervisor sees of `lancam send`: a real notification socket in its place. The unit file
//! by systemd's own checks. Booting with it is the image test's part.
#![cfg(feature = "send")]

mod common;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::clip::{Chroma, Clip, Kind};
use common::have;
use common::net::{INTERFACE, Net};
use common::process::Process;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
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

/// Stops one thread of a program, as a system call that never returns would.
struct Stopped(Pid);

impl Stopped {
    fn thread(process: &Process, name: &str) -> Stopped {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", process.pid())).expect("its threads");
        let named = |task: &std::path::Path| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let mut tasks = tasks.map(|task| task.expect("a thread").path());
        let task = tasks.find(|task| named(task)).expect("the thread");
        let number = task.file_name().and_then(|n| n.to_str()).expect("a number");
        let thread = Pid::from_raw(number.parse().expect("a number"));
        ptrace::seize(thread, ptrace::Options::empty()).expect("leave to trace it");
        ptrace::interrupt(thread).expect("an interruption");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("that it stops");
        Stopped(thread)
    }

    fn go_on(self) {
        ptrace::detach(self.0, None).expect("that it goes on");
    }
}

#[test]
fn the_watchdog_is_fed_only_while_threads_live() {
    let test = "the_watchdog_is_fed_only_while_threads_live";
    let Some(net) = Net::pair(test) else { return };
    let supervisor = Supervisor::new();
    let command = format!("send --name porch --source pattern:320x240@30 --interface {INTERFACE}");
    let sender = supervisor.spawn(net.sender.lancam(&command));
    supervisor.hears("STATUS=porch: 30");
    supervisor.hears("WATCHDOG=1");
    let thread = Stopped::thread(&sender, "porch");
    // Half of the four seconds, and one period to notice.
    let stopped = Instant::now();
    let mut last = stopped;
    while stopped.elapsed() < Duration::from_secs(6) {
        if supervisor
            .next(Duration::from_millis(500))
            .is_some_and(|m| m.contains("WATCHDOG=1"))
        {
            last = Instant::now();
        }
    }
    let fed = last.duration_since(stopped);
    assert!(
        fed < Duration::from_millis(3500),
        "fed for {fed:?} after the thread was stopped"
    );
    thread.go_on();
    supervisor.hears("WATCHDOG=1");
}

/// Whoever feeds the pipe may take its time: viewers and supervisor are told, and nobody is
/// restarted.
#[test]
fn a_pipe_that_falls_silent_starves_no_watchdog() {
    let test = "a_pipe_that_falls_silent_starves_no_watchdog";
    let Some(net) = Net::pair(test) else { return };
    let clip = Clip::get(Kind::new(320, 240, Chroma::C420));
    let frames = std::fs::read(clip.mjpeg()).expect("the clip");
    let supervisor = Supervisor::new();
    let command = format!("send --name porch --source - --interface {INTERFACE} --stats -");
    let mut command = net.sender.lancam(&command);
    command.stdin(Stdio::piped());
    let mut sender = supervisor.spawn(command);
    let mut pipe = sender.stdin();
    pipe.write_all(&frames).expect("a pipe");
    sender.wait_for_stats("frames", |stats| stats["state"] == "streaming");
    let said = supervisor.hears("STATUS=porch: no signal");
    assert!(
        said.contains("standard input has sent no picture"),
        "{said}"
    );
    // Once a second: the four seconds of the watchdog pass.
    for _ in 0..6 {
        supervisor.hears("WATCHDOG=1");
    }
    let stats = sender.wait_for_stats("slates", |stats| stats["slates_sent"].as_u64() > Some(2));
    assert_eq!(
        (&stats["state"], stats["fps"].as_f64()),
        (&"no_signal".into(), Some(0.0))
    );
    pipe.write_all(&frames).expect("a pipe");
    sender.wait_for_stats("frames again", |stats| stats["state"] == "streaming");
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
    assert_eq!(
        sender.messages().matches("has sent no picture").count(),
        1,
        "{sender}"
    );
}

/// A folder with a good stream's config and those of films that are wrong in different ways.
fn bad_films(folder: &Path, names: &[&str]) -> String {
    std::fs::write(folder.join("empty.avi"), b"").expect("a file");
    let corrupt = [b"RIFF".as_slice(), &[7; 9000]].concat();
    std::fs::write(folder.join("corrupt.avi"), corrupt).expect("a file");
    std::fs::write(folder.join("cut.jpg"), [0xff, 0xd8, 0xff, 0xe0, 0, 9]).expect("a file");
    let mut streams = format!(
        "(name: \"good\", source: Pattern(\"320x240@30\"), interface: \"{INTERFACE}\", group: \"239.255.7.1:10000\"),"
    );
    for (i, name) in names.iter().enumerate() {
        let path = folder.join(name).display().to_string();
        let group = format!("239.255.8.{}:10000", i + 1);
        streams += &format!(
            "(name: \"{name}\", source: File(\"{path}\"), loop: true, interface: \"{INTERFACE}\", group: \"{group}\"),"
        );
    }
    let config = folder.join("lancam.ron");
    std::fs::write(&config, format!("(streams: [{streams}])")).expect("the config");
    format!("send --config {} --stats -", config.display())
}

fn stream<'a>(stats: &'a Value, name: &str) -> &'a Value {
    let streams = stats["streams"].as_array().expect("streams");
    (streams.iter().find(|s| s["name"] == name)).unwrap_or_else(|| panic!("no {name} in {stats}"))
}

#[test]
fn a_bad_source_is_its_own_stream_s_trouble_only() {
    let test = "a_bad_source_is_its_own_stream_s_trouble_only";
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let bad = ["missing.avi", "empty.avi", "corrupt.avi", "cut.jpg"];
    let command = bad_films(folder.path(), &bad);
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    let is_told = |stats: &Value, name: &str| {
        let film = stream(stats, name);
        // A file without a valid frame is open; the others are not.
        let reason = if name == "cut.jpg" {
            "no frame can be sent"
        } else {
            name
        };
        film["state"] == "no_signal"
            && film["reason"]
                .as_str()
                .is_some_and(|why| why.contains(reason))
            && film["slates_sent"].as_u64() > Some(1)
    };
    sender.wait_for_stats("no signal of each bad film", |stats| {
        bad.iter().all(|name| is_told(stats, name))
    });
    let stats = sender.wait_for_stats("frames of the good stream", |stats| {
        stream(stats, "good")["fps"].as_f64() > Some(25.0)
    });
    for name in bad {
        assert_eq!(stream(&stats, name)["fps"], 0.0, "{stats}");
    }
    // What was missing is found when it is there.
    let clip = Clip::get(Kind::new(320, 240, Chroma::C420));
    std::fs::copy(clip.avi(), folder.path().join("missing.avi")).expect("the clip");
    sender.wait_for_stats("the film that has come", |stats| {
        stream(stats, "missing.avi")["state"] == "streaming"
    });
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
    let said = sender.messages();
    for name in &bad[..3] {
        let is_about = |line: &&str| line.contains(name) && line.contains("trying again");
        let lines = said.lines().filter(is_about);
        assert_eq!(lines.count(), 1, "{name}: {said}");
    }
}

/// At a terminal a wrong path is an error at once (tests/bad_input.rs); a service waits for what is
/// to come.
#[test]
fn under_a_supervisor_the_only_source_is_waited_for() {
    let test = "under_a_supervisor_the_only_source_is_waited_for";
    let Some(net) = Net::pair(test) else { return };
    let supervisor = Supervisor::new();
    let command = format!("send --name porch --source /nowhere/film.avi --interface {INTERFACE}");
    let mut sender = supervisor.spawn(net.sender.lancam(&command));
    let said = supervisor.hears("STATUS=porch: no signal");
    assert!(said.contains("/nowhere/film.avi does not exist"), "{said}");
    supervisor.hears("WATCHDOG=1");
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
}

/// A program in the place of ffprobe that never answers, floods, or does not listen.
#[test]
fn a_program_that_hangs_makes_nobody_deaf() {
    let test = "a_program_that_hangs_makes_nobody_deaf";
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let ffprobe = folder.path().join("ffprobe");
    let command = bad_films(folder.path(), &["film.mkv"]);
    std::fs::write(folder.path().join("film.mkv"), [0x1a, 0x45, 0xdf, 0xa3, 0]).expect("a film");
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").expect("a path")
    );
    for script in [
        "exec sleep 1000",
        "exec cat /dev/zero",
        "trap '' TERM INT; while :; do sleep 1; done",
    ] {
        let pid = folder.path().join("pid");
        let text = format!("#!/bin/sh\necho $$ >{}\n{script}\n", pid.display());
        std::fs::write(&ffprobe, text).expect("a script");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&ffprobe, mode).expect("its mode");
        let mut hanging = net.sender.lancam(&command);
        hanging.env("PATH", &path);
        let mut sender = Process::spawn("lancam send", hanging);
        sender.wait_for_stats("the good stream", |s| {
            stream(s, "good")["fps"].as_f64() > Some(25.0)
        });
        let asked = Instant::now();
        assert!(sender.stop(Signal::SIGTERM).success(), "{script}: {sender}");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(3), "{script}: {took:?}");
        let pid = std::fs::read_to_string(&pid).expect("its number");
        let left = Path::new("/proc").join(pid.trim()).exists();
        assert!(!left, "{script}: it still runs");
    }
}

/// Nobody reads what is written to standard output: the sender ends all the same.
#[test]
fn a_reader_that_stops_does_not_hold_the_end() {
    let test = "a_reader_that_stops_does_not_hold_the_end";
    let Some(net) = Net::pair(test) else { return };
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
    let all = vec![b'x'; size as usize];
    assert_eq!(nix::unistd::write(&writer, &all), Ok(all.len()));
    let supervisor = Supervisor::new();
    let words =
        format!("send --name porch --source pattern:320x240@30 --interface {INTERFACE} --stats -");
    let mut command = net.sender.lancam(&words);
    command
        .stdout(writer)
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    command.env("NOTIFY_SOCKET", supervisor.folder.path().join("notify"));
    let mut sender = command.spawn().expect("lancam");
    // Told behind the first figures, which are not written any more.
    supervisor.hears("READY=1");
    std::thread::sleep(Duration::from_millis(1500));
    let asked = Instant::now();
    nix::sys::signal::kill(Pid::from_raw(sender.id() as i32), Signal::SIGTERM).expect("a signal");
    let status = sender.wait().expect("its end");
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(reader);
}

#[test]
fn what_was_missed_while_stopped_is_not_made_up_for() {
    let test = "what_was_missed_while_stopped_is_not_made_up_for";
    let Some(net) = Net::pair(test) else { return };
    let command = format!("send --source pattern:320x240@30 --interface {INTERFACE} --stats -");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    let before = sender.wait_for_stats("frames", |s| s["fps"].as_f64() > Some(25.0));
    sender.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(6));
    sender.signal(Signal::SIGCONT);
    let uptime = |s: &Value| s["uptime_s"].as_f64().expect("a time");
    let until = uptime(&before) + 8.0;
    sender.wait_for_stats("figures after it", |s| uptime(s) > until);
    let lines = sender.lines_so_far();
    let figures = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let times: Vec<f64> = figures.map(|s| uptime(&s)).collect();
    let hurried = times
        .windows(2)
        .filter(|pair| pair[1] - pair[0] < 0.7)
        .count();
    // The one that was due when it was stopped, perhaps.
    assert!(hurried <= 1, "{times:?}");
    assert!(sender.stop(Signal::SIGTERM).success(), "{sender}");
}

/// Without a supervisor that is an error; with one, the boot goes on and the stream comes with its
/// network.
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
