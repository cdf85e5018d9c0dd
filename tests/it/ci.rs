//! The workflows in `examples/ci` call the tool only in ways that it understands.

#![expect(clippy::unwrap_used, reason = "an example that cannot be read fails the test")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use reproduce_flaky::commands;

/// Every call of the tool in a file, its lines put together and what only a job knows replaced by a word.
fn calls(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| {
            let line = line.trim().trim_start_matches("- ").trim();
            let call = line.strip_prefix("reproduce-flaky ")?;
            let call = call
                .split(" || ")
                .next()
                .unwrap()
                .split(" > ")
                .next()
                .unwrap()
                .split(" >> ")
                .next()
                .unwrap()
                .split(" | ")
                .next()
                .unwrap();
            let mut words = String::new();
            let mut rest = call;
            while let Some((before, after)) = rest.split_once("${{") {
                words += before;
                words += "4";
                rest = after.split_once("}}").unwrap().1;
            }
            words += rest;
            let words = shell_words::split(&words).unwrap();
            Some(
                words
                    .into_iter()
                    .map(|word| if word.starts_with('$') { "4".to_owned() } else { word })
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn the_examples_use_only_flags_that_exist() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci");
    let mut n_calls = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        for call in calls(&fs::read_to_string(&path).unwrap()) {
            let argv = std::iter::once("reproduce-flaky".to_owned())
                .chain(call.iter().cloned())
                .map(OsString::from);
            let parsed = commands::parse(argv.collect(), None);
            assert!(
                parsed.is_ok(),
                "{}: {}: {}",
                path.display(),
                call.join(" "),
                parsed.unwrap_err()
            );
            n_calls += 1;
        }
    }
    assert!(n_calls >= 10, "only {n_calls} calls were found");
}
