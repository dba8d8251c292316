//! Draws text and boxes over the picture, or where there is none: a panel of figures, the list of
//! keys, a message, a large notice in the middle, the border of a frozen picture. Works on a
//! window's pixels, clips at its edges and finds text sizes that are legible and fit. What the
//! texts mean is decided elsewhere.

use super::layout::Rect;
use crate::font::{Font, SMALLEST};

/// The usual text size in pixels at 96 dots an inch; larger in large windows.
const TEXT: f32 = 14.0;
/// Text is never larger than this.
const LARGEST: usize = 400;
/// How many text sizes are kept; resizing the window needs new ones.
const FONTS: usize = 8;

/// The colour of text.
pub const WHITE: u32 = 0x00ff_ffff;
/// The colour of less important text.
pub const SOFT: u32 = 0x00b4_bcc6;
/// What boxes are tinted with.
const TINT: u32 = 0x000a_0d12;
const FROZEN: u32 = 0x0038_9bff;

/// A line of two columns: what it is, and its value.
pub type Row<'a> = (&'a str, &'a str);

/// The typeface in the sizes used last.
#[derive(Debug)]
pub struct Overlay {
    scale: f32,
    fonts: Vec<Font>,
}

/// The pixels of a window, 0x00RRGGBB, in rows without gaps.
#[derive(Debug)]
pub struct Canvas<'a> {
    overlay: &'a mut Overlay,
    pixels: &'a mut [u32],
    width: usize,
    height: usize,
    /// The boxes drawn so far.
    boxes: Vec<Rect>,
    /// Height that the mark of a frozen picture takes at the bottom, and the message above it.
    foot: usize,
}

/// Lines of text of one size and colour.
#[derive(Debug)]
pub struct Block {
    size: usize,
    lines: Vec<String>,
    colour: u32,
}

impl Overlay {
    /// For a screen whose text is `scale` times as large as on one of 96 dots an inch.
    pub fn new(scale: f32) -> Overlay {
        Overlay {
            scale,
            fonts: Vec::new(),
        }
    }

    /// `pixels` as a canvas of `size` (width, height); rows that the slice does not hold are left
    /// out.
    pub fn canvas<'a>(&'a mut self, pixels: &'a mut [u32], size: (usize, usize)) -> Canvas<'a> {
        let (width, height) = size;
        let rows = pixels.len().checked_div(width).unwrap_or(0);
        Canvas {
            overlay: self,
            pixels,
            width,
            height: height.min(rows),
            boxes: Vec::new(),
            foot: 0,
        }
    }

    fn font(&mut self, size: usize) -> &mut Font {
        if let Some(at) = self.fonts.iter().position(|font| font.size() == size) {
            // Most recently used last; the first one is dropped.
            self.fonts[at..].rotate_left(1);
        } else {
            if self.fonts.len() >= FONTS {
                self.fonts.remove(0);
            }
            self.fonts.push(Font::new(size));
        }
        let last = self.fonts.len() - 1;
        &mut self.fonts[last]
    }
}

