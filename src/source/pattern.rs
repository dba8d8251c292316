//! The built-in test picture: colour bars, a sweeping bar and a bouncing box over them, the time of
//! day and the frame's number in large digits, and both again as black and white blocks along the
//! bottom edge, which a program can read off any viewer's picture. It makes delay and loss visible
//! and measurable.
//!
//! Drawn in YUV and encoded in place. Each frame is ready before it is due; its clock shows the due
//! time, so that a viewer measures the network, not this encoder.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::canvas::{Canvas, Colour, Encoder, Rect};
use super::frame::{Frame, OpenOptions, Source, SourceError, fps_text};
use super::pacer::Pacer;
use super::spec::SourceSpec;
use crate::clock::Mono;
use crate::font::{Font, SMALLEST};
use crate::jpeg::Sampling;

const QUALITY: i32 = 80;
/// The sweeping bar crosses the picture in this time; the box has its own.
const SWEEP_SECONDS: f64 = 4.0;
const BOX_SECONDS: (f64, f64) = (5.0, 3.1);

/// As wide as a large line of text gets.
const LONGEST: &str = "00:00:00.000 UTC";

const PANEL: Colour = Colour::grey(24);
const WHITE: Colour = Colour::grey(235);
const BLACK: Colour = Colour::grey(16);
const SOFT: Colour = Colour::grey(150);

/// The moving test picture.
pub struct Pattern {
    painter: Painter,
    encoder: Encoder,
    pacer: Pacer,
    counter: u32,
}

impl Pattern {
    /// A pattern of `width` x `height` pixels, `fps` frames a second.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] for a size or rate out of range (see [`SourceSpec::pattern`]).
    pub fn new(
        width: u32,
        height: u32,
        fps: f64,
        sampling: Sampling,
        options: &OpenOptions,
    ) -> Result<Pattern, SourceError> {
        let unusable = |why: String| SourceError::Unusable(why);
        SourceSpec::pattern(width, height, fps).map_err(|e| unusable(e.to_string()))?;
        let encoder = Encoder::new(QUALITY).map_err(|e| unusable(format!("pattern: {e}")))?;
        Ok(Pattern {
            painter: Painter::new(
                width as usize,
                height as usize,
                fps,
                sampling,
                &options.name,
            ),
            encoder,
            pacer: Pacer::new(fps, options.stop.clone()),
            counter: 0,
        })
    }
}

impl Source for Pattern {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let due = self.pacer.plan(Mono::now());
        self.painter.paint(self.counter, due.to_wall());
        let data = self
            .encoder
            .encode(&self.painter.canvas)
            .map_err(|e| SourceError::Failed(format!("the pattern could not be encoded: {e}")))?;
        self.pacer.wait_until(due)?;
        self.counter = self.counter.wrapping_add(1);
        Ok(Some(Frame {
            data,
            captured: due,
            missed: 0,
            flagged: false,
            is_split: true,
            owner: None,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let canvas = &self.painter.canvas;
        format!(
            "pattern {}x{} at {} fps",
            canvas.width(),
            canvas.height(),
            self.pacer.fps()
        )
    }
}

/// Draws the picture, repainting only what moves.
struct Painter {
    canvas: Canvas,
    layout: Layout,
    bars: [Colour; 8],
    fps: f64,
    sweep: Rect,
    bouncer: Rect,
    large: Font,
    /// A line of text being composed: reused, so that a frame allocates nothing.
    text: String,
}

/// Where the parts of the picture are.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Height of the colour bars at the top.
    bars: usize,
    /// The grey steps below them.
    steps: Rect,
    /// Left edge of the text, and the top of each of its three lines.
    text_x: usize,
    lines: [usize; 3],
    /// Size of the first two lines, and of the last.
    large: usize,
    small: usize,
    strip: Option<Strip>,
}

impl Layout {
    fn new(width: usize, height: usize) -> Layout {
        let strip = Strip::new(width, height);
        let bottom = strip.map_or(height, |strip| strip.y);
        let bars = (height * 50 / 100) & !1;
        let steps = Rect {
            x: 0,
            y: bars,
            w: width,
            h: (height / 24) & !1,
        };
        let top = steps.y + steps.h;
        // Two large lines, a small one of a third of their size, four gaps.
        let room = bottom - top;
        let large = Font::fitting(LONGEST, width * 9 / 10, room * 10 / 30);
        let small = Font::new((large.size() / 3).max(SMALLEST));
        let used = 2 * large.height() + small.height();
        let gap = room.saturating_sub(used) / 4;
        let lines = [0, 1, 2].map(|n| top + gap * (n + 1) + n * large.height());
        let (large, small) = (large.size(), small.size());
        let text_x = width / 20;
        Layout {
            bars,
            steps,
            text_x,
            lines,
            large,
            small,
            strip,
        }
    }
}

impl Painter {
    fn new(width: usize, height: usize, fps: f64, sampling: Sampling, name: &str) -> Painter {
        let nowhere = Rect {
            x: 0,
            y: 0,
            w: 0,
            h: 0,
        };
        let layout = Layout::new(width, height);
        let mut painter = Painter {
            canvas: Canvas::new(width, height, sampling),
            large: Font::new(layout.large),
            layout,
            bars: bar_colours(),
            fps,
            sweep: nowhere,
            bouncer: nowhere,
            text: String::new(),
        };
        painter.paint_ground(name);
        painter
    }

