//! `--dry-run`: what would run, in words and as a `docker run` line, with nothing started and nothing written.

use std::io::Write;

use crate::cli::settings::Settings;
use crate::commands::docker_run;
use crate::commands::sweep::args::Args;
use crate::exit_code::ExitCode;
use crate::run;
use crate::spec::{BackendKind, Spec};
use crate::sweep::argv::argv;

pub(in crate::commands) fn print(args: &Args, settings: Option<&Settings>, specs: &[Spec]) -> anyhow::Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    for (number, spec) in specs.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        describe(&mut out, args, settings, spec)?;
    }
    Ok(ExitCode::Passed)
}

fn describe(out: &mut impl Write, args: &Args, settings: Option<&Settings>, spec: &Spec) -> anyhow::Result<()> {
    let dir = args.logs.dir.join(spec.dir_name());
    let recorded = run::recorded(&dir)?;
    let missing: Vec<u32> = args.range().filter(|iteration| !recorded.contains(iteration)).collect();
    let argv = argv(spec);
    writeln!(out, "sweep       {}", dir.display())?;
    writeln!(
        out,
        "iterations  {} to run of {}-{}, {} recorded before, {} at a time",
        missing.len(),
        args.start,
        args.end,
        args.range().count() - missing.len(),
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
        None if spec.deadlines.silence_auto => writeln!(out, "deadlines   {total} in all, and of silence as learned")?,
        None => writeln!(out, "deadlines   {total} in all")?,
    }
    if let Some(before) = settings.and_then(|settings| settings.before.as_deref()) {
        writeln!(out, "before      {}", shell_words::join(before))?;
    }
    if spec.backend == BackendKind::Docker {
        let iteration = missing.first().copied().unwrap_or(args.start);
        let sweep = spec.directory.join(&dir);
        let line = docker_run::line(spec, &sweep, iteration, &sweep.join(run::run_name(iteration)))?;
        writeln!(out, "\nthe same by hand, for iteration {iteration}:\n{line}")?;
    }
    Ok(())
}
