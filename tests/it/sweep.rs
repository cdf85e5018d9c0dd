//! The scheduler over a scripted backend: order of events, lost attempts, deadlines, cancelling, resuming.
//!
//! 400 lines long because the scripted backend and what the scheduler makes of each script read as one.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reproduce_flaky::backend::{Attempt, Backend, BackendError, Ended, Probe, Session, Signal};
use reproduce_flaky::iteration::Context;
use reproduce_flaky::judge::SignatureSet;
use reproduce_flaky::model::stop::{StopReason, StopRules};
use reproduce_flaky::model::{BackendKind, Deadlines, Event, EventKind, Mode, Spec};
use reproduce_flaky::reporter::Reporter;
use reproduce_flaky::runner::{self, Arm, End, Plan, Reason};
use reproduce_flaky::store::{self, Sweep};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};

const PASSES: &str = "collected 1 item\n\ntests/test_a.py .                 [100%]\n\n===== 1 passed in 0.01s =====\n";
const FAILS: &str = "collected 1 item\n\ntests/test_a.py F                 [100%]\n\n\
    ===== FAILURES =====\n_____ test_x _____\n\n    def test_x():\n>       assert 1 == 2\nE       assert 1 == 2\n\n\
    tests/test_a.py:2: AssertionError\n===== short test summary info =====\n\
    FAILED tests/test_a.py::test_x - assert 1 == 2\n===== 1 failed in 0.02s =====\n";
const STARTS: &str = "collected 1 item\n\ntests/test_a.py ";

/// What one attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
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
    /// Goes away in the middle.
    Vanish,
}

