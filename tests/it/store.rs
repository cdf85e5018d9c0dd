//! The store under the conditions it is made for: several processes, kills at any moment, full and read-only disks,
//! and directories in which tests have left what they liked.
//!
//! 400 lines long because the processes that tests start are this very file, told apart by a task.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use chrono::DateTime;
use reproduce_flaky::judge::RunFiles;
use reproduce_flaky::model::{BackendKind, Deadlines, Exit, Mode, Outcome, OutcomeKind, Record, Spec, spec::Container};
use reproduce_flaky::store::{self, Claimed, Keep, Published, Rebuilt, StoreError, Sweep};

use crate::place::{Mount, is_root, skip};

/// Tells the test that is a process of its own what to do: `<task> <logs dir> <first> <last>`.
const TASK: &str = "STORE_TEST_TASK";

pub(crate) fn spec(first: u32, last: u32) -> Spec {
    Spec {
        format: 1,
        tool: "0.1.0".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        mode: Mode::Serial,
        tag: None,
        first,
        last,
        jobs: 1,
        backend: BackendKind::Docker,
        image: "app:1".to_owned(),
        image_id: Some("sha256:1111".to_owned()),
        versions: std::collections::BTreeMap::new(),
        pytest_args: vec!["tests".to_owned()],
        trail: true,
        directory: PathBuf::from("/workspace"),
        env: Vec::new(),
        pass_env: Vec::new(),
        output_env: "DYN_TEST_OUTPUT_PATH".to_owned(),
        host_requirements: None,
        container: Container::default(),
        deadlines: Deadlines::default(),
        max_attempts: 3,
        arm: None,
        placing: None,
        ended: None,
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
fn ours(sweep: &Sweep, iteration: u32) -> store::Claim {
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
    let scan = store::scan(dir).unwrap();
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
        .map(|line| store::iteration_of(line.split(':').next().unwrap()).unwrap())
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
fn ten_processes_open_one_sweep_at_once_and_its_range_holds_all_of_theirs() {
    let logs = tempfile::tempdir().unwrap();
    let mut processes: Vec<Process> = (0..10)
        .map(|number| Process::start("open", logs.path(), number * 5 + 1, number * 5 + 5))
        .collect();
    for process in &mut processes {
        assert_eq!(process.line().as_deref(), Some("ready"));
    }
    for process in &mut processes {
        process.go();
    }
    for process in processes {
        process.ends_well();
    }
    let spec = store::scan(&logs.path().join("serial")).unwrap().spec.unwrap();
    assert_eq!((spec.first, spec.last), (1, 50));
}

#[test]
fn processes_on_one_directory_run_each_iteration_exactly_once() {
    let logs = tempfile::tempdir().unwrap();
    let processes: Vec<Process> = (0..4).map(|_| Process::start("record", logs.path(), 1, 60)).collect();
    let mut done: Vec<u32> = Vec::new();
    for process in processes {
        done.extend(process.ends_well().iter().filter_map(|line| line.parse::<u32>().ok()));
    }
    done.sort_unstable();
    assert_eq!(done, (1..=60).collect::<Vec<_>>());
    let dir = logs.path().join("serial");
    assert_eq!(rows(&dir), (1..=60).collect());
    assert_eq!(fs::read_dir(dir.join(".attempts")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.join(".claims")).unwrap().count(), 0);
}

#[test]
fn of_two_processes_that_publish_one_iteration_one_wins_and_the_other_keeps_its_evidence() {
    let logs = tempfile::tempdir().unwrap();
    let mut processes = [0, 1].map(|_| Process::start("race", logs.path(), 1, 20));
    for process in &mut processes {
        assert_eq!(process.line().as_deref(), Some("ready"));
    }
    for iteration in 1..=20 {
        for process in &mut processes {
            assert_eq!(process.line(), Some(format!("at {iteration}")));
        }
        for process in &mut processes {
            process.go();
        }
        let mut answers = processes.each_mut().map(|process| process.line().unwrap());
        answers.sort();
        assert_eq!(answers, ["lost", "won"], "iteration {iteration}");
    }
    for process in processes {
        process.ends_well();
    }
    let dir = logs.path().join("serial");
    assert_eq!(rows(&dir), (1..=20).collect());
    assert_eq!(fs::read_dir(dir.join(".attempts")).unwrap().count(), 20);
}

#[test]
fn nothing_announced_is_lost_or_doubled_when_a_process_is_killed_at_any_moment() {
    let logs = tempfile::tempdir().unwrap();
    let dir = logs.path().join("serial");
    let mut announced = BTreeSet::new();
    for kill in 0..12_u64 {
        let mut process = Process::start("record", logs.path(), 1, 4000);
        for _ in 0..=kill % 4 + 1 {
            announced.extend(process.line().and_then(|line| line.parse::<u32>().ok()));
        }
        // Lands at another step of publishing each time.
        let begun = std::time::Instant::now();
        while begun.elapsed().as_micros() < u128::from(kill * 170) {}
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        while let Some(line) = process.line() {
            announced.extend(line.parse::<u32>().ok());
        }
        let scan = store::scan(&dir).unwrap();
        let recorded: BTreeSet<u32> = scan.runs.iter().map(|run| run.iteration).collect();
        assert!(recorded.is_superset(&announced), "{announced:?} {recorded:?}");
        for run in scan.runs {
            assert!(
                run.exit.is_some() && run.outcome.is_some() && run.problem.is_none(),
                "{run:?}"
            );
        }
    }
    let last = u32::try_from(announced.len()).unwrap() + 20;
    Process::start("record", logs.path(), 1, last).ends_well();
    let recorded = store::recorded(&dir).unwrap();
    assert!(recorded.is_superset(&(1..=last).collect()));
    assert_eq!(rows(&dir), recorded);
}

/// Leaves what a process that was killed leaves: a claim that nobody holds and an attempt with these files.
fn leave_half(dir: &Path, files: &[(&str, &str)]) {
    fs::write(dir.join(".claims/002.lock"), "").unwrap();
    let attempt = dir.join(".attempts/run002.gone-1-1");
    fs::create_dir(&attempt).unwrap();
    for (name, text) in files {
        fs::write(attempt.join(name), text).unwrap();
    }
}

#[test]
fn whatever_a_kill_leaves_before_the_rename_is_no_answer_and_runs_again() {
    let exit = serde_json::to_string(&passed(2).0).unwrap();
    let outcome = serde_json::to_string(&passed(2).1).unwrap();
    let log = ("run.log", "collected 1 item\n");
    let states: [&[(&str, &str)]; 5] = [
        &[log],
        &[log, (".new-x1y2z3", &exit[..20])],
        &[log, ("exit.json", &exit)],
        &[log, ("exit.json", &exit), ("outcome.json", &outcome)],
        &[
            log,
            ("exit.json", &exit),
            ("outcome.json", &outcome),
            (".exit_code", "0\n"),
        ],
    ];
    for files in states {
        let logs = tempfile::tempdir().unwrap();
        let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
        record(&sweep, 1).unwrap();
        leave_half(sweep.dir(), files);
        let again = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
        assert_eq!(again.recorded().unwrap(), BTreeSet::from([1]), "{files:?}");
        for iteration in 1..=3 {
            assert_eq!(record(&again, iteration).is_some(), iteration != 1);
        }
        assert_eq!(
            again.rebuild(&records(again.dir()), "done\n").unwrap(),
            Rebuilt::Current
        );
        assert_eq!(rows(again.dir()), BTreeSet::from([1, 2, 3]));
        assert!(
            again.dir().join(".attempts/run002.gone-1-1/run.log").exists(),
            "evidence stays"
        );
    }
}

#[test]
fn a_kill_between_rename_and_row_costs_nothing_and_torn_lines_are_mended() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 4)).unwrap();
    for iteration in [1, 2, 3] {
        record(&sweep, iteration).unwrap();
    }
    let dir = sweep.dir();
    let lines = fs::read_to_string(dir.join("results.txt")).unwrap();
    // Row 2 was never written, row 3 was cut short by a full disk.
    let cut = format!("{}\nrun003: PAS", lines.lines().next().unwrap());
    fs::write(dir.join("results.txt"), cut).unwrap();
    fs::write(dir.join("events.jsonl"), "{\"event\":\"sweep_st").unwrap();
    let again = Sweep::open(logs.path(), &spec(1, 4)).unwrap();
    record(&again, 4).unwrap();
    let text = fs::read_to_string(dir.join("results.txt")).unwrap();
    assert!(text.ends_with("\nrun004: PASSED (exit 0)\n"), "{text}");
    again.rebuild(&records(dir), "").unwrap();
    assert_eq!(rows(dir), (1..=4).collect());
}

