//! The runs of a search: candidates opened when they are first visited, and the scheduler at work on them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::asked::Asked;
use super::course::Course;
use super::work::{Opened, Searching};
use crate::backend::{self, Backend, BackendError};
use crate::commands::decided::{Ended, schedule};
use crate::commands::sweep::{Probed, before};
use crate::message::tell;
use crate::run::{self, Sweep};
use crate::spec::Spec;
use crate::sweep::scheduler::Arm;

impl Asked<'_> {
    pub(super) async fn search(
        &self,
        course: Course,
        signals: mpsc::UnboundedReceiver<()>,
        backends: &mut Vec<Arc<dyn Backend>>,
    ) -> anyhow::Result<(Course, Ended)> {
        if self.commits.is_none() {
            before::run(self.settings).await?;
        }
        let (ask, mut asked) = mpsc::unbounded_channel();
        let (answer, opened) = mpsc::unbounded_channel();
        let sweeps = (0..self.candidates.len()).map(|candidate| self.sweep_dir(candidate));
        let dirs = (self.dir.clone(), sweeps.collect());
        let mut searching = Searching::new(course, self.class.clone(), self.titles(), dirs, ask, opened);
        let is_loud = Cell::new(false);
        let said = RefCell::new(BTreeSet::new());
        let opening = async {
            while let Some(candidate) = asked.recv().await {
                let opened = match self.open(candidate, backends, &is_loud, &said).await {
                    Ok(opened) => opened,
                    Err(error) => Opened::Broken(error),
                };
                if answer.send((candidate, opened)).is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let reason = tokio::select! {
            reason = schedule(&mut searching, self.sweep.jobs, &self.sweep, signals) => reason?,
            () = opening => unreachable!("whoever opens candidates waits for the search to end"),
        };
        for (candidate, arm) in searching.opened() {
            // The sweep's own file says how many iterations it has, now that this is known.
            let last = searching.course.free(candidate) - 1;
            let spec = Spec {
                last: last.max(1),
                ..arm.context.spec.clone()
            };
            Sweep::open(&self.sweep.logs.dir, &spec)?;
        }
        let ended = Ended::of(searching.gave_up.as_deref(), reason);
        Ok((searching.course, ended))
    }

    /// Opens a candidate's sweep: its commit built, its image looked into.
    async fn open(
        &self,
        candidate: usize,
        backends: &mut Vec<Arc<dyn Backend>>,
        is_loud: &Cell<bool>,
        said: &RefCell<BTreeSet<String>>,
    ) -> anyhow::Result<Opened> {
        let named = &self.candidates[candidate];
        if let Some(commits) = &self.commits {
            let command = self.settings.and_then(|settings| settings.before.as_deref());
            if let Err(why) = commits.build(&named.name, command).await? {
                return Ok(Opened::CannotRun(why));
            }
        }
        let mut sweep = self.sweep.clone();
        // A candidate with an image of its own names one.
        sweep.no_image_named &= named.spec.image == sweep.image && self.args.images.is_empty();
        let mut probed = Probed::new(&sweep, named.spec.clone(), backends).await;
        if let Err(error) = &probed
            && !sweep.no_image_named
            && let Some(image) = missing_image(error)
        {
            tell(format_args!("`{}`: pulling `{image}`", named.name));
            if let Err(cause) = backend::pull(&named.spec, image).await {
                return Ok(Opened::CannotRun(format!("{error}, and cannot be pulled: {cause}")));
            }
            probed = Probed::new(&sweep, named.spec.clone(), backends).await;
        }
        let mut probed = match probed {
            Ok(probed) => probed,
            Err(error) => match why_it_cannot_run(&error) {
                Some(why) => return Ok(Opened::CannotRun(why)),
                None => return Err(error),
            },
        };
        sweep.end = run::recorded(&self.sweep_dir(candidate))?.last().copied().unwrap_or(1);
        probed.say_once(&mut said.borrow_mut());
        let mut arm = probed.open(&sweep, &self.signatures)?;
        if let Some(arm) = Arc::get_mut(&mut arm) {
            arm.name = Some(named.name.clone());
        }
        if !is_loud.replace(true) {
            make_noise(&arm).await?;
        }
        Ok(Opened::Ready(arm))
    }
}

/// Begins the noise beside all candidates.
async fn make_noise(arm: &Arm) -> anyhow::Result<()> {
    arm.context.backend.make_noise(arm.context.sweep.dir()).await?;
    Ok(())
}

/// The image that is not on this host, where that is what is wrong.
fn missing_image(error: &anyhow::Error) -> Option<&str> {
    error
        .chain()
        .find_map(|cause| match cause.downcast_ref::<BackendError>()? {
            BackendError::ImageMissing { image } => Some(image.as_str()),
            _ => None,
        })
}

/// Why this one candidate cannot be run, where another may.
fn why_it_cannot_run(error: &anyhow::Error) -> Option<String> {
    let found = error.chain().find_map(|cause| cause.downcast_ref::<BackendError>())?;
    match found {
        BackendError::ImageMissing { .. } | BackendError::ProgramMissing { .. } | BackendError::Unfit { .. } => {
            Some(found.to_string())
        }
        BackendError::Unreachable { .. }
        | BackendError::Forbidden { .. }
        | BackendError::DiskFull { .. }
        | BackendError::Lost { .. }
        | BackendError::Refused { .. } => None,
    }
}
