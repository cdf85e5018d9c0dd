//! Text from logs as it may be shown: without terminal escapes, control characters, and marks that reorder a line.

use std::borrow::Cow;

/// The text as a reader may see it; a tab becomes four blanks, a carriage return inside a line one.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('\t', "    ").replace('\r', " ");
    let text = if text.contains(['\u{1b}', '\u{9b}', '\u{9d}']) {
        strip_ansi_escapes::strip_str(&text)
    } else {
        text
    };
    Cow::Owned(text.chars().filter(|c| !is_hidden(*c)).collect())
}

/// Control characters but for the end of a line, and the marks by which a line can show another text than it has.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A visible text cut to a number of characters, on one line, with a sign that it was cut.
#[must_use]
pub fn short(text: &str, width: usize) -> String {
    // Longer texts are cut before they are looked at: a line of a log may have megabytes.
    let mut end = text.len().min(width * 8 + 64);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    super::words::cut(&visible(&text[..end]), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_control_characters_are_gone_and_the_rest_stays() {
        assert_eq!(visible("plain <b> Größe"), "plain <b> Größe");
        assert_eq!(visible("\u{1b}[31mred\u{1b}[0m\tx\u{7}\u{0}"), "red    x");
        assert_eq!(
            visible("\u{1b}]8;;http://x/\u{1b}\\link\u{1b}]8;;\u{1b}\\ 50%\r60%"),
            "link 50% 60%"
        );
        assert_eq!(visible("a\u{202e}b\u{2066}c\u{85}\u{9b}31md"), "abcd");
    }

    #[test]
    fn long_texts_are_cut_to_a_width() {
        assert_eq!(short("Größenordnung", 6), "Größe…");
        assert_eq!(short(&"\u{1b}[31m".repeat(1000), 6), "");
        assert_eq!(short("a\nb", 6), "a b");
    }
}
