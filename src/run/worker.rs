//! A sweep as a worker on another machine opens it: the worker runs the iteration that an engine placed there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{LOST, SPEC, iteration_of, natural_order, run_name, run_paths};
use super::sweep::{json, name_of_machine};
use super::{Claim, LARGEST, Published, StoreError, Sweep, durable, scan, watch};
use crate::judge::{Exit, Outcome};
use crate::run::claim::SharedLock;
use crate::spec::Spec;

/// What a superseded attempt says of itself.
pub(super) const SUPERSEDED: &str = "another process recorded this iteration first";

impl Sweep {
    /// Opens an existing sweep, with its specification.
    pub fn existing(dir: &Path) -> Result<(Sweep, Spec), StoreError> {
        let at = fs::canonicalize(dir).map_err(|cause| StoreError::io("open", dir, cause))?;
        let sweep = Sweep::at(at, dir.to_owned());
        let spec = sweep.spec()?;
        Ok((sweep, spec))
    }

    /// The specification, as it is on disk now.
    pub fn spec(&self) -> Result<Spec, StoreError> {
        scan::read_spec(&self.dir, &self.shown)?.ok_or_else(|| {
            let path = self.shown.join(SPEC);
            StoreError::io("read", &path, std::io::ErrorKind::NotFound.into())
        })
    }

    /// Works as one execution on a node. `stamp` is unique among all executions; an iteration that another process has
    /// claimed is run all the same, since its node may be lost, and the first one to publish wins.
    #[must_use]
    pub fn work_as(mut self, node: &str, stamp: &str) -> Sweep {
        let fit = |c: char| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '-'
            }
        };
        self.host = name_of_machine(node);
        self.stamp = stamp.chars().map(fit).collect();
        self.joins = true;
        self
    }

    /// Makes the given specification the one that workers run. The range on disk and the image's identity stay.
    pub fn freeze(&self, asked: &Spec) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir).map_err(|error| self.in_users_words(error))?;
        let known = self.spec()?;
        let reasons = known.all_reasons();
        let frozen = Spec {
            created_at: known.created_at,
            first: known.first,
            last: known.last,
            image_id: known.image_id,
            versions: known.versions,
            reasons,
            arm: known.arm,
            ended: None,
            ..asked.clone()
        };
        durable::replace(&self.dir, SPEC, &json(&frozen))?;
        durable::sync_dir(&self.dir)
    }

    /// Records image and versions as found on a node. The first execution decides what the sweep is of.
    ///
    /// # Errors
    /// [`StoreError::Differs`] where the sweep is of something else.
    pub fn pin(&self, found: &Spec) -> Result<(), StoreError> {
        let differs = |known: &Spec| {
            let differences = found.differences(known);
            let dir = self.shown.clone();
            if differences.is_empty() {
                Ok(())
            } else {
                Err(StoreError::Differs { dir, differences })
            }
        };
        let known = self.spec()?;
        if known.image_id.is_some() {
            return differs(&known);
        }
        let _lock = SharedLock::take(&self.dir).map_err(|error| self.in_users_words(error))?;
        let known = self.spec()?;
        if known.image_id.is_some() {
            return differs(&known);
        }
        let pinned = Spec {
            image_id: found.image_id.clone(),
            versions: found.versions.clone(),
            ..known
        };
        durable::replace(&self.dir, SPEC, &json(&pinned))
    }

    /// Iterations that have an answer and are not among those known; only new ones are looked into.
    pub fn news(&self, known: &BTreeSet<u32>) -> Result<Vec<u32>, StoreError> {
        let failed = |cause| StoreError::io("read", &self.shown, cause);
        let mut news = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let iteration = entry.file_name().to_str().and_then(iteration_of);
            if let Some(iteration) = iteration.filter(|iteration| !known.contains(iteration))
                && scan::is_run(&entry.path())
            {
                news.insert(iteration);
            }
        }
        Ok(news.into_iter().collect())
    }

    /// Facts and judgement of an iteration that is recorded, and its directory as the user would type it; `None` where
    /// it has none that can be read.
    pub fn answer(&self, iteration: u32) -> Option<(Exit, Outcome, PathBuf)> {
        answer(&self.shown, iteration)
    }

    /// Records that no attempt at an iteration gave an answer.
    pub fn give_up(&self, iteration: u32, exit: &Exit, outcome: &Outcome) -> Result<Published, StoreError> {
        let claim = Claim::unheld(iteration);
        let attempt = self.new_attempt(&claim)?;
        self.publish(claim, attempt, exit, outcome)
    }

    /// Other iterations that run on this machine now.
    pub fn co_runners(&self, iteration: u32) -> Result<u32, StoreError> {
        let here = watch::in_flight(&self.dir)?
            .into_iter()
            .filter(|running| running.iteration != iteration && running.host.as_ref() == Some(&self.host));
        Ok(u32::try_from(here.count()).unwrap_or(u32::MAX))
    }

    /// Records why an execution could not begin an attempt.
    pub fn lose_before(&self, iteration: u32, reason: &str) -> Result<(), StoreError> {
        let attempt = self.new_attempt(&Claim::unheld(iteration))?;
        self.lose(attempt, reason)
    }

    /// Why attempts at an iteration were lost, in order; attempts that were superseded are left out.
    pub fn lost(&self, iteration: u32) -> Result<Vec<(String, String)>, StoreError> {
        let attempts = self.attempts()?;
        let failed = |cause| StoreError::io("read", attempts.path(), cause);
        let prefix = format!("{}.", run_name(iteration));
        let mut found = Vec::new();
        for entry in attempts.entries().map_err(failed)? {
            let name = entry.name.to_string_lossy().into_owned();
            if !name.starts_with(&prefix) {
                continue;
            }
            let text = attempts.read(Path::new(&name).join(LOST), LARGEST).ok().flatten();
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
            let told = text.as_deref().and_then(|text| text.split_once(' '));
            if let Some((moment, reason)) = told.filter(|(_, reason)| *reason != SUPERSEDED) {
                found.push((moment.to_owned(), name, reason.to_owned()));
            }
        }
        // Moments are whole seconds; within one, numbers tell: attempt 10 comes after attempt 9.
        found.sort_by(|(at, a, _), (other, b, _)| at.cmp(other).then_with(|| natural_order(a, b)));
        Ok(found.into_iter().map(|(_, name, reason)| (name, reason)).collect())
    }
}

/// Facts and judgement of an iteration that is recorded in a sweep's directory, with its own directory.
pub fn answer(sweep: &Path, iteration: u32) -> Option<(Exit, Outcome, PathBuf)> {
    let path = run_paths(sweep, iteration)
        .into_iter()
        .find(|path| scan::is_run(path))?;
    let run = scan::read_run(iteration, path);
    Some((run.exit.unwrap_or_default(), run.outcome?, run.dir))
}