    /// What never moves.
    fn paint_ground(&mut self, name: &str) {
        let (width, height) = (self.canvas.width(), self.canvas.height());
        let Layout {
            bars,
            steps,
            text_x,
            lines,
            small,
            ..
        } = self.layout;
        self.canvas.fill(
            Rect {
                x: 0,
                y: 0,
                w: width,
                h: height,
            },
            PANEL,
        );
        self.restore_bars(Rect {
            x: 0,
            y: 0,
            w: width,
            h: bars,
        });
        for n in 0..16 {
            let (x0, x1) = (
                (width * n / 16) & !1,
                (width * (n + 1) / 16).next_multiple_of(2),
            );
            let shade = Colour::grey((n * 17) as u8);
            self.canvas.fill(
                Rect {
                    x: x0,
                    y: steps.y,
                    w: x1 - x0,
                    h: steps.h,
                },
                shade,
            );
        }
        let facts = format!("{name}  {width}x{height}  {} fps", fps_text(self.fps));
        let mut small = Font::new(small);
        self.canvas
            .text(text_x, lines[2], &mut small, facts.trim_start(), SOFT);
        if let Some(strip) = self.layout.strip {
            strip.paint_sync(&mut self.canvas);
        }
    }

    /// Paints frame `counter` with the time `at`.
    fn paint(&mut self, counter: u32, at: SystemTime) {
        self.restore_bars(self.sweep);
        self.restore_bars(self.bouncer);
        self.move_things(counter);
        self.canvas.fill(self.sweep, WHITE);
        self.paint_bouncer();

        let ms = at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        let lines = self.layout.lines;
        self.line(lines[0], format_args!("{} UTC", TimeOfDay(ms)));
        self.line(lines[1], format_args!("frame {counter}"));
        if let Some(strip) = self.layout.strip {
            strip.paint(&mut self.canvas, counter, ms);
        }
    }

    /// Draws a line of large text over the old one.
    fn line(&mut self, y: usize, text: fmt::Arguments<'_>) {
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
        let x = self.layout.text_x;
        let ground = Rect {
            x,
            y,
            w: self.canvas.width().saturating_sub(x),
            h: self.large.height(),
        };
        self.canvas.fill(ground, PANEL);
        self.canvas.text(x, y, &mut self.large, &self.text, WHITE);
    }

