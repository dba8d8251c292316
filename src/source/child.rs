//! Child processes: each in a process group of its own, so that a shell and everything it started
//! end together. A child that is read continuously has its standard error logged here; one that
//! answers a question has a deadline and a limit on its output. Nothing here waits for a pipe's
//! end: a grandchild may hold it open for ever.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::SourceError;
use super::pacer::SLICE;
use super::stop::Stop;
use crate::text::counted;

/// How long a child may take to end after it was asked to, or closed its output.
const GRACE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);

/// Log lines a second that a child may write.
const LINES: u32 = 10;
/// Longer lines are split.
const LINE_BYTES: usize = 512;
/// Standard error is not read faster than this many bytes a second: a flood slows the child down,
/// not us.
const LOG_BYTES: usize = 1 << 20;
/// The most that [`ask`] reads of an answer, and of standard error.
const ANSWER_BYTES: usize = 64 << 10;

/// A process and its group, ended when dropped.
struct Group {
    leader: process::Child,
    is_reaped: bool,
}

impl Group {
    /// Starts `command` with pipes for its output and standard error.
    fn start(command: &mut Command) -> io::Result<Group> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let leader = unpinned(|| command.spawn())?;
        Ok(Group {
            leader,
            is_reaped: false,
        })
    }

    /// The reading ends of its output and standard error, which can be taken once.
    fn pipes(&mut self) -> io::Result<(OwnedFd, OwnedFd)> {
        match (self.leader.stdout.take(), self.leader.stderr.take()) {
            (Some(output), Some(stderr)) => Ok((output.into(), stderr.into())),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Asks the group to end, then ends it; returns the leader's status.
    fn end(&mut self) -> Option<ExitStatus> {
        // The leader is not reaped before the last signal, so its group's number stays its own.
        let group = Pid::from_raw(self.leader.id() as i32);
        let _ = killpg(group, Signal::SIGTERM);
        self.has_ended_within(GRACE);
        let _ = killpg(group, Signal::SIGKILL);
        self.is_reaped = true;
        self.leader.wait().ok()
    }

    /// Whether the leader has ended, without reaping it.
    fn has_ended_within(&self, time: Duration) -> bool {
        let leader = Pid::from_raw(self.leader.id() as i32);
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

impl Drop for Group {
    fn drop(&mut self) {
        // Once it is reaped, the group's number may be another's.
        if !self.is_reaped {
            self.end();
        }
    }
}

/// A child whose output is read as it comes.
pub(super) struct Child {
    group: Group,
    log: Log,
}

impl Child {
    /// Starts `command` and returns the reading end of its output. `name` goes before its log
    /// lines.
    pub(super) fn start(mut command: Command, name: &str) -> Result<(Child, OwnedFd), SourceError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |e| SourceError::Unusable(format!("{program} cannot be started: {e}"));
        let mut group = Group::start(&mut command).map_err(failed)?;
        let (output, stderr) = group.pipes().map_err(failed)?;
        let log = Log::start(stderr, name).map_err(failed)?;
        Ok((Child { group, log }, output))
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.group.leader.id()
    }

    /// Whether the process itself has ended, whatever became of those that it started.
    pub(super) fn has_ended(&self) -> bool {
        self.group.has_ended_within(Duration::ZERO)
    }

    /// Waits for the end of a child that closed its output, and returns its exit status and its
    /// last words. One that goes on regardless is killed.
    pub(super) fn finish(mut self) -> (Option<ExitStatus>, String) {
        self.group.has_ended_within(GRACE);
        let status = self.group.end();
        (status, self.log.finish())
    }
}

/// A program's answer.
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why a program gave no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    NotStarted(io::Error),
    /// It did not end in time.
    TooSlow,
    /// It prints more than any answer contains.
    TooLong,
    Stopped,
}

/// Runs `command` to its end, for at most `limit`, and returns its output.
pub(super) fn ask(command: &mut Command, limit: Duration, stop: &Stop) -> Result<Answer, NoAnswer> {
    let until = Instant::now() + limit;
    let mut group = Group::start(command).map_err(NoAnswer::NotStarted)?;
    let (output, stderr) = group.pipes().map_err(NoAnswer::NotStarted)?;
    let pipe = |fd| Pipe::new(fd).map_err(NoAnswer::NotStarted);
    let (mut output, mut stderr) = (pipe(output)?, pipe(stderr)?);
    loop {
        // Checked before the pipes: what was printed before the end is in them by then.
        let has_ended = group.has_ended_within(Duration::ZERO);
        output.read();
        stderr.read();
        if has_ended || (output.is_closed && stderr.is_closed) {
            break;
        }
        if output.bytes.len().max(stderr.bytes.len()) > ANSWER_BYTES {
            return Err(NoAnswer::TooLong);
        }
        if stop.is_raised() {
            return Err(NoAnswer::Stopped);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NoAnswer::TooSlow);
        }
        let open = [&output, &stderr]
            .into_iter()
            .filter(|pipe| !pipe.is_closed);
        wait_for(
            &open.map(|pipe| &pipe.file).collect::<Vec<_>>(),
            left.min(SLICE),
        );
    }
    group.has_ended_within(GRACE);
    let status = group.end().ok_or(NoAnswer::TooSlow)?;
    Ok(Answer {
        status,
        output: output.bytes,
        stderr: stderr.bytes,
    })
}

