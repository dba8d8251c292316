//! What to send, as written on the command line: `/dev/video0`, a file, `-`, `exec:COMMAND`,
//! `pattern:1280x720@30`. Only words to facts; nothing is opened here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::jpeg::Sampling;
use crate::jpeg::gate::DEFAULT_QUALITY;

/// Smallest width and height of the pattern in pixels.
pub const PATTERN_MIN: u32 = 16;
/// Largest width and height of the pattern in pixels.
pub const PATTERN_MAX: u32 = 8192;
/// Slowest and fastest frame rate that a paced source takes, in frames a second.
pub const FPS_RANGE: std::ops::RangeInclusive<f64> = 0.1..=240.0;

/// A source as the user describes it.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// The built-in moving picture.
    Pattern {
        /// Width in pixels, 16 to 8192.
        width: u32,
        /// Height in pixels, 16 to 8192.
        height: u32,
        /// Frames a second, 0.1 to 240.
        fps: f64,
    },
    /// A video, a picture, or a numbered series of pictures (`shot-%04d.jpg`).
    File {
        /// Where it is.
        path: PathBuf,
    },
    /// Concatenated MJPEG on standard input.
    Stdin,
    /// Concatenated MJPEG from a child's standard output; the command goes to `sh -c`.
    Exec {
        /// The shell command.
        command: String,
    },
    /// A V4L2 camera.
    Camera(CameraSpec),
}

/// A V4L2 camera and its settings; whatever is left open is the driver's choice.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSpec {
    /// `/dev/video0`, or better a path under `/dev/v4l/by-id/`, which survives replugging; the last
    /// part of such a path is enough. `auto`: the only camera there is.
    pub device: PathBuf,
    /// Pixel format to ask for.
    pub format: CameraFormat,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub fps: Option<f64>,
    /// Controls by their V4L2 name (`exposure_auto`), set at every open.
    pub controls: BTreeMap<String, ControlValue>,
    /// JPEG quality, 1 to 100, for formats that are encoded here.
    pub quality: u8,
    /// Chroma sampling for formats that are encoded here.
    pub sampling: Sampling,
}

/// The value of a camera's control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlValue {
    /// A number, a menu's index, or 0 and 1 for off and on.
    Number(i64),
    /// A menu's label, or a text control's value; also `on` and `off`.
    Text(String),
}

impl CameraSpec {
    /// The camera at `device` with everything left to the driver.
    pub fn new(device: impl Into<PathBuf>) -> CameraSpec {
        CameraSpec {
            device: device.into(),
            format: CameraFormat::Auto,
            size: None,
            fps: None,
            controls: BTreeMap::new(),
            quality: DEFAULT_QUALITY,
            sampling: Sampling::Yuv420,
        }
    }
}

/// The pixel format to ask a camera for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CameraFormat {
    /// MJPEG if the camera has it, else the first of the others, encoded here.
    #[default]
    Auto,
    /// MJPEG (`MJPG` or `JPEG`) or nothing.
    Mjpeg,
    /// Uncompressed 4:2:2 (`YUYV`), encoded here.
    Yuyv,
    /// Uncompressed 4:2:0, luma and interleaved chroma (`NV12`), encoded here.
    Nv12,
    /// Uncompressed 4:2:0 in three planes (`YU12`), encoded here.
    Yu12,
    /// Uncompressed RGB, 24 bits (`RGB3`), encoded here.
    Rgb3,
}

/// A source that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing was given.
    #[error(
        "the source is empty: give a camera such as /dev/video0, a file, -, exec:COMMAND or pattern:1280x720@30"
    )]
    Empty,
    /// `exec:` without a command.
    #[error("exec: needs a command, such as exec:rpicam-vid --codec mjpeg -t 0 -o -")]
    EmptyCommand,
    /// `pattern:` followed by something other than `WIDTHxHEIGHT@FPS`.
    #[error("expected pattern, pattern:1280x720 or pattern:1280x720@30, not {0}")]
    Pattern(String),
    /// A pattern's size out of range.
    #[error(
        "a pattern of {width}x{height} is out of range: expected {PATTERN_MIN} to {PATTERN_MAX} pixels a side"
    )]
    Size {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// An address: lancam reads no network cameras by itself.
    #[error("{0}")]
    Address(String),
    /// A frame rate out of range.
    #[error("{0} fps is out of range: expected {min} to {max} fps", min = FPS_RANGE.start(), max = FPS_RANGE.end())]
    Fps(String),
}