impl Canvas<'_> {
    /// Draws the list of keys, in the middle.
    pub fn help(&mut self, title: &str, rows: &[Row<'_>]) {
        let table = Table::new(title, rows, self.text(), (self.width, self.height));
        let area = self.centred(table.width, table.height);
        if self.claim(area) {
            self.table(&table, area);
        }
    }

    /// Draws a message at the bottom.
    pub fn message(&mut self, text: &str) {
        let (width, height) = (self.width * 9 / 10, self.height / 2);
        let block = Block::fitting(text, WHITE, self.text(), width, height);
        let (wide, high) = self.extent(std::slice::from_ref(&block));
        let below = self.text() / 2 + self.foot;
        let x = self.width.saturating_sub(wide) / 2;
        let y = self.height.saturating_sub(high + below);
        let area = Rect::new(x, y, wide, high);
        if self.claim(area) {
            self.blocks(&[block], area);
            self.foot = self.height - y;
        }
    }

    /// Draws a large notice in the middle, or above the message, with the reason below it.
    pub fn notice(&mut self, text: &str, reason: Option<&str>) {
        let usual = self.text();
        let bottom = self.height.saturating_sub(self.foot);
        let (width, height) = (self.width * 8 / 10, bottom / 3);
        let mut blocks = vec![Block::large(text, usual, width, height)];
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            blocks.push(Block::fitting(reason, SOFT, usual, width, height));
        }
        let (wide, high) = self.extent(&blocks);
        let mut area = self.centred(wide, high);
        area.y = area.y.min(bottom.saturating_sub(high));
        if self.claim(area) {
            self.blocks(&blocks, area);
        }
    }

    /// Draws the panel of figures in the upper left corner.
    pub fn panel(&mut self, title: &str, rows: &[Row<'_>]) {
        let table = Table::new(title, rows, self.text(), (self.width, self.height));
        let edge = self.text() / 2;
        let x = edge.min(self.width.saturating_sub(table.width));
        let y = edge.min(self.height.saturating_sub(table.height));
        let area = Rect::new(x, y, table.width, table.height);
        if self.claim(area) {
            self.table(&table, area);
        }
    }

    /// Whether there is room for a box: text on text could not be read, so of two that would lie
    /// on each other only the one that is drawn first is seen.
    fn claim(&mut self, area: Rect) -> bool {
        let is_free = !self.boxes.iter().any(|other| other.touches(&area));
        if is_free {
            self.boxes.push(area);
        }
        is_free
    }

    /// Draws the border of a frozen picture, with `word` at the bottom.
    pub fn frozen(&mut self, word: &str) {
        let edge = (self.text() / 4).max(2);
        let (width, height) = (self.width, self.height);
        for (x, y, w, h) in [
            (0, 0, width, edge),
            (0, height.saturating_sub(edge), width, edge),
            (0, 0, edge, height),
            (width.saturating_sub(edge), 0, edge, height),
        ] {
            self.fill(Rect::new(x, y, w, h), FROZEN);
        }
        let size = self.text();
        let font = self.overlay.font(size);
        let (wide, high) = (font.width(word), font.height());
        let (wide, high) = (wide + 2 * size, high + edge);
        let (x, y) = (width.saturating_sub(wide) / 2, height.saturating_sub(high));
        let tab = Rect::new(x, y, wide, high);
        self.fill(tab, FROZEN);
        // Dark on the light border reads better than white.
        self.line(word, tab.x + size, tab.y + edge / 2, size, TINT);
        self.foot = tab.height;
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The text size that is legible in this window.
    pub fn text(&self) -> usize {
        let of_window = (self.width / 64).min(self.height / 40).min(LARGEST);
        let usual = (TEXT * self.overlay.scale) as usize;
        of_window.max(usual).clamp(SMALLEST, LARGEST)
    }

    /// An area of this size in the middle.
    fn centred(&self, width: usize, height: usize) -> Rect {
        let x = self.width.saturating_sub(width) / 2;
        let y = self.height.saturating_sub(height) / 2;
        Rect::new(x, y, width, height)
    }

    fn table(&mut self, table: &Table<'_>, area: Rect) {
        self.darken(area, table.size / 2);
        let (x, mut y) = (area.x + table.padding, area.y + table.padding);
        for line in &table.title {
            self.line(line, x, y, table.size, WHITE);
            y += table.line;
        }
        if !table.title.is_empty() {
            y += table.line / 4;
        }
        for (name, value) in table.rows {
            self.line(name, x, y, table.size, SOFT);
            self.line(value, x + table.column, y, table.size, WHITE);
            y += table.line;
        }
    }

    /// Width and height of a box with these in it.
    fn extent(&self, blocks: &[Block]) -> (usize, usize) {
        let padding = 2 * padding(self.text());
        let width = blocks.iter().map(Block::width).max().unwrap_or(0);
        let height: usize = blocks.iter().map(Block::height).sum();
        (width + padding, height + padding)
    }

    /// Blocks in a box, one below the other, each line in the middle.
    fn blocks(&mut self, blocks: &[Block], area: Rect) {
        if blocks.iter().all(|block| block.width() == 0) {
            return;
        }
        self.darken(area, self.text() / 2);
        let mut y = area.y + padding(self.text());
        for block in blocks {
            self.block(block, Rect { y, ..area });
            y += block.height();
        }
    }

    /// Lines from the top of an area on, each in its middle.
    pub fn block(&mut self, block: &Block, area: Rect) {
        let step = Font::new(block.size).line();
        for (line, n) in block.lines.iter().zip(0..) {
            let width = self.overlay.font(block.size).width(line);
            let x = area.x + area.width.saturating_sub(width) / 2;
            self.line(line, x, area.y + n * step, block.size, block.colour);
        }
    }

    /// One line of text with its upper left corner there.
    pub fn line(&mut self, text: &str, x: usize, y: usize, size: usize, colour: u32) {
        let (width, height) = (self.width, self.height);
        let pixels = &mut *self.pixels;
        self.overlay
            .font(size)
            .draw(text, (x, y), |x, y, coverage| {
                if x >= width || y >= height {
                    return;
                }
                let row = &mut pixels[y * width..][x..width];
                for (pixel, &part) in row.iter_mut().zip(coverage) {
                    match part {
                        0 => {}
                        255 => *pixel = colour,
                        _ => *pixel = mix(*pixel, colour, part),
                    }
                }
            });
    }

    /// Darkens a box with round corners.
    fn darken(&mut self, area: Rect, radius: usize) {
        let radius = radius.min(area.width / 2).min(area.height / 2);
        let bottom = (area.y + area.height).min(self.height);
        for y in area.y..bottom {
            let from_edge = (y - area.y).min(area.y + area.height - 1 - y);
            let (inset, part) = corner(radius, from_edge);
            let (left, right) = (area.x + inset, area.x + area.width - inset);
            let row = &mut self.pixels[y * self.width..][..self.width];
            for x in [left.wrapping_sub(1), right] {
                if let Some(pixel) = row.get_mut(x).filter(|_| inset > 0) {
                    *pixel = mix(*pixel, dark(*pixel), part);
                }
            }
            let right = right.min(row.len());
            for pixel in row.get_mut(left..right).into_iter().flatten() {
                *pixel = dark(*pixel);
            }
        }
    }

    /// A rectangle of one colour.
    pub fn fill(&mut self, area: Rect, colour: u32) {
        let right = (area.x + area.width).min(self.width);
        for y in area.y..(area.y + area.height).min(self.height) {
            if let Some(row) = self
                .pixels
                .get_mut(y * self.width + area.x..y * self.width + right)
            {
                row.fill(colour);
            }
        }
    }
}

/// A title and rows of two columns, in a size at which they fit.
struct Table<'a> {
    size: usize,
    padding: usize,
    line: usize,
    /// Where the second column begins.
    column: usize,
    title: Vec<String>,
    rows: &'a [Row<'a>],
    width: usize,
    height: usize,
}

