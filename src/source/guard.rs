//! Reading a mapped file past its current end, or where the disk fails, raises SIGBUS, which would
//! end the process with all its streams. Inside the ranges guarded here, such a read returns zeros:
//! the handler replaces the missing pages with empty ones (mmap(2), MAP_FIXED).
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::num::NonZero;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::{SysconfVar, sysconf};

/// One guarded range, or a free slot: they are never freed, so that the handler may walk them at
/// any time.
struct Range {
    is_taken: AtomicBool,
    /// 0: none.
    start: AtomicUsize,
    end: AtomicUsize,
    was_hit: AtomicBool,
    /// Constant once the range is published.
    next: AtomicPtr<Range>,
}

/// The range that was made last.
static NEWEST: AtomicPtr<Range> = AtomicPtr::new(ptr::null_mut());
static PAGE: AtomicUsize = AtomicUsize::new(4096);
/// What handled SIGBUS before; set under the lock, with the handler.
static INSTALLING: Mutex<()> = Mutex::new(());
static BEFORE: OnceLock<SigAction> = OnceLock::new();

/// Keeps a range of mapped memory readable, whatever happens to the file. Drop it before the memory
/// is unmapped.
pub(super) struct Guard(&'static Range);

impl Guard {
    /// Guards `len` bytes of a mapping that begins at `start`, the first byte of a page.
    pub(super) fn new(start: *const u8, len: usize) -> nix::Result<Guard> {
        install()?;
        let range = ranges().find(|range| !range.is_taken.swap(true, Ordering::Acquire));
        let range = range.unwrap_or_else(publish);
        range.was_hit.store(false, Ordering::Relaxed);
        range.end.store(start as usize + len, Ordering::Relaxed);
        range.start.store(start as usize, Ordering::Release);
        Ok(Guard(range))
    }

    /// Whether a page of it was gone and has been replaced.
    pub(super) fn was_hit(&self) -> bool {
        self.0.was_hit.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Relaxed);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

/// Adds a new range before the others, in use.
fn publish() -> &'static Range {
    let mut next = NEWEST.load(Ordering::Acquire);
    let range: &'static Range = Box::leak(Box::new(Range {
        is_taken: AtomicBool::new(true),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        was_hit: AtomicBool::new(false),
        next: AtomicPtr::new(next),
    }));
    let own = ptr::from_ref(range).cast_mut();
    while let Err(newer) = NEWEST.compare_exchange(next, own, Ordering::AcqRel, Ordering::Acquire) {
        next = newer;
        range.next.store(next, Ordering::Relaxed);
    }
    range
}

fn ranges() -> impl Iterator<Item = &'static Range> {
    let mut at = NEWEST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: Null, or a range that `publish` has leaked and completed before it became visible
        // here: the exchange releases, the load acquires. Everything in it that changes is atomic.
        let range = unsafe { at.as_ref() }?;
        at = range.next.load(Ordering::Relaxed);
        Some(range)
    })
}

fn install() -> nix::Result<()> {
    let _lock = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    if let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) {
        PAGE.store(page as usize, Ordering::Relaxed);
    }
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let ours = SigAction::new(SigHandler::SigAction(on_sigbus), flags, SigSet::empty());
    // SAFETY: The handler calls nothing but what signal-safety(7) allows, and mmap, which is a bare
    // system call on Linux: it loads atomics, walks memory that is never freed, allocates nothing,
    // takes no lock and does not unwind.
    let before = unsafe { sigaction(Signal::SIGBUS, &ours) }?;
    let _ = BEFORE.set(before); // empty until now
    Ok(())
}

extern "C" fn on_sigbus(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: The kernel gives a handler with SA_SIGINFO a valid siginfo_t; for SIGBUS it has
    // si_addr (sigaction(2)), and in one sent by a process it is a number in no
    // range.
    let at = unsafe { (*info).si_addr() } as usize;
    if !replace(at) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: The former handler is restored; sigaction(2) is async-signal-safe.
        let _ = unsafe { sigaction(Signal::SIGBUS, BEFORE.get().unwrap_or(&default)) };
        // Delivered when this handler returns.
        let _ = raise(Signal::SIGBUS);
    }
}

