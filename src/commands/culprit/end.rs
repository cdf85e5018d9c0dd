//! The end of a search: derived files and the page brought up to date, one sentence, the exit code.

use chrono::Utc;

use super::asked::Asked;
use super::course::{Ahead, Course};
use super::evidence::RunResult;
use super::found::{Found, picture};
use super::words;
use crate::cli::values::Format;
use crate::commands::decided::{self, Ended};
use crate::commands::judged_sweep::{self, JudgedSweep};
use crate::commands::output;
use crate::exit_code::ExitCode;
use crate::message::tell;
use crate::report::html::search_page;
use crate::report::paint::Paint;
use crate::report::search::Picture;
use crate::stats::culprit::End;

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
                output::json_line(&Found::new(course, &picture, over.as_ref(), sweeps))?;
            }
            Format::Text => {
                let picture = picture.text(MOST_PRINTED, Paint::Color);
                let next = self.next(over.as_ref(), &sweeps).into_iter();
                let next = next.map(|(command, what)| format!("  {command}   {what}\n"));
                let next = next.collect::<Vec<_>>().concat();
                let text = format!("{sentence}\n\n{picture}\npage: {}\n{next}", page.display());
                decided::say(&self.sweep, &text, output::text)?;
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
                    let is_it = |outcome| RunResult::of(outcome, &self.class) == RunResult::Answered { failed: true };
                    let run = sweep.records.iter().find(|record| is_it(&record.outcome))?;
                    Some(run.dir.clone())
                });
            if let Some(dir) = failed {
                let show = format!("reproduce-flaky show {}", output::quoted(&dir));
                next.push((show, "a run that failed"));
            }
        }
        let summary = format!("reproduce-flaky summary {}", output::quoted(&self.sweep.logs.dir));
        next.push((summary, "every candidate's sweep"));
        next
    }
}
