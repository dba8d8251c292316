//! Clocks and sleep. Man pages quoted: adjtimex(2), clock_nanosleep(2), prctl(2).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::zeroed;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// Whether something (NTP, PTP) keeps the system's clock right, and how far it may be off at most.
pub fn clock_state() -> io::Result<(bool, Duration)> {
    // adjtimex(2): the return value TIME_ERROR is "The system clock is not synchronized to a
    // reliable server"; STA_UNSYNC (0x40) is "Clock unsynchronized".
    const TIME_ERROR: i32 = 5;
    const STA_UNSYNC: i32 = 0x40;
    let (state, timex) = read_clock()?;
    let is_synchronised = state != TIME_ERROR && timex.status & STA_UNSYNC == 0;
    let max_error = Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(0));
    Ok((is_synchronised, max_error))
}

/// adjtimex(2): "The modes field determines which parameters, if any, to set": with none it only
/// reads, for which nobody needs a privilege. The state that the call returns, and what it read.
fn read_clock() -> io::Result<(c_int, libc::timex)> {
    // SAFETY: `timex` is a C struct of numbers; all zeroes is valid, and `modes` 0 sets nothing.
    let mut timex: libc::timex = unsafe { zeroed() };
    // SAFETY: `timex` is initialised, and the kernel writes within it.
    match unsafe { libc::adjtimex(&mut timex) } {
        -1 => Err(io::Error::last_os_error()),
        state => Ok((state, timex)),
    }
}

/// Sleeps until this time of the monotonic clock, in nanoseconds. clock_nanosleep(2),
/// TIMER_ABSTIME: "Using an absolute timer is useful for preventing timer drift".
pub fn sleep_until(nanos: u64) {
    let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
    let when = TimeSpec::new((nanos / 1_000_000_000) as _, (nanos % 1_000_000_000) as _);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &when) == Err(Errno::EINTR) {}
}

/// Makes the calling thread's timers precise: the kernel may otherwise let each sleep run 50 µs
/// long. prctl(2), PR_SET_TIMERSLACK.
pub fn make_timers_precise() {
    // Refused: sleeps are less precise, nothing worse. Threads under SCHED_FIFO have no slack
    // anyway.
    let _ = nix::sys::prctl::set_timerslack(1000);
}
