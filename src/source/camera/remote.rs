//! What other threads ask of a camera while its own thread waits for frames.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::source::ControlValue;

/// A handle on a camera for other threads. The camera checks it between two frames, at the cost of
/// one relaxed load per frame.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    changed: AtomicBool,
    wishes: Mutex<Wishes>,
    bell: Condvar,
}

#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) wanted: bool,
    /// New settings that the camera has not seen.
    pub(super) controls: Option<BTreeMap<String, ControlValue>>,
}

impl Remote {
    pub(super) fn new() -> Remote {
        Remote(Arc::new(Shared {
            changed: AtomicBool::new(false),
            wishes: Mutex::new(Wishes {
                wanted: true,
                controls: None,
            }),
            bell: Condvar::new(),
        }))
    }

    /// Whether anybody wants frames. `false` closes the device and makes
    /// [`next`](crate::source::Source::next) wait; `true` reopens it at once.
    pub fn set_wanted(&self, wanted: bool) {
        self.change(|wishes| wishes.wanted = wanted);
    }

    /// Replaces the configured controls and sets the new ones without stopping the stream. If one
    /// cannot be set as wanted, none is, the old ones stay, and the log says why.
    pub fn set_controls(&self, controls: BTreeMap<String, ControlValue>) {
        self.change(|wishes| wishes.controls = Some(controls));
    }

    fn change(&self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.lock();
        change(&mut wishes);
        self.0.changed.store(true, Ordering::Relaxed);
        drop(wishes);
        self.0.bell.notify_all();
    }

    /// What is wanted, if that changed since the last call.
    pub(super) fn take(&self) -> Option<Wishes> {
        // A load, not a swap: nothing is written in the steady state.
        if !self.0.changed.load(Ordering::Relaxed) {
            return None;
        }
        let mut wishes = self.lock();
        self.0.changed.store(false, Ordering::Relaxed);
        Some(Wishes {
            wanted: wishes.wanted,
            controls: wishes.controls.take(),
        })
    }

    /// Sleeps until something is wanted or `limit` passes.
    pub(super) fn sleep(&self, limit: Duration) {
        let wishes = self.lock();
        if self.0.changed.load(Ordering::Relaxed) {
            return;
        }
        // Woken early or late, the caller checks again.
        let _ = self.0.bell.wait_timeout(wishes, limit);
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        // Nothing panics while it is held, and a request is complete at any time.
        self.0.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
