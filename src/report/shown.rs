//! Text of tests, logs and bundles as a reader may see it: one line on which nothing acts on whoever shows it.
//!
//! Every renderer passes what it did not write itself through [`shown`]. JSON does not: there such text is data, in
//! the escapes of JSON.

use std::borrow::Cow;

use super::wrap::cut;
use crate::judge::pytest::lines::strip_escapes;

/// The text on one line: an end of a line becomes a blank, a tab four. Terminal sequences are gone, and so are control
/// characters, marks that reorder a line or hide in it, and what no XML document may hold. A command of a CI service,
/// such as `::error::` or `##[error]`, is broken by a blank wherever a line might begin with it.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unfit) && !may_hold_command(text) {
        return Cow::Borrowed(text);
    }
    // The one-character forms of two introducers are rare, and the stripper knows only the long ones.
    let text = text.replace('\u{9b}', "\u{1b}[").replace('\u{9d}', "\u{1b}]");
    let text = strip_escapes(&text).replace("\r\n", "\n");
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => line.push_str("    "),
            c if is_line_end(c) => line.push(' '),
            c if is_unfit(c) => {}
            c => line.push(c),
        }
    }
    Cow::Owned(if may_hold_command(&line) {
        without_commands(&line)
    } else {
        line
    })
}

/// The characters after which one or another reader begins a new line.
fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Control characters, marks by which a line can show another text than it has, invisible copies of ASCII, and code
/// points that are no characters.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

fn may_hold_command(text: &str) -> bool {
    text.contains("::") || text.contains("##")
}

/// GitHub obeys `::name …::` at the start of a line, blanks before it included, and any word may come to stand there
/// where a line is wrapped; `##[name]` (GitHub), `##vso[` (Azure) and `##teamcity[` are obeyed anywhere in a line.
fn without_commands(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    let mut is_start = true;
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        safe.push(c);
        let is_command = match c {
            ':' => {
                is_start
                    && rest[1..]
                        .strip_prefix(':')
                        .is_some_and(|name| name.starts_with(char::is_alphabetic))
            }
            '#' => rest[1..].strip_prefix('#').is_some_and(|name| {
                name.trim_start_matches(|c: char| c.is_ascii_alphabetic())
                    .starts_with('[')
            }),
            _ => false,
        };
        if is_command {
            safe.push(' ');
        }
        is_start = c.is_whitespace();
    }
    safe
}

/// A text cut to a number of characters, on one line, with a sign that it was cut.
pub fn short(text: &str, width: usize) -> String {
    // Longer texts are cut before they are looked at: a line of a log may have megabytes.
    let mut end = text.len().min(width * 8 + 64);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    cut(&shown(&text[..end]), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_control_characters_are_gone_and_the_rest_stays() {
        assert_eq!(shown("plain <b> Größe"), "plain <b> Größe");
        assert_eq!(shown("tests/a.py::T::test_x[a::b]"), "tests/a.py::T::test_x[a::b]");
        assert_eq!(shown("\u{1b}[31mred\u{1b}[0m\tx\u{7}\u{0}"), "red    x");
        assert_eq!(
            shown("\u{1b}]8;;http://x/\u{1b}\\link\u{1b}]8;;\u{1b}\\ 50%\r60%"),
            "link 50% 60%"
        );
        assert_eq!(shown("a\u{202e}b\u{2066}c\u{9b}31md\u{61c}\u{feff}\u{e0041}"), "abcd");
        assert_eq!(shown("a\u{fffe}b\u{ffff}c\u{fdd0}\u{1fffe}\u{fffd}"), "abc\u{fffd}");
    }

    #[test]
    fn whatever_ends_a_line_somewhere_ends_none_here() {
        for end in [
            "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}",
        ] {
            assert_eq!(shown(&format!("a{end}b")), "a b", "{end:?}");
        }
    }

    #[test]
    fn no_line_can_begin_with_a_command_of_a_ci_service() {
        for (text, line) in [
            ("::error::x", ": :error::x"),
            ("\u{1b}[0m\u{a0}::error title=a::x", "\u{a0}: :error title=a::x"),
            ("aaa ::set-env name=A::x", "aaa : :set-env name=A::x"),
            (":\u{0}:error::x", ": :error::x"),
            ("aaa##[error]x", "aaa# #[error]x"),
            ("###[group]", "## #[group]"),
            ("##vso[task.setvariable]", "# #vso[task.setvariable]"),
            ("tests/a.py::test_x ::1 ## Title", "tests/a.py::test_x ::1 ## Title"),
        ] {
            assert_eq!(shown(text), line, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_to_a_width() {
        assert_eq!(short("Größenordnung", 6), "Größe…");
        assert_eq!(short(&"\u{1b}[31m".repeat(1000), 6), "");
        assert_eq!(short("a\nb", 6), "a b");
    }
}
