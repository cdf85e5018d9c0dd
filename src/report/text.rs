//! A summary in words for a terminal of 80 columns, and the screen at the end of a sweep.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cells::{Cells, Column};
use super::paint::Paint;
use super::shown::shown;
use super::signs;
use super::tables::{Listed, lines, short_line};
use super::test_names::{self, TestNames};
use super::wrap::{cut, wrap};
use crate::judge::Verdict;
use crate::report::summary::{Run, Summary};
use crate::stats::counted;
use crate::stats::nodes::Node;
use crate::stats::test_rate::TestRate;

mod bars;
mod causes;

const WIDTH: usize = 80;

/// Most iterations that are told one by one on a screen.
const MOST_ON_SCREEN: usize = 5;

/// Whether rates are drawn as bars, and with which characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    None,
    /// With letters and signs that everything can show.
    Ascii,
    /// With lines and dots.
    Unicode,
}

/// Where the causes are listed: a report also gives the advice of each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Report,
    Screen,
}

/// The whole report: statistics of all sweeps, then each with its failures, iterations and tests.
pub fn report(summaries: &[Summary], listed: Listed, paint: Paint, chart: Chart) -> String {
    let summaries = &*Summary::shown(summaries);
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
        text += &causes::reran(summary, paint);
        text += &nodes(summary, paint);
    }
    text
}

/// What one sees when a sweep ends: counts, rate, what failed, where to look, what to run next.
pub fn screen(summary: &Summary, next: &[(String, String)], paint: Paint) -> String {
    let summary = &Summary::shown(std::slice::from_ref(summary))[0];
    let mut text = head(summary, paint);
    text += &notes(summary, "", paint);
    text += &causes::failures(summary, Detail::Screen, paint);
    text += &tests(summary, paint);
    text += &causes::reran(summary, paint);
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
            let command = shown(command);
            // A long path leaves no room beside it, and the command says most of it.
            let is_wide = width + 4 + purpose.chars().count() > WIDTH;
            let _ = if is_wide {
                writeln!(text, "  {command}")
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
    let rows = summaries.iter().map(|summary| {
        let n = &summary.iterations;
        vec![
            summary.sweep[shared.len()..].to_owned(),
            n.passed.to_string(),
            summary.rate.count.to_string(),
            n.errored.to_string(),
            summary.rate.to_string(),
        ]
    });
    let first = if shared.is_empty() {
        "sweep".to_owned()
    } else {
        format!("in {shared}")
    };
    let figures = ["passed", "failed", "errored"].map(Column::figures);
    let columns = [&[Column::names(first)], &figures[..], &[Column::text("failure rate")]].concat();
    Cells::new(columns, rows).text()
}

/// Name, conditions, counts, rate, signs.
fn head(summary: &Summary, paint: Paint) -> String {
    let n = &summary.iterations;
    let mut text = paint.bold(&summary.sweep);
    let conditions = summary.what_ran();
    if !conditions.is_empty() {
        let is_wide = summary.sweep.chars().count() + conditions.chars().count() + 2 > WIDTH;
        text += if is_wide { "\n  " } else { "  " };
        text += &conditions;
    }
    text.push('\n');
    let passed = counted(n.passed, "iteration passed", "iterations passed");
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
    let _ = writeln!(text, "\n{}", summary.rate.sentence());
    text + &outcomes(summary, paint)
}

/// The signs of a sweep's iterations in order; nothing of one iteration, or of very many.
pub(super) fn outcomes(summary: &Summary, paint: Paint) -> String {
    let signs = signs::strip(summary);
    match signs.chars().count() {
        2.. => strip(&signs, summary.span().map_or(1, |span| span.0), paint),
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
    let names = TestNames::of(summary);
    let mut text = String::new();
    for (title, runs) in [
        ("per iteration", listed.runs(summary)),
        ("replaced by --retry", summary.replaced.iter().collect()),
    ] {
        if !runs.is_empty() {
            text += "\n";
            text += &paint.bold(title);
            text += "\n";
        }
        text.extend(runs.into_iter().map(|run| iteration(run, &names, paint)));
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
            let colored = paint.verdict(run.verdict, &word);
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
    text += if summary.is_reach_assumed() {
        ", of the iterations that passed or failed\n"
    } else {
        ", of the iterations that reached them\n"
    };
    // Files in the order of their first test.
    let mut files: Vec<(&str, Vec<&TestRate>)> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for test in summary.tests.iter().chain(&summary.test_groups) {
        let (file, _) = test_names::split(&test.nodeid);
        let at = *place.entry(file).or_insert(files.len());
        if at == files.len() {
            files.push((file, Vec::new()));
        }
        files[at].1.push(test);
    }
    for (file, tests) in files {
        if !file.is_empty() {
            let _ = writeln!(text, "  {file}");
        }
        text.extend(tests.into_iter().map(|test| failing_test(test, paint)));
    }
    text
}

/// One test, or all variants of one, with its rate beside it where there is room, else below.
fn failing_test(test: &TestRate, paint: Paint) -> String {
    let (_, name) = test_names::split(&test.nodeid);
    let how_often = test.rate.count.to_string();
    let mut said = test.categories.join(" ");
    if test.variants > 1 {
        said = format!("all {} variants  {said}", test.variants);
    }
    let line = format!("  {how_often:>9}  {name}  ");
    let rate = test.rate.to_string();
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
        let rate = node.rate.to_string();
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
        let _ = writeln!(text, "  {}", run.place(run.evidence.first()));
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
