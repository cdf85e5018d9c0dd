//! `--condition net-delay`: packets of a container come late, by netem in its network namespace, put there from outside
//! with this machine's `tc`.

use std::process::Stdio;

use tokio::process::Command;

use crate::backend::BackendError;
use crate::spec::Spec;

/// Every packet comes late by its own time, 5 ms on average and up to 10, so that packets also overtake each other.
const NETEM: [&str; 5] = ["netem", "delay", "5ms", "5ms", "25%"];
/// The interfaces of a container. One on another network of the engine's may have more.
const LOOPBACK: &str = "lo";
const BRIDGE: &str = "eth0";

/// Why packets cannot be delayed here; `None` where they can be.
pub(super) async fn refusal(spec: &Spec, is_here: bool) -> Option<String> {
    if !is_here {
        return Some("the engine is on another machine".to_owned());
    }
    if spec.container.network.as_deref() == Some("host") {
        return Some("the containers have this machine's own network (--network host)".to_owned());
    }
    // A namespace of its own that goes with the program.
    delay(&["unshare", "--net"], LOOPBACK).await.err()
}

/// Delays the packets of the container whose process 1 this is.
pub(super) async fn put(first: Option<i32>) -> Result<(), BackendError> {
    let refused = |cause: String| BackendError::Refused {
        verb: "delay the packets of the container".to_owned(),
        cause,
    };
    let first = first.ok_or_else(|| refused("its process 1 is not known".to_owned()))?;
    let enter = ["nsenter", "--net", "--target", &first.to_string()];
    delay(&enter, LOOPBACK).await.map_err(refused)?;
    match delay(&enter, BRIDGE).await {
        // Without a network there is the loopback alone.
        Err(cause) if cause.contains("Cannot find device") => Ok(()),
        other => other.map_err(refused),
    }
}

/// Runs `tc` for an interface in the namespace that the words before it lead to.
async fn delay(enter: &[&str], interface: &str) -> Result<(), String> {
    let (program, arguments) = enter.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["tc", "qdisc", "replace", "dev", interface, "root"])
        .args(NETEM)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    if words.contains("qdisc kind is unknown") {
        return Err("this machine's kernel has no netem (module sch_netem)".to_owned());
    }
    let line = words.lines().find(|line| !line.trim().is_empty());
    Err(line.unwrap_or("tc failed").trim().to_owned())
}
