//! Text on the picture: a panel of figures, one line of messages, and a large notice across the
//! middle. Draws on a window's pixels; clips at its edges; knows nothing of what the text means.

use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};

/// Side of a glyph in its own pixels.
const GLYPH: usize = 8;
/// From one line's top to the next, in glyph pixels.
const LINE: usize = 11;
/// Around the text, in glyph pixels.
const MARGIN: usize = 5;
const WHITE: u32 = 0x00ff_ffff;

/// The pixels of a window, 0x00RRGGBB, in rows without gaps.
#[derive(Debug)]
pub struct Canvas<'a> {
    pixels: &'a mut [u32],
    width: usize,
    height: usize,
}

impl<'a> Canvas<'a> {
    /// `pixels` as a canvas of `size` (width, height); rows that the slice does not hold are left out.
    pub fn new(pixels: &'a mut [u32], size: (usize, usize)) -> Canvas<'a> {
        let (width, height) = size;
        let rows = pixels.len().checked_div(width).unwrap_or(0);
        Canvas {
            pixels,
            width,
            height: height.min(rows),
        }
    }

    /// The panel of figures, in the upper left corner.
    pub fn panel<S: AsRef<str>>(&mut self, lines: &[S]) {
        let zoom = self.zoom();
        self.text_box(lines, zoom, |_, _| (2 * zoom, 2 * zoom));
    }

    /// One line at the bottom.
    pub fn message(&mut self, text: &str) {
        let zoom = self.zoom().min(self.widest_zoom(text));
        let (width, height) = (self.width, self.height);
        self.text_box(&[text], zoom, |w, h| {
            (
                width.saturating_sub(w) / 2,
                height.saturating_sub(h + 2 * zoom),
            )
        });
    }

    /// Large, across the middle of the picture.
    pub fn notice(&mut self, text: &str) {
        let zoom = (2 * self.zoom()).min(self.widest_zoom(text));
        let (width, height) = (self.width, self.height);
        self.text_box(&[text], zoom, |w, h| {
            (width.saturating_sub(w) / 2, height.saturating_sub(h) / 2)
        });
    }

    /// Screen pixels per glyph pixel that read well in this window.
    pub fn zoom(&self) -> usize {
        (self.width / 400).min(self.height / 300).max(1)
    }

    /// The largest zoom at which `text` fits across.
    fn widest_zoom(&self, text: &str) -> usize {
        let across = text.chars().count() * GLYPH + 2 * MARGIN;
        (self.width / across).max(1)
    }

    /// Text on a darkened box; `place` gets the box's size and says where its corner goes.
    fn text_box<S: AsRef<str>>(
        &mut self,
        lines: &[S],
        zoom: usize,
        place: impl FnOnce(usize, usize) -> (usize, usize),
    ) {
        let longest = lines.iter().map(|line| line.as_ref().chars().count()).max();
        let Some(longest) = longest.filter(|&chars| chars > 0) else {
            return;
        };
        let width = (longest * GLYPH + 2 * MARGIN) * zoom;
        let height = ((lines.len() - 1) * LINE + GLYPH + 2 * MARGIN) * zoom;
        let (left, top) = place(width, height);
        self.darken(left, top, width, height);
        for (row, line) in lines.iter().enumerate() {
            let y = top + (MARGIN + row * LINE) * zoom;
            self.text(line.as_ref(), left + MARGIN * zoom, y, zoom);
        }
    }

    /// A third of the brightness in a rectangle.
    fn darken(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let right = (left + width).min(self.width);
        for y in top..(top + height).min(self.height) {
            let row = &mut self.pixels[y * self.width..][..self.width];
            for pixel in row.iter_mut().take(right).skip(left) {
                // A quarter and a sixteenth; the masks keep one channel's bits out of the next.
                *pixel = ((*pixel >> 2) & 0x003f_3f3f) + ((*pixel >> 4) & 0x000f_0f0f);
            }
        }
    }

    fn glyph(&mut self, c: char, left: usize, top: usize, zoom: usize) {
        for (y, bits) in glyph_of(c).iter().enumerate() {
            // The lowest bit is the leftmost pixel.
            for x in (0..GLYPH).filter(|x| bits >> x & 1 == 1) {
                self.square(left + x * zoom, top + y * zoom, zoom);
            }
        }
    }

    fn square(&mut self, left: usize, top: usize, side: usize) {
        if left >= self.width {
            return;
        }
        let right = (left + side).min(self.width);
        for y in top..(top + side).min(self.height) {
            self.pixels[y * self.width + left..y * self.width + right].fill(WHITE);
        }
    }
}

/// What lists are drawn with.
impl Canvas<'_> {
    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// From one line's top to the next, in pixels.
    pub fn line_height(zoom: usize) -> usize {
        LINE * zoom
    }