#[test]
fn a_rebuild_keeps_what_others_published_meanwhile_and_says_that_it_was_behind() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    record(&sweep, 1).unwrap();
    let seen = records(sweep.dir());
    record(&Sweep::open(logs.path(), &spec(1, 3)).unwrap(), 2).unwrap();
    assert_eq!(sweep.rebuild(&seen, "one\n").unwrap(), Rebuilt::Behind);
    assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 2]));
    assert_eq!(sweep.rebuild(&records(sweep.dir()), "two\n").unwrap(), Rebuilt::Current);
    assert_eq!(fs::read_to_string(sweep.dir().join("summary.txt")).unwrap(), "two\n");
}

#[test]
fn a_claim_is_somebody_elses_until_it_is_dropped_and_leaves_nothing() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    let claim = ours(&sweep, 2);
    assert!(matches!(sweep.claim(2).unwrap(), Claimed::Elsewhere));
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
fn what_tests_write_under_our_names_is_neither_followed_nor_believed() {
    type Prank = fn(&Path, &Path);
    let pranks: [(&str, Prank); 8] = [
        ("a link named exit.json", |dir, outside| {
            symlink(outside, dir.join("exit.json")).unwrap();
        }),
        ("facts of its own", |dir, _| {
            fs::write(dir.join("outcome.json"), "{\"verdict\":\"passed\"}").unwrap();
        }),
        ("a directory named outcome.json", |dir, _| {
            fs::create_dir(dir.join("outcome.json")).unwrap();
        }),
        ("a full directory named .exit_code", |dir, _| {
            fs::create_dir(dir.join(".exit_code")).unwrap();
            fs::write(dir.join(".exit_code/x"), "").unwrap();
        }),
        ("the log removed", |dir, _| {
            fs::remove_file(dir.join("run.log")).unwrap();
        }),
        ("the log replaced by a link", |dir, outside| {
            fs::remove_file(dir.join("run.log")).unwrap();
            symlink(outside, dir.join("run.log")).unwrap();
        }),
        ("the directory closed", |dir, _| {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o000)).unwrap();
        }),
        ("the directory removed", |dir, _| {
            fs::remove_dir_all(dir).unwrap();
        }),
    ];
    for (name, prank) in pranks {
        let logs = tempfile::tempdir().unwrap();
        let outside = logs.path().join("precious");
        fs::write(&outside, "untouched").unwrap();
        let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
        let claim = ours(&sweep, 1);
        let mut attempt = sweep.new_attempt(&claim).unwrap();
        attempt.write_log(b"before\n").unwrap();
        prank(attempt.path(), &outside);
        attempt.write_log(b"after\n").unwrap();
        let files = attempt.files().unwrap();
        let (_, mut console) = files.console().unwrap().unwrap();
        let mut log = String::new();
        console.read_to_string(&mut log).unwrap();
        assert_eq!(log, "before\nafter\n", "{name}");
        drop(console);
        let (exit, mut outcome) = passed(1);
        outcome.outcome = OutcomeKind::Failed;
        outcome.verdict = outcome.outcome.verdict();
        sweep.publish(claim, attempt, &exit, &outcome).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "{name}");
        let run = store::scan(sweep.dir()).unwrap().runs.remove(0);
        assert_eq!(run.outcome.unwrap().outcome, OutcomeKind::Failed, "{name}");
        assert_eq!((run.exit.unwrap().code, run.problem), (Some(0), None), "{name}");
        assert_eq!(
            fs::read_to_string(run.dir.join("run.log")).unwrap(),
            "before\nafter\n",
            "{name}"
        );
        assert_eq!(fs::read_to_string(run.dir.join(".exit_code")).unwrap(), "0\n", "{name}");
    }
}

