//! `help`: a page of docs in the terminal, or what a command says of itself.

use std::fmt::Write as _;

use clap::Args as ClapArgs;

use super::output;
use crate::exit_code::ExitCode;
use crate::message::usage;

/// Pages that can be read in a terminal, each with its question.
const TOPICS: [(&str, &str, &str); 13] = [
    (
        "guide",
        "a sweep from beginning to end",
        include_str!("../../docs/guide.md"),
    ),
    (
        "judging",
        "what hung, crashed and errored mean, and rules of your own",
        include_str!("../../docs/judging.md"),
    ),
    ("rates", "what the figures mean", include_str!("../../docs/rates.md")),
    (
        "fixes",
        "show that a fix removed a failure",
        include_str!("../../docs/prove.md"),
    ),
    (
        "hangs",
        "hangs, crashes, stacks and cores",
        include_str!("../../docs/hangs-and-crashes.md"),
    ),
    (
        "replay",
        "repeat a failure, and find the tests that it needs",
        include_str!("../../docs/replay.md"),
    ),
    (
        "conditions",
        "a rare failure made frequent",
        include_str!("../../docs/amplify-and-culprit.md"),
    ),
    (
        "containers",
        "images, users, caches, secrets, engines",
        include_str!("../../docs/containers.md"),
    ),
    (
        "machines",
        "Slurm and other engines",
        include_str!("../../docs/more-machines.md"),
    ),
    ("ci", "exit codes, nights and gates", include_str!("../../docs/ci.md")),
    (
        "troubleshooting",
        "messages, their cause, and what to do",
        include_str!("../../docs/troubleshooting.md"),
    ),
    ("format", "files and JSON", include_str!("../../docs/format.md")),
    (
        "methods",
        "the statistics and their sources",
        include_str!("../../docs/methods.md"),
    ),
];

/// Longest line of a page in a terminal.
const WIDTH: usize = 100;

/// `help`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
        reproduce-flaky help               the topics\n  \
        reproduce-flaky help judging       a page\n  \
        reproduce-flaky help compare       what a command says of itself\n\n\
        Next: reproduce-flaky demo")]
pub struct Args {
    /// The page, or a command; without it the pages are listed.
    #[arg(value_name = "TOPIC")]
    pub topic: Option<String>,
}

/// Prints a page, the help of a command, or the list of pages.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(asked) = &args.topic else {
        output::words(&list())?;
        return Ok(ExitCode::Passed);
    };
    if let Some((_, _, page)) = TOPICS.iter().find(|(topic, _, _)| topic == asked) {
        output::words(&plain(page))?;
        return Ok(ExitCode::Passed);
    }
    let mut command = super::command();
    command.build();
    let Some(known) = command.find_subcommand_mut(asked) else {
        let topics: Vec<&str> = TOPICS.iter().map(|(topic, _, _)| *topic).collect();
        return Err(usage(
            format!("`{asked}` is neither a page nor a command"),
            Some(&format!("one of {}, or a command", topics.join(", "))),
        ));
    };
    output::words(&known.render_long_help().to_string())?;
    Ok(ExitCode::Passed)
}

fn list() -> String {
    let mut text = "pages of the documentation: reproduce-flaky help TOPIC\n\n".to_owned();
    for (topic, question, _) in TOPICS {
        let _ = writeln!(text, "  {topic:16} {question}");
    }
    text.push_str("\nevery command and flag: reproduce-flaky --help, reproduce-flaky COMMAND --help\n");
    text
}

/// A page of Markdown for a terminal: no comments, pictures or addresses of links; a row of a table is a list of its cells.
fn plain(page: &str) -> String {
    let mut text = String::new();
    let mut columns: Vec<String> = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let _ = writeln!(text, "    {line}");
        } else if line.starts_with("<!--") || line.starts_with("![") {
            // Neither says anything in a terminal.
        } else if let Some(heading) = line.strip_prefix('#') {
            let heading = without_links(heading.trim_start_matches('#').trim());
            let _ = writeln!(text, "{heading}\n{}", "-".repeat(heading.chars().count()));
        } else if line.starts_with('|') {
            let cells = cells(line);
            if columns.is_empty() {
                columns = cells;
            } else if !cells.iter().all(|cell| cell.trim_matches('-').is_empty()) {
                write_row(&mut text, &columns, &cells);
            }
            continue;
        } else {
            let _ = writeln!(text, "{}", without_links(line));
        }
        columns.clear();
    }
    // What was left out leaves an empty line on either side.
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

/// The cells of a row; `\|` stands for a bar.
fn cells(line: &str) -> Vec<String> {
    let row = line.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let row = row.strip_suffix('|').unwrap_or(&row);
    let cell = |cell: &str| without_links(cell.trim()).replace('\u{0}', "|");
    row.split('|').map(cell).collect()
}

/// The first cell, and below it the others with the names of their columns.
fn write_row(text: &mut String, columns: &[String], cells: &[String]) {
    let Some((first, others)) = cells.split_first() else {
        return;
    };
    // The values of two columns mostly fit on one line.
    if let [only] = others
        && first.chars().count() + only.chars().count() + 4 <= WIDTH
    {
        let _ = writeln!(text, "  {first:8}  {only}");
        return;
    }
    let _ = writeln!(text, "  {first}");
    for (index, cell) in others.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let name = columns
            .get(index + 1)
            .filter(|name| others.len() > 1 && !name.is_empty());
        let said = name.map_or_else(|| cell.clone(), |name| format!("{name}: {cell}"));
        for line in wrapped(&said, WIDTH - 6) {
            let _ = writeln!(text, "      {line}");
        }
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text with `[words](address)` as `words`, and without marks for emphasis.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, after)) = link.split_once("](") else {
            break;
        };
        let Some((_, after)) = after.split_once(')') else {
            break;
        };
        text.push_str(before);
        text.push_str(words);
        rest = after;
    }
    text.push_str(rest);
    text.replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_words_in_a_terminal() {
        let page = "# Title\n\nSee [rates](rates.md), **now**.\n\n<!-- not run: x -->\n```console\n$ a | b\n```\n\n\
                    | flag | meaning | off |\n| --- | --- | --- |\n| `-p a\\|b` | how | |\n| `-q` | end | never |\n\n\
                    | code | meaning |\n| --- | --- |\n| 0 | passed |\n\nEnd\n";
        assert_eq!(
            plain(page),
            "Title\n-----\n\nSee rates, now.\n\n    $ a | b\n\n  `-p a|b`\n      meaning: how\n  `-q`\n      \
             meaning: end\n      off: never\n\n  0         passed\n\nEnd\n"
        );
    }

    #[test]
    fn every_page_is_text_and_fits_its_title() {
        for (topic, _, page) in TOPICS {
            let text = plain(page);
            assert!(!text.contains("](") && !text.contains("| ---"), "{topic}");
            assert!(text.lines().count() > 20, "{topic}");
        }
    }
}
