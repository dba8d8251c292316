//! What a person gets wrong: each time one sentence that says what, where and what to do, an exit
//! code, nothing written and nothing left running.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::path::Path;

use common::net::{GROUP, INTERFACE, Net, PORT};
use common::process::Process;
use common::{have, skip};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// Runs `lancam WORDS` on the viewer's host, and checks exit code and every phrase of what it says.
fn refused(net: &Net, words: &str, code: i32, phrases: &[&str]) -> String {
    let mut process = Process::spawn(&format!("lancam {words}"), net.viewer.lancam(words));
    drop(process.stdin());
    let status = process.wait();
    let said = process.messages();
    assert_eq!(status.code(), Some(code), "lancam {words}\n{said}");
    for phrase in phrases {
        assert!(
            said.contains(phrase),
            "lancam {words}\nno {phrase:?} in:\n{said}"
        );
    }
    for rust in ["panicked", "os error", "..="] {
        assert!(!said.contains(rust), "{said}");
    }
    said
}

/// A folder with a few files that are wrong in different ways.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        let pixels = vec![100_u8; 64 * 48 * 3];
        let image = turbojpeg::Image {
            pixels: &pixels[..],
            width: 64,
            pitch: 64 * 3,
            height: 48,
            format: turbojpeg::PixelFormat::RGB,
        };
        let jpeg = turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).unwrap();
        files.write("whole.jpg", &jpeg);
        files.write("half.jpg", &jpeg[..jpeg.len() - 20]);
        files.write(
            "one-bad-of-three.mjpeg",
            &[&jpeg[..], &jpeg[..jpeg.len() - 20], &jpeg[..]].concat(),
        );
        files.write("text.mp4", b"no video at all, just words\n");
        files.write("empty.mjpeg", b"");
        files.write(
            "wrong-key.ron",
            b"(\n    streams: [\n        (nmae: \"porch\"),\n    ],\n)\n",
        );
        files.write("wrong.sdp", b"hello\n");
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

#[test]
fn wrong_sources() {
    let Some(net) = Net::pair("wrong_sources") else {
        return;
    };
    let files = Files::new();
    let send = |source: &str| format!("send --interface {INTERFACE} --source {source}");
    refused(
        &net,
        &send("/nowhere/clip.avi"),
        FAILED,
        &["/nowhere/clip.avi", "does not exist"],
    );
    refused(
        &net,
        "demo --headless --source /nowhere/clip.avi",
        FAILED,
        &["/nowhere/clip.avi", "does not exist"],
    );
    refused(
        &net,
        &send(&files.path("empty.mjpeg")),
        FAILED,
        &["empty.mjpeg", "empty"],
    );
    refused(&net, &send("-"), FAILED, &["standard input"]);
    refused(&net, &send("pattern:axb"), USAGE, &["pattern:1280x720@30"]);
    refused(
        &net,
        &send(&files.path("half.jpg")),
        FAILED,
        &["half.jpg", "truncated"],
    );
    if have("wrong_sources", &["ffmpeg"]) {
        refused(
            &net,
            &send(&files.path("text.mp4")),
            FAILED,
            &["text.mp4", "not a video"],
        );
    }
}

/// A camera that is not there may still be plugged in: said, and waited for.
#[test]
fn a_camera_that_is_not_there_is_waited_for() {
    let Some(net) = Net::pair("a_camera_that_is_not_there_is_waited_for") else {
        return;
    };
    let words = format!("send --source /dev/video77 --interface {INTERFACE}");
    let mut sender = Process::spawn("lancam send", net.viewer.lancam(&words));
    let said = sender.wait_for_message("/dev/video77");
    assert!(said.contains("plugged in"), "{said}");
    assert!(sender.stop(Signal::SIGTERM).success());
}

/// One bad frame does not end a stream; it is counted.
#[test]
fn one_bad_frame_is_dropped_and_named() {
    let Some(net) = Net::pair("one_bad_frame_is_dropped_and_named") else {
        return;
    };
    let files = Files::new();
    let words = format!(
        "send --interface {INTERFACE} --stats - --source {}",
        files.path("one-bad-of-three.mjpeg")
    );
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&words));
    sender.succeed();
    let totals = sender.final_stats();
    assert_eq!(
        (&totals["frames_sent"], &totals["frames_dropped"]),
        (&2.into(), &1.into()),
        "{totals}"
    );
    assert_eq!(totals["gate"]["truncated"], 1, "{totals}");
    assert!(sender.messages().contains("truncated"), "{sender}");
}