    /// Redraws the bars where something moved away.
    fn restore_bars(&mut self, area: Rect) {
        let width = self.canvas.width();
        for (n, &colour) in self.bars.iter().enumerate() {
            // Even edges: a chroma sample belongs to one bar.
            let (x0, x1) = (
                (width * n / 8) & !1,
                (width * (n + 1) / 8).next_multiple_of(2),
            );
            let (x0, x1) = (x0.max(area.x), x1.min(area.x + area.w));
            if x0 < x1 {
                self.canvas.fill(
                    Rect {
                        x: x0,
                        y: area.y,
                        w: x1 - x0,
                        h: area.h,
                    },
                    colour,
                );
            }
        }
    }

    /// Where the sweep and the box are at frame `counter`. All edges are even.
    fn move_things(&mut self, counter: u32) {
        let (width, bars) = (self.canvas.width(), self.layout.bars);
        let seconds = f64::from(counter) / self.fps;
        let x = ((seconds / SWEEP_SECONDS).fract() * width as f64) as usize & !1;
        self.sweep = Rect {
            x,
            y: 0,
            w: (width / 96).max(1) * 2,
            h: bars,
        };
        let side = (bars / 4) & !1;
        let bounce = |period: f64, room: usize| {
            let phase = (seconds / period).fract() * 2.0;
            ((if phase > 1.0 { 2.0 - phase } else { phase }) * room as f64) as usize & !1
        };
        self.bouncer = Rect {
            x: bounce(BOX_SECONDS.0, width.saturating_sub(side)),
            y: bounce(BOX_SECONDS.1, bars - side),
            w: side,
            h: side,
        };
    }

    /// A white box with a black frame and core: visible over every bar.
    fn paint_bouncer(&mut self) {
        let Rect { x, y, w, h } = self.bouncer;
        let inset = |by: usize| Rect {
            x: x + by,
            y: y + by,
            w: w.saturating_sub(2 * by),
            h: h.saturating_sub(2 * by),
        };
        let edge = (w / 8) & !1;
        self.canvas.fill(inset(0), BLACK);
        self.canvas.fill(inset(edge), WHITE);
        self.canvas.fill(inset(3 * edge), BLACK);
    }
}

/// White, yellow, cyan, green, magenta, red, blue, black at three quarters.
fn bar_colours() -> [Colour; 8] {
    [7u8, 6, 3, 2, 5, 4, 1, 0].map(|bits| {
        let level = |bit: u8| if bits & bit == 0 { 0 } else { 191 };
        Colour::rgb(level(4), level(2), level(1))
    })
}

/// `HH:MM:SS.mmm`, UTC, of a time in milliseconds since 1970.
pub(super) struct TimeOfDay(pub(super) u64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, milli) = (self.0 / 1000, self.0 % 1000);
        let (h, m, s) = (s / 3600 % 24, s / 60 % 60, s % 60);
        write!(f, "{h:02}:{m:02}:{s:02}.{milli:03}")
    }
}

/// The blocks along the bottom edge: three rows of 36. Each row begins with white, black and ends
/// with black, white; between them stand 32 bits, the highest first, white for 1. The rows are the
/// frame counter; a check of 16 bits with bits 47..32 of the time; bits 31..0 of the time, in
/// milliseconds since 1970. Blocks are on the JPEG's own 8 x 8 grid, so that each is flat.
#[derive(Clone, Copy, Debug)]
struct Strip {
    x: usize,
    y: usize,
    block: usize,
}

impl Strip {
    const BITS: usize = 32;
    const COLUMNS: usize = Strip::BITS + 4;
    const ROWS: usize = 3;
    /// The columns with the fixed blocks, and whether they are white.
    const SYNC: [(usize, bool); 4] = [(0, true), (1, false), (34, false), (35, true)];

    /// Its place in a picture; `None` if the picture is too small.
    fn new(width: usize, height: usize) -> Option<Strip> {
        let block = (width / Strip::COLUMNS).min(height / 30) / 8 * 8;
        if block == 0 {
            return None;
        }
        Some(Strip {
            x: (width - Strip::COLUMNS * block) / 2 / 8 * 8,
            y: height / 8 * 8 - Strip::ROWS * block,
            block,
        })
    }

