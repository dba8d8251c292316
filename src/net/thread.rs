//! What a sending or receiving thread may ask of the scheduler: a core of its own, real-time priority,
//! memory that is never paged out. Each is a wish: refused, it is said once and the stream goes on.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::unistd::Pid;

use super::sys;

/// A wish that was refused.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The core does not exist, or this process may not use it.
    #[error("cannot pin to core {core}: this process may use cores {allowed}")]
    NoSuchCore {
        /// The core that was asked for, counted from 0.
        core: usize,
        /// The cores that there are, in words.
        allowed: String,
    },
    /// The kernel refused to pin.
    #[error("cannot pin to core {core}: {cause}")]
    Pin {
        /// The core that was asked for.
        core: usize,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Not a priority of SCHED_FIFO.
    #[error("real-time priority {0} is not in 1..=99")]
    NoSuchPriority(u8),
    /// The kernel refused real-time priority.
    #[error(
        "cannot get real-time priority {priority}: {cause}; run with CAP_SYS_NICE, or give the service LimitRTPRIO={priority}"
    )]
    Realtime {
        /// The priority that was asked for.
        priority: u8,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The kernel refused to lock memory.
    #[error(
        "cannot lock memory: {0}; run with CAP_IPC_LOCK, or give the service LimitMEMLOCK=infinity"
    )]
    LockMemory(#[source] io::Error),
}

/// Keeps the calling thread on this core (counted from 0).
///
/// # Errors
/// There is no such core for this process, or the kernel refused.
pub fn pin_to(core: usize) -> Result<(), ThreadError> {
    let this_thread = Pid::from_raw(0);
    let fail = |e: nix::Error| ThreadError::Pin {
        core,
        cause: e.into(),
    };
    let allowed = sched_getaffinity(this_thread).map_err(fail)?;
    if !allowed.is_set(core).unwrap_or(false) {
        return Err(ThreadError::NoSuchCore {
            core,
            allowed: describe(&allowed),
        });
    }
    let mut only = CpuSet::new();
    only.set(core).map_err(fail)?;
    sched_setaffinity(this_thread, &only).map_err(fail)
}

/// Puts the calling thread under SCHED_FIFO, 1 (low) to 99 (high): it runs before everything else
/// on its core until it waits.
///
/// # Errors
/// Not a priority, or not allowed.
pub fn realtime(priority: u8) -> Result<(), ThreadError> {
    if !(1..=99).contains(&priority) {
        return Err(ThreadError::NoSuchPriority(priority));
    }
    sys::set_realtime(priority.into()).map_err(|cause| ThreadError::Realtime { priority, cause })
}

/// Lets threads of normal priority go first: for work that nobody waits for. nice(2) is by thread on Linux.
pub fn after_others() {
    // To be nicer is always allowed.
    sys::set_nice(10);
}

/// Keeps this process's memory, present and future, from being paged out. mlockall(2).
///
/// # Errors
/// Not allowed, or more memory than allowed.
pub fn lock_memory() -> Result<(), ThreadError> {
    // MCL_ONFAULT (Linux 4.4) would leave untouched pages out; without it every thread's whole stack is
    // made resident. With it a first touch still faults, but nothing is ever paged out again.
    let flags = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault();
    mlockall(flags).map_err(|e| ThreadError::LockMemory(e.into()))
}

/// MCL_ONFAULT, which nix does not name.
fn on_fault() -> MlockAllFlags {
    MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT)
}

/// The cores in a set: `0, 1, 3`.
fn describe(set: &CpuSet) -> String {
    let cores = (0..CpuSet::count()).filter(|&c| set.is_set(c).unwrap_or(false));
    cores.map(|c| c.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: what it asks for ends with it.
    fn on_a_thread(test: fn()) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_thread_stays_on_its_core() {
        on_a_thread(|| {
            let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let core = (0..CpuSet::count())
                .find(|&c| allowed.is_set(c).unwrap())
                .unwrap();
            pin_to(core).unwrap();
            let now = sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert_eq!(describe(&now), core.to_string());
        });
    }

    #[test]
    fn a_core_that_is_not_there_is_answered_with_those_that_are() {
        for core in [1023, 5000] {
            let said = pin_to(core).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!(
                    "cannot pin to core {core}: this process may use cores 0"
                )),
                "{said}"
            );
        }
    }

    #[test]
    fn priorities_have_bounds() {
        for priority in [0, 100, 255] {
            let said = realtime(priority).unwrap_err().to_string();
            assert!(said.contains("is not in 1..=99"), "{said}");
        }
    }

    #[test]
    fn real_time_is_had_or_refused_with_advice() {
        on_a_thread(|| match realtime(1) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("LimitRTPRIO=1"), "{error}"),
        });
    }
}
