//! The kinds of values: what may be written in the file and on the command line, and how it is
//! read. A flag's word is turned into the RON that the file would contain, so the same code reads
//! and refuses both.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::check;
use super::error::Mistakes;
use super::raw::{self, Fields};

/// A value, or why it is refused; `None` if what is expected says it all.
pub(super) type Read<T> = Result<T, Option<String>>;

/// Reads RON. Wrong parts are noted in the mistakes; the value is then useless.
type FromRon<T> = Box<dyn Fn(&str, &mut Mistakes<'_>) -> Read<T>>;
/// Makes RON of a word on the command line.
type ToRon = Box<dyn Fn(&str) -> Read<String>>;

/// A kind of value.
pub(super) struct Kind<T> {
    /// What the file may contain, as it follows "expected".
    pub(super) in_file: String,
    /// The same for the command line.
    pub(super) on_line: String,
    /// The limits, as help and documentation show them; may be empty.
    pub(super) limits: String,
    read: FromRon<T>,
    to_ron: ToRon,
}

impl<T> Kind<T> {
    /// A kind for the file only.
    pub(super) fn new(
        expected: impl Into<String>,
        read: impl Fn(&str, &mut Mistakes<'_>) -> Read<T> + 'static,
    ) -> Kind<T> {
        Kind {
            in_file: expected.into(),
            on_line: String::new(),
            limits: String::new(),
            read: Box::new(read),
            to_ron: Box::new(|_| Err(None)),
        }
    }

    /// Allows it on the command line too.
    pub(super) fn on_line(
        self,
        expected: impl Into<String>,
        to_ron: impl Fn(&str) -> Read<String> + 'static,
    ) -> Kind<T> {
        Kind {
            on_line: expected.into(),
            to_ron: Box::new(to_ron),
            ..self
        }
    }

    /// With limits for help and documentation.
    pub(super) fn limited(self, limits: String) -> Kind<T> {
        Kind { limits, ..self }
    }

    /// The value in `(value)`, which follows a name.
    pub(super) fn in_brackets(&self, text: &str, mistakes: &mut Mistakes<'_>) -> Read<T> {
        (self.read)(raw::only(text).ok_or(None)?, mistakes)
    }

    /// The RON for `word`.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn word(&self, word: &str) -> Result<String, String> {
        let expected = |why: Option<String>| why.unwrap_or(format!("expected {}", self.on_line));
        let text = (self.to_ron)(word).map_err(expected)?;
        (self.read)(&text, &mut Mistakes::new("", "", &[])).map_err(expected)?;
        Ok(text)
    }
}

impl Mistakes<'_> {
    /// The value of `key`, if it is given and allowed.
    pub(super) fn take<T>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        kind: &Kind<T>,
    ) -> Option<T> {
        let text = fields.ask(key)?;
        self.read(key, text, kind)
    }

    /// The value in `text`, if allowed; `key` is its name.
    pub(super) fn read<T>(&mut self, key: &str, text: &str, kind: &Kind<T>) -> Option<T> {
        let read = (kind.read)(text, self);
        read.map_err(|why| {
            let why = why.unwrap_or_else(|| format!("expected {}", kind.in_file));
            self.value(key, text, &why);
        })
        .ok()
    }
}

/// `true` or `false`; on the command line the flag alone.
pub(super) fn switch() -> Kind<bool> {
    let read = |text: &str, _: &mut Mistakes<'_>| raw::read(text).map_err(|_| None);
    Kind::new("true or false", read).on_line("", |word| Ok(word.to_owned()))
}

/// A whole number.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> Kind<T>
where
    T: DeserializeOwned + PartialOrd + std::fmt::Display + 'static,
{
    let limits = check::limits(&range);
    let expected = format!("a whole number from {limits}");
    number(expected, limits, move |n| range.contains(n))
}

/// A number.
pub(super) fn real(range: RangeInclusive<f64>) -> Kind<f64> {
    let limits = check::limits(&range);
    let expected = format!("a number from {limits}");
    number(expected, limits, move |n| range.contains(n))
}

/// A share above 0 and up to `max`.
pub(super) fn share(max: f32) -> Kind<f32> {
    let limits = format!("above 0 and at most {max}");
    let expected = format!("a number {limits}");
    number(expected, limits, move |n| *n > 0.0 && *n <= max)
}

fn number<T: DeserializeOwned + 'static>(
    expected: String,
    limits: String,
    is_allowed: impl Fn(&T) -> bool + 'static,
) -> Kind<T> {
    let read = move |text: &str, _: &mut Mistakes<'_>| {
        let number = raw::read(text).map_err(|_| None)?;
        is_allowed(&number).then_some(number).ok_or(None)
    };
    Kind::new(expected.clone(), read)
        .on_line(expected, number_word)
        .limited(limits)
}

/// The RON of a number on the command line.
pub(super) fn number_word(word: &str) -> Read<String> {
    word.parse::<f64>()
        .map(|_| word.to_owned())
        .map_err(|_| None)
}

/// Text that `check` accepts.
pub(super) fn text<T>(
    example: &str,
    check: impl Fn(&str) -> Result<T, String> + Copy + 'static,
) -> Kind<T> {
    let read = move |text: &str, _: &mut Mistakes<'_>| {
        let text: String = raw::read(text).map_err(|_| None)?;
        check(&text).map_err(Some)
    };
    Kind::new(format!("text in quotes, such as \"{example}\""), read).on_line("", move |word| {
        check(word).map_err(Some)?;
        Ok(raw::quoted(word))
    })
}

/// A list of texts that `check` accepts. Not for the command line.
pub(super) fn texts<T: 'static>(
    example: &str,
    check: impl Fn(&str) -> Result<T, String> + Copy + 'static,
) -> Kind<Vec<T>> {
    let expected = format!("a list of texts in quotes, such as [\"{example}\"]");
    Kind::new(expected, move |text, _| {
        let all: Vec<String> = raw::read(text).map_err(|_| None)?;
        all.iter().map(|text| check(text).map_err(Some)).collect()
    })
}

/// The path of a file or device.
pub(super) fn path(example: &str) -> Kind<PathBuf> {
    text(example, check::path)
}

/// Width and height in pixels.
pub(super) fn size(sides: RangeInclusive<u32>) -> Kind<(u32, u32)> {
    let limits = check::limits(&sides);
    let read = move |text: &str, _: &mut Mistakes<'_>| {
        let (width, height) = raw::read(text).map_err(|_| None)?;
        let fits = sides.contains(&width) && sides.contains(&height);
        fits.then_some((width, height)).ok_or(None)
    };
    Kind::new(format!("(WIDTH, HEIGHT), each from {limits}"), read)
        .on_line(format!("WIDTHxHEIGHT, each from {limits}"), |word| {
            let (width, height) = word.split_once('x').ok_or(None)?;
            Ok(format!("({width}, {height})"))
        })
        .limited(limits)
}

/// `None`, or a value of `kind`, which may be in `Some(...)`. On the command line, `None` means no
/// flag.
pub(super) fn maybe<T: 'static>(kind: Kind<T>) -> Kind<Option<T>> {
    let Kind { read, to_ron, .. } = kind;
    Kind {
        in_file: kind.in_file + ", or None",
        on_line: kind.on_line,
        limits: kind.limits,
        read: Box::new(move |text, mistakes| match raw::variant(text) {
            ("None", "") => Ok(None),
            ("Some", inner) => read(raw::only(inner).ok_or(None)?, mistakes).map(Some),
            _ => read(text, mistakes).map(Some),
        }),
        to_ron,
    }
}
