//! One run on one screen: what happened, the lines that say so, what ran before, where the files are.

use std::fmt::Write as _;

use crate::judge::{Crash, CrashKind, Exit, Outcome, OutcomeKind};
use crate::report::paint::Paint;
use crate::report::shown::shown;
use crate::spec::Limits;

/// A terminal shows the color; a stream to anything else takes it out.
const PAINT: Paint = Paint::Color;

/// What there is to show of a run.
#[derive(Clone, Debug)]
pub(super) struct Run<'a> {
    /// The run's directory or log, as the user would type it.
    pub(super) path: String,
    /// The exit facts, where the run has any.
    pub(super) exit: Option<&'a Exit>,
    pub(super) outcome: &'a Outcome,
    /// The signatures of the run's categories.
    pub(super) causes: Vec<Cause>,
    /// Evidence in context, in the order of the outcome's.
    pub(super) excerpts: Vec<Excerpt>,
    /// Where a hung session stood: the file of its stacks, and the lines that matter.
    pub(super) stood: Option<(String, Vec<String>)>,
    /// Tests that ran before, in the same worker: the worker, and their ids in order.
    pub(super) before: Option<(String, Vec<String>)>,
    /// What the sweep's own condition stopped meanwhile, and what is known of that.
    pub(super) starved: Vec<String>,
    /// Files and their sizes in bytes.
    pub(super) files: Vec<(String, u64)>,
    /// Command that repeats it.
    pub(super) again: Option<String>,
    /// The `docker run` line that does the same without this tool.
    pub(super) container_line: Option<String>,
}

/// A category as its signature describes it.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) advice: String,
}

/// A line of evidence with its neighbors.
#[derive(Clone, Debug)]
pub(super) struct Excerpt {
    pub(super) category: String,
    /// The file with its line number, or the fact that is the evidence.
    pub(super) place: String,
    /// Number and text of each line, and whether it is the line of evidence.
    pub(super) lines: Vec<(u64, String, bool)>,
}

pub(super) fn text(run: &Run<'_>) -> String {
    let mut out = String::new();
    let _ = write_run(&mut out, run);
    out
}

fn write_run(out: &mut String, run: &Run<'_>) -> std::fmt::Result {
    let Run { outcome, .. } = run;
    let word = outcome.outcome.as_str();
    let word = PAINT.bold(&PAINT.verdict(outcome.verdict, word));
    write!(out, "{}: {word}", PAINT.bold(&shown(&run.path)))?;
    if !outcome.categories.is_empty() {
        write!(out, " {}", shown(&outcome.categories.join(" ")))?;
    }
    writeln!(out, " ({})", outcome.verdict.as_str())?;
    if let Some(exit) = run.exit {
        writeln!(out, "{}", shown(&facts(exit)))?;
    }
    if let Some(kept) = run.exit.and_then(|exit| exit.kept.as_ref()) {
        writeln!(
            out,
            "left running until {}; look into it with\n  {}",
            kept.until.format("%Y-%m-%d %H:%M:%S UTC"),
            kept.enter
        )?;
    }
    let mut tests = outcome.failing_tests.clone();
    if outcome.outcome == OutcomeKind::Hung
        && tests.len() > 1
        && let Some(first) = tests.first_mut()
    {
        *first += "  (hung)";
    }
    list(out, "failing tests", &tests)?;
    if let Some((file, lines)) = &run.stood {
        list(out, &format!("where it stood, of {file}"), lines)?;
    }
    for excerpt in &run.excerpts {
        writeln!(
            out,
            "\n{} {}",
            PAINT.bold(&shown(&excerpt.category)),
            shown(&excerpt.place)
        )?;
        for (number, text, is_it) in &excerpt.lines {
            let text: String = shown(text).chars().take(240).collect();
            if *is_it {
                writeln!(out, "{} {number:>7} | {}", PAINT.red(">"), PAINT.bold(&text))?;
            } else {
                let number = PAINT.dim(&format!("{number:>7}"));
                writeln!(out, "  {number} | {}", PAINT.dim(&text))?;
            }
        }
    }
    for cause in run.causes.iter().filter(|cause| !cause.advice.is_empty()) {
        writeln!(out, "\n{} {}: {}", PAINT.bold(&cause.id), cause.title, cause.advice)?;
    }
    list(out, "died", &outcome.crashes.iter().map(crash).collect::<Vec<_>>())?;
    list(out, "notes", &outcome.notes)?;
    if let Some((worker, tests)) = &run.before {
        const SHOWN: usize = 5;
        let title = match tests.len() {
            1 => format!("one test ran before it in {worker}"),
            number if number <= SHOWN => format!("{number} tests ran before it in {worker}"),
            number => format!("{number} tests ran before it in {worker}, the last of them"),
        };
        list(out, &title, &tests[tests.len().saturating_sub(SHOWN)..])?;
    }
    list(out, "stopped for a while", &run.starved)?;
    let files: Vec<String> = run
        .files
        .iter()
        .map(|(name, bytes)| format!("{name} ({})", size(*bytes)))
        .collect();
    list(out, "files", &files)?;
    if let Some(again) = &run.again {
        writeln!(out, "\n{}\n  {again}", PAINT.bold("again"))?;
        if let Some(line) = &run.container_line {
            writeln!(out, "\n{}\n  {line}", PAINT.bold("by hand"))?;
        }
    }
    Ok(())
}

