//! A backend whose sessions follow a script, and a sweep of them.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reproduce_flaky::backend::{Attempt, Backend, BackendError, Ended, Probe, Session, Signal};
use reproduce_flaky::judge::SignatureSet;
use reproduce_flaky::run::{self, Sweep};
use reproduce_flaky::spec::{Deadlines, Spec};
use reproduce_flaky::sweep::blocks::{Blocks, Stops};
use reproduce_flaky::sweep::display::Reporter;
use reproduce_flaky::sweep::iteration::Context;
use reproduce_flaky::sweep::scheduler::{self, Arm, End, Pace};
use reproduce_flaky::sweep::stop::StopRules;
use reproduce_flaky::sweep::{Event, EventKind};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};

pub(super) const PASSES: &str =
    "collected 1 item\n\ntests/test_a.py .                 [100%]\n\n===== 1 passed in 0.01s =====\n";
pub(super) const FAILS: &str = "collected 1 item\n\ntests/test_a.py F                 [100%]\n\n\
    ===== FAILURES =====\n_____ test_x _____\n\n    def test_x():\n>       assert 1 == 2\nE       assert 1 == 2\n\n\
    tests/test_a.py:2: AssertionError\n===== short test summary info =====\n\
    FAILED tests/test_a.py::test_x - assert 1 == 2\n===== 1 failed in 0.02s =====\n";
pub(super) const STARTS: &str = "collected 1 item\n\ntests/test_a.py ";

/// What one attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Prints a green session and ends.
    Pass,
    /// Prints a red session and ends with 1.
    Fail,
    /// Prints the beginning and waits; TERM ends it.
    Hang,
    /// The same, and only KILL ends it.
    Stubborn,
    /// The same, and nothing ends it.
    Unkillable,
    /// Never starts.
    Lost,
    /// Is refused, in words that are others each time.
    Refused,
    /// Passes, while the machine's clock is set on by days.
    Leap,
    /// Goes away in the middle.
    Vanish,
}

/// A backend whose attempts do as they are told, and `Pass` beyond that.
pub(super) struct Scripted {
    acts: Mutex<BTreeMap<u32, VecDeque<Act>>>,
    started: Arc<Notify>,
}

impl Backend for Scripted {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, BackendError>> {
        async { Ok(Probe::default()) }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async { Ok(()) }.boxed()
    }

