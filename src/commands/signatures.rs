//! `signatures`: reads rules, runs their examples, shows what a change of them would do.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use super::classify;
use crate::cli::classify::Format;
use crate::cli::signatures::{Args, Command};
use crate::exit_code::ExitCode;
use crate::judge::SignatureSet;

/// Reads signatures from a file or a folder; the built-in ones where no path is given.
///
/// # Errors
/// The path cannot be read, holds no signature file, or one that is not valid.
pub fn load(path: Option<&Path>) -> anyhow::Result<SignatureSet> {
    let Some(path) = path else {
        return Ok(SignatureSet::built_in());
    };
    let failed = || format!("failed to read `{}`", path.display());
    let mut paths = Vec::new();
    if fs::metadata(path).with_context(failed)?.is_dir() {
        for entry in fs::read_dir(path).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        anyhow::ensure!(!paths.is_empty(), "no signature file `*.toml` in `{}`", path.display());
    } else {
        paths.push(path.to_owned());
    }
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        files.push((path.display().to_string(), text));
    }
    Ok(SignatureSet::parse(&files)?)
}

/// Does what the subcommand says.
///
/// # Errors
/// Signatures that cannot be read, examples that do not behave.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check { path, against } => check(path.as_deref(), against.as_deref()),
        Command::List { path, format } => list(path.as_deref(), *format),
    }
}

fn check(path: Option<&Path>, against: Option<&Path>) -> anyhow::Result<ExitCode> {
    let signatures = load(path)?;
    let failing = signatures.failing_examples();
    let mut out = io::stdout().lock();
    for line in &failing {
        writeln!(out, "{line}")?;
    }
    anyhow::ensure!(
        failing.is_empty(),
        "{} of the signatures' own examples do not behave",
        failing.len()
    );
    let examples: usize = signatures
        .iter()
        .map(|signature| signature.matches.len() + signature.rejects.len())
        .sum();
    writeln!(
        out,
        "{} signatures, {examples} examples: all behave",
        signatures.iter().len()
    )?;
    if let Some(tree) = against {
        changes(&mut out, &signatures, tree)?;
    }
    Ok(ExitCode::Passed)
}

/// Prints the runs of a tree that these signatures put into other categories than the built-in ones do.
fn changes(out: &mut impl Write, signatures: &SignatureSet, tree: &Path) -> anyhow::Result<()> {
    let now = SignatureSet::built_in();
    let runs = classify::find(tree)?;
    let mut changed = 0;
    for run in &runs {
        let before = classify::judge_path(run, &now)?;
        let after = classify::judge_path(run, signatures)?;
        if before.categories != after.categories || before.outcome != after.outcome {
            changed += 1;
            writeln!(
                out,
                "{}: {} {} -> {} {}",
                run.display(),
                before.outcome.as_str(),
                before.categories.join(" "),
                after.outcome.as_str(),
                after.categories.join(" ")
            )?;
        }
    }
    writeln!(out, "{changed} of {} runs would change", runs.len())?;
    Ok(())
}

fn list(path: Option<&Path>, format: Format) -> anyhow::Result<ExitCode> {
    let signatures = load(path)?;
    let mut out = io::stdout().lock();
    for signature in signatures.iter() {
        let scope: Vec<&str> = signature.scope.iter().map(|scope| scope.as_str()).collect();
        match format {
            Format::Json => {
                let row = json!({
                    "id": signature.id,
                    "title": signature.title,
                    "scope": scope,
                    "severity": signature.severity.as_str(),
                    "infra": signature.infra,
                    "advice": signature.advice,
                    "file": signature.file,
                    "line": signature.line,
                });
                writeln!(out, "{row}")?;
            }
            Format::Text => writeln!(
                out,
                "{:<8} {:<28} {:<9} {}{}",
                signature.id,
                signature.title,
                signature.severity.as_str(),
                scope.join(", "),
                if signature.infra { "; infrastructure" } else { "" }
            )?,
        }
    }
    Ok(ExitCode::Passed)
}
