//! The scheduler and memory. Man pages quoted: sched_setscheduler(2), setpriority(2), mlockall(2).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::zeroed;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::unistd::Pid;

/// The calling thread.
const THIS: Pid = Pid::from_raw(0);

/// The cores that the calling thread may run on, counted from 0.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(THIS)?;
    let cores = (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false));
    Ok(cores.collect())
}

/// Keeps the calling thread on this core.
pub fn pin_to(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core)?;
    Ok(sched_setaffinity(THIS, &only)?)
}

/// Keeps this process's memory, present and future, from being paged out. mlockall(2).
pub fn lock_memory() -> io::Result<()> {
    // MCL_ONFAULT (Linux 4.4), which nix does not name, would leave untouched pages out; without it
    // every thread's whole stack is made resident. With it a first touch still faults, but nothing
    // is ever paged out again.
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let flags = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault;
    Ok(mlockall(flags)?)
}

/// setpriority(2): the calling thread's nice value. "In the current Linux/NPTL implementation […]
/// the nice value is a per-thread attribute". A refusal changes nothing.
pub fn set_nice(nice: c_int) {
    // SAFETY: the call takes plain numbers and touches no memory of ours.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// sched_setscheduler(2), SCHED_FIFO: "a first-in, first-out policy" for the calling thread (pid
/// 0), with a priority "in the range 1 (low) to 99 (high)".
pub fn set_realtime(priority: c_int) -> io::Result<()> {
    // SAFETY: `sched_param` is a C struct of numbers; all zeroes is valid.
    let mut param: libc::sched_param = unsafe { zeroed() };
    param.sched_priority = priority;
    // SAFETY: `param` is initialised and the kernel only reads it during the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