    fn rows(counter: u32, ms: u64) -> [u32; Strip::ROWS] {
        let high = (ms >> 32) as u32 & 0xffff;
        let low = ms as u32;
        [
            counter,
            u32::from(check(counter, high, low)) << 16 | high,
            low,
        ]
    }

    fn paint_sync(self, canvas: &mut Canvas) {
        for row in 0..Strip::ROWS {
            for (column, white) in Strip::SYNC {
                self.paint_block(canvas, row, column, white);
            }
        }
    }

    fn paint(self, canvas: &mut Canvas, counter: u32, ms: u64) {
        for (row, bits) in Strip::rows(counter, ms).into_iter().enumerate() {
            for bit in 0..Strip::BITS {
                self.paint_block(canvas, row, bit + 2, bits >> (31 - bit) & 1 == 1);
            }
        }
    }

    fn paint_block(self, canvas: &mut Canvas, row: usize, column: usize, white: bool) {
        let (x, y) = (self.x + column * self.block, self.y + row * self.block);
        let colour = if white { WHITE } else { BLACK };
        canvas.fill(
            Rect {
                x,
                y,
                w: self.block,
                h: self.block,
            },
            colour,
        );
    }

    /// Whether a block of an RGB picture is white, by the mean green of its inner half.
    fn is_white(self, rgb: &[u8], width: usize, row: usize, column: usize) -> bool {
        let (x, y) = (self.x + column * self.block, self.y + row * self.block);
        let inner = self.block / 4..self.block * 3 / 4;
        let mut sum = 0;
        for dy in inner.clone() {
            for dx in inner.clone() {
                sum += usize::from(rgb[((y + dy) * width + x + dx) * 3 + 1]);
            }
        }
        sum > 128 * inner.len() * inner.len()
    }
}

