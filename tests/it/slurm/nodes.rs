//! What befalls the nodes while iterations run there, and how each iteration is recorded once all the same.

use std::fs;
use std::process::Stdio;

use super::cluster::{Cluster, ran};
use super::{GATED, exits, lost, place_command, recorded_once, run, start};
use crate::cli::{Place, until};
use crate::place::night;

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
    if !night() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::new(&[("test_gate.py", GATED)]);
    let sweep = start(&place, &cluster, &["-e", "2", "-j", "2", "--max-attempts", "1"]);
    until_begun(&place, &cluster, 2);
    // A job's limit is whole minutes, of which none are left for the second of them.
    let job = cluster.ask("squeue", &["-h", "-r", "-o", "%F"]);
    let second = format!("jobid={}_2", job.lines().next().unwrap().trim());
    // A busy controller may not answer the first time.
    until("Slurm to end the second", || {
        let ended = cluster.call("scontrol", &["update", &second, "EndTime=now"]).status();
        ended.unwrap().success()
    });
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
    if !night() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let Some(disk) = crate::place::Mount::tmpfs("4m") else {
        return crate::place::skip(crate::place::Need::Root, "takes root to mount a small disk");
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
    if !night() {
        return;
    }
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
