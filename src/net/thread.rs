//! What a sending or receiving thread may request of the system: a core of its own, real-time
//! priority, memory that is never paged out. If a request is refused, that is logged once, and the
//! stream goes on without.

use std::io;
use std::panic::resume_unwind;
use std::thread::JoinHandle;

use super::sys;

/// A request that was refused.
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
    #[error("real-time priority {0} is out of range: expected 1 to 99")]
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

/// Waits for a thread to end. A panic there goes on here; in a release build it has ended the
/// process.
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Keeps the calling thread on this core (counted from 0).
///
/// # Errors
/// There is no such core for this process, or the kernel refused.
pub fn pin_to(core: usize) -> Result<(), ThreadError> {
    let fail = |cause| ThreadError::Pin { core, cause };
    let allowed = sys::allowed_cores().map_err(fail)?;
    if !allowed.contains(&core) {
        let allowed = allowed.iter().map(ToString::to_string);
        return Err(ThreadError::NoSuchCore {
            core,
            allowed: allowed.collect::<Vec<_>>().join(", "),
        });
    }
    sys::pin_to(core).map_err(fail)
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

/// Lets threads of normal priority go first, for work that nobody waits for. On Linux nice(2) is
/// per thread.
pub fn after_others() {
    // Being nicer is always allowed.
    sys::set_nice(10);
}

/// Keeps this process's memory, present and future, from being paged out. mlockall(2).
///
/// # Errors
/// Not allowed, or more memory than allowed.
pub fn lock_memory() -> Result<(), ThreadError> {
    sys::lock_memory().map_err(ThreadError::LockMemory)
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
            let core = sys::allowed_cores().unwrap()[0];
            pin_to(core).unwrap();
            assert_eq!(sys::allowed_cores().unwrap(), [core]);
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
            assert!(said.contains("is out of range: expected 1 to 99"), "{said}");
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
