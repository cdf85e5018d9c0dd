//! Containers, against the engine of this machine.

use std::process::Command;

use crate::sessions::{Sweep, run};
use reproduce_flaky::backend::Plugin;

/// Whether an engine answers; says so where none does.
fn daemon() -> bool {
    let answers = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !answers {
        println!("skipped: no container engine answers");
    }
    answers
}

#[tokio::test]
async fn pytest_runs_over_this_machines_python() {
    if !daemon() {
        return;
    }
    let sweep = Sweep::new("host");
    sweep.write("test_one.py", "def test_one(): pass\n");
    let plugin = Plugin {
        module: "rf_it_plugin".to_owned(),
        source: "def pytest_sessionstart(session): print('PLUGIN HERE')\n".to_owned(),
    };
    let backend = sweep.open_with(Some(&plugin)).await.unwrap();
    let probe = backend.probe().await.unwrap();
    println!("{probe:?} {:?}", sweep.told.lock().unwrap());
    let attempt = sweep.attempt(&["python3", "-m", "pytest", "-s", "-v", "-p", "rf_it_plugin"]);
    let (output, ended) = run(&*backend, &attempt).await.unwrap();
    assert!(
        output.contains("PLUGIN HERE") && output.contains("1 passed"),
        "{output}"
    );
    assert_eq!(ended.code, Some(0));
    backend.close().await;
}
