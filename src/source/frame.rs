//! What every source shares: the frame it lends, the trait, how it is opened, why it fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::camera::Remote;
use super::stop::Stop;
use crate::clock::Mono;
use crate::kept::Owner;

/// One JPEG as the source delivered it, lent until dropped.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The bytes as the source delivered them: perhaps padded, perhaps broken (see
    /// [`crate::jpeg`]).
    pub data: &'a [u8],
    /// When the picture was taken (for files: when it was due).
    pub captured: Mono,
    /// Frames that the source lost since the previous one, by its own count.
    pub missed: u32,
    /// The source itself says that the data are broken (V4L2_BUF_FLAG_ERROR).
    pub flagged: bool,
    /// Where it ends was found by [`crate::jpeg::split`], or by whoever encoded it: the bytes of no
    /// other frame follow.
    pub is_split: bool,
    /// Whom `data` belongs to, if another thread may read it for longer than it is lent.
    pub owner: Option<Owner>,
}

/// Anything that lends frames. One virtual call per frame.
pub trait Source: Send {
    /// Waits for the next frame and lends it. `Ok(None)` is the regular end: a file that does not
    /// loop, or a pipe that was closed. Returns [`SourceError::Stopped`] within about 250 ms of the
    /// stop flag that the source was opened with. Any error but [`SourceError::NoSignal`] is its
    /// end.
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError>;

    /// Frame interval as the source states it; `None` if frames come irregularly.
    fn interval(&self) -> Option<Duration>;

    /// What this is, for a log line: `pattern 1280x720 at 30 fps`.
    fn describe(&self) -> String;

    /// The number of the last frame lent, counted from 1, and how many there are, if known. `None`
    /// for sources without an end.
    fn position(&self) -> Option<(u64, Option<u64>)> {
        None
    }

    /// A handle for other threads to control it with; `None`: there is none.
    fn remote(&self) -> Option<Remote> {
        None
    }
}

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The stop flag was raised.
    #[error("stopped")]
    Stopped,
    /// There is no picture at present, for this reason; the source goes on, so call it again.
    /// Returned at most once a second.
    #[error("{0}")]
    NoSignal(String),
    /// The source cannot work as configured: trying again is useless until something changes.
    #[error("{0}")]
    Unusable(String),
    /// The source worked and then failed: open it again after a pause.
    #[error("{0}")]
    Failed(String),
}

impl SourceError {
    /// [`SourceError::Unusable`] about a path.
    pub(super) fn unusable(path: &Path, what: impl std::fmt::Display) -> SourceError {
        SourceError::Unusable(format!("{} {what}", path.display()))
    }
}

/// The rate of files that do not state theirs, in frames a second.
pub const DEFAULT_FPS: f64 = 30.0;

/// How to open a source.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The stream's name, which the pattern shows.
    pub name: String,
    /// Frames a second, if the user sets a rate other than the source's own.
    pub fps: Option<f64>,
    /// Whether files start again at their end.
    pub looped: bool,
    /// Raised to end [`Source::next`] early.
    pub stop: Arc<Stop>,
}

/// A frame rate as people write it: `30`, `29.97`.
pub(super) fn fps_text(fps: f64) -> String {
    let text = format!("{fps:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
