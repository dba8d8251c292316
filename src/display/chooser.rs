//! What the window shows while there is no picture: what it is waiting for, and a list of streams
//! to choose from. Draws it and handles keys and the mouse; others decide what is in the list.

use std::sync::Arc;

use super::input::{Key, Point};
use super::layout::Rect;
use super::lobby::{Choice, Waiting};
use super::overlay::{Block, Canvas, SOFT, WHITE};
use crate::font::{Font, SMALLEST};

/// Instructions below the list.
const KEYS: &str = "arrow keys and Enter, 1 to 9, or the mouse";
/// Colours of the selected row, and of the scroll bar.
const SELECTED: u32 = 0x0022_5c9c;
const TRACK: u32 = 0x0030_3030;
const THUMB: u32 = 0x00a0_a0a0;
/// Rows that can be chosen by a digit.
const FIGURES: usize = 9;
/// The column of names, after that of the digits.
const NAME: usize = 1;
/// Rows per step of the wheel.
const WHEEL: usize = 1;

/// The result of a key or a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was not used.
    Unused,
    /// It was used; the list may look different.
    Used,
    /// The stream with this key was chosen.
    Chosen(String),
}

/// What is shown, and which row is selected.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    waiting: Arc<Waiting>,
    selected: usize,
    /// The user has moved the selection.
    is_touched: bool,
    /// The first visible row of a long list.
    first: usize,
    /// How many rows were visible last.
    seen: usize,
    /// Where they were drawn, and the key of each.
    rows: Vec<(Rect, String)>,
}

impl Chooser {
    /// Whether there is something to choose from.
    pub(super) fn is_choosing(&self) -> bool {
        !self.waiting.choices.is_empty()
    }

    /// Whether the user has asked for the list.
    pub(super) fn is_list(&self) -> bool {
        self.waiting.is_list
    }

    /// The window's title after the name.
    pub(super) fn title(&self) -> Option<&'static str> {
        Some(self.waiting.title).filter(|title| !title.is_empty())
    }

    /// Sets what to show; returns whether it is new. The selection follows its stream; if that is
    /// gone, the one in its place is selected.
    pub(super) fn update(&mut self, waiting: Arc<Waiting>) -> bool {
        if Arc::ptr_eq(&waiting, &self.waiting) {
            return false;
        }
        let key = self.selected().map(|choice| choice.key.clone());
        let same = (waiting.choices.iter()).position(|choice| Some(&choice.key) == key.as_ref());
        let last = waiting.choices.len().saturating_sub(1);
        self.selected = match self.is_touched {
            true => same.unwrap_or(self.selected.min(last)),
            false => 0,
        };
        self.waiting = waiting;
        true
    }

    fn selected(&self) -> Option<&Choice> {
        self.waiting.choices.get(self.selected)
    }

    /// Handles a key.
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
            Key::Backspace | Key::Escape | Key::F11 => return Answer::Unused,
        }
        Answer::Used
    }

    /// Selects what the mouse points at.
    pub(super) fn point(&mut self, at: Point) -> Answer {
        match self.row_at(at) {
            Some(row) if row != self.selected => self.select(row),
            _ => return Answer::Unused,
        }
        Answer::Used
    }

    /// Chooses what was clicked.
    pub(super) fn click(&mut self, at: Point) -> Answer {
        match self.row_at(at) {
            Some(row) => self.choose(row),
            None => Answer::Used,
        }
    }

    /// Handles a step of the wheel.
    pub(super) fn wheel(&mut self, is_down: bool) -> Answer {
        match is_down {
            true => self.select(self.selected + WHEEL),
            false => self.select(self.selected.saturating_sub(WHEEL)),
        }
        Answer::Used
    }

    fn select(&mut self, row: usize) {
        self.is_touched = true;
        self.selected = row.min(self.waiting.choices.len().saturating_sub(1));
    }

    fn choose(&mut self, row: usize) -> Answer {
        let Some(choice) = self.waiting.choices.get(row) else {
            return Answer::Used;
        };
        self.selected = row;
        Answer::Chosen(choice.key.clone())
    }

    /// The row drawn at this point, if it still exists: the list may have changed since.
    fn row_at(&self, at: Point) -> Option<usize> {
        let (_, key) = self.rows.iter().find(|(area, _)| area.has(at.x, at.y))?;
        let choices = &self.waiting.choices;
        choices.iter().position(|choice| choice.key == *key)
    }

    /// Draws everything in the middle of the window.
    pub(super) fn draw(&mut self, canvas: &mut Canvas<'_>) {
        let (width, height) = canvas.size();
        let usual = canvas.text();
        let room = width.saturating_sub(2 * usual);
        let keys = self.is_choosing().then_some(KEYS);
        let lines: Vec<&str> = (self.waiting.lines.iter().map(String::as_str))
            .chain(keys)
            .collect();
        let headline = Block::large(&self.waiting.headline, usual, room, height / 3);
        let list = List::new(&self.waiting.choices, usual, width);
        let one_row = usize::from(self.is_choosing()) * list.row;
        let rest = height.saturating_sub(headline.height() + 2 * usual + one_row);
        let lines = Block::fitting(&lines.join("\n"), SOFT, usual, room, rest);

        let texts = headline.height() + 2 * usual + lines.height();
        self.scroll(height.saturating_sub(texts) / list.row);
        let all = texts + self.seen * list.row;
        let mut area = Rect {
            x: 0,
            y: height.saturating_sub(all) / 2,
            width,
            height,
        };
        canvas.block(&headline, area);
        area.y += headline.height() + usual;
        self.draw_list(canvas, &list, area.y);
        area.y += self.seen * list.row;
        if self.seen > 0 {
            area.y += usual;
        }
        canvas.block(&lines, area);
    }

    /// Scrolls so that the selected row is among the visible ones.
    fn scroll(&mut self, rows: usize) {
        let all = self.waiting.choices.len();
        self.seen = rows.max(1).min(all);
        let latest = self.selected.min(all - self.seen);
        let earliest = (self.selected + 1).saturating_sub(self.seen);
        self.first = self.first.clamp(earliest, latest.max(earliest));
    }

    fn draw_list(&mut self, canvas: &mut Canvas<'_>, list: &List, top: usize) {
        self.rows.clear();
        let left = canvas.size().0.saturating_sub(list.width) / 2;
        let choices = self.waiting.choices.iter().enumerate();
        for (n, choice) in choices.skip(self.first).take(self.seen) {
            let area = Rect {
                x: left,
                y: top + (n - self.first) * list.row,
                width: list.width,
                height: list.row,
            };
            let is_selected = n == self.selected;
            if is_selected {
                canvas.fill(area, SELECTED);
            }
            list.draw_row(canvas, n, choice, area, is_selected);
            self.rows.push((area, choice.key.clone()));
        }
        if self.seen < self.waiting.choices.len() {
            self.draw_bar(canvas, list, left + list.width, top);
        }
    }

    /// Draws the scroll bar.
    fn draw_bar(&self, canvas: &mut Canvas<'_>, list: &List, right: usize, top: usize) {
        let all = self.waiting.choices.len();
        let (width, height) = ((list.size / 4).max(2), self.seen * list.row);
        let track = Rect {
            x: right.saturating_sub(width),
            y: top,
            width,
            height,
        };
        canvas.fill(track, TRACK);
        let thumb = Rect {
            y: top + height * self.first / all,
            height: (height * self.seen / all).max(width),
            ..track
        };
        canvas.fill(thumb, THUMB);
    }
}

