//! A summary in words for a terminal of 80 columns, and the screen at the end of a sweep.

use std::fmt::Write as _;

use super::figures::{self, count};
use super::paint::Paint;
use super::tables::{Cells, Listed, lines, short_line, test_rate};
use super::words::{self, TestNames, cut, wrap};
use crate::model::Verdict;
use crate::model::nodes::Node;
use crate::model::summary::{Run, Summary, Test};

mod bars;
mod causes;

const WIDTH: usize = 80;

/// Most iterations whose signs are shown; of a longer sweep they would be a page.
const MOST_SIGNS: usize = 1_000;

/// Most iterations that are told one by one on a screen.
const MOST_ON_SCREEN: usize = 5;

/// Whether rates are drawn, and with which signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// Not at all: the figures say it.
    None,
    /// With letters and signs that everything can show.
    Ascii,
    /// With lines and dots.
    Unicode,
}

/// How much is said of each cause.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Everything.
    Report,
    /// What fits on a screen.
    Screen,
}

/// The whole report: statistics of all sweeps, then each with its failures, iterations and tests.
#[must_use]
pub fn report(summaries: &[Summary], listed: Listed, paint: Paint, chart: Chart) -> String {
    let mut text = String::new();
    if summaries.len() > 1 {
        text += &paint.bold("run statistics");
        text.push('\n');
        text += &statistics(summaries);
        for summary in summaries.iter().filter(|summary| !summary.notes.is_empty()) {
            text += &notes(summary, &format!("{}: ", summary.sweep), paint);
        }
    }
    for (index, summary) in summaries.iter().enumerate() {
        if index > 0 || summaries.len() > 1 {
            text.push('\n');
        }
        text += &head(summary, paint);
        if summaries.len() == 1 {
            text += &notes(summary, "", paint);
        }
        text += &bars::bars(summary, chart, paint);
        text += &causes::failures(summary, Detail::Report, paint);
        text += &iterations(summary, listed, paint);
        text += &tests(summary, paint);
        text += &nodes(summary, paint);
    }
    text
}

/// One table, as wide as it is.
#[must_use]
pub fn table(cells: &Cells) -> String {
    figures::table(&cells.header, &cells.rows, &cells.figures)
}

/// What one sees when a sweep ends: counts, rate, what failed, where to look, what to run next.
#[must_use]
pub fn screen(summary: &Summary, next: &[(String, String)], paint: Paint) -> String {
    let mut text = head(summary, paint);
    text += &notes(summary, "", paint);
    text += &causes::failures(summary, Detail::Screen, paint);
    text += &tests(summary, paint);
    text += &nodes(summary, paint);
    text += &evidence(summary, paint);
    if !next.is_empty() {
        let _ = writeln!(text, "\n{}", paint.bold("next"));
        let width = next
            .iter()
            .map(|(command, _)| command.chars().count())
            .max()
            .unwrap_or(0);
        for (command, purpose) in next {
            // A long path leaves no room beside it.
            let is_wide = width + 4 + purpose.chars().count() > WIDTH;
            let _ = if is_wide {
                writeln!(text, "  {command}\n      {}", paint.dim(purpose))
            } else {
                writeln!(text, "  {command:width$}  {}", paint.dim(purpose))
            };
        }
    }
    text
}

/// One row a sweep, without the directory that they are all in.
fn statistics(summaries: &[Summary]) -> String {
    let parent = |summary: &Summary| {
        summary
            .sweep
            .rfind('/')
            .map_or("", |at| &summary.sweep[..=at])
            .to_owned()
    };
    let shared = summaries.first().map(parent).unwrap_or_default();
    let is_shared = summaries.iter().all(|summary| parent(summary) == shared);
    let shared = if is_shared { shared } else { String::new() };
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|summary| {
            let n = &summary.iterations;
            vec![
                summary.sweep[shared.len()..].to_owned(),
                n.passed.to_string(),
                summary.rate.count.to_string(),
                n.errored.to_string(),
                words::rate_cell(&summary.rate),
            ]
        })
        .collect();
    let first = if shared.is_empty() {
        "sweep".to_owned()
    } else {
        format!("in {shared}")
    };
    figures::table(
        &[&first, "passed", "failed", "errored", "failure rate"],
        &rows,
        &[1, 2, 3],
    )
}

