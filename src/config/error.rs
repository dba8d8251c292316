//! What is wrong with a config, and where: sentences that name file, line, column and key, and say
//! what to write instead.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ron::error::{Error as Ron, Position, SpannedError};

use super::raw::{CAMERA_KEYS, takes};
use crate::text::printable;

/// A config that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is larger than any config.
    #[error("{} is larger than 1 MiB, so it is no config of lancam", .0.display())]
    TooLarge(PathBuf),
    /// The file was read and is wrong: one line for each mistake, in the file's order.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
}

/// The mistakes, one a line.
fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}

/// One mistake in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub sentence: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.sentence
        )
    }
}

/// More mistakes than this are not told: the first ones explain the rest.
const MISTAKES_MAX: usize = 20;

/// Collects the mistakes of one file.
pub(super) struct Mistakes<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Mistakes<'a> {
    /// For the file called `file` that holds `text`.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Mistakes {
            file,
            text,
            found: Vec::new(),
        }
    }

    /// Notes that `part`, a part of the file's text, is wrong.
    pub(super) fn at(&mut self, part: &str, sentence: String) {
        let start = self.offset(part);
        // Some of the file's own text stands in it, which must not upset a terminal.
        let sentence = printable(&sentence, usize::MAX);
        self.found.push((start + leading_trivia(part), sentence));
    }

    /// Notes that the value `part` of `key` is not allowed.
    pub(super) fn value(&mut self, key: &str, part: &str, why: &str) {
        let value = snippet(&part[leading_trivia(part)..]);
        let mut sentence = format!("\"{key}\" cannot be {value}");
        if !why.is_empty() {
            sentence += &format!(": {why}");
        }
        if let Some(takes) = takes(key) {
            let colon = if why.is_empty() { ":" } else { ";" };
            sentence += &format!("{colon} write {takes}");
        }
        self.at(part, sentence);
    }

    /// Notes what ron found wrong in `part`, the value of `key` (empty: the file itself).
    pub(super) fn ron(&mut self, key: &str, part: &str, error: &SpannedError) {
        let end = offset_of(part, &error.span.end);
        // ron's cursor stands behind the word that it did not like.
        let word = |word: &str| {
            let start = part[..end].rfind(word).unwrap_or(end);
            &part[start..end]
        };
        match &error.code {
            Ron::NoSuchStructField {
                expected,
                found,
                outer,
            } => {
                let sentence = unknown_key(found, expected, &place(key, outer.as_deref()));
                self.at(word(found), sentence);
            }
            Ron::DuplicateStructField { field, .. } => {
                self.at(word(field), format!("\"{field}\" is there twice: keep one"));
            }
            Ron::NoSuchEnumVariant {
                expected, found, ..
            } => {
                let mut sentence = format!("\"{key}\" cannot be {}", snippet(found));
                sentence += &match nearest(found, expected) {
                    Some(near) => format!("; did you mean {near}? Write "),
                    None => ": write ".to_owned(),
                };
                sentence += takes(key).unwrap_or_default();
                let at = word(found);
                self.at(at, sentence);
            }
            _ if takes(key).is_some() => self.value(key, part, ""),
            code => {
                let sentence = syntax(code, &part[..end], &part[end..]);
                self.at(&part[end..], sentence);
            }
        }
    }

    /// The error, unless all is well.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|(offset, _)| *offset);
        let mistakes = self.found.iter().take(MISTAKES_MAX);
        Err(ConfigError::Mistakes(
            mistakes
                .map(|(offset, sentence)| {
                    let before = &self.text[..*offset];
                    Mistake {
                        file: self.file.to_owned(),
                        line: 1 + before.matches('\n').count(),
                        column: 1 + before.chars().rev().take_while(|&c| c != '\n').count(),
                        sentence: sentence.clone(),
                    }
                })
                .collect(),
        ))
    }

    /// Where `part` starts in the file's text, of which it is a part.
    fn offset(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if self.text.is_char_boundary(offset) {
            offset
        } else {
            0
        }
    }
}

/// Where ron's position lies in `text`, in bytes.
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

/// How much white space and comments stand in front of a value.
fn leading_trivia(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // A nested comment leaves us inside it: the place is then a little early, no more.
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            return text.len() - rest.len();
        }
    }
}

/// A value as it is quoted in a sentence: on one line, not too long.
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

/// Where a key stands, in words.
fn place(key: &str, outer: Option<&str>) -> String {
    match (key, outer) {
        ("streams", _) => "a stream".to_owned(),
        ("", _) => "the config".to_owned(),
        (_, Some(outer)) => format!("{outer}(...)"),
        (key, None) => format!("\"{key}\""),
    }
}

/// `found` is no key: which might be meant, and which there are.
fn unknown_key(found: &str, expected: &[&str], place: &str) -> String {
    let mut sentence = format!("unknown key \"{}\" in {place}", snippet(found));
    if place == "a stream" && CAMERA_KEYS.contains(&found) {
        sentence += &format!("; it belongs to a camera: source: Camera({found}: ...)");
    } else if place == "the config" && takes(found).is_some() {
        sentence += &format!("; it belongs to a stream: streams: [({found}: ...)]");
    } else if let Some(near) = nearest(found, expected) {
        sentence += &format!("; did you mean \"{near}\"?");
    }
    if !sentence.ends_with('?') {
        sentence.push(';');
    }
    sentence + " allowed: " + &expected.join(", ")
}

/// The word of `words` that `found` was probably meant to be.
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

/// The file is no RON where `before` ends and `after` begins.
fn syntax(code: &Ron, before: &str, after: &str) -> String {
    let next = after[leading_trivia(after)..].chars().next();
    let what = match (code, next) {
        (Ron::ExpectedString | Ron::ExpectedStringEnd, _) => {
            "the text that begins here has no closing quote".to_owned()
        }
        (Ron::ExpectedStructLike | Ron::ExpectedNamedStructLike(_), _) => {
            "an opening ( is missing here: a config looks like (streams: [(name: \"porch\")])"
                .to_owned()
        }
        (Ron::TrailingCharacters, _) => {
            "the config ends before this: remove what follows".to_owned()
        }
        (Ron::ExceededRecursionLimit, _) => "brackets are nested too deep here".to_owned(),
        (Ron::UnclosedBlockComment, _) => "a comment is not closed: */ is missing".to_owned(),
        (_, None) => "the file ends in the middle: a closing bracket is missing".to_owned(),
        (Ron::ExpectedMapColon, _) | (Ron::ExpectedComma, Some('=')) => {
            "a colon is missing here: write name: \"porch\"".to_owned()
        }
        (Ron::ExpectedComma, Some(c @ (')' | ']' | '}'))) => {
            format!("this {c} does not close the bracket that is open")
        }
        (Ron::ExpectedComma | Ron::ExpectedStructLikeEnd | Ron::ExpectedArrayEnd, _) => {
            "a comma is missing before this".to_owned()
        }
        (other, _) => {
            let text = other.to_string();
            format!("this is not RON: {}", snippet(&text).to_lowercase())
        }
    };
    match unquoted(before) {
        Some(key) => format!("{what} (\"{key}\" takes a text in quotes)"),
        None => what,
    }
}

/// The key of the last line of `before`, if it takes a text and none is begun.
fn unquoted(before: &str) -> Option<&str> {
    let line = before.lines().last()?;
    let (head, value) = line.rsplit_once(": ")?;
    let key = head.rsplit([' ', '(', ',', '\t']).next()?;
    let text = matches!(
        key,
        "name" | "group" | "interface" | "sdp" | "device" | "listen" | "token"
    );
    (text && !value.contains('"')).then_some(key)
}
