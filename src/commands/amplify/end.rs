//! The end of a search: derived files brought up to date, one sentence with the flags that repeat it, the exit code.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::asked::Asked;
use crate::cli::values::Format;
use crate::commands::decided::{self, Ended};
use crate::commands::{judged_sweep, output};
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::report::cells::{Cells, Column};
use crate::stats::amplify::{Effect, Factor, Recorded, Report, Run, Stage, Step, Stop, factors};
use crate::stats::{Count, counted, percent};

/// What a search came to. Its JSON is one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Amplified<'a> {
    format: u32,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<&'a str>,
    state: &'static str,
    winner: Vec<&'a str>,
    /// Flags of a sweep that repeat it.
    flags: Vec<&'a str>,
    base: Count,
    #[serde(rename = "amplified")]
    fresh: Fresh,
    factor_low: Option<f64>,
    knobs: Vec<OfKnob<'a>>,
    /// Runs that were recorded, errored ones included.
    runs: usize,
    seed: u64,
    /// Directory of the search's sweep.
    sweep: String,
}

/// The winner's fresh runs.
#[derive(Debug, Serialize, JsonSchema)]
struct Fresh {
    failed: u64,
    of: u64,
    /// Lower bound of the rate; `None` where there is no winner.
    low: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OfKnob<'a> {
    name: &'a str,
    factor: f64,
    low: f64,
    high: Option<f64>,
    verdict: &'static str,
}

/// What is left to try where no condition was shown.
const STRONGER: &str = "
next
  a condition that is stronger, or that only you can name, and --tag for the new search:
  --knob 'starve-half: --starve 50%' where a session takes seconds; --knob 'slow: -E DELAY_MS=50'
";

