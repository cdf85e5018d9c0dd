//! Engines of other versions, and what is asked of them.

use crate::cli::{Place, Ran};
use crate::engine::daemon;
use crate::engine::proxy::Proxy;

fn sweep(proxy: &Proxy, more: &[&str]) -> Ran {
    let place = Place::passing();
    let words = [&["-i", "host", "-e", "2", "--progress", "none"], more].concat();
    Ran::of(
        place
            .command(&words)
            .env("DOCKER_HOST", proxy.address())
            .output()
            .unwrap(),
    )
}

/// A sweep runs, and every request names that version, but the two that are asked before it is known.
#[track_caller]
fn speaks(first: u32, last: u32, spoken: u32) {
    let proxy = Proxy::start(first, last);
    sweep(&proxy, &[]).exits(0);
    let asked = proxy.asked();
    assert!(asked.len() > 10, "{asked:?}");
    for (request, _) in asked {
        let is_in_common = request.contains(&format!(" /v1.{spoken}/"));
        let is_first = ["GET /version", "GET /info"].contains(&request.as_str());
        assert!(is_in_common || is_first, "{request}");
    }
}

#[test]
fn the_newest_version_that_both_sides_know_is_spoken() {
    if !daemon() {
        return;
    }
    // As Docker 29, which refuses clients of older versions; as Docker 20.10; newer than everything here.
    speaks(44, 52, 52);
    speaks(24, 41, 41);
    speaks(44, 99, 53);
}

#[test]
fn an_engine_with_no_version_in_common_is_named_with_what_to_do() {
    if !daemon() {
        return;
    }
    for (first, last, hint) in [
        (60, 61, "hint: a newer version of this tool may speak it"),
        (
            12,
            39,
            "hint: update the engine: Docker 19.03 is the oldest that will do",
        ),
    ] {
        let said = sweep(&Proxy::start(first, last), &[]).exits(1).err();
        let words = format!(": 29.0.0 speaks 1.{first} to 1.{last}, this tool 1.40 to 1.53");
        assert!(
            said.contains("no common version of the API") && said.contains(&words),
            "{said}"
        );
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn gpus_are_the_engines_device_requests_and_an_engine_without_them_says_so() {
    if !daemon() {
        return;
    }
    let proxy = Proxy::start(24, 41);
    let ran = sweep(&proxy, &["--gpus", "all"]);
    let created = proxy
        .asked()
        .into_iter()
        .find(|(request, _)| request.contains("/containers/create"));
    let body: serde_json::Value = serde_json::from_slice(&created.expect("a container was asked for").1).unwrap();
    let request = &body["HostConfig"]["DeviceRequests"][0];
    assert_eq!(request["Count"], -1, "{body}");
    assert_eq!(request["Capabilities"], serde_json::json!([["gpu"]]), "{body}");
    // A machine that has them runs it.
    if ran.code() != Some(0) {
        let said = ran.exits(1).err();
        assert!(
            said.contains("error: the container engine has no such GPUs to give: "),
            "{said}"
        );
        assert!(said.contains("hint: install nvidia-container-toolkit"), "{said}");
    }
}
