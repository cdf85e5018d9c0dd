//! The store under the conditions it is made for: several processes, kills at any moment, full and read-only disks,
//! and directories in which tests have left what they liked.

mod hostile;
mod kept;
mod mishaps;
mod processes;
mod refusals;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use chrono::DateTime;
use reproduce_flaky::judge::{Exit, Outcome, OutcomeKind, Record};
use reproduce_flaky::run::{self, Claimed, Published, Sweep};
use reproduce_flaky::spec::Spec;

/// Tells the test that is a process of its own what to do: `<task> <logs dir> <first> <last>`.
const TASK: &str = "STORE_TEST_TASK";

pub(crate) fn spec(first: u32, last: u32) -> Spec {
    Spec {
        tool: "0.1.0".to_owned(),
        first,
        last,
        image: "app:1".to_owned(),
        image_id: Some("sha256:1111".to_owned()),
        pytest_args: vec!["tests".to_owned()],
        ..Spec::default()
    }
}

fn passed(iteration: u32) -> (Exit, Outcome) {
    let exit = Exit {
        code: Some(0),
        duration_s: Some(1.5),
        ..Exit::default()
    };
    let mut outcome = Outcome::new(OutcomeKind::Passed);
    outcome.iteration = Some(iteration);
    (exit, outcome)
}

#[track_caller]
fn ours(sweep: &Sweep, iteration: u32) -> run::Claim {
    match sweep.claim(iteration).unwrap() {
        Claimed::Ours(claim) => claim,
        other => panic!("iteration {iteration}: {other:?}"),
    }
}

/// Runs an iteration that passes, if it is to be had.
fn record(sweep: &Sweep, iteration: u32) -> Option<Published> {
    let Claimed::Ours(claim) = sweep.claim(iteration).unwrap() else {
        return None;
    };
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    attempt
        .write_log(format!("iteration {iteration}\n1 passed in 0.01s\n").as_bytes())
        .unwrap();
    let (exit, outcome) = passed(iteration);
    Some(sweep.publish(claim, attempt, &exit, &outcome).unwrap())
}

fn records(dir: &Path) -> Vec<Record> {
    let scan = run::scan(dir).unwrap();
    scan.runs
        .into_iter()
        .map(|run| Record {
            iteration: run.iteration,
            dir: run.dir,
            exit: run.exit,
            outcome: run.outcome.unwrap(),
            problem: run.problem,
        })
        .collect()
}

/// Iterations of `results.txt` and `results.csv`, which must name each once.
#[track_caller]
fn rows(dir: &Path) -> BTreeSet<u32> {
    let lines = fs::read_to_string(dir.join("results.txt")).unwrap();
    let of_lines: Vec<u32> = lines
        .lines()
        .map(|line| run::iteration_of(line.split(':').next().unwrap()).unwrap())
        .collect();
    let mut table = csv::Reader::from_path(dir.join("results.csv")).unwrap();
    let of_table: Vec<u32> = table.records().map(|row| row.unwrap()[0].parse().unwrap()).collect();
    let set: BTreeSet<u32> = of_lines.iter().copied().collect();
    assert_eq!(
        set.len(),
        of_lines.len(),
        "an iteration stands twice in results.txt:\n{lines}"
    );
    let set_of_table: BTreeSet<u32> = of_table.iter().copied().collect();
    assert_eq!(
        set_of_table.len(),
        of_table.len(),
        "an iteration stands twice in results.csv"
    );
    assert_eq!(set, set_of_table);
    set
}

/// A process that runs [`a_process_of_these_tests`] with a task.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(task: &str, logs: &Path, first: u32, last: u32) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::a_process_of_these_tests",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(TASK, format!("{task} {} {first} {last}", logs.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Process { child, says }
    }

    /// The next line that is ours and not the test harness's; `None` at its end.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.says.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The harness prints a test's name without an end of line.
            if let Some((_, ours)) = line.trim_end().split_once("> ") {
                return Some(ours.to_owned());
            }
        }
    }

    fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    #[track_caller]
    fn ends_well(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
        }
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

fn wait_for_go() {
    let mut byte = [0];
    std::io::stdin().read_exact(&mut byte).unwrap();
}

/// Does nothing unless it was started by another test as a process of its own.
#[test]
fn a_process_of_these_tests() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [task, logs, first, last] = words[..] else {
        panic!("{task}")
    };
    let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
    println!("> ready");
    match task {
        "open" => {
            wait_for_go();
            Sweep::open(Path::new(logs), &spec(first, last)).unwrap();
        }
        "record" => {
            let sweep = Sweep::open(Path::new(logs), &spec(first, last)).unwrap();
            for iteration in first..=last {
                if record(&sweep, iteration).is_some() {
                    println!("> {iteration}");
                }
            }
            sweep.rebuild(&records(sweep.dir()), "").unwrap();
        }
        // Claims are taken from under the other process, as if there were no locks.
        "race" => {
            let sweep = Sweep::open(Path::new(logs), &spec(first, last)).unwrap();
            for iteration in first..=last {
                let claim = loop {
                    let _ = fs::remove_file(sweep.dir().join(format!(".claims/{iteration:03}.lock")));
                    if let Claimed::Ours(claim) = sweep.claim(iteration).unwrap() {
                        break claim;
                    }
                };
                let attempt = sweep.new_attempt(&claim).unwrap();
                println!("> at {iteration}");
                wait_for_go();
                let (exit, outcome) = passed(iteration);
                let published = sweep.publish(claim, attempt, &exit, &outcome).unwrap();
                println!(
                    "> {}",
                    if matches!(published, Published::Ours(_)) {
                        "won"
                    } else {
                        "lost"
                    }
                );
            }
        }
        other => panic!("no task {other}"),
    }
}