#[test]
fn wrong_addresses_and_interfaces() {
    let Some(net) = Net::pair("wrong_addresses_and_interfaces") else {
        return;
    };
    let send = "send --source pattern:320x240@30";
    let view = "view --headless";
    refused(
        &net,
        &format!("{send} --group {GROUP}"),
        USAGE,
        &["port is missing", "224.3.29.71:10000"],
    );
    refused(
        &net,
        &format!("{send} --group 0.0.0.0:10000"),
        USAGE,
        &["0.0.0.0:10000", "group"],
    );
    refused(
        &net,
        &format!("{send} --group here:10000"),
        USAGE,
        &["here:10000"],
    );
    refused(
        &net,
        &format!("{view} {GROUP}"),
        USAGE,
        &["port is missing"],
    );
    refused(
        &net,
        &format!("{view} 10.9.9.9:10000"),
        FAILED,
        &["10.9.9.9", "multicast"],
    );
    for command in [send, view] {
        let no_such = format!("{command} --interface nothere0");
        let phrase = "no interface \"nothere0\"";
        let said = refused(&net, &no_such, FAILED, &[phrase, INTERFACE]);
        assert_eq!(said.matches(phrase).count(), 1, "{said}");
    }
    net.viewer.run(&format!("ip link set {INTERFACE} down"));
    for command in [send, view] {
        let down = format!("{command} --interface {INTERFACE}");
        refused(&net, &down, FAILED, &["is down", "ip link set"]);
    }
}

#[test]
fn a_unicast_address_is_said_to_be_one() {
    let Some(net) = Net::pair("a_unicast_address_is_said_to_be_one") else {
        return;
    };
    let words = "send --source pattern:320x240@30 --group 10.77.0.1:10000";
    let mut sender = Process::spawn("lancam send", net.viewer.lancam(words));
    sender.wait_for_message("not a multicast group");
    assert!(sender.stop(Signal::SIGTERM).success());
}

#[test]
fn wrong_configs() {
    let Some(net) = Net::pair("wrong_configs") else {
        return;
    };
    let files = Files::new();
    for command in ["check", "send --config"] {
        let words = format!("{command} {}", files.path("wrong-key.ron"));
        refused(
            &net,
            &words,
            USAGE,
            &[
                "wrong-key.ron:3:",
                "\"nmae\"",
                "did you mean \"name\"?",
                "source",
            ],
        );
        refused(
            &net,
            &format!("{command} /nowhere/lancam.ron"),
            USAGE,
            &["/nowhere/lancam.ron"],
        );
    }
    refused(
        &net,
        "send --sorce pattern",
        USAGE,
        &["--sorce", "--source"],
    );
    refused(&net, "wiew", USAGE, &["wiew", "view"]);
}

#[test]
fn places_that_cannot_be_written_and_files_that_are_no_sdp() {
    let Some(net) = Net::pair("places_that_cannot_be_written_and_files_that_are_no_sdp") else {
        return;
    };
    let files = Files::new();
    let send = format!("send --source pattern:320x240@30 --interface {INTERFACE}");
    refused(
        &net,
        &format!("{send} --sdp /nowhere/x.sdp"),
        FAILED,
        &["/nowhere/x.sdp", "No such file"],
    );
    refused(
        &net,
        &format!("{send} --stats /nowhere/stats"),
        FAILED,
        &["/nowhere/stats", "No such file"],
    );
    let view = format!("view --headless --interface {INTERFACE}");
    refused(
        &net,
        &format!("{view} --record /nowhere/x.mjpeg"),
        FAILED,
        &["/nowhere/x.mjpeg"],
    );
    refused(
        &net,
        &format!("{view} --record x.mp4"),
        USAGE,
        &[".avi", ".mjpeg"],
    );
    refused(
        &net,
        &format!("{view} {}", files.path("none.sdp")),
        USAGE,
        &["none.sdp", "No such file"],
    );
    refused(
        &net,
        &format!("{view} {}", files.path("wrong.sdp")),
        USAGE,
        &["wrong.sdp"],
    );
    assert!(!Path::new("x.mp4").exists());
}

