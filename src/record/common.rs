//! What both formats share.

use std::io;
use std::time::Duration;

use crate::clock::Mono;

/// What a finished recording holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Frames written.
    pub frames: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Measured frames per second; the hint if there were too few frames to measure.
    pub fps: f64,
}

/// Bytes collected before a system call; longer frames are written directly.
pub(super) const BUFFER: usize = 256 * 1024;
/// The longest time that a frame stays in that buffer while frames keep coming.
pub(super) const FLUSH: Duration = Duration::from_secs(2);

/// Why a frame was not appended.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    /// The index has no room left.
    Full,
    /// Longer than the format allows.
    Frame,
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Io(error)
    }
}

/// The frame rate, measured over a recording. Pauses (a sender that was away) do not count: AVI has
/// a single rate, and the frames around a pause must not play slower because of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    pub(super) frames: u64,
    last: Mono,
    /// The number of intervals that count, and their sum.
    pub(super) intervals: u64,
    sum: Duration,
}

/// Shorter intervals are never considered a pause.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(2);

impl Rate {
    pub(super) fn add(&mut self, captured: Mono) {
        let interval = captured.since(self.last);
        let mean = self.interval().unwrap_or(interval);
        if self.frames > 0 && (interval < SHORTEST_PAUSE || interval <= mean * 5) {
            self.intervals += 1;
            self.sum += interval;
        }
        self.frames += 1;
        self.last = captured;
    }

    /// The mean time between two frames; `None` before there are two.
    pub(super) fn interval(&self) -> Option<Duration> {
        let intervals = u32::try_from(self.intervals).ok().filter(|&n| n > 0)?;
        Some(self.sum / intervals).filter(|mean| !mean.is_zero())
    }
}
