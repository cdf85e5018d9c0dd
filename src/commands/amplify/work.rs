//! The scheduler's work of a search: which run comes next, under which conditions, and what is known so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::base::Target;
use super::knob::{self, Knob};
use crate::backend::{Backend, Deferred};
use crate::judge::{Outcome, OutcomeKind, Record};
use crate::spec::{Amplification, HOST_IMAGE, KnobsOn, Spec};
use crate::stats::amplify::{Course, Planned, Recorded, Stage, Step};
use crate::sweep::iteration::{Context, IterationEnd};
use crate::sweep::scheduler::{Arm, Next, Reason, Task, Work};
use crate::sweep::stop::StopReason;

/// How often a run is looked for that another process is at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Errored runs of this process without an answer in between after which nothing more is expected: some knobs may break a
/// suite, and are dropped, but this is a whole block of whatever knobs.
const MOST_ERRORED: u64 = 10;

pub(super) struct Searching {
    pub(super) course: Course,
    target: Target,
    knobs: Vec<Knob>,
    search: Amplification,
    /// The sweep with every knob off.
    base: Arc<Arm>,
    /// Where runs execute, by the knobs that are on.
    backends: BTreeMap<u32, Arc<dyn Backend>>,
    recorded: BTreeMap<u64, Recorded>,
    in_flight: BTreeMap<u64, Planned>,
    elsewhere: BTreeMap<u64, Instant>,
    errored: u64,
    gave_up: Option<String>,
}

impl Searching {
    pub(super) fn new(
        course: Course,
        target: Target,
        knobs: Vec<Knob>,
        search: Amplification,
        base: Arc<Arm>,
        recorded: Vec<Recorded>,
    ) -> Searching {
        Searching {
            course,
            target,
            knobs,
            search,
            base,
            backends: BTreeMap::new(),
            recorded: recorded.into_iter().map(|run| (run.planned.iteration, run)).collect(),
            in_flight: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            errored: 0,
            gave_up: None,
        }
    }

    /// Why the search was left without an answer, where it was not stopped from outside.
    pub(super) fn gave_up(&self) -> Option<&str> {
        self.gave_up.as_deref()
    }

    /// Backends that were made for its runs, to be closed.
    pub(super) fn into_backends(self) -> impl Iterator<Item = Arc<dyn Backend>> {
        self.backends.into_values()
    }

    fn runs(&self) -> Vec<Recorded> {
        self.recorded.values().copied().collect()
    }

    /// The sweep as one run has it: with its knobs on.
    fn arm(&mut self, planned: Planned) -> Arc<Arm> {
        let base = &self.base.context;
        let mut spec = knob::on(&self.knobs, planned.on, &base.spec);
        let backend = if planned.on == 0 {
            Arc::clone(&base.backend)
        } else {
            let made = self.backends.entry(planned.on);
            Arc::clone(made.or_insert_with(|| Arc::new(Deferred::new(pinned(&spec)))))
        };
        spec.amplification = Some(Amplification {
            run: Some(part(&planned, &self.knobs)),
            ..self.search.clone()
        });
        let context = Context::new(base.sweep.clone(), spec, backend, Arc::clone(&base.signatures));
        Arc::new(Arm::new(Arc::new(context), self.base.range))
    }

    /// Takes in whether a run said anything. What says nothing again and again, whatever knobs are on, will not begin to.
    fn watch(&mut self, outcome: &Outcome, planned: Planned) {
        if self.target.seen(outcome).0.is_some() {
            self.errored = 0;
            return;
        }
        self.errored += 1;
        let is_certain = planned.on == 0 && matches!(outcome.outcome, OutcomeKind::UsageError | OutcomeKind::NoTests);
        if is_certain || self.errored >= MOST_ERRORED {
            let cause = outcome.evidence.first().map(|evidence| evidence.text.clone());
            let cause = cause.or_else(|| outcome.notes.first().cloned()).unwrap_or_default();
            self.gave_up = Some(format!("{}: {cause}", outcome.outcome.as_str()));
        }
    }
}

impl Work for Searching {
    fn arms(&self) -> Vec<Arc<Arm>> {
        vec![Arc::clone(&self.base)]
    }

