//! A search as it was asked for: what runs, which knobs it has, and whether it was begun before.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use super::Args;
use super::base::{Recorded, Target};
use super::course;
use super::knob::{self, Knob};
use crate::cli::settings::Settings;
use crate::commands::decided;
use crate::commands::sweep::args::Args as SweepArgs;
use crate::commands::sweep::dry_run;
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::{hinted, tell, usage};
use crate::report::cost::Cost;
use crate::run;
use crate::spec::{Amplification, Spec, unlike};
use crate::stats::amplify::{Base, Course, KNOBS};

/// Share of the runs that the first search may take.
const SEARCH_PERCENT: u64 = 65;

pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) settings: Option<&'a Settings>,
    pub(super) signatures: Arc<SignatureSet>,
    /// Flags of the sweep: its range, its name, where it goes.
    pub(super) sweep: SweepArgs,
    /// What runs with every knob off.
    pub(super) spec: Spec,
    pub(super) target: Target,
    pub(super) knobs: Vec<Knob>,
    pub(super) search: Amplification,
    /// Whether it was begun before.
    pub(super) is_known: bool,
    each_s: Option<f64>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        args: &'a Args,
        settings: Option<&'a Settings>,
        signatures: Arc<SignatureSet>,
    ) -> anyhow::Result<Asked<'a>> {
        let recorded = args.base.as_ref().map(|base| Recorded::read(base, args, &signatures));
        let recorded = recorded.transpose()?;
        let class = match (&recorded, &args.of) {
            (Some(recorded), _) => recorded.class.clone(),
            (None, Some(class)) => class.clone(),
            (None, None) => {
                return Err(usage(
                    "nothing says what is to come more often",
                    Some("name a recorded sweep and a class: reproduce-flaky amplify logs/serial --of A4"),
                ));
            }
        };
        let dir = recorded.as_ref().map(|recorded| recorded.dir.as_path());
        let tag = decided::tag("amplify", &args.sweep, dir, &class);
        let mut sweep = decided::own_sweep(&args.sweep, args.max_runs, tag.clone(), &tag)?;
        let of = recorded.as_ref().map(|recorded| &recorded.spec);
        let (spec, _) = decided::own_spec(&mut sweep, settings, of)?;
        let base = recorded.as_ref().map_or_else(Base::default, |recorded| recorded.base);
        let search = Amplification {
            base: recorded.as_ref().map(|recorded| recorded.dir.clone()),
            class: class.to_string(),
            test: args.test.clone(),
            failed: base.target.failed(),
            of: base.target.of(),
            other: base.other,
            knobs: Vec::new(),
            seed: args
                .seed
                .unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 12),
            max_runs: u64::from(args.max_runs),
            block: Course::block_size(spec.jobs as usize) as u64,
            run: None,
        };
        let target = Target {
            class,
            test: args.test.clone(),
        };
        let mut asked = Asked {
            args,
            settings,
            signatures,
            sweep,
            spec,
            target,
            knobs: Vec::new(),
            search,
            is_known: false,
            each_s: recorded.and_then(|recorded| recorded.each_s),
        };
        asked.take_knobs()?;
        Ok(asked)
    }

    /// The knobs that were named, those of the search that was begun before, or all that can be had.
    fn take_knobs(&mut self) -> anyhow::Result<()> {
        let named: Vec<Knob> = self
            .args
            .knobs
            .iter()
            .map(|text| Knob::read(text))
            .collect::<Result<_, _>>()?;
        let known = self.known()?;
        let is_named = !named.is_empty();
        self.knobs = match &known {
            Some(known) if !is_named => known.knobs.iter().map(Knob::recorded).collect::<Result<_, _>>()?,
            _ if is_named => named,
            _ => {
                let all: Vec<Knob> = knob::turnable().map(Knob::of).collect::<Result<_, _>>()?;
                all.into_iter()
                    .filter(|knob| knob.without_effect(&self.spec).is_none())
                    .collect()
            }
        };
        if is_named
            && let Some((knob, cause)) = self
                .knobs
                .iter()
                .find_map(|knob| Some((knob, knob.without_effect(&self.spec)?)))
        {
            return Err(usage(
                format!("the knob `{}` would change nothing: {cause}", knob.flags.name),
                Some("leave it out"),
            ));
        }
        let names: Vec<&str> = self.knobs.iter().map(|knob| knob.flags.name.as_str()).collect();
        if let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(usage(format!("two knobs are called `{twice}`"), None));
        }
        self.set_knobs(self.knobs.clone())?;
        if let Some(known) = known {
            self.go_on(known)?;
        }
        Ok(())
    }

    /// Takes these knobs, as many as the procedure was tried with.
    pub(super) fn set_knobs(&mut self, knobs: Vec<Knob>) -> anyhow::Result<()> {
        if !KNOBS.contains(&knobs.len()) {
            let hint = if knobs.len() < *KNOBS.start() {
                "settings of your own add up: --knob 'slow: -E DELAY_MS=50'; one or two are compared by --arm"
            } else {
                "name the likeliest ones with --knob"
            };
            let found: Vec<&str> = knobs.iter().map(|knob| knob.flags.name.as_str()).collect();
            let found = if found.is_empty() {
                "none".to_owned()
            } else {
                found.join(", ")
            };
            return Err(usage(
                format!(
                    "a search takes {} to {} knobs, and here are {} ({found})",
                    KNOBS.start(),
                    KNOBS.end(),
                    knobs.len()
                ),
                Some(hint),
            ));
        }
        self.search.knobs = knobs.iter().map(|knob| knob.flags.clone()).collect();
        self.knobs = knobs;
        Ok(())
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.sweep.logs.dir.join(self.spec.dir_name())
    }

    /// The search that the directory holds.
    fn known(&self) -> anyhow::Result<Option<Amplification>> {
        let dir = self.dir();
        let Some(spec) = run::spec(&dir)? else { return Ok(None) };
        spec.amplification.map(Some).ok_or_else(|| {
            hinted(
                format!("`{}` holds a sweep that is no search", dir.display()),
                "name the new search with --tag",
            )
        })
    }

    /// Goes on with a search that was begun before, as it was planned then.
    fn go_on(&mut self, known: Amplification) -> anyhow::Result<()> {
        let mut asked = self.search.clone();
        if self.args.seed.is_none() {
            asked.seed = known.seed;
        }
        if !self.args.sweep.given.has(&["max_runs"]) {
            asked.max_runs = known.max_runs;
        }
        let mut differences = known.differences(&asked);
        if let Some(begun) = run::spec(&self.dir())? {
            differences.extend(unlike([
                ("variables", begun.env == self.spec.env),
                ("directory", begun.directory == self.spec.directory),
            ]));
        }
        if !differences.is_empty() {
            return Err(hinted(
                format!(
                    "`{}` was begun as another search ({})",
                    self.dir().display(),
                    differences.join(", ")
                ),
                "name the new search with --tag",
            ));
        }
        if (known.failed, known.of) != (asked.failed, asked.of) {
            tell(format_args!(
                "note: the base was {}/{} when this search began, and is {}/{} now; the search goes on as it was",
                known.failed, known.of, asked.failed, asked.of
            ));
        }
        self.sweep.end = u32::try_from(known.max_runs).unwrap_or(u32::MAX);
        self.spec.last = self.sweep.end;
        self.search = known;
        self.is_known = true;
        Ok(())
    }

    pub(super) fn course(&self) -> Course {
        course::of(&self.search)
    }

    pub(super) fn announce(&self) {
        let search = &self.search;
        let cost = |runs| Cost {
            runs,
            jobs: self.spec.jobs,
            each_s: self.each_s,
        };
        let before = if search.of == 0 {
            "not counted before".to_owned()
        } else {
            format!("{}/{} before", search.failed, search.of)
        };
        tell(format_args!(
            "{}: {before}; at most {}, of which the search takes 24 to {}",
            self.target.words(),
            cost(search.max_runs),
            search.max_runs * SEARCH_PERCENT / 100
        ));
        let names: Vec<&str> = search.knobs.iter().map(|knob| knob.name.as_str()).collect();
        tell(format_args!(
            "{} knobs: {} (--seed {})",
            names.len(),
            names.join(", "),
            search.seed
        ));
    }

    pub(super) fn dry_run(&self) -> anyhow::Result<ExitCode> {
        self.announce();
        for knob in &self.search.knobs {
            tell(format_args!("  {}: {}", knob.name, shell_words::join(&knob.flags)));
        }
        dry_run::print(&self.sweep, self.settings, std::slice::from_ref(&self.spec))
    }
}
