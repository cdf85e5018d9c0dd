//! What is promised of sessions, on engines that are newer than the machine's: the tests that hold it there, once more.

use std::process::Command;

use crate::engine::own::Engine;
use crate::engine::{DEBIAN, debian};
use crate::place::{night, root};
use crate::slurm::cluster::{NEWER, newer};

/// A test of each promise that an engine has a part in.
const CORE: [&str; 10] = [
    "cli::endings::every_ending_is_told_apart_in_containers_and_none_stays",
    "autopsy::every_worker_of_xdist_is_asked",
    "docker::signals_and_memory_kills_are_facts_and_told_apart",
    "faults::a_kill_at_any_step_of_an_iteration_leaves_no_container_behind_once_the_sweep_is_resumed",
    "docker::workspace::a_fresh_workspace_is_pristine_every_time",
    "docker::owners::files_that_a_container_wrote_as_somebody_else_are_the_callers",
    "starve::only_what_is_named_is_stopped",
    "replay::the_same_holds_in_containers_and_none_stays",
    "docker::removal::what_a_killed_process_left_is_reaped",
    RESTART,
];

/// The one that starts an engine of its own, which is the one that is first in `PATH`.
const RESTART: &str = "faults::an_engine_that_is_restarted_costs_an_attempt_and_the_sweep_goes_on";

/// Every part of the tests that needs an engine.
const ALL: [&str; 15] = [
    "ahead::",
    "attack::processes::",
    "attack::setuid::",
    "autopsy::",
    "cli::",
    "conditions::",
    "cores::",
    "docker::",
    "faults::",
    "hang::",
    "held::",
    "hostile::",
    "replay::",
    "retry::",
    "starve::",
];

/// Runs tests of this binary in a process of its own that takes an engine for the machine's.
#[track_caller]
fn hold_on(engine: &mut Engine, words: &[&str], without: &[&str]) {
    // The image is the machine's engine's: it takes a minute to make.
    if debian() {
        let copy = format!("docker save {DEBIAN} | docker -H {} load", engine.address());
        assert!(
            Command::new("sh")
                .args(["-c", &copy])
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    let mut tests = engine.run(&std::env::current_exe().unwrap());
    tests
        .args(["--test-threads", "2"])
        .args(words)
        .args(without.iter().flat_map(|name| ["--skip", name]))
        .env("RF_REQUIRE", "docker,image,root");
    let came = tests.output().unwrap();
    let said = String::from_utf8_lossy(&came.stdout).into_owned() + &String::from_utf8_lossy(&came.stderr);
    assert!(came.status.success(), "{said}\n{}", engine.account());
    let ran = said.lines().filter(|line| line.ends_with(" ... ok")).count();
    assert!(!words.contains(&"--exact") || ran == words.len() - 1, "{said}");
}

/// Core promises, but for those that an engine cannot keep.
#[track_caller]
fn core_on(engine: Option<Engine>, without: &[&str]) {
    let Some(mut engine) = engine else { return };
    let words: Vec<&str> = ["--exact"]
        .into_iter()
        .chain(CORE.into_iter().filter(|name| !without.contains(name)))
        .collect();
    hold_on(&mut engine, &words, &[]);
}

#[test]
fn docker_26_keeps_the_core_of_the_promises() {
    core_on(Engine::docker(), &[]);
}

#[test]
fn podman_5_keeps_the_core_of_the_promises() {
    // Four minutes on two cores, which the suite has not left.
    if night() {
        core_on(Engine::podman(), &[RESTART]);
    }
}

/// A test of each promise that Slurm has a part in.
const SLURM: [&str; 8] = [
    "slurm::twenty_iterations_run_four_at_once_on_three_nodes_and_a_failing_one_is_an_answer",
    "slurm::what_is_cancelled_leaves_no_false_record_and_the_same_command_resumes",
    "slurm::an_interrupt_detaches_and_the_same_command_comes_back",
    "slurm::doctor_looks_at_a_node_through_srun",
    "slurm::nodes::a_node_that_is_set_down_loses_its_iterations_to_the_others",
    "slurm::nodes::what_an_administrator_requeues_runs_again_and_is_recorded_once",
    "slurm::nodes::a_power_cut_loses_no_iteration_and_records_none_twice",
    "slurm::queue::what_sbatch_refuses_is_said_and_nothing_is_left",
];

#[test]
fn slurm_24_keeps_the_core_of_the_promises() {
    if !night() || !root() || newer().is_none() {
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests
        .args(["--test-threads", "2", "--exact"])
        .args(SLURM)
        .env(NEWER, "1")
        .env("RF_REQUIRE", "slurm,root");
    let came = tests.output().unwrap();
    let said = String::from_utf8_lossy(&came.stdout).into_owned() + &String::from_utf8_lossy(&came.stderr);
    assert!(came.status.success(), "{said}");
    assert_eq!(
        said.lines().filter(|line| line.ends_with(" ... ok")).count(),
        SLURM.len(),
        "{said}"
    );
}

#[test]
fn docker_26_keeps_every_promise() {
    if night()
        && let Some(mut engine) = Engine::docker()
    {
        hold_on(&mut engine, &ALL, &[]);
    }
}

#[test]
fn podman_5_keeps_every_promise() {
    if night()
        && let Some(mut engine) = Engine::podman()
    {
        hold_on(&mut engine, &ALL, &[]);
    }
}
