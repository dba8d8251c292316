//! Kinds of values specific to lancam: those with several forms or parts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use ron::value::RawValue;

use super::check;
use super::error::Mistakes;
use super::kind::{Kind, Read, maybe, number_word, path, real, share, size, text, texts, whole};
use super::raw::{self, Fields};
use super::users::{Users, UsersFrom};
use super::values::{
    Adapt, DEFAULT_RTSP, DEFAULT_STATUS, REPAIR_AUTO_MAX, Repair, Status, WaitForViewers,
};
use crate::jpeg::Sampling;
use crate::net::Pacing;
use crate::net::pacing::MOST_OF_INTERVAL;
use crate::source::{CameraFormat, CameraSpec, ControlValue, FPS_RANGE, SourceSpec, SpecError};

/// Frames a second that `FrameRate()` keeps.
const ADAPT_MIN: f64 = 5.0;
/// The keys of `Camera(...)` that a stream does not have.
pub(super) const CAMERA_KEYS: &[&str] = &["device", "format", "size", "sampling", "controls"];

/// A kind with several forms: `read` gets the form's name and what follows it.
fn choice<T>(
    expected: impl Into<String>,
    read: impl Fn(&str, &str, &mut Mistakes<'_>) -> Read<T> + 'static,
) -> Kind<T> {
    Kind::new(expected, move |text, mistakes| {
        let (name, rest) = raw::variant(text);
        read(name, rest, mistakes)
    })
}

fn fields(text: &str) -> Read<Fields<'_>> {
    raw::read(text).map_err(|_| None)
}

/// The value of the only key in `(key: value)`, if given. `place` says where the key is.
fn only_key<T>(
    place: &str,
    text: &str,
    key: &'static str,
    kind: &Kind<T>,
    mistakes: &mut Mistakes<'_>,
) -> Read<Option<T>> {
    let mut fields = fields(text)?;
    let value = mistakes.take(&mut fields, key, kind);
    mistakes.finish(place, &fields, None);
    Ok(value)
}

/// `Auto`, `Off` or a share of the frame interval.
pub(super) fn pacing() -> Kind<Pacing> {
    let fraction = share(MOST_OF_INTERVAL);
    let limits = fraction.limits.clone();
    let expected = format!("Auto, Off or Spread(SHARE), {limits}");
    choice(expected, move |name, rest, mistakes| match (name, rest) {
        ("Auto", "") => Ok(Pacing::Auto),
        ("Off", "") => Ok(Pacing::Off),
        ("Spread", _) => fraction.in_brackets(rest, mistakes).map(Pacing::Spread),
        _ => Err(None),
    })
    .on_line(
        format!("auto, off or a number {limits}"),
        |word| match word {
            "auto" => Ok("Auto".to_owned()),
            "off" => Ok("Off".to_owned()),
            number => Ok(format!("Spread({})", number_word(number)?)),
        },
    )
    .limited(limits)
}

/// `Off`, a share, or `Auto` with the largest share.
pub(super) fn repair() -> Kind<Repair> {
    let fixed = share(1.0);
    let limits = fixed.limits.clone();
    let expected = format!("Off, Fixed(SHARE) or Auto(max: SHARE), {limits}");
    choice(expected, move |name, rest, mistakes| match (name, rest) {
        ("Off", "") => Ok(Repair::Off),
        ("Fixed", _) => fixed.in_brackets(rest, mistakes).map(Repair::Fixed),
        ("Auto", _) => {
            let max = only_key("Auto(...)", rest, "max", &fixed, mistakes)?;
            let max = max.unwrap_or(REPAIR_AUTO_MAX);
            Ok(Repair::Auto { max })
        }
        _ => Err(None),
    })
    .on_line(
        format!("off, auto or a number {limits}"),
        |word| match word {
            "off" => Ok("Off".to_owned()),
            "auto" => Ok("Auto()".to_owned()),
            number => Ok(format!("Fixed({})", number_word(number)?)),
        },
    )
    .limited(limits)
}

/// `Off` or the lowest frame rate.
pub(super) fn adapt() -> Kind<Adapt> {
    let rate = real(FPS_RANGE);
    let limits = rate.limits.clone();
    let expected = format!("Off or FrameRate(min: FPS), {limits}");
    choice(expected, move |name, rest, mistakes| match (name, rest) {
        ("Off", "") => Ok(Adapt::Off),
        ("FrameRate", _) => {
            let min = only_key("FrameRate(...)", rest, "min", &rate, mistakes)?;
            let min = min.unwrap_or(ADAPT_MIN);
            Ok(Adapt::FrameRate { min })
        }
        _ => Err(None),
    })
    .limited(limits)
}

