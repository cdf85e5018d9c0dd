//! The router of `examples/`: real native flakes, found by the tool where they are and in the direction they move.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::engine::{daemon, has, is_root, skipped};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/router")
}

/// The tool, run in the example's directory without what this process was told by its environment.
fn tool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reproduce-flaky"))
        .args(arguments)
        .current_dir(example())
        .env_remove("ROUTER_VARIANT")
        .env_remove("DYN_ROUTER_ENABLE_PREFIX_CACHE")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether the broker is there; root installs it from Debian's packages where it is not.
fn broker() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let found = || has("nats-server") || Path::new("/usr/sbin/nats-server").exists();
        if !found() && is_root() && has("apt-get") {
            let _ = Command::new("sh")
                .args(["-c", "apt-get update -qq && apt-get install -qq -y nats-server"])
                .output();
        }
        if !found() {
            skipped("no nats-server, and root with apt-get is what installs it");
        }
        found()
    })
}

/// Runs a sweep of one variant and returns its summary.
fn sweep(logs: &Path, variant: &str, mode: &str, iterations: u32, tests: &str) -> Value {
    let logs = logs.to_str().unwrap();
    let output = tool(&[
        "-p",
        mode,
        "-e",
        &iterations.to_string(),
        "-t",
        variant,
        "-E",
        &format!("ROUTER_VARIANT={variant}"),
        "-E",
        "ROUTER_HUB_FAULT_RATE=0",
        "--logs-dir",
        logs,
        "--progress",
        "plain",
        "--",
        "-k",
        tests,
    ]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "exit code {code:?}: {}", said(&output));
    let mode = if mode == "serial" {
        mode.to_owned()
    } else {
        format!("n{mode}")
    };
    let dir = format!("{logs}/{mode}_{variant}");
    let output = tool(&["summary", &dir, "--format", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The categories of a sweep, with the iterations of each.
fn categories(summary: &Value) -> Vec<(&str, u64)> {
    summary["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|category| {
            (
                category["id"].as_str().unwrap(),
                category["iterations"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_tie_break_by_hash_order_breaks_routing_and_a_deterministic_one_mends_it() {
    if !daemon() || !broker() {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let tests = "test_router_decisions and jetstream";
    let broken = sweep(logs.path(), "fix9", "serial", 16, tests);
    let mended = sweep(logs.path(), "fix14", "serial", 16, tests);
    assert!(
        categories(&broken).iter().any(|(id, n)| *id == "A1" && *n > 0),
        "{broken:#}"
    );
    assert!(!categories(&mended).iter().any(|(id, _)| *id == "A1"), "{mended:#}");

    let dirs = ["serial_fix9", "serial_fix14"].map(|name| logs.path().join(name).display().to_string());
    let output = tool(&["compare", &dirs[0], &dirs[1], "--expect", "fewer", "--format", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    let classes = comparison["classes"].as_array().unwrap();
    let routing = classes.iter().find(|class| class["id"] == "A1").unwrap();
    assert_eq!(routing["verdict"], "fewer", "{comparison:#}");
}

#[test]
fn a_global_of_an_earlier_test_aborts_a_later_one_and_a_scoped_runtime_does_not() {
    if !daemon() || !broker() {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    // Without the tests in between, which happen to shut the process's runtime down, the abort is certain.
    let tests = "(test_router_decisions and jetstream-tcp) or (test_kv_push_router_bindings and True-tcp)";
    let shared = sweep(logs.path(), "fix14", "serial", 2, tests);
    assert_eq!(categories(&shared), [("B1", 2)], "{shared:#}");
    assert_eq!(shared["outcomes"]["crashed"], 2, "{shared:#}");
    let test = "tests/router/test_router_e2e_with_mockers.py::test_kv_push_router_bindings[True-tcp]";
    assert_eq!(shared["categories"][0]["tests"][test], 2, "{shared:#}");
    let scoped = sweep(logs.path(), "scoped", "serial", 2, tests);
    assert!(!categories(&scoped).iter().any(|(id, _)| *id == "B1"), "{scoped:#}");
}

#[test]
fn a_hub_that_refuses_says_nothing_about_the_tests() {
    if !daemon() {
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let dir = logs.path().to_str().unwrap();
    for (iteration, fault) in ["429", "504", "nothing"].iter().enumerate() {
        let tag = format!("hub-{iteration}");
        let faults = format!("ROUTER_HUB_FAULTS={fault}");
        let output = tool(&[
            "-e",
            "1",
            "-t",
            &tag,
            "-E",
            "ROUTER_HUB_FAULT_RATE=1",
            "-E",
            &faults,
            "--logs-dir",
            dir,
            "--",
            "-k",
            "test_router_decisions and no_kv_events-tcp",
        ]);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        let results = std::fs::read_to_string(logs.path().join(format!("serial_{tag}/results.txt"))).unwrap();
        assert!(results.contains("ERRORED") && results.contains("A5"), "{results}");
    }
}
