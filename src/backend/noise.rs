//! `--noise`: programs that keep cores busy, and end with whoever started them.

/// Keeps so many cores busy until its parent is another one, or it is ended. Each busy process is a child of the first.
pub(super) const PYTHON: &str = "import os, sys
above = os.getppid()
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        above = os.getppid()
        break
while os.getppid() == above:
    for _ in range(1 << 20):
        pass
";

/// The same for a shell, which cannot see its parent; the container it is alone in ends with it.
pub(super) const SHELL: &str =
    "n=$1; while [ \"$n\" -gt 1 ]; do (while :; do :; done) & n=$((n - 1)); done; while :; do :; done";

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(program: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// The one child that a process has, once it has it.
    fn child_of(pid: u32) -> i32 {
        loop {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            if let Some(child) = children.split_whitespace().next() {
                return child.parse().unwrap();
            }
            std::thread::yield_now();
        }
    }

    fn is_running(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    #[test]
    fn two_cores_are_two_processes_and_python_ends_with_its_parent() {
        let mut first = start("python3", &["-ISc", PYTHON, "2"]);
        let second = child_of(first.id());
        first.kill().unwrap();
        first.wait().unwrap();
        while is_running(second) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_shell_does_the_same_where_there_is_no_python() {
        let mut first = start("sh", &["-c", SHELL, "noise", "2"]);
        let second = child_of(first.id());
        assert!(is_running(second));
        first.kill().unwrap();
        first.wait().unwrap();
        let second = rustix::process::Pid::from_raw(second).unwrap();
        rustix::process::kill_process(second, rustix::process::Signal::KILL).unwrap();
    }
}