/// The reading end of a pipe that never blocks.
struct Pipe {
    file: File,
    /// What was read and not yet used.
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Pipe> {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Pipe {
            file: fd.into(),
            bytes: Vec::new(),
            is_closed: false,
        })
    }

    /// Takes what is there, and not much more than [`ANSWER_BYTES`].
    fn read(&mut self) {
        let mut chunk = [0; 8192];
        while !self.is_closed && self.bytes.len() <= ANSWER_BYTES {
            match self.file.read(&mut chunk) {
                Ok(0) => self.is_closed = true,
                Ok(len) => self.bytes.extend_from_slice(&chunk[..len]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_closed = true,
            }
        }
    }
}

/// Waits until one of `files` has bytes or is closed, for at most `limit`.
fn wait_for<F: AsFd>(files: &[F], limit: Duration) {
    let mut fds: Vec<_> = files
        .iter()
        .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
        .collect();
    // Rounded up, or the last millisecond would be spent in a busy loop. The caller looks again.
    let millis = limit.as_micros().div_ceil(1000).min(60_000) as u16;
    let _ = poll(&mut fds, millis);
}

/// The thread that passes a child's standard error to the log.
struct Log {
    /// Closed, it ends the thread.
    bell: UnixStream,
    thread: JoinHandle<String>,
}

impl Log {
    fn start(stderr: OwnedFd, name: &str) -> io::Result<Log> {
        let stderr = Pipe::new(stderr)?;
        let (bell, rung) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        let lines = Lines::new(name);
        let thread = thread::Builder::new()
            .name("child-stderr".into())
            .spawn(move || forward(stderr, lines, rung))?;
        Ok(Log { bell, thread })
    }

    /// Ends the thread; gives the last line that was said.
    fn finish(self) -> String {
        drop(self.bell);
        self.thread.join().unwrap_or_default()
    }
}

/// Logs what arrives until the pipe is closed or the bell's other end is; gives the last line.
fn forward(mut stderr: Pipe, mut lines: Lines, mut bell: UnixStream) -> String {
    let mut is_over = false;
    while !is_over && !stderr.is_closed {
        wait_for(&[stderr.file.as_fd(), bell.as_fd()], Duration::MAX);
        // Before the last read: what the child said before its end is in the pipe by now.
        is_over = matches!(bell.read(&mut [0]), Ok(0));
        stderr.read();
        lines.take(&stderr.bytes);
        // The pipe fills meanwhile, and a child that floods it waits.
        let pause = Duration::from_secs(1).mul_f64(stderr.bytes.len() as f64 / LOG_BYTES as f64);
        stderr.bytes.clear();
        if !is_over {
            wait_for(&[bell.as_fd()], pause);
        }
    }
    lines.last
}

/// A child's lines on their way to the log, not more than [`LINES`] a second.
struct Lines {
    name: String,
    line: Vec<u8>,
    last: String,
    second: Instant,
    logged: u32,
    left_out: u64,
}

impl Lines {
    fn new(name: &str) -> Lines {
        Lines {
            name: name.to_owned(),
            line: Vec::new(),
            last: String::new(),
            second: Instant::now(),
            logged: 0,
            left_out: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.line.push(byte);
            if byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        // Progress meters redraw their line with a carriage return.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let name = &self.name;
        self.last = text.to_owned();
        if self.second.elapsed() >= Duration::from_secs(1) {
            if self.left_out > 0 {
                let lines = counted(self.left_out, "more line");
                tracing::warn!("{name}: {lines} left out");
            }
            (self.second, self.logged, self.left_out) = (Instant::now(), 0, 0);
        }
        if self.logged < LINES {
            self.logged += 1;
            tracing::warn!("{name}: {text}");
        } else {
            self.left_out += 1;
        }
    }
}

/// Runs `start` with the cores that the process may use: a child inherits its parent's, and a
/// sending thread may be pinned to a single one. The main thread, which is never pinned, has them
/// all.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    fn answer(script: &str, limit: Duration) -> Result<Answer, NoAnswer> {
        ask(&mut shell(script), limit, &Stop::default())
    }

    /// No test here takes so long.
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn an_answer_is_whole_and_has_a_status() {
        let script = "head -c 60000 /dev/zero; echo no >&2; exit 3";
        let said = answer(script, LONG).unwrap();
        assert_eq!((said.status.code(), said.output.len()), (Some(3), 60_000));
        assert_eq!(said.stderr, b"no\n");
        let none = ask(&mut Command::new("/nowhere"), LONG, &Stop::default());
        assert!(matches!(none, Err(NoAnswer::NotStarted(_))));
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let start = Instant::now();
        let soon = Duration::from_millis(50);
        assert!(matches!(
            answer("exec sleep 1000", soon),
            Err(NoAnswer::TooSlow)
        ));
        let deaf = answer("trap '' TERM; while :; do sleep 1; done", soon);
        assert!(matches!(deaf, Err(NoAnswer::TooSlow)));
        for flood in ["cat /dev/zero", "cat /dev/zero >&2"] {
            assert!(matches!(answer(flood, LONG), Err(NoAnswer::TooLong)));
        }
        let stop = Stop::default();
        stop.raise();
        let stopped = ask(&mut shell("exec sleep 1000"), LONG, &stop);
        assert!(matches!(stopped, Err(NoAnswer::Stopped)));
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipes_is_not_waited_for() {
        let start = Instant::now();
        // Out of the group, so that nobody ends it.
        let keeps = "setsid sleep 30 & echo yes";
        assert_eq!(answer(keeps, LONG).unwrap().output, b"yes\n");
        let (child, _output) =
            Child::start(shell("setsid sleep 30 & echo no >&2; exit 1"), "test").unwrap();
        let (status, words) = child.finish();
        assert_eq!((status.unwrap().code(), words.as_str()), (Some(1), "no"));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

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