impl<'a> Table<'a> {
    /// Of text of `size`, or as small as it must be to fit into a window.
    fn new(title: &str, rows: &'a [Row<'a>], size: usize, window: (usize, usize)) -> Table<'a> {
        let mut table = Table::of_size(title, rows, size, window.0);
        while table.size > SMALLEST && (table.width > window.0 || table.height > window.1) {
            table = Table::of_size(title, rows, table.size - 1, window.0);
        }
        table
    }

    fn of_size(title: &str, rows: &'a [Row<'a>], size: usize, window: usize) -> Table<'a> {
        let font = Font::new(size);
        let padding = padding(size);
        let widest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| font.width(text)).max().unwrap_or(0)
        };
        let column = widest(&mut rows.iter().map(|row| row.0)) + size;
        let columns = column + widest(&mut rows.iter().map(|row| row.1));
        // A long name takes more lines rather than a larger box.
        let room = window
            .saturating_sub(2 * padding)
            .clamp(1, columns.max(20 * size));
        let title = font.wrap(title, room, 3);
        let width = columns.max(widest(&mut title.iter().map(String::as_str)));
        let line = font.line();
        let lines = title.len() + rows.len();
        Table {
            size,
            padding,
            line,
            column,
            rows,
            width: width + 2 * padding,
            height: lines * line + line / 4 + 2 * padding - (line - font.height()),
            title,
        }
    }
}

impl Block {
    /// `text` in lines of at most `width` pixels, of text of `size`, or smaller if it would be
    /// higher than `height`. Each of its own lines begins a new one, where there is room for that.
    pub fn fitting(text: &str, colour: u32, size: usize, width: usize, height: usize) -> Block {
        let mut size = size.max(SMALLEST);
        loop {
            let font = Font::new(size);
            let most = (height / font.line()).max(1);
            let own = text.lines();
            let lines: Vec<String> = own.flat_map(|l| font.wrap(l, width, most + 1)).collect();
            if lines.len() <= most {
                return Block {
                    size,
                    lines,
                    colour,
                };
            }
            if size == SMALLEST {
                return Block {
                    size,
                    lines: font.wrap(text, width, most),
                    colour,
                };
            }
            size = (size * 7 / 8).max(SMALLEST);
        }
    }

    /// The same in white and up to twice as large as usual, so that it still is one line.
    pub fn large(text: &str, usual: usize, width: usize, height: usize) -> Block {
        let size = Font::fitting(text, width, 2 * usual).size().max(usual);
        Block::fitting(text, WHITE, size, width, height)
    }

    fn width(&self) -> usize {
        let font = Font::new(self.size);
        let widths = self.lines.iter().map(|line| font.width(line));
        widths.max().unwrap_or(0)
    }