    /// How wide `text` is, in pixels.
    pub fn text_width(text: &str, zoom: usize) -> usize {
        text.chars().count() * GLYPH * zoom
    }

    /// One line of text whose upper left corner is there.
    pub fn text(&mut self, text: &str, left: usize, top: usize, zoom: usize) {
        for (column, c) in text.chars().enumerate() {
            self.glyph(c, left + column * GLYPH * zoom, top, zoom);
        }
    }

    /// A rectangle of one colour.
    pub fn fill(&mut self, area: Area, colour: u32) {
        let right = (area.left + area.width).min(self.width);
        let left = area.left.min(right);
        for y in area.top..(area.top + area.height).min(self.height) {
            self.pixels[y * self.width + left..y * self.width + right].fill(colour);
        }
    }
}

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its left edge.
    pub left: usize,
    /// Its upper edge.
    pub top: usize,
    /// From its left edge to its right one.
    pub width: usize,
    /// From its upper edge to its lower one.
    pub height: usize,
}

impl Area {
    /// Whether the point is in it.
    pub fn has(&self, x: usize, y: usize) -> bool {
        (self.left..self.left + self.width).contains(&x)
            && (self.top..self.top + self.height).contains(&y)
    }
}

/// The glyph of `c`: Latin letters, figures and signs; a question mark for everything else.
fn glyph_of(c: char) -> [u8; GLYPH] {
    match c as usize {
        code @ 0..0x80 => BASIC_LEGACY[code],
        code @ 0xa0..0x100 => LATIN_LEGACY[code - 0xa0],
        _ => BASIC_LEGACY[usize::from(b'?')],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_glyph_is_drawn_as_the_font_has_it() {
        let mut pixels = vec![0; 40 * 40];
        Canvas::new(&mut pixels, (40, 40)).glyph('L', 4, 6, 1);
        let mut want = vec![0; 40 * 40];
        for (y, bits) in BASIC_LEGACY[usize::from(b'L')].iter().enumerate() {
            for x in 0..8 {
                if bits & (1 << x) != 0 {
                    want[(6 + y) * 40 + 4 + x] = WHITE;
                }
            }
        }
        assert_eq!(pixels, want);
        assert!(pixels.contains(&WHITE));
    }

    #[test]
    fn the_box_lets_the_picture_shine_through() {
        let mut pixels = vec![0x00ff_8040; 200 * 100];
        Canvas::new(&mut pixels, (200, 100)).panel(&["x"]);
        let darkened = pixels[3 * 200 + 3];
        assert!((0x40..0x60).contains(&(darkened >> 16)), "{darkened:06x}");
        assert!(
            (0x20..0x30).contains(&(darkened >> 8 & 0xff)),
            "{darkened:06x}"
        );
        assert_eq!(pixels[50 * 200 + 199], 0x00ff_8040);
    }

    #[test]
    fn the_notice_is_centred_and_larger_than_the_message() {
        let extent = |draw: fn(&mut Canvas<'_>)| {
            let mut pixels = vec![0; 1280 * 720];
            draw(&mut Canvas::new(&mut pixels, (1280, 720)));
            let lit = pixels.iter().enumerate().filter(|(_, p)| **p == WHITE);
            let xs: Vec<usize> = lit.map(|(i, _)| i % 1280).collect();
            (
                *xs.iter().min().expect("text"),
                *xs.iter().max().expect("text"),
            )
        };
        let (left, right) = extent(|canvas| canvas.notice("no signal since 12 s"));
        assert!((left + right).abs_diff(1280) < 32, "{left}..{right}");
        let (small_left, small_right) = extent(|canvas| canvas.message("no signal since 12 s"));
        assert!(right - left > 3 * (small_right - small_left) / 2);
    }

    proptest! {
        #[test]
        fn no_text_and_no_size_breaks_it(text in ".{0,80}", width in 0usize..300, height in 0usize..300, cut in 0usize..50) {
            let mut pixels = vec![0; (width * height).saturating_sub(cut)];
            let mut canvas = Canvas::new(&mut pixels, (width, height));
            canvas.panel(&[&text, "second"]);
            canvas.message(&text);
            canvas.notice(&text);
        }
    }
}
