//! The command line of a session.

use crate::judge::pytest::trail;
use crate::spec::{Mode, Spec};

/// pytest's command for an attempt, without a shell. The user's own `-n` outweighs the mode's.
pub fn argv(spec: &Spec) -> Vec<String> {
    words(spec.worker_mode(), spec.trail, &spec.arguments())
}

/// `trail` loads the plugin that writes down what runs.
fn words(mode: Mode, trail: bool, args: &[String]) -> Vec<String> {
    let mut words: Vec<String> = ["python3", "-m", "pytest"].map(str::to_owned).into();
    if let Mode::Xdist(workers) = mode
        && !has_workers(args)
    {
        words.extend(["-n".to_owned(), workers.to_string()]);
    }
    if trail {
        words.extend(["-p".to_owned(), trail::PLUGIN_MODULE.to_owned()]);
    }
    words.extend(args.iter().cloned());
    words
}

/// The user's arguments for a session in one process. `is_distributed` says that xdist is there and would share the
/// tests out; the last `-n` that is given holds, also over one of the project's own settings.
pub fn in_one_process(args: &[String], is_distributed: bool) -> Vec<String> {
    let mut args = args.to_vec();
    if is_distributed {
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        args.insert(end, "-n0".to_owned());
    }
    args
}

/// Whether the arguments say how many workers there are.
pub fn has_workers(args: &[String]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| {
        arg == "-n"
            || arg == "--numprocesses"
            || arg.starts_with("--numprocesses=")
            || arg
                .strip_prefix("-n")
                .is_some_and(|value| value.parse::<u32>().is_ok() || matches!(value, "auto" | "logical"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_mode_and_the_trail_come_before_the_users_arguments() {
        let args = split("tests/a.py -x");
        assert_eq!(
            super::words(Mode::Serial, false, &args),
            split("python3 -m pytest tests/a.py -x")
        );
        assert_eq!(
            super::words(Mode::Xdist(4), true, &args),
            split("python3 -m pytest -n 4 -p reproduce_flaky_trail tests/a.py -x")
        );
    }

    #[test]
    fn a_session_in_one_process_outweighs_every_other_number_of_workers() {
        assert_eq!(
            in_one_process(&split("-n 4 a.py -- b"), true),
            split("-n 4 a.py -n0 -- b")
        );
        assert_eq!(in_one_process(&split("a.py"), false), split("a.py"));
    }

    #[test]
    fn workers_that_the_user_named_are_not_named_again() {
        for line in ["-n 2", "-n2", "-nauto", "--numprocesses=3", "a.py --numprocesses 3"] {
            let args = split(line);
            assert!(
                !super::words(Mode::Xdist(4), false, &args).contains(&"4".to_owned()),
                "{line}"
            );
        }
        assert!(!has_workers(&split("--no-header -nope")));
    }
}
