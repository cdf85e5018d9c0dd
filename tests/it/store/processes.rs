//! Several processes that record into one sweep at once.

use std::fs;

use reproduce_flaky::run;

use super::{Process, rows};

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
    let spec = run::scan(&logs.path().join("serial")).unwrap().spec.unwrap();
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