/// Name, conditions, counts, rate, signs.
fn head(summary: &Summary, paint: Paint) -> String {
    let n = &summary.iterations;
    let mut text = paint.bold(&summary.sweep);
    let conditions = words::conditions(summary);
    if !conditions.is_empty() {
        let is_wide = summary.sweep.chars().count() + conditions.chars().count() + 2 > WIDTH;
        text += if is_wide { "\n  " } else { "  " };
        text += &conditions;
    }
    text.push('\n');
    let passed = count(n.passed, "iteration passed", "iterations passed");
    let failed = format!("{} failed", n.failed);
    let errored = format!("{} errored", n.errored);
    let _ = write!(
        text,
        "{}, {}, {}",
        if n.passed > 0 { paint.green(&passed) } else { passed },
        if n.failed > 0 { paint.red(&failed) } else { failed },
        if n.errored > 0 { paint.yellow(&errored) } else { errored }
    );
    if n.missing > 0 {
        let _ = write!(text, ", {} of {} missing", n.missing, n.planned);
    }
    let _ = writeln!(text, "\n{}", words::rate(&summary.rate));
    text + &outcomes(summary, paint)
}

/// The signs of a sweep's iterations in order; nothing of one iteration, or of very many.
pub(super) fn outcomes(summary: &Summary, paint: Paint) -> String {
    let signs = words::strip(summary);
    match signs.chars().count() {
        2..=MOST_SIGNS => strip(&signs, summary.span().map_or(1, |span| span.0), paint),
        _ => String::new(),
    }
}

/// Signs of iterations, fifty a line, with the number of the first.
fn strip(signs: &str, first: u32, paint: Paint) -> String {
    const A_LINE: usize = 50;
    let signs: Vec<char> = signs.chars().collect();
    let mut text = String::new();
    for (line, chunk) in (0_u32..).zip(signs.chunks(A_LINE)) {
        let number = first + line * 50;
        let groups: Vec<String> = chunk.chunks(10).map(|ten| ten.iter().collect()).collect();
        let line = groups.join(" ");
        let _ = writeln!(text, "{number:>7}  {}", colored(line.trim_end(), paint));
    }
    text
}

/// Signs in the color of what they stand for, those of one kind together.
fn colored(signs: &str, paint: Paint) -> String {
    let kind = |sign: &char| match sign {
        '.' => 0,
        'E' => 1,
        ' ' => 2,
        _ => 3,
    };
    let signs: Vec<char> = signs.chars().collect();
    let parts = signs.chunk_by(|a, b| kind(a) == kind(b)).map(|part| {
        let text: String = part.iter().collect();
        match kind(&part[0]) {
            0 => paint.green(&text),
            1 => paint.yellow(&text),
            2 => text,
            _ => paint.red(&text),
        }
    });
    parts.collect()
}

fn notes(summary: &Summary, prefix: &str, paint: Paint) -> String {
    let lines = summary.notes.iter().map(|note| {
        let wrapped = wrap(&format!("note: {prefix}{note}"), WIDTH, 6);
        format!("{}\n", wrapped.replacen("note:", &paint.yellow("note:"), 1))
    });
    lines.collect()
}

/// Iterations one by one, with the message of each failing test and where it stands.
fn iterations(summary: &Summary, listed: Listed, paint: Paint) -> String {
    let runs = listed.runs(summary);
    if runs.is_empty() {
        return String::new();
    }
    let names = TestNames::of(summary);
    let mut text = format!("\n{}\n", paint.bold("per iteration"));
    for run in runs {
        text += &iteration(run, &names, paint);
    }
    text
}

fn iteration(run: &Run, names: &TestNames, paint: Paint) -> String {
    let mut text = String::new();
    let number = format!("run{:03}", run.iteration);
    let word = run.outcome.as_str();
    for (index, line) in lines(run).into_iter().enumerate() {
        let lead = if index == 0 {
            let word = format!("{word:<9}");
            let colored = match run.verdict {
                Verdict::Passed => paint.green(&word),
                Verdict::Failed => paint.red(&word),
                Verdict::Errored => paint.yellow(&word),
            };
            format!("  {number:<8}{colored}")
        } else {
            " ".repeat(19)
        };
        let _ = writeln!(text, "{}", format!("{lead}  {}", short_line(names, &line)).trim_end());
        if run.verdict == Verdict::Passed && line.message.is_empty() {
            continue;
        }
        for part in head_of(&line.message) {
            let _ = writeln!(text, "{:10}{part}", "");
        }
        let worker = if line.worker.is_empty() {
            String::new()
        } else {
            format!("  [{}]", line.worker)
        };
        let _ = writeln!(text, "{:10}{}", "", paint.dim(&format!("{}{worker}", line.place)));
    }
    text
}

