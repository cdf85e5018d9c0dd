//! What the queue is given and asked: arrays, stop rules, refusals.

use std::fs;

use super::cluster::Cluster;
use super::{command, exits, most_at_once, recorded_once, run, script};
use crate::cli::{Place, Ran};
use crate::place::is_night;

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
    // Fifteen hundred against Slurm's own limit take five minutes of a machine.
    let (size, last) = if is_night() { (1001, 1500) } else { (21, 30) };
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
    let Some(cluster) = Cluster::shared() else { return };
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
    let Some(cluster) = Cluster::shared() else { return };
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
    let Some(cluster) = Cluster::shared() else { return };
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
