//! `signatures`: reads rules, runs their examples, shows what a change of them would do.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::classify;
use crate::cli::classify::Format;
use crate::cli::signatures::{Args, Command};
use crate::exit_code::ExitCode;
use crate::judge::{SignatureSet, cluster};
use crate::message;

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
        Command::Suggest {
            paths,
            group,
            id,
            signatures,
        } => suggest(paths, group.as_deref(), id, signatures.as_deref()),
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

/// Prints a rule for a group of unknown failures, and the other groups as comments.
fn suggest(paths: &[PathBuf], group: Option<&str>, id: &str, signatures: Option<&Path>) -> anyhow::Result<ExitCode> {
    let signatures = load(signatures)?;
    let mut outcomes = Vec::new();
    for path in paths {
        for run in classify::find(path)? {
            outcomes.push(classify::judge_path(&run, &signatures)?);
        }
    }
    let groups = cluster::cluster(&outcomes);
    let chosen = match group {
        Some(wanted) => groups.iter().find(|group| group.id == wanted).ok_or_else(|| {
            let known: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            message::hinted(
                format!("no group `{wanted}` of unknown failures"),
                format!("there are {}", known.join(", ")),
            )
        })?,
        None => groups
            .first()
            .with_context(|| "every failure there has a signature".to_owned())?,
    };
    let mut out = io::stdout().lock();
    for group in &groups {
        let mark = if group.id == chosen.id { "*" } else { " " };
        let text: String = group.pattern.chars().take(100).collect();
        writeln!(
            out,
            "# {mark} {}: {} failures, {} {text}",
            group.id, group.failures, group.place
        )?;
    }
    write!(out, "\n{}", chosen.skeleton(id))?;
    Ok(ExitCode::Passed)
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
