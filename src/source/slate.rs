//! The slate: the "no signal" picture that viewers see while a source has none, with the reason and
//! the time. Drawn at most once a second: it allocates and encodes as it goes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::canvas::{Canvas, Colour, Encoder, Rect};
use super::frame::SourceError;
use super::pattern::TimeOfDay;
use super::spec::{PATTERN_MAX, PATTERN_MIN};
use crate::font::{Font, SMALLEST};
use crate::jpeg::Sampling;

/// Time from one slate to the next.
pub const PERIOD: Duration = Duration::from_secs(1);

const QUALITY: i32 = 80;
/// Lines that name and reason may take before they are truncated.
const NAME_LINES: usize = 2;
const REASON_LINES: usize = 5;

const GROUND: Colour = Colour::grey(28);
const TITLE: Colour = Colour::grey(235);
const TEXT: Colour = Colour::grey(170);

/// A JPEG of `size` (width and height in pixels, the stream's own where it is known; brought into
/// 16 to 8192) with the stream's name, "no signal", the reason and the time `at`.
///
/// # Errors
/// [`SourceError::Failed`] if turbojpeg fails: out of memory, in practice.
pub fn no_signal(
    name: &str,
    reason: &str,
    at: SystemTime,
    size: (u32, u32),
) -> Result<Vec<u8>, SourceError> {
    let side = |n: u32| n.clamp(PATTERN_MIN, PATTERN_MAX) as usize;
    let mut canvas = Canvas::new(side(size.0), side(size.1), Sampling::Yuv422);
    paint(&mut canvas, name, reason, at);
    let failed = |e| {
        SourceError::Failed(format!(
            "the \"no signal\" picture could not be encoded: {e}"
        ))
    };
    let mut encoder = Encoder::new(QUALITY).map_err(failed)?;
    Ok(encoder.encode(&canvas).map_err(failed)?.to_vec())
}

fn paint(canvas: &mut Canvas, name: &str, reason: &str, at: SystemTime) {
    let (width, height) = (canvas.width(), canvas.height());
    canvas.fill(
        Rect {
            x: 0,
            y: 0,
            w: width,
            h: height,
        },
        GROUND,
    );
    // A border, so that it does not pass for a dark camera picture.
    let edge = (width.min(height) / 120).max(1) * 2;
    for (x, y, w, h) in [
        (0, 0, width, edge),
        (0, height - edge, width, edge),
        (0, 0, edge, height),
        (width - edge, 0, edge, height),
    ] {
        canvas.fill(Rect { x, y, w, h }, Colour::rgb(200, 120, 0));
    }

    // "no signal" over two thirds of the width, the rest at a quarter of its size.
    let mut large = Font::fitting("no signal", width * 2 / 3, height / 5);
    let mut small = Font::new((large.size() / 4).max(SMALLEST + 4));
    let line = small.line();

    let ms = at
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64;
    let clock = format!("{} UTC", &TimeOfDay(ms).to_string()[..8]);
    let name = small.wrap(name, width * 9 / 10, NAME_LINES);
    let reason = small.wrap(reason, width * 9 / 10, REASON_LINES);
    let all = line * (name.len() + 1 + reason.len() + 2) + large.height();
    let mut y = height.saturating_sub(all) / 2;

    for text in &name {
        centred(canvas, y, &mut small, text, TEXT);
        y += line;
    }
    y += line;
    centred(canvas, y, &mut large, "no signal", TITLE);
    y += large.height() + line;
    for text in &reason {
        centred(canvas, y, &mut small, text, TEXT);
        y += line;
    }
    centred(canvas, y + line / 2, &mut small, &clock, TEXT);
}

fn centred(canvas: &mut Canvas, y: usize, font: &mut Font, text: &str, colour: Colour) {
    let x = canvas.width().saturating_sub(font.width(text)) / 2;
    canvas.text(x, y, font, text, colour);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slates_of_every_size_are_pictures_of_that_size() {
        let reason = "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920-video-index0 is not there: \
                      is the camera plugged in? The next try is in 2 s.";
        for (width, height) in [
            (16, 16),
            (322, 242),
            (640, 480),
            (1280, 720),
            (1920, 1080),
            (8192, 16),
        ] {
            let jpeg = no_signal("porch", reason, UNIX_EPOCH, (width, height)).unwrap();
            let header = turbojpeg::read_header(&jpeg).unwrap();
            assert_eq!((header.width as u32, header.height as u32), (width, height));
            if let Ok(folder) = std::env::var("LANCAM_PICTURES") {
                std::fs::write(format!("{folder}/slate-{width}x{height}.jpg"), &jpeg).unwrap();
            }
        }
        let jpeg = no_signal("", "", UNIX_EPOCH, (0, u32::MAX)).unwrap();
        assert_eq!(turbojpeg::read_header(&jpeg).unwrap().height, 8192);
    }
}
