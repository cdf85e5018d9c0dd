//! Sweeps on a real Slurm of three nodes: every iteration is recorded exactly once, whatever befalls the nodes.
//!
//! 400 lines long because every mishap needs the same cluster, the same suite and the same count of records.

mod cluster;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};

use crate::cli::{Place, Ran, until};
use cluster::{Cluster, ran};

/// A test that waits for a file: `go`, or one named after the node and the restart that it runs in.
const GATED: &str = "import os, time
def test_gate():
    me = os.environ['SLURMD_NODENAME'] + '-' + os.environ.get('SLURM_RESTART_COUNT', '0')
    open('in-' + os.environ['REPRODUCE_FLAKY_ITERATION'] + '-' + me, 'w').close()
    while not os.path.exists('go') and not os.path.exists('go-' + me): time.sleep(0.05)
";

/// A sweep on a cluster, by processes of its nodes.
fn command(place: &Place, cluster: &Cluster, words: &[&str]) -> Command {
    let words = [
        &["--engine", "slurm", "--backend", "local", "--progress", "plain"],
        words,
    ]
    .concat();
    place_command(place, cluster, &words)
}

fn place_command(place: &Place, cluster: &Cluster, words: &[&str]) -> Command {
    let mut command = place.command(words);
    command.envs(cluster.environment());
    command
}

fn start(place: &Place, cluster: &Cluster, words: &[&str]) -> Child {
    command(place, cluster, words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(place: &Place, cluster: &Cluster, words: &[&str]) -> Ran {
    ran(start(place, cluster, words))
}

fn exits(place: &Place, last: u32) -> Vec<serde_json::Value> {
    let read = |iteration: u32| {
        let path = place.path(&format!("logs/serial/run{iteration:03}/exit.json"));
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
    };
    (1..=last).map(read).collect()
}

/// Each iteration is recorded, and stands once in the table.
#[track_caller]
fn recorded_once(place: &Place, last: u32) -> BTreeMap<u32, BTreeMap<String, String>> {
    let rows = place.rows("logs/serial");
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    let lines = fs::read_to_string(place.path("logs/serial/results.txt")).unwrap();
    assert_eq!(lines.lines().count(), last as usize, "{lines}");
    rows
}

/// Most iterations that ran at one moment, from what each says of its start and its length.
fn most_at_once(exits: &[serde_json::Value]) -> usize {
    let spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = exits
        .iter()
        .map(|exit| {
            let start: DateTime<Utc> = exit["started_at"].as_str().unwrap().parse().unwrap();
            let millis = exit["duration_s"].as_f64().unwrap() * 1000.0;
            #[expect(clippy::cast_possible_truncation, reason = "a test lasts less than a million years")]
            let length = chrono::Duration::milliseconds(millis as i64);
            (start, start + length)
        })
        .collect();
    let at = |moment: DateTime<Utc>| {
        spans
            .iter()
            .filter(|(from, to)| *from <= moment && moment < *to)
            .count()
    };
    spans.iter().map(|(from, _)| at(*from)).max().unwrap()
}

/// Reasons of attempts that are no result, by name.
fn lost(place: &Place) -> BTreeMap<String, String> {
    let attempts = fs::read_dir(place.path("logs/serial/.attempts"))
        .unwrap()
        .map(Result::unwrap);
    attempts
        .map(|entry| {
            let reason = fs::read_to_string(entry.path().join("lost.txt")).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), reason)
        })
        .collect()
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn twenty_iterations_run_four_at_once_on_three_nodes_and_a_failing_one_is_an_answer() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[(
        "test_one.py",
        "import os, time
def test_one():
    time.sleep(0.3)
    assert os.environ['REPRODUCE_FLAKY_ITERATION'] not in ('3', '11'), 'three'
",
    )]);
    let ran = run(&place, &cluster, &["-e", "20", "-j", "4"]).exits(3);
    assert!(ran.err().contains("note: handed to Slurm as job "), "{}", ran.err());
    assert!(ran.out().contains("2/20 failed"), "{}", ran.out());
    let rows = recorded_once(&place, 20);
    assert_eq!(rows[&11]["verdict"], "failed");
    let exits = exits(&place, 20);
    let most = most_at_once(&exits);
    assert!((2..=4).contains(&most), "{most} at once");
    let nodes: std::collections::BTreeSet<&str> = exits.iter().map(|exit| exit["node"].as_str().unwrap()).collect();
    assert!(
        nodes.len() > 1 && nodes.is_subset(&["n1", "n2", "n3"].into()),
        "{nodes:?}"
    );
    // The same again hands over nothing.
    let ran = run(&place, &cluster, &["-e", "20", "-j", "4"]).exits(3);
    assert!(!ran.err().contains("handed to Slurm"), "{}", ran.err());
    assert_eq!(
        fs::read_dir(place.path("logs/serial/tickets")).unwrap().count(),
        2,
        "one ticket and the lock"
    );
}

