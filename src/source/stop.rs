//! How a source is asked to stop, and how others can tell that its thread is alive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Raised to stop a source. Whoever waits checks it at least four times a second.
#[derive(Debug, Default)]
pub struct Stop {
    is_raised: AtomicBool,
    looks: AtomicU64,
}

impl Stop {
    /// Asks the source to stop.
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
    }

    /// Whether to stop. Called by one thread only.
    pub fn is_raised(&self) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        self.looks.store(looks.wrapping_add(1), Ordering::Relaxed);
        self.is_raised.load(Ordering::Relaxed)
    }

    /// How often it was checked: if the number stays the same, the thread hangs.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}