#[test]
fn a_pipe_without_its_other_end_holds_nothing_up() {
    let Some(net) = Net::pair("a_pipe_without_its_other_end_holds_nothing_up") else {
        return;
    };
    let files = Files::new();
    for name in ["pipe.sdp", "pipe.ron", "pipe.mjpeg", "shot-1.jpg"] {
        mkfifo(Path::new(&files.path(name)), Mode::S_IRWXU).unwrap();
    }
    let (sdp, config) = (files.path("pipe.sdp"), files.path("pipe.ron"));
    let what = &["it is a pipe; a regular file is needed"];
    refused(&net, &format!("view --headless {sdp}"), USAGE, what);
    refused(&net, &format!("doctor {sdp}"), FAILED, what);
    refused(&net, &format!("check {config}"), USAGE, what);
    refused(&net, &format!("send --config {config}"), USAGE, what);
    let on_wire = format!("--interface {INTERFACE}");
    let series = files.path("shot-%d.jpg");
    refused(
        &net,
        &format!("send --source {series} {on_wire}"),
        FAILED,
        what,
    );
    let pipe = files.path("pipe.mjpeg");
    let nobody = &["it is a pipe that nobody reads: start its reader first"];
    for words in [
        format!("view --headless --record {pipe} {on_wire}"),
        format!("view --headless --stats {pipe} {on_wire}"),
        format!("send --source pattern:320x240@30 --stats {pipe} {on_wire}"),
    ] {
        refused(&net, &words, FAILED, nobody);
    }
}

#[test]
fn a_port_that_another_program_keeps_for_itself() {
    let test = "a_port_that_another_program_keeps_for_itself";
    if !have(test, &["gst-launch-1.0"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let mut command = net.viewer.command("gst-launch-1.0");
    command.args([
        "-q",
        "udpsrc",
        "reuse=false",
        &format!("address={GROUP}"),
        &format!("port={PORT}"),
        "!",
        "fakesink",
    ]);
    let mut other = Process::spawn("gst-launch-1.0", command);
    other.wait_until_joined(GROUP);
    refused(
        &net,
        &format!("view --headless --interface {INTERFACE}"),
        FAILED,
        &["10000", "in use"],
    );
}

#[test]
fn no_display_is_said_so_with_what_to_do() {
    let Some(net) = Net::pair("no_display_is_said_so_with_what_to_do") else {
        return;
    };
    let mut command = net.viewer.lancam(&format!("view --interface {INTERFACE}"));
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let mut viewer = Process::spawn("lancam view", command);
    assert_eq!(viewer.wait().code(), Some(FAILED));
    assert!(viewer.messages().contains("--headless"), "{viewer}");
}

/// The kernel's limit for receive buffers, set for one test. Nothing else in this file depends on
/// it.
struct Limit(String);

const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";

impl Limit {
    /// `None` where it may not be changed.
    fn set(bytes: u32) -> Option<Limit> {
        let before = fs::read_to_string(RMEM_MAX).ok()?;
        fs::write(RMEM_MAX, bytes.to_string()).ok()?;
        Some(Limit(before))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(RMEM_MAX, &self.0);
    }
}

/// A receive buffer that the kernel caps: said, with the command that raises it; the viewer runs
/// all the same.
#[test]
fn a_small_rmem_max_is_told() {
    let test = "a_small_rmem_max_is_told";
    let Some(net) = Net::pair(test) else { return };
    // What an untouched kernel has.
    let Some(_limit) = Limit::set(212_992) else {
        skip(test, "only root may set rmem_max");
        return;
    };
    // As nobody in particular: root may exceed the limit.
    let mut command = net.viewer.command("unshare");
    command.args("--user --map-user=1000 --map-group=1000".split(' '));
    command.arg(env!("CARGO_BIN_EXE_lancam")).args([
        "view",
        "--headless",
        "--interface",
        INTERFACE,
    ]);
    let mut viewer = Process::spawn("lancam view", command);
    let said = viewer.wait_for_message("rmem_max");
    assert!(said.contains("sudo sysctl -w net.core.rmem_max="), "{said}");
    viewer.wait_until_joined(GROUP);
    assert!(viewer.stop(Signal::SIGTERM).success());
}
