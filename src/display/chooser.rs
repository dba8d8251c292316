//! What the window shows before there is a picture: what is awaited, and a list to choose from. How
//! it is drawn, and what keys and mouse do in it; what is in the list is not decided here.

use std::sync::Arc;

use super::input::{Key, Point};
use super::lobby::{Choice, Waiting};
use super::overlay::{Area, Canvas};

/// How to choose, below each list.
const KEYS: &str = "choose by arrows and Enter, 1 to 9, or the mouse; q quits";
/// Of the chosen row, and of the bar that shows which part of a long list is seen.
const SELECTED: u32 = 0x0022_5c9c;
const TRACK: u32 = 0x0030_3030;
const THUMB: u32 = 0x00a0_a0a0;
/// Rows that have a figure to choose them by.
const FIGURES: usize = 9;
/// Between columns, and left and right of a row, in pixels at zoom 1.
const GAP: usize = 16;
/// Rows that one step of the wheel goes.
const WHEEL: usize = 1;

/// What became of a key or a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It means nothing here.
    Unused,
    /// The list looks different now, or nothing has changed.
    Used,
    /// This was chosen, by its key.
    Chosen(String),
}

/// What is said at present, and where in the list the user is.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    waiting: Arc<Waiting>,
    selected: usize,
    /// The first row that is seen of a list that is too long.
    first: usize,
    /// How many rows were seen last.
    seen: usize,
    /// Where they were, and what they were of.
    rows: Vec<(Area, String)>,
}

impl Chooser {
    /// Whether there is something to choose from.
    pub(super) fn is_choosing(&self) -> bool {
        !self.waiting.choices.is_empty()
    }

    /// Takes what is said now; false if it is what was said before. The same stream stays selected,
    /// wherever it is in the list; if it is gone, the one in its place is.
    pub(super) fn update(&mut self, waiting: Arc<Waiting>) -> bool {
        if Arc::ptr_eq(&waiting, &self.waiting) {
            return false;
        }
        let key = self.selected().map(|choice| choice.key.clone());
        let same = (waiting.choices.iter()).position(|choice| Some(&choice.key) == key.as_ref());
        let last = waiting.choices.len().saturating_sub(1);
        self.selected = same.unwrap_or(self.selected.min(last));
        self.waiting = waiting;
        true
    }

    fn selected(&self) -> Option<&Choice> {
        self.waiting.choices.get(self.selected)
    }

    /// Answers a key.
    pub(super) fn press(&mut self, key: Key) -> Answer {
        if !self.is_choosing() {
            return Answer::Unused;
        }
        let page = self.seen.max(1);
        match key {
            Key::Enter => return self.choose(self.selected),
            Key::Char(c) => match c.to_digit(10).map(|digit| digit as usize) {
                Some(figure @ 1..=FIGURES) => return self.choose(figure - 1),
                _ => return Answer::Unused,
            },
            Key::Up => self.select(self.selected.saturating_sub(1)),
            Key::Down => self.select(self.selected + 1),
            Key::PageUp => self.select(self.selected.saturating_sub(page)),
            Key::PageDown => self.select(self.selected + page),
            Key::Home => self.select(0),
            Key::End => self.select(usize::MAX),
            Key::Escape | Key::F11 => return Answer::Unused,
        }
        Answer::Used
    }

    /// The mouse is there: what it points at is selected.
    pub(super) fn point(&mut self, at: Point) -> Answer {
        match self.row_at(at) {
            Some(row) if row != self.selected => self.select(row),
            _ => return Answer::Unused,
        }
        Answer::Used
    }

    /// A click chooses what it hits.
    pub(super) fn click(&mut self, at: Point) -> Answer {
        match self.row_at(at) {
            Some(row) => self.choose(row),
            None => Answer::Used,
        }
    }

    /// The wheel turned by a step.
    pub(super) fn wheel(&mut self, is_down: bool) -> Answer {
        match is_down {
            true => self.select(self.selected + WHEEL),
            false => self.select(self.selected.saturating_sub(WHEEL)),
        }
        Answer::Used
    }

    fn select(&mut self, row: usize) {
        self.selected = row.min(self.waiting.choices.len().saturating_sub(1));
    }

    fn choose(&mut self, row: usize) -> Answer {
        let Some(choice) = self.waiting.choices.get(row) else {
            return Answer::Used;
        };
        self.selected = row;
        Answer::Chosen(choice.key.clone())
    }

    /// What was drawn at this place, if it is still there: the list may have changed since.
    fn row_at(&self, at: Point) -> Option<usize> {
        let (_, key) = self.rows.iter().find(|(area, _)| area.has(at.x, at.y))?;
        let choices = &self.waiting.choices;
        choices.iter().position(|choice| choice.key == *key)
    }

