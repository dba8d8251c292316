//! What is wrong with a config, and where: sentences with file, line, column and key, and what to
//! write instead.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ron::error::{Error as Ron, Position, SpannedError};

use super::raw::{Fields, leading_trivia};
use crate::text::{printable, without_codes};

/// A config that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config {}: {}", path.display(), without_codes(cause))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not text.
    #[error("{} is not a config: it is not text in UTF-8", .0.display())]
    NotText(PathBuf),
    /// The file is larger than any config.
    #[error("{} is not a config: it is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The content is wrong: one line for each mistake, in the file's order.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
}

/// The mistakes, one per line.
fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}

/// One mistake in a config file, or in a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is; `None`: in a flag, which the sentence names.
    pub place: Option<Place>,
    /// What is wrong and what to write instead.
    pub sentence: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the user named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line, column }) = &self.place {
            write!(f, "{file}:{line}:{column}: ")?;
        }
        f.write_str(&self.sentence)
    }
}

/// A flag for a key of the only stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The key.
    pub key: &'static str,
    /// What the user wrote.
    pub word: String,
    /// The same in the file's syntax.
    pub ron: String,
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.key.replace('_', "-"))
    }
}

/// Further mistakes are not reported: the first ones explain the rest.
const MISTAKES_MAX: usize = 20;

/// Collects the mistakes in one file and in the flags that replace its keys.
pub(super) struct Mistakes<'a> {
    file: &'a str,
    text: &'a str,
    flags: &'a [Flag],
    /// With the place in the text; those in flags have none.
    found: Vec<(Option<usize>, String)>,
}

impl<'a> Mistakes<'a> {
    /// For the file `file`, which contains `text`, and for `flags`.
    pub(super) fn new(file: &'a str, text: &'a str, flags: &'a [Flag]) -> Self {
        Mistakes {
            file,
            text,
            flags,
            found: Vec::new(),
        }
    }

    /// The flag that `part` belongs to; `None`: it belongs to the file.
    pub(super) fn flag(&self, part: &str) -> Option<&'a Flag> {
        self.flags
            .iter()
            .find(|flag| offset_in(&flag.ron, part).is_some())
    }

    /// Notes that `part`, a part of the file's text or of a flag's, is wrong.
    pub(super) fn at(&mut self, part: &str, sentence: &str) {
        let offset = offset_in(self.text, part).map(|start| start + leading_trivia(part));
        let is_flag = offset.is_none() && self.flag(part).is_some();
        // It contains text from the file, which must not upset a terminal.
        let sentence = printable(sentence, usize::MAX);
        let place = (!is_flag).then_some(offset.unwrap_or_default());
        self.found.push((place, sentence));
    }

    /// Notes that the value `part` of `key` is not allowed, and why.
    pub(super) fn value(&mut self, key: &str, part: &str, why: &str) {
        let sentence = match self.flag(part) {
            Some(flag) => format!("{flag} cannot be {}: {why}", flag.word),
            None => {
                let value = snippet(&part[leading_trivia(part)..]);
                format!("\"{key}\" cannot be {value}: {why}")
            }
        };
        self.at(part, &sentence);
    }

    /// Notes what ron found wrong in the file.
    pub(super) fn ron(&mut self, error: &SpannedError) {
        let offset = match error.code {
            // ron's cursor is after the word that it found instead.
            Ron::ExpectedNamedStructLike(_) => 0,
            _ => offset_of(self.text, &error.span.end),
        };
        let (before, after) = self.text.split_at(offset);
        self.at(after, &syntax(&error.code, before, after));
    }

    /// Notes the keys of `fields` that are unknown or given twice; `place` says in words where they
    /// are. `elsewhere`: keys that belong in another place, and that place, in which KEY stands for
    /// the key.
    pub(super) fn finish(
        &mut self,
        place: &str,
        fields: &Fields<'_>,
        elsewhere: Option<(&[&str], &str)>,
    ) {
        for (i, (key, _)) in fields.written.iter().enumerate() {
            let is_twice = fields.written[..i].iter().any(|(k, _)| k == key);
            if is_twice {
                self.at(key, &format!("\"{key}\" is given twice; keep one"));
            } else if !fields.known.contains(key) {
                let belongs = elsewhere.filter(|(keys, _)| keys.contains(key));
                let hint = match (belongs, nearest(key, &fields.known)) {
                    (Some((_, place)), _) => {
                        format!("; it belongs in {}", place.replace("KEY", key))
                    }
                    (None, Some(near)) => format!("; did you mean \"{near}\"?"),
                    (None, None) => String::new(),
                };
                let (key_name, known) = (snippet(key), fields.known.join(", "));
                let sentence =
                    format!("unknown key \"{key_name}\" in {place}{hint} (the keys are {known})");
                self.at(key, &sentence);
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// The error, unless all is well.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort();
        self.found.dedup();
        let mistakes = self.found.into_iter().take(MISTAKES_MAX);
        let place = |offset: usize| {
            let before = &self.text[..offset];
            Place {
                file: self.file.to_owned(),
                line: 1 + before.matches('\n').count(),
                column: 1 + before.chars().rev().take_while(|&c| c != '\n').count(),
            }
        };
        Err(ConfigError::Mistakes(
            mistakes
                .map(|(offset, sentence)| Mistake {
                    place: offset.map(place),
                    sentence,
                })
                .collect(),
        ))
    }
}

/// Where `part` starts in `text`, if it is a part of it.
fn offset_in(text: &str, part: &str) -> Option<usize> {
    let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let is_in = text.is_char_boundary(offset) && offset + part.len() <= text.len();
    is_in.then_some(offset)
}

/// Where ron's position is in `text`, in bytes.
fn offset_of(text: &str, position: &Position) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(position.line - 1)
        .map(str::len)
        .sum();
    let line = &text[line_start..];
    let column = line.char_indices().nth(position.col - 1);
    line_start + column.map_or(line.len(), |(i, _)| i)
}

