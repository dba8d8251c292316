//! Runs a program for its output, with a time limit.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest answer that is read.
const MOST_BYTES: u64 = 16 << 20;
/// Longest error message that is read.
const MOST_COMPLAINT: u64 = 4096;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// There is no such program.
    Missing,
    /// It failed; what it printed.
    Failed(String),
    /// It did not end in time and was killed.
    TooSlow,
}

/// What `program` prints. It is killed after `limit`.
///
/// # Errors
/// See [`NoAnswer`].
pub(super) fn ask(program: &str, args: &[&str], limit: Duration) -> Result<String, NoAnswer> {
    let path = find(program).ok_or(NoAnswer::Missing)?;
    let failed = |e: io::Error| NoAnswer::Failed(e.to_string());
    let mut child = Command::new(path)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take().map(|from| read(from, MOST_BYTES));
    let complaint = child.stderr.take().map(|from| read(from, MOST_COMPLAINT));
    let answer = output.and_then(|answer| answer.recv_timeout(limit).ok());
    let Some(answer) = answer else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(NoAnswer::TooSlow);
    };
    // It has closed its output or printed enough: do not wait further.
    let complaint = complaint.and_then(|said| said.recv_timeout(limit).ok());
    let is_over = matches!(child.try_wait(), Ok(Some(_)));
    if !is_over && complaint.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    match status.success() {
        true => Ok(answer),
        false => Err(NoAnswer::Failed(first_line(&complaint.unwrap_or_default()))),
    }
}

/// Reads to the end on a thread of its own.
fn read(from: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(most).read_to_end(&mut bytes);
        let _ = tell.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    told
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("it failed").trim().to_owned()
}

/// An ordinary user's PATH lacks the folders of nft and iptables.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path
        .split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"]);
    folders
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_answer_a_failure_and_silence() {
        let limit = Duration::from_secs(20);
        assert_eq!(ask("echo", &["hi"], limit), Ok("hi\n".to_owned()));
        assert_eq!(ask("no-such-program", &[], limit), Err(NoAnswer::Missing));
        let said = ask("sh", &["-c", "echo no >&2; exit 3"], limit);
        assert_eq!(said, Err(NoAnswer::Failed("no".to_owned())));
        let start = Instant::now();
        let slow = ask("sleep", &["1000"], Duration::from_millis(50));
        assert_eq!(slow, Err(NoAnswer::TooSlow));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
