//! `history`: nights in a row.

pub mod track;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use rayon::prelude::*;

use super::judged_sweep::JudgedSweep;
use super::{output, signatures};
use crate::cli::values::{PageFormat, confidence};
use crate::exit_code::ExitCode;
use crate::message::hinted;
use crate::report::cells::{Cells, Column};
use crate::report::markdown::{self, escaped};
use crate::report::shown::shown;
use crate::run;
use crate::stats::comparison::ANY;
use crate::stats::history::{ClassHistory, History, Night};
use crate::stats::p_value;

/// `history`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky history logs\n  \
    reproduce-flaky history nights/2026-11-*/n4_night --format markdown\n  \
    reproduce-flaky history tonight/n4_night --track issues.json\n\n\
    Next: reproduce-flaky compare on two of the nights")]
pub struct Args {
    /// Sweeps, or directories of sweeps; each sweep is a night, in the order of their starts.
    #[arg(value_name = "LOGS", required = true)]
    pub logs: Vec<PathBuf>,
    /// Confidence of the intervals.
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence)]
    pub confidence: f64,
    /// File or folder of signatures instead of the built-in ones, for iterations that have no judgement yet.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// Print what is to be done with an issue for each cause of failures: open, comment, reopen or close, as one JSON
    /// object. This file keeps what was said; it is made where it is not there.
    #[arg(long, value_name = "STATE", conflicts_with = "format")]
    pub track: Option<PathBuf>,
    /// Something else that no issue may show: a regular expression, whose group is the secret if it has one; repeatable.
    #[arg(long, value_name = "REGEX", requires = "track")]
    pub redact: Vec<String>,
    /// What to print.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: PageFormat,
}

/// Prints the history.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signatures = signatures::load(args.signatures.as_deref())?;
    let mut sweeps: Vec<PathBuf> = Vec::new();
    let mut seen = BTreeSet::new();
    for path in &args.logs {
        // The same night named twice, as a glob and its parent would, is one night.
        let found = run::find_sweeps(path)?.into_iter();
        sweeps.extend(found.filter(|sweep| seen.insert(fs::canonicalize(sweep).unwrap_or_else(|_| sweep.clone()))));
    }
    if sweeps.is_empty() {
        let named: Vec<String> = args.logs.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(hinted(
            format!("no sweep below {}", named.join(", ")),
            "name directories that hold runNNN directories, or a directory of those",
        ));
    }
    let read = |dir: &PathBuf| JudgedSweep::read(dir, &signatures);
    if let Some(state) = &args.track {
        let sweeps = sweeps
            .par_iter()
            .map(read)
            .collect::<Result<Vec<_>, run::StoreError>>()?;
        track::run(&sweeps, state, args.confidence, &args.redact)?;
        return Ok(ExitCode::Passed);
    }
    let nights: Vec<Night> = sweeps
        .par_iter()
        .map(|dir| Ok(Night::of(read(dir)?.answers())))
        .collect::<Result<_, run::StoreError>>()?;
    let history = History::of(nights, args.confidence);
    match args.format {
        PageFormat::Json => output::json(&history)?,
        PageFormat::Text => output::words(&text(&history))?,
        PageFormat::Markdown => output::words(&as_markdown(&history))?,
    }
    Ok(ExitCode::Passed)
}

pub fn text(history: &History) -> String {
    let mut text = nights(history).text();
    text.push('\n');
    for class in &history.classes {
        let _ = writeln!(text, "{}", shown(&sentence(class, word(history))));
    }
    for note in &history.notes {
        let _ = writeln!(text, "note: {}", shown(note));
    }
    text
}

pub fn as_markdown(history: &History) -> String {
    let mut text = markdown::table(&nights(history));
    text.push('\n');
    for class in &history.classes {
        let _ = writeln!(text, "- {}", escaped(&sentence(class, word(history))));
    }
    for note in &history.notes {
        let _ = writeln!(text, "- note: {}", escaped(note));
    }
    text
}

/// What a row is: sweeps that began on one day are no nights.
fn word(history: &History) -> &'static str {
    let days: Vec<_> = (history.nights.iter())
        .filter_map(|night| night.started_at.map(|time| time.date_naive()))
        .collect();
    if days.windows(2).any(|pair| pair[0] == pair[1]) {
        "run"
    } else {
        "night"
    }
}

/// One row a night: the total with its interval, then how often each class was seen.
fn nights(history: &History) -> Cells {
    let classes: Vec<&str> = history
        .classes
        .iter()
        .map(|class| class.id.as_str())
        .filter(|id| *id != ANY)
        .collect();
    let mut columns = vec![
        Column::names(word(history)),
        Column::text("started"),
        Column::figures("failed"),
        Column::text("rate"),
    ];
    columns.extend(classes.iter().map(|id| Column::figures(*id)));
    columns.push(Column::figures("errored"));
    let rows = history.nights.iter().map(|night| {
        let any = &night.rates[ANY];
        let started = night
            .started_at
            .map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M").to_string());
        let mut row = vec![night.name.clone(), started, any.count.to_string(), any.to_string()];
        row.extend(classes.iter().map(|id| match night.rates[*id].count.failed() {
            0 => String::new(),
            failed => failed.to_string(),
        }));
        row.push(if night.errored > 0 {
            night.errored.to_string()
        } else {
            String::new()
        });
        row
    });
    Cells::new(columns, rows)
}

fn sentence(class: &ClassHistory, word: &str) -> String {
    let Some(first) = &class.first_night else {
        return format!("{}: never seen", class.id);
    };
    let nights = if class.nights == 1 {
        format!("1 {word}")
    } else {
        format!("{} {word}s", class.nights)
    };
    let last = class.last_night.as_ref().filter(|last| *last != first);
    let last = last.map_or_else(String::new, |last| format!(", last on `{last}`"));
    let mut text = format!("{}: on {nights}, first on `{first}`{last}", class.id);
    if class.regimes.len() > 1 {
        let parts: Vec<String> = class
            .regimes
            .iter()
            .map(|part| format!("{} from `{}` to `{}`", part.count, part.first, part.last))
            .collect();
        let _ = write!(
            text,
            "; not one constant, independent rate: {} (p = {})",
            parts.join(", then "),
            p_value(class.regime_p)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::history::Night;

    #[test]
    fn a_row_of_nights_reads_as_a_table_and_sentences() {
        let night = |name: &str, is_bad: bool| Night {
            name: name.to_owned(),
            results: (0..20)
                .map(|index| (is_bad && index % 2 == 0).then(|| vec!["A2".to_owned()]))
                .collect(),
            ..Night::default()
        };
        let nights = vec![
            night("mon", false),
            night("tue", false),
            night("wed", true),
            night("thu", true),
        ];
        assert_eq!(
            text(&History::of(nights, 0.95)),
            "\
night  started  failed  rate                 A2  errored
mon               0/20  below 14 %
tue               0/20  below 14 %
wed              10/20  50 % (30 % to 70 %)  10
thu              10/20  50 % (30 % to 70 %)  10

any: on 2 nights, first on `wed`, last on `thu`; not one constant, independent rate: 0/40 from `mon` to `tue`, \
then 20/40 from `wed` to `thu` (p = 8e-8)
A2: on 2 nights, first on `wed`, last on `thu`; not one constant, independent rate: 0/40 from `mon` to `tue`, \
then 20/40 from `wed` to `thu` (p = 8e-8)
"
        );
    }
}
