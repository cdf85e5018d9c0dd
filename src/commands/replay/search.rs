//! `--shrink`: runs what the search asks for, several at a time, and tells how far it has come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Came;
use super::place::Place;
use super::times::CANCEL_GRACE;
use crate::cli::replay::Args;
use crate::commands::judged;
use crate::iteration::{self, Answer, Cancel, Context};
use crate::model::Outcome;
use crate::model::replay::{Replayed, Seen, Shrunk};
use crate::model::shrink::{Ending, Found, List, Shrink, Step};
use crate::store::{Keep, StoreError};

/// How often a run is looked for that another process is at.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// Searches until there is an answer, the runs are used up, or the user stops it.
pub(super) async fn run(args: &Args, place: &Place, signals: mpsc::UnboundedReceiver<()>) -> anyhow::Result<Came> {
    let mut search = Search {
        args,
        place,
        shrink: Shrink::new(place.predecessors(), args.max_runs as usize, args.times as usize),
        lists: BTreeMap::new(),
        in_flight: BTreeSet::new(),
        flights: JoinSet::new(),
        progress: mpsc::unbounded_channel().0,
        told: None,
        was_told: None,
    };
    let found = search.finish(signals).await?;
    Ok(search.came(found))
}

/// A list that is being run, or was.
struct Listed {
    context: Arc<Context>,
    /// Ends what runs of it.
    cancel: watch::Sender<Cancel>,
}

type Flight = (List, u32, Result<Option<Outcome>, StoreError>);

struct Search<'a> {
    args: &'a Args,
    place: &'a Place,
    shrink: Shrink,
    lists: BTreeMap<List, Listed>,
    in_flight: BTreeSet<(List, u32)>,
    flights: JoinSet<Flight>,
    /// Nobody listens: a run here is too small a thing to be announced.
    progress: mpsc::UnboundedSender<iteration::Progress>,
    /// The list that was last announced, and what was said about it.
    told: Option<List>,
    was_told: Option<String>,
}

