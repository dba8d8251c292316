//! Signals: SIGTERM and SIGINT ask to stop (the second one ends the process at once). SIGHUP asks a
//! sender to reload its config and a viewer to stop, unless it was ignored from the start
//! (nohup(1)). The handlers only raise flags and wake whoever waits.
//! SIGXFSZ is caught, so that a write beyond a size limit fails instead of ending the process.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

/// How long stopping may take after the signal, once [`Signals::limit_end`] was called.
const END_LIMIT: Duration = Duration::from_millis(2500);

/// What woke [`Signals::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop. Returned again by every later wait.
    Stop,
    /// SIGHUP: read the config again.
    Reload,
    /// A [`Waker`] of another thread.
    Woken,
}

/// What SIGHUP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// To read the config again.
    Reload,
    /// To stop: the terminal is gone.
    Stop,
}

/// The installed handlers. They stay installed until the process ends.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    woken: Arc<AtomicBool>,
    reader: UnixStream,
    writer: UnixStream,
}

impl Signals {
    /// Installs the handlers. The second SIGTERM or SIGINT ends the process at once with exit code
    /// 1.
    ///
    /// # Errors
    /// The kernel has no descriptors or handlers left.
    pub fn install(hangup: Hangup) -> io::Result<Signals> {
        let stop = Arc::new(AtomicBool::new(false));
        let reload = Arc::new(AtomicBool::new(false));
        let (reader, writer) = UnixStream::pair()?;
        // A waker must never block, and one byte is as good as many.
        writer.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            // Handlers run in the order of registration: this one sees the previous signal's flag.
            flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        // setrlimit(2), RLIMIT_FSIZE: caught, the call fails with EFBIG.
        flag::register(SIGXFSZ, Arc::default())?;
        let hung_up = match hangup {
            Hangup::Reload => Some(&reload),
            Hangup::Stop if is_hangup_ignored() => None,
            // A shell and the kernel may both send it: the second one does no more than the first.
            Hangup::Stop => Some(&stop),
        };
        if let Some(flag) = hung_up {
            flag::register(SIGHUP, Arc::clone(flag))?;
            low_level::pipe::register(SIGHUP, writer.try_clone()?)?;
        }
        Ok(Signals {
            stop,
            reload,
            woken: Arc::default(),
            reader,
            writer,
        })
    }

    /// From now on SIGTERM and SIGINT end the process within `END_LIMIT`, whatever hangs: a file on
    /// a network that is gone, a reader of standard output that has stopped. The exit code is 1
    /// then.
    ///
    /// # Errors
    /// There are no descriptors or threads left.
    pub fn limit_end(&self) -> io::Result<()> {
        let (mut asked, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        thread::Builder::new()
            .name("lancam-end".to_owned())
            .spawn(move || {
                // The other end is never closed: only a signal ends this.
                if asked.read(&mut [0]).is_ok() {
                    thread::sleep(END_LIMIT);
                    say("lancam: something hangs; ended without waiting for it\n");
                    low_level::exit(1);
                }
            })?;
        Ok(())
    }

    /// The flag that SIGTERM and SIGINT raise. Anyone else who raises it should also call
    /// [`Waker::wake`].
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// A handle with which other threads end a [`Signals::wait`].
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn waker(&self) -> io::Result<Waker> {
        Ok(Waker {
            woken: Arc::clone(&self.woken),
            writer: self.writer.try_clone()?,
        })
    }

    /// Waits for a signal or a waker, at most `timeout`; `None`: nothing came.
    pub fn wait(&mut self, timeout: Duration) -> Option<Signal> {
        // A day is as good as for ever, and cannot overflow.
        let deadline = Instant::now() + timeout.min(Duration::from_secs(86_400));
        loop {
            if let Some(signal) = self.pending() {
                return Some(signal);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // Zero would mean "for ever"; `left` is not zero. Errors need no handling: the flags
            // are checked again, and the deadline ends the loop.
            let _ = self.reader.set_read_timeout(Some(left));
            let _ = self.reader.read(&mut [0; 64]);
        }
    }

    /// What came and was not returned yet.
    fn pending(&self) -> Option<Signal> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Signal::Stop);
        }
        if self.reload.swap(false, Ordering::Relaxed) {
            return Some(Signal::Reload);
        }
        if self.woken.swap(false, Ordering::Relaxed) {
            return Some(Signal::Woken);
        }
        None
    }
}

/// Whether SIGHUP is ignored: nohup(1) starts its program so.
fn is_hangup_ignored() -> bool {
    // proc_pid_status(5): a mask in hexadecimal, its lowest bit for signal 1.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}

/// Writes to standard error unless that would block: its reader may be what hangs.
fn say(sentence: &str) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, 0u8).is_ok_and(|ready| ready > 0) {
        // Bypasses the standard library's lock, which a blocked thread may hold.
        let _ = nix::unistd::write(&stderr, sentence.as_bytes());
    }
}

/// Ends a [`Signals::wait`] from another thread.
#[derive(Debug)]
pub struct Waker {
    woken: Arc<AtomicBool>,
    writer: UnixStream,
}

impl Waker {
    /// Wakes the waiting thread, or makes its next wait return at once.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Relaxed);
        // A full pipe wakes as well.
        let _ = (&self.writer).write(&[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A single test, since handlers belong to the whole process.
    #[test]
    fn signals_come_through() {
        let mut signals = Signals::install(Hangup::Reload).unwrap();
        assert_eq!(signals.wait(Duration::from_millis(1)), None);

        low_level::raise(SIGHUP).unwrap();
        assert_eq!(signals.wait(Duration::from_secs(10)), Some(Signal::Reload));
        assert_eq!(signals.wait(Duration::from_millis(1)), None);

        let waker = signals.waker().unwrap();
        let thread = std::thread::spawn(move || waker.wake());
        assert_eq!(signals.wait(Duration::from_secs(10)), Some(Signal::Woken));
        thread.join().unwrap();

        let stop = signals.stop();
        assert!(!stop.load(Ordering::Relaxed));
        low_level::raise(SIGTERM).unwrap();
        assert!(stop.load(Ordering::Relaxed));
        assert_eq!(signals.wait(Duration::from_secs(10)), Some(Signal::Stop));
        assert_eq!(signals.wait(Duration::ZERO), Some(Signal::Stop));
    }
}