#[test]
fn links_pipes_closed_files_and_names_that_are_no_text_do_not_break_reading() {
    use std::os::unix::ffi::OsStrExt;

    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 2)).unwrap();
    let claim = ours(&sweep, 1);
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    attempt.write_log(b"\xff\xfe not text \x00\n1 passed\n").unwrap();
    let dir = attempt.path().to_owned();
    let written = dir.join("test_indexers_sync[jetstream]");
    fs::create_dir(&written).unwrap();
    fs::write(written.join("test.log.txt"), "Router 1 has 100 events").unwrap();
    fs::write(written.join(std::ffi::OsStr::from_bytes(b"bad-\xff.log")), "x").unwrap();
    symlink("/", written.join("root")).unwrap();
    symlink("/etc/passwd", written.join("passwd.txt")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, written.join("pipe.log"), fifo, 0o600.into(), 0).unwrap();
    fs::write(written.join("closed.log"), "secret").unwrap();
    fs::set_permissions(written.join("closed.log"), fs::Permissions::from_mode(0o000)).unwrap();
    let (exit, outcome) = passed(1);
    sweep.publish(claim, attempt, &exit, &outcome).unwrap();

    let run = store::scan(sweep.dir()).unwrap().runs.remove(0);
    let files = store::run_files(&run.dir).unwrap();
    let listed = files.test_logs().unwrap();
    let expected =
        ["bad-\u{fffd}.log", "closed.log", "test.log.txt"].map(|name| format!("test_indexers_sync[jetstream]/{name}"));
    assert_eq!(listed, expected);
    for path in &listed {
        let mut text = Vec::new();
        files.open(path).unwrap().read_to_end(&mut text).unwrap();
    }
}

