//! An attempt that is made ready ahead of its turn, and waits for it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Context;
use crate::backend::{Attempt, Backend, Prepared};
use crate::failpoint::{self, Step};
use crate::judge::pytest::trail::{SEED_ENV, TRAIL_ENV};
use crate::run::{self, AttemptDir, Claim, StoreError, Sweep};
use crate::spec::{Perturbation, Spec};
use crate::sweep::argv::argv;

/// Arrives when an iteration that was made ready ahead may start; the iteration never starts if the sender is dropped.
pub type Turn = oneshot::Receiver<()>;

/// An attempt that was made ready, or whose turn has come.
pub(super) struct Ready {
    pub(super) dir: AttemptDir,
    /// `None` where nothing could be made ready: `Backend::start` then does all of the work.
    pub(super) prepared: Option<Box<dyn Prepared>>,
}

/// An attempt that was made ready before its sweep was open. It is removed with the value unless it was taken.
#[derive(Default)]
pub struct Early(Mutex<Option<Made>>);

struct Made {
    sweep: Sweep,
    iteration: u32,
    ready: Ready,
}

impl Early {
    /// Makes an attempt at an iteration ready.
    ///
    /// # Errors
    /// The attempt's directory cannot be made.
    pub async fn make(sweep: Sweep, spec: &Spec, backend: &dyn Backend, iteration: u32) -> Result<Early, StoreError> {
        let dir = sweep.new_unclaimed(iteration)?;
        let argv = argv(spec);
        let prepared = backend.prepare(&attempt_of(&sweep, spec, &argv, iteration, &dir)).await;
        let ready = Ready { dir, prepared };
        Ok(Early(Mutex::new(Some(Made {
            sweep,
            iteration,
            ready,
        }))))
    }

    fn take(&self, iteration: u32) -> Option<Ready> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(made.take_if(|made| made.iteration == iteration)?.ready)
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        let made = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Made { sweep, ready, .. }) = made {
            sweep.discard(&ready.dir);
        }
    }
}

/// Makes an attempt ready and waits for its turn; `None` if the turn never comes.
pub(super) async fn make_ready(context: &Context, claim: &Claim, turn: Turn) -> Result<Option<Ready>, StoreError> {
    let ready = if let Some(ready) = context.early.take(claim.iteration()) {
        context.sweep.stand_by(claim, &ready.dir);
        ready
    } else {
        let dir = context.sweep.new_standby(claim)?;
        let attempt = attempt_in(context, claim.iteration(), &dir);
        let prepared = context.backend.prepare(&attempt).await;
        Ready { dir, prepared }
    };
    failpoint::here(Step::Ready);
    if turn.await.is_err() {
        drop(ready.prepared);
        context.sweep.discard(&ready.dir);
        return Ok(None);
    }
    context.sweep.begin(claim, &ready.dir);
    Ok(Some(ready))
}

/// An attempt that is about to run in these directories.
pub(super) fn attempt_in(context: &Context, iteration: u32, dir: &AttemptDir) -> Attempt {
    attempt_of(&context.sweep, &context.spec, &context.argv, iteration, dir)
}

fn attempt_of(sweep: &Sweep, spec: &Spec, argv: &[String], iteration: u32, dir: &AttemptDir) -> Attempt {
    Attempt {
        dirs: Some(dir.dirs().clone()),
        guarded: sweep.guarded(),
        ..attempt(
            spec,
            argv,
            sweep.dir(),
            iteration,
            dir.name(),
            dir.dirs().session.path(),
        )
    }
}

/// An attempt at an iteration, as a backend sees it.
pub(crate) fn attempt(spec: &Spec, argv: &[String], sweep: &Path, iteration: u32, name: &str, dir: &Path) -> Attempt {
    let mut dir_env = vec![(spec.output_env.clone(), String::new())];
    if spec.trail {
        dir_env.push((TRAIL_ENV.to_owned(), run::TRAIL.to_owned()));
    }
    let mut env = vec![("REPRODUCE_FLAKY_ITERATION".to_owned(), iteration.to_string())];
    if spec.is_under(Perturbation::Order) {
        env.push((SEED_ENV.to_owned(), spec.seed(iteration).to_string()));
    }
    Attempt {
        sweep: sweep.to_owned(),
        iteration,
        name: name.to_owned(),
        dir: dir.to_owned(),
        dirs: None,
        guarded: vec![sweep.to_owned()],
        argv: argv.to_vec(),
        env,
        dir_env,
    }
}
