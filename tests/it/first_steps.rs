//! What somebody types who has read no page: each gets what was meant, or a line that says what to type instead.

use std::fs;

use serde_json::Value;

use crate::cli::{Place, Ran};
use crate::engine;

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(place.path(name)).unwrap()).unwrap()
}

#[test]
fn paths_and_node_ids_stand_before_the_dashes_as_for_pytest() {
    let place = Place::passing();
    let words = ["--backend", "local", "test_pass.py::test_pass", "-e", "1"];
    place.run(&words).exits(0);
    let spec = json(&place, "logs/serial/sweep.json");
    assert_eq!(spec["pytest_args"], serde_json::json!(["test_pass.py::test_pass"]));
    // The same behind the dashes is the same sweep.
    let words = ["--backend", "local", "-e", "1", "--", "test_pass.py::test_pass"];
    let again = place.run(&words).exits(0).err();
    assert!(again.contains("0 to run, 1 recorded before"), "{again}");
}

#[test]
fn a_wrong_word_or_path_costs_no_iteration() {
    let place = Place::passing();
    let error = place.run(&["histroy", "--backend", "local"]).exits(2).err();
    assert_eq!(
        error,
        "error: `histroy` is neither a command nor a file or directory here\nhint: reproduce-flaky history\n"
    );
    let error = place.run(&["routing", "--backend", "local"]).exits(2).err();
    assert!(error.contains("hint: reproduce-flaky --help lists"), "{error}");
    let error = place
        .run(&["tests/test_x.py::test_y", "--backend", "local"])
        .exits(2)
        .err();
    assert!(error.starts_with("error: `tests/test_x.py` is not in `/"), "{error}");
    assert!(!place.path("logs").exists());
}

#[test]
fn without_an_image_the_ways_to_name_one_are_offered() {
    let has_default = || engine::docker(&["image", "inspect", "dynamo:latest-dev"]).is_some();
    if !engine::daemon() || has_default() {
        return;
    }
    let place = Place::passing();
    let error = place.run(&["-e", "1"]).exits(1).err();
    assert_eq!(
        error,
        "error: no image is named, and the default, `dynamo:latest-dev`, is not on this host\nhint: -i host for this \
         machine's own Python, -i YOUR_IMAGE, or image = \"YOUR_IMAGE\" in reproduce-flaky.toml\n"
    );
    // Who names it is told to pull it.
    let error = place.run(&["-e", "1", "-i", "dynamo:latest-dev"]).exits(1).err();
    assert!(error.contains("hint: docker pull dynamo:latest-dev"), "{error}");
}