/// A backend whose attempts do as they are told, and `Pass` beyond that.
struct Scripted {
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
            let session = Told {
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

struct Told {
    act: Act,
    printed: bool,
    ended: Arc<Notify>,
    signals: Vec<Signal>,
}

impl Session for Told {
    fn output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BackendError>> {
        async move {
            if !self.printed {
                self.printed = true;
                return Ok(Some(Bytes::from_static(match self.act {
                    Act::Pass => PASSES.as_bytes(),
                    Act::Fail => FAILS.as_bytes(),
                    _ => STARTS.as_bytes(),
                })));
            }
            match self.act {
                Act::Pass | Act::Fail => Ok(None),
                Act::Vanish | Act::Lost => Err(BackendError::Lost {
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
            (Act::Pass, _) => (0, None),
            (Act::Fail, _) => (1, None),
            (_, Some(Signal::Kill)) => (137, Some(9)),
            (_, _) => (143, Some(15)),
        };
        async move {
            Ok(Ended {
                code: Some(code),
                signal,
                ..Ended::default()
            })
        }
        .boxed()
    }
}

/// Keeps what a display would be shown.
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Reporter for Recorder {
    fn event(&mut self, event: &Event) -> std::io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

/// A sweep to be told and looked at.
struct SweepTest {
    logs: TempDir,
    last: u32,
    jobs: u32,
    stop: StopRules,
    acts: BTreeMap<u32, VecDeque<Act>>,
    silence: Option<f64>,
    /// After how many started attempts how many signals arrive.
    signals_after: Option<(u32, u32)>,
}

impl SweepTest {
    fn new(last: u32) -> SweepTest {
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

    fn jobs(mut self, jobs: u32) -> SweepTest {
        self.jobs = jobs;
        self
    }

    /// What the attempts at one iteration do, in order.
    fn act(mut self, iteration: u32, acts: &[Act]) -> SweepTest {
        self.acts.insert(iteration, acts.iter().copied().collect());
        self
    }

    fn spec(&self) -> Spec {
        Spec {
            format: 1,
            tool: "test".to_owned(),
            created_at: chrono::DateTime::UNIX_EPOCH,
            mode: Mode::Serial,
            tag: None,
            first: 1,
            last: self.last,
            jobs: self.jobs,
            backend: BackendKind::Docker,
            image: "app:test".to_owned(),
            image_id: Some("sha256:1".to_owned()),
            versions: BTreeMap::new(),
            pytest_args: Vec::new(),
            trail: true,
            directory: self.logs.path().to_owned(),
            env: Vec::new(),
            pass_env: Vec::new(),
            output_env: "DYN_TEST_OUTPUT_PATH".to_owned(),
            host_requirements: None,
            container: reproduce_flaky::model::spec::Container::default(),
            deadlines: Deadlines {
                total_s: 660.0,
                silence_s: self.silence,
                silence_auto: false,
                keep_s: None,
                grace_s: 10.0,
            },
            max_attempts: 3,
            arm: None,
            placing: None,
            ended: None,
        }
    }

    /// Runs what is missing; the test's clock jumps over every wait.
    fn run(&self) -> (End, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.run_on_a_paused_clock())
    }

    async fn run_on_a_paused_clock(&self) -> (End, Vec<String>) {
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
        let arm = Arm {
            name: None,
            missing: (1..=self.last)
                .filter(|iteration| !recorded.contains(iteration))
                .collect(),
            recorded: Vec::new(),
            context: Arc::new(Context {
                sweep,
                spec,
                argv: vec!["python3".to_owned()],
                backend: Arc::new(backend),
                signatures: Arc::new(SignatureSet::built_in()),
                node: "here".to_owned(),
                quiet: reproduce_flaky::iteration::Quiet::default(),
                losses: reproduce_flaky::iteration::Losses::default(),
            }),
        };
        let plan = Plan {
            range: (1, self.last),
            arms: vec![arm],
            jobs: self.jobs,
            stop: self.stop.clone(),
            stop_when_decided: false,
            seed: 0,
            cancel_grace: Duration::from_mins(1),
        };
        let reporters: Vec<Box<dyn Reporter>> = vec![Box::new(Recorder(Arc::clone(&events)))];
        let end = runner::run(plan, reporters, signals).await.unwrap();
        let told = events.lock().unwrap().iter().map(told).collect();
        (end, told)
    }

    fn dir(&self) -> std::path::PathBuf {
        self.logs.path().join("serial")
    }

    fn recorded(&self) -> Vec<u32> {
        store::recorded(&self.dir()).unwrap().into_iter().collect()
    }

    fn outcome(&self, iteration: u32) -> serde_json::Value {
        json(&self.dir().join(format!("run{iteration:03}/outcome.json")))
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// An event in a few words.
fn told(event: &Event) -> String {
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

#[test]
fn events_come_in_order_and_after_what_they_announce() {
    let test = SweepTest::new(2).act(2, &[Act::Fail]);
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(
        told,
        [
            "sweep started, 2 to run",
            "1 started, attempt 1",
            "1 passed",
            "2 started, attempt 1",
            "2 failed",
            "finished, complete, 0 missing",
        ]
    );
    assert_eq!((end.tally.passed, end.tally.failed), (1, 1));
    assert_eq!(test.recorded(), [1, 2]);
}

#[test]
fn an_iteration_records_what_it_ran_under() {
    let test = SweepTest::new(1);
    test.run();
    let exit = json(&test.dir().join("run001/exit.json"));
    assert_eq!(
        (exit["tool"].as_str(), exit["jobs"].as_u64()),
        (Some("test"), Some(1)),
        "{exit}"
    );
    assert!(
        exit["cores"].as_u64() >= Some(1) && exit["load"].as_f64() >= Some(0.0),
        "{exit}"
    );
}

#[test]
fn a_resume_runs_only_the_missing_iterations() {
    let mut test = SweepTest::new(2);
    test.run();
    let first = std::fs::read(test.dir().join("run001/exit.json")).unwrap();
    test.last = 3;
    let (_, told) = test.run();
    assert_eq!(told[0], "sweep started, 1 to run");
    assert_eq!(told[1], "3 started, attempt 1");
    assert_eq!(std::fs::read(test.dir().join("run001/exit.json")).unwrap(), first);
}

#[test]
fn a_lost_attempt_is_tried_again_and_is_no_result() {
    let test = SweepTest::new(1).act(1, &[Act::Lost, Act::Vanish, Act::Fail]);
    let (end, told) = test.run();
    assert_eq!(
        told[1..6],
        [
            "1 started, attempt 1",
            "1 lost attempt 1",
            "1 started, attempt 2",
            "1 lost attempt 2",
            "1 started, attempt 3"
        ]
    );
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(test.outcome(1)["outcome"], "failed");
    assert_eq!(json(&test.dir().join("run001/exit.json"))["attempts"], 3);
}

#[test]
fn three_attempts_lost_for_one_reason_stop_the_sweep_and_record_the_iteration_as_errored() {
    let test = SweepTest::new(5).act(1, &[Act::Lost; 3]);
    let (end, _) = test.run();
    assert!(
        matches!(&end.reason, Reason::Broken(cause) if cause.contains("the daemon went away")),
        "{:?}",
        end.reason
    );
    assert_eq!(test.recorded(), [1]);
    assert_eq!(test.outcome(1)["verdict"], "errored");
}

#[test]
fn attempts_lost_at_the_same_moment_do_not_stop_the_sweep() {
    let lost = [Act::Lost];
    let test = SweepTest::new(4)
        .jobs(4)
        .act(1, &lost)
        .act(2, &lost)
        .act(3, &lost)
        .act(4, &lost);
    let (end, _) = test.run();
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(end.tally.passed, 4);
}

#[test]
fn a_session_that_hangs_is_ended_at_the_deadline_and_said_to_be_hung() {
    let test = SweepTest::new(2).act(1, &[Act::Hang]).act(2, &[Act::Stubborn]);
    let (end, told) = test.run();
    assert_eq!(end.tally.failed, 2);
    assert!(
        told.contains(&"1 hung".to_owned()) && told.contains(&"2 hung".to_owned()),
        "{told:?}"
    );
    let exit = json(&test.dir().join("run002/exit.json"));
    assert_eq!(
        (exit["ended_by"].as_str(), exit["code"].as_i64()),
        (Some("deadline"), Some(137))
    );
    assert_eq!(test.outcome(1)["categories"], serde_json::json!(["A4"]));
    let log = std::fs::read_to_string(test.dir().join("run001/run.log")).unwrap();
    assert!(log.contains("\n=== reproduce-flaky: "), "{log}");
}

#[test]
fn a_silent_session_is_ended_before_the_deadline() {
    let mut test = SweepTest::new(1).act(1, &[Act::Hang]);
    test.silence = Some(5.0);
    test.run();
    assert_eq!(json(&test.dir().join("run001/exit.json"))["ended_by"], "silence");
}

#[test]
fn a_session_that_nothing_can_end_does_not_hold_the_sweep() {
    let test = SweepTest::new(2).act(1, &[Act::Unkillable]);
    let (end, _) = test.run();
    assert_eq!((end.tally.failed, end.tally.passed), (1, 1));
    assert_eq!(test.outcome(1)["outcome"], "hung");
}

#[test]
fn one_signal_lets_running_iterations_end_and_starts_nothing_new() {
    let mut test = SweepTest::new(9).jobs(2).act(2, &[Act::Hang]);
    test.silence = Some(20.0);
    test.signals_after = Some((2, 1));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(
        told.contains(&"cancel".to_owned()) && told.contains(&"2 hung".to_owned()),
        "{told:?}"
    );
    assert!(test.recorded().len() < 9);
}

#[test]
fn a_second_signal_ends_running_iterations_and_they_are_no_results() {
    let mut test = SweepTest::new(9).act(1, &[Act::Stubborn]);
    test.signals_after = Some((1, 2));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(told.contains(&"cancel now".to_owned()), "{told:?}");
    assert_eq!(test.recorded(), [0; 0]);
    // The same command goes on from there.
    test.signals_after = None;
    test.acts.clear();
    test.run();
    assert_eq!(test.recorded().len(), 9);
}

#[test]
fn the_grace_after_one_signal_is_bounded() {
    let mut test = SweepTest::new(1).act(1, &[Act::Hang]);
    test.signals_after = Some((1, 1));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(told.contains(&"cancel now".to_owned()), "{told:?}");
    assert_eq!(test.recorded(), [0; 0]);
}

#[test]
fn the_sweep_stops_after_enough_failures() {
    let mut test = SweepTest::new(9).act(2, &[Act::Fail]).act(4, &[Act::Fail]);
    test.stop.max_failures = Some(2);
    let (end, _) = test.run();
    assert_eq!(end.reason, Reason::Stopped(StopReason::MaxFailures(2)));
    assert_eq!(test.recorded(), [1, 2, 3, 4]);
}

#[test]
fn the_event_log_tells_the_same_as_the_displays() {
    let test = SweepTest::new(3).act(2, &[Act::Fail]);
    let (_, told_live) = test.run();
    let log = std::fs::read_to_string(test.dir().join("events.jsonl")).unwrap();
    let logged: Vec<String> = log
        .lines()
        .map(|line| told(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(logged, told_live);
}