/// Replaces all pages from the one at `at` to the end of its range with empty ones.
fn replace(at: usize) -> bool {
    let holds = |range: &&Range| {
        let start = range.start.load(Ordering::Acquire);
        start != 0 && (start..range.end.load(Ordering::Relaxed)).contains(&at)
    };
    let Some(range) = ranges().find(holds) else {
        return false;
    };
    let page = at & !(PAGE.load(Ordering::Relaxed) - 1);
    let len = range.end.load(Ordering::Relaxed) - page;
    let (Some(page), Some(len)) = (NonZero::new(page), NonZero::new(len)) else {
        return false;
    };
    // SAFETY: MAP_FIXED replaces whatever is there, and all of it is in one mapping of ours: `page`
    // is not before the range's start, which is a page's first byte, and `len` ends where the range
    // ends. It is still mapped, since the owner, which whoever is reading it right now has, drops the
    // guard before the map. As readable as before, it stays valid for every slice of it; its bytes
    // may change as those of any mapped file may (see `super::map`).
    let mapped = unsafe {
        mmap_anonymous(
            Some(page),
            len,
            ProtFlags::PROT_READ,
            MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED,
        )
    };
    range.was_hit.store(true, Ordering::Relaxed);
    mapped.is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use nix::sys::mman::mmap;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    const LEN: usize = 64 << 10;

    /// Maps a file of [`LEN`] bytes of 7.
    fn mapped() -> (File, *const u8) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; LEN]).unwrap();
        // SAFETY: A new mapping at an address that the kernel chooses.
        let at = unsafe {
            mmap(
                None,
                NonZero::new(LEN).unwrap(),
                ProtFlags::PROT_READ,
                MapFlags::MAP_SHARED,
                file.as_fd(),
                0,
            )
        };
        (file, at.unwrap().as_ptr().cast())
    }

    fn byte(at: *const u8, offset: usize) -> u8 {
        // SAFETY: Inside a mapping that the tests never unmap.
        unsafe { ptr::read_volatile(at.add(offset)) }
    }

    #[test]
    fn what_was_cut_away_reads_as_zeros() {
        for _ in 0..3 {
            let (file, at) = mapped();
            let (other_file, other) = mapped();
            let guards = [at, other].map(|at| Guard::new(at, LEN).unwrap());
            file.set_len(100).unwrap();
            assert!(!guards[0].was_hit());
            assert_eq!(
                (byte(at, 99), byte(at, LEN - 1), byte(at, LEN / 2)),
                (7, 0, 0)
            );
            assert_eq!([guards[0].was_hit(), guards[1].was_hit()], [true, false]);
            assert_eq!(byte(other, LEN - 1), 7);
            // From another thread, too.
            other_file.set_len(0).unwrap();
            let other = other as usize;
            let read = std::thread::spawn(move || byte(other as *const u8, 0));
            assert_eq!(read.join().unwrap(), 0);
            assert!(guards[1].was_hit());
        }
        assert!(ranges().count() <= 8, "ranges are used again");
    }

    #[test]
    fn what_is_not_guarded_still_ends_the_process() {
        let (file, at) = mapped();
        drop(Guard::new(at, LEN).unwrap());
        file.set_len(0).unwrap();
        // SAFETY: The child does nothing but read memory and end: no lock, no allocation.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                byte(at, 0);
                // SAFETY: Ends the child at once, without anything that belongs to the parent.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                let ended = waitpid(child, None).unwrap();
                assert!(
                    matches!(ended, WaitStatus::Signaled(_, Signal::SIGBUS, _)),
                    "{ended:?}"
                );
            }
        }
    }
}
