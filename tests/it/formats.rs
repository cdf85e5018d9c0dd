//! Reports in other people's formats, read by what those people check them with.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::Place;
use crate::place::run;
use crate::pypi::{checker, conforms};

/// A sweep with passes, failures of every kind, a crash, and an iteration that errored.
fn swept() -> Place {
    let place = Place::endings();
    place
        .run(&["--backend", "local", "-p", "serial", "-s", "1", "-e", "12", "-j", "4"])
        .exits(3);
    place
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_sweep_as_ctrf_is_what_its_schema_says_and_has_the_counts_of_the_summary() {
    let place = swept();
    place
        .run(&["summary", "logs", "--format", "ctrf", "-o", "ctrf.json"])
        .exits(0);
    let report = read(&place.path("ctrf.json"));
    let tests = report["results"]["tests"].as_array().unwrap();
    let flaky = tests.iter().filter(|test| test["flaky"] == true).count();
    assert_eq!(report["results"]["summary"]["flaky"], flaky);
    assert_eq!(report["results"]["summary"]["tests"], tests.len());
    let decisions = tests
        .iter()
        .find(|test| test["name"] == "test_endings.py::test_router_decisions")
        .unwrap();
    assert_eq!(
        (
            &decisions["status"],
            &decisions["extra"]["failed"],
            &decisions["tags"][0]
        ),
        (&"failed".into(), &1.into(), &"A1".into())
    );
    assert!(
        decisions["message"].as_str().unwrap().starts_with("failed in 1 of "),
        "{decisions}"
    );
    let (start, stop) = (
        &report["results"]["summary"]["start"],
        &report["results"]["summary"]["stop"],
    );
    assert!(
        start.as_i64().unwrap() > 0 && stop.as_i64() > start.as_i64(),
        "{start} {stop}"
    );
    let Some(checker) = checker() else { return };
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schemas/ctrf.json");
    conforms(
        &checker,
        &["--schemafile", schema.to_str().unwrap()],
        &[place.path("ctrf.json")],
    );
    fs::write(
        place.path("wrong.json"),
        report.to_string().replace("\"failed\"", "\"red\""),
    )
    .unwrap();
    let is_caught = std::panic::catch_unwind(|| {
        conforms(
            &checker,
            &["--schemafile", schema.to_str().unwrap()],
            &[place.path("wrong.json")],
        );
    });
    assert!(
        is_caught.is_err(),
        "the checker lets a status pass that CTRF does not have"
    );
}

#[test]
fn a_trace_has_a_slice_for_each_iteration_and_none_overlap_in_a_slot() {
    let place = swept();
    let (code, out, err) = run(place.dir.path(), &["summary", "logs", "--format", "perfetto"]);
    assert_eq!(code, 0, "{err}");
    let trace: Value = serde_json::from_str(&out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let mut slices: Vec<(u64, i64, i64, u64)> = Vec::new();
    for event in events {
        let kind = event["ph"].as_str().unwrap();
        assert!(["X", "i", "C", "M"].contains(&kind), "{event}");
        assert!(
            event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(),
            "{event}"
        );
        if kind == "X" {
            let (from, long) = (event["ts"].as_i64().unwrap(), event["dur"].as_i64().unwrap());
            assert!(from >= 0 && long >= 0, "{event}");
            slices.push((
                event["tid"].as_u64().unwrap(),
                from,
                from + long,
                event["args"]["iteration"].as_u64().unwrap(),
            ));
        }
    }
    let mut iterations: Vec<u64> = slices.iter().map(|slice| slice.3).collect();
    iterations.sort_unstable();
    assert_eq!(iterations, (1..=12).collect::<Vec<u64>>());
    slices.sort_unstable();
    for pair in slices.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
    }
    // As many slots as ran at a time, which is what the counter says.
    let in_flight = events
        .iter()
        .filter(|event| event["ph"] == "C")
        .map(|event| event["args"]["iterations"].as_u64());
    assert_eq!(in_flight.max().unwrap(), slices.iter().map(|slice| slice.0).max());
    let deaths: Vec<&Value> = events.iter().filter(|event| event["cat"] == "death").collect();
    assert!(
        deaths
            .iter()
            .any(|death| death["name"].as_str().unwrap().contains("test_process")),
        "{deaths:?}"
    );
}
