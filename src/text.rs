//! Text that strangers wrote, made fit for a terminal.

/// Control characters, and those that turn the direction of text or have no width: a name with
/// them could pass for another one, or upset a terminal.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// At most `most` characters of `text`, with a mark in the place of each that cannot be seen.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let visible = |c| if is_invisible(c) { '\u{fffd}' } else { c };
    text.chars().take(most).map(visible).collect()
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
}