impl Asked<'_> {
    pub(super) fn finish(&self, end: Option<&Ended>) -> anyhow::Result<ExitCode> {
        judged_sweep::rebuild(&self.dir(), &self.signatures)?;
        let runs = self.read()?;
        let step = self.course().next(&runs);
        let knobs = self.of_knobs(&runs, &step);
        if let Some(Ended::GaveUp(cause)) = end {
            tell(format_args!("warning: stopped without an answer: {cause}"));
        }
        match self.args.format {
            Format::Json => {
                output::json_line(&self.amplified(&runs, &step, knobs))?;
            }
            Format::Text => decided::say(&self.sweep, &self.text(&runs, &step, &knobs), output::words)?,
        }
        Ok(match (step, end) {
            (Step::Shown(_), _) => ExitCode::Passed,
            (_, Some(Ended::Interrupted)) => ExitCode::Interrupted,
            (_, _) => ExitCode::Errored,
        })
    }

    fn amplified<'a>(&'a self, runs: &[Recorded], step: &Step, knobs: Vec<OfKnob<'a>>) -> Amplified<'a> {
        let report = shown(step);
        Amplified {
            format: 1,
            class: &self.search.class,
            test: self.search.test.as_deref(),
            state: match step {
                Step::Run(_) => "open",
                Step::Shown(_) => "shown",
                Step::Stopped(_) => "nothing shown",
            },
            winner: report.map_or_else(Vec::new, |report| self.names(&report.winner)),
            flags: report.map_or_else(Vec::new, |report| self.flags(report)),
            base: report.map_or_else(|| self.base(runs), |report| report.base),
            fresh: match report {
                Some(report) => Fresh {
                    failed: report.amplified.failed(),
                    of: report.amplified.of(),
                    low: Some(report.bounds.rate),
                },
                None => Fresh {
                    failed: 0,
                    of: 0,
                    low: None,
                },
            },
            factor_low: report.map(|report| report.bounds.factor),
            knobs,
            runs: runs.len(),
            seed: self.search.seed,
            sweep: self.dir().display().to_string(),
        }
    }

    fn text(&self, runs: &[Recorded], step: &Step, knobs: &[OfKnob<'_>]) -> String {
        let class = self.target.words();
        let n_runs = counted(runs.len() as u64, "run", "runs");
        let mut text = match step {
            Step::Shown(report) => self.sentence(report),
            Step::Stopped(stop) => format!("{class}: nothing shown in {n_runs}: {}\n", why(*stop)),
            Step::Run(_) => format!("{class}: open after {n_runs}; the same command goes on\n"),
        };
        let rows: Vec<Vec<String>> = knobs.iter().map(row).collect();
        let columns = [
            Column::names("knob"),
            Column::figures("times as often"),
            Column::text("90 % of all together"),
            Column::text("by the search alone"),
        ];
        text.push('\n');
        text += &Cells::new(columns, rows).text();
        text.push('\n');
        if let Step::Stopped(_) = step {
            text += STRONGER;
        }
        text
    }

    fn sentence(&self, report: &Report) -> String {
        let mut text = format!(
            "{}: {} as it is, {} with {}: {} (at least {}), at least {:.1} times as often\n",
            self.target.words(),
            report.base,
            report.amplified,
            self.names(&report.winner).join(" + "),
            percent(report.amplified.rate().unwrap_or(0.0)),
            percent(report.bounds.rate),
            report.bounds.factor
        );
        if let ((Some(before), Some(now)), (Some(clean_before), Some(clean))) =
            (report.runs_to_see_one(), report.clean_runs_needed())
        {
            let _ = writeln!(
                text,
                "{} to see one instead of {before}; {} to prove a fix instead of {clean_before}",
                counted(now, "run", "runs"),
                counted(clean, "clean run", "clean runs"),
            );
        }
        text + &format!(
            "to repeat it: {}, or --condition-of {}\n",
            in_shell(&self.flags(report)),
            output::quoted(&self.dir())
        )
    }

    /// The flags of a sweep that turn the winner's knobs on; arguments for pytest come last.
    fn flags(&self, report: &Report) -> Vec<&str> {
        let all: Vec<&[String]> = report
            .winner
            .iter()
            .map(|knob| self.search.knobs[*knob].flags.as_slice())
            .collect();
        let split = |flags: &&[String]| flags.iter().position(|flag| flag == "--").unwrap_or(flags.len());
        let own = all.iter().flat_map(|flags| &flags[..split(flags)]);
        let mut words: Vec<&str> = own.map(String::as_str).collect();
        let pytest: Vec<&str> = all
            .iter()
            .flat_map(|flags| flags[split(flags)..].iter().skip(1))
            .map(String::as_str)
            .collect();
        if !pytest.is_empty() {
            words.push("--");
            words.extend(pytest);
        }
        words
    }

    fn names(&self, knobs: &[usize]) -> Vec<&str> {
        knobs
            .iter()
            .map(|knob| self.search.knobs[*knob].name.as_str())
            .collect()
    }

    fn base(&self, runs: &[Recorded]) -> Count {
        let fresh = runs
            .iter()
            .filter(|run| run.planned.on == 0 && run.planned.stage == Stage::Confirm);
        let fresh: Count = fresh.filter_map(|run| run.target).collect();
        let recorded = self.course().base.target;
        recorded.plus(fresh)
    }

    /// What is known of each knob by itself.
    fn of_knobs(&self, runs: &[Recorded], step: &Step) -> Vec<OfKnob<'_>> {
        let course = self.course();
        let found: Vec<Factor> = if let Some(report) = shown(step) {
            report.factors.clone()
        } else {
            let search = runs.iter().filter(|run| run.planned.stage == Stage::Search);
            let search: Vec<Run> = search.map(Recorded::run).collect();
            factors(course.knobs, course.base, &search)
        };
        let dropped = course.state(runs).dropped;
        let known = self.search.knobs.iter().zip(found).enumerate();
        known
            .map(|(at, (knob, factor))| OfKnob {
                name: &knob.name,
                factor: factor.factor,
                low: factor.low,
                high: factor.high,
                verdict: match factor.effect() {
                    _ if dropped.contains(&at) => "dropped",
                    Effect::Matters => "matters",
                    Effect::Cures => "cures",
                    Effect::NotToldApart => "not told apart",
                },
            })
            .collect()
    }
}

/// Words as a shell takes them. `-E A=1` needs no quotes, though the library that quotes gives it some.
pub(in crate::commands) fn in_shell(words: &[&str]) -> String {
    let is_plain = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:%+@".contains(c);
        !word.is_empty() && word.chars().all(plain)
    };
    let quoted = words.iter().map(|word| {
        if is_plain(word) {
            (*word).to_owned()
        } else {
            shell_words::quote(word).into_owned()
        }
    });
    quoted.collect::<Vec<String>>().join(" ")
}

fn shown(step: &Step) -> Option<&Report> {
    match step {
        Step::Shown(report) => Some(report),
        Step::Run(_) | Step::Stopped(_) => None,
    }
}

fn row(knob: &OfKnob<'_>) -> Vec<String> {
    let high = knob.high.map_or_else(|| "…".to_owned(), |high| format!("{high:.1}"));
    let verdict = if knob.verdict == "dropped" {
        "dropped: it brings other failures, or no answer"
    } else {
        knob.verdict
    };
    vec![
        knob.name.to_owned(),
        format!("{:.1}", knob.factor),
        format!("{:.1} to {high}", knob.low),
        verdict.to_owned(),
    ]
}

fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::NoWinner => "no knob was likely enough to help",
        Stop::TooFewFailures => "it failed fewer than twice",
        Stop::OutOfRuns => "the runs ended before a winner could be confirmed (--max-runs with another --tag)",
        Stop::NotConfirmed => "what the search pointed to was not confirmed on fresh runs",
    }
}
