//! The file as written: RON, split into keys and the texts of their values, which are slices of the
//! file's text. What a key means is not known here, and each value is read on its own, so that one
//! wrong value hides no other and each mistake knows its place.

use std::fmt;

use ron::error::SpannedError;
use ron::value::RawValue;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// How deep brackets may be nested. A config needs 8 levels; ron counts two or three for each.
const DEPTH: usize = 64;

/// Reads a value from its text.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Box<SpannedError>> {
    let options = ron::Options::default().with_recursion_limit(DEPTH);
    options.from_str(text).map_err(Box::new)
}

/// `(key: value, ...)`.
#[derive(Default)]
pub(super) struct Fields<'a> {
    /// Keys and values, in the text's order.
    pub(super) written: Vec<(&'a str, &'a str)>,
    /// The known keys: all that were asked for.
    pub(super) known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The text of `key`'s value, if given.
    pub(super) fn ask(&mut self, key: &'static str) -> Option<&'a str> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.get(key)
    }

    /// Replaces what is written for `key` with `value`.
    pub(super) fn put(&mut self, key: &'static str, value: &'a str) {
        self.written.retain(|(k, _)| *k != key);
        self.written.push((key, value));
    }

    /// The same for mistakes: the key does not become known.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        let mut written = self.written.iter();
        written.find(|(k, _)| *k == key).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("keys and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    fields.written.push((key, value.get_ron()));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_struct("", &[], All)
    }
}

/// `(value)`, which follows the name in `Spread(0.5)`.
pub(super) fn only(text: &str) -> Option<&str> {
    read::<(&RawValue,)>(text)
        .ok()
        .map(|(value,)| value.get_ron())
}

/// `Name` or `Name(...)`: the name, and what follows it. The name is empty if there is none.
pub(super) fn variant(text: &str) -> (&str, &str) {
    let text = &text[leading_trivia(text)..];
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (name, &rest[leading_trivia(rest)..])
}

/// The length of white space and comments before a value.
pub(super) fn leading_trivia(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = behind_block(rest);
        } else {
            return text.len() - rest.len();
        }
    }
}

/// What follows the block comment at the start of `text`. In RON they nest.
fn behind_block(text: &str) -> &str {
    let mut depth = 0;
    let mut rest = text;
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("*/")).min() {
        match &rest[at..at + 1] {
            "/" => depth += 1,
            _ => depth -= 1,
        }
        rest = &rest[at + 2..];
        if depth == 0 {
            return rest;
        }
    }
    ""
}

/// `text` in quotes.
pub(super) fn quoted(text: &str) -> String {
    // A str can always be written.
    ron::to_string(text).unwrap_or_default()
}
