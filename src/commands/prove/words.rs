//! `prove` in words: what it will cost, and what came of it.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::Shown;
use crate::report::cells::{Cells, Column};
use crate::report::cost::Cost;
use crate::spec::{Design, Proof};
use crate::stats::comparison::ANY;
use crate::stats::prove::{NoPlan, Plan, looks};
use crate::stats::sample::Sample;
use crate::stats::sign::{SignPlan, expected_blocks};
use crate::stats::{Conclusion, Count, Method, Rate, counted, p_value, percent};

const IN_WORDS: [&str; 9] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"];

/// Both ways to prove a fix, with what each takes.
pub(super) struct Costs<'a> {
    pub(super) class: String,
    pub(super) base: Count,
    /// How often the class came under the conditions of both sides, where that was measured: the base run again fails so
    /// often.
    pub(super) beside: Option<Count>,
    pub(super) recorded: &'a Result<Plan, NoPlan>,
    pub(super) control: &'a Result<SignPlan, NoPlan>,
    pub(super) jobs: u32,
    pub(super) each_s: Option<f64>,
    pub(super) is_full: bool,
}

impl Costs<'_> {
    fn cost(&self, runs: u64) -> Cost {
        Cost {
            runs,
            jobs: self.jobs,
            each_s: self.each_s,
        }
    }

    /// Runs until a complete fix is shown by the first look, where there is a plan.
    pub(super) fn recorded_runs(&self) -> Option<u64> {
        let plan = self.recorded.as_ref().ok()?;
        if self.is_full {
            plan.looks.last().copied()
        } else {
            plan.looks.first().copied()
        }
    }

    /// Runs, of both sides together, until a complete fix is shown by blocks.
    pub(super) fn control_runs(&self) -> Option<u64> {
        let plan = self.control.as_ref().ok()?;
        let blocks = if self.is_full {
            plan.most_blocks
        } else {
            expected_blocks(self.beside.unwrap_or(self.base))
        };
        Some(2 * blocks?)
    }

    /// What is said before anything starts, a line each; the way that is taken first.
    pub(super) fn lines(&self, design: Design, is_objected: bool) -> Vec<String> {
        let mut lines = match design {
            Design::Recorded => vec![
                format!("{}: {} before; {}", self.class, self.base, self.recorded_line()),
                format!("or --control: {}", self.control_line()),
            ],
            Design::Control => vec![
                format!(
                    "{}: {} before; with the base run again beside the fix: {}",
                    self.class,
                    self.base,
                    self.control_line()
                ),
                format!(
                    "or {}: {}",
                    if is_objected {
                        "--trust-base"
                    } else {
                        "without --control"
                    },
                    self.recorded_line()
                ),
            ],
        };
        lines.extend(self.few_failures());
        lines.extend(self.cheaper());
        lines
    }

    fn recorded_line(&self) -> String {
        let plan = match self.recorded {
            Ok(plan) => plan,
            Err(cause) => return format!("no plan beside the recorded runs: {}", why(*cause)),
        };
        let time = |runs| time(&self.cost(runs));
        let most = plan.looks.last().copied().unwrap_or(0);
        if self.is_full {
            return format!(
                "{} of the fix, whatever they show{}",
                counted(most, "run", "runs"),
                time(most)
            );
        }
        match plan.looks.as_slice() {
            [clean] => format!(
                "if it is gone, {} show it (5 %); a failure of {} ends it{}",
                counted(*clean, "clean run", "clean runs"),
                self.class,
                time(*clean)
            ),
            looks => {
                let mut text = format!("shown by {}", counted(looks[0], "clean run", "clean runs"));
                for (failures, look) in looks.iter().enumerate().skip(1) {
                    let with = IN_WORDS.get(failures).copied().unwrap_or("more");
                    let _ = match failures {
                        1 => write!(text, ", or {look} with one failure"),
                        _ => write!(text, ", {look} with {with}"),
                    };
                }
                text + " (5 % in all)" + &time(most).replace("; about", "; at most about")
            }
        }
    }

    fn control_line(&self) -> String {
        let plan = match self.control {
            Ok(plan) => plan,
            Err(cause) => return format!("no plan with the base run again: {}", why(*cause)),
        };
        let most = plan.most_blocks.unwrap_or(0);
        if self.is_full {
            return format!(
                "{most} blocks of one run each, whatever they show{}",
                time(&self.cost(2 * most))
            );
        }
        let expected = expected_blocks(self.beside.unwrap_or(self.base)).unwrap_or(0);
        format!(
            "about {expected} blocks of one run each, {most} at most{}{}",
            time(&self.cost(2 * expected)),
            self.beside.map_or_else(String::new, |count| format!(
                "; it came in {count} under these conditions"
            ))
        )
    }

    /// What a base with one or two failures is worth.
    fn few_failures(&self) -> Option<String> {
        let (failed, of) = (self.base.failed(), self.base.of());
        if failed > 2 || self.beside.is_some() {
            return None;
        }
        let seen = match failed {
            1 => "seen once: one failure carries little",
            _ => "2 failures carry little",
        };
        let twice = Count::new(2 * failed, 2 * of)?;
        let more = looks(twice, 0).first().copied().flatten()?;
        Some(format!(
            "{seen}: with twice the base at the same rate it would take {more}"
        ))
    }

    fn cheaper(&self) -> Option<String> {
        let (recorded, control) = (self.recorded_runs()?, self.control_runs()?);
        Some(if control < recorded {
            format!("cheaper: --control, about {control} runs instead of {recorded}")
        } else {
            format!("cheaper: the recorded base, {recorded} runs instead of about {control}")
        })
    }
}

