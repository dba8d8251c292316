//! What log lines look like on a terminal, in a file and in the journal.
#![cfg(feature = "send")]

mod common;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use common::net::{INTERFACE, Net};
use common::process::Process;

/// Nine hours ahead of UTC, without summer time or a file of time zones.
const ZONE: &str = "XYZ-9";

/// A command that logs one line and ends.
fn one_line(stderr: impl Into<Stdio>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lancam"));
    command.args(["cameras"]).env("LANCAM_LOG", "loud");
    command.env("TZ", ZONE).env_remove("JOURNAL_STREAM");
    command.stdout(Stdio::null()).stderr(stderr);
    command
}

/// The time in front of a line that ends as the one of [`one_line`] does.
fn time_of(line: &str) -> &str {
    let (time, text) = line.split_once("WARN").expect(line);
    assert!(text.contains(" LANCAM_LOG=\"loud\" is ignored: "), "{line}");
    time.trim()
}

/// What the local clock shows now and showed `seconds` ago.
fn clock(format: &str) -> impl Fn(&str) -> bool {
    let times: Vec<String> = (0..60)
        .map(|ago| {
            let then = chrono::Utc::now() + chrono::TimeDelta::seconds(9 * 3600 - ago);
            then.format(format).to_string()
        })
        .collect();
    move |time| times.iter().any(|t| t == time)
}

#[test]
fn a_terminal_shows_the_local_time() {
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = one_line(pty.slave);
    assert!(command.status().unwrap().success());
    drop(command);
    let mut text = [0; 4096];
    let n = File::from(pty.master).read(&mut text).unwrap();
    let line = String::from_utf8_lossy(&text[..n]);
    let line = line.replace("\x1b[33m", "").replace("\x1b[0m", "");
    assert!(clock("%H:%M:%S")(time_of(&line)), "{line}");
}

#[test]
fn a_file_has_the_date_too_and_the_journal_no_time() {
    let mut file = tempfile::tempfile().unwrap();
    let stderr = || OwnedFd::from(file.try_clone().unwrap());
    assert!(one_line(stderr()).status().unwrap().success());
    let about = file.metadata().unwrap();
    let journal = format!("{}:{}", about.dev(), about.ino());
    let mut journalled = one_line(stderr());
    journalled.env("JOURNAL_STREAM", journal);
    assert!(journalled.status().unwrap().success());

    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(clock("%Y-%m-%d %H:%M:%S")(time_of(lines[0])), "{text}");
    assert_eq!(time_of(lines[1]), "", "{text}");
}

#[test]
fn a_streams_name_stands_in_front() {
    let Some(net) = Net::pair("logging") else {
        return;
    };
    let source = format!("send --source pattern:64x64@5 --interface {INTERFACE} --name porch");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&source));
    let line = sender.wait_for_message("pattern 64x64");
    assert!(
        line.contains(" INFO porch: pattern 64x64 at 5 fps to "),
        "{line}"
    );
    assert!(!line.contains("name="), "{line}");
    sender.stop(nix::sys::signal::Signal::SIGTERM);
}
