//! Text as pixels: lancam's one typeface, anti-aliased and rasterised once for each size. Measures
//! text, breaks it into lines and gives the coverage of each pixel; the caller mixes in the colour.
//! Not a layout engine: characters are placed one after the other, from left to right.

use std::collections::HashMap;
use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef, GlyphId, point};

/// The smallest legible text, in pixels.
pub const SMALLEST: usize = 8;
/// Shown for characters that the typeface lacks.
const UNKNOWN: char = '?';

/// Inter, as `src/font/make` cuts it.
static TYPEFACE: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("lancam.ttf")).expect("it is part of the program")
});

/// The typeface in one size.
#[derive(Debug)]
pub struct Font {
    size: usize,
    /// Those drawn so far; at most as many as the typeface has.
    glyphs: HashMap<char, Glyph>,
}

/// A character's pixels.
#[derive(Debug)]
struct Glyph {
    /// Of its upper left corner, from the pen on the baseline.
    left: i32,
    top: i32,
    width: usize,
    /// Rows of 0 to 255.
    coverage: Vec<u8>,
    /// How far it moves the pen.
    advance: f32,
}

impl Font {
    /// In a size of `size` pixels: capital letters are three quarters as high.
    pub fn new(size: usize) -> Font {
        Font {
            size: size.max(1),
            glyphs: HashMap::new(),
        }
    }

    /// The largest size at which `text` fits into `width` pixels, from [`SMALLEST`] to `most`.
    pub fn fitting(text: &str, width: usize, most: usize) -> Font {
        let fits = (width as f32 / width_in_ems(text).max(0.01)) as usize;
        Font::new(fits.min(most).max(SMALLEST))
    }

    /// The size in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Height of a line without space to the next; capital letters stand in its middle.
    pub fn height(&self) -> usize {
        let metrics = TYPEFACE.ascent_unscaled() - TYPEFACE.descent_unscaled();
        self.pixels(metrics / units_per_em()).ceil() as usize
    }

    /// From one line's top to the next.
    pub fn line(&self) -> usize {
        self.pixels(1.35).ceil() as usize
    }

    /// Width of `text` in pixels.
    pub fn width(&self, text: &str) -> usize {
        self.pixels(width_in_ems(text)).ceil() as usize
    }

    /// Breaks `text` at spaces into lines of at most `width` pixels; words that are longer are cut
    /// across lines (a device path is one). Text beyond `most` lines ends in `…`.
    pub fn wrap(&self, text: &str, width: usize, most: usize) -> Vec<String> {
        let most = most.max(1);
        let room = width as f32 / self.size as f32;
        let mut lines = vec![String::new()];
        let mut used = 0.0;
        for word in text.split_whitespace() {
            let between = if used > 0.0 { advance(' ') } else { 0.0 };
            let ahead = width_in_ems(word);
            if used > 0.0 && used + between + ahead > room {
                lines.push(String::new());
                used = 0.0;
            } else if used > 0.0 {
                push(&mut lines, ' ');
                used += between;
            }
            for c in word.chars() {
                let wide = advance(c);
                if used > 0.0 && used + wide > room {
                    lines.push(String::new());
                    used = 0.0;
                }
                if lines.len() > most {
                    lines.truncate(most);
                    self.shorten(&mut lines[most - 1], width);
                    return lines;
                }
                push(&mut lines, c);
                used += wide;
            }
        }
        lines
    }

    /// Shortens a line to `width` pixels, with `…` at its end.
    fn shorten(&self, line: &mut String, width: usize) {
        line.push('…');
        while self.width(line) > width && line.chars().count() > 1 {
            line.pop();
            line.pop();
            line.push('…');
        }
    }

    /// Draws `text` as one line with its upper left corner at `x`, `y`: `paint` gets a place and
    /// the coverage of the pixels from there to the right, from 0 to 255. Places may lie beyond any
    /// picture.
    pub fn draw(
        &mut self,
        text: &str,
        (x, y): (usize, usize),
        mut paint: impl FnMut(usize, usize, &[u8]),
    ) {
        let scale = self.size as f32 / units_per_em();
        let baseline = y as i32 + (TYPEFACE.ascent_unscaled() * scale).round() as i32;
        let mut pen = x as f32;
        for c in text.chars() {
            let c = known(c);
            let size = self.size;
            let glyph = (self.glyphs.entry(c)).or_insert_with(|| Glyph::rasterise(c, size));
            glyph.draw(pen.round() as i32, baseline, &mut paint);
            pen += glyph.advance;
        }
    }

    fn pixels(&self, ems: f32) -> f32 {
        self.size as f32 * ems
    }
}

impl Glyph {
    fn rasterise(c: char, size: usize) -> Glyph {
        // ab_glyph counts in heights of the line, not in ems.
        let height = TYPEFACE.height_unscaled() / units_per_em() * size as f32;
        let mut glyph = Glyph {
            left: 0,
            top: 0,
            width: 0,
            coverage: Vec::new(),
            advance: advance(c) * size as f32,
        };
        let placed = (TYPEFACE.glyph_id(c)).with_scale_and_position(height, point(0.0, 0.0));
        let Some(outline) = TYPEFACE.outline_glyph(placed) else {
            // A space.
            return glyph;
        };
        let bounds = outline.px_bounds();
        (glyph.left, glyph.top) = (bounds.min.x as i32, bounds.min.y as i32);
        glyph.width = bounds.width() as usize;
        glyph.coverage = vec![0; glyph.width * bounds.height() as usize];
        outline.draw(|x, y, coverage| {
            let at = y as usize * glyph.width + x as usize;
            if let Some(pixel) = glyph.coverage.get_mut(at) {
                *pixel = (coverage * 255.0).round() as u8;
            }
        });
        glyph
    }