/// Where everything is in a row of the list.
struct List {
    /// Of the text.
    size: usize,
    /// Height of a row.
    row: usize,
    width: usize,
    /// Where each column begins, from the row's left edge; the first is that of the figures.
    columns: Vec<usize>,
}

impl List {
    /// Of text of `size`, or as small as it must be to fit into `width` pixels.
    fn new(choices: &[Choice], size: usize, width: usize) -> List {
        let mut list = List::of_size(choices, size);
        while list.width > width && list.size > SMALLEST {
            list = List::of_size(choices, list.size - 1);
        }
        list.width = list.width.min(width);
        list
    }

    fn of_size(choices: &[Choice], size: usize) -> List {
        let font = Font::new(size);
        let mut widths = vec![font.width("9")];
        for choice in choices {
            widths.resize(widths.len().max(1 + choice.cells.len()), 0);
            for (width, cell) in widths[1..].iter_mut().zip(&choice.cells) {
                *width = font.width(cell).max(*width);
            }
        }
        let mut columns = Vec::new();
        let mut x = size;
        for width in widths {
            columns.push(x);
            x += width + size;
        }
        List {
            size,
            row: font.line() * 5 / 4,
            width: x,
            columns,
        }
    }

    /// Row `n` of the list. What is too long for the smallest window ends in an ellipsis.
    fn draw_row(
        &self,
        canvas: &mut Canvas<'_>,
        n: usize,
        choice: &Choice,
        area: Rect,
        is_selected: bool,
    ) {
        let font = Font::new(self.size);
        let y = area.y + area.height.saturating_sub(font.height()) / 2;
        let figure = (n < FIGURES).then(|| (n + 1).to_string());
        let texts = std::iter::once(figure.as_deref().unwrap_or_default())
            .chain(choice.cells.iter().map(String::as_str));
        for ((column, text), &x) in texts.enumerate().zip(&self.columns) {
            let room = self.width.saturating_sub(x + self.size / 2);
            if room < 2 * self.size {
                return;
            }
            let colour = match is_selected || column == NAME {
                true => WHITE,
                false => SOFT,
            };
            for text in font.wrap(text, room, 1) {
                canvas.line(&text, area.x + x, y, self.size, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::overlay::Overlay;
    use super::*;

    fn list(names: &[&str]) -> Arc<Waiting> {
        let choice = |name: &&str| Choice {
            key: format!("key of {name}"),
            cells: vec![(*name).to_owned(), "1280x720".to_owned()],
        };
        Arc::new(Waiting {
            title: "choose a stream",
            headline: "choose".to_owned(),
            choices: names.iter().map(choice).collect(),
            ..Waiting::default()
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
        chooser.draw(&mut Overlay::new(1.0).canvas(&mut pixels, size));
        pixels
    }

    /// The middle of the row that shows this.
    fn place(chooser: &Chooser, name: &str) -> Point {
        let key = format!("key of {name}");
        let row = chooser.rows.iter().find(|(_, of)| *of == key);
        let (area, _) = row.expect("it is seen");
        Point {
            x: area.x + area.width / 2,
            y: area.y + area.height / 2,
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
            Key::Backspace,
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
