//! How a source is asked to end, and how it is seen from outside that its thread lives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Raised to end a source. Whoever waits looks at it at least four times a second.
#[derive(Debug, Default)]
pub struct Stop {
    is_raised: AtomicBool,
    looks: AtomicU64,
}

impl Stop {
    /// Asks for the end.
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for. Called by one thread only.
    pub fn is_raised(&self) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        self.looks.store(looks.wrapping_add(1), Ordering::Relaxed);
        self.is_raised.load(Ordering::Relaxed)
    }

    /// How often it was looked at: a number that stays the same belongs to a thread that hangs.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}
