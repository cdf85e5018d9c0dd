//! The failure that is to come more often, and the recorded sweep in which it was seen.

use std::fs;
use std::path::{Path, PathBuf};

use super::Args;
use crate::commands::operand::Operand;
use crate::commands::prove::base::is_of;
use crate::judge::{Outcome, SignatureSet, Verdict};
use crate::message::{hinted, tell, usage};
use crate::spec::Spec;
use crate::stats::Count;
use crate::stats::amplify::Base;
use crate::stats::sample::Sample;
use crate::sweep::stop::Class;

/// The failure that is to come more often.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) class: Class,
    pub(super) test: Option<String>,
}

impl Target {
    /// Whether a run failed in it, `None` where it gave no answer, and whether it failed otherwise.
    pub(super) fn seen(&self, outcome: &Outcome) -> (Option<bool>, bool) {
        match outcome.verdict {
            Verdict::Errored => (None, true),
            Verdict::Passed => (Some(false), false),
            Verdict::Failed => {
                let has_test = |test: &String| outcome.failing_tests.contains(test);
                let is_it = is_of(&self.class, outcome) && self.test.as_ref().is_none_or(has_test);
                (Some(is_it), !is_it)
            }
        }
    }

    pub(super) fn words(&self) -> String {
        match &self.test {
            Some(test) => format!("{} of {test}", self.class),
            None => self.class.to_string(),
        }
    }
}

pub(super) struct Recorded {
    pub(super) dir: PathBuf,
    pub(super) spec: Spec,
    pub(super) class: Class,
    pub(super) base: Base,
    pub(super) each_s: Option<f64>,
}

impl Recorded {
    pub(super) fn read(text: &str, args: &Args, signatures: &SignatureSet) -> anyhow::Result<Recorded> {
        if text.contains("::") || Path::new(text).is_file() {
            return Err(usage(
                format!("`{text}` is no sweep"),
                Some("name a recorded sweep, or give what pytest runs after two dashes: amplify --of A4 -- tests/a.py"),
            ));
        }
        let source = Operand::read(text, &args.sweep.logs.dir, signatures)?;
        let Some(judged) = source.sweep else {
            return Err(usage(
                format!("`{text}` are counts, and a search needs what the recorded sweep ran"),
                Some("name its directory"),
            ));
        };
        let Some(spec) = judged.spec.clone() else {
            return Err(hinted(
                format!("nothing says what `{text}` ran"),
                "run it with this tool, or give what runs: amplify --of A4 -i IMAGE -- tests/a.py",
            ));
        };
        if judged.is_imported() {
            return Err(hinted(
                format!("`{text}` came in with a bundle, and nothing of it runs here unasked"),
                "run it here first; its own line is in `show`",
            ));
        }
        if spec.amplification.is_some() {
            return Err(usage(
                format!("`{text}` is a search itself"),
                Some("name the sweep that it was begun with"),
            ));
        }
        let class = match &args.of {
            Some(class) => class.clone(),
            None => only_class(text, &source.sample)?,
        };
        let target = Target {
            class: class.clone(),
            test: args.test.clone(),
        };
        let seen: Vec<(bool, bool)> = (judged.answers().answered())
            .filter_map(|record| {
                let (failed, other) = target.seen(&record.outcome);
                Some((failed?, other))
            })
            .collect();
        let count: Count = seen.iter().map(|(failed, _)| *failed).collect();
        if count.failed() == 0 {
            tell(format_args!(
                "note: {} was not seen in the {} answered runs of `{text}`",
                target.words(),
                count.of()
            ));
        }
        Ok(Recorded {
            dir: fs::canonicalize(&judged.dir).unwrap_or_else(|_| judged.dir.clone()),
            spec,
            class,
            base: Base {
                target: count,
                other: seen.iter().filter(|(_, other)| *other).count() as u64,
            },
            each_s: judged.usual_s(),
        })
    }
}

/// The class of a base that failed in one only.
fn only_class(text: &str, sample: &Sample) -> anyhow::Result<Class> {
    let ids: Vec<&String> = sample.by_category.keys().collect();
    match ids.as_slice() {
        [only] => only.parse().map_err(|cause: String| usage(cause, None)),
        [] => Err(usage(
            format!("no run of `{text}` failed, so that nothing says what is to come more often"),
            Some("name it: --of A4, or --of any"),
        )),
        [first, ..] => {
            let ids: Vec<String> = ids.iter().map(|id| format!("{id} ({})", sample.class(id))).collect();
            Err(usage(
                format!("`{text}` failed in several classes: {}", ids.join(", ")),
                Some(&format!("name one of them, such as --of {first}")),
            ))
        }
    }
}
