//! Where the time of a start goes, for `--timings`: steps with their beginning and length. Nothing is kept without the flag.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// One step, in milliseconds since the start of the process.
struct Step {
    what: Cow<'static, str>,
    from_ms: f64,
    to_ms: f64,
}

/// The steps so far, and when the process began.
struct Kept {
    began: Instant,
    steps: Mutex<Vec<Step>>,
}

static KEPT: OnceLock<Kept> = OnceLock::new();

/// Keeps steps from here on.
pub fn keep() {
    let _ = KEPT.set(Kept {
        began: Instant::now(),
        steps: Mutex::default(),
    });
}

/// A step that takes as long as a future.
pub(crate) async fn of<T>(what: &'static str, future: impl Future<Output = T>) -> T {
    let from = Instant::now();
    let done = future.await;
    add(what.into(), from);
    done
}

/// A step that takes as long as a function.
pub(crate) fn within<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let from = Instant::now();
    let done = work();
    add(what.into(), from);
    done
}

/// A moment of an iteration.
pub(crate) fn moment(iteration: u32, what: &str) {
    if KEPT.get().is_some() {
        add(format!("run{iteration:03}: {what}").into(), Instant::now());
    }
}

fn add(what: Cow<'static, str>, from: Instant) {
    let Some(kept) = KEPT.get() else { return };
    let ms = |at: Instant| at.saturating_duration_since(kept.began).as_secs_f64() * 1e3;
    let mut steps = kept.steps.lock().unwrap_or_else(PoisonError::into_inner);
    steps.push(Step {
        what,
        from_ms: ms(from),
        to_ms: ms(Instant::now()),
    });
}

/// The steps in the order they began, a line each; `None` where none were kept.
pub fn table() -> Option<String> {
    let kept = KEPT.get()?;
    let mut steps = kept.steps.lock().unwrap_or_else(PoisonError::into_inner);
    steps.sort_by(|one, other| one.from_ms.total_cmp(&other.from_ms));
    let mut text = "    from       to     took  ms\n".to_owned();
    for Step { what, from_ms, to_ms } in steps.iter() {
        let _ = writeln!(text, "{from_ms:8.1} {to_ms:8.1} {:8.1}  {what}", to_ms - from_ms);
    }
    Some(text)
}