fn time(cost: &Cost) -> String {
    match cost.time() {
        time if time.is_empty() => time,
        time => format!("; about {time}"),
    }
}

pub(super) fn why(cause: NoPlan) -> String {
    match cause {
        NoPlan::NeverFailed => "the base did not fail".to_owned(),
        NoPlan::TooLong => "it would take more than 100,000".to_owned(),
        NoPlan::TooWeak { assurance } => {
            format!("the best shows such a fix with a probability of {}", percent(assurance))
        }
    }
}

/// What a proof came to. Its JSON is one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct Proved {
    pub(super) format: u32,
    pub(super) class: String,
    pub(super) design: Design,
    /// Runs that were announced for a complete fix.
    pub(super) announced: u64,
    /// What the fix was compared with: the recorded base, or the base run again.
    pub(super) base: Count,
    pub(super) new: Count,
    pub(super) p: Option<f64>,
    pub(super) state: &'static str,
    /// Runs that were recorded, errored ones included.
    pub(super) runs: u64,
    /// Directory of the fix's sweep.
    pub(super) sweep: String,
}

pub(super) fn state(conclusion: Option<Conclusion>) -> &'static str {
    conclusion.map_or("open", Conclusion::as_str)
}

/// The sentence at the end. `failed` are the runs of the fix that failed again.
pub(super) fn sentence(proof: &Proof, shown: &Shown, failed: &[u32], missing: u64) -> String {
    let p = shown.p.map_or_else(String::new, |p| format!("p = {}", p_value(p)));
    let fix = shown.fix;
    let base = shown.base;
    let beside = match proof.design {
        Design::Recorded => format!("{fix} after {base}"),
        Design::Control => format!("{fix} beside {base} of the base run again"),
    };
    let blocks = shown.blocks.map_or_else(String::new, |(blocks, only_base, only_fix)| {
        format!(
            "; of {} only the base failed in {only_base}, only the fix in {only_fix}",
            counted(blocks, "block", "blocks")
        )
    });
    let class = &proof.class;
    let word = state(shown.conclusion);
    match shown.conclusion {
        Some(Conclusion::Fewer | Conclusion::More) => format!("{class}: {word}: {beside} ({p}{blocks})"),
        Some(Conclusion::NotShown) => match failed {
            [] => format!("{class}: {word}: {beside}{blocks}"),
            [run] => format!("{class}: {word}: it failed again in run {run} ({beside}{blocks})"),
            runs => format!(
                "{class}: {word}: it failed again in runs {} ({beside}{blocks})",
                list(runs)
            ),
        },
        None => {
            let what = match proof.design {
                Design::Recorded if proof.is_full => counted(missing, "run", "runs"),
                Design::Recorded => counted(missing, "more clean run", "more clean runs"),
                Design::Control => counted(missing, "more block", "more blocks"),
            };
            format!("{class}: {word}: {beside}{blocks}; no decision yet, {what} at least to go")
        }
    }
}

