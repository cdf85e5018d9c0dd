//! `status`: how far sweeps have come, from any process, by what they leave on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::judged::CONFIDENCE;
use super::output;
use crate::cli::status::{Args, Format};
use crate::exit_code::ExitCode;
use crate::message::usage;
use crate::model::durations::Spread;
use crate::model::status::{Latest, Running, SweepStatus};
use crate::model::summary::{Method, Rate};
use crate::model::{Outcome, Verdict};
use crate::render::paint::Paint;
use crate::render::status;
use crate::render::visible::short;
use crate::store::{self, InFlight, Scan};

/// Width that is safe on every terminal.
const WIDTH: usize = 80;

/// How many of the last iterations are told.
const MOST_LATEST: usize = 50;

/// Prints how far the sweeps have come.
///
/// # Errors
/// A directory that was named and cannot be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.follow {
        return follow(args);
    }
    if let Some(jobs) = args.jobs {
        let [sweep] = args.sweeps.as_slice() else {
            return Err(usage("--jobs is for one sweep", None));
        };
        super::cancel::set_jobs(sweep, jobs)?;
    }
    let sweeps = gather(args)?;
    match args.format {
        Format::Json => output::json(&json!({"format": 1, "sweeps": sweeps}))?,
        Format::Text if sweeps.is_empty() => {
            anstream::eprintln!(
                "no sweep below `{}`, and none runs on this machine",
                args.logs_dir.display()
            );
        }
        Format::Text => output::text(&status::text(&sweeps, WIDTH, Paint::Color))?,
    }
    Ok(ExitCode::Passed)
}

/// All sweeps that are meant, those that run first.
fn gather(args: &Args) -> anyhow::Result<Vec<SweepStatus>> {
    let mut sweeps = find(args)?
        .iter()
        .map(|dir| look(dir))
        .collect::<anyhow::Result<Vec<_>>>()?;
    sweeps.sort_by_key(|sweep: &SweepStatus| !sweep.running);
    Ok(sweeps)
}

/// Shows the status again and again, until the user ends it, which ends nothing else. A terminal is redrawn in place; a
/// pipe gets each state that differs from the one before.
fn follow(args: &Args) -> anyhow::Result<ExitCode> {
    let mut shown = String::new();
    loop {
        let sweeps = gather(args)?;
        match args.format {
            Format::Json => {
                let mut line = serde_json::to_vec(&json!({"format": 1, "sweeps": sweeps}))?;
                line.push(b'\n');
                output::bytes(&line)?;
            }
            Format::Text if io::stdout().is_terminal() => {
                let (width, height) = size();
                // Moving the cursor is no color: it is written as it is.
                let paint = match anstream::AutoStream::choice(&io::stdout()) {
                    anstream::ColorChoice::Never => Paint::Plain,
                    _ => Paint::Color,
                };
                output::bytes(redraw(&status::text(&sweeps, width, paint), height).as_bytes())?;
            }
            Format::Text => {
                let text = status::text(&sweeps, WIDTH, Paint::Plain);
                if text != shown {
                    output::text(&text)?;
                    shown = text;
                }
            }
        }
        std::thread::sleep(args.interval);
    }
}

/// A picture that replaces the one before, line by line, so that nothing flickers; as many lines as there is room for.
fn redraw(text: &str, height: usize) -> String {
    let mut picture = String::from("\u{1b}[H");
    for line in text.lines().take(height.saturating_sub(1)) {
        picture += line;
        picture += "\u{1b}[K\n";
    }
    picture + "\u{1b}[J"
}

/// Columns and lines of the terminal, asked anew each time, since it may be resized.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => (WIDTH, 24),
    }
}

/// The sweeps that are meant, each once, by the shortest name that was found for it.
fn find(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut order = Vec::new();
    let mut add = |dir: PathBuf| {
        let real = fs::canonicalize(&dir).unwrap_or_else(|_| dir.clone());
        if !found.contains_key(&real) {
            found.insert(real.clone(), dir);
            order.push(real);
        }
    };
    if args.sweeps.is_empty() {
        // Neither has to be there: another machine's sweeps, or none yet.
        store::find_sweeps(&args.logs_dir)
            .unwrap_or_default()
            .into_iter()
            .for_each(&mut add);
        store::sweeps_of_this_machine().into_iter().for_each(&mut add);
    }
    for path in &args.sweeps {
        store::find_sweeps(path)?.into_iter().for_each(&mut add);
    }
    Ok(order.into_iter().filter_map(|real| found.remove(&real)).collect())
}

/// Looks at one sweep at this moment.
fn look(dir: &Path) -> anyhow::Result<SweepStatus> {
    // First what runs: what is published meanwhile is counted as recorded, and not lost in between.
    let in_flight = store::in_flight(dir)?;
    let scan = store::scan(dir)?;
    let recorded = scan.runs.len() as u64;
    let outcomes: Vec<(u32, &Outcome)> = scan
        .runs
        .iter()
        .filter_map(|run| Some((run.iteration, run.outcome.as_ref()?)))
        .collect();
    let n_with = |verdict| {
        outcomes
            .iter()
            .filter(|(_, outcome)| outcome.verdict == verdict)
            .count() as u64
    };
    let mut by_category: BTreeMap<String, u64> = BTreeMap::new();
    for category in outcomes.iter().flat_map(|(_, outcome)| &outcome.categories) {
        *by_category.entry(category.clone()).or_default() += 1;
    }
    let durations = scan
        .runs
        .iter()
        .filter_map(|run| run.exit.as_ref()?.duration_s)
        .collect();
    let now = Utc::now();
    let mut status = SweepStatus {
        sweep: dir.display().to_string(),
        running: !in_flight.is_empty(),
        planned: planned(&scan).max(recorded),
        recorded,
        passed: n_with(Verdict::Passed),
        failed: n_with(Verdict::Failed),
        errored: n_with(Verdict::Errored),
        rate: rate(n_with(Verdict::Failed), n_with(Verdict::Passed), !in_flight.is_empty()),
        by_category,
        in_flight: in_flight
            .into_iter()
            .filter(|running| scan.runs.iter().all(|run| run.iteration != running.iteration))
            .map(|running| describe(running, now))
            .collect(),
        usual_s: Spread::of(durations).map(|spread| spread.median),
        left_s: None,
        ended: scan.spec.as_ref().and_then(|spec| spec.ended.clone()),
        latest: outcomes[outcomes.len().saturating_sub(MOST_LATEST)..]
            .iter()
            .map(|(iteration, outcome)| Latest {
                iteration: *iteration,
                verdict: outcome.verdict,
                outcome: outcome.outcome,
                categories: outcome.categories.clone(),
            })
            .collect(),
    };
    status.estimate();
    Ok(status)
}

/// While it runs people look again and again, so that the interval must allow for it.
fn rate(failed: u64, passed: u64, is_running: bool) -> Rate {
    let method = if is_running {
        Method::ConfidenceSequence
    } else {
        Method::Wilson
    };
    Rate::new(failed, failed + passed, CONFIDENCE, method)
}

fn planned(scan: &Scan) -> u64 {
    scan.spec
        .as_ref()
        .map_or(0, |spec| u64::from(spec.last.saturating_sub(spec.first)) + 1)
}

fn describe(running: InFlight, now: DateTime<Utc>) -> Running {
    Running {
        iteration: running.iteration,
        elapsed_s: running.since.map(|since| (now - since).as_seconds_f64().max(0.0)),
        host: running.host,
        pid: running.pid,
        attempt: running.attempt.map(|attempt| attempt.display().to_string()),
        last_line: running.last_line.map(|line| short(line.trim(), 400)),
    }
}