#[test]
fn a_resume_that_would_run_something_else_is_refused_with_both_values() {
    let logs = tempfile::tempdir().unwrap();
    Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    let refused = |change: fn(&mut Spec)| {
        let mut spec = spec(1, 3);
        change(&mut spec);
        let error = Sweep::open(logs.path(), &spec).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("name the new one with --tag"));
        error.to_string().replace(&logs.path().display().to_string(), "logs")
    };
    assert_eq!(
        refused(|spec| {
            spec.image = "app:2".to_owned();
            spec.image_id = Some("sha256:2222".to_owned());
        }),
        "`logs/serial` holds a sweep of `app:1`, not `app:2`"
    );
    assert_eq!(
        refused(|spec| spec.pytest_args = Vec::new()),
        "`logs/serial` holds a sweep with pytest arguments `tests`, not none"
    );
    // A range that grows, other deadlines and another number of jobs are the same sweep.
    let mut wider = spec(2, 9);
    wider.jobs = 4;
    wider.deadlines.total_s = 10.0;
    Sweep::open(logs.path(), &wider).unwrap();
    let kept = store::scan(&logs.path().join("serial")).unwrap().spec.unwrap();
    assert_eq!((kept.first, kept.last, kept.jobs), (1, 9, 1));
}

#[test]
fn what_is_no_sweep_is_refused_in_words_and_left_alone() {
    let logs = tempfile::tempdir().unwrap();
    let open = || Sweep::open(logs.path(), &spec(1, 1)).unwrap_err();
    let dir = logs.path().join("serial");
    fs::write(&dir, "notes").unwrap();
    let error = open();
    assert!(error.to_string().ends_with("/serial`: file exists"), "{error}");
    assert!(error.hint().unwrap().contains("--logs-dir"));
    fs::remove_file(&dir).unwrap();

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("sweep.json"), "{\"format\":1,").unwrap();
    let error = open();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("line 1 column"), "{error}");
    fs::write(dir.join("sweep.json"), "{\"format\":2}").unwrap();
    assert!(open().to_string().contains("has format 2"));
    assert_eq!(fs::read_to_string(dir.join("sweep.json")).unwrap(), "{\"format\":2}");
    // Reading goes on without it.
    assert_eq!(store::scan(&dir).unwrap().problems.len(), 1);

    fs::remove_file(dir.join("sweep.json")).unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 1)).unwrap();
    fs::write(dir.join("run001"), "in the way").unwrap();
    let claim = ours(&sweep, 1);
    let attempt = sweep.new_attempt(&claim).unwrap();
    let (exit, outcome) = passed(1);
    let error = sweep.publish(claim, attempt, &exit, &outcome).unwrap_err();
    assert!(matches!(error, StoreError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read_to_string(dir.join("run001")).unwrap(), "in the way");
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
        let run = dir.join(store::run_name(iteration));
        fs::create_dir_all(&run).unwrap();
        for (name, text) in files {
            fs::write(run.join(name), text).unwrap();
        }
    }
    fs::create_dir(dir.join("run003")).unwrap();
    fs::write(dir.join("results.txt"), "run001: PASSED (exit 0)\n").unwrap();
    let scan = store::scan(&dir).unwrap();
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
fn retried_iterations_move_aside_with_their_rows_and_are_never_deleted() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    for iteration in 1..=3 {
        record(&sweep, iteration).unwrap();
    }
    for round in 1..=2 {
        sweep.retry(&[2, 9]).unwrap();
        assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 3]));
        assert!(
            sweep
                .dir()
                .join(format!(".attempts/run002.retried-{round}/run.log"))
                .exists()
        );
        record(&sweep, 2).unwrap();
        assert_eq!(rows(sweep.dir()), BTreeSet::from([1, 2, 3]));
    }
}

