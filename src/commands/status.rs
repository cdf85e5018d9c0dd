//! `status`: how far sweeps have come, from any process, by what they leave on disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;

use super::output;
use crate::cli::values::{Format, LogsDir};
use crate::exit_code::ExitCode;
use crate::message::{tell, usage};
use crate::report::paint::Paint;
use crate::report::shown::shown;
use crate::report::signs;
use crate::report::time::span;
use crate::report::wrap::cut;
use crate::run;
use crate::spec::values::duration;
use crate::stats::counted as count;
use crate::sweep::display::follow;
use crate::sweep::status::{Running, SweepStatus};

mod look;

use look::Watched;

#[derive(Clone, Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    reproduce-flaky status\n  \
    reproduce-flaky status --follow\n  \
    reproduce-flaky status logs/n4_fix8 --format json\n\n\
    Next: reproduce-flaky summary on a sweep that has come far enough")]
pub struct Args {
    /// Sweeps, or trees of sweeps; without one, those below --logs-dir, and whatever else this machine runs.
    #[arg(value_name = "SWEEP")]
    pub sweeps: Vec<PathBuf>,
    #[command(flatten)]
    pub logs: LogsDir,
    /// Show it live: keys select a run, open its log or its evidence, and leave; leaving ends nothing. A pipe gets each
    /// state once.
    #[arg(short, long)]
    pub follow: bool,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_name = "D", value_parser = duration, requires = "follow")]
    pub interval: Duration,
    /// First change how many iterations run at once, of the one SWEEP named, where an engine places them.
    #[arg(long, value_name = "N", requires = "sweeps", conflicts_with = "follow", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub jobs: Option<u32>,
    /// What to print; with --follow, json is one object a line.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

/// Width that is safe on every terminal.
const WIDTH: usize = 80;

/// Prints how far the sweeps have come.
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
    let sweeps = gather(args, &mut Watched::default())?;
    match args.format {
        Format::Json => output::json(&json!({"format": 1, "sweeps": sweeps}))?,
        Format::Text if sweeps.is_empty() => {
            tell(format_args!(
                "no sweep below `{}`, and none runs on this machine",
                args.logs.dir.display()
            ));
        }
        Format::Text => output::text(&text(&sweeps, WIDTH, Paint::Color))?,
    }
    Ok(ExitCode::Passed)
}

/// All sweeps that are meant, those that run first.
fn gather(args: &Args, watched: &mut Watched) -> anyhow::Result<Vec<SweepStatus>> {
    let dirs = find(args)?;
    watched.keep_only(&dirs);
    let mut sweeps = dirs
        .iter()
        .map(|dir| watched.look(dir))
        .collect::<Result<Vec<_>, _>>()?;
    sweeps.sort_by_key(|sweep: &SweepStatus| !sweep.running);
    Ok(sweeps)
}

/// Shows the status again and again, until the user ends it, which ends nothing else. A terminal gets the view, a pipe
/// each state that differs from the one before.
fn follow(args: &Args) -> anyhow::Result<ExitCode> {
    let mut watched = Watched::default();
    let is_terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|name| name != "dumb");
    if args.format == Format::Text && is_terminal {
        // What was named has to be there before the screen is taken.
        gather(args, &mut watched)?;
        let asked = args.clone();
        follow::run(follow::Sources {
            gather: Box::new(move || gather(&asked, &mut watched)),
            log_of: |dir| run::log_of(Path::new(dir)),
            interval: args.interval,
            is_colored: paint() == Paint::Color,
            is_unicode: output::is_unicode(),
            has_keys: io::stdin().is_terminal(),
        })?;
        return Ok(ExitCode::Passed);
    }
    let mut shown = String::new();
    loop {
        let sweeps = gather(args, &mut watched)?;
        match args.format {
            Format::Json => output::json_line(&json!({"format": 1, "sweeps": sweeps}))?,
            Format::Text => {
                let text = text(&sweeps, WIDTH, Paint::Plain);
                if text != shown {
                    output::text(&text)?;
                    shown = text;
                }
            }
        }
        std::thread::sleep(args.interval);
    }
}

fn paint() -> Paint {
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => Paint::Plain,
        _ => Paint::Color,
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
        run::find_sweeps(&args.logs.dir)
            .unwrap_or_default()
            .into_iter()
            .for_each(&mut add);
        run::sweeps_of_this_machine().into_iter().for_each(&mut add);
    }
    for path in &args.sweeps {
        run::find_sweeps(path)?.into_iter().for_each(&mut add);
    }
    Ok(order.into_iter().filter_map(|real| found.remove(&real)).collect())
}

/// How many of the last iterations are told by their signs.
const MOST_SIGNS: usize = 50;

