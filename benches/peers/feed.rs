//! Frames handed to a sender's standard input one by one, at their rate.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{ChildStdin, Command};
use std::thread;
use std::time::{Duration, Instant};

use lancam::clock::Mono;
use nix::fcntl::{FcntlArg, fcntl};

use crate::clips::INTERVAL;
use crate::common::process::Process;

/// How long a peer has to get ready.
pub(crate) const START: Duration = Duration::from_secs(1);
/// Room in each pipe, so that a frame fits and nobody waits for its reader.
const PIPE_BYTES: i32 = 1 << 20;
/// How long the last frame may take.
const LAST: Duration = Duration::from_millis(600);

/// Makes room in a pipe.
pub(crate) fn widen(pipe: &impl AsFd) {
    let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
}

/// Hands `count` of the frames to a sender; when each was, in nanoseconds on the monotonic clock.
pub(crate) fn feed(
    frames: &[Vec<u8>],
    count: usize,
    sender: Command,
    is_multipart: bool,
) -> Vec<u64> {
    let mut sender = Process::spawn("sender", sender);
    let mut input = sender.stdin();
    widen(&input);
    let mut handed = Vec::new();
    let mut due = Instant::now();
    for n in 0..count {
        due += INTERVAL;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        handed.push(Mono::now().0);
        if let Err(error) = hand_over(&mut input, &frames[n % frames.len()], is_multipart) {
            panic!("{sender}\n{error}");
        }
    }
    thread::sleep(LAST);
    handed
}

fn hand_over(input: &mut ChildStdin, frame: &[u8], is_multipart: bool) -> std::io::Result<()> {
    if is_multipart {
        let length = frame.len();
        write!(
            input,
            "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
        )?;
    }
    input.write_all(frame)?;
    if is_multipart {
        input.write_all(b"\r\n")?;
    }
    input.flush()
}
