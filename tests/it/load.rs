//! Load as a condition: CPUs to run on, noise beside the iterations, and that it is said.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Place;
use crate::engine;
use crate::sessions::{Sweep, run};

/// Says on which CPUs it runs, and which busy processes there are beside it.
const SUITE: &str = "
import glob, os

def test_cpus():
    assert os.sched_getaffinity(0) == {0}

def test_noise():
    noise = []
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        pid = int(path.split('/')[2])
        try:
            stat = open('/proc/%d/stat' % pid).read().rpartition(')')[2].split()
            if b'above = os.getppid()' in open(path, 'rb').read() and int(stat[1]) == os.getppid():
                noise.append(pid)
        except OSError:
            pass
    assert len(noise) == 1 and os.sched_getaffinity(noise[0]) == {0}
    with open('noise.txt', 'a') as file:
        file.write('%d ' % noise[0])
";

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn iterations_run_on_their_cpus_beside_noise_that_ends_with_the_sweep_and_all_of_it_is_said() {
    let place = Place::new(&[
        ("test_load.py", SUITE),
        ("plain/test_plain.py", "def test_plain():\n    pass\n"),
    ]);
    let local = ["--backend", "local", "-e", "2"];
    place
        .run(&[&local[..], &["--cpuset", "0", "--noise", "1", "--", "test_load.py"]].concat())
        .exits(0);
    let pids = fs::read_to_string(place.path("noise.txt")).unwrap();
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert_eq!(pids.len(), 2);
    assert_eq!(pids[0], pids[1], "it is started once");
    let command = fs::read_to_string(format!("/proc/{}/cmdline", pids[0])).unwrap_or_default();
    assert!(!command.contains("above = os.getppid()"), "{command}");

    let exit = document(&place.path("logs/serial/run001/exit.json"));
    assert_eq!(exit["conditions"], json!({"cpuset": "0", "noise": 1}));
    let text = place.run(&["summary", "logs/serial"]).exits(0).out();
    assert!(text.contains("backend local, cpuset 0, noise 1"), "{text}");
    let markdown = place
        .run(&["summary", "logs/serial", "--format", "markdown"])
        .exits(0)
        .out();
    assert!(markdown.contains("cpuset 0, noise 1"), "{markdown}");
    let html = place
        .run(&["summary", "logs/serial", "--format", "html"])
        .exits(0)
        .out();
    assert!(html.contains("cpuset 0, noise 1"));
    let summary: Value = serde_json::from_str(
        &place
            .run(&["summary", "logs/serial", "--format", "json"])
            .exits(0)
            .out(),
    )
    .unwrap();
    assert_eq!(summary["conditions"]["load"], json!([{"cpuset": "0", "noise": 1}]));

    place
        .run(&[&local[..], &["-t", "quiet", "--", "test_load.py"]].concat())
        .exits(3);
    let exit = document(&place.path("logs/serial_quiet/run001/exit.json"));
    assert_eq!(exit.get("conditions"), None);
    let compared = place
        .run(&["compare", "logs/serial", "logs/serial_quiet"])
        .exits(0)
        .out();
    assert!(
        compared.contains("not run under the same conditions (container"),
        "{compared}"
    );
    assert!(compared.contains("cpuset 0, noise 1"), "{compared}");
}

/// Names of noise containers of a sweep.
fn noise_of(sweep: &Sweep) -> Vec<String> {
    let named = engine::containers_of(sweep.workspace.parent().unwrap());
    let names = named.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| name.contains("-noise-"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_sibling_container_makes_the_noise_until_the_sweep_is_closed() {
    if !engine::daemon() {
        return;
    }
    let mut sweep = Sweep::new("host");
    sweep.spec.container.cpuset = Some("0".to_owned());
    sweep.spec.container.noise = Some(2);
    let backend = sweep.open().await.unwrap();
    let attempt = sweep.python("import os; print(os.sched_getaffinity(0))");
    backend.make_noise(&attempt.sweep).await.unwrap();
    let names = noise_of(&sweep);
    assert_eq!(names.len(), 1, "{names:?}");
    let label = "{{index .Config.Labels \"reproduce-flaky.noise\"}} {{.HostConfig.CpusetCpus}} {{.State.Running}}";
    assert_eq!(
        engine::docker(&["inspect", "--format", label, &names[0]]).unwrap(),
        "2 0 true"
    );
    while engine::docker(&["top", &names[0]])
        .unwrap()
        .matches("above = os.getppid()")
        .count()
        < 2
    {
        tokio::task::yield_now().await;
    }
    let (output, _) = run(&*backend, &attempt).await.unwrap();
    assert_eq!(output.trim(), "{0}");
    assert_eq!(noise_of(&sweep), names, "a session's end does not end it");
    backend.close().await;
    assert!(noise_of(&sweep).is_empty());
}
