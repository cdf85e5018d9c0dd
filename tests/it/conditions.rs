//! Conditions by name: what a session gets of each, that it is recorded, and that what cannot be had is said.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::cli::Place;
use crate::engine;

/// Writes down what it sees, and fails in the end, so that there is a run to replay.
const SUITE: &str = "
import json, os, sys, pytest

def test_sees():
    seen = {
        'cpus': sorted(os.sched_getaffinity(0)),
        'switch': sys.getswitchinterval(),
        'env': {name: os.environ.get(name) for name in (
            'TOKIO_WORKER_THREADS', 'RAYON_NUM_THREADS', 'OMP_NUM_THREADS', 'POLARS_MAX_THREADS',
            'MALLOC_PERTURB_', 'PYTHONMALLOC', 'PYTEST_XDIST_WORKER_COUNT')},
    }
    with open(os.environ['DYN_TEST_OUTPUT_PATH'] + '/seen.json', 'w') as file:
        json.dump(seen, file)

@pytest.mark.parametrize('n', range(12))
def test_order(n):
    pass
";

const OTHER: &str = "
import pytest

@pytest.mark.parametrize('n', range(6))
def test_other(n):
    pass
";

const LAST: &str = "def test_fails():\n    assert False\n";

fn place() -> Place {
    Place::new(&[("test_a.py", SUITE), ("test_b.py", OTHER), ("test_c.py", LAST)])
}

fn document(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap()
}

/// The tests of a run in the order they began.
fn order(place: &Place, run: &str) -> Vec<String> {
    let trail = fs::read_to_string(place.path(&format!("{run}/tests.jsonl"))).unwrap();
    let lines = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let starts = lines.filter(|line| line["event"] == "start");
    starts.map(|line| line["nodeid"].as_str().unwrap().to_owned()).collect()
}

/// What is held on both backends; `place` has run two iterations under everything that both can have.
fn everything_is_seen_from_inside(place: &Place) {
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut cpus = BTreeSet::new();
    for run in 1..=2 {
        let seen = document(place, &format!("logs/serial/run00{run}/seen.json"));
        assert_eq!(seen["cpus"].as_array().unwrap().len(), 1);
        cpus.insert(seen["cpus"][0].as_u64().unwrap());
        assert!((seen["switch"].as_f64().unwrap() - 1e-6).abs() < 1e-9, "{seen}");
        for name in [
            "TOKIO_WORKER_THREADS",
            "RAYON_NUM_THREADS",
            "OMP_NUM_THREADS",
            "POLARS_MAX_THREADS",
        ] {
            assert_eq!(seen["env"][name], "1");
        }
        assert_eq!(seen["env"]["MALLOC_PERTURB_"], "165");
        assert_eq!(seen["env"]["PYTHONMALLOC"], "debug");
        let exit = document(place, &format!("logs/serial/run00{run}/exit.json"));
        let mut conditions = exit["conditions"].clone();
        conditions.as_object_mut().unwrap().remove("started_ahead");
        let named = ["one-core", "switch-interval", "threads", "malloc", "order"];
        assert_eq!(conditions, json!({"named": named, "seed": run}));
    }
    assert_eq!(cpus.len(), cores.min(2), "each iteration has its own");
    let orders = [1, 2].map(|run| order(place, &format!("logs/serial/run00{run}")));
    let sets = orders.each_ref().map(|order| order.iter().collect::<BTreeSet<_>>());
    assert_eq!(sets[0], sets[1]);
    assert_eq!(sets[0].len(), 20);
    assert_ne!(orders[0], orders[1], "each iteration draws its own order");
    let text = place.run(&["summary", "logs/serial"]).exits(0).out();
    assert!(
        text.contains("one-core, switch-interval, threads, malloc, order"),
        "{text}"
    );
}

const ALL: [&str; 10] = [
    "--condition",
    "one-core",
    "--condition",
    "switch-interval",
    "--condition",
    "threads",
    "--condition",
    "malloc",
    "--condition",
    "order",
];

#[test]
fn processes_of_this_machine_run_under_the_conditions_and_an_order_comes_back() {
    let place = place();
    let local = ["--backend", "local", "-e", "2", "--progress", "none"];
    place.run(&[&local[..], &ALL].concat()).exits(3);
    everything_is_seen_from_inside(&place);

    // The same iterations draw the same orders, whatever else is so.
    place
        .run(&[&local[..], &["-t", "again", "--condition", "order"]].concat())
        .exits(3);
    for run in ["run001", "run002"] {
        assert_eq!(
            order(&place, &format!("logs/serial/{run}")),
            order(&place, &format!("logs/serial_again/{run}"))
        );
    }
    let compared = place
        .run(&["compare", "logs/serial", "logs/serial_again"])
        .exits(0)
        .out();
    assert!(
        compared.contains("one-core, switch-interval, threads, malloc, order"),
        "{compared}"
    );

    // A replay has the order of its run, and its conditions.
    let recorded = order(&place, "logs/serial/run002");
    let upto = recorded.iter().position(|id| id == "test_c.py::test_fails").unwrap();
    place.run(&["replay", "logs/serial/run002", "--times", "2"]).exits(3);
    let lists = place.path("logs/serial/.replays/run002");
    let list = fs::read_dir(&lists).unwrap().next().unwrap().unwrap().file_name();
    let home = format!("logs/serial/.replays/run002/{}", list.to_string_lossy());
    for run in ["run001", "run002"] {
        assert_eq!(order(&place, &format!("{home}/{run}")), recorded[..=upto]);
        let exit = document(&place, &format!("{home}/{run}/exit.json"));
        assert_eq!(exit["conditions"]["seed"], 2);
        assert_eq!(exit["conditions"]["named"][4], "order");
    }
}