fn list(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    const MOST: usize = 20;
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", PAINT.bold(title))?;
    for line in lines.iter().take(MOST) {
        writeln!(out, "  {}", shown(line))?;
    }
    if lines.len() > MOST {
        writeln!(out, "  and {} more", lines.len() - MOST)?;
    }
    Ok(())
}

fn facts(exit: &Exit) -> String {
    let mut parts = Vec::new();
    if let Some(code) = exit.code {
        parts.push(format!("exit code {code}"));
    }
    if let Some(signal) = exit.signal {
        parts.push(format!("signal {signal}"));
    }
    if exit.oom_killed {
        parts.push("killed by the memory limit".to_owned());
    }
    if exit.is_ended_from_outside() {
        parts.push(format!("ended by {}", exit.ended_by.as_str()));
    }
    if let Some(seconds) = exit.duration_s {
        parts.push(format!("{seconds:.1} s"));
    }
    if let Some(usage) = exit.usage {
        parts.push(format!(
            "{:.1} s of CPU, at most {} MiB",
            usage.user_s + usage.system_s,
            usage.max_rss_bytes.div_ceil(1 << 20)
        ));
    }
    if let Some(started) = exit.started_at {
        parts.push(format!("started {}", started.format("%Y-%m-%d %H:%M:%S UTC")));
    }
    if let Some(conditions) = exit
        .conditions
        .as_ref()
        .map(Limits::words)
        .filter(|words| !words.is_empty())
    {
        parts.push(format!("under {}", conditions.join(", ")));
    }
    if let Some(image) = &exit.image {
        parts.push(format!("image {image}"));
    }
    parts.extend(exit.error.clone());
    parts.join(", ")
}

fn crash(crash: &Crash) -> String {
    let mut text = match crash.kind {
        CrashKind::Session => "the session's own process".to_owned(),
        CrashKind::Worker => "a worker".to_owned(),
        CrashKind::Forked => "the child a test was forked into".to_owned(),
        CrashKind::Memory => "a process, of the memory limit".to_owned(),
    };
    if let Some(worker) = &crash.worker {
        let _ = write!(text, ", {worker}");
    }
    if crash.late {
        text += ", after the closing line";
    }
    if let Some(test) = &crash.test {
        let _ = write!(text, ", in {test}");
    }
    if let Some(frame) = &crash.frame {
        let _ = write!(text, ", at {frame}");
    }
    text
}

fn size(bytes: u64) -> String {
    if bytes < 10_000 {
        format!("{bytes} B")
    } else if bytes < 10_000_000 {
        format!("{} kB", bytes / 1000)
    } else {
        format!("{} MB", bytes / 1_000_000)
    }
}
