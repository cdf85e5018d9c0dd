//! Native stacks of processes of this machine, by whatever debugger it has.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::process::Command;
use tokio::time::Instant;

/// A process of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::backend) struct Seen {
    /// Its number where the session runs.
    pub(in crate::backend) inside: i32,
    /// Its number on this machine.
    pub(in crate::backend) here: i32,
}

/// Most processes looked at: each takes the debugger a second or more.
const MOST: usize = 8;
/// Processes looked at together.
const TOGETHER: usize = 2;
/// Longest time for one of them.
const LONGEST: Duration = Duration::from_secs(6);

/// The native stacks of the Python processes among them, as far as there is time.
///
/// # Errors
/// Why there are none at all.
pub(super) async fn stacks(seen: &[Seen], until: Instant) -> Result<Vec<(i32, String)>, String> {
    let pythons: Vec<Seen> = seen.iter().copied().filter(|seen| is_python(*seen)).collect();
    if pythons.is_empty() {
        return Err("the session's processes cannot be seen from this machine".to_owned());
    }
    let mut causes = Vec::new();
    let mut found = Vec::new();
    let looks: Vec<BoxFuture<'_, (i32, Result<String, String>)>> = pythons
        .into_iter()
        .take(MOST)
        .map(|seen| async move { (seen.inside, one(seen.here, until).await) }.boxed())
        .collect();
    let mut looks = futures_util::stream::iter(looks).buffered(TOGETHER);
    while let Some((process, stack)) = looks.next().await {
        match stack {
            Ok(stack) => found.push((process, stack)),
            Err(cause) => causes.push(cause),
        }
    }
    match causes.into_iter().next() {
        Some(cause) if found.is_empty() => Err(cause),
        Some(_) | None => Ok(found),
    }
}

fn is_python(seen: Seen) -> bool {
    let proc = format!("/proc/{}", seen.here);
    let name = std::fs::read_link(format!("{proc}/exe"))
        .map(|path| path.to_string_lossy().into_owned())
        .or_else(|_| std::fs::read_to_string(format!("{proc}/comm")))
        .unwrap_or_default();
    name.rsplit('/').next().is_some_and(|name| name.contains("python"))
}

async fn one(pid: i32, until: Instant) -> Result<String, String> {
    let pid = pid.to_string();
    let tools: [(&str, Vec<&str>); 2] = [
        (
            "gdb",
            vec![
                "--nx",
                "--batch",
                "-iex",
                "set auto-load off",
                "-iex",
                "set debuginfod enabled off",
                "-p",
                &pid,
                "-ex",
                "thread apply all bt 30",
            ],
        ),
        ("eu-stack", vec!["-p", &pid]),
    ];
    for (tool, arguments) in tools {
        let patience = LONGEST.min(until.saturating_duration_since(Instant::now()));
        let output = Command::new(tool)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A debugger that is killed lets go of the process it looks at.
            .kill_on_drop(true)
            .output();
        return match tokio::time::timeout(patience, output).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => Err(format!("failed to run `{tool}`: {error}")),
            Err(_) => Err(format!("`{tool}` took too long")),
            Ok(Ok(output)) => {
                let text = frames(&String::from_utf8_lossy(&output.stdout));
                if text.contains('#') {
                    Ok(text)
                } else {
                    let said = String::from_utf8_lossy(&output.stderr);
                    let last = said
                        .lines()
                        .map(str::trim)
                        .find(|line| line.contains("ermitted") || line.contains("denied"));
                    Err(format!(
                        "`{tool}`: {}",
                        last.or(said.lines().last()).unwrap_or("it found no frames").trim()
                    ))
                }
            }
        };
    }
    Err("install gdb or elfutils on this machine for them".to_owned())
}

/// Only the threads and their frames of what a debugger prints.
pub(in crate::backend) fn frames(output: &str) -> String {
    let is_wanted = |line: &&str| {
        let line = line.trim_start();
        line.starts_with('#') || line.starts_with("Thread ") || line.starts_with("TID ")
    };
    // Arguments of optimized code are mostly not worth their length.
    let lines: Vec<String> = output
        .lines()
        .filter(is_wanted)
        .map(|line| line.chars().take(200).collect())
        .collect();
    lines.join("\n")
}

/// The processes of a container, if they are this machine's: their control group is named after it.
pub(in crate::backend) fn of_container(id: &str) -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut seen: Vec<Seen> = entries
        .flatten()
        .filter_map(|entry| {
            let here: i32 = entry.file_name().to_str()?.parse().ok()?;
            let groups = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
            groups.contains(id).then_some(())?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let inside = numbers.split_whitespace().last()?.parse().ok()?;
            Some(Seen { inside, here })
        })
        .collect();
    seen.sort();
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_of_a_debuggers_output_are_kept() {
        let output = "[New LWP 8]\nwarning: x\n\nThread 1 (Thread 0x7f (LWP 7)):\n#0  poll () from libc.so\n#1  main ()\n[Inferior 1 detached]";
        assert_eq!(
            frames(output),
            "Thread 1 (Thread 0x7f (LWP 7)):\n#0  poll () from libc.so\n#1  main ()"
        );
    }
}