impl SpecError {
    /// What to write instead of an address such as `rtsp://…`; `None` if `source` is not one.
    pub(super) fn of_address(source: &str) -> Option<SpecError> {
        let (scheme, rest) = source.split_once("://")?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(is_scheme) {
            return None;
        }
        let how = match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                format!("write the path alone, {rest}, or exec:COMMAND for what a command reads")
            }
            "rtsp" | "rtsps" => format!(
                "let ffmpeg read it: 'exec:ffmpeg -v error -fflags nobuffer -rtsp_transport tcp -i {source} \
                 -an -c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 4 -f mjpeg -'"
            ),
            "http" | "https" => format!(
                "let curl read it where it is MJPEG: 'exec:curl -sN {source}'; \
                 else ffmpeg: 'exec:ffmpeg -v error -fflags nobuffer -i {source} \
                 -an -c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 4 -f mjpeg -'"
            ),
            _ => format!(
                "let ffmpeg read it: 'exec:ffmpeg -v error -fflags nobuffer -i {source} \
                 -an -c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 4 -f mjpeg -'"
            ),
        };
        Some(SpecError::Address(format!(
            "{source} is an address, not a file: {how}"
        )))
    }
}

impl SourceSpec {
    /// A pattern with its limits checked.
    ///
    /// # Errors
    /// [`SpecError::Size`] or [`SpecError::Fps`] outside them.
    pub fn pattern(width: u32, height: u32, fps: f64) -> Result<SourceSpec, SpecError> {
        let sides = PATTERN_MIN..=PATTERN_MAX;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(SpecError::Size { width, height });
        }
        check_fps(fps)?;
        Ok(SourceSpec::Pattern { width, height, fps })
    }
}

/// Checks a frame rate that the user gave.
///
/// # Errors
/// [`SpecError::Fps`] outside 0.1 to 240 frames a second.
pub fn check_fps(fps: f64) -> Result<(), SpecError> {
    if FPS_RANGE.contains(&fps) {
        return Ok(());
    }
    Err(SpecError::Fps(fps.to_string()))
}

impl FromStr for SourceSpec {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<SourceSpec, SpecError> {
        if s.trim().is_empty() {
            return Err(SpecError::Empty);
        }
        if s == "-" {
            return Ok(SourceSpec::Stdin);
        }
        if let Some(command) = s.strip_prefix("exec:") {
            if command.trim().is_empty() {
                return Err(SpecError::EmptyCommand);
            }
            return Ok(SourceSpec::Exec {
                command: command.to_owned(),
            });
        }
        if s == "pattern" {
            return parse_pattern("");
        }
        if let Some(rest) = s.strip_prefix("pattern:") {
            return parse_pattern(rest);
        }
        if s == "camera" {
            return Ok(SourceSpec::Camera(CameraSpec::new("auto")));
        }
        if let Some(error) = SpecError::of_address(s) {
            return Err(error);
        }
        if is_camera(Path::new(s)) {
            return Ok(SourceSpec::Camera(CameraSpec::new(s)));
        }
        Ok(SourceSpec::File {
            path: PathBuf::from(s),
        })
    }
}

/// Whether a path is a device's: all under /dev, where udev rules give cameras names of their own,
/// but for what holds files and pipes.
fn is_camera(path: &Path) -> bool {
    let others = [
        "/dev/shm",
        "/dev/fd",
        "/dev/stdin",
        "/dev/null",
        "/dev/zero",
        "/dev/tty",
    ];
    path.starts_with("/dev") && !others.iter().any(|other| path.starts_with(other))
}