#[test]
fn of_iterations_that_passed_only_facts_stay_where_logs_are_kept_of_failures() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 2)).unwrap().keep_logs(Keep::Failed);
    for (iteration, kind) in [(1, OutcomeKind::Passed), (2, OutcomeKind::Failed)] {
        let claim = ours(&sweep, iteration);
        let mut attempt = sweep.new_attempt(&claim).unwrap();
        attempt.write_log(b"text\n").unwrap();
        fs::create_dir(attempt.path().join("test_x[a]")).unwrap();
        fs::write(attempt.path().join("tests.jsonl"), "{}\n").unwrap();
        let outcome = Outcome::new(kind);
        sweep.publish(claim, attempt, &passed(iteration).0, &outcome).unwrap();
    }
    let names = |iteration| {
        let entries = fs::read_dir(sweep.dir().join(store::run_name(iteration))).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(1), [".exit_code", "exit.json", "outcome.json", "tests.jsonl"]);
    assert_eq!(
        names(2),
        [
            ".exit_code",
            "exit.json",
            "outcome.json",
            "run.log",
            "test_x[a]",
            "tests.jsonl"
        ]
    );
}

#[test]
fn a_corrupted_judgement_is_a_problem_of_its_run_and_of_no_other() {
    let logs = tempfile::tempdir().unwrap();
    let sweep = Sweep::open(logs.path(), &spec(1, 3)).unwrap();
    for iteration in 1..=3 {
        record(&sweep, iteration).unwrap();
    }
    fs::write(
        sweep.dir().join("run002/outcome.json"),
        "{\"format\":1,\"verdict\":\"pas",
    )
    .unwrap();
    fs::write(sweep.dir().join("run003/exit.json"), "").unwrap();
    let runs = store::scan(sweep.dir()).unwrap().runs;
    assert!(runs[0].problem.is_none());
    assert!(runs[1].outcome.is_none() && runs[1].problem.as_ref().unwrap().contains("outcome.json is corrupted"));
    // The code is written down twice.
    assert_eq!(runs[2].exit.as_ref().unwrap().code, Some(0));
    assert!(runs[2].outcome.is_some() && runs[2].problem.is_some());
    assert_eq!(sweep.outcome(2).unwrap(), None);
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
        below(store::find_runs(tree.path()).unwrap()),
        [
            "kept/failure",
            "kept/lone.log",
            "logs/n4_fix9/run001",
            "logs/n4_fix10/run99",
            "logs/n4_fix10/run100"
        ]
    );
    assert_eq!(
        below(store::find_sweeps(tree.path()).unwrap()),
        ["logs/n4_fix9", "logs/n4_fix10"]
    );
    let lone = tree.path().join("kept/lone.log");
    assert_eq!(store::find_runs(&lone).unwrap(), [lone]);
    assert!(store::find_runs(&tree.path().join("absent")).is_err());
}