#[test]
fn a_node_that_is_set_down_loses_its_iterations_to_the_others() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "8", "-j", "4"]);
    until("four tests, some on n1", || {
        let running = cluster.running();
        let begun = running
            .iter()
            .all(|(index, node)| place.path(&format!("in-{index}-{node}-0")).exists());
        running.len() == 4 && begun && running.iter().any(|(_, node)| node == "n1")
    });
    let on_n1: Vec<u32> = cluster
        .running()
        .into_iter()
        .filter(|(_, node)| node == "n1")
        .map(|(index, _)| index)
        .collect();
    let down = ["update", "nodename=n1", "state=down", "reason=test"];
    assert!(cluster.call("scontrol", &down).status().unwrap().success());
    until("the node to be empty", || {
        cluster.running().iter().all(|(_, node)| node != "n1")
    });
    fs::write(place.path("go"), "").unwrap();
    let ran = ran(sweep).exits(0);
    recorded_once(&place, 8);
    let exits = exits(&place, 8);
    for index in on_n1 {
        let exit = &exits[index as usize - 1];
        assert_ne!(exit["node"], "n1", "{exit}");
        assert!(exit["attempt"].as_str().unwrap().contains(".1.n"), "{exit}");
    }
    assert!(ran.err().contains("its node was lost"), "{}", ran.err());
}

/// Waits until so many tests of a gated suite have begun, each in its first attempt.
fn until_begun(place: &Place, cluster: &Cluster, tests: usize) {
    until("the tests to begin", || {
        let running = cluster.running();
        let has_begun = |(index, node): &(u32, String)| place.path(&format!("in-{index}-{node}-0")).exists();
        running.len() == tests && running.iter().all(has_begun)
    });
}

/// Whether an iteration's test has begun once more, on whichever node.
fn has_begun_again(place: &Place, iteration: u32) -> bool {
    ["n1", "n2", "n3"]
        .iter()
        .any(|node| place.path(&format!("in-{iteration}-{node}-1")).exists())
}

#[test]
fn what_more_urgent_work_takes_the_place_of_is_no_result_and_runs_again() {
    let preempting = "PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=n[1-3] MaxTime=INFINITE State=UP PriorityTier=100 PreemptMode=OFF
";
    let Some(cluster) = Cluster::start_with(preempting) else {
        return;
    };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "3", "-j", "3"]);
    until_begun(&place, &cluster, 3);
    let urgent = [
        "--partition=urgent",
        "--nodes=3",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=true",
    ];
    assert!(cluster.call("sbatch", &urgent).status().unwrap().success());
    until("all to begin again", || {
        (1..=3).all(|iteration| has_begun_again(&place, iteration))
    });
    fs::write(place.path("go"), "").unwrap();
    ran(sweep).exits(0);
    let rows = recorded_once(&place, 3);
    assert!(rows.values().all(|row| row["verdict"] == "passed"), "{rows:?}");
    for exit in exits(&place, 3) {
        assert!(exit["attempt"].as_str().unwrap().contains(".1.n"), "{exit}");
    }
    assert_eq!(lost(&place).len(), 3, "{:?}", lost(&place));
}

