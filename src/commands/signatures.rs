//! `signatures`: reads rules, runs their examples, shows what a change of them would do.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::{classify, output};
use crate::cli::classify::Format;
use crate::cli::signatures::{Args, Command, Suggest};
use crate::exit_code::ExitCode;
use crate::judge::{SignatureSet, cluster};
use crate::message;
use crate::model::Outcome;

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
        Command::Check { path, against, format } => check(path.as_deref(), against.as_deref(), *format),
        Command::Suggest(args) => suggest(args),
        Command::List { path, format } => list(path.as_deref(), *format),
    }
}

fn check(path: Option<&Path>, against: Option<&Path>, format: Format) -> anyhow::Result<ExitCode> {
    let signatures = load(path)?;
    let failing = signatures.failing_examples();
    for line in &failing {
        output::text(&format!("{line}\n"))?;
    }
    anyhow::ensure!(
        failing.is_empty(),
        "{} of the signatures' own examples do not behave",
        failing.len()
    );
    let count = signatures.iter().len();
    let examples: usize = signatures
        .iter()
        .map(|signature| signature.matches.len() + signature.rejects.len())
        .sum();
    let changes = against.map(|tree| changes(&signatures, tree)).transpose()?;
    let text = match (format, &changes) {
        (Format::Text, None) => counted(count, examples),
        (Format::Text, Some(changes)) => format!("{}{changes}", counted(count, examples)),
        (Format::Json, None) => format!("{}\n", json!({"format": 1, "signatures": count, "examples": examples})),
        (Format::Json, Some(changes)) => {
            let rows: Vec<_> = changes.changed.iter().map(Change::json).collect();
            let answer =
                json!({"format": 1, "signatures": count, "examples": examples, "runs": changes.runs, "changed": rows});
            format!("{answer}\n")
        }
    };
    output::text(&text)?;
    Ok(ExitCode::Passed)
}

fn counted(signatures: usize, examples: usize) -> String {
    let of = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}: all behave\n",
        of(signatures, "signature"),
        of(examples, "example")
    )
}

/// What another set of signatures would change in a tree.
struct Changes {
    runs: usize,
    changed: Vec<Change>,
}

/// One run that would be judged otherwise.
struct Change {
    path: PathBuf,
    before: Outcome,
    after: Outcome,
}

impl Change {
    fn json(&self) -> serde_json::Value {
        let side = |outcome: &Outcome| json!({"outcome": outcome.outcome.as_str(), "categories": outcome.categories});
        json!({"path": self.path.display().to_string(), "before": side(&self.before), "after": side(&self.after)})
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |outcome: &Outcome| format!("{} {}", outcome.outcome.as_str(), outcome.categories.join(" "));
        for change in &self.changed {
            let (before, after) = (side(&change.before), side(&change.after));
            writeln!(
                f,
                "{}: {} -> {}",
                change.path.display(),
                before.trim_end(),
                after.trim_end()
            )?;
        }
        writeln!(f, "{} of {} runs would change", self.changed.len(), self.runs)
    }
}

/// The runs of a tree that these signatures put into other categories than the built-in ones do.
fn changes(signatures: &SignatureSet, tree: &Path) -> anyhow::Result<Changes> {
    let paths = classify::find(tree)?;
    let now = classify::judge_all(&paths, &SignatureSet::built_in())?;
    let then = classify::judge_all(&paths, signatures)?;
    let runs = paths.len();
    let sides = paths.into_iter().zip(now).zip(then);
    let changed = sides.map(|((path, before), after)| Change { path, before, after });
    let changed = changed.filter(|Change { before, after, .. }| {
        before.categories != after.categories || before.outcome != after.outcome
    });
    Ok(Changes {
        runs,
        changed: changed.collect(),
    })
}

/// Prints a rule for a group of unknown failures, and the other groups as comments.
fn suggest(args: &Suggest) -> anyhow::Result<ExitCode> {
    let signatures = load(args.signatures.as_deref())?;
    let mut runs = Vec::new();
    for path in &args.paths {
        runs.extend(classify::find(path)?);
    }
    let groups = cluster::cluster(&classify::judge_all(&runs, &signatures)?);
    let chosen = match &args.group {
        Some(wanted) => groups.iter().find(|group| group.id == *wanted).ok_or_else(|| {
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
    let mut text = String::new();
    for group in &groups {
        let mark = if group.id == chosen.id { "*" } else { " " };
        let pattern: String = group.pattern.chars().take(100).collect();
        let _ = match args.format {
            Format::Text => writeln!(
                text,
                "# {mark} {}: {} failures, {} {pattern}",
                group.id, group.failures, group.place
            ),
            Format::Json => writeln!(
                text,
                "{}",
                json!({
                    "id": group.id,
                    "failures": group.failures,
                    "iterations": group.iterations,
                    "place": group.place,
                    "pattern": group.pattern,
                    "example": group.example,
                    "rule": group.skeleton(&args.id),
                })
            ),
        };
    }
    if args.format == Format::Text {
        let _ = write!(text, "\n{}", chosen.skeleton(&args.id));
    }
    output::text(&text)?;
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