    fn start<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Box<dyn Session>, BackendError>> {
        async move {
            let act = self
                .acts
                .lock()
                .unwrap()
                .get_mut(&attempt.iteration)
                .and_then(VecDeque::pop_front);
            let act = act.unwrap_or(Act::Pass);
            self.started.notify_one();
            if act == Act::Lost {
                return Err(BackendError::Lost {
                    cause: "the daemon went away".to_owned(),
                });
            }
            if act == Act::Refused {
                return Err(BackendError::Refused {
                    verb: "create a container".to_owned(),
                    cause: format!("the name {} is taken", attempt.name),
                });
            }
            let session = ScriptedSession {
                act,
                printed: false,
                ended: Arc::new(Notify::new()),
                signals: Vec::new(),
            };
            Ok(Box::new(session) as Box<dyn Session>)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

pub(super) struct ScriptedSession {
    act: Act,
    printed: bool,
    ended: Arc<Notify>,
    signals: Vec<Signal>,
}

impl Session for ScriptedSession {
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        async move {
            if !self.printed {
                self.printed = true;
                return Ok(Some(Bytes::from_static(match self.act {
                    Act::Pass | Act::Leap => PASSES.as_bytes(),
                    Act::Fail => FAILS.as_bytes(),
                    _ => STARTS.as_bytes(),
                })));
            }
            match self.act {
                Act::Pass | Act::Leap | Act::Fail => Ok(None),
                Act::Vanish | Act::Lost | Act::Refused => Err(BackendError::Lost {
                    cause: "the container was removed".to_owned(),
                }),
                Act::Hang | Act::Stubborn | Act::Unkillable => {
                    self.ended.notified().await;
                    Ok(None)
                }
            }
        }
        .boxed()
    }

    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), BackendError>> {
        self.signals.push(signal);
        let ends = matches!((self.act, signal), (Act::Hang, _) | (Act::Stubborn, Signal::Kill));
        if ends {
            self.ended.notify_one();
        }
        async { Ok(()) }.boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Ended, BackendError>> {
        let (code, signal) = match (self.act, self.signals.last()) {
            (Act::Pass | Act::Leap, _) => (0, None),
            (Act::Fail, _) => (1, None),
            (_, Some(Signal::Kill)) => (137, Some(9)),
            (_, _) => (143, Some(15)),
        };
        let now = chrono::Utc::now();
        let leap = (self.act == Act::Leap).then(|| now + chrono::TimeDelta::days(10));
        async move {
            Ok(Ended {
                code: Some(code),
                signal,
                started_at: leap.map(|_| now),
                finished_at: leap,
                ..Ended::default()
            })
        }
        .boxed()
    }
}

/// Keeps what a display would be shown.
pub(super) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Reporter for Recorder {
    fn event(&mut self, event: &Event) -> std::io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

/// A sweep to be told and looked at.
pub(super) struct SweepTest {
    pub(super) logs: TempDir,
    pub(super) last: u32,
    pub(super) jobs: u32,
    pub(super) stop: StopRules,
    pub(super) acts: BTreeMap<u32, VecDeque<Act>>,
    pub(super) silence: Option<f64>,
    /// After how many started attempts how many signals arrive.
    pub(super) signals_after: Option<(u32, u32)>,
}

impl SweepTest {
    pub(super) fn new(last: u32) -> SweepTest {
        SweepTest {
            logs: tempfile::tempdir().unwrap(),
            last,
            jobs: 1,
            stop: StopRules::default(),
            acts: BTreeMap::new(),
            silence: None,
            signals_after: None,
        }
    }

    pub(super) fn jobs(mut self, jobs: u32) -> SweepTest {
        self.jobs = jobs;
        self
    }

    /// What the attempts at one iteration do, in order.
    pub(super) fn act(mut self, iteration: u32, acts: &[Act]) -> SweepTest {
        self.acts.insert(iteration, acts.iter().copied().collect());
        self
    }

    pub(super) fn spec(&self) -> Spec {
        Spec {
            tool: "test".to_owned(),
            last: self.last,
            jobs: self.jobs,
            image: "app:test".to_owned(),
            image_id: Some("sha256:1".to_owned()),
            directory: self.logs.path().to_owned(),
            deadlines: Deadlines {
                silence_s: self.silence,
                ..Deadlines::default()
            },
            ..Spec::default()
        }
    }

    /// Runs what is missing; the test's clock jumps over every wait.
    pub(super) fn run(&self) -> (End, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.run_on_a_paused_clock())
    }

    pub(super) async fn run_on_a_paused_clock(&self) -> (End, Vec<String>) {
        let spec = self.spec();
        let sweep = Sweep::open(self.logs.path(), &spec).unwrap();
        let recorded = sweep.recorded().unwrap();
        let started = Arc::new(Notify::new());
        let backend = Scripted {
            acts: Mutex::new(self.acts.clone()),
            started: Arc::clone(&started),
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let (signal, signals) = mpsc::unbounded_channel();
        if let Some((attempts, count)) = self.signals_after {
            tokio::spawn(async move {
                for _ in 0..attempts {
                    started.notified().await;
                }
                for _ in 0..count {
                    signal.send(()).unwrap();
                }
                // The sender stays, as the real listeners do.
                std::future::pending::<()>().await;
            });
        }
        let signatures = Arc::new(SignatureSet::built_in());
        let context = Context::new(sweep, spec, Arc::new(backend), signatures);
        let arm = Arm {
            missing: (1..=self.last)
                .filter(|iteration| !recorded.contains(iteration))
                .collect(),
            ..Arm::new(Arc::new(context), (1, self.last))
        };
        let pace = Pace {
            jobs: self.jobs,
            cancel_grace: Duration::from_mins(1),
        };
        let stops = Stops {
            rules: self.stop.clone(),
            when_decided: false,
        };
        let mut blocks = Blocks::new(vec![Arc::new(arm)], 0, stops);
        let reporters: Vec<Box<dyn Reporter>> = vec![Box::new(Recorder(Arc::clone(&events)))];
        let end = scheduler::run(&mut blocks, pace, reporters, signals).await.unwrap();
        let told = events.lock().unwrap().iter().map(told).collect();
        (end, told)
    }

    pub(super) fn dir(&self) -> std::path::PathBuf {
        self.logs.path().join("serial")
    }

    pub(super) fn recorded(&self) -> Vec<u32> {
        run::recorded(&self.dir()).unwrap().into_iter().collect()
    }

    pub(super) fn outcome(&self, iteration: u32) -> serde_json::Value {
        json(&self.dir().join(format!("run{iteration:03}/outcome.json")))
    }
}

pub(super) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// An event in a few words.
pub(super) fn told(event: &Event) -> String {
    match &event.kind {
        EventKind::SweepStarted { planned, .. } => format!("sweep started, {planned} to run"),
        EventKind::IterationStarted { iteration, attempt } => format!("{iteration} started, attempt {attempt}"),
        EventKind::IterationSlow { iteration, .. } => format!("{iteration} is slow"),
        EventKind::IterationKept { iteration, .. } => format!("{iteration} is kept"),
        EventKind::AttemptLost { iteration, attempt, .. } => format!("{iteration} lost attempt {attempt}"),
        EventKind::IterationFinished { iteration, outcome, .. } => format!("{iteration} {}", outcome.as_str()),
        EventKind::CancelRequested { now } => format!("cancel{}", if *now { " now" } else { "" }),
        EventKind::SweepFinished { reason, missing } => format!("finished, {reason}, {missing} missing"),
    }
}