#[test]
fn what_an_administrator_requeues_runs_again_and_is_recorded_once() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "2", "-j", "2"]);
    until_begun(&place, &cluster, 2);
    let job = cluster.ask("squeue", &["-h", "-r", "-o", "%F"]);
    let second = format!("{}_2", job.lines().next().unwrap().trim());
    assert!(
        cluster
            .call("scontrol", &["requeue", &second])
            .status()
            .unwrap()
            .success()
    );
    until("the second to begin again", || has_begun_again(&place, 2));
    fs::write(place.path("go"), "").unwrap();
    ran(sweep).exits(0);
    recorded_once(&place, 2);
    let attempts: Vec<String> = exits(&place, 2)
        .iter()
        .map(|exit| exit["attempt"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        attempts[0].contains(".0.n") && attempts[1].contains(".1.n"),
        "{attempts:?}"
    );
}

#[test]
fn what_slurms_time_limit_ends_is_no_result() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "2", "-j", "2", "--max-attempts", "1"]);
    until_begun(&place, &cluster, 2);
    // A job's limit is whole minutes, of which none are left for the second of them.
    let job = cluster.ask("squeue", &["-h", "-r", "-o", "%F"]);
    let second = format!("jobid={}_2", job.lines().next().unwrap().trim());
    let ended = cluster.call("scontrol", &["update", &second, "EndTime=now"]).status();
    assert!(ended.unwrap().success());
    until("the second to be ended", || {
        cluster.running().iter().all(|(index, _)| *index == 1)
    });
    fs::write(place.path("go"), "").unwrap();
    let ran = ran(sweep).exits(4);
    let rows = recorded_once(&place, 2);
    assert_eq!(rows[&1]["verdict"], "passed");
    assert_eq!(
        (rows[&2]["verdict"].as_str(), rows[&2]["outcome"].as_str()),
        ("errored", "no_result")
    );
    assert!(ran.out().contains("0/1 failed"), "{}", ran.out());
}

#[test]
fn a_full_shared_disk_records_nothing_false_and_the_sweep_is_completed_once_there_is_room() {
    let Some(cluster) = Cluster::start() else { return };
    let Some(disk) = crate::place::Mount::tmpfs("4m") else {
        return crate::place::skip("needs root to mount a small disk");
    };
    let suite = format!(
        "import os
def test_one():
    if os.environ['REPRODUCE_FLAKY_ITERATION'] != '2' or os.path.exists('has-room'): return
    with open('{}/filler', 'wb', buffering=0) as file:
        try:
            while True: file.write(b'x' * 4096)
        except OSError: pass
",
        disk.path().display()
    );
    let place = Place::new(&[("test_one.py", &suite)]);
    let logs = disk.path().join("logs").display().to_string();
    let words = ["-e", "3", "-j", "1", "--max-attempts", "2", "--logs-dir", &logs];
    let full = run(&place, &cluster, &words);
    assert!(full.err().contains("o space left"), "{}", full.err());
    assert!(!disk.path().join("logs/serial/run002").exists());
    fs::remove_file(disk.path().join("filler")).unwrap();
    fs::write(place.path("has-room"), "").unwrap();
    run(&place, &cluster, &[&words[..], &["--retry", "errored"]].concat()).exits(0);
    let rows = place.rows(&format!("{logs}/serial"));
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(rows.values().all(|row| row["verdict"] == "passed"), "{rows:?}");
}

