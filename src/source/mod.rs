//! Where frames come from. Each source lends one JPEG at a time; its contents are checked by the
//! gate.
//!
//! | module | what it is |
//! |---|---|
//! | [`pattern`] | a moving test picture with a counter and a clock, made here |
//! | [`mod@file`] | a video or picture file: mapped and lent without a copy, else through `ffmpeg` |
//! | [`camera`] | a V4L2 camera: its own buffers, lent without a copy; reopened when it fails |
//! | [`pipe`] | concatenated MJPEG from standard input or from a child process |
//! | [`slate`] | not a source: the "no signal" picture that stands in for one that gives none |

pub mod camera;
pub mod canvas;
mod child;
pub mod file;
mod frame;
mod guard;
mod map;
mod pacer;
pub mod pattern;
pub mod pipe;
pub mod slate;
mod spec;
mod stop;
#[cfg(test)]
mod test_video;

use crate::jpeg::Sampling;

pub use frame::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError};
pub use spec::{
    CameraFormat, CameraSpec, ControlValue, FPS_RANGE, PATTERN_MAX, PATTERN_MIN, SourceSpec,
    SpecError, check_fps,
};
pub use stop::Stop;

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
        SourceSpec::Stdin => Ok(Box::new(pipe::Pipe::stdin(options)?)),
        SourceSpec::Exec { command } => Ok(Box::new(pipe::Exec::open(command, options)?)),
        SourceSpec::Camera(camera) => Ok(Box::new(camera::Camera::open(camera.clone(), options)?)),
    }
}
