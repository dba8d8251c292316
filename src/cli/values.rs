//! Values of flags that are not settings of the config.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::check::{self, number};
use crate::stats::StatsTo;
use crate::text::printable;
use crate::view::{Record, Target};

use super::usage::UsageError;

/// How many frames may be asked for.
pub(super) const FRAMES: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// A length of time in seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    number(check::NUMBER, 0.1..=3600.0)(text).map(Duration::from_secs_f64)
}

pub(super) fn stats_to(text: &str) -> Result<StatsTo, String> {
    match text {
        "" => Err("expected a file, or - for standard output".to_owned()),
        "-" => Ok(StatsTo::Stdout),
        path => Ok(StatsTo::File(PathBuf::from(path))),
    }
}

pub(super) fn record(text: &str) -> Result<Record, String> {
    if text == "-" {
        return Ok(Record::Stdout);
    }
    match extension(text).as_str() {
        "avi" => Ok(Record::Avi(PathBuf::from(text))),
        "mjpeg" | "mjpg" => Ok(Record::Mjpeg(PathBuf::from(text))),
        _ => Err("expected a name ending in .avi or .mjpeg, or - for standard output".to_owned()),
    }
}

pub(super) fn jpeg_path(text: &str) -> Result<PathBuf, String> {
    match extension(text).as_str() {
        "jpg" | "jpeg" => Ok(PathBuf::from(text)),
        _ => Err("expected a name ending in .jpg".to_owned()),
    }
}

/// The file name's extension, in lower case.
fn extension(path: &str) -> String {
    let extension = Path::new(path).extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

/// Which stream the text means.
pub(super) fn target(text: &str) -> Result<Target, UsageError> {
    if Path::new(text)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("sdp"))
    {
        return Ok(Target::Sdp(PathBuf::from(text)));
    }
    // As a player's command has it.
    let text = text.strip_prefix("rtp://").unwrap_or(text);
    if text.starts_with("/dev/") || Path::new(text).is_file() {
        let text = printable(text, usize::MAX);
        return Err(UsageError::Usage(format!(
            "\"{text}\" is a file, not a stream; to send it: lancam send --source '{text}'"
        )));
    }
    let named = match check::group(text) {
        Ok(group) => return Ok(Target::Group(group)),
        Err(why) if is_like_address(text) => Err(why),
        Err(_) => check::name(text),
    };
    named.map(Target::Name).map_err(|why| {
        let text = printable(text, usize::MAX);
        UsageError::Usage(format!("cannot watch \"{text}\": {why}"))
    })
}

/// Whether that was meant as an address, perhaps with a port: digits, dots and colons.
fn is_like_address(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || ".:[]".contains(c);
    text.starts_with('[') || text.contains(['.', ':']) && text.chars().all(is_part)
}