/// A value as quoted in a sentence: on one line, not too long.
fn snippet(text: &str) -> String {
    const MAX: usize = 40;
    // A comment may follow the value.
    let text = match text.split_once("//") {
        Some((value, _)) if !value.contains('"') => value,
        _ => text,
    };
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = one_line.chars().take(MAX).collect();
    if one_line.chars().count() > MAX {
        short += "...";
    }
    if short.is_empty() {
        return "empty".to_owned();
    }
    short
}

/// The one of `words` that `found` was probably meant to be.
fn nearest<'a>(found: &str, words: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    let found = found.to_lowercase();
    words
        .iter()
        .map(|word| (strsim::jaro_winkler(&found, &word.to_lowercase()), *word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Why the text is not RON, at the point between `before` and `after`.
fn syntax(code: &Ron, before: &str, after: &str) -> String {
    let next = after[leading_trivia(after)..].chars().next();
    match (code, next) {
        (Ron::ExpectedString | Ron::ExpectedStringEnd, _) => {
            "the text that begins here has no closing quote"
        }
        (Ron::ExpectedStructLike | Ron::ExpectedNamedStructLike(_), _) => {
            "expected ( here: a config looks like (streams: [(name: \"porch\")])"
        }
        (Ron::TrailingCharacters, _) => "the config ends before this; remove the rest",
        (Ron::ExceededRecursionLimit, _) => "brackets are nested too deeply here",
        (Ron::UnclosedBlockComment, _) => "a comment is not closed; */ is missing",
        (_, None) => "the file ends early; a closing bracket is missing",
        (Ron::ExpectedMapColon, _) | (Ron::ExpectedComma, Some('=')) => {
            "expected a colon here, as in name: \"porch\""
        }
        (Ron::ExpectedComma, Some(c @ (')' | ']' | '}'))) => {
            return format!("this {c} does not match the bracket that is open");
        }
        (Ron::InvalidEscape(_) | Ron::Utf8Error(_), _) => {
            "the \\ before this does not begin an escape; write \\\\ for a backslash"
        }
        (Ron::ExpectedAttribute | Ron::ExpectedAttributeEnd | Ron::NoSuchExtension(_), _) => {
            "a config needs no #![...]; remove it"
        }
        _ if is_bare_text(before, after) => {
            "this value cannot be read; text needs quotes, as in name: \"porch\""
        }
        _ if before.trim_end().ends_with(':') && next.is_some_and(|c| ",)]}".contains(c)) => {
            "the value is missing here"
        }
        (Ron::ExpectedComma, Some('"')) if ends_with_key(before) => {
            "a colon is missing before this, as in name: \"porch\""
        }
        (Ron::ExpectedComma | Ron::ExpectedStructLikeEnd | Ron::ExpectedArrayEnd, _) => {
            "a comma is missing before this"
        }
        _ => "this is not expected here",
    }
    .to_owned()
}

/// Whether `before` ends with what may be a key: a word after `(` or a comma.
fn ends_with_key(before: &str) -> bool {
    let is_of_key = |c: char| c.is_ascii_lowercase() || c == '_';
    let without_key = before.trim_end().trim_end_matches(is_of_key);
    without_key.trim_end().ends_with(['(', ','])
}

/// Whether this is in a value like `the porch`, `/tmp/a.sdp` or `10.0.0.7:5004`: text without
/// quotes.
fn is_bare_text(before: &str, after: &str) -> bool {
    let begun = before.rsplit(['\n', '(', ',']).next().unwrap_or_default();
    let rest = after.split([',', ')', '\n']).next().unwrap_or_default();
    let line = format!("{begun}{rest}");
    let value = line.split_once(':').unwrap_or_default().1.trim_start();
    let word = value.split_whitespace().next().unwrap_or_default();
    let is_right = ["true", "false", "None"].contains(&word) || word.parse::<f64>().is_ok();
    let begins = |c: char| c.is_lowercase() || c.is_ascii_digit() || "/.~".contains(c);
    value.starts_with(begins) && !is_right && !value.contains('"')
}
