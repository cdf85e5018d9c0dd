//! `amplify` in containers.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{DIR, base, course, object};
use crate::cli::{Ran, until};
use crate::engine::{containers_of, daemon};
use crate::place::is_night;

#[test]
fn in_containers_each_run_has_the_conditions_that_it_says_and_none_stays() {
    if !daemon() {
        return;
    }
    let place = base(&["-i", "host"]);
    let own = ["amplify", "logs/serial", "--seed", "7", "--progress", "none"];
    let more = ["-j", "4", "--format", "json"];
    let knobs = ["slow: -E SLOW=1", "one-core", "cpus", "malloc"];
    let knobs = knobs.iter().flat_map(|knob| ["--knob", knob]);
    let words: Vec<&str> = own.into_iter().chain(more).chain(knobs).collect();
    if is_night() {
        let found = object(&place.run(&words).exits(0));
        assert_eq!(found["state"], "shown", "{found}");
        assert!(found["winner"].as_array().unwrap().contains(&"slow".into()), "{found}");
    } else {
        // As many runs as have each knob on and off; that a search comes to its end is shown without containers.
        let mut command = place.command(&words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        for runs in [3, 6, 9, 12] {
            until("three more runs", || course(&place).len() >= runs);
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        Ran::of(child.wait_with_output().unwrap()).exits(130);
        for name in ["slow", "one-core", "cpus", "malloc"] {
            let runs = course(&place);
            let mut on = runs.values().map(|(part, _)| part["on"].as_array().unwrap());
            assert!(on.clone().any(|on| on.contains(&name.into())), "{name} was never on");
            assert!(on.any(|on| !on.contains(&name.into())), "{name} was always on");
        }
    }
    for entry in fs::read_dir(place.path(DIR)).unwrap().flatten() {
        let Ok(bytes) = fs::read(entry.path().join("exit.json")) else {
            continue;
        };
        let exit: Value = serde_json::from_slice(&bytes).unwrap();
        let conditions = &exit["conditions"];
        let on = conditions["amplify"]["on"].as_array().unwrap();
        let named = conditions["named"].as_array().cloned().unwrap_or_default();
        for name in ["one-core", "malloc"] {
            assert_eq!(on.contains(&name.into()), named.contains(&name.into()), "{conditions}");
        }
        assert_eq!(on.contains(&"cpus".into()), conditions["cpus"] == 0.5, "{conditions}");
    }
    assert_eq!(containers_of(place.dir.path()), "");
}
