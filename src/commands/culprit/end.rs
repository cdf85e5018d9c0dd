//! The end of a search: derived files and the page brought up to date, one sentence, the exit code.

use std::io::{self, Write as _};

use anyhow::Context as _;
use chrono::Utc;

use super::ahead::{Ahead, End};
use super::asked::Asked;
use super::course::Course;
use super::evidence::Came;
use super::found::{Found, picture};
use super::words;
use crate::cli::values::Format;
use crate::commands::decided::Ended;
use crate::commands::judged_sweep::{self, JudgedSweep};
use crate::commands::output;
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::report::html::search_page;
use crate::report::paint::Paint;
use crate::report::search::Picture;
use crate::sweep::display::DisplayKind;

/// Candidates that are printed; the page has all.
const MOST_PRINTED: usize = 40;

impl Asked<'_> {
    pub(super) fn finish(&self, course: &Course, ended: &Ended) -> anyhow::Result<ExitCode> {
        let mut sweeps = Vec::new();
        for (candidate, sweep) in self.sweeps()? {
            judged_sweep::rebuild(&sweep.dir, &self.signatures)?;
            sweeps.push((candidate, sweep));
        }
        let over = match (course.ahead(), ended) {
            (Ahead::Over(end), Ended::AsPlanned) => Some(end),
            (Ahead::Over(end), _) if course.spent() > 0 => Some(end),
            (Ahead::Over(_) | Ahead::Run(_), _) => None,
        };
        let picture = Picture {
            class: self.class.to_string(),
            ..picture(course, &self.titles())
        };
        let sentence = words::sentence(course, &picture, over.as_ref());
        let page = search_page(&picture, &sentence, &crate::spec::tool(), Some(Utc::now()));
        let page = self.dir.write_page(&page)?;
        if let Ended::GaveUp(cause) = ended {
            tell(format_args!(
                "warning: stopped without an answer: the runs errored: {cause}"
            ));
        }
        match self.args.format {
            Format::Json => {
                let sweeps = self.sweep.logs.dir.display().to_string();
                let found = Found::new(course, &picture, over.as_ref(), sweeps);
                let line = serde_json::to_string(&found).context("failed to make JSON")?;
                writeln!(io::stdout().lock(), "{line}").context("failed to write the output")?;
            }
            Format::Text => {
                let picture = picture.text(MOST_PRINTED, Paint::Color);
                let next = self.next(over.as_ref(), &sweeps).into_iter();
                let next = next.map(|(command, what)| format!("  {command}   {what}\n"));
                let next = next.collect::<Vec<_>>().concat();
                self.say(&format!("{sentence}\n\n{picture}\npage: {}\n{next}", page.display()))?;
            }
        }
        Ok(match (over, ended) {
            (Some(End::Culprit { .. }), _) => ExitCode::Passed,
            (None, Ended::Interrupted) => ExitCode::Interrupted,
            (_, _) => ExitCode::Errored,
        })
    }

    fn next(&self, over: Option<&End>, sweeps: &[(usize, JudgedSweep)]) -> Vec<(String, &'static str)> {
        let mut next = Vec::new();
        if let Some(End::Culprit { candidate, .. } | End::NotConfirmed { candidate, .. }) = over {
            if self.commits.is_some() {
                next.push((format!("git show {}", self.candidates[*candidate].name), "the commit"));
            }
            let failed = sweeps
                .iter()
                .filter(|(known, _)| known >= candidate)
                .find_map(|(_, sweep)| {
                    let is_it = |outcome| Came::of(outcome, &self.class) == Came::Answered { failed: true };
                    let run = sweep.records.iter().find(|record| is_it(&record.outcome))?;
                    Some(run.dir.clone())
                });
            if let Some(dir) = failed {
                let dir = shell_words::quote(&dir.display().to_string()).into_owned();
                next.push((format!("reproduce-flaky show {dir}"), "a run that failed"));
            }
        }
        let dir = self.sweep.logs.dir.display().to_string();
        next.push((
            format!("reproduce-flaky summary {}", shell_words::quote(&dir)),
            "every candidate's sweep",
        ));
        next
    }

    /// Beside the event stream nothing else may stand on stdout.
    fn say(&self, text: &str) -> anyhow::Result<()> {
        if self.sweep.display() == DisplayKind::Jsonl {
            tell(text.trim_end());
            return Ok(());
        }
        output::text(text)
    }
}
