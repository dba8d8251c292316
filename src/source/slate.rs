//! The slate: the "no signal" picture that viewers see while a source has none, with the reason and
//! the time. Drawn at most once a second: it allocates and encodes as it goes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::canvas::{Canvas, Colour, Encoder, GLYPH, Rect, text_width};
use super::frame::SourceError;
use super::pattern::TimeOfDay;
use super::spec::{PATTERN_MAX, PATTERN_MIN};
use crate::jpeg::Sampling;

/// Time from one slate to the next.
pub const PERIOD: Duration = Duration::from_secs(1);

const QUALITY: i32 = 80;
/// Lines that the reason may take before it is truncated.
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
    let large = (width * 2 / 3 / (9 * GLYPH)).min(height / 6 / GLYPH).max(1);
    let small = large.div_ceil(4);
    let line = small * GLYPH * 3 / 2;
    let columns = width * 9 / 10 / (small * GLYPH);

    let ms = at
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64;
    let clock = format!("{} UTC", &TimeOfDay(ms).to_string()[..8]);
    let reason = wrap(reason, columns, REASON_LINES);
    let all = 2 * line + large * GLYPH + line + line * reason.len() + line;
    let mut y = height.saturating_sub(all) / 2;

    centred(canvas, y, small, name, TEXT);
    y += 2 * line;
    centred(canvas, y, large, "no signal", TITLE);
    y += large * GLYPH + line;
    for text in &reason {
        centred(canvas, y, small, text, TEXT);
        y += line;
    }
    centred(canvas, y + line / 2, small, &clock, TEXT);
}

fn centred(canvas: &mut Canvas, y: usize, scale: usize, text: &str, colour: Colour) {
    let x = canvas.width().saturating_sub(text_width(text, scale)) / 2;
    canvas.text(x, y, scale, text, colour);
}

/// Breaks `text` at spaces into lines of at most `columns` characters; words that are longer are
/// cut across lines (a device path is one). Text beyond `most` lines ends in `...`.
fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let columns = columns.max(4);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let chars: Vec<char> = word.chars().collect();
        for piece in chars.chunks(columns) {
            let used = lines.last().map_or(0, |line| line.chars().count());
            if used > 0 && used + 1 + piece.len() > columns {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.extend(piece);
            }
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = last
                .chars()
                .take(columns - 3)
                .chain("...".chars())
                .collect();
        }
    }
    lines
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

    #[test]
    fn text_is_wrapped() {
        assert_eq!(wrap("a bc def", 4, 9), ["a bc", "def"]);
        assert_eq!(wrap("abcdefghij k", 4, 9), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("one two three four", 5, 2), ["one", "tw..."]);
        assert_eq!(wrap("", 5, 2), [""]);
    }
}
