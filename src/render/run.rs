//! One run on one screen: what happened, the lines that say so, what ran before, where the files are.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use crate::model::{Crash, CrashKind, Exit, Outcome, Verdict};

/// What there is to show of a run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Its directory or log, as the user would type it.
    pub path: String,
    /// How it ended, where facts are there.
    pub exit: Option<&'a Exit>,
    /// What it came to.
    pub outcome: &'a Outcome,
    /// Title and advice of each of its categories that a signature defines.
    pub causes: Vec<Cause>,
    /// Evidence in context, in the order of the outcome's.
    pub excerpts: Vec<Excerpt>,
    /// Tests that ran before, in the same worker: the worker, and their ids in order.
    pub before: Option<(String, Vec<String>)>,
    /// Files and their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Command that repeats it.
    pub again: Option<String>,
    /// The `docker run` line that does the same without this tool.
    pub by_hand: Option<String>,
}

/// What a category means.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Its id.
    pub id: String,
    /// A few words.
    pub title: String,
    /// What to look at.
    pub advice: String,
}

/// A line of evidence with its neighbors.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// The category.
    pub category: String,
    /// The file, and the line in it where it is one.
    pub place: String,
    /// Number, text, and whether it is the line itself.
    pub lines: Vec<(u64, String, bool)>,
}

/// Writes it as text with color, which a terminal shows and anything else is spared.
#[must_use]
pub fn run(run: &Run<'_>) -> String {
    let mut out = String::new();
    let _ = write_run(&mut out, run);
    out
}

fn write_run(out: &mut String, run: &Run<'_>) -> std::fmt::Result {
    let Run { outcome, .. } = run;
    let word = outcome.outcome.as_str();
    let word = match outcome.verdict {
        Verdict::Passed => word.green().to_string(),
        Verdict::Failed => word.red().to_string(),
        Verdict::Errored => word.yellow().to_string(),
    };
    write!(out, "{}: {}", run.path.bold(), word.bold())?;
    if !outcome.categories.is_empty() {
        write!(out, " {}", outcome.categories.join(" "))?;
    }
    writeln!(out, " ({})", outcome.verdict.as_str())?;
    if let Some(exit) = run.exit {
        writeln!(out, "{}", facts(exit))?;
    }
    if let Some(kept) = run.exit.and_then(|exit| exit.kept.as_ref()) {
        writeln!(
            out,
            "left running until {}; look into it with\n  {}",
            kept.until.format("%Y-%m-%d %H:%M:%S UTC"),
            kept.enter
        )?;
    }
    list(out, "failing tests", &outcome.failing_tests)?;
    for excerpt in &run.excerpts {
        writeln!(out, "\n{} {}", excerpt.category.bold(), excerpt.place)?;
        for (number, text, is_it) in &excerpt.lines {
            let text: String = text.chars().take(240).collect();
            if *is_it {
                writeln!(out, "{} {number:>7} | {}", ">".red(), text.bold())?;
            } else {
                writeln!(out, "  {:>7} | {}", number.dimmed(), text.dimmed())?;
            }
        }
    }
    for cause in run.causes.iter().filter(|cause| !cause.advice.is_empty()) {
        writeln!(out, "\n{} {}: {}", cause.id.bold(), cause.title, cause.advice)?;
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
    let files: Vec<String> = run
        .files
        .iter()
        .map(|(name, bytes)| format!("{name} ({})", size(*bytes)))
        .collect();
    list(out, "files", &files)?;
    if let Some(again) = &run.again {
        writeln!(out, "\n{}\n  {again}", "again".bold())?;
        if let Some(line) = &run.by_hand {
            writeln!(out, "\n{}\n  {line}", "by hand".bold())?;
        }
    }
    Ok(())
}

fn list(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    const MOST: usize = 20;
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", title.bold())?;
    for line in lines.iter().take(MOST) {
        writeln!(out, "  {line}")?;
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
