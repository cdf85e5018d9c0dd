//! `status` in words: a line for each sweep, a line for each iteration in flight.

use std::fmt::Write as _;

use super::figures::count;
use super::paint::Paint;
use super::words::{self, cut};
use crate::model::status::{Running, SweepStatus};

/// How many of the last iterations are told by their signs.
const MOST_SIGNS: usize = 50;

/// All sweeps, those that run first.
#[must_use]
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
    let state = if sweep.running {
        paint.green("running")
    } else {
        match &sweep.ended {
            Some(ended) => format!("not running ({ended})"),
            None => "not running".to_owned(),
        }
    };
    let mut text = format!(
        "{}  {state}\n  {} of {} recorded: {} passed, {}, {}\n",
        paint.bold(&sweep.sweep),
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
        let _ = writeln!(text, "  {}", words::rate(&sweep.rate));
    }
    if sweep.running && !sweep.latest.is_empty() {
        let shown = &sweep.latest[sweep.latest.len().saturating_sub(MOST_SIGNS)..];
        let signs: String = shown.iter().map(|one| words::sign(one.outcome)).collect();
        let last = sweep.latest.last().map_or(0, |one| one.iteration);
        let _ = writeln!(text, "  {signs} {}", paint.dim(&format!("up to {last}")));
    }
    if !sweep.by_category.is_empty() {
        let categories: Vec<String> = sweep.by_category.iter().map(|(id, n)| format!("{id} in {n}")).collect();
        let _ = writeln!(text, "  {}", categories.join(", "));
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

/// A length of time in its two largest units: `45 s`, `2 min 5 s`, `10 h 3 min`.
#[must_use]
pub fn span(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds.max(0.0))
        .unwrap_or_default()
        .as_secs();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::summary::{Method, Rate};

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
            rate: Rate::new(2, 12, 0.95, Method::ConfidenceSequence),
            by_category: [("A2".to_owned(), 2)].into(),
            in_flight: vec![running(13, 65.0), running(14, 36_000.0)],
            usual_s: Some(120.0),
            left_s: Some(2400.0),
            ended: None,
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
