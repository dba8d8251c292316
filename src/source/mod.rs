//! Where frames come from. Each source lends one JPEG at a time; what lies in it is the gate's business.
//!
//! | module | what it is |
//! |---|---|
//! | [`pattern`] | a moving test picture with a counter and a clock, made here |
//! | [`mod@file`] | a video or picture file: mapped and lent without a copy, else through `ffmpeg` |
//! | [`camera`] | a V4L2 camera: its own buffers, lent without a copy; survives what cameras do |
//! | [`pipe`] | concatenated MJPEG from standard input or from a child process |
//! | [`card`] | not a source: the "no signal" picture that stands in for a camera that is away |

pub mod camera;
pub mod canvas;
pub mod card;
mod child;
pub mod file;
mod map;
mod pacer;
pub mod pattern;
pub mod pipe;
mod spec;
#[cfg(test)]
mod test_video;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock::Mono;
use crate::jpeg::Sampling;

pub use spec::{
    CameraFormat, CameraSpec, ControlValue, DEFAULT_QUALITY, FPS_RANGE, PATTERN_MAX, PATTERN_MIN,
    SourceSpec, SpecError, check_fps,
};

/// One JPEG as its source has it, lent until it is dropped.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The bytes as the source gave them: perhaps padded, perhaps broken (see [`crate::jpeg`]).
    pub data: &'a [u8],
    /// When the picture was taken (for files: when it was due).
    pub captured: Mono,
    /// Frames that the source lost since the one before, by its own count.
    pub missed: u32,
    /// The source itself says that the data are broken (V4L2_BUF_FLAG_ERROR).
    pub flagged: bool,
}

/// Anything that lends frames. One virtual call per frame.
pub trait Source: Send {
    /// Waits for the next frame and lends it. `Ok(None)` is the regular end: a file that does not
    /// loop, or a pipe that was closed. Returns [`SourceError::Stopped`] within about 250 ms of
    /// the stop flag that the source was opened with.
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError>;

    /// Time from frame to frame as the source promises it; `None` where frames come as they please.
    fn interval(&self) -> Option<Duration>;

    /// What this is, for a log line: `pattern 1280x720 at 30 fps`.
    fn describe(&self) -> String;

    /// The number of the frame lent last, counted from 1, and how many there are, where that is
    /// known. `None` for sources that have no end.
    fn position(&self) -> Option<(u64, Option<u64>)> {
        None
    }

    /// What other threads can ask of it while it runs; `None`: nothing.
    fn remote(&self) -> Option<camera::Remote> {
        None
    }
}

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The stop flag was raised.
    #[error("stopped")]
    Stopped,
    /// The source cannot work as it is described: trying again is of no use before something changes.
    #[error("{0}")]
    Unusable(String),
    /// The source worked and then failed: it may be opened again after a pause.
    #[error("{0}")]
    Failed(String),
}

/// The rate of files that do not tell theirs, in frames a second.
pub const DEFAULT_FPS: f64 = 30.0;

/// How to open a source.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The stream's name: it stands in the pattern and in log lines.
    pub name: String,
    /// Frames a second, where the user asks for another rate than the source's own.
    pub fps: Option<f64>,
    /// Files start again at their end.
    pub looped: bool,
    /// Raised to end [`Source::next`] early.
    pub stop: Arc<AtomicBool>,
}

/// Opens what `spec` describes.
///
/// # Errors
/// [`SourceError::Unusable`] if it is not there or is not what it should be;
/// [`SourceError::Failed`] if a later try may go better.
pub fn open(spec: &SourceSpec, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    if let Some(fps) = options.fps {
        check_fps(fps).map_err(|e| SourceError::Unusable(e.to_string()))?;
    }
    match spec {
        SourceSpec::Pattern { width, height, fps } => {
            let fps = options.fps.unwrap_or(*fps);
            let pattern = pattern::Pattern::new(*width, *height, fps, Sampling::Yuv422, options)?;
            Ok(Box::new(pattern))
        }
        SourceSpec::File { path } => file::open(path, options),
        SourceSpec::Stdin => Ok(Box::new(pipe::Stdin::open(options)?)),
        SourceSpec::Exec { command } => Ok(Box::new(pipe::Exec::open(command, options)?)),
        SourceSpec::Camera(camera) => Ok(Box::new(camera::Camera::open(camera.clone(), options)?)),
    }
}

/// A frame rate as people write it: `30`, `29.97`.
fn fps_text(fps: f64) -> String {
    let text = format!("{fps:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
