//! Programs under test: their output is read as it comes, and they end with the test, however that
//! ends.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{PATIENCE, wait_for};

/// Lines of output kept for a failing test's message.
const TAIL: usize = 40;

/// One stream of a program's output, line by line.
#[derive(Clone, Default)]
struct Output(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    is_over: bool,
}

impl Output {
    fn read(&self, from: impl Read + Send + 'static) {
        let output = self.clone();
        thread::spawn(move || {
            let (lines, changed) = &*output.0;
            let mut from = BufReader::new(from);
            let mut raw = Vec::new();
            while from.read_until(b'\n', &mut raw).is_ok_and(|n| n > 0) {
                let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
                lines.lock().unwrap().lines.push(line);
                changed.notify_all();
                raw.clear();
            }
            lines.lock().unwrap().is_over = true;
            changed.notify_all();
        });
    }

    /// The first line from `from` on that `wanted` makes something of; `None` when there will be
    /// none.
    fn find<T>(&self, from: usize, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let (lines, changed) = &*self.0;
        let mut lines = lines.lock().unwrap();
        let mut next = from;
        loop {
            while next < lines.lines.len() {
                if let Some(found) = wanted(&lines.lines[next]) {
                    return Some(found);
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.is_over || left.is_zero() {
                return None;
            }
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// All of it, once the program has closed it.
    fn whole(&self) -> Vec<String> {
        let (lines, changed) = &*self.0;
        let (lines, _) = changed
            .wait_timeout_while(lines.lock().unwrap(), PATIENCE, |lines| !lines.is_over)
            .unwrap();
        lines.lines.clone()
    }
}

/// A running program. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    pub fn spawn(name: &str, mut command: Command) -> Process {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}: {command:?}"));
        let (stdout, stderr) = (Output::default(), Output::default());
        stdout.read(child.stdout.take().unwrap());
        stderr.read(child.stderr.take().unwrap());
        Process {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipe to its standard input.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for a line of standard error that contains `text`.
    pub fn wait_for_message(&self, text: &str) -> String {
        let found = self
            .stderr
            .find(0, |line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|| panic!("{self}\nnever said {text:?}"))
    }

    /// Waits for the next JSON object on standard output (`--stats -`) for which `wanted` holds.
    pub fn wait_for_stats(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.stdout.find(self.stdout.lines().len(), |line| {
            serde_json::from_str(line)
                .ok()
                .filter(|value| wanted(value))
        });
        found.unwrap_or_else(|| panic!("{self}\nnever reported {what}"))
    }

    /// The last JSON object on standard output, once the program has ended: the totals.
    pub fn final_stats(&mut self) -> Value {
        self.wait();
        let last = self
            .stdout
            .whole()
            .pop()
            .unwrap_or_else(|| panic!("{self}\nreported nothing"));
        let value: Value =
            serde_json::from_str(&last).unwrap_or_else(|e| panic!("{self}\n{e}: {last:?}"));
        assert_eq!(
            value["final"], true,
            "{self}\nthe last report is not the final one"
        );
        value
    }

    /// Waits until the program ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.try_wait() {
                return status;
            }
            thread::sleep(std::time::Duration::from_millis(3));
        }
        panic!("{self}\ndid not end within {PATIENCE:?}");
    }

    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends, and expects success.
    pub fn succeed(&mut self) {
        let status = self.wait();
        self.stderr.whole();
        assert!(status.success(), "{self}\nended with {status}");
    }

    /// Asks it to stop, and waits.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Standard error so far, or all of it if the program has ended.
    pub fn messages(&mut self) -> String {
        if self.try_wait().is_some() {
            self.stderr.whole()
        } else {
            self.stderr.lines()
        }
        .join("\n")
    }

    /// Lines of standard output so far.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// Lines of standard error so far.
    pub fn messages_so_far(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// All that it printed on standard output, once it has ended.
    pub fn printed(&mut self) -> Vec<String> {
        self.wait();
        self.stdout.whole()
    }

    /// Waits until this program's host is a member of `group` on `interface`: the kernel passes on
    /// what is sent to it from then on.
    pub fn wait_until_joined(&mut self, group: &str) {
        let name = self.name.clone();
        wait_for(&format!("{name} to join {group}"), || {
            if let Some(status) = self.try_wait() {
                panic!("{self}\nended with {status} before it joined {group}");
            }
            super::net::is_member(self.pid(), group).then_some(())
        });
    }
}

/// Name and what it said last, for messages of failing tests.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (standard output, then standard error):", self.name)?;
        for output in [&self.stdout, &self.stderr] {
            let lines = output.lines();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                writeln!(f, "  | {line}")?;
            }
            writeln!(f, "  --")?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
