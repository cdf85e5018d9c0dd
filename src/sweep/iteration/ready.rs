//! An attempt that is made ready ahead of its turn, and waits for it.

use std::path::Path;

use tokio::sync::oneshot;

use super::Context;
use crate::backend::{Attempt, Prepared};
use crate::failpoint::{self, Step};
use crate::judge::pytest::trail::{SEED_ENV, TRAIL_ENV};
use crate::run::{self, AttemptDir, Claim, StoreError};
use crate::spec::{Perturbation, Spec};

/// Arrives when an iteration that was made ready ahead may start; the iteration never starts if the sender is dropped.
pub type Turn = oneshot::Receiver<()>;

/// An attempt whose turn has come.
pub(super) struct Ready {
    pub(super) dir: AttemptDir,
    /// `None` where nothing could be made ready: `Backend::start` then does all of the work.
    pub(super) prepared: Option<Box<dyn Prepared>>,
}

/// Makes an attempt ready and waits for its turn; `None` if the turn never comes.
pub(super) async fn make_ready(context: &Context, claim: &Claim, turn: Turn) -> Result<Option<Ready>, StoreError> {
    let dir = context.sweep.new_standby(claim)?;
    let attempt = attempt_in(context, claim.iteration(), &dir);
    let prepared = context.backend.prepare(&attempt).await;
    failpoint::here(Step::Ready);
    if turn.await.is_err() {
        drop(prepared);
        context.sweep.discard(&dir);
        return Ok(None);
    }
    context.sweep.begin(claim, &dir);
    Ok(Some(Ready { dir, prepared }))
}

/// An attempt that is about to run in these directories.
pub(super) fn attempt_in(context: &Context, iteration: u32, dir: &AttemptDir) -> Attempt {
    let (sweep, session) = (context.sweep.dir(), dir.dirs().session.path());
    Attempt {
        dirs: Some(dir.dirs().clone()),
        guarded: context.sweep.guarded(),
        ..attempt(&context.spec, &context.argv, sweep, iteration, dir.name(), session)
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
