//! An attempt that is made ready ahead of its turn, and waits for it.

use super::{Context, Turn, attempt};
use crate::backend::Prepared;
use crate::failpoint::{self, Step};
use crate::store::{AttemptDir, Claim, StoreError};

/// An attempt whose turn has come.
pub(super) struct Ready {
    pub(super) dir: AttemptDir,
    /// `None` where nothing could be made ready: it is started as ever.
    pub(super) prepared: Option<Box<dyn Prepared>>,
}

/// Makes an attempt ready and waits for its turn; `None` if that never comes.
pub(super) async fn make_ready(context: &Context, claim: &Claim, turn: Turn) -> Result<Option<Ready>, StoreError> {
    let dir = context.sweep.new_standby(claim)?;
    let attempt = attempt(
        &context.spec,
        &context.argv,
        context.sweep.dir(),
        claim.iteration(),
        dir.name(),
        dir.path(),
    );
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
