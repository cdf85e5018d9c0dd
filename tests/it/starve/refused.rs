//! Starvation where tracing is refused: threads come last instead, as far as a container may take that back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::cli::{Place, Ran};
use crate::engine::own::Engine;

/// Containers may not trace.
const PROFILE: &str =
    r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["ptrace"],"action":"SCMP_ACT_ERRNO"}]}"#;

/// runc, with one capability more for a container that has NICE=1 among its variables.
const RUNTIME: &str = r#"#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
if "create" in words:
    path = words[words.index("--bundle") + 1] + "/config.json"
    config = json.load(open(path))
    if "NICE=1" in config["process"]["env"]:
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind].append("CAP_SYS_NICE")
        json.dump(config, open(path, "w"))
os.execvp("runc", ["runc", *words])
"#;

/// Looks on until its child has come last, and has not, three times each.
const SUITE: &str = "
import os, subprocess
def test_a():
    child = subprocess.Popen(['sleep', '1000'])
    if 'NICE' in os.environ:
        for policy in (os.SCHED_IDLE, os.SCHED_OTHER) * 3:
            while os.sched_getscheduler(child.pid) != policy:
                pass
";

fn flags(dir: &Path) -> Vec<String> {
    let (profile, runtime) = (dir.join("seccomp.json"), dir.join("runtime"));
    fs::write(&profile, PROFILE).unwrap();
    fs::write(&runtime, RUNTIME).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = format!("--add-runtime=nice={}", runtime.display());
    let profile = format!("--seccomp-profile={}", profile.display());
    vec![profile, runtime, "--default-runtime=nice".to_owned()]
}

#[test]
fn threads_come_last_where_they_may_not_be_stopped_and_it_is_said_where_neither_can_be_had() {
    let Some(engine) = Engine::start_with(flags) else {
        return;
    };
    let place = Place::new(&[("test_a.py", SUITE)]);
    let sweep = |words: &[&str]| {
        let starve = ["--starve", "50%:sleep", "--timeout", "200s"];
        let mut command = engine.sweep(&place, &[&starve[..], words].concat());
        Ran::of(command.output().unwrap()).exits(0);
    };
    let conditions = |sweep: &str| -> Value {
        let exit = fs::read(place.path(&format!("logs/{sweep}/run001/exit.json"))).unwrap();
        serde_json::from_slice::<Value>(&exit).unwrap()["conditions"].clone()
    };
    let windows = |sweep: &str| fs::read_to_string(place.path(&format!("logs/{sweep}/run001/starved.jsonl")));
    let summary = |sweep: &str| place.run(&["summary", &format!("logs/{sweep}")]).exits(0).out();

    sweep(&["-e", "1", "-t", "last", "-E", "NICE=1"]);
    let found = conditions("serial_last");
    assert_eq!(
        (&found["starve"], &found["is_idled"]),
        (&"50%:sleep".into(), &true.into()),
        "{found}"
    );
    let lines = windows("serial_last").unwrap();
    assert!(lines.lines().count() >= 3, "{lines}");
    assert!(
        lines.lines().all(|line| line.contains(r#""process":"sleep""#)),
        "{lines}"
    );
    let text = summary("serial_last");
    assert!(text.contains("starve 50%:sleep without stopping"), "{text}");

    sweep(&["-e", "1", "-t", "neither"]);
    let found = conditions("serial_neither");
    assert_eq!(
        (&found["starve"], &found["is_starve_refused"]),
        (&Value::Null, &true.into()),
        "{found}"
    );
    assert!(windows("serial_neither").is_err());
    let text = summary("serial_neither");
    assert!(text.contains("starve refused"), "{text}");
}