/// All sweeps, those that run first.
pub fn text(sweeps: &[SweepStatus], width: usize, paint: Paint) -> String {
    let mut text = String::new();
    for sweep in sweeps {
        text += &one(sweep, width, paint);
    }
    text
}

fn one(sweep: &SweepStatus, width: usize, paint: Paint) -> String {
    let failed = format!("{} failed", sweep.failed);
    let errored = format!("{} errored", sweep.errored);
    let state = shown(&sweep.state()).into_owned();
    let state = if sweep.running { paint.green(&state) } else { state };
    let mut text = format!(
        "{}  {state}\n  {} of {} recorded: {} passed, {}, {}\n",
        paint.bold(&shown(&sweep.sweep)),
        sweep.recorded,
        sweep.planned,
        sweep.passed,
        if sweep.failed > 0 { paint.red(&failed) } else { failed },
        if sweep.errored > 0 {
            paint.yellow(&errored)
        } else {
            errored
        },
    );
    if sweep.rate.count.failed() > 0 {
        let _ = writeln!(text, "  {}", sweep.rate.sentence());
    }
    if sweep.running && !sweep.latest.is_empty() {
        let shown = &sweep.latest[sweep.latest.len().saturating_sub(MOST_SIGNS)..];
        let signs: String = shown.iter().map(|one| signs::sign(one.outcome)).collect();
        let last = sweep.latest.last().map_or(0, |one| one.iteration);
        let _ = writeln!(text, "  {signs} {}", paint.dim(&format!("up to {last}")));
    }
    if !sweep.by_category.is_empty() {
        let categories: Vec<String> = sweep.by_category.iter().map(|(id, n)| format!("{id} in {n}")).collect();
        let _ = writeln!(text, "  {}", shown(&categories.join(", ")));
    }
    if sweep.running {
        let mut line = count(
            sweep.in_flight.len() as u64,
            "iteration in flight",
            "iterations in flight",
        );
        if let Some(usual) = sweep.usual_s {
            let _ = write!(line, ", usually {}", span(usual));
        }
        if let Some(left) = sweep.left_s {
            let _ = write!(line, ", about {} left", span(left));
        }
        let _ = writeln!(text, "  {line}");
        for running in &sweep.in_flight {
            text += &in_flight(running, sweep.usual_s, width, paint);
        }
    }
    text
}

fn in_flight(running: &Running, usual: Option<f64>, width: usize, paint: Paint) -> String {
    let number = format!("run{:03}", running.iteration);
    let elapsed = running.elapsed_s.map(span).unwrap_or_default();
    let lead = format!("    {number:<8}{elapsed:>10}  ");
    let line = cut(
        running.last_line.as_deref().unwrap_or_default(),
        width.saturating_sub(lead.chars().count()),
    );
    let is_slow = running
        .elapsed_s
        .zip(usual)
        .is_some_and(|(elapsed, usual)| elapsed > 3.0 * usual);
    let lead = if is_slow { paint.yellow(&lead) } else { lead };
    format!("{}\n", format!("{lead}{}", paint.dim(&line)).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Count, Method, Rate};

    #[test]
    fn a_running_sweep_shows_its_iterations_within_the_width() {
        let running = |iteration, elapsed_s| Running {
            iteration,
            elapsed_s: Some(elapsed_s),
            host: Some("box".to_owned()),
            pid: Some(7),
            attempt: None,
            last_line: Some(
                "tests/router/test_router_e2e_with_mockers.py::test_indexers_sync[jetstream] PASSED".to_owned(),
            ),
        };
        let status = SweepStatus {
            sweep: "logs/n4_fix8".to_owned(),
            running: true,
            planned: 50,
            recorded: 12,
            passed: 10,
            failed: 2,
            errored: 0,
            rate: Rate::new(Count::new(2, 12).unwrap(), 0.95, Method::ConfidenceSequence),
            by_category: [("A2".to_owned(), 2)].into(),
            in_flight: vec![running(13, 65.0), running(14, 36_000.0)],
            usual_s: Some(120.0),
            left_s: Some(2400.0),
            ended: None,
            stop_rule: None,
            latest: Vec::new(),
        };
        let text = text(&[status], 60, Paint::Plain);
        let expected = "\
logs/n4_fix8  running
  12 of 50 recorded: 10 passed, 2 failed, 0 errored
  2/12 failed: 17 % (95 % interval: 0.79 % to 58 %)
  A2 in 2
  2 iterations in flight, usually 2 min 0 s, about 40 min 0 s left
    run013   1 min 5 s  tests/router/test_router_e2e_with_m…
    run014  10 h 0 min  tests/router/test_router_e2e_with_m…
";
        assert_eq!(text, expected);
    }
}