impl Search<'_> {
    /// `None` where the user stopped it.
    async fn finish(&mut self, mut signals: mpsc::UnboundedReceiver<()>) -> anyhow::Result<Option<Found>> {
        let mut is_draining = false;
        let mut until: Option<Instant> = None;
        loop {
            if !is_draining {
                if let Some(found) = self.launch()? {
                    self.end_all();
                    while let Some(landed) = self.flights.join_next().await {
                        self.land(landed.expect("a run never panics"))?;
                    }
                    return Ok(Some(found));
                }
            } else if self.flights.is_empty() {
                return Ok(None);
            }
            tokio::select! {
                Some(landed) = self.flights.join_next() => self.land(landed.expect("a run never panics"))?,
                Some(()) = signals.recv() => {
                    if is_draining {
                        self.end_all();
                    } else {
                        anstream::eprintln!("stopping: runs in flight may end; once more ends them");
                        is_draining = true;
                        until = Some(Instant::now() + CANCEL_GRACE);
                    }
                }
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    until = None;
                    self.end_all();
                }
            }
        }
    }

    /// Starts what is of use now, as far as there is room for it; the answer, if there is one.
    fn launch(&mut self) -> anyhow::Result<Option<Found>> {
        let jobs = self.args.jobs as usize;
        loop {
            let (list, until) = match self.shrink.next(jobs) {
                Step::Done(found) => return Ok(Some(found)),
                Step::Run { list, until } => (list, until),
            };
            if !self.lists.contains_key(&list) {
                self.open(&list)?;
                // What was recorded of it before may have decided it.
                continue;
            }
            self.tell(&list);
            self.end_others(&list);
            let wanted = (1..=until)
                .find(|number| !self.shrink.has(&list, *number) && !self.in_flight.contains(&(list.clone(), *number)));
            let is_full = self.flights.len() >= jobs
                || (self.shrink.runs() + self.flights.len() >= self.args.max_runs as usize && !self.flights.is_empty());
            match wanted {
                Some(number) if !is_full => self.start(list, number),
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Takes in what is recorded of a list.
    fn open(&mut self, list: &List) -> anyhow::Result<()> {
        let context = self
            .place
            .context(self.place.tests(list), self.args.times, Keep::Failed)?;
        for record in judged::sweep(context.sweep.shown(), &self.place.signatures)?.records {
            self.shrink.observe(list, record.iteration, self.seen(&record.outcome));
        }
        let cancel = watch::channel(Cancel::No).0;
        self.lists.insert(list.clone(), Listed { context, cancel });
        Ok(())
    }

    fn start(&mut self, list: List, number: u32) {
        let Some(listed) = self.lists.get_mut(&list) else {
            return;
        };
        if *listed.cancel.borrow() != Cancel::No {
            // Runs of it were ended when it had been decided; now it is doubted or run for its rate.
            listed.cancel = watch::channel(Cancel::No).0;
        }
        let (context, progress) = (Arc::clone(&listed.context), self.progress.clone());
        let cancel = listed.cancel.subscribe();
        self.in_flight.insert((list.clone(), number));
        self.flights.spawn(async move {
            let outcome = one(context, number, progress, cancel).await;
            (list, number, outcome)
        });
    }

    fn land(&mut self, (list, number, outcome): Flight) -> anyhow::Result<()> {
        self.in_flight.remove(&(list.clone(), number));
        if let Some(outcome) = outcome? {
            self.shrink.observe(&list, number, self.seen(&outcome));
        }
        Ok(())
    }

    fn seen(&self, outcome: &Outcome) -> Seen {
        self.place.failure.target.seen(outcome)
    }

    /// Ends runs of lists that have been decided.
    fn end_others(&self, list: &List) {
        for (ended, _) in self.in_flight.iter().filter(|(other, _)| other != list) {
            self.lists[ended].cancel.send_replace(Cancel::Now);
        }
    }

    fn end_all(&self) {
        for (list, _) in &self.in_flight {
            self.lists[list].cancel.send_replace(Cancel::Now);
        }
    }

    /// Says what became of the list before, and which one is tried now.
    fn tell(&mut self, list: &List) {
        if self.told.as_ref() == Some(list) {
            return;
        }
        let told = self.told.replace(list.clone());
        if let Some(before) = told {
            self.tell_count(&before);
        }
    }

    fn tell_count(&mut self, list: &List) {
        let line = format!(
            "{:>4} of the {} tests before it: failed {} ({} of at most {} runs)",
            list.len(),
            self.place.predecessors(),
            self.shrink.count(list),
            self.shrink.runs(),
            self.args.max_runs
        );
        if self.was_told.as_ref() != Some(&line) {
            anstream::eprintln!("{line}");
            self.was_told = Some(line);
        }
    }

    fn came(&mut self, found: Option<Found>) -> Came {
        if let Some(last) = self.told.take() {
            self.tell_count(&last);
        }
        let is_interrupted = found.is_none();
        let found = found.unwrap_or_else(|| Found {
            list: self.shrink.best(),
            ending: Ending::OutOfRuns,
        });
        let target = &self.place.failure.target;
        let count = self.shrink.count(&found.list);
        let mut replayed = Replayed::new(
            self.place.tests(&found.list),
            count,
            self.shrink.errored(&found.list),
            target,
        );
        replayed.shrunk = match found.ending {
            Ending::Minimal | Ending::Unsettled | Ending::OutOfRuns => Some(Shrunk {
                from: self.place.predecessors(),
                minimal: found.ending == Ending::Minimal,
                runs: self.shrink.runs(),
            }),
            // There was nothing to shrink.
            Ending::NotReproduced | Ending::Errored => None,
        };
        Came {
            replayed,
            others: 0,
            is_interrupted,
        }
    }
}

/// One run of a list; `None` where it was ended.
async fn one(
    context: Arc<Context>,
    number: u32,
    progress: mpsc::UnboundedSender<iteration::Progress>,
    mut cancel: watch::Receiver<Cancel>,
) -> Result<Option<Outcome>, StoreError> {
    loop {
        let answer = iteration::run(Arc::clone(&context), 0, number, None, progress.clone(), cancel.clone()).await?;
        match answer {
            Answer::Recorded(record) => return Ok(Some(record.outcome)),
            Answer::RecordedBefore => return context.sweep.outcome(number),
            Answer::Cancelled | Answer::NotStarted | Answer::Lost(_) => return Ok(None),
            Answer::Elsewhere => {
                tokio::select! {
                    () = tokio::time::sleep(ELSEWHERE) => {}
                    _ = cancel.wait_for(|level| *level == Cancel::Now) => return Ok(None),
                }
            }
        }
    }
}
