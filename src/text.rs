//! Text for people: making strangers' text fit for a terminal, counting things, wording the system's
//! errors; and text in addresses.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in an address as it is: RFC 3986 §2.3, unreserved.
pub(crate) const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `text` as one segment of an address's path, or as a query's value.
pub(crate) fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// Control characters, and those that change the direction of text or have no width: a name with
/// them could pass for another one, or upset a terminal.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// At most `most` characters of `text`, with a mark for each invisible one.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let visible = |c| if is_invisible(c) { '\u{fffd}' } else { c };
    text.chars().take(most).map(visible).collect()
}

/// `1 frame`, `2 frames`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// `error` without the numbers that the standard library appends to the system's words: "(os error
/// 2)".
pub fn without_codes(error: impl Display) -> String {
    let text = error.to_string();
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        out += rest.strip_prefix(')').unwrap_or(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_cannot_act() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{202e}c\n", 99),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}"
        );
        assert_eq!(printable("Straße 7", 6), "Straße");
    }

    #[test]
    fn errors_lose_their_numbers() {
        let error = std::io::Error::from_raw_os_error(2);
        let text = format!("a: {error}; b: {error}");
        assert_eq!(
            without_codes(text),
            "a: No such file or directory; b: No such file or directory"
        );
        assert_eq!(without_codes("none"), "none");
    }
}