#[test]
fn containers_run_under_the_conditions() {
    if !engine::daemon() {
        return;
    }
    let place = place();
    let words = ["-i", "host", "-e", "2", "--progress", "none"];
    place.run(&[&words[..], &ALL].concat()).exits(3);
    everything_is_seen_from_inside(&place);
}

#[test]
fn twice_as_many_workers_share_the_tests_out_and_agree_on_an_order() {
    let place = place();
    let words = ["--backend", "local", "-p", "2", "-e", "1", "--progress", "none"];
    let more = ["--condition", "workers", "--condition", "order"];
    place.run(&[&words[..], &more].concat()).exits(3);
    let seen = document(&place, "logs/n2/run001/seen.json");
    assert_eq!(seen["env"]["PYTEST_XDIST_WORKER_COUNT"], "4");
    let exit = document(&place, "logs/n2/run001/exit.json");
    assert_eq!(exit["conditions"]["named"], json!(["order", "workers"]));
    assert_eq!(exit["argv"].as_array().unwrap()[3..5], ["-n", "4"]);
    assert_eq!(order(&place, "logs/n2/run001").len(), 20);
}

#[test]
fn what_cannot_be_had_is_said_and_not_recorded() {
    let place = place();
    let mut words = vec![
        "--backend",
        "local",
        "--no-trail",
        "-e",
        "1",
        "--progress",
        "none",
        "--starve",
        "10%",
    ];
    for name in ["order", "switch-interval", "workers", "net-delay", "threads"] {
        words.extend(["--condition", name]);
    }
    let said = place.run(&words).exits(3).err();
    for name in ["order", "switch-interval", "workers", "net-delay", "starve"] {
        assert!(
            said.contains(&format!("note: the condition {name} has no effect: ")),
            "{said}"
        );
    }
    assert!(!said.contains("condition threads"), "{said}");
    let exit = document(&place, "logs/serial/run001/exit.json");
    assert_eq!(exit["conditions"], json!({"named": ["threads"]}));
}

#[test]
fn names_of_flags_that_exist_are_those_flags() {
    let place = place();
    let words = [
        "--backend",
        "local",
        "-e",
        "1",
        "--progress",
        "none",
        "--condition",
        "noise",
    ];
    place.run(&words).exits(3);
    let cores = std::thread::available_parallelism().unwrap().get();
    let exit = document(&place, "logs/serial/run001/exit.json");
    assert_eq!(exit["conditions"], json!({"noise": cores}));
    if engine::daemon() {
        let words = [
            "-i",
            "host",
            "-e",
            "1",
            "-t",
            "small",
            "--progress",
            "none",
            "--memory",
            "1g",
        ];
        let more = ["--condition", "cpus", "--condition", "memory", "--no-prestart"];
        place.run(&[&words[..], &more].concat()).exits(3);
        let exit = document(&place, "logs/serial_small/run001/exit.json");
        let expected = json!({"cpus": 0.5, "memory": 1 << 30, "started_ahead": false});
        assert_eq!(exit["conditions"], expected);
    }
}

/// Packets to the session's own address that come late, where this machine's kernel can delay them.
#[test]
fn packets_come_late_or_it_is_said_why_not() {
    if !engine::daemon() {
        return;
    }
    let test = "
import os, socket, time

def test_late():
    sender, receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(('127.0.0.1', 0))
    receiver.settimeout(30)
    began = time.monotonic()
    for _ in range(40):
        sender.sendto(b'x', receiver.getsockname())
        receiver.recv(1)
    with open(os.environ['DYN_TEST_OUTPUT_PATH'] + '/late.txt', 'w') as file:
        file.write(str((time.monotonic() - began) / 40))
";
    let place = Place::new(&[("test_net.py", test)]);
    let words = [
        "-i",
        "host",
        "-e",
        "1",
        "--progress",
        "none",
        "--condition",
        "net-delay",
    ];
    let said = place.run(&words).exits(0).err();
    let exit = document(&place, "logs/serial/run001/exit.json");
    let is_recorded = exit["conditions"]["named"] == json!(["net-delay"]);
    let is_refused = said.contains("the condition net-delay has no effect: ");
    assert_ne!(is_recorded, is_refused, "{said}\n{exit}");
    assert!(!said.contains("Error:"), "the reason is in our words: {said}");
    if is_recorded {
        let late: f64 = fs::read_to_string(place.path("logs/serial/run001/late.txt"))
            .unwrap()
            .parse()
            .unwrap();
        assert!(late > 0.002, "{late} s a packet");
    }
}