/// `None`, or how many viewers to wait for and how long.
pub(super) fn wait_for_viewers() -> Kind<Option<WaitForViewers>> {
    let (count, at_most_s) = (whole(1..=10_000), whole(1..=86_400));
    maybe(Kind::new(
        "numbers as in (count: 1, at_most_s: 10)",
        move |text, m| {
            let mut fields = fields(text)?;
            let wait = WaitForViewers {
                count: m.take(&mut fields, "count", &count).unwrap_or(1),
                at_most_s: m.take(&mut fields, "at_most_s", &at_most_s).unwrap_or(10),
            };
            m.finish("wait_for_viewers", &fields, None);
            Ok(wait)
        },
    ))
}

/// The status page: `Off`, or its address.
pub(super) fn status() -> Kind<Status> {
    let listen = text("127.0.0.1:8080", check::listen);
    let token = maybe(text("correct-horse", check::token));
    let embed = texts("https://ha.local", check::origin);
    let expected = "Off or On(listen: \"127.0.0.1:8080\", token: None, embed: [])";
    choice(expected, move |name, rest, m| match (name, rest) {
        ("Off", "") => Ok(Status::Off),
        ("On", _) => {
            let mut fields = fields(rest)?;
            let status = Status::On {
                listen: m
                    .take(&mut fields, "listen", &listen)
                    .unwrap_or(DEFAULT_STATUS),
                token: m.take(&mut fields, "token", &token).flatten(),
                embed: m.take(&mut fields, "embed", &embed).unwrap_or_default(),
            };
            m.finish("On(...)", &fields, None);
            Ok(status)
        }
        _ => Err(None),
    })
}

/// RTSP: `Off`, or its address.
pub(super) fn rtsp() -> Kind<Option<SocketAddr>> {
    let listen = text("[::]:8554", check::listen_rtsp);
    let expected = "Off or On(listen: \"[::]:8554\")";
    choice(expected, move |name, rest, m| match (name, rest) {
        ("Off", "") => Ok(None),
        ("On", _) => {
            let address = only_key("On(...)", rest, "listen", &listen, m)?;
            Ok(Some(address.unwrap_or(DEFAULT_RTSP)))
        }
        _ => Err(None),
    })
}

/// Users with their passwords, or the file that has them.
pub(super) fn users() -> Kind<UsersFrom> {
    let file = path("/etc/lancam/users");
    let expected = "{\"NAME\": \"PASSWORD\"} or File(\"/etc/lancam/users\")";
    choice(expected, move |name, rest, m| match name {
        "File" => file.in_brackets(rest, m).map(UsersFrom::File),
        "" => {
            let all: BTreeMap<String, String> = raw::read(rest).map_err(|_| None)?;
            let mut users = Users::default();
            for (name, password) in &all {
                users.add(name, password).map_err(Some)?;
            }
            Ok(UsersFrom::Config(users))
        }
        _ => Err(None),
    })
}

/// Where the pictures come from.
pub(super) fn source() -> Kind<SourceSpec> {
    let file = text("clip.avi", |text| {
        check::path(text).map(|path| SourceSpec::File { path })
    });
    let pattern = text("1280x720@30", |text| {
        let spec = format!("pattern:{text}").parse();
        spec.map_err(|why| match why {
            SpecError::Pattern(_) => "expected WIDTHxHEIGHT@FPS, such as 1280x720@30".to_owned(),
            other => other.to_string(),
        })
    });
    let exec = text("rpicam-vid ...", |text| match text.trim() {
        "" => Err("the command is empty".to_owned()),
        _ => spec(&format!("exec:{text}")),
    });
    let expected = "Camera(device: \"/dev/video0\"), File(\"clip.avi\"), Pattern(\"1280x720@30\"), \
                    Exec(\"rpicam-vid ...\") or Stdin";
    choice(expected, move |name, rest, mistakes| {
        let kind = match (name, rest) {
            ("Camera", _) => return camera(rest, mistakes),
            ("Stdin", "") => return Ok(SourceSpec::Stdin),
            ("File", _) => &file,
            ("Pattern", _) => &pattern,
            ("Exec", _) => &exec,
            _ => return Err(None),
        };
        let value = raw::only(rest).ok_or(None)?;
        let spec = mistakes.read(name, value, kind);
        Ok(spec.unwrap_or(SourceSpec::Stdin))
    })
    .on_line("", |word| Ok(to_ron(&spec(word)?)))
}

/// A source as written on the command line.
fn spec(word: &str) -> Result<SourceSpec, String> {
    word.parse().map_err(|why: SpecError| why.to_string())
}

/// A source as written in the file.
fn to_ron(spec: &SourceSpec) -> String {
    let quoted = |path: &Path| raw::quoted(&path.to_string_lossy());
    match spec {
        SourceSpec::Camera(camera) => format!("Camera(device: {})", quoted(&camera.device)),
        SourceSpec::File { path } => format!("File({})", quoted(path)),
        SourceSpec::Pattern { width, height, fps } => {
            format!("Pattern(\"{width}x{height}@{fps}\")")
        }
        SourceSpec::Exec { command } => format!("Exec({})", raw::quoted(command)),
        SourceSpec::Stdin => "Stdin".to_owned(),
    }
}