#[test]
fn a_claim_is_somebody_elses_until_it_is_dropped_and_leaves_nothing() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    let claim = ours(&sweep, 2);
    assert!(matches!(sweep.claim(2).unwrap(), Claimed::ByAnother));
    drop(claim);
    assert_eq!(fs::read_dir(sweep.dir().join(".claims")).unwrap().count(), 0);
    drop(ours(&sweep, 2));
    record(&sweep, 2).unwrap();
    assert!(matches!(sweep.claim(2).unwrap(), Claimed::Recorded));
}

#[test]
fn a_lost_attempt_stays_with_its_reason_and_the_next_one_has_a_place_of_its_own() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    let claim = ours(&sweep, 1);
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    attempt.write_log(b"half\n").unwrap();
    let path = attempt.path().to_owned();
    sweep.lose(attempt, "lost the session: connection reset").unwrap();
    let second = sweep.new_attempt(&claim).unwrap();
    assert_ne!(second.path(), path);
    assert!(
        fs::read_to_string(path.join("lost.txt"))
            .unwrap()
            .ends_with("lost the session: connection reset\n")
    );
    assert_eq!(fs::read_to_string(path.join("run.log")).unwrap(), "half\n");
    let (exit, outcome) = passed(1);
    let published = sweep.publish(claim, second, &exit, &outcome).unwrap();
    assert_eq!(published, Published::Ours(logs.path().join("serial/run001")));
}

#[test]
fn a_tree_of_the_script_is_read_and_resumed_without_touching_it() {
    let logs = tempfile::tempdir().unwrap();
    let dir = logs.path().join("serial");
    for (iteration, files) in [
        (1, &[("pytest.log", "1 passed"), (".exit_code", "0")][..]),
        (2, &[("run.log", "killed")]),
        (4, &[(".exit_code", "134")]),
    ] {
        let run = dir.join(run::run_name(iteration));
        fs::create_dir_all(&run).unwrap();
        for (name, text) in files {
            fs::write(run.join(name), text).unwrap();
        }
    }
    fs::create_dir(dir.join("run003")).unwrap();
    fs::write(dir.join("results.txt"), "run001: PASSED (exit 0)\n").unwrap();
    let scan = run::scan(&dir).unwrap();
    let read: Vec<_> = scan
        .runs
        .iter()
        .map(|run| (run.iteration, run.exit.as_ref().and_then(|exit| exit.code)))
        .collect();
    assert_eq!(read, [(1, Some(0)), (2, None), (4, Some(134))]);
    assert!(scan.spec.is_none());

    let sweep = Sweep::open(logs.path(), &spec(1, 5)).unwrap();
    assert!(sweep.notes()[0].contains("no sweep.json"), "{:?}", sweep.notes());
    let ran: Vec<u32> = (1..=5)
        .filter(|iteration| record(&sweep, *iteration).is_some())
        .collect();
    assert_eq!(ran, [3, 5], "an empty directory is no answer, anything else is");
    assert_eq!(fs::read_to_string(dir.join("run002/run.log")).unwrap(), "killed");
}

#[test]
fn runs_and_sweeps_are_found_in_any_tree_in_natural_order() {
    let tree = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    };
    for path in [
        "logs/n4_fix10/run100/run.log",
        "logs/n4_fix10/run99/pytest.log",
        "logs/n4_fix10/.attempts/run101.h-1-1/run.log",
        "logs/n4_fix10/nohup.log",
        "logs/n4_fix10/results.txt",
        "logs/n4_fix9/run001/test_x[a]/test.log.txt",
        "logs/README.md",
        "kept/failure/run.log",
        "kept/lone.log",
        "kept/notes.txt",
    ] {
        make(path);
    }
    symlink(tree.path(), tree.path().join("kept/loop")).unwrap();
    let below = |paths: Vec<PathBuf>| -> Vec<String> {
        paths
            .iter()
            .map(|path| path.strip_prefix(tree.path()).unwrap().display().to_string())
            .collect()
    };
    assert_eq!(
        below(run::find_runs(tree.path()).unwrap()),
        [
            "kept/failure",
            "kept/lone.log",
            "logs/n4_fix9/run001",
            "logs/n4_fix10/run99",
            "logs/n4_fix10/run100"
        ]
    );
    assert_eq!(
        below(run::find_sweeps(tree.path()).unwrap()),
        ["logs/n4_fix9", "logs/n4_fix10"]
    );
    let lone = tree.path().join("kept/lone.log");
    assert_eq!(run::find_runs(&lone).unwrap(), [lone]);
    assert!(run::find_runs(&tree.path().join("absent")).is_err());
}

fn event() -> reproduce_flaky::sweep::Event {
    reproduce_flaky::sweep::Event {
        kind: reproduce_flaky::sweep::EventKind::CancelRequested { now: false },
        arm: None,
        at: DateTime::UNIX_EPOCH,
        elapsed_s: 1.0,
        tally: reproduce_flaky::sweep::Tally::default(),
    }
}

#[test]
fn events_of_several_writers_stay_whole_lines() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| sweep.append_event(&event()).unwrap()));
        }
    });
    let text = fs::read_to_string(sweep.dir().join("events.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 200);
    for line in text.lines() {
        let read: reproduce_flaky::sweep::Event = serde_json::from_str(line).unwrap();
        assert_eq!(read, event());
    }
}
