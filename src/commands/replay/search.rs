//! `--shrink`: the scheduler's work that runs the lists that the search asks for, and tells how far the search is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::replays::Replays;
use super::{CANCEL_GRACE, check};
use crate::commands::judged_sweep::JudgedSweep;
use crate::commands::replay::shrink::{Ending, Found, List, Shrink, Step};
use crate::commands::replay::{Args, Replayed, Shrunk};
use crate::run::Keep;
use crate::sweep::display::Reporter;
use crate::sweep::iteration::IterationEnd;
use crate::sweep::scheduler::{self, Arm, Next, Pace, Reason, Task, Work};
use crate::sweep::{Event, EventKind};

/// Time between two looks at a run that another process executes.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// Searches until there is an answer, the runs are used up, or the user stops it.
pub(super) async fn run(
    args: &Args,
    replays: &Replays,
    signals: mpsc::UnboundedReceiver<()>,
) -> anyhow::Result<Replayed> {
    let mut search = Search {
        args,
        replays,
        shrink: Shrink::new(replays.predecessors(), args.max_runs as usize, args.times as usize),
        lists: BTreeMap::new(),
        in_flight: BTreeSet::new(),
        elsewhere: BTreeMap::new(),
        current: None,
        told: None,
        found: None,
    };
    let pace = Pace {
        jobs: args.jobs,
        cancel_grace: CANCEL_GRACE,
    };
    let end = scheduler::run(&mut search, pace, vec![Box::new(Stopping)], signals).await?;
    check(&end)?;
    Ok(search.replayed())
}

type Run = (List, u32);

struct Search<'a> {
    args: &'a Args,
    replays: &'a Replays,
    shrink: Shrink,
    /// Lists that were opened: their sweeps.
    lists: BTreeMap<List, Arc<Arm>>,
    in_flight: BTreeSet<Run>,
    /// Runs that other processes execute, and when to look for each again.
    elsewhere: BTreeMap<Run, Instant>,
    /// The list that is tried now; runs of any other list are ended.
    current: Option<List>,
    /// The last line that was printed about a list.
    told: Option<String>,
    found: Option<Found>,
}

impl Work for Search<'_> {
    fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            let (list, until) = match self.shrink.next(self.args.jobs as usize) {
                Step::Run { list, until } => (list, until),
                Step::Done(found) => {
                    self.found = Some(found);
                    return Ok(Next::Done(Reason::Complete));
                }
            };
            if !self.lists.contains_key(&list) {
                self.open(&list)?;
                // Its recorded runs may have decided the list already.
                continue;
            }
            self.turn_to(&list);
            let max_runs = self.args.max_runs as usize;
            let is_used_up = self.shrink.runs() + self.in_flight.len() >= max_runs && !self.in_flight.is_empty();
            let wanted = (1..=until)
                .map(|number| (list.clone(), number))
                .find(|run| self.is_free(run));
            return Ok(match wanted.filter(|_| !is_used_up) {
                Some((list, iteration)) => {
                    let arm = Arc::clone(&self.lists[&list]);
                    self.in_flight.insert((list, iteration));
                    Next::Run(Task { arm, iteration })
                }
                None => Next::Wait,
            });
        }
    }

    fn ended(&mut self, task: &Task, end: &IterationEnd) {
        let Some(run) = self.run_of(task) else { return };
        self.in_flight.remove(&run);
        if let Some(outcome) = end.outcome() {
            self.shrink
                .observe(&run.0, run.1, self.replays.failure.target.seen(outcome));
        } else if matches!(end, IterationEnd::ByAnother) {
            self.elsewhere.insert(run, Instant::now() + ELSEWHERE);
        }
    }

    fn is_wanted(&mut self, task: &Task, _has_begun: bool) -> bool {
        let list = self.run_of(task).map(|(list, _)| list);
        self.found.is_none() && list == self.current
    }

    fn left(&self) -> usize {
        0
    }
}

impl Search<'_> {
    /// Opens the sweep of a list and takes in its recorded runs.
    fn open(&mut self, list: &List) -> anyhow::Result<()> {
        let tests = self.replays.tests(list);
        let context = self.replays.context(tests, self.args.times, Keep::Failed)?;
        let records = JudgedSweep::read(context.sweep.shown(), &self.replays.signatures)?.records;
        for record in &records {
            let seen = self.replays.failure.target.seen(&record.outcome);
            self.shrink.observe(list, record.iteration, seen);
        }
        let recorded = records.into_iter().map(|record| (record.iteration, record.outcome));
        let arm = Arm {
            recorded: recorded.collect(),
            ..Arm::new(context, (1, self.args.times))
        };
        self.lists.insert(list.clone(), Arc::new(arm));
        Ok(())
    }

    fn run_of(&self, task: &Task) -> Option<Run> {
        let mut lists = self.lists.iter();
        let (list, _) = lists.find(|(_, arm)| Arc::ptr_eq(arm, &task.arm))?;
        Some((list.clone(), task.iteration))
    }

    /// Whether a run has not ended, is not in flight here, and is not left to another process for now.
    fn is_free(&self, run: &Run) -> bool {
        !self.shrink.has(&run.0, run.1)
            && !self.in_flight.contains(run)
            && self.elsewhere.get(run).is_none_or(|again| *again <= Instant::now())
    }

    /// Makes a list the current one, and prints how the one before came out.
    fn turn_to(&mut self, list: &List) {
        if self.current.as_ref() == Some(list) {
            return;
        }
        if let Some(before) = self.current.replace(list.clone()) {
            self.tell(&before);
        }
    }

    fn tell(&mut self, list: &List) {
        let line = format!(
            "{:>4} of the {} tests before it: failed {} ({} of at most {} runs)",
            list.len(),
            self.replays.predecessors(),
            self.shrink.count(list),
            self.shrink.runs(),
            self.args.max_runs
        );
        if self.told.as_ref() != Some(&line) {
            anstream::eprintln!("{line}");
            self.told = Some(line);
        }
    }

    fn replayed(&mut self) -> Replayed {
        if let Some(last) = self.current.take() {
            self.tell(&last);
        }
        let is_interrupted = self.found.is_none();
        let found = self.found.take().unwrap_or_else(|| Found {
            list: self.shrink.best(),
            ending: Ending::OutOfRuns,
        });
        let target = &self.replays.failure.target;
        let count = self.shrink.count(&found.list);
        let errored = self.shrink.errored(&found.list);
        let mut replayed = Replayed::new(self.replays.tests(&found.list), count, errored, target);
        replayed.shrunk = match found.ending {
            Ending::Minimal | Ending::Unsettled | Ending::OutOfRuns => Some(Shrunk {
                from: self.replays.predecessors(),
                minimal: found.ending == Ending::Minimal,
                runs: self.shrink.runs(),
            }),
            // The whole list did not fail, so that there was no search.
            Ending::NotReproduced | Ending::Errored => None,
        };
        replayed.is_interrupted = is_interrupted;
        replayed
    }
}

/// A display that says only that the search is being stopped; single runs are not announced.
struct Stopping;

impl Reporter for Stopping {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event.kind, EventKind::CancelRequested { now: false }) {
            anstream::eprintln!("stopping: runs in flight may end; once more ends them");
        }
        Ok(())
    }
}
