//! What is said of a bundle: its README, and what `export` and `import` did.

use std::fmt::Write as _;

use crate::report::redact::Found;
use crate::report::shown::shown;
use crate::report::wrap::wrap;
use crate::run::manifest::{BundledRun, Closing, Manifest};
use crate::stats::counted as count;

const WIDTH: usize = 100;
/// Most runs that are told one by one.
const MOST_RUNS: usize = 200;

/// `README.txt` of a bundle, for who has nothing else.
pub fn readme(manifest: &Manifest) -> String {
    let mut text = format!(
        "Runs of flaky tests, exported by reproduce-flaky {} on {}.\n\n\
         Each directory below logs/ is a sweep, each runNNN in it one session of pytest in a fresh container:\n\
         run.log is what it printed, exit.json how it ended, outcome.json what that was judged to be, with the lines\n\
         that say so, autopsy/ what was collected before a hang was ended, the other directories what the tests wrote.\n\
         Secrets were replaced by [redacted: …]; redacted.json says how many of which kind.\n\n\
         To look at them:\n  reproduce-flaky import BUNDLE\n  reproduce-flaky show logs/SWEEP/runNNN\n",
        manifest.tool,
        manifest.made_at.format("%Y-%m-%d %H:%M UTC")
    );
    for sweep in &manifest.sweeps {
        let _ = writeln!(
            text,
            "\n{} ({})",
            sweep.name,
            count(sweep.runs.len() as u64, "run", "runs")
        );
        let mut runs: Vec<&BundledRun> = sweep.runs.iter().collect();
        // What did not pass is what one looks for.
        runs.sort_by_key(|run| (run.categories.is_empty(), run.iteration));
        for run in runs.iter().take(MOST_RUNS) {
            text += &one(run);
        }
        if runs.len() > MOST_RUNS {
            let _ = writeln!(text, "  and {} more, see manifest.json", runs.len() - MOST_RUNS);
        }
        if !sweep.replaced.is_empty() {
            text += " answers that --retry replaced by others; they count as much\n";
        }
        for run in sweep.replaced.iter().take(MOST_RUNS) {
            text += &one(run);
        }
    }
    if !manifest.signatures.is_empty() {
        text += "\nWhat the names of failures mean\n";
        for signature in &manifest.signatures {
            let line = format!("  {} {}: {}", signature.id, signature.title, signature.advice);
            let _ = writeln!(text, "{}", wrap(&line, WIDTH, 5));
        }
    }
    text
}

fn one(run: &BundledRun) -> String {
    let mut text = format!("  {}: {}", run.dir, run.outcome.as_str());
    for category in &run.categories {
        let _ = write!(text, " {}", shown(category));
    }
    text.push('\n');
    for test in run.failing_tests.iter().take(10) {
        let _ = writeln!(text, "      {}", shown(test));
    }
    if run.categories.is_empty() {
        return text;
    }
    if let Some(image) = &run.image {
        let id = run
            .image_id
            .as_deref()
            .map_or_else(String::new, |id| format!(" ({id})"));
        let _ = writeln!(text, "      image      {image}{id}");
    }
    let _ = writeln!(text, "      again      {}", run.again);
    if !run.argv.is_empty() {
        let _ = writeln!(text, "      by hand    {}", shell_words::join(&run.argv));
    }
    text
}

pub fn exported(file: &str, manifest: &Manifest, closing: &Closing) -> String {
    let n_runs: u64 = manifest.sweeps.iter().map(|sweep| sweep.runs.len() as u64).sum();
    let sweeps: Vec<&str> = manifest.sweeps.iter().map(|sweep| sweep.from.as_str()).collect();
    let mut text = format!(
        "{file}: {} of {}, {}\n{}\n",
        count(n_runs, "run", "runs"),
        sweeps.join(", "),
        count(closing.files, "file", "files"),
        redacted(closing)
    );
    let n_replaced: u64 = manifest.sweeps.iter().map(|sweep| sweep.replaced.len() as u64).sum();
    if n_replaced > 0 {
        let answers = count(n_replaced, "answer", "answers");
        let _ = writeln!(text, "with {answers} that --retry had replaced, which count as much");
    }
    if !closing.not_looked_for.is_empty() {
        let _ = writeln!(
            text,
            "not looked for, since their values are too short or too common: {}",
            closing.not_looked_for.join(", ")
        );
    }
    if !closing.left_out.is_empty() {
        let _ = writeln!(
            text,
            "left out, since nobody can see what is in them: {}",
            count(closing.left_out.len() as u64, "file", "files")
        );
        for name in closing.left_out.iter().take(10) {
            let _ = writeln!(text, "  {name}");
        }
    }
    let _ = writeln!(
        text,
        "\nlook at it before you send it: tar --zstd -xOf {} | less",
        shell_words::quote(file)
    );
    let _ = writeln!(text, "next: reproduce-flaky import {}", shell_words::quote(file));
    text
}

fn redacted(closing: &Closing) -> String {
    Found {
        kinds: closing.redacted.clone(),
    }
    .words()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub dir: String,
    pub new: Vec<u32>,
    /// How many were there, the same.
    pub known: u64,
    /// How many answers came that `--retry` had replaced.
    pub replaced: u64,
}

pub fn imported(sweeps: &[Imported], closing: &Closing) -> String {
    let mut text = String::new();
    for sweep in sweeps {
        let _ = write!(
            text,
            "{}: {} imported",
            shown(&sweep.dir),
            count(sweep.new.len() as u64, "run", "runs")
        );
        if sweep.known > 0 {
            let _ = write!(text, ", {} there already", sweep.known);
        }
        if sweep.replaced > 0 {
            let answers = count(sweep.replaced, "answer", "answers");
            let _ = write!(text, ", with {answers} that --retry had replaced");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "in the bundle: {}", redacted(closing));
    let first = sweeps.iter().find_map(|sweep| Some((sweep, sweep.new.first()?)));
    if let Some((sweep, iteration)) = first {
        let dir = shell_words::quote(&sweep.dir);
        let _ = writeln!(
            text,
            "\nnext: reproduce-flaky show {dir} {iteration}\n      reproduce-flaky summary {dir}"
        );
    }
    text
}
