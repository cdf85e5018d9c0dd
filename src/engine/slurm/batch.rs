//! What `sbatch` is given: a fixed script of one line, and arguments that say where and how long.

use std::time::Duration;

use crate::engine::ticket::runs;
use crate::engine::{Batch, EngineError};

/// Time a task has beyond the iteration's own deadline: for the start of its container, its autopsy, its end.
const SLACK: Duration = Duration::from_mins(2);

/// Arguments that would change what a submission means.
const OURS: [&str; 12] = [
    "--array",
    "-a",
    "--parsable",
    "--dependency",
    "-d",
    "--signal",
    "--output",
    "-o",
    "--wrap",
    "--wait",
    "-W",
    "--no-requeue",
];

/// Whether lines for `sbatch` can be read and leave alone what is ours.
///
/// # Errors
/// What is wrong, in words.
pub fn check_lines(lines: &[String]) -> Result<(), String> {
    for line in lines {
        let words = shell_words::split(line).map_err(|error| format!("`{line}`: {error}"))?;
        for word in words {
            let name = word.split('=').next().unwrap_or_default();
            if OURS.contains(&name) {
                return Err(format!("`{name}` is set by this tool"));
            }
        }
    }
    Ok(())
}

/// The words of lines that were checked.
pub(super) fn words(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .flat_map(|line| shell_words::split(line).unwrap_or_default())
        .collect()
}

/// The batch script. Slurm wants a script for a shell; nothing in this one but the index is the shell's to expand.
pub(super) fn script(batch: &Batch<'_>, offset: u32) -> Result<String, EngineError> {
    let unreadable = |said: String| EngineError::Unreadable {
        program: "sbatch".to_owned(),
        said,
    };
    let program = std::env::current_exe().map_err(|error| unreadable(error.to_string()))?;
    let mut quoted = Vec::new();
    for path in [&program, batch.sweep] {
        let text = path
            .to_str()
            .ok_or_else(|| unreadable(format!("`{}` is not UTF-8", path.display())))?;
        quoted.push(shell_words::quote(text).into_owned());
    }
    Ok(format!(
        "#!/bin/sh\nexec {} worker {} --iteration \"$((SLURM_ARRAY_TASK_ID + {offset}))\"\n",
        quoted[0], quoted[1]
    ))
}

/// The arguments of `sbatch`; the user's come last, where they win.
pub(super) fn arguments(
    batch: &Batch<'_>,
    lines: &[String],
    offset: u32,
    iterations: &[u32],
    after: Option<&str>,
) -> Vec<String> {
    let name = batch
        .sweep
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut arguments = vec![
        "--parsable".to_owned(),
        format!("--array={}%{}", list(offset, iterations), batch.jobs),
        format!("--job-name=reproduce-flaky-{name}"),
        format!("--chdir={}", batch.spec.directory.display()),
        // `run` keeps what a task prints; Slurm's own logs would be thousands of files.
        "--output=/dev/null".to_owned(),
        format!("--time={}", minutes(batch.spec.deadlines.total() + SLACK)),
        "--signal=B:TERM@60".to_owned(),
        "--requeue".to_owned(),
        "--export=ALL".to_owned(),
    ];
    if let Some(after) = after {
        arguments.push(format!("--dependency=afterany:{after}"));
    }
    let container = &batch.spec.container;
    if let Some(cpus) = container.cpus {
        arguments.push(format!("--cpus-per-task={}", cpus.ceil()));
    }
    if let Some(memory) = container.memory {
        arguments.push(format!("--mem={}M", memory.div_ceil(1 << 20)));
    }
    arguments.extend(words(lines));
    arguments
}

/// Slurm counts time limits in whole minutes and rounds them up itself.
fn minutes(limit: Duration) -> u64 {
    limit.as_millis().div_ceil(60_000).try_into().unwrap_or(u64::MAX)
}

/// The indexes of iterations: `3,7-9,900`.
fn list(offset: u32, iterations: &[u32]) -> String {
    let indexes: Vec<u32> = iterations.iter().map(|iteration| iteration - offset).collect();
    let runs = runs(&indexes).into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_runs_below_the_offset() {
        assert_eq!(list(0, &[3, 7, 8, 9, 900]), "3,7-9,900");
        assert_eq!(list(1000, &[1001, 1002, 1500]), "1-2,500");
    }

    #[test]
    fn limits_are_whole_minutes_rounded_up() {
        assert_eq!(minutes(Duration::from_mins(11) + SLACK), 13);
        assert_eq!(minutes(Duration::from_secs(661) + SLACK), 14);
        assert_eq!(minutes(Duration::from_millis(500) + SLACK), 3);
    }

    #[test]
    fn lines_may_say_where_and_not_what() {
        let lines = |text: &str| check_lines(&[text.to_owned()]);
        assert_eq!(lines("--partition=gpu --account 'the team'"), Ok(()));
        assert_eq!(lines("--array=1-2"), Err("`--array` is set by this tool".to_owned()));
        assert_eq!(lines("-p main -o log"), Err("`-o` is set by this tool".to_owned()));
        assert!(lines("--comment='open").is_err());
        assert_eq!(words(&["--account 'the team'".to_owned()]), ["--account", "the team"]);
    }
}