/// `1280x720@30`, `1280x720`, `@30` or nothing.
fn parse_pattern(rest: &str) -> Result<SourceSpec, SpecError> {
    let bad = || SpecError::Pattern(format!("pattern:{rest}"));
    let (size, fps) = match rest.split_once('@') {
        Some((size, fps)) => (size, fps.parse::<f64>().map_err(|_| bad())?),
        None => (rest, 30.0),
    };
    if size.is_empty() {
        return SourceSpec::pattern(1280, 720, fps);
    }
    let (width, height) = size.split_once('x').ok_or_else(bad)?;
    let width = width.parse().map_err(|_| bad())?;
    let height = height.parse().map_err(|_| bad())?;
    SourceSpec::pattern(width, height, fps)
}

impl fmt::Display for SourceSpec {
    /// The form that [`FromStr`] reads (of a camera, its device).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::Pattern { width, height, fps } => {
                write!(f, "pattern:{width}x{height}@{fps}")
            }
            SourceSpec::File { path } => write!(f, "{}", path.display()),
            SourceSpec::Stdin => f.write_str("-"),
            SourceSpec::Exec { command } => write!(f, "exec:{command}"),
            SourceSpec::Camera(camera) if camera.device == Path::new("auto") => {
                f.write_str("camera")
            }
            SourceSpec::Camera(camera) => write!(f, "{}", camera.device.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(s: &str) -> Result<SourceSpec, SpecError> {
        s.parse()
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for s in [
            "pattern:640x480@59.94",
            "camera",
            "/dev/video0",
            "/dev/v4l/by-id/usb-x-video-index0",
            "-",
            "exec:cat a.mjpeg | pv",
            "shot-%04d.jpg",
            "./assets/video.mpeg",
        ] {
            assert_eq!(parse(s).unwrap().to_string(), s);
        }
        for s in ["/dev/video0", "/dev/v4l/by-id/x", "/dev/porch"] {
            assert!(matches!(parse(s), Ok(SourceSpec::Camera(_))), "{s}");
        }
        for s in ["/dev/shm/a.jpg", "/dev/stdin", "/dev/fd/63"] {
            assert!(matches!(parse(s), Ok(SourceSpec::File { .. })), "{s}");
            assert_eq!(parse(s).unwrap().to_string(), s);
        }
        assert!(matches!(
            parse("/device/a.avi"),
            Ok(SourceSpec::File { .. })
        ));
    }

    #[test]
    fn a_pattern_has_defaults() {
        let want = Ok(SourceSpec::Pattern {
            width: 1280,
            height: 720,
            fps: 30.0,
        });
        assert_eq!(parse("pattern"), want);
        assert_eq!(parse("pattern:"), want);
        assert_eq!(parse("pattern:1280x720"), want);
        assert_eq!(parse("pattern:@30"), want);
    }

    #[test]
    fn addresses_are_answered_with_a_way_to_read_them() {
        let answer = |s: &str| parse(s).unwrap_err().to_string();
        let http = answer("http://cam/stream.mjpg");
        assert!(
            http.contains("'exec:curl -sN http://cam/stream.mjpg'"),
            "{http}"
        );
        let rtsp = answer("RTSP://cam/1");
        assert!(
            rtsp.contains("-rtsp_transport tcp -i RTSP://cam/1 "),
            "{rtsp}"
        );
        let srt = answer("srt://cam:9000");
        assert!(srt.contains("'exec:ffmpeg "), "{srt}");
        assert!(answer("file:///tmp/a.jpg").contains("the path alone, /tmp/a.jpg, "));
        // A file may be called so.
        assert!(matches!(parse("a b://c"), Ok(SourceSpec::File { .. })));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse(" "), Err(SpecError::Empty));
        assert_eq!(parse("exec: "), Err(SpecError::EmptyCommand));
        assert_eq!(
            parse("pattern:8x8"),
            Err(SpecError::Size {
                width: 8,
                height: 8
            })
        );
        assert!(matches!(parse("pattern:640x480@0"), Err(SpecError::Fps(_))));
        assert!(matches!(
            parse("pattern:640x480@NaN"),
            Err(SpecError::Fps(_))
        ));
        assert!(matches!(parse("pattern:640"), Err(SpecError::Pattern(_))));
        assert!(matches!(
            parse("pattern:640x-480"),
            Err(SpecError::Pattern(_))
        ));
        assert_eq!(
            parse("pattern:640x480@1e9").unwrap_err().to_string(),
            "1000000000 fps is out of range: expected 0.1 to 240 fps"
        );
    }
}
