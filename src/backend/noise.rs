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
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::proc;

    /// Two busy processes, which end with the test, whatever comes of it.
    struct Busy {
        first: Child,
        second: i32,
    }

    impl Busy {
        fn start(program: &str, arguments: &[&str]) -> Busy {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
            let first = command.spawn().unwrap();
            let above = first.id().to_string();
            let mut busy = Busy { first, second: 0 };
            wait_until(|| {
                let is_child = |pid: &i32| proc::status(*pid, "PPid").as_ref() == Some(&above);
                busy.second = proc::pids().into_iter().find(is_child).unwrap_or_default();
                busy.second > 0
            });
            busy
        }

        fn end_first(&mut self) {
            self.first.kill().unwrap();
            self.first.wait().unwrap();
        }

        fn has_second(&self) -> bool {
            proc::start(self.second).is_some() && !proc::is_zombie(self.second)
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.first.kill();
            let _ = self.first.wait();
            if let Some(second) = Pid::from_raw(self.second).filter(|_| self.has_second()) {
                let _ = kill_process(second, Signal::KILL);
            }
        }
    }

    #[track_caller]
    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_mins(1);
        while !is_so() {
            assert!(Instant::now() < until, "this never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn two_cores_are_two_processes_and_python_ends_with_its_parent() {
        let mut busy = Busy::start("python3", &["-ISc", PYTHON, "2"]);
        busy.end_first();
        wait_until(|| !busy.has_second());
    }

    #[test]
    fn a_shell_does_the_same_where_there_is_no_python() {
        let mut busy = Busy::start("sh", &["-c", SHELL, "noise", "2"]);
        busy.end_first();
        assert!(busy.has_second(), "the container that it is alone in ends it");
    }
}
