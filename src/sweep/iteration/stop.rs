//! Requests to stop, as an iteration hears of them, and deaths that such a request explains.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Live;
use crate::judge::Exit;

/// How long before or after a request to stop a session's death may be of the same cause.
const NEAR: Duration = Duration::from_secs(1);

/// The same for a session that died of INT: pytest unwinds and reports before it ends, longer on a busy machine.
const UNWINDING: Duration = Duration::from_secs(10);

/// The signals by which terminals and batch systems stop a job: HUP, INT, TERM.
const STOPPING: [i32; 3] = [1, 2, 15];

/// pytest's exit code after a `KeyboardInterrupt`, which is how it dies of INT.
const INTERRUPTED: i32 = 2;

/// How far iterations in flight are to be stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cancel {
    /// No stop is asked for.
    #[default]
    No,
    /// Nothing new is started: no iteration, and no attempt at one.
    Drain,
    /// Running iterations are ended.
    Now,
}

/// What iterations in flight are told about stopping.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stop {
    pub cancel: Cancel,
    /// When the user, or whoever signals for the user, asked last.
    pub asked_at: Option<Instant>,
}

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.cancel != Cancel::No
    }
}

/// Waits until anything is to be stopped.
pub(super) async fn asked(stop: &mut watch::Receiver<Stop>) {
    until(stop, Stop::is_asked).await;
}

/// Waits until running iterations are to be ended.
pub(super) async fn now(stop: &mut watch::Receiver<Stop>) {
    until(stop, |stop| stop.cancel == Cancel::Now).await;
}

async fn until(stop: &mut watch::Receiver<Stop>, is_it: impl Fn(&Stop) -> bool) {
    if stop.wait_for(is_it).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether a session that ended by itself died of a request to stop: terminals and batch systems signal every process
/// of a job, so that the session may be gone before we have heard of the request, or soon after. Such a death says
/// nothing about the tests.
pub(super) async fn died_of_it(exit: &Exit, live: &Live, died_at: Instant, stop: &mut watch::Receiver<Stop>) -> bool {
    let signal = exit.signal.or(exit.code.map(|code| code - 128));
    let took = if signal.is_some_and(|signal| STOPPING.contains(&signal)) {
        NEAR
    } else if exit.code == Some(INTERRUPTED) && live.names_interrupt() {
        UNWINDING
    } else {
        return false;
    };
    let is_near = |stop: &Stop| stop.asked_at.is_some_and(|asked| asked + took >= died_at);
    let asked = tokio::time::timeout_at(died_at + NEAR, stop.wait_for(is_near)).await;
    asked.is_ok_and(|found| found.is_ok())
}
