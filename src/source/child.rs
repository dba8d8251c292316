//! A child process whose standard output is read: in a process group of its own, so that a shell and
//! all that it started end together; what it says on standard error goes to the log.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::SourceError;

/// How long a child may take to end after it was asked to, or after it closed its output.
const GRACE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);

/// Log lines a second that a child gets.
const LINES: u32 = 10;
/// A longer line is cut into several.
const LINE_BYTES: u64 = 512;

/// A running child; dropped, it and its group are ended.
pub(super) struct Child {
    child: process::Child,
    /// Its status has been taken.
    gone: bool,
    /// Gives the last line that the child said, once it has said it.
    last_words: Receiver<String>,
}

impl Child {
    /// Starts `command` and gives the reading end of its output. `name` stands in its log lines.
    pub(super) fn start(mut command: Command, name: &str) -> Result<(Child, OwnedFd), SourceError> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = unpinned(|| command.spawn()).map_err(|e| {
            let program = command.get_program().to_string_lossy();
            SourceError::Unusable(format!("{program} cannot be started: {e}"))
        })?;
        let (say, last_words) = channel();
        let stderr = child.stderr.take();
        let output = child.stdout.take();
        let child = Child {
            child,
            gone: false,
            last_words,
        };
        let (Some(stderr), Some(output)) = (stderr, output) else {
            return Err(SourceError::Failed("a child's pipes are missing".into()));
        };
        let name = name.to_owned();
        thread::Builder::new()
            .name("child-stderr".into())
            .spawn(move || say.send(forward(stderr, &name)))
            .map_err(|e| SourceError::Failed(format!("no thread for a child's log: {e}")))?;
        Ok((child, output.into()))
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of a child that closed its output, and gives its exit status and its last
    /// words. One that goes on regardless is ended.
    pub(super) fn finish(mut self) -> (Option<ExitStatus>, String) {
        self.ended_within(GRACE);
        let status = self.end();
        let words = self.last_words.recv_timeout(GRACE).unwrap_or_default();
        (status, words)
    }

    /// Asks the group to end, then ends it; gives the leader's status.
    fn end(&mut self) -> Option<ExitStatus> {
        // The leader is not waited for before the last signal, so its group's number stays its own.
        let group = Pid::from_raw(self.child.id() as i32);
        let _ = killpg(group, Signal::SIGTERM);
        self.ended_within(GRACE);
        let _ = killpg(group, Signal::SIGKILL);
        self.gone = true;
        self.child.wait().ok()
    }

    /// Whether the leader has ended, without taking its status.
    fn ended_within(&self, time: Duration) -> bool {
        let leader = Pid::from_raw(self.child.id() as i32);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let start = Instant::now();
        loop {
            match waitid(Id::Pid(leader), flags) {
                Ok(WaitStatus::StillAlive) => {}
                _ => return true,
            }
            if start.elapsed() >= time {
                return false;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Once its status has been taken, the group's number may be another's.
        if !self.gone {
            self.end();
        }
    }
}

/// Runs `start` with the cores that the process may use: a child inherits its parent's, and a sending
/// thread may be pinned to a single one. The main thread, which is never pinned, tells which.
fn unpinned<T>(start: impl FnOnce() -> T) -> T {
    let this_thread = Pid::from_raw(0);
    let own = sched_getaffinity(this_thread);
    let all = sched_getaffinity(Pid::this());
    // Refused: the child stays where its parent is.
    let set = |cores: nix::Result<CpuSet>| cores.and_then(|c| sched_setaffinity(this_thread, &c));
    let _ = set(all);
    let started = start();
    let _ = set(own);
    started
}

/// Passes a child's lines to the log, not more than [`LINES`] a second; gives the last one.
fn forward(stderr: ChildStderr, name: &str) -> String {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut last = String::new();
    let mut second = Instant::now();
    let (mut said, mut unsaid) = (0, 0u64);
    loop {
        line.clear();
        match reader
            .by_ref()
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        // Progress meters redraw their line with a carriage return.
        let text = String::from_utf8_lossy(&line);
        let text = text
            .trim_end()
            .rsplit('\r')
            .next()
            .unwrap_or_default()
            .trim();
        if text.is_empty() {
            continue;
        }
        last = text.to_owned();
        if second.elapsed() >= Duration::from_secs(1) {
            if unsaid > 0 {
                tracing::warn!("{name}: ... and {unsaid} lines more");
            }
            (second, said, unsaid) = (Instant::now(), 0, 0);
        }
        if said < LINES {
            said += 1;
            tracing::warn!("{name}: {text}");
        } else {
            unsaid += 1;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_a_pinned_thread_is_not_pinned() {
        let this_thread = Pid::from_raw(0);
        let all = sched_getaffinity(Pid::this()).unwrap();
        let first = (0..CpuSet::count()).find(|&core| all.is_set(core).unwrap());
        let mut one = CpuSet::new();
        one.set(first.unwrap()).unwrap();
        sched_setaffinity(this_thread, &one).unwrap();

        let mut grep = Command::new("grep");
        grep.args(["Cpus_allowed:", "/proc/self/status"]);
        let (child, output) = Child::start(grep, "test").unwrap();
        let mut told = String::new();
        std::fs::File::from(output)
            .read_to_string(&mut told)
            .unwrap();
        assert!(child.finish().0.unwrap().success());

        assert_eq!(
            sched_getaffinity(this_thread).unwrap(),
            one,
            "still pinned itself"
        );
        let main = format!("/proc/{}/status", std::process::id());
        let status = std::fs::read_to_string(main).unwrap();
        assert!(status.contains(&told), "{told}");
    }
}