#[test]
fn as_many_workers_as_xdist_would_start_are_resolved_once_and_recorded() {
    let place = Place::passing();
    let shown = |words: &[&str], asked: &str| {
        let words = [words, &["--backend", "local", "--dry-run"]].concat();
        let mut command = place.command(&words);
        command.env("PYTEST_XDIST_AUTO_NUM_WORKERS", asked);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for words in [["-p", "auto"], ["-p", "logical"]] {
        let text = shown(&words, "3");
        assert!(text.contains("logs/n3\n") && text.contains("-n 3"), "{text}");
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_named_with_its_variable() {
    let place = Place::passing();
    let error = |name: &str, value: &str, words: &[&str]| {
        let output = place.command(words).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = error("REPRODUCE_FLAKY_JOBS", "many", &["-e", "1"]);
    assert!(
        said.starts_with("error: invalid variable `REPRODUCE_FLAKY_JOBS`: `many`: "),
        "{said}"
    );
    let said = error("REPRODUCE_FLAKY_BACKEND", "cloud", &["-e", "1"]);
    assert!(
        said.starts_with("error: invalid variable `REPRODUCE_FLAKY_BACKEND`: `cloud`: "),
        "{said}"
    );
    // What is typed is the flag's.
    let said = error("REPRODUCE_FLAKY_JOBS", "many", &["-j", "many"]);
    assert!(said.starts_with("error: invalid value 'many' for '--jobs"), "{said}");
}

#[test]
fn a_hang_that_took_its_whole_time_is_followed_by_what_would_have_ended_it_sooner() {
    let place = Place::passing();
    let words = ["--backend", "local", "-e", "2"];
    place.run(&words).exits(0);
    // As recorded by a sweep whose second session was silent until the deadline.
    let mut exit = json(&place, "logs/serial/run002/exit.json");
    exit["ended_by"] = "deadline".into();
    exit["duration_s"] = 660.0.into();
    fs::write(place.path("logs/serial/run002/exit.json"), exit.to_string()).unwrap();
    let mut outcome = json(&place, "logs/serial/run002/outcome.json");
    outcome["verdict"] = "failed".into();
    outcome["outcome"] = "hung".into();
    outcome["categories"] = serde_json::json!(["A4"]);
    fs::write(place.path("logs/serial/run002/outcome.json"), outcome.to_string()).unwrap();
    let said = place.run(&words).exits(3).err();
    assert!(
        said.contains("hint: --silence auto would have ended a hang after 30 s"),
        "{said}"
    );
    let quick = place.run(&[&words[..], &["--silence", "90s"]].concat()).exits(3).err();
    assert!(!quick.contains("--silence auto"), "{quick}");
}

/// Lines below `next`.
fn next(out: &str) -> Vec<&str> {
    let lines = out.lines().skip_while(|line| *line != "next");
    lines.skip(1).collect()
}

#[test]
fn what_to_run_next_is_four_lines_at_most_and_fits_what_came_of_it() {
    let place = Place::endings();
    let out = place.run(&["--backend", "local", "-e", "4"]).exits(3).out();
    let lines = next(&out);
    let starts = |index: usize, start: &str| assert!(lines[index].trim_start().starts_with(start), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    starts(0, "reproduce-flaky show logs/serial/run002");
    starts(1, "reproduce-flaky signatures suggest logs/serial");
    starts(2, "reproduce-flaky replay logs/serial/run002");
    starts(3, "reproduce-flaky compare logs/serial NEW");
    let passing = Place::passing();
    let out = passing.run(&["--backend", "local", "-e", "1"]).exits(0).out();
    assert_eq!(
        next(&out),
        ["  reproduce-flaky compare BASE logs/serial  fewer than before?"]
    );
}

#[test]
fn a_sweep_is_found_by_its_tag() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2", "-t", "one"]).exits(0);
    let shown = place.run(&["show", "one", "2"]).exits(0).out();
    assert!(shown.starts_with("logs/serial_one/run002: passed"), "{shown}");
    for reading in [
        &["summary", "one"][..],
        &["plan", "serial_one"],
        &["compare", "one", "0/4"],
    ] {
        let said = place.run(reading).exits(0).out();
        assert!(said.contains("0/2") || said.contains("2 iterations passed"), "{said}");
    }
    let error = place.run(&["replay", "one", "2"]).exits(1).err();
    assert!(error.contains("nothing failed in `logs/serial_one/run002`"), "{error}");
    // In the directory that the variable names.
    fs::rename(place.path("logs"), place.path("elsewhere")).unwrap();
    let there = |words: &[&str]| {
        let mut command = place.command(words);
        Ran::of(command.env("REPRODUCE_FLAKY_LOGS_DIR", "elsewhere").output().unwrap())
    };
    let shown = there(&["show", "one", "2"]).exits(0).out();
    assert!(shown.starts_with("elsewhere/serial_one/run002: passed"), "{shown}");
    let error = there(&["replay", "one", "2"]).exits(1).err();
    assert!(
        error.contains("nothing failed in `elsewhere/serial_one/run002`"),
        "{error}"
    );
    for reading in [&["plan", "one"][..], &["compare", "serial_one", "0/4"]] {
        assert!(there(reading).exits(0).out().contains("0/2"));
    }
    let checked = there(&["doctor", "--backend", "local", "--format", "json"])
        .exits(0)
        .out();
    assert!(checked.contains("/elsewhere"), "{checked}");
    fs::rename(place.path("elsewhere"), place.path("logs")).unwrap();
    fs::rename(place.path("logs/serial_one"), place.path("logs/n2_one")).unwrap();
    place.run(&["--backend", "local", "-e", "2", "-t", "one"]).exits(0);
    let error = place.run(&["show", "one", "2"]).exits(2).err();
    assert_eq!(
        error,
        "error: several sweeps have the tag `one`\nhint: name one: logs/n2_one, logs/serial_one\n"
    );
}

#[test]
fn the_page_lists_only_variables_that_were_set() {
    let place = Place::passing();
    let page = |token: Option<&str>, tag: &str| {
        let mut sweep = place.command(&["--backend", "local", "-e", "1", "-t", tag, "-E", "SHARD=1"]);
        sweep
            .env_remove("HF_TOKEN")
            .env_remove("DYN_ROUTER_ENABLE_PREFIX_CACHE");
        sweep.envs(token.map(|token| ("HF_TOKEN", token)));
        assert!(sweep.output().unwrap().status.success());
        let sweep = format!("logs/serial_{tag}");
        place.run(&["summary", &sweep, "--format", "html"]).exits(0).out()
    };
    let without = page(None, "without");
    assert!(without.contains("SHARD") && !without.contains("DYN_ROUTER_ENABLE_PREFIX_CACHE"));
    assert!(!without.contains("HF_TOKEN"));
    assert!(page(Some("hf_abc"), "with").contains("SHARD, HF_TOKEN"));
}

#[test]
fn sweeps_of_one_day_are_no_nights() {
    let place = Place::passing();
    for tag in ["a", "b"] {
        place.run(&["--backend", "local", "-e", "1", "-t", tag]).exits(0);
    }
    let row = |day: &str, tag: &str| {
        for file in ["sweep.json", "run001/exit.json"] {
            let path = place.path(&format!("logs/serial_{tag}/{file}"));
            let text = fs::read_to_string(&path).unwrap();
            let mut value: Value = serde_json::from_str(&text).unwrap();
            for key in ["created_at", "started_at"] {
                if value.get(key).is_some() {
                    value[key] = format!("2026-11-{day}T01:00:00Z").into();
                }
            }
            fs::write(path, value.to_string()).unwrap();
        }
    };
    row("20", "a");
    row("20", "b");
    let text = place.run(&["history", "logs"]).exits(0).out();
    assert!(text.starts_with("run ") && !text.contains("night"), "{text}");
    row("21", "b");
    let text = place.run(&["history", "logs"]).exits(0).out();
    assert!(text.starts_with("night "), "{text}");
}

#[test]
fn the_short_help_has_what_a_first_week_needs_and_pages_are_read_in_the_terminal() {
    let place = Place::passing();
    let short = place.run(&["-h"]).exits(0).out();
    let long = place.run(&["--help"]).exits(0).out();
    assert!(short.contains("--silence") && !short.contains("--ulimit"), "{short}");
    assert!(long.contains("--silence") && long.contains("--ulimit"));
    let topics = place.run(&["help"]).exits(0).out();
    for topic in ["judging", "rates", "hangs", "ci"] {
        assert!(topics.contains(&format!("  {topic} ")), "{topics}");
        let page = place.run(&["help", topic]).exits(0).out();
        assert!(page.lines().nth(1).unwrap().starts_with("--"), "{page}");
    }
    let command = place.run(&["help", "replay"]).exits(0).out();
    assert!(command.starts_with("Replay: "), "{command}");
    assert!(place.run(&["help", "compare"]).exits(0).out().contains("--expect"));
    let error = place.run(&["help", "nothing"]).exits(2).err();
    assert!(
        error.starts_with("error: `nothing` is neither a page nor a command\nhint: one of guide, "),
        "{error}"
    );
}