    fn draw(&self, pen: i32, baseline: i32, paint: &mut impl FnMut(usize, usize, &[u8])) {
        if self.width == 0 {
            return;
        }
        let left = pen + self.left;
        // Before the first column there is nothing.
        let hidden = usize::try_from(-left).unwrap_or(0).min(self.width);
        for (row, coverage) in (0..).zip(self.coverage.chunks_exact(self.width)) {
            if let Ok(y) = usize::try_from(baseline + self.top + row) {
                paint(left.max(0) as usize, y, &coverage[hidden..]);
            }
        }
    }
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

fn known(c: char) -> char {
    match TYPEFACE.glyph_id(c) {
        GlyphId(0) => UNKNOWN,
        _ => c,
    }
}

fn width_in_ems(text: &str) -> f32 {
    text.chars().map(advance).sum()
}

fn advance(c: char) -> f32 {
    let glyph = TYPEFACE.glyph_id(known(c));
    TYPEFACE.h_advance_unscaled(glyph) / units_per_em()
}

fn units_per_em() -> f32 {
    TYPEFACE.units_per_em().unwrap_or(1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lit part of a text: left, top, right, bottom, and all coverage together.
    fn extent(size: usize, text: &str) -> ([usize; 4], u64) {
        let (mut edges, mut sum) = ([usize::MAX, usize::MAX, 0, 0], 0);
        Font::new(size).draw(text, (0, 0), |x, y, coverage| {
            for (i, c) in coverage.iter().enumerate().filter(|(_, c)| **c > 0) {
                let [left, top, right, bottom] = &mut edges;
                (*left, *right) = ((*left).min(x + i), (*right).max(x + i));
                (*top, *bottom) = ((*top).min(y), (*bottom).max(y));
                sum += u64::from(*c);
            }
        });
        (edges, sum)
    }

    #[test]
    fn a_capital_stands_in_the_middle_of_its_line_at_any_size() {
        for size in [8, 14, 20, 33, 100, 400] {
            let ([_, top, _, bottom], _) = extent(size, "H");
            let height = Font::new(size).height();
            assert!((top + bottom + 1).abs_diff(height) <= 3, "{size}");
            let capital = (bottom + 1 - top) as f32 / size as f32;
            assert!((0.7..0.9).contains(&capital), "{size}: {capital}");
        }
    }

    #[test]
    fn edges_are_smooth() {
        let mut shades = 0;
        Font::new(20).draw("O", (0, 0), |_, _, coverage| {
            shades += coverage.iter().filter(|c| (20..235).contains(*c)).count();
        });
        assert!(shades > 20, "{shades}");
    }

    #[test]
    fn figures_are_of_one_width() {
        for size in [9, 14, 37] {
            let font = Font::new(size);
            for figure in '0'..='9' {
                let text = figure.to_string().repeat(12);
                assert_eq!(font.width(&text), font.width("000000000000"), "{figure}");
            }
        }
    }

    #[test]
    fn letters_that_look_alike_do_not_here() {
        let marks = ["I", "l", "1", "|", "0", "O"].map(|text| extent(40, text));
        for (i, mark) in marks.iter().enumerate() {
            assert!(!marks[..i].contains(mark), "{i}");
        }
    }

    #[test]
    fn names_in_many_languages_have_their_letters() {
        for c in "ÄÖÜßéñøåŁódźčřęĞışαΩЖяёієґ–…×→←↑↓€”".chars()
        {
            assert_eq!(known(c), c);
        }
        assert_eq!(known('漢'), UNKNOWN);
        assert_eq!(known('\n'), UNKNOWN);
        assert_eq!(extent(20, "漢"), extent(20, "?"));
    }

    #[test]
    fn text_is_wrapped() {
        let font = Font::new(20);
        let wrap = |text, like: &str, most| font.wrap(text, font.width(like), most);
        assert_eq!(wrap("a bc def", "a bc", 9), ["a bc", "def"]);
        assert_eq!(wrap("000000 00", "000 ", 9), ["000", "000", "00"]);
        assert_eq!(wrap("one two three four", "three", 2), ["one", "tw…"]);
        assert_eq!(wrap("", "three", 2), [""]);
        assert_eq!(wrap("any", "", 9), ["a", "n", "y"]);
    }

    #[test]
    fn the_largest_that_fits() {
        let font = Font::fitting("no signal", 500, 1000);
        assert!(font.width("no signal") <= 500);
        assert!(Font::new(font.size() + 1).width("no signal") > 500);
        assert_eq!(Font::fitting("no signal", 500, 30).size(), 30);
        assert_eq!(Font::fitting("no signal", 1, 30).size(), SMALLEST);
        assert_eq!(Font::fitting("", 100, 30).size(), 30);
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_and_nothing_is_lost(text in ".{0,200}", width in 0usize..400, size in 1usize..60) {
            let font = Font::new(size);
            let lines = font.wrap(&text, width, usize::MAX);
            for line in &lines {
                prop_assert!(font.width(line) <= width + 1 || line.chars().count() == 1);
            }
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&lines.concat()), solid(&text));
            let few = font.wrap(&text, width, 2);
            prop_assert!(few.len() <= 2);
        }

        #[test]
        fn any_text_can_be_drawn(text in ".{0,60}", size in 0usize..80, x in 0usize..50, y in 0usize..50) {
            let mut font = Font::new(size);
            let mut most = 0;
            font.draw(&text, (x, y), |x, _, coverage| most = most.max(x + coverage.len()));
            // A glyph may reach a little beyond its own width.
            prop_assert!(most <= x + font.width(&text) + size + 2);
        }
    }
}
