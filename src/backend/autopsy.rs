//! What a hung session was doing, collected before it is killed: bounded in time, and never able to keep the kill
//! from happening.
//!
//! First what can be seen without touching anything (processes, threads, open files), then native stacks by the
//! debugger of this machine, and last the Python stacks: the signal that asks for them interrupts a system call,
//! and so the hang may be over with it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

mod logs;
pub(super) mod native;
mod sections;

use native::Seen;
use sections::Section;

/// The program that looks, run by the session's own Python in the place where it runs.
const LOOK: &str = include_str!("autopsy/look.py");
/// Signal on which the session's plugin writes stacks; the same number is in the plugin.
const STACKS_SIGNAL: &str = "60";
/// Directory below the run's that everything goes into.
const DIR: &str = "autopsy";
/// Where the session's plugin has processes write their stacks, below the run's directory.
const STACKS: &str = ".stacks";

/// What is done with the session after an autopsy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is ended.
    End,
    /// It stays as it is: nothing is done that could change what it waits for.
    Keep,
}

impl Then {
    fn word(self) -> &'static str {
        match self {
            Then::End => "end",
            Then::Keep => "keep",
        }
    }
}

/// What an autopsy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autopsy {
    /// Files written, relative to the run's directory, the one to read first first.
    pub files: Vec<String>,
    /// What was not possible, and why.
    pub notes: Vec<String>,
}

/// How a backend gets at the processes of a session.
pub(super) trait Bedside: Send + Sync {
    /// Starts a Python program where the session's processes are.
    fn python(&self, arguments: Vec<String>) -> BoxFuture<'_, Result<Program, String>>;

    /// The processes as that place and as this machine number them; in that place all of them are meant if `None`.
    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>>;

    /// Whether the place holds nothing but the session, so that all its processes are meant.
    fn is_its_own(&self) -> bool;
}

/// A program that looks. Dropping it ends it.
pub(super) struct Program {
    /// What it prints.
    pub(super) output: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    /// What it reads.
    pub(super) input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Program {
    /// What it prints until a section of that name begins, it ends, or the time is over.
    async fn read(&mut self, name: &str, until: Instant) -> Vec<Section> {
        let mark = format!("@@{name}\n");
        let mut printed = Vec::new();
        while !printed.ends_with(mark.as_bytes())
            && let Ok(Some(piece)) = tokio::time::timeout_at(until, self.output.next()).await
        {
            printed.extend_from_slice(&piece);
        }
        sections::read(&printed)
    }
}

/// An autopsy in the making.
pub(super) struct Examination {
    dir: PathBuf,
    run_dir: PathBuf,
    until: Instant,
    autopsy: Autopsy,
    threads: String,
    python: Vec<Section>,
    native: Vec<(i32, String)>,
    /// Where in the file the stacks of the process begin that was asked last, and which process that is.
    asked: Option<(u64, String)>,
    /// Whether processes were aborted for their stacks, which they print themselves.
    pub(super) has_aborted: bool,
}

impl Examination {
    /// Starts one, for the run whose directory this is.
    pub(super) fn new(run_dir: &Path, budget: Duration) -> Examination {
        Examination {
            dir: run_dir.join(DIR),
            run_dir: run_dir.to_owned(),
            until: Instant::now() + budget,
            autopsy: Autopsy::default(),
            threads: String::new(),
            python: Vec::new(),
            native: Vec::new(),
            asked: None,
            has_aborted: false,
        }
    }

