//! Native stacks of processes of this machine, by whatever debugger it has.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::process::Command;
use tokio::time::Instant;

use crate::backend::debugger;
use crate::proc;

/// A process of a session, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::backend) struct Seen {
    /// Number where the session runs.
    pub(in crate::backend) inside: i32,
    /// Number on this machine.
    pub(in crate::backend) here: i32,
    pub(in crate::backend) is_python: bool,
}

impl Seen {
    /// A process of this machine, and its number where the session runs.
    pub(in crate::backend) fn new(here: i32, inside: i32) -> Seen {
        Seen {
            inside,
            here,
            is_python: proc::program(here).contains("python"),
        }
    }
}

/// Most processes looked at: each takes the debugger a second or more.
const MOST: usize = 8;
/// Processes looked at together.
const TOGETHER: usize = 2;
/// Longest time for one of them.
const LONGEST: Duration = Duration::from_secs(6);

/// The native stacks of the Python processes of a session, as far as there is time.
///
/// # Errors
/// Why there are none at all.
pub(super) async fn stacks(seen: &[Seen], until: Instant) -> Result<Vec<(i32, String)>, String> {
    let pythons: Vec<Seen> = seen.iter().copied().filter(|seen| seen.is_python).collect();
    if pythons.is_empty() {
        return Err("the session's processes cannot be seen from this machine".to_owned());
    }
    let mut causes = Vec::new();
    let mut found = Vec::new();
    let looks: Vec<BoxFuture<'_, (i32, Result<String, String>)>> = pythons
        .into_iter()
        .take(MOST)
        .map(|seen| async move { (seen.inside, one(seen.here, until).await) }.boxed())
        .collect();
    let mut looks = futures_util::stream::iter(looks).buffered(TOGETHER);
    while let Some((process, stack)) = looks.next().await {
        match stack {
            Ok(stack) => found.push((process, stack)),
            Err(cause) => causes.push(cause),
        }
    }
    match causes.into_iter().next() {
        Some(cause) if found.is_empty() => Err(cause),
        Some(_) | None => Ok(found),
    }
}

async fn one(pid: i32, until: Instant) -> Result<String, String> {
    let pid = pid.to_string();
    let mut gdb = debugger::gdb();
    gdb.args(["-p", &pid, "-ex", "thread apply all bt 30"]);
    let mut stack = Command::new("eu-stack");
    stack.args(["-p", &pid]);
    let patience = LONGEST.min(until.saturating_duration_since(Instant::now()));
    debugger::stacks([gdb, stack], patience).await
}

/// The processes of a container, if they are this machine's: their control group is named after it.
pub(in crate::backend) fn of_container(id: &str) -> Vec<Seen> {
    let processes = proc::pids().into_iter().filter(|pid| proc::is_in_group(*pid, id));
    let mut seen: Vec<Seen> = processes
        .filter_map(|pid| Some(Seen::new(pid, *proc::numbers(pid).last()?)))
        .collect();
    seen.sort();
    seen
}