    fn next(&mut self) -> anyhow::Result<Next> {
        if let Some(cause) = &self.gave_up {
            return Ok(Next::Done(Reason::Broken(format!("the runs errored: {cause}"))));
        }
        let planned = match self.course.next(&self.runs()) {
            Step::Run(planned) => planned,
            Step::Shown(_) | Step::Stopped(_) => return Ok(Next::Done(Reason::Stopped(StopReason::Decided))),
        };
        let now = Instant::now();
        let is_free = |run: &Planned| {
            !self.in_flight.contains_key(&run.iteration)
                && self.elsewhere.get(&run.iteration).is_none_or(|again| *again <= now)
        };
        let Some(planned) = planned.into_iter().find(is_free) else {
            return Ok(Next::Wait);
        };
        let iteration = u32::try_from(planned.iteration)?;
        self.in_flight.insert(planned.iteration, planned);
        let arm = self.arm(planned);
        Ok(Next::Run(Task { arm, iteration }))
    }

    fn ended(&mut self, task: &Task, end: &IterationEnd) {
        let Some(planned) = self.in_flight.remove(&u64::from(task.iteration)) else {
            return;
        };
        if let IterationEnd::ByAnother = end {
            self.elsewhere.insert(planned.iteration, Instant::now() + LOOK_AGAIN);
        }
        let Some(outcome) = end.outcome() else { return };
        self.watch(outcome, planned);
        let (target, other) = self.target.seen(outcome);
        let recorded = Recorded { planned, target, other };
        self.recorded.insert(planned.iteration, recorded);
    }

    fn left(&self) -> usize {
        let most = usize::try_from(self.course.max_runs).unwrap_or(usize::MAX);
        most.saturating_sub(self.recorded.len() + self.in_flight.len())
    }

    fn standing(&self) -> String {
        let runs = self.runs();
        let state = self.course.state(&runs);
        let stage = self.in_flight.values().map(|run| run.stage).max();
        let stage = stage.map_or("", Stage::as_str);
        let mut known: Vec<(usize, f64)> = state.p_helps.iter().copied().enumerate().collect();
        known.retain(|(knob, _)| !state.dropped.contains(knob));
        known.sort_by(|a, b| b.1.total_cmp(&a.1));
        let name = |knob: usize| self.knobs[knob].flags.name.as_str();
        let known: Vec<String> = known
            .iter()
            .map(|(knob, p)| format!("{} {p:.2}", name(*knob)))
            .collect();
        let dropped: Vec<&str> = state.dropped.iter().map(|knob| name(*knob)).collect();
        let dropped = if dropped.is_empty() {
            String::new()
        } else {
            format!("; dropped: {}", dropped.join(", "))
        };
        format!(
            "{stage}: {} {} in {} runs; helps: {}{dropped}",
            self.target.words(),
            state.failures,
            runs.len(),
            known.join(", ")
        )
    }
}

/// A specification with the very image that the search began with, whatever the name of the image stands for meanwhile.
fn pinned(spec: &Spec) -> Spec {
    let mut pinned = spec.clone();
    if let Some(id) = spec
        .image_id
        .as_ref()
        .filter(|_| !["", HOST_IMAGE].contains(&spec.image.as_str()))
    {
        pinned.image.clone_from(id);
    }
    pinned
}

fn part(planned: &Planned, knobs: &[Knob]) -> KnobsOn {
    let on = knobs.iter().enumerate().filter(|(at, _)| planned.on >> at & 1 == 1);
    KnobsOn {
        stage: planned.stage,
        attempt: planned.attempt,
        role: planned.role,
        on: on.map(|(_, knob)| knob.flags.name.clone()).collect(),
    }
}

/// The recorded runs of a search, from their own words.
pub(super) fn recorded(records: &[Record], knobs: &[Knob], target: &Target) -> Vec<Recorded> {
    let bit = |name: &String| {
        knobs
            .iter()
            .position(|knob| knob.flags.name == *name)
            .map(|at| 1_u32 << at)
    };
    let run = |record: &Record| {
        let part = record.exit.as_ref()?.conditions.as_ref()?.amplify.as_ref()?;
        let on = part.on.iter().map(bit).collect::<Option<Vec<u32>>>()?;
        let (target, other) = target.seen(&record.outcome);
        Some(Recorded {
            planned: Planned {
                iteration: u64::from(record.iteration),
                stage: part.stage,
                attempt: part.attempt,
                role: part.role,
                on: on.into_iter().fold(0, |mask, bit| mask | bit),
            },
            target,
            other,
        })
    };
    records.iter().filter_map(run).collect()
}