    /// Draws all of it across the middle of the window.
    pub(super) fn draw(&mut self, canvas: &mut Canvas<'_>) {
        let zoom = canvas.zoom();
        let (width, height) = canvas.size();
        let room = width.saturating_sub(2 * GAP * zoom);
        let waiting = Arc::clone(&self.waiting);
        let large = match Canvas::text_width(&waiting.headline, 2 * zoom) <= room {
            true => 2 * zoom,
            false => zoom,
        };
        let headline = wrap(&waiting.headline, large, room);
        let keys = self.is_choosing().then_some(KEYS);
        let lines = waiting.lines.iter().map(String::as_str).chain(keys);
        let lines: Vec<String> = lines.flat_map(|line| wrap(line, zoom, room)).collect();

        let line = Canvas::line_height(zoom) * 5 / 4;
        let row = Canvas::line_height(zoom) * 3 / 2;
        let headline_height = headline.len() * Canvas::line_height(large);
        let texts = headline_height + lines.len() * line + 2 * line;
        self.scroll(height.saturating_sub(texts) / row);
        let all = texts + self.seen * row;

        let mut top = height.saturating_sub(all) / 2;
        for text in &headline {
            centred(canvas, text, top, large);
            top += Canvas::line_height(large);
        }
        top += line;
        self.draw_list(canvas, top, row);
        top += self.seen * row + line;
        for text in &lines {
            centred(canvas, text, top, zoom);
            top += line;
        }
    }

    /// So many rows can be seen: the selected one is among them.
    fn scroll(&mut self, rows: usize) {
        let all = self.waiting.choices.len();
        self.seen = rows.max(1).min(all);
        let latest = self.selected.min(all - self.seen);
        let earliest = (self.selected + 1).saturating_sub(self.seen);
        self.first = self.first.clamp(earliest, latest.max(earliest));
    }

    fn draw_list(&mut self, canvas: &mut Canvas<'_>, top: usize, height: usize) {
        self.rows.clear();
        let zoom = canvas.zoom();
        let gap = GAP * zoom;
        let columns = columns(&self.waiting.choices, zoom);
        let figure = Canvas::text_width("9", zoom) + gap;
        let width = figure + columns.iter().map(|width| width + gap).sum::<usize>() + gap;
        let width = width.min(canvas.size().0);
        let left = (canvas.size().0 - width) / 2;
        let inset = height.saturating_sub(Canvas::line_height(zoom)) / 2 + zoom;
        let choices = self.waiting.choices.iter().enumerate();
        for (n, choice) in choices.skip(self.first).take(self.seen) {
            let area = Area {
                left,
                top: top + (n - self.first) * height,
                width,
                height,
            };
            if n == self.selected {
                canvas.fill(area, SELECTED);
            }
            let (mut x, y) = (left + gap, area.top + inset);
            if n < FIGURES {
                canvas.text(&(n + 1).to_string(), x, y, zoom);
            }
            x += figure;
            for (cell, width) in choice.cells.iter().zip(&columns) {
                canvas.text(cell, x, y, zoom);
                x += width + gap;
            }
            self.rows.push((area, choice.key.clone()));
        }
        if self.seen < self.waiting.choices.len() {
            self.draw_bar(canvas, left + width, top, self.seen * height);
        }
    }

    /// Which part of the list is seen.
    fn draw_bar(&self, canvas: &mut Canvas<'_>, right: usize, top: usize, height: usize) {
        let all = self.waiting.choices.len();
        let width = 4 * canvas.zoom();
        let track = Area {
            left: right.saturating_sub(width),
            top,
            width,
            height,
        };
        canvas.fill(track, TRACK);
        let thumb = Area {
            top: top + height * self.first / all,
            height: (height * self.seen / all).max(width),
            ..track
        };
        canvas.fill(thumb, THUMB);
    }
}