fn list(runs: &[u32]) -> String {
    const MOST: usize = 12;
    let mut shown: Vec<String> = runs.iter().take(MOST).map(u32::to_string).collect();
    if runs.len() > MOST {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// The other classes as they were seen: nothing is proved of them.
pub(super) fn others(class: &str, base: &Sample, new: &Sample) -> String {
    // All failures together say nothing else where they are all of this class.
    let is_all = |sample: &Sample| sample.class(class) == sample.class(ANY);
    let mut ids: Vec<&str> = vec![ANY];
    ids.extend(
        base.by_category
            .keys()
            .chain(new.by_category.keys())
            .map(String::as_str),
    );
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<Vec<String>> = ids
        .into_iter()
        .filter(|id| *id != class && !(*id == ANY && is_all(base) && is_all(new)))
        .map(|id| {
            let (before, now) = (base.class(id), new.class(id));
            // The fix's runs ended by what they showed, and both are shown alike.
            let rate = |count| Rate::new(count, 0.95, Method::ConfidenceSequence).to_string();
            vec![
                id.to_owned(),
                before.to_string(),
                rate(before),
                now.to_string(),
                rate(now),
            ]
        })
        .filter(|row| {
            row[1..]
                .iter()
                .any(|cell| !cell.starts_with("0/") && cell.contains('/'))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        Column::names("class"),
        Column::figures("before"),
        Column::text("rate"),
        Column::figures("now"),
        Column::text("rate"),
    ];
    format!(
        "\nas seen beside it, and not proved:\n{}",
        Cells::new(columns, rows).text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(failed: u64, of: u64, remaining: f64, design: Design) -> String {
        let base = Count::new(failed, of).unwrap();
        let costs = Costs {
            class: "A2".to_owned(),
            base,
            beside: None,
            recorded: &Plan::choose(base, remaining, 0.8),
            control: &SignPlan::for_control(base, remaining, 0.8),
            jobs: 1,
            each_s: Some(20.0),
            is_full: false,
        };
        costs.lines(design, true).join("\n")
    }

    #[test]
    fn both_costs_are_said_and_the_cheaper_is_named() {
        assert_eq!(
            said(2, 75, 0.0, Design::Recorded),
            "A2: 2/75 before; if it is gone, 259 clean runs show it (5 %); a failure of A2 ends it; about 86 min\n\
             or --control: about 188 blocks of one run each, 328 at most; about 2.1 h\n\
             2 failures carry little: with twice the base at the same rate it would take 166\n\
             cheaper: the recorded base, 259 runs instead of about 376"
        );
        assert!(
            said(1, 50, 0.0, Design::Control).starts_with(
                "A2: 1/50 before; with the base run again beside the fix: about 250 blocks of one run each"
            )
        );
        assert!(said(1, 50, 0.0, Design::Recorded).contains("cheaper: --control, about 500 runs"));
    }

    #[test]
    fn where_a_search_has_measured_the_conditions_of_both_sides_their_rate_is_what_the_blocks_cost() {
        let (base, beside) = (Count::new(2, 75).unwrap(), Count::new(14, 40).unwrap());
        let costs = Costs {
            class: "A2".to_owned(),
            base,
            beside: Some(beside),
            recorded: &Plan::choose(base, 0.0, 0.8),
            control: &SignPlan::for_control(beside, 0.0, 0.8),
            jobs: 1,
            each_s: None,
            is_full: false,
        };
        let lines = costs.lines(Design::Control, true);
        let said = "A2: 2/75 before; with the base run again beside the fix: about 15 blocks of one run each, ";
        assert!(lines[0].starts_with(said) && lines[0].ends_with("; it came in 14/40 under these conditions"));
        assert_eq!(lines[2..], ["cheaper: --control, about 30 runs instead of 259"]);
    }

    #[test]
    fn a_plan_that_allows_failures_lists_its_looks() {
        let base = Count::new(13, 50).unwrap();
        let costs = Costs {
            class: "A2".to_owned(),
            base,
            beside: None,
            recorded: &Plan::allowing(base, 4, 0.25),
            control: &Err(NoPlan::TooLong),
            jobs: 2,
            each_s: None,
            is_full: false,
        };
        assert_eq!(
            costs.lines(Design::Recorded, false).join("\n"),
            "A2: 13/50 before; shown by 16 clean runs, or 25 with one failure, 33 with two, 41 with three, 48 with four \
             (5 % in all)\n\
             or --control: no plan with the base run again: it would take more than 100,000"
        );
    }
}