#[test]
fn a_node_without_the_image_loads_it_from_the_shared_directory() {
    if !crate::engine::daemon() || !crate::engine::debian() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::passing();
    let image = crate::engine::OwnImage::copy("tar");
    let name = image.name();
    let tar = place.path("image.tar").display().to_string();
    crate::engine::docker(&["save", "-o", &tar, name]).unwrap();
    for node in ["n1", "n2", "n3"] {
        let words = ["update", &format!("nodename={node}"), "state=drain", "reason=test"];
        assert!(cluster.call("scontrol", &words).status().unwrap().success());
    }
    let words = [
        "--engine",
        "slurm",
        "-i",
        name,
        "--image-tar",
        &tar,
        "-e",
        "2",
        "--progress",
        "plain",
    ];
    let sweep = place_command(&place, &cluster, &words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the sweep in the queue", || !cluster.ask("squeue", &["-h"]).is_empty());
    crate::engine::docker(&["rmi", name]).unwrap();
    for node in ["n1", "n2", "n3"] {
        let words = ["update", &format!("nodename={node}"), "state=resume"];
        assert!(cluster.call("scontrol", &words).status().unwrap().success());
    }
    ran(sweep).exits(0);
    recorded_once(&place, 2);
}

#[test]
fn a_power_cut_loses_no_iteration_and_records_none_twice() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "6", "-j", "4"]);
    until("four tests", || {
        let running = cluster.running();
        let begun = running
            .iter()
            .all(|(index, node)| place.path(&format!("in-{index}-{node}-0")).exists());
        running.len() == 4 && begun
    });
    let victim = cluster.running()[0].clone();
    cluster.power_off(&victim.1);
    fs::write(place.path("go"), "").unwrap();
    ran(sweep).exits(0);
    recorded_once(&place, 6);
    let exit = &exits(&place, 6)[victim.0 as usize - 1];
    assert_ne!(exit["node"], victim.1.as_str());
    let left: Vec<String> = lost(&place).into_keys().collect();
    let first = format!("run{:03}.", victim.0);
    assert!(
        left.iter().any(|name| name.starts_with(&first)),
        "the first attempt is evidence: {left:?}"
    );
}

#[test]
fn a_node_that_was_cut_off_and_finishes_later_is_superseded() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "1"]);
    until("the test", || {
        cluster
            .running()
            .iter()
            .any(|(_, node)| place.path(&format!("in-1-{node}-0")).exists())
    });
    let first = cluster.running()[0].1.clone();
    cluster.cut_off(&first);
    let others = ["n1", "n2", "n3"].into_iter().filter(|node| *node != first);
    let others: Vec<&str> = others.collect();
    until("a second attempt", || {
        others.iter().any(|node| place.path(&format!("in-1-{node}-1")).exists())
    });
    for node in &others {
        fs::write(place.path(&format!("go-{node}-1")), "").unwrap();
    }
    ran(sweep).exits(0);
    let attempt = exits(&place, 1)[0]["attempt"].as_str().unwrap().to_owned();
    assert!(
        attempt.contains(".1.n") && !attempt.contains(&format!(".{first}-")),
        "{attempt}"
    );
    fs::write(place.path(&format!("go-{first}-0")), "").unwrap();
    until("the first attempt to come in second", || {
        lost(&place)
            .values()
            .any(|reason| reason.contains("another process recorded this iteration first"))
    });
    recorded_once(&place, 1);
    assert_eq!(exits(&place, 1)[0]["attempt"], attempt.as_str());
}

#[test]
fn what_is_cancelled_leaves_no_false_record_and_the_same_command_resumes() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    fs::write(place.path("go"), "").unwrap();
    run(&place, &cluster, &["-e", "2", "-j", "2"]).exits(0);
    fs::remove_file(place.path("go")).unwrap();
    let sweep = start(&place, &cluster, &["-e", "6", "-j", "2"]);
    until("two tests", || {
        let running = cluster.running();
        running.len() == 2
            && running
                .iter()
                .all(|(index, node)| place.path(&format!("in-{index}-{node}-0")).exists())
    });
    let cancel = place_command(&place, &cluster, &["cancel", "logs/serial"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&cancel.stdout),
        "4 iterations taken back; what is recorded stays\n"
    );
    ran(sweep).exits(130);
    assert_eq!(place.rows("logs/serial").len(), 2);
    assert_eq!(
        lost(&place)
            .values()
            .filter(|reason| reason.contains("ended by the user"))
            .count(),
        2
    );
    fs::write(place.path("go"), "").unwrap();
    run(&place, &cluster, &["-e", "6", "-j", "2"]).exits(0);
    recorded_once(&place, 6);
}