/// A 16-bit check that detects a damaged strip.
fn check(counter: u32, high: u32, low: u32) -> u16 {
    let mut sum = 0x811c_9dc5u32; // FNV-1a
    for byte in [counter, high, low]
        .iter()
        .flat_map(|word| word.to_be_bytes())
    {
        sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (sum >> 16 ^ sum) as u16
}

/// Reads the frame counter and the capture time (milliseconds since 1970) off a decoded pattern:
/// `rgb` holds `width` x `height` pixels of three bytes without padding. `None` if the picture is
/// too small for a strip (under 288 x 240), not the pattern, or the strip is damaged.
pub fn read_strip(rgb: &[u8], width: usize, height: usize) -> Option<(u32, u64)> {
    let strip = Strip::new(width, height)?;
    if rgb.len() < width * height * 3 {
        return None;
    }
    let mut rows = [0u32; Strip::ROWS];
    for (row, bits) in rows.iter_mut().enumerate() {
        let read = |column| strip.is_white(rgb, width, row, column);
        if Strip::SYNC
            .iter()
            .any(|&(column, white)| read(column) != white)
        {
            return None;
        }
        *bits = (0..Strip::BITS).fold(0, |bits, bit| bits << 1 | u32::from(read(bit + 2)));
    }
    let [counter, middle, low] = rows;
    let high = middle & 0xffff;
    let whole = middle >> 16 == u32::from(check(counter, high, low));
    whole.then_some((counter, u64::from(high) << 32 | u64::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> OpenOptions {
        OpenOptions {
            name: "porch".into(),
            fps: None,
            looped: false,
            stop: Default::default(),
        }
    }

    fn picture(width: usize, height: usize, sampling: Sampling, counter: u32, ms: u64) -> Vec<u8> {
        let mut painter = Painter::new(width, height, 30.0, sampling, "porch");
        // Frames before it leave nothing behind.
        for n in counter.saturating_sub(40)..=counter {
            painter.paint(n, UNIX_EPOCH + Duration::from_millis(ms));
        }
        let jpeg = Encoder::new(QUALITY)
            .unwrap()
            .encode(&painter.canvas)
            .unwrap()
            .to_vec();
        if let Ok(folder) = std::env::var("LANCAM_PICTURES") {
            std::fs::write(format!("{folder}/{width}x{height}-{sampling:?}.jpg"), &jpeg).unwrap();
        }
        jpeg
    }

    #[test]
    fn the_strip_is_read_back_at_every_size() {
        for (width, height) in [
            (288, 240),
            (322, 242),
            (640, 480),
            (1280, 720),
            (1920, 1080),
            (3840, 2160),
        ] {
            for sampling in [Sampling::Yuv422, Sampling::Yuv420] {
                for (counter, ms) in [(0, 0), (0xdead_beef, 1_790_000_123_456), (77, 1 << 47)] {
                    let jpeg = picture(width, height, sampling, counter, ms);
                    let image = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).unwrap();
                    let (w, h) = (image.width, image.height);
                    assert_eq!((w, h), (width, height));
                    let strip = read_strip(&image.pixels, w, h);
                    assert_eq!(strip, Some((counter, ms)), "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_strip_is_refused() {
        let jpeg = picture(640, 480, Sampling::Yuv422, 1234, 1_790_000_123_456);
        let image = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).unwrap();
        let strip = Strip::new(640, 480).unwrap();
        for (row, column) in [(0, 0), (0, 20), (1, 3), (2, 30), (2, 35)] {
            let mut rgb = image.pixels.clone();
            let invert = strip.is_white(&rgb, 640, row, column);
            for y in 0..strip.block {
                for x in 0..strip.block {
                    let (x, y) = (
                        strip.x + column * strip.block + x,
                        strip.y + row * strip.block + y,
                    );
                    rgb[(y * 640 + x) * 3..][..3].fill(if invert { 0 } else { 255 });
                }
            }
            assert_eq!(read_strip(&rgb, 640, 480), None, "block {row}, {column}");
        }
        assert_eq!(read_strip(&image.pixels[..1000], 640, 480), None);
        assert_eq!(read_strip(&[], 8, 8), None);
    }

    #[test]
    fn every_legal_size_can_be_painted() {
        for (width, height) in [(16, 16), (17, 8192), (8192, 16), (33, 47), (255, 2000)] {
            picture(width, height, Sampling::Yuv420, 5, 0);
        }
    }

    #[test]
    fn frames_come_in_order_and_on_time() {
        let mut pattern = Pattern::new(320, 240, 200.0, Sampling::Yuv422, &options()).unwrap();
        let mut first = None;
        for n in 0..20 {
            let interval = pattern.interval().unwrap();
            let frame = pattern.next().unwrap().unwrap();
            let lent = Mono::now();
            let image = turbojpeg::decompress(frame.data, turbojpeg::PixelFormat::RGB).unwrap();
            let (counter, ms) = read_strip(&image.pixels, 320, 240).unwrap();
            assert_eq!(counter, n);
            let first = *first.get_or_insert(frame.captured);
            assert!(frame.captured >= first + interval * n, "never early");
            assert!(lent >= frame.captured, "lent before it was due");
            let wall = frame
                .captured
                .to_wall()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis();
            assert!(wall.abs_diff(u128::from(ms)) <= 1, "{wall} {ms}");
        }
    }

    #[test]
    fn a_stopped_pattern_says_so() {
        let options = options();
        let mut pattern = Pattern::new(64, 64, 0.1, Sampling::Yuv422, &options).unwrap();
        assert!(pattern.next().is_ok());
        options.stop.raise();
        assert!(matches!(pattern.next(), Err(SourceError::Stopped)));
    }

    #[test]
    fn the_time_of_day_is_utc() {
        assert_eq!(TimeOfDay(0).to_string(), "00:00:00.000");
        assert_eq!(TimeOfDay(1_790_000_123_456).to_string(), "14:15:23.456");
    }
}
