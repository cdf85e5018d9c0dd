//! Node ids as they stand in console lines: where one ends, and how a section's title becomes one.

use std::borrow::Cow;

/// Endings of files that pytest collects tests from, doctest files included.
const FILES: [&str; 11] = [
    ".py", ".txt", ".rst", ".md", ".ipynb", ".yaml", ".yml", ".feature", ".json", ".pyi", ".pyx",
];

/// Whether a word reads like a file that pytest collects from.
pub fn is_file(word: &str) -> bool {
    FILES
        .iter()
        .any(|ending| word.len() > ending.len() && word.ends_with(ending))
        && !word.contains(char::is_whitespace)
        && !word.contains(['"', '\'', '(', '='])
}

/// Whether a line starts with a node id: a test file, `::`, a name.
pub fn starts(text: &str) -> bool {
    let Some(at) = memchr::memmem::find(text.as_bytes(), b"::") else {
        return false;
    };
    let rest = &text[at + 2..];
    is_file(&text[..at]) && !rest.is_empty() && !rest.starts_with(char::is_whitespace)
}

/// An id with slashes, which a session on Windows shows with backslashes where it was not started in its root.
pub fn slashed(id: &str) -> Cow<'_, str> {
    let (file, rest) = id.split_at(id.find("::").unwrap_or(id.len()));
    if !file.contains('\\') {
        return Cow::Borrowed(id);
    }
    let file = file.replace('\\', "/");
    Cow::Owned(format!("{}{rest}", file.trim_start_matches("../")))
}

/// Whether a text starts with a node id where only ids stand: items from outside the root directory have no file.
pub fn may_start(text: &str) -> bool {
    starts(text)
        || text
            .strip_prefix("::")
            .is_some_and(|name| name.starts_with(char::is_alphabetic))
}

/// Length of the node id that a text starts with. A parameter may hold blanks, brackets and colons: it ends at the
/// bracket that is followed by a blank or by nothing; an id that was cut inside its parameter takes all the text.
pub fn length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut opened = None;
    let mut last_closed = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '[' => {
                if depth == 0 && opened.is_none() {
                    opened = Some(at);
                }
                depth += 1;
            }
            ']' => {
                depth = depth.saturating_sub(1);
                let is_end = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
                if is_end && opened.is_some() {
                    if depth == 0 {
                        return at + 1;
                    }
                    last_closed = last_closed.or(Some(at + 1));
                }
            }
            _ if char.is_whitespace() && opened.is_none() => return at,
            _ => {}
        }
    }
    last_closed.unwrap_or_else(|| text.trim_end().len())
}

/// The id's part after the file, as pytest prints it above a section: `TestX.test_y[a::b]`.
pub fn title(id: &str) -> String {
    let Some((_, name)) = id.split_once("::") else {
        return id.to_owned();
    };
    let (path, parameter) = name.split_at(name.find('[').unwrap_or(name.len()));
    format!("{}{parameter}", path.replace("::", "."))
}

/// An id from a section's title and the file its traceback shows.
pub fn from_title(file: &str, title: &str) -> String {
    let (path, parameter) = title.split_at(title.find('[').unwrap_or(title.len()));
    format!("{file}::{}{parameter}", path.replace('.', "::"))
}

/// The test's own name with its parameter, as directories of per-test logs are called.
pub fn name(id: &str) -> &str {
    let head = id.find('[').unwrap_or(id.len());
    match id[..head].rfind("::") {
        Some(at) => &id[at + 2..],
        None => id,
    }
}

/// The file of an id.
pub fn file(id: &str) -> &str {
    id.split_once("::").map_or(id, |(file, _)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_ends_where_its_parameter_ends() {
        for (text, id) in [
            ("tests/a.py::test_x PASSED", "tests/a.py::test_x"),
            (
                "tests/a.py::TestX::test_y[a b] PASSED",
                "tests/a.py::TestX::test_y[a b]",
            ),
            (
                "tests/a.py::test_y[a::b] - AssertionError: x",
                "tests/a.py::test_y[a::b]",
            ),
            ("tests/a.py::test_y[[1, 2]] - x [y]", "tests/a.py::test_y[[1, 2]]"),
            ("tests/a.py::test_y[a]b] - x", "tests/a.py::test_y[a]b]"),
            ("tests/a.py::test_y[cut in the mid", "tests/a.py::test_y[cut in the mid"),
            ("tests/a.py::test_y[é] ", "tests/a.py::test_y[é]"),
        ] {
            assert_eq!(&text[..length(text)], id);
        }
    }

    #[test]
    fn a_section_title_and_a_file_make_an_id_again() {
        for id in [
            "tests/a.py::test_x",
            "tests/a.py::TestX::test_y[1.5-a.b]",
            "a.py::test_y[x::y]",
        ] {
            assert_eq!(from_title(file(id), &title(id)), id);
        }
        assert_eq!(name("tests/a.py::TestX::test_y[a::b]"), "test_y[a::b]");
    }

    #[test]
    fn paths_of_other_languages_are_no_test_files() {
        assert!(starts("tests/router/test_a.py::test_b"));
        for text in [
            "dynamo_llm::kv_router: started",
            "see tests/a.py::test_x",
            "a.py:: ",
            "std::env",
        ] {
            assert!(!starts(text), "{text}");
        }
    }
}
