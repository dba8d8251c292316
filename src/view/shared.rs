//! What the threads of one viewer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use super::wanted::Wanted;
use crate::board::preview::Preview;
use crate::counters::Latest;
use crate::signals::{Signals, Waker};
use crate::stats::delay::DelayMeter;
use crate::stats::{FormatSeen, State, ViewerStats};

/// Counters, state and the end of one viewer.
#[derive(Debug)]
pub(super) struct Shared {
    /// The stream, as known so far.
    pub(super) wanted: Latest<Arc<Wanted>>,
    pub(super) stats: Arc<ViewerStats>,
    pub(super) delay: Arc<DelayMeter>,
    /// What the stream is doing.
    pub(super) state: Latest<State>,
    /// Its pictures' format.
    pub(super) format: FormatSeen,
    /// Pictures for the status page.
    pub(super) preview: Arc<Preview>,
    /// Set to end all threads.
    pub(super) stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Shared {
    /// Of the stream `wanted`, with the counters that the window has already. A stop signal of
    /// `signals` ends all threads.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub(super) fn new(
        wanted: Arc<Wanted>,
        stats: Arc<ViewerStats>,
        delay: Arc<DelayMeter>,
        signals: &Signals,
    ) -> Result<Shared> {
        Ok(Shared {
            wanted: Latest::new(wanted),
            stats,
            delay,
            state: Latest::default(),
            format: FormatSeen::default(),
            preview: Arc::default(),
            stop: signals.stop(),
            waker: signals.waker().context("no file descriptors are left")?,
        })
    }

    /// Asks every thread to end.
    pub(super) fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Whether frames are arriving.
    pub(crate) fn is_streaming(&self) -> bool {
        self.state.get() == State::Streaming
    }

    /// Why there is no signal, if there is none and it is known.
    pub(super) fn no_signal(&self) -> Option<String> {
        match self.state.get() {
            State::NoSignal(why) => Some(why),
            _ => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
