//! A sweep as a worker on another machine opens it: what is there is run, by whoever was told to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{ATTEMPTS, LOST, SPEC, iteration_of, run_name, run_paths};
use super::sweep::{json, name_of_machine};
use super::{Claim, Published, StoreError, Sweep, durable, scan, watch};
use crate::model::{Exit, Outcome, Spec};
use crate::store::claim::SharedLock;

/// What a superseded attempt says of itself.
pub(super) const SUPERSEDED: &str = "another process recorded this iteration first";

impl Sweep {
    /// Opens a sweep that is there, with what it runs.
    ///
    /// # Errors
    /// There is none, or its specification cannot be read.
    pub fn existing(dir: &Path) -> Result<(Sweep, Spec), StoreError> {
        let at = fs::canonicalize(dir).map_err(|cause| StoreError::io("open", dir, cause))?;
        let sweep = Sweep::at(at, dir.to_owned());
        let spec = sweep.spec()?;
        Ok((sweep, spec))
    }

    /// What it runs, as it is on disk now.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
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

    /// Makes what was asked for last what workers run. The range on disk, and what was found out about the image, stay.
    pub fn freeze(&self, asked: &Spec) -> Result<(), StoreError> {
        let _lock = SharedLock::take(&self.dir).map_err(|error| self.in_users_words(error))?;
        let known = self.spec()?;
        let frozen = Spec {
            created_at: known.created_at,
            first: known.first,
            last: known.last,
            image_id: known.image_id,
            versions: known.versions,
            arm: known.arm,
            ended: None,
            ..asked.clone()
        };
        durable::replace(&self.dir, SPEC, &json(&frozen))?;
        durable::sync_dir(&self.dir)
    }

    /// Says what was found where an attempt is about to run. The first execution decides what the sweep is of.
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
    #[must_use]
    pub fn answer(&self, iteration: u32) -> Option<(Exit, Outcome, PathBuf)> {
        let path = run_paths(&self.shown, iteration)
            .into_iter()
            .find(|path| scan::is_run(path))?;
        let run = scan::read_run(iteration, path);
        Some((run.exit.unwrap_or_default(), run.outcome?, run.dir))
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

    /// Leaves word of an execution that could not even begin an attempt.
    pub fn lose_before(&self, iteration: u32, reason: &str) -> Result<(), StoreError> {
        let attempt = self.new_attempt(&Claim::unheld(iteration))?;
        self.lose(attempt, reason)
    }

    /// Why attempts at an iteration gave no answer, in the order of their names; those that came second are none.
    pub fn lost(&self, iteration: u32) -> Result<Vec<(String, String)>, StoreError> {
        let attempts = self.dir.join(ATTEMPTS);
        let entries = match fs::read_dir(&attempts) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(StoreError::io("read", &attempts, cause)),
        };
        let prefix = format!("{}.", run_name(iteration));
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(&prefix) {
                continue;
            }
            let text = durable::read(&entry.path().join(LOST)).ok().flatten();
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
            // The moment comes first.
            let reason = text.and_then(|text| Some(text.split_once(' ')?.1.to_owned()));
            if let Some(reason) = reason.filter(|reason| reason != SUPERSEDED) {
                found.push((name, reason));
            }
        }
        found.sort();
        Ok(found)
    }
}
