//! What `/proc` says about processes. A process in an uninterruptible sleep can block whoever reads about it: read on a
//! thread that may wait. Empty where there is no `/proc`.

use std::fs;
use std::path::PathBuf;

fn read(pid: i32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first line of a file of the system, such as the identity of this boot; empty where there is none.
pub fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The namespace of this process's number; empty where the system has none.
pub fn pid_namespace() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    namespace.to_string_lossy().into_owned()
}

/// Every process that can be seen.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// How many processes and threads this machine can have.
pub fn most_pids() -> Option<u32> {
    let limit = |name: &str| -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
        text.trim().parse().ok()
    };
    [limit("pid_max"), limit("threads-max")].into_iter().flatten().min()
}

/// Its number in each namespace that it is in, this one's first.
pub fn numbers(pid: i32) -> Vec<i32> {
    let numbers = status(pid, "NSpid").unwrap_or_default();
    numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// A field of its status.
pub fn status(pid: i32, field: &str) -> Option<String> {
    let status = read(pid, "status")?;
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.trim().to_owned())
}

/// Whether the name of one of its control groups contains this.
pub fn is_in_group(pid: i32, name: &str) -> bool {
    read(pid, "cgroup").is_some_and(|groups| groups.contains(name))
}

/// Whether it was started with this variable, given as `NAME=VALUE`.
pub fn was_given(pid: i32, variable: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ
        .split(|byte| *byte == 0)
        .any(|entry| entry == variable.as_bytes())
}

/// The files that it has open, as far as this process may look.
pub fn open_files(pid: i32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// The program that it runs; what it calls itself where that is hidden.
pub fn program(pid: i32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    name.map(|name| name.to_string_lossy().into_owned())
        .or_else(|| Some(read(pid, "comm")?.trim_end().to_owned()))
        .unwrap_or_default()
}

/// One of its hard limits, by the name in `/proc/PID/limits`; `None` for one that is not bounded.
pub fn hard_limit(pid: i32, name: &str) -> Option<i64> {
    let limits = read(pid, "limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// When it started, in clock ticks since boot; `None` where it is not there.
pub fn start(pid: i32) -> Option<String> {
    stat(pid).get(19).cloned()
}

/// Whether it has ended and nobody has asked how.
pub fn is_zombie(pid: i32) -> bool {
    matches!(stat(pid).first().map(String::as_str), Some("Z" | "X"))
}

/// The fields of proc(5)'s `stat` after the program's name, which may hold spaces and parentheses itself.
fn stat(pid: i32) -> Vec<String> {
    let stat = read(pid, "stat").unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(str::to_owned).collect()
}

/// A path as a process sees it.
pub fn seen_by(pid: i32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(pids().contains(&pid));
        assert_eq!(numbers(pid).first(), Some(&pid));
        assert!(program(pid).contains("reproduce_flaky") || !program(pid).is_empty());
        assert!(start(pid).is_some() && !is_zombie(pid));
        assert!(!was_given(pid, "REPRODUCE_FLAKY=absent") && !is_in_group(pid, "no-such-group"));
        assert_eq!(start(i32::MAX), None);
        assert!(most_pids().is_none_or(|most| most > 300));
    }
}
