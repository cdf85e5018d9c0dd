//! The end of a proof: derived files brought up to date, one sentence, the exit code.

use std::fmt::Write as _;

use super::asked::Asked;
use super::base::is_of;
use super::plan::Proving;
use super::words::{self, Proved};
use crate::cli::values::Format;
use crate::commands::judged_sweep::{self, JudgedSweep};
use crate::commands::{decided, output};
use crate::exit_code::ExitCode;
use crate::judge::Record;
use crate::report::shown::short;
use crate::spec::Design;
use crate::stats::Conclusion;
use crate::stats::sample::Sample;
use crate::sweep::stop::Class;

impl Asked<'_> {
    pub(super) fn finish(&self, proving: &Proving) -> anyhow::Result<ExitCode> {
        let dirs = self.dirs(proving);
        for dir in &dirs {
            judged_sweep::rebuild(dir, &self.signatures)?;
        }
        let (runs, shown) = self.read(proving)?;
        let sweeps: Vec<JudgedSweep> = dirs
            .iter()
            .map(|dir| JudgedSweep::read(dir, &self.signatures))
            .collect::<Result<_, _>>()?;
        let fix = &sweeps[proving.fix()];
        let proof = &proving.proof;
        let costs = self.costs();
        let announced = match proof.design {
            Design::Recorded => costs.recorded_runs(),
            Design::Control => costs.control_runs(),
        };
        let first = fix.answers().first();
        let failed: Vec<&Record> = first
            .iter()
            .filter(|record| is_of(&proving.class, &record.outcome))
            .collect();
        let failed = &failed[..failed
            .len()
            .min(usize::try_from(shown.fix.failed()).unwrap_or(usize::MAX))];
        match self.args.format {
            Format::Json => {
                let proved = Proved {
                    format: 1,
                    class: proof.class.clone(),
                    design: proof.design,
                    announced: announced.unwrap_or(proof.most),
                    base: shown.base,
                    new: shown.fix,
                    p: shown.p,
                    state: words::state(shown.conclusion),
                    runs: sweeps.iter().map(|sweep| sweep.answers().all().count() as u64).sum(),
                    sweep: dirs[proving.fix()].display().to_string(),
                };
                output::json_line(&proved)?;
            }
            Format::Text => {
                let numbers: Vec<u32> = failed.iter().map(|record| record.iteration).collect();
                let mut text = words::sentence(proof, &shown, &numbers, proving.wanted(&runs)) + "\n";
                if shown.conclusion != Some(Conclusion::Fewer)
                    && let Some(record) = failed.first()
                {
                    text += &again(record, &proving.class);
                }
                text += &words::others(&proof.class, &self.base.sample, &Sample::of(fix.answers(), 0));
                decided::say(&self.sweep, &text, output::words)?;
            }
        }
        Ok(match shown.conclusion {
            Some(Conclusion::Fewer) => ExitCode::Passed,
            Some(Conclusion::NotShown | Conclusion::More) => ExitCode::Reproduced,
            None => ExitCode::Errored,
        })
    }
}

/// Where the fix failed again: the line that says so, and how to see the rest.
fn again(record: &Record, class: &Class) -> String {
    let id = class.to_string();
    let evidence = &record.outcome.evidence;
    let own = evidence
        .iter()
        .find(|evidence| evidence.category == id)
        .or(evidence.first());
    let mut text = String::new();
    if let Some(own) = own {
        let place = match own.line {
            Some(line) => format!("{}:{line}", own.file),
            None => own.file.clone(),
        };
        let _ = writeln!(text, "  {}: {}", short(&place, 100), short(own.text.trim(), 200));
    }
    text + &format!("  reproduce-flaky show {}\n", output::quoted(&record.dir))
}