fn camera(text: &str, mistakes: &mut Mistakes<'_>) -> Read<SourceSpec> {
    let mut fields = fields(text)?;
    let mut camera = CameraSpec::new("auto");
    let f = &mut fields;
    let device = mistakes.take(f, "device", &path("/dev/video0"));
    camera.device = device.unwrap_or(camera.device);
    let format = mistakes.take(f, "format", &format());
    camera.format = format.unwrap_or(camera.format);
    let size = maybe(size(1..=65_535));
    camera.size = mistakes.take(f, "size", &size).flatten();
    camera.fps = mistakes.take(f, "fps", &maybe(real(FPS_RANGE))).flatten();
    let sampling = mistakes.take(f, "sampling", &sampling());
    camera.sampling = sampling.unwrap_or(camera.sampling);
    let controls = mistakes.take(f, "controls", &controls());
    camera.controls = controls.unwrap_or_default();
    mistakes.finish("Camera(...)", &fields, None);
    Ok(SourceSpec::Camera(camera))
}

fn format() -> Kind<CameraFormat> {
    choice("Auto, Mjpeg, Yuyv, Nv12, Yu12 or Rgb3", |name, rest, _| {
        Ok(match (name, rest) {
            ("Auto", "") => CameraFormat::Auto,
            ("Mjpeg", "") => CameraFormat::Mjpeg,
            ("Yuyv", "") => CameraFormat::Yuyv,
            ("Nv12", "") => CameraFormat::Nv12,
            ("Yu12", "") => CameraFormat::Yu12,
            ("Rgb3", "") => CameraFormat::Rgb3,
            _ => return Err(None),
        })
    })
}

fn sampling() -> Kind<Sampling> {
    choice("Yuv420 or Yuv422", |name, rest, _| match (name, rest) {
        ("Yuv420", "") => Ok(Sampling::Yuv420),
        ("Yuv422", "") => Ok(Sampling::Yuv422),
        _ => Err(None),
    })
}

/// A camera's controls by name.
fn controls() -> Kind<BTreeMap<String, ControlValue>> {
    let expected = "controls by name, such as {\"gain\": 32, \"exposure_auto\": \"manual\"}";
    Kind::new(expected, |text, mistakes| {
        let values: BTreeMap<String, &RawValue> = raw::read(text).map_err(|_| None)?;
        let values = values.into_iter().filter_map(|(name, value)| {
            let value = mistakes.read(&name, value.get_ron(), &control())?;
            Some((name, value))
        });
        Ok(values.collect())
    })
}

fn control() -> Kind<ControlValue> {
    Kind::new(
        "a whole number, true, false or text in quotes",
        |text, _| {
            let number = raw::read(text).map(ControlValue::Number);
            let switch = || raw::read::<bool>(text).map(|on| ControlValue::Number(on.into()));
            let label = || raw::read(text).map(ControlValue::Text);
            number
                .or_else(|_| switch())
                .or_else(|_| label())
                .map_err(|_| None)
        },
    )
}

/// A source in words.
pub(super) fn in_words(spec: &SourceSpec) -> String {
    match spec {
        SourceSpec::Pattern { width, height, fps } => {
            format!("the test pattern, {width}x{height}, {fps} fps")
        }
        SourceSpec::File { path } => format!("the file {}", path.display()),
        SourceSpec::Stdin => "MJPEG from standard input".to_owned(),
        SourceSpec::Exec { command } => format!("MJPEG from the command `{command}`"),
        SourceSpec::Camera(spec) => camera_in_words(spec),
    }
}

fn camera_in_words(camera: &CameraSpec) -> String {
    let mut text = if camera.device == Path::new("auto") {
        "the only camera".to_owned()
    } else {
        format!("the camera {}", camera.device.display())
    };
    text += match camera.format {
        CameraFormat::Auto => ", MJPEG if it has that",
        CameraFormat::Mjpeg => ", MJPEG",
        CameraFormat::Yuyv => ", YUYV, encoded here",
        CameraFormat::Nv12 => ", NV12, encoded here",
        CameraFormat::Yu12 => ", YU12, encoded here",
        CameraFormat::Rgb3 => ", RGB, encoded here",
    };
    if let Some((width, height)) = camera.size {
        text += &format!(", {width}x{height}");
    }
    if let Some(fps) = camera.fps {
        text += &format!(", {fps} fps");
    }
    for (name, value) in &camera.controls {
        text += &match value {
            ControlValue::Number(n) => format!(", {name}={n}"),
            ControlValue::Text(t) => format!(", {name}={t}"),
        };
    }
    text
}
