//! Which rooms a file imports.

/// Rooms that a line of code or the lines after it import: each `crate::room` and each head of a `crate::{…}`.
pub(super) fn imports(code: &str) -> Vec<(usize, String)> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.push((line, word(rest)));
            continue;
        };
        let mut depth = 0;
        let mut is_head = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_head = true,
                c if is_head && depth == 0 && !c.is_whitespace() => {
                    found.push((line, word(&list[at..])));
                    is_head = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn lists_of_imports_are_read_to_their_end() {
    let code = "use crate::{cli, run::{self, Scan}, judge};\nuse crate::spec::Spec;\ncrate::report::shown(x)";
    let rooms: Vec<(usize, String)> = imports(code);
    let expected = [(1, "cli"), (1, "run"), (1, "judge"), (2, "spec"), (3, "report")];
    assert_eq!(rooms, expected.map(|(line, room)| (line, room.to_owned())));
}