#[test]
fn an_interrupt_detaches_and_the_same_command_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "5", "-j", "1"]);
    until("the first test", || !cluster.running().is_empty());
    rustix::process::kill_process(rustix::process::Pid::from_child(&sweep), rustix::process::Signal::INT).unwrap();
    let detached = ran(sweep).exits(130);
    assert!(
        detached.err().contains("note: reproduce-flaky cancel logs/serial"),
        "{}",
        detached.err()
    );
    assert_eq!(cluster.running().len(), 1);
    let more = place_command(&place, &cluster, &["status", "logs/serial", "--jobs", "3"])
        .output()
        .unwrap();
    assert!(more.status.success(), "{more:?}");
    until("three at once", || cluster.running().len() == 3);
    let again = start(&place, &cluster, &["-e", "5", "-j", "3"]);
    fs::write(place.path("go"), "").unwrap();
    let again = ran(again).exits(0);
    assert!(
        again.err().contains("5 iterations are queued or running already"),
        "{}",
        again.err()
    );
    assert!(!again.err().contains("handed to Slurm"), "{}", again.err());
    recorded_once(&place, 5);
}

#[test]
fn a_stop_rule_takes_what_has_not_begun_out_of_the_queue() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_no.py", "def test_no():\n    assert False\n")]);
    let ran = run(&place, &cluster, &["-e", "40", "-j", "2", "--max-failures", "2"]).exits(3);
    assert!(
        ran.err().contains("note: stopped by the rule `max-failures 2`"),
        "{}",
        ran.err()
    );
    let n = place.rows("logs/serial").len();
    assert!((2..40).contains(&n), "{n}");
    assert_eq!(cluster.ask("squeue", &["-h"]), "");
}

/// A session that does nothing but look like one: what stands for pytest where only their number matters.
const NO_OP: &str = r#"print("""============================= test session starts ==============================
collected 1 item

test_pass.py .                                                           [100%]