/// The first lines of a message, which tell most assertions to their end.
fn head_of(message: &str) -> Vec<String> {
    const MOST_LINES: usize = 3;
    let width = WIDTH - 10;
    let wrapped = wrap(&cut(message, MOST_LINES * width), width, 0);
    let mut lines: Vec<String> = wrapped.lines().map(|line| cut(line, width)).collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines[MOST_LINES - 1] = cut(&format!("{} …", lines[MOST_LINES - 1]), width);
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The failing tests counted, under the names of their files.
fn tests(summary: &Summary, paint: Paint) -> String {
    if summary.tests.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}", paint.bold("failing tests"));
    text += if summary.is_reach_assumed {
        ", of the iterations that passed or failed\n"
    } else {
        ", of the iterations that reached them\n"
    };
    let mut files: Vec<&str> = Vec::new();
    for test in &summary.tests {
        let (file, _) = words::split(&test.nodeid);
        if !files.contains(&file) {
            files.push(file);
        }
    }
    for file in files {
        if !file.is_empty() {
            let _ = writeln!(text, "  {file}");
        }
        for test in summary.tests.iter().filter(|test| words::split(&test.nodeid).0 == file) {
            text += &failing_test(test, paint);
        }
        for group in summary
            .test_groups
            .iter()
            .filter(|group| words::split(&group.nodeid).0 == file)
        {
            text += &failing_test(group, paint);
        }
    }
    text
}

/// One test, or all variants of one, with its rate beside it where there is room, else below.
fn failing_test(test: &Test, paint: Paint) -> String {
    let (_, name) = words::split(&test.nodeid);
    let how_often = format!("{}/{}", test.failed, test.of);
    let mut said = test.categories.join(" ");
    if test.variants > 1 {
        said = format!("all {} variants  {said}", test.variants);
    }
    let line = format!("  {how_often:>9}  {name}  ");
    let rate = test_rate(test);
    let is_wide = line.chars().count() + said.chars().count() + 2 + rate.chars().count() > WIDTH;
    let rate = if is_wide {
        // No percentage stands on a line without its count.
        format!("\n             {}", paint.dim(&format!("{how_often}: {rate}")))
    } else {
        paint.dim(&format!("  {rate}"))
    };
    format!("{line}{}{rate}\n", paint.dim(&said))
}

/// The machines, where there are several, the worst first.
fn nodes(summary: &Summary, paint: Paint) -> String {
    const MOST: usize = 20;
    if summary.nodes.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&Node> = summary.nodes.iter().collect();
    let worst = |node: &Node| (node.stands_out, node.rate.count.rate());
    sorted.sort_by(|a, b| worst(b).partial_cmp(&worst(a)).unwrap_or(std::cmp::Ordering::Equal));
    let mut text = format!("\n{}\n", paint.bold("nodes"));
    for node in sorted.iter().take(MOST) {
        let count = node.rate.count.to_string();
        let rate = words::rate_cell(&node.rate);
        let mark = if node.stands_out { "  stands out" } else { "" };
        let errored = if node.errored > 0 {
            format!("  {} errored", node.errored)
        } else {
            String::new()
        };
        let _ = writeln!(text, "  {count:>9}  {}  {}{errored}{mark}", node.node, paint.dim(&rate));
    }
    if sorted.len() > MOST {
        let _ = writeln!(text, "  and {} more", sorted.len() - MOST);
    }
    text
}

/// Where the first failures of each category can be read.
fn evidence(summary: &Summary, paint: Paint) -> String {
    let mut chosen: Vec<&Run> = Vec::new();
    for category in &summary.categories {
        let first = summary
            .not_passed
            .iter()
            .find(|run| run.categories.contains(&category.id));
        chosen.extend(first.filter(|run| !chosen.iter().any(|other| other.iteration == run.iteration)));
    }
    let rest = summary.not_passed.iter().filter(|run| run.categories.is_empty());
    chosen.extend(rest.take(1));
    if chosen.is_empty() {
        return String::new();
    }
    chosen.truncate(MOST_ON_SCREEN);
    let mut text = format!("\n{}\n", paint.bold("evidence"));
    for run in chosen {
        let _ = writeln!(text, "  {}", words::place(run));
        if let Some(reason) = run.reason() {
            let _ = writeln!(text, "      {}", paint.dim(&cut(reason, WIDTH - 6)));
        }
    }
    text
}

/// A text whose lines all begin at a column, within the width.
fn hang(text: &str, column: usize) -> String {
    let lines = wrap(text, WIDTH.saturating_sub(column), 0);
    lines.replace('\n', &format!("\n{:column$}", ""))
}
