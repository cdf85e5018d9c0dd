//! `docs/reference.md` is what clap says of every command; `REFERENCE=write` writes it again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, Command};
use reproduce_flaky::commands;

const HEAD: &str = "# Reference: every command and flag

<!-- Written by `REFERENCE=write cargo test --locked --test it -- reference`, from the program's own help. -->

Flags of a sweep can also be set by a variable, `REPRODUCE_FLAKY_<FLAG>` (`REPRODUCE_FLAKY_MAX_FAILURES=3`), or in
`reproduce-flaky.toml` by their long name, see the [guide](guide.md#2-say-once-what-is-always-the-same). Exit codes are in
[CI](ci.md#exit-codes).
";

/// A flag or an argument, as it is typed.
fn typed(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let values: Vec<String> = names.iter().map(ToString::to_string).collect();
    let value = match arg.get_action() {
        clap::ArgAction::Set | clap::ArgAction::Append => values.join(" "),
        _ => String::new(),
    };
    let mut forms: Vec<String> = Vec::new();
    forms.extend(arg.get_short().map(|short| format!("`-{short}`")));
    let long = |long: &str| format!("`--{long} {value}`").replace(" `", "`");
    forms.extend(arg.get_long().map(long));
    forms.extend(arg.get_visible_aliases().unwrap_or_default().into_iter().map(long));
    if forms.is_empty() {
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) {
            "…"
        } else {
            ""
        };
        forms.push(format!("`{value}{many}`"));
    }
    forms.join(", ")
}

fn write_arg(page: &mut String, arg: &Arg) {
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let help = help.trim_end_matches('.').replace('\n', " ");
    let _ = write!(page, "- {}: {help}.", typed(arg));
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        let _ = write!(page, " Without it: `{}`.", defaults.join(","));
    }
    page.push('\n');
    if arg.is_hide_possible_values_set() || !arg.get_action().takes_values() {
        return;
    }
    for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
        let _ = match value.get_help() {
            Some(help) => writeln!(page, "  - `{}`: {help}", value.get_name()),
            None => writeln!(page, "  - `{}`", value.get_name()),
        };
    }
}

/// A command with its arguments by heading, then those below it.
fn write_command(page: &mut String, path: &str, command: &Command) {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {path}\n\n{}.\n", about.trim_end_matches('.'));
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        page.push('\n');
        if let Some(heading) = heading {
            let _ = write!(page, "**{heading}**\n\n");
        }
        for arg in args.iter().filter(|arg| arg.get_help_heading() == heading) {
            write_arg(page, arg);
        }
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_command(page, &format!("{path} {}", sub.get_name()), sub);
    }
}

#[test]
fn the_reference_is_what_the_program_says() {
    let mut page = HEAD.to_owned();
    let mut command = commands::command();
    command.build();
    write_command(&mut page, "reproduce-flaky", &command);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os("REFERENCE").is_some_and(|word| word == "write") {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differing = page
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(a, b)| a != b);
    assert!(
        page == written,
        "docs/reference.md is not what the program says, from {differing:?} on: \
         REFERENCE=write cargo test --locked --test it -- reference"
    );
}