============================== 1 passed in 0.01s ==============================""")
"#;

#[test]
fn more_iterations_than_an_array_may_have_are_chained_blocks() {
    // Fifteen hundred against Slurm's own limit take five minutes of a machine; CI runs them by themselves.
    let long = std::env::var_os("REPRODUCE_FLAKY_LONG_TESTS").is_some();
    let (size, last) = if long { (1001, 1500) } else { (21, 30) };
    let Some(cluster) = Cluster::start_with(&format!("MaxArraySize={size}\n")) else {
        return;
    };
    // `python3 -m` looks where it was started first.
    let place = Place::new(&[("test_pass.py", ""), ("pytest.py", NO_OP)]);
    run(&place, &cluster, &["-e", &last.to_string(), "-j", "6", "--no-trail"]).exits(0);
    let rows = recorded_once(&place, last);
    assert!(rows.values().all(|row| row["verdict"] == "passed"));
    let most = most_at_once(&exits(&place, last));
    assert!(most <= 6, "{most} at once");
    let tickets = fs::read_dir(place.path("logs/serial/tickets"))
        .unwrap()
        .map(Result::unwrap);
    let tickets = tickets.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json"));
    assert_eq!(tickets.count(), 2);
}

#[test]
fn an_iteration_that_never_gives_an_answer_is_a_class_of_its_own_outside_the_rate() {
    let Some(cluster) = Cluster::start() else { return };
    let suite = "import os, signal, time
def test_one():
    if os.environ['REPRODUCE_FLAKY_ITERATION'] == '2':
        os.kill(int(os.environ['WORKER']), signal.SIGKILL)
        time.sleep(1000)
";
    let place = Place::new(&[("test_one.py", suite)]);
    // The worker is the batch script itself: its number is that of the session's parent.
    let finder = "import os\nos.environ['WORKER'] = str(os.getppid())\n";
    fs::write(place.path("conftest.py"), finder).unwrap();
    let ran = run(&place, &cluster, &["-e", "3", "-j", "1", "--max-attempts", "2"]).exits(4);
    let rows = recorded_once(&place, 3);
    assert_eq!(
        (rows[&2]["verdict"].as_str(), rows[&2]["outcome"].as_str()),
        ("errored", "no_result")
    );
    assert!(ran.out().contains("0/2 failed"), "{}", ran.out());
    let summary = place.run(&["summary", "--format", "json"]).exits(0);
    let summary: serde_json::Value = serde_json::from_str(&summary.out()).unwrap();
    assert_eq!(summary["outcomes"]["no_result"], 1);
    assert_eq!(summary["rate"]["of"], 2);
}

#[test]
fn what_sbatch_refuses_is_said_and_nothing_is_left() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::passing();
    let ran = run(&place, &cluster, &["-e", "2", "--sbatch=--partition=nowhere"]).exits(1);
    assert!(ran.err().contains("error: `sbatch` refused: "), "{}", ran.err());
    assert!(ran.err().contains("nvalid partition"), "{}", ran.err());
    assert!(
        ran.err()
            .contains("hint: partition, account and time come from --sbatch"),
        "{}",
        ran.err()
    );
    run(
        &place,
        &cluster,
        &["-e", "2", "--sbatch", "--partition=main --comment 'two words'"],
    )
    .exits(0);
    recorded_once(&place, 2);
}

#[test]
fn where_the_queue_cannot_be_asked_a_resume_refuses_unless_it_is_forced() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::passing();
    run(&place, &cluster, &["-e", "1"]).exits(0);
    let fake = tempfile::tempdir().unwrap();
    script(
        &fake.path().join("squeue"),
        "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n",
    );
    let path = cluster.path_behind(fake.path());
    let with_fake = |words: &[&str]| {
        let output = command(&place, &cluster, words).env("PATH", &path).output().unwrap();
        Ran::of(output)
    };
    let ran = with_fake(&["-e", "3"]).exits(1);
    let err = ran.err();
    assert!(
        err.contains("error: not known which iterations of `logs/serial` still run: `squeue` refused"),
        "{err}"
    );
    assert!(
        err.contains("hint: try again when it answers; --force goes on"),
        "{err}"
    );
    with_fake(&["-e", "3", "--force"]).exits(0);
    recorded_once(&place, 3);
}

#[test]
fn doctor_looks_at_a_node_through_srun() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::passing();
    let words = ["doctor", "--engine", "slurm", "--backend", "local", "--format", "json"];
    let output = place_command(&place, &cluster, &words).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["can_run"], true, "{found}");
    let whats: Vec<&str> = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["what"].as_str().unwrap())
        .collect();
    assert!(whats.starts_with(&["slurm", "python", "logs"]), "{whats:?}");
    let nowhere = [&words[..], &["--sbatch=--partition=nowhere"]].concat();
    let output = place_command(&place, &cluster, &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("error: `srun` refused: "),
        "{output:?}"
    );
}

#[test]
fn containers_run_on_the_nodes_too() {
    if !crate::engine::daemon() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::passing();
    let words = [
        "--engine",
        "slurm",
        "-i",
        "host",
        "-e",
        "3",
        "-j",
        "2",
        "--progress",
        "plain",
    ];
    let output = place_command(&place, &cluster, &words).output().unwrap();
    Ran::of(output).exits(0);
    let rows = recorded_once(&place, 3);
    assert!(
        rows.values()
            .all(|row| row["backend"] == "docker" && row["node"].starts_with('n')),
        "{rows:?}"
    );
    assert_eq!(crate::engine::containers_of(place.dir.path()), "");
}

#[test]
fn without_slurm_the_missing_program_is_named() {
    let place = Place::passing();
    let output = place
        .command(&["--engine", "slurm", "--backend", "local", "-e", "1"])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: `scontrol` is not on this machine"), "{err}");
    assert!(err.contains("hint: run this where Slurm's commands are"), "{err}");
}
