//! `signatures`: reads rules, runs their examples, shows what a change of them would do.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::{judging, output};
use crate::cli::values::Format;
use crate::exit_code::ExitCode;
use crate::judge::{Outcome, SignatureSet, cluster};
use crate::message;
use crate::report::shown::shown;

#[derive(Clone, Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  reproduce-flaky signatures check my-rules/ --against logs/n4_fix8\n  reproduce-flaky signatures list\n\n\
        Next: reproduce-flaky classify --signatures my-rules/ logs/n4_fix8"
)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with signatures.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read signatures and run their own examples; with a tree, say which runs would change category.
    #[command(
        after_help = "Example:\n  reproduce-flaky signatures check my-rules/ --against logs/n4_fix8\n\n\
            Next: reproduce-flaky classify --signatures my-rules/ --write logs/n4_fix8"
    )]
    Check {
        /// File or folder of signatures; the built-in ones where none is given.
        path: Option<PathBuf>,
        /// Tree of runs to judge with them, compared with how they are judged now.
        #[arg(long, value_name = "TREE")]
        against: Option<PathBuf>,
        /// How to print what was found.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print a rule, ready to be named, for failures that no signature covers.
    #[command(after_help = "Examples:\n  reproduce-flaky signatures suggest logs/n4_fix8\n  \
            reproduce-flaky signatures suggest logs --group U-1a2b3c4d --id A6 > my-rules/a6.toml\n\n\
            Next: reproduce-flaky signatures check my-rules/ --against logs")]
    Suggest(Suggest),
    /// Print every signature with its scopes.
    #[command(after_help = "Example:\n  reproduce-flaky signatures list\n\nNext: reproduce-flaky signatures check")]
    List {
        /// File or folder of signatures; the built-in ones where none is given.
        path: Option<PathBuf>,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Debug, ClapArgs)]
pub struct Suggest {
    /// Runs or trees of them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The group of failures; the most frequent one where none is named.
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Id of the new signature.
    #[arg(long, default_value = "NEW", value_name = "ID")]
    pub id: String,
    /// File or folder of signatures instead of the built-in ones.
    #[arg(long, value_name = "PATH")]
    pub signatures: Option<PathBuf>,
    /// How to print it: a rule in TOML, or every group with its rule as a JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Reads signatures from a file or a folder; the built-in ones where no path is given.
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
        output::words(&format!("{line}\n"))?;
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
    output::words(&text)?;
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

/// The runs of a tree that another set of signatures would judge differently.
struct Changes {
    runs: usize,
    changed: Vec<Change>,
}

/// One run with the outcome that it has and the one that it would have.
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
    let paths = judging::runs_below(tree)?;
    let now = judging::judge_all(&paths, &SignatureSet::built_in())?;
    let then = judging::judge_all(&paths, signatures)?;
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
        runs.extend(judging::runs_below(path)?);
    }
    let groups = cluster::cluster(&judging::judge_all(&runs, &signatures)?);
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
        let pattern: String = shown(&group.pattern).chars().take(100).collect();
        let _ = match args.format {
            Format::Text => writeln!(
                text,
                "# {mark} {}: {} failures, {} {pattern}",
                group.id,
                group.failures,
                shown(&group.place)
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
