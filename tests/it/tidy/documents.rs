//! What docs, ARCHITECTURE, the help texts and the changelog must name.

use reproduce_flaky::commands;
use reproduce_flaky::exit_code::ExitCode;

use super::{read, root};

/// The command and every subcommand that is shown, with the words that lead to it.
fn commands() -> Vec<(String, clap::Command)> {
    let mut found = vec![(String::new(), commands::command())];
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
fn every_exit_code_has_its_meaning_in_the_docs() {
    let page = read("docs/ci.md");
    for code in ExitCode::ALL {
        let row = format!("| {} |", code.code());
        assert!(page.contains(&row), "the table of docs/ci.md has no row `{row}`");
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
fn the_changelog_has_something_to_say_about_this_version() {
    let version = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md").contains(&version),
        "CHANGELOG.md has no `{version}`"
    );
}

/// Programs read the page whole: it has to stay short.
#[test]
fn the_page_for_programs_has_at_most_eighty_lines_and_twelve_commands() {
    let page = read("docs/agents.md");
    let commands = page
        .lines()
        .filter(|line| line.starts_with("$ reproduce-flaky"))
        .count();
    assert!((1..=12).contains(&commands), "{commands} commands");
    assert!(page.lines().count() <= 80, "{} lines", page.lines().count());
}
