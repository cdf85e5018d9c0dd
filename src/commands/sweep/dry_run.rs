//! `--dry-run`: what would run, in words and as a `docker run` line, with nothing started and nothing written.

use std::io::Write;

use crate::cli::settings::Settings;
use crate::cli::sweep::Args;
use crate::exit_code::ExitCode;
use crate::model::{BackendKind, Spec};
use crate::{pytest, store};

/// Prints the plan.
pub(super) fn print(args: &Args, settings: Option<&Settings>, spec: &Spec) -> anyhow::Result<ExitCode> {
    let dir = args.logs_dir.join(spec.dir_name());
    let recorded = store::recorded(&dir)?;
    let missing: Vec<u32> = args
        .range()
        .iter()
        .filter(|iteration| !recorded.contains(iteration))
        .collect();
    let argv = pytest::argv::argv(spec.mode, spec.trail, &spec.pytest_args);
    let mut out = anstream::stdout().lock();
    writeln!(out, "sweep       {}", dir.display())?;
    writeln!(
        out,
        "iterations  {} to run of {}-{}, {} recorded before, {} at a time",
        missing.len(),
        args.start,
        args.end,
        args.range().iter().count() - missing.len(),
        spec.jobs
    )?;
    match spec.backend {
        BackendKind::Docker => writeln!(out, "image       {}", spec.image)?,
        BackendKind::Local => writeln!(out, "backend     local: processes on this machine, without isolation")?,
    }
    writeln!(out, "command     {}", shell_words::join(&argv))?;
    let total = humantime::format_duration(spec.deadlines.total());
    match spec.deadlines.silence() {
        Some(silence) => writeln!(
            out,
            "deadlines   {total} in all, {} of silence",
            humantime::format_duration(silence)
        )?,
        None => writeln!(out, "deadlines   {total} in all")?,
    }
    if let Some(before) = settings.and_then(|settings| settings.before.as_deref()) {
        writeln!(out, "before      {}", shell_words::join(before))?;
    }
    if spec.backend == BackendKind::Docker {
        let iteration = missing.first().copied().unwrap_or(args.start);
        let line = Vec::<String>::from([iteration.to_string()]);
        writeln!(
            out,
            "\nthe same by hand, for iteration {iteration}:\n{}",
            shell_words::join(line)
        )?;
    }
    Ok(ExitCode::Passed)
}
