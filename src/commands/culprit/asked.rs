//! A search as it was asked for: its candidates and where their sweeps are, whether it was begun before, and what is
//! recorded of it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::Args;
use super::axis::{Candidate, candidates, keyed, only_one_axis};
use super::commits::Commits;
use super::course::Course;
use super::evidence::RunResult;
use super::words;
use crate::cli::settings::Settings;
use crate::commands::decided;
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::prove::fix_differences;
use crate::commands::sweep::args::Args as SweepArgs;
use crate::commands::sweep::{condition_of, dry_run, specification};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;
use crate::message::{hinted, tell, usage};
use crate::report::cost::Cost;
use crate::run::{self, SearchDir};
use crate::spec::{CandidateOf, Spec};
use crate::stats::Count;
use crate::stats::durations::Spread;
use crate::sweep::stop::Class;

pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) settings: Option<&'a Settings>,
    pub(super) class: Class,
    pub(super) signatures: Arc<SignatureSet>,
    /// Flags of the sweeps, which stand below the search's own directory.
    pub(super) sweep: SweepArgs,
    pub(super) candidates: Vec<Candidate>,
    pub(super) commits: Option<Commits>,
    pub(super) dir: SearchDir,
    weights: Vec<f64>,
    seed: u64,
    /// Runs of sweeps that were recorded before, by candidate.
    earlier: Vec<Count>,
    /// Seconds that each of them took.
    durations: Vec<f64>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        args: &'a Args,
        settings: Option<&'a Settings>,
        class: Class,
        signatures: Arc<SignatureSet>,
    ) -> anyhow::Result<Asked<'a>> {
        only_one_axis(args)?;
        let here = std::env::current_dir().context("failed to find the current directory")?;
        let tag = args.sweep.tag.clone().unwrap_or_else(|| class.to_string());
        let name = format!("culprit_{tag}");
        let mut sweep = decided::own_sweep(&args.sweep, 1, name.clone(), &tag)?;
        (sweep.tag, sweep.chunk_size) = (None, None);
        sweep.logs.dir = sweep.logs.dir.join(name);
        let dir = SearchDir::new(here.join(&sweep.logs.dir));
        let paths = if args.only_paths {
            std::mem::take(&mut sweep.pytest_args)
        } else {
            Vec::new()
        };
        if args.only_paths && paths.is_empty() {
            return Err(usage(
                "--paths names none",
                Some("they stand behind `--`: --paths -- src/pool; tests to run stand before it"),
            ));
        }
        let commits = match &args.commits {
            Some(range) => Some(Commits::read(range, args.first_parent, &paths, &here, dir.clone())?),
            None => None,
        };
        let base = condition_of::under(specification::of(&sweep, settings)?, &sweep)?;
        let candidates = candidates(args, settings, &base, commits.as_ref())?;
        let mut asked = Asked {
            weights: weights(args, &candidates)?,
            earlier: vec![Count::default(); candidates.len()],
            durations: Vec::new(),
            seed: RandomState::new().build_hasher().finish(),
            args,
            settings,
            class,
            signatures,
            sweep,
            candidates,
            commits,
            dir,
        };
        asked.read_earlier()?;
        let asked = asked.known()?;
        Ok(asked)
    }

    fn read_earlier(&mut self) -> anyhow::Result<()> {
        for (candidate, path) in keyed(&self.args.recorded, "--recorded", &self.candidates)? {
            let path = Path::new(path);
            condition_of::recorded_spec(path)?;
            let judged = JudgedSweep::read(path, &self.signatures)?;
            let mut answers = Vec::new();
            for record in judged.answers().all() {
                if let RunResult::Answered { failed } = RunResult::of(&record.outcome, &self.class) {
                    answers.push(failed);
                    self.durations
                        .extend(record.exit.as_ref().and_then(|exit| exit.duration_s));
                }
            }
            let count: Count = answers.into_iter().collect();
            if count.of() == 0 {
                return Err(hinted(
                    format!("`{}` has no run that says anything of {}", path.display(), self.class),
                    "leave it out of --recorded",
                ));
            }
            self.earlier[candidate] = count;
        }
        Ok(())
    }

    /// Goes on with a search that was begun before, if this is the same one.
    fn known(mut self) -> anyhow::Result<Asked<'a>> {
        let sweeps = if self.dir.path().is_dir() {
            run::find_sweeps(self.dir.path())?
        } else {
            Vec::new()
        };
        let mut seed = None;
        for dir in sweeps {
            let Some(known) = run::spec(&dir)? else { continue };
            let another = |what: &str| {
                hinted(
                    format!(
                        "`{}` was begun as another search ({what})",
                        self.sweep.logs.dir.display()
                    ),
                    "name the new search with --tag",
                )
            };
            let Some(of) = &known.culprit else {
                return Err(another("it has a sweep that searches nothing"));
            };
            let differences = of.differences(&self.candidate_of(&of.candidate, 0));
            if !differences.is_empty() {
                return Err(another(&differences.join(", ")));
            }
            let own = self.candidates.iter().find(|candidate| candidate.name == of.candidate);
            if let Some(own) = own {
                let differences = fix_differences(&own.spec, &known);
                if !differences.is_empty() {
                    return Err(another(&format!("{} of `{}`", differences.join(", "), own.name)));
                }
            }
            seed.get_or_insert(of.seed);
        }
        self.seed = seed.unwrap_or(self.seed);
        for place in 0..self.candidates.len() {
            let of = self.candidate_of(&self.candidates[place].name, self.seed);
            self.candidates[place].spec.culprit = Some(of);
        }
        Ok(self)
    }

    fn candidate_of(&self, name: &str, seed: u64) -> CandidateOf {
        CandidateOf {
            candidate: name.to_owned(),
            candidates: self.candidates.iter().map(|candidate| candidate.name.clone()).collect(),
            class: self.class.to_string(),
            weights: if self.args.weights.is_empty() {
                Vec::new()
            } else {
                self.weights.clone()
            },
            seed,
        }
    }

    pub(super) fn specs(&self) -> Vec<Spec> {
        self.candidates.iter().map(|candidate| candidate.spec.clone()).collect()
    }

    pub(super) fn titles(&self) -> Vec<Option<String>> {
        self.candidates
            .iter()
            .map(|candidate| candidate.title.clone())
            .collect()
    }

    pub(super) fn sweep_dir(&self, candidate: usize) -> PathBuf {
        self.sweep.logs.dir.join(self.candidates[candidate].spec.dir_name())
    }

    /// The sweeps of candidates that were run, read as they are.
    pub(super) fn sweeps(&self) -> anyhow::Result<Vec<(usize, JudgedSweep)>> {
        let dirs = (0..self.candidates.len()).map(|candidate| (candidate, self.sweep_dir(candidate)));
        let mut found = Vec::new();
        for (candidate, dir) in dirs.filter(|(_, dir)| dir.is_dir()) {
            found.push((candidate, JudgedSweep::read(&dir, &self.signatures)?));
        }
        Ok(found)
    }

    /// The search as its recorded runs have it.
    pub(super) fn read(&self) -> anyhow::Result<Course> {
        let names = self.candidates.iter().map(|candidate| candidate.name.clone()).collect();
        let mut course = Course::new(names, self.weights.clone(), self.earlier.clone());
        course.max_runs = self.args.max_runs;
        course.is_confirmed = !self.args.no_confirm;
        course.jobs = self.sweep.jobs;
        course.seed = self.seed;
        for (candidate, sweep) in self.sweeps()? {
            // `--retry` takes nothing back: the answer that a run gave first is the one that counts.
            for record in sweep.answers().first() {
                let conditions = record.exit.as_ref().and_then(|exit| exit.conditions.as_ref());
                let part = conditions.and_then(|conditions| conditions.culprit.as_ref());
                let came = RunResult::of(&record.outcome, &self.class);
                course.record(candidate, record.iteration, part, came);
            }
        }
        for (place, candidate) in self.candidates.iter().enumerate() {
            if let Some(commits) = &self.commits
                && let Some(Err(why)) = commits.built(&candidate.name)?
            {
                course.leave_out(place, why);
            }
        }
        Ok(course)
    }

    pub(super) fn announce(&self, course: &Course) {
        let cost = Cost {
            runs: 0,
            jobs: self.sweep.jobs,
            each_s: Spread::of(self.durations.clone()).map(|spread| spread.median),
        };
        for line in words::costs(course, &self.class, cost) {
            tell(line);
        }
    }

    pub(super) fn dry_run(&self, course: &Course) -> anyhow::Result<ExitCode> {
        self.announce(course);
        for (place, candidate) in self.candidates.iter().enumerate() {
            let title = candidate
                .title
                .as_ref()
                .map_or_else(String::new, |title| format!("  {title}"));
            tell(format_args!("{:>4}  {}{title}", place, candidate.name));
        }
        let specs = self.specs();
        let ends = [specs.first(), specs.last()].into_iter().flatten().cloned();
        dry_run::print(&self.sweep, self.settings, &ends.collect::<Vec<_>>())
    }
}

/// The weight of a change that comes with each candidate.
fn weights(args: &Args, candidates: &[Candidate]) -> anyhow::Result<Vec<f64>> {
    let mut weights = vec![1.0; candidates.len()];
    for (candidate, text) in keyed(&args.weights, "--weights", candidates)? {
        let weight = text.parse::<f64>().ok().filter(|weight| (0.0..=1e6).contains(weight));
        weights[candidate] = weight.ok_or_else(|| {
            usage(
                format!("invalid weight `{text}` of `{}`", candidates[candidate].name),
                Some("a number such as 5: so many times as likely as the others; 0 excludes"),
            )
        })?;
    }
    if weights.iter().skip(1).all(|weight| *weight <= 0.0) {
        return Err(usage("all weights are 0: no candidate is left to search for", None));
    }
    Ok(weights)
}
