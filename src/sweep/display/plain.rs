//! One line for each thing that happens, for logs and pipes.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use super::{Reporter, printable};
use crate::judge::Verdict;
use crate::report::paint::Paint;
use crate::sweep::{Event, EventKind, Tally};

/// Writes a line for every event worth one.
pub(super) struct Lines {
    is_verbose: bool,
}

impl Lines {
    pub(super) fn new(is_verbose: bool) -> Lines {
        Lines { is_verbose }
    }
}

impl Reporter for Lines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Some(line) = line(event, self.is_verbose) else {
            return Ok(());
        };
        writeln!(anstream::stderr().lock(), "{line}")
    }
}

/// What one event reads like.
pub(super) fn line(event: &Event, is_verbose: bool) -> Option<String> {
    let arm = event.arm.as_ref().map_or_else(String::new, |arm| format!("{arm} "));
    match &event.kind {
        EventKind::SweepStarted {
            sweep,
            first,
            last,
            jobs,
            planned,
            recorded,
            versions,
            ..
        } => {
            let resumed = if *recorded > 0 {
                format!(", {recorded} recorded before")
            } else {
                String::new()
            };
            let mut text = format!("{sweep}: iterations {first}-{last}, {planned} to run{resumed}, {jobs} at a time");
            if is_verbose {
                let versions: Vec<String> = versions
                    .iter()
                    .map(|(name, version)| format!("{name} {version}"))
                    .collect();
                let _ = write!(text, "\n  {}", versions.join(", "));
            }
            Some(text)
        }
        EventKind::IterationStarted { iteration, attempt } => is_verbose.then(|| {
            format!(
                "          {arm}run{iteration:03} started{}",
                if *attempt > 1 {
                    format!(", attempt {attempt}")
                } else {
                    String::new()
                }
            )
        }),
        EventKind::IterationSlow {
            iteration,
            running_s,
            usual_s,
        } => Some(format!(
            "          {arm}run{iteration:03} has been running for {}, the others took {}",
            seconds(*running_s),
            seconds(*usual_s)
        )),
        EventKind::IterationKept {
            iteration,
            until,
            enter,
            ..
        } => Some(format!(
            "          {arm}run{iteration:03} hangs and goes on until {}; look into it with:\n            {enter}",
            until.format("%H:%M:%S UTC")
        )),
        EventKind::AttemptLost {
            iteration,
            attempt,
            reason,
        } => Some(format!(
            "          {arm}run{iteration:03} attempt {attempt} is lost: {}",
            printable(reason)
        )),
        EventKind::IterationFinished { .. } => Some(finished(event, &arm)),
        EventKind::CancelRequested { now: false } => {
            Some("stopping: nothing new is started; once more to end what runs".to_owned())
        }
        EventKind::CancelRequested { now: true } => Some("stopping: ending what runs".to_owned()),
        EventKind::SweepFinished { .. } => None,
    }
}

/// What the end of an iteration reads like; nothing for any other event.
fn finished(event: &Event, arm: &str) -> String {
    let EventKind::IterationFinished {
        iteration,
        verdict,
        outcome,
        categories,
        failing_tests,
        reran,
        duration_s,
        reason,
        ..
    } = &event.kind
    else {
        return String::new();
    };
    let mut text = format!(
        "{} {arm}run{iteration:03} {} {:>7}",
        place(&event.tally),
        word(*verdict),
        seconds(*duration_s),
    );
    if *verdict != Verdict::Passed {
        let _ = write!(text, "  {}", outcome.as_str());
        if !categories.is_empty() {
            let _ = write!(text, " {}", categories.join("+"));
        }
        for test in failing_tests.iter().take(1) {
            let _ = write!(text, "  {}", printable(test));
        }
        if failing_tests.len() > 1 {
            let _ = write!(text, " and {} more", failing_tests.len() - 1);
        }
    }
    if let Some(test) = reran.first() {
        let _ = write!(text, "  needed a rerun: {}", printable(test));
        if reran.len() > 1 {
            let _ = write!(text, " and {} more", reran.len() - 1);
        }
    }
    if *verdict != Verdict::Passed
        && let Some(reason) = reason
    {
        let _ = write!(text, "\n          {}", Paint::Color.dim(&printable(reason)));
    }
    text
}

/// The word of a verdict in its color, as wide as the longest one.
fn word(verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Passed => "PASSED ",
        Verdict::Failed => "FAILED ",
        Verdict::Errored => "ERRORED",
    };
    Paint::Color.verdict(verdict, word)
}

/// How many of how many have an answer.
fn place(tally: &Tally) -> String {
    let all = tally.recorded() + tally.running + tally.pending;
    format!("[{:>3}/{all:>3}]", tally.recorded())
}

/// A wall time, as short as it is long.
fn seconds(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    humantime::format_duration(Duration::from_secs(
        Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs(),
    ))
    .to_string()
}
