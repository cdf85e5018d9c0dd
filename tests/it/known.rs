//! What probes found is known to the next sweep, for as long as it holds; and what a sweep does when.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{Place, Ran};
use crate::engine::{DEBIAN, OwnImage, containers, containers_of, daemon, debian, docker};

/// A sweep of one iteration over an image, with a cache of its own.
fn sweep(place: &Place, cache: &Path, image: &str, words: &[&str]) -> Ran {
    let own = ["-i", image, "-e", "1"];
    let output = place
        .command(&[&own, words].concat())
        .env("XDG_CACHE_HOME", cache)
        .output();
    Ran::of(output.unwrap()).exits(0)
}

/// The version of pytest that a sweep says it runs.
fn pytest(place: &Place, cache: &Path, image: &str, tag: &str) -> Value {
    let said = sweep(place, cache, image, &["-t", tag, "--progress", "jsonl"]).out();
    let mut events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let started = events.find(|event| event["event"] == "sweep_started").unwrap();
    started["versions"]["pytest"].clone()
}

fn probes(cache: &Path) -> Vec<PathBuf> {
    let dir = fs::read_dir(cache.join("reproduce-flaky/probes-1"))
        .into_iter()
        .flatten();
    dir.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_changed_image_with_the_same_tag_is_probed_anew() {
    if !daemon() || !debian() {
        return;
    }
    let image = OwnImage::copy("probed");
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let (cache, name) = (cache.path(), image.name());
    let real = pytest(&place, cache, name, "first");
    // The answer that was kept is what the second sweep goes by.
    let [kept] = probes(cache).try_into().unwrap();
    let mut document: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    document["report"]["pytest"] = "0.0.7".into();
    fs::write(&kept, document.to_string()).unwrap();
    assert_eq!(pytest(&place, cache, name, "second"), "0.0.7");
    // Other flags may lead to another Python.
    let said = sweep(
        &place,
        cache,
        name,
        &["-t", "flags", "-E", "PYTHONHASHSEED=1", "--progress", "jsonl"],
    )
    .out();
    assert!(!said.contains("0.0.7"), "{said}");
    let before = docker(&["image", "inspect", "--format", "{{.Id}}", name]).unwrap();
    let container = docker(&["create", name, "true"]).unwrap();
    docker(&["commit", "--change", "ENV CHANGED=1", &container, name]).unwrap();
    docker(&["rm", &container]).unwrap();
    let anew = pytest(&place, cache, name, "third");
    docker(&["rmi", "-f", &before]);
    assert_eq!(anew, real);
    let gc = place.command(&["gc"]).env("XDG_CACHE_HOME", cache).output().unwrap();
    let said = Ran::of(gc).exits(0).out();
    assert!(said.contains("removed: what can be found again"), "{said}");
    assert_eq!(probes(cache), Vec::<PathBuf>::new());
}

#[test]
fn a_session_does_not_see_the_cache_that_its_workspace_holds() {
    if !daemon() || !debian() {
        return;
    }
    let place = Place::new(&[(
        "test_cache.py",
        "import os
def test_nothing_is_there():
    cache = '/workspace/.cache/reproduce-flaky'
    assert os.listdir(cache) == []
    for path in (cache + '/x', cache + '/probes-1/x'):
        try:
            open(path, 'w').close()
        except OSError:
            continue
        raise AssertionError(path)
    try:
        os.rename('/workspace/.cache', '/workspace/elsewhere')
    except OSError:
        return
    raise AssertionError('it can be moved away')
",
    )]);
    sweep(&place, &place.path(".cache"), DEBIAN, &["-q"]);
    assert_eq!(probes(&place.path(".cache")).len(), 1);
}

/// When the steps of a kind began and ended, in milliseconds.
fn steps(table: &str, what: &str) -> Vec<[f64; 2]> {
    let lines = table
        .lines()
        .filter_map(|line| line.split_once(what).filter(|(_, rest)| rest.is_empty()));
    let numbers = lines.map(|(numbers, _)| -> Vec<f64> {
        let words = numbers.split_whitespace();
        words.map(|word| word.parse().unwrap()).collect()
    });
    numbers.map(|numbers| [numbers[0], numbers[1]]).collect()
}

#[test]
fn a_start_waits_for_no_leftovers_and_a_result_for_no_removal() {
    if !daemon() || !debian() {
        return;
    }
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let said = sweep(&place, cache.path(), DEBIAN, &["--timings", "-q"]).err();
    let one = |what: &str| -> [f64; 2] {
        let found = steps(&said, what);
        assert_eq!(found.len(), 1, "{what}: {said}");
        found[0]
    };
    assert!(
        one("leftovers of dead sweeps")[0] >= one("sweep's directory")[1],
        "{said}"
    );
    assert!(one("removal")[0] >= one("summary")[1], "{said}");
    assert!(one("summary")[0] >= one("run001: shown")[1], "{said}");
    assert_eq!(
        containers_of(&place.path("logs")),
        "",
        "none is left when the tool has ended"
    );
}

#[test]
fn the_first_container_is_made_ready_while_an_unknown_image_is_probed() {
    if !daemon() || !debian() {
        return;
    }
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let times = |tag: &str| {
        let said = sweep(&place, cache.path(), DEBIAN, &["--timings", "-q", "-t", tag]).err();
        (steps(&said, "probe").remove(0), steps(&said, "engine: create"))
    };
    let (probe, created) = times("unknown");
    assert_eq!(created.len(), 2, "one for the probe, one for the session");
    assert!(
        created.iter().all(|create| create[0] < probe[1]),
        "{probe:?} {created:?}"
    );
    let text = fs::read(place.path("logs/serial_unknown/run001/exit.json")).unwrap();
    let exit: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(exit["conditions"]["started_ahead"], true);
    // Of an image that is known no container is asked.
    let (probe, created) = times("known");
    assert!(created.len() == 1 && created[0][0] >= probe[1], "{probe:?} {created:?}");
}

#[test]
fn an_image_that_turns_out_not_to_do_leaves_no_directory_and_no_container() {
    if !daemon() || !debian() {
        return;
    }
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let output = place
        .command(&[
            "-i",
            DEBIAN,
            "-e",
            "1",
            "-E",
            "PYTHONHOME=/nowhere",
            "--logs-dir",
            "new/logs",
        ])
        .env("XDG_CACHE_HOME", cache.path())
        .output();
    let said = Ran::of(output.unwrap()).exits(1).err();
    assert!(said.contains("`python3` does not run in image"), "{said}");
    assert!(!place.path("new").exists());
    let sweep = place.path("new/logs/serial");
    assert_eq!(
        containers(&format!("reproduce-flaky.sweep={}", sweep.display())),
        Vec::<String>::new()
    );
}