    /// Time left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Looks at everything, and writes down each thing as soon as it is known.
    pub(super) async fn examine(&mut self, bedside: &dyn Bedside, then: Then) {
        if let Err(error) = std::fs::create_dir_all(&self.dir) {
            self.note(format!("failed to create `{}`: {error}", self.dir.display()));
            return;
        }
        let budget = self.left();
        let seen = match tokio::time::timeout(budget / 5, bedside.processes()).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(cause)) => {
                self.note(cause);
                Vec::new()
            }
            Err(_) => {
                self.note("the processes could not be listed in time".to_owned());
                Vec::new()
            }
        };
        let which = if bedside.is_its_own() {
            "all".to_owned()
        } else {
            let inside: Vec<String> = seen.iter().map(|seen| seen.inside.to_string()).collect();
            inside.join(",")
        };
        let arguments = ["-ISc", LOOK, &which, STACKS_SIGNAL, then.word()]
            .map(str::to_owned)
            .to_vec();
        let mut program = match tokio::time::timeout(budget * 2 / 5, bedside.python(arguments)).await {
            Ok(Ok(program)) => Some(program),
            Ok(Err(cause)) => {
                self.note(cause);
                None
            }
            Err(_) => {
                self.note("no program could be started in time to look at the processes".to_owned());
                None
            }
        };
        if let Some(program) = &mut program {
            let looked = program.read("ready", self.until - budget / 2).await;
            self.take("ready", looked);
            self.write_stacks();
        }
        // The rest of the time belongs to the Python stacks, which say most.
        match native::stacks(&seen, self.until - budget * 3 / 10).await {
            Ok(stacks) => self.native = stacks,
            Err(cause) => self.note(format!("no native stacks: {cause}")),
        }
        if let Some(mut program) = program {
            let _ = tokio::time::timeout_at(self.until, async {
                program.input.write_all(b"go\n").await?;
                program.input.flush().await
            })
            .await;
            let asked = program.read("end", self.until).await;
            self.take("end", asked);
            self.read_stacks();
        }
        if let Some(text) = logs::tails(&self.run_dir, DIR) {
            self.write("logs.txt", &text);
        }
        self.write_stacks();
    }

    /// Takes in what the program printed, up to a section that shows that it was not cut.
    fn take(&mut self, last: &str, sections: Vec<Section>) {
        if sections.iter().all(|section| section.name != last) {
            self.note(format!("the look at the processes was not done in time, at `{last}`"));
        }
        for section in sections {
            match section.name.as_str() {
                "processes" => {
                    self.write("processes.txt", &section.text);
                    self.threads = section.text;
                }
                "files" => self.write("files.txt", &section.text),
                "stacks" => {
                    self.asked = None;
                    self.python.push(section);
                }
                "asked" => self.asked = asked(&section.text),
                "note" => self.note(section.text.trim().to_owned()),
                "aborted" => self.has_aborted = true,
                _ => {}
            }
        }
    }

    /// The stacks of a process that was asked for them and ended the session with its answer, as one does whose hang
    /// was a wait that the signal cut short; the looking program ended with it.
    fn read_stacks(&mut self) {
        let Some((start, process)) = self.asked.take() else {
            return;
        };
        let path = self.run_dir.join(STACKS);
        let written = std::fs::read(path).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(written.len());
        let text = String::from_utf8_lossy(&written[start..]).into_owned();
        if !text.trim().is_empty() {
            self.autopsy.notes.retain(|note| !note.ends_with("at `end`"));
            self.note("asking for the stacks ended what the session waited for, and it went on".to_owned());
            self.python.push(Section {
                name: "stacks".to_owned(),
                text: format!("{process}\n{text}"),
            });
        }
    }

    /// Says what was not possible.
    pub(super) fn note(&mut self, text: String) {
        if !self.autopsy.notes.contains(&text) {
            self.autopsy.notes.push(text);
        }
    }

    fn write(&mut self, name: &str, text: &str) {
        match std::fs::write(self.dir.join(name), text) {
            Ok(()) => {
                let file = format!("{DIR}/{name}");
                if !self.autopsy.files.contains(&file) {
                    self.autopsy.files.push(file);
                }
            }
            Err(error) => self.note(format!("failed to write `{name}`: {error}")),
        }
    }

    /// Adds what processes printed that were aborted for their stacks.
    pub(super) fn printed(&mut self, output: &[u8]) {
        let text = String::from_utf8_lossy(output).into_owned();
        if !text.trim().is_empty() {
            self.python.push(Section {
                name: "printed".to_owned(),
                text,
            });
        }
        self.write_stacks();
    }

    fn write_stacks(&mut self) {
        let text = sections::stacks(&self.python, &self.native, &self.threads, &self.autopsy.notes);
        self.write("stacks.txt", &text);
    }

    /// What came of it.
    pub(super) fn end(mut self) -> Autopsy {
        self.autopsy.files.sort_by_key(|file| !file.ends_with("/stacks.txt"));
        self.autopsy
    }
}

/// Reads the section that names a process before it is asked.
fn asked(text: &str) -> Option<(u64, String)> {
    let (start, process) = text.trim_end().split_once('\n')?;
    Some((start.parse().ok()?, process.to_owned()))
}