/// The width of each column: that of its longest text.
fn columns(choices: &[Choice], zoom: usize) -> Vec<usize> {
    let mut widths = Vec::new();
    for choice in choices {
        widths.resize(choice.cells.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(&choice.cells) {
            *width = Canvas::text_width(cell, zoom).max(*width);
        }
    }
    widths
}

fn centred(canvas: &mut Canvas<'_>, text: &str, top: usize, zoom: usize) {
    let free = (canvas.size().0).saturating_sub(Canvas::text_width(text, zoom));
    canvas.text(text, free / 2, top, zoom);
}

/// `text` in lines that fit into `room` pixels, broken between words; a word that is longer is cut by the window's edge.
fn wrap(text: &str, zoom: usize, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if Canvas::text_width(&format!("{line} {word}"), zoom) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(names: &[&str]) -> Arc<Waiting> {
        let choice = |name: &&str| Choice {
            key: format!("key of {name}"),
            cells: vec![(*name).to_owned(), "1280x720".to_owned()],
        };
        Arc::new(Waiting {
            headline: "choose".to_owned(),
            choices: names.iter().map(choice).collect(),
            lines: Vec::new(),
        })
    }

    fn of(names: &[&str]) -> Chooser {
        let mut chooser = Chooser::default();
        assert!(chooser.update(list(names)));
        chooser
    }

    fn selected(chooser: &Chooser) -> &str {
        &chooser.selected().expect("a choice").cells[0]
    }

    fn chosen(name: &str) -> Answer {
        Answer::Chosen(format!("key of {name}"))
    }

    fn draw(chooser: &mut Chooser, size: (usize, usize)) -> Vec<u32> {
        let mut pixels = vec![0; size.0 * size.1];
        chooser.draw(&mut Canvas::new(&mut pixels, size));
        pixels
    }

    /// The middle of the row that shows this.
    fn place(chooser: &Chooser, name: &str) -> Point {
        let key = format!("key of {name}");
        let row = chooser.rows.iter().find(|(_, of)| *of == key);
        let (area, _) = row.expect("it is seen");
        Point {
            x: area.left + area.width / 2,
            y: area.top + area.height / 2,
        }
    }

    #[test]
    fn keys_move_and_choose() {
        let mut chooser = of(&["a", "b", "c"]);
        assert_eq!(chooser.press(Key::Enter), chosen("a"));
        assert_eq!(chooser.press(Key::Up), Answer::Used);
        assert_eq!(selected(&chooser), "a");
        chooser.press(Key::Down);
        assert_eq!(chooser.press(Key::Enter), chosen("b"));
        chooser.press(Key::End);
        chooser.press(Key::Down);
        assert_eq!(selected(&chooser), "c");
        chooser.press(Key::Home);
        assert_eq!(selected(&chooser), "a");
        assert_eq!(chooser.press(Key::Char('3')), chosen("c"));
        assert_eq!(chooser.press(Key::Char('4')), Answer::Used);
        for other in [
            Key::Char('q'),
            Key::Char('0'),
            Key::Char('f'),
            Key::Escape,
            Key::F11,
        ] {
            assert_eq!(chooser.press(other), Answer::Unused, "{other:?}");
        }
    }

    #[test]
    fn without_a_list_keys_mean_what_they_mean_elsewhere() {
        let mut chooser = of(&[]);
        assert_eq!(chooser.press(Key::Enter), Answer::Unused);
        assert_eq!(chooser.press(Key::Char('1')), Answer::Unused);
    }

    #[test]
    fn the_selection_stays_on_its_stream() {
        let mut chooser = of(&["a", "b", "c"]);
        chooser.press(Key::Down);
        chooser.update(list(&["b", "c", "d"]));
        assert_eq!(selected(&chooser), "b");
        chooser.update(list(&["x", "y", "b"]));
        assert_eq!(selected(&chooser), "b");
        // Gone: the one in its place, or the last.
        chooser.update(list(&["x", "y"]));
        assert_eq!(selected(&chooser), "y");
        chooser.update(list(&[]));
        assert!(!chooser.is_choosing());
        chooser.update(list(&["z"]));
        assert_eq!(chooser.press(Key::Enter), chosen("z"));
    }

    #[test]
    fn the_mouse_chooses_what_it_saw() {
        let mut chooser = of(&["a", "b", "c"]);
        draw(&mut chooser, (640, 360));
        let b = place(&chooser, "b");
        chooser.point(b);
        assert_eq!(selected(&chooser), "b");
        assert_eq!(chooser.click(Point { x: 3, y: 3 }), Answer::Used);
        // The list has changed, and was not drawn yet.
        chooser.update(list(&["b", "c"]));
        assert_eq!(chooser.click(b), chosen("b"));
        chooser.update(list(&["a", "c"]));
        assert_eq!(chooser.click(b), Answer::Used);
        chooser.wheel(true);
        assert_eq!(selected(&chooser), "c");
    }

    #[test]
    fn of_a_long_list_the_selected_part_is_seen() {
        let names: Vec<String> = (0..100).map(|n| format!("camera{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut chooser = of(&names);
        let pixels = draw(&mut chooser, (640, 360));
        assert!(pixels.contains(&SELECTED) && pixels.contains(&THUMB));
        assert!((5..30).contains(&chooser.seen), "{}", chooser.seen);
        place(&chooser, "camera0");
        chooser.press(Key::End);
        draw(&mut chooser, (640, 360));
        place(&chooser, "camera99");
        // The list does not move while the selection moves inside of what is seen.
        let before = place(&chooser, "camera98");
        chooser.press(Key::Up);
        draw(&mut chooser, (640, 360));
        assert_eq!(place(&chooser, "camera98"), before);
        chooser.press(Key::PageUp);
        draw(&mut chooser, (640, 360));
        place(&chooser, selected(&chooser));
        // A window of other sizes shows it too.
        draw(&mut chooser, (300, 60));
        place(&chooser, selected(&chooser));
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let width = Canvas::text_width("one two", 1);
        assert_eq!(wrap("one two three", 1, width), ["one two", "three"]);
        assert_eq!(
            wrap("one incomprehensible", 1, width),
            ["one", "incomprehensible"]
        );
        assert!(wrap("", 1, width).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_and_no_size_breaks_it(
            names in proptest::collection::vec(".{0,30}", 0..40),
            headline in ".{0,200}",
            width in 0usize..900,
            height in 0usize..700,
            selected in 0usize..60,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut waiting = (*list(&names)).clone();
            waiting.lines.push(headline.clone());
            waiting.headline = headline;
            let mut chooser = Chooser::default();
            chooser.update(Arc::new(waiting));
            chooser.select(selected);
            draw(&mut chooser, (width, height));
            chooser.click(Point { x: width / 2, y: height / 2 });
        }
    }
}
