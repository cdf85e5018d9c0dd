//! The rules of the house, as absences: what may not be imported where, and what the documents must name.

use std::fs;
use std::path::{Path, PathBuf};

use reproduce_flaky::cli;
use reproduce_flaky::exit_code::ExitCode;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `dir`, as a path from the root with its text.
fn rust_files(dir: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no Rust file below {dir}");
    found
}

/// The part of a file that is not its unit tests, without comments: prose may name what code may not use.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_in(name: &str, room: &str) -> bool {
    name == format!("src/{room}.rs") || name.starts_with(&format!("src/{room}/"))
}

#[track_caller]
fn nobody_uses(words: &[&str], where_: impl Fn(&str) -> bool) {
    for (name, text) in rust_files("src") {
        if !where_(&name) {
            continue;
        }
        let code = code(&text);
        for word in words {
            assert!(!code.contains(word), "{name} uses `{word}`, which has no place there");
        }
    }
}

#[test]
fn the_pure_rooms_touch_nothing_outside() {
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "tokio",
        "bollard",
        "indicatif",
        "clap",
        "Utc::now",
        "Local::now",
        "Instant",
        "SystemTime",
        "async fn",
        "stdout()",
        "stderr()",
        "rayon",
        "tempfile",
        "fs2",
    ];
    nobody_uses(&words, |name| {
        ["model", "pytest", "judge", "stats", "render"]
            .iter()
            .any(|room| is_in(name, room))
    });
}

#[test]
fn each_outside_crate_has_one_home() {
    nobody_uses(&["bollard"], |name| !name.starts_with("src/backend/docker"));
    nobody_uses(&["clap::", "clap_"], |name| !is_in(name, "cli"));
    nobody_uses(&["indicatif"], |name| name != "src/reporter/progress.rs");
    nobody_uses(&["ratatui"], |name| !is_in(name, "reporter/follow"));
    nobody_uses(&["fs2"], |name| !is_in(name, "store"));
    nobody_uses(&["println!", "print!("], |name| {
        !(name == "src/main.rs" || is_in(name, "commands") || is_in(name, "reporter"))
    });
}

#[test]
fn every_file_says_what_it_owns() {
    for (name, text) in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(text.starts_with("//! "), "{name} does not open with what it owns");
    }
}

#[test]
fn no_file_is_named_for_leftovers_or_grows_without_a_reason() {
    for (name, text) in rust_files("src") {
        let stem = Path::new(&name).file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            !["util", "utils", "helpers", "common", "types", "manager", "misc"].contains(&stem.as_str()),
            "{name}"
        );
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        // Unit tests stand at the foot and are read apart.
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        assert!(
            lines <= 400 || header.contains("400 lines long because"),
            "{name} has {lines} lines: split it or say why"
        );
    }
}

#[test]
fn nothing_is_left_open() {
    // Put together here so that this file does not find itself.
    let words = ["todo!", "unimplemented!", "TODO", "FIXME", "#[ignore", "#[allow("].map(str::to_owned);
    for (name, text) in rust_files("src").into_iter().chain(rust_files("tests")) {
        if name == "tests/it/tidy.rs" {
            continue;
        }
        for word in &words {
            assert!(!text.contains(word), "{name} has `{word}`");
        }
    }
}

/// The command and every subcommand that is shown, with the words that lead to it.
fn commands() -> Vec<(String, clap::Command)> {
    let mut found = vec![(String::new(), cli::command())];
    let mut at = 0;
    while at < found.len() {
        let (path, command) = found[at].clone();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            found.push((format!("{path} {}", sub.get_name()).trim().to_owned(), sub.clone()));
        }
        at += 1;
    }
    found
}

#[test]
fn readme_names_every_flag_and_subcommand() {
    let readme = read("README.md");
    for (path, command) in commands() {
        assert!(readme.contains(&path), "README does not name `{path}`");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                continue;
            };
            assert!(
                readme.contains(&format!("--{long}")),
                "README does not name `--{long}` of `{path}`"
            );
        }
    }
}

#[test]
fn every_help_ends_with_an_example_and_what_to_run_next() {
    for (path, mut command) in commands() {
        let help = command.render_long_help().to_string();
        if path == "man" || command.has_subcommands() && !path.is_empty() {
            continue;
        }
        assert!(help.contains("Example"), "`{path} --help` has no example");
        assert!(
            help.contains("Next: reproduce-flaky"),
            "`{path} --help` names no command to run next"
        );
    }
}

#[test]
fn readme_names_every_exit_code() {
    let readme = read("README.md");
    for code in ExitCode::ALL {
        let row = format!("| {} |", code.code());
        assert!(readme.contains(&row), "README's table has no row `{row}`");
    }
}

#[test]
fn architecture_names_only_files_that_exist() {
    let text = read("ARCHITECTURE.md");
    let mut named = 0;
    for word in text.split(|c: char| c.is_whitespace() || "`(),;".contains(c)) {
        let is_path = ["src/", "tests/", "signatures/", "examples/", "benches/", "logs/"]
            .iter()
            .any(|top| word.starts_with(top));
        if is_path && !word.contains(['*', '<', '…']) {
            assert!(
                root().join(word.trim_end_matches(['.', ':'])).exists(),
                "ARCHITECTURE.md names `{word}`"
            );
            named += 1;
        }
    }
    assert!(named >= 10, "ARCHITECTURE.md names only {named} files");
}

#[test]
fn every_dependency_is_used() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mut code: String = rust_files("src").into_iter().map(|(_, text)| text).collect();
    code.push_str(&read("build.rs"));
    let table = |name: &str| {
        manifest
            .get(name)
            .and_then(toml::Value::as_table)
            .cloned()
            .unwrap_or_default()
    };
    for name in table("dependencies").keys() {
        let module = name.replace('-', "_");
        assert!(
            code.contains(&format!("{module}::")),
            "Cargo.toml asks for `{name}`, and nothing uses it"
        );
    }
}

#[test]
fn the_changelog_has_something_to_say_about_this_version() {
    let version = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md").contains(&version),
        "CHANGELOG.md has no `{version}`"
    );
}