#[test]
fn a_full_disk_stops_recording_loses_nothing_and_a_resume_goes_on() {
    let Some(disk) = Mount::tmpfs("192k") else {
        return skip("needs root to mount a small disk");
    };
    let logs = disk.path();
    let sweep = Sweep::open(logs, &spec(1, 9)).unwrap();
    record(&sweep, 1).unwrap();
    let claim = ours(&sweep, 2);
    let mut attempt = sweep.new_attempt(&claim).unwrap();
    let error = loop {
        if let Err(error) = attempt.write_log(&[b'x'; 4096]) {
            break error;
        }
    };
    assert!(error.to_string().ends_with("no space left on device"), "{error}");
    assert!(error.hint().unwrap().contains("free space there"));
    let (exit, outcome) = passed(2);
    assert!(sweep.publish(claim, attempt, &exit, &outcome).is_err());
    assert_eq!(sweep.recorded().unwrap(), BTreeSet::from([1]));
    while sweep.append_event(&event()).is_ok() {}
    let again = Sweep::open(logs, &spec(1, 9)).unwrap();
    assert_eq!(
        again.recorded().unwrap(),
        BTreeSet::from([1]),
        "a full disk does not keep a sweep from being read"
    );

    for entry in fs::read_dir(again.dir().join(".attempts")).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    assert!(record(&again, 2).is_some());
    again.rebuild(&records(again.dir()), "").unwrap();
    assert_eq!(rows(again.dir()), BTreeSet::from([1, 2]));
}

#[test]
fn a_read_only_place_is_named_with_what_to_do() {
    let Some(disk) = Mount::tmpfs("1m") else {
        return skip("needs root to mount a read-only disk");
    };
    Sweep::open(disk.path(), &spec(1, 1)).unwrap();
    disk.make_read_only();
    let error = Sweep::open(disk.path(), &spec(1, 1)).unwrap_err();
    assert!(error.to_string().ends_with("read-only file system"), "{error}");
    assert!(
        error.to_string().contains(&format!("{}/serial", disk.path().display())),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--logs-dir"));
    let mut other = spec(1, 1);
    other.tag = Some("new".to_owned());
    let error = Sweep::open(disk.path(), &other).unwrap_err();
    assert!(error.to_string().starts_with("failed to create"), "{error}");
    // What is there can still be read.
    assert!(store::scan(&disk.path().join("serial")).unwrap().spec.is_some());
}

#[test]
fn a_place_without_rights_is_named_with_what_to_do() {
    if is_root() {
        return skip("root has all rights");
    }
    let logs = tempfile::tempdir().unwrap();
    fs::set_permissions(logs.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Sweep::open(logs.path(), &spec(1, 1)).unwrap_err();
    assert!(error.to_string().ends_with("permission denied"), "{error}");
    assert!(error.hint().unwrap().contains("--logs-dir"));
}

fn event() -> reproduce_flaky::model::Event {
    reproduce_flaky::model::Event {
        kind: reproduce_flaky::model::EventKind::CancelRequested { now: false },
        arm: None,
        at: DateTime::UNIX_EPOCH,
        elapsed_s: 1.0,
        tally: reproduce_flaky::model::Tally::default(),
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
        let read: reproduce_flaky::model::Event = serde_json::from_str(line).unwrap();
        assert_eq!(read, event());
    }
}