    /// Of all lines.
    pub fn height(&self) -> usize {
        self.lines.len() * Font::new(self.size).line()
    }
}

/// Space around text in a box.
fn padding(size: usize) -> usize {
    (size * 3 / 4).max(3)
}

/// How far a box with round corners is inset at this distance from its upper or lower edge, and how
/// much of the pixel before that it covers, of 255.
fn corner(radius: usize, from_edge: usize) -> (usize, u8) {
    if from_edge >= radius {
        return (0, 0);
    }
    let (radius, up) = (radius as f32, (radius - from_edge) as f32 - 0.5);
    let inset = radius - (radius * radius - up * up).sqrt();
    let whole = inset.ceil();
    (whole as usize, ((whole - inset) * 255.0) as u8)
}

/// Three sixteenths of the brightness, and a tint.
fn dark(pixel: u32) -> u32 {
    // The masks keep one channel's bits out of the next.
    ((pixel >> 3) & 0x001f_1f1f) + ((pixel >> 4) & 0x000f_0f0f) + TINT
}

/// `over` mixed into `under` by `part` of 255.
fn mix(under: u32, over: u32, part: u8) -> u32 {
    let part = u32::from(part) + u32::from(part >> 7);
    // Red and blue in one go: there is room between them.
    let (red_blue, green) = (0x00ff_00ff, 0x0000_ff00);
    let blend = |mask: u32| (((under & mask) * (256 - part) + (over & mask) * part) >> 8) & mask;
    blend(red_blue) | blend(green)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::help::{KEYS, LIST_KEYS};
    use proptest::prelude::*;

    const ROWS: [Row<'_>; 3] = [
        ("rate", "30.0 fps, 14.2 Mbit/s"),
        ("packets", "lost 10, repaired 7"),
        ("delay", "11.6 ms, p99 20.0 ms"),
    ];
    const SIZES: [(usize, usize); 4] = [(320, 240), (640, 360), (1280, 720), (3840, 2160)];

    /// The part that was drawn on a grey picture: left, top, right, bottom.
    fn extent(size: (usize, usize), draw: impl FnOnce(&mut Canvas<'_>)) -> [usize; 4] {
        let mut pixels = vec![0x0080_8080; size.0 * size.1];
        draw(&mut Overlay::new(1.0).canvas(&mut pixels, size));
        let drawn = pixels
            .iter()
            .enumerate()
            .filter(|(_, p)| **p != 0x0080_8080);
        drawn.fold([usize::MAX, usize::MAX, 0, 0], |[l, t, r, b], (i, _)| {
            let (x, y) = (i % size.0, i / size.0);
            [l.min(x), t.min(y), r.max(x), b.max(y)]
        })
    }

    #[test]
    fn the_box_lets_the_picture_shine_through() {
        let mut pixels = vec![0x00ff_8040; 400 * 300];
        let mut overlay = Overlay::new(1.0);
        overlay.canvas(&mut pixels, (400, 300)).panel("x", &ROWS);
        let boxed = pixels[30 * 400 + 9];
        assert!((0x28..0x48).contains(&(boxed >> 16)), "{boxed:06x}");
        assert!((0x18..0x38).contains(&(boxed >> 8 & 0xff)), "{boxed:06x}");
        assert_eq!(pixels[250 * 400 + 399], 0x00ff_8040);
        assert!(pixels.contains(&WHITE));
    }

    #[test]
    fn the_notice_is_centred_and_larger_than_the_message() {
        let words = "porch: no signal for 12 s";
        let [left, _, right, _] = extent((1280, 720), |canvas| canvas.notice(words, None));
        assert!((left + right).abs_diff(1280) < 8, "{left}..{right}");
        let [small_left, _, small_right, _] = extent((1280, 720), |canvas| canvas.message(words));
        assert!(right - left > 3 * (small_right - small_left) / 2);
    }

    /// What is longer than the window is wide is wrapped or smaller: it ends before the edges.
    #[test]
    fn nothing_is_cut_off() {
        let path = "/home/somebody/Pictures/cameras/porch/porch-2026-01-02-12-13-14.567.jpg";
        let long =
            format!("10.0.0.7 sends H.264 to 239.255.2.3:5000, which lancam cannot show: {path}");
        for size @ (width, height) in SIZES {
            let inside = |what: &str, [left, top, right, bottom]: [usize; 4]| {
                assert!(left > 0 && top > 0, "{what} at {size:?}: {left}, {top}");
                assert!(
                    right < width - 1 && bottom < height - 1,
                    "{what} at {size:?}: {right}, {bottom}"
                );
            };
            inside("message", extent(size, |canvas| canvas.message(&long)));
            inside("path", extent(size, |canvas| canvas.message(path)));
            inside(
                "notice",
                extent(size, |canvas| canvas.notice(&long, Some(&long))),
            );
            inside("panel", extent(size, |canvas| canvas.panel(&long, &ROWS)));
            inside("help", extent(size, |canvas| canvas.help("Keys", KEYS)));
        }
    }

    #[test]
    fn text_follows_window_and_screen() {
        let high = |size: (usize, usize), scale| {
            let mut pixels = vec![0; size.0 * size.1];
            Overlay::new(scale).canvas(&mut pixels, size).text()
        };
        assert_eq!(high((640, 360), 1.0), 14);
        assert_eq!(high((640, 360), 2.0), 28);
        assert_eq!(high((3840, 2160), 1.0), 54);
        assert_eq!(high((3840, 2160), 2.0), 54);
        assert_eq!(high((1, 1), 0.1), SMALLEST);
    }

    /// Boxes let the picture shine through, so text behind one could be read in it.
    #[test]
    fn no_box_lies_on_another() {
        let (why, path) = (
            "the sender has stopped",
            "saved porch-2026-01-02-12-13-14.jpg",
        );
        for size in [(160, 120), (320, 180)].into_iter().chain(SIZES) {
            for keys in [None, Some(KEYS), Some(LIST_KEYS)] {
                let mut pixels = vec![0; size.0 * size.1];
                let mut overlay = Overlay::new(1.0);
                let mut canvas = overlay.canvas(&mut pixels, size);
                canvas.frozen("frozen");
                if let Some(keys) = keys {
                    canvas.help("Keys", keys);
                }
                canvas.message(path);
                canvas.notice("porch: no signal for 12 s", Some(why));
                canvas.panel("porch", &ROWS);
                let boxes = &canvas.boxes;
                // Both sentences are there before the figures, where there is room for them at all.
                let has_room = size.0 >= 320 && keys.is_none();
                assert!(!has_room || boxes.len() >= 2, "{size:?}: {boxes:?}");
                for (n, one) in boxes.iter().enumerate() {
                    let others = &boxes[n + 1..];
                    assert!(!others.iter().any(|other| other.touches(one)), "{boxes:?}");
                }
            }
        }
    }

    #[test]
    fn a_frozen_picture_has_a_border() {
        let size = (320, 240);
        let mut pixels = vec![0; size.0 * size.1];
        Overlay::new(1.0).canvas(&mut pixels, size).frozen("frozen");
        for (x, y) in [(0, 0), (319, 0), (0, 239), (319, 239), (160, 0), (0, 120)] {
            assert_eq!(pixels[y * 320 + x], FROZEN, "{x}, {y}");
        }
        assert_eq!(pixels[120 * 320 + 160], 0);
    }

    #[test]
    fn colours_are_mixed_channel_by_channel() {
        assert_eq!(mix(0x0012_3456, WHITE, 0), 0x0012_3456);
        assert_eq!(mix(0x0012_3456, 0x00fe_dcba, 255), 0x00fe_dcba);
        assert_eq!(mix(0x0000_ff00, 0x00ff_00ff, 127), 0x007e_807e);
    }

    #[test]
    #[ignore = "a measurement, of a release build"]
    fn how_long_it_takes() {
        let size = (1920, 1080);
        let (mut overlay, mut pixels) = (Overlay::new(1.0), vec![0x0080_8080; size.0 * size.1]);
        let mut times: Vec<_> = (0..500)
            .map(|_| {
                let start = std::time::Instant::now();
                let mut canvas = overlay.canvas(&mut pixels, size);
                canvas.panel("porch", &ROWS);
                start.elapsed()
            })
            .collect();
        let first = times[0];
        times.sort();
        println!("first {first:?}, then {:?}", times[times.len() / 2]);
    }

    proptest! {
        #[test]
        fn no_text_and_no_size_breaks_it(text in ".{0,80}", width in 0usize..300, height in 0usize..300, cut in 0usize..50, scale in 0f32..9.0) {
            let mut pixels = vec![0; (width * height).saturating_sub(cut)];
            let mut overlay = Overlay::new(scale);
            let mut canvas = overlay.canvas(&mut pixels, (width, height));
            canvas.frozen("frozen");
            canvas.message(&text);
            canvas.notice(&text, Some(&text));
            canvas.panel(&text, &[(&text, &text), ("second", "")]);
            canvas.help(&text, &[]);
        }
    }
}
