//! What a hung session was doing, collected before it is killed: bounded in time, and never able to keep the kill
//! from happening.
//!
//! First what can be seen without touching anything (processes, threads, open files), then native stacks by the
//! debugger of this machine, and last the Python stacks: the signal that asks for them interrupts a system call,
//! and so the hang may be over with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
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
    /// Runs a Python program where the session's processes are, and returns what it has printed when it ends or
    /// when the time is over.
    fn python<'a>(&'a self, arguments: Vec<String>, patience: Duration) -> BoxFuture<'a, Result<Vec<u8>, String>>;

    /// The processes as that place and as this machine number them; in that place all of them are meant if `None`.
    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>>;

    /// Whether the place holds nothing but the session, so that all its processes are meant.
    fn is_its_own(&self) -> bool;
}

/// An autopsy in the making.
pub(super) struct Examination {
    dir: PathBuf,
    run_dir: PathBuf,
    until: Instant,
    autopsy: Autopsy,
    python: Vec<Section>,
    native: Vec<(i32, String)>,
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
            python: Vec::new(),
            native: Vec::new(),
            has_aborted: false,
        }
    }

    /// Time left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Looks at everything, and writes down each thing as soon as it is known.
    pub(super) async fn examine(&mut self, bedside: &dyn Bedside) {
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
        let looked = self.ask(bedside, &["look", &which], budget * 2 / 5).await;
        for section in looked {
            match section.name.as_str() {
                "processes" | "files" => self.write(&format!("{}.txt", section.name), &section.text),
                _ => {}
            }
        }
        self.write_stacks();
        // The rest of the time belongs to the Python stacks, which say most.
        let native_until = self.until - budget * 3 / 10;
        match native::stacks(&seen, native_until).await {
            Ok(stacks) => self.native = stacks,
            Err(cause) => self.note(format!("no native stacks: {cause}")),
        }
        let left = self.left();
        for section in self.ask(bedside, &["stacks", &which, STACKS_SIGNAL], left).await {
            match section.name.as_str() {
                "stacks" => self.python.push(section),
                "note" => self.note(section.text.trim().to_owned()),
                "aborted" => self.has_aborted = true,
                _ => {}
            }
        }
        if let Some(text) = logs::tails(&self.run_dir, DIR) {
            self.write("logs.txt", &text);
        }
        self.write_stacks();
    }

    async fn ask(&mut self, bedside: &dyn Bedside, words: &[&str], patience: Duration) -> Vec<Section> {
        let arguments = ["-ISc", LOOK]
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        let Ok(answer) = tokio::time::timeout(patience, bedside.python(arguments, patience)).await else {
            self.note(format!("`{}` found no answer in time", words[0]));
            return Vec::new();
        };
        match answer {
            Ok(output) => {
                let sections = sections::read(&output);
                if sections.last().is_none_or(|section| section.name != "end") {
                    self.note(format!("`{}` could not be completed in time", words[0]));
                }
                sections
            }
            Err(cause) => {
                self.note(cause);
                Vec::new()
            }
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
        let text = sections::stacks(&self.python, &self.native, &self.autopsy.notes);
        self.write("stacks.txt", &text);
    }

    /// What came of it.
    pub(super) fn end(mut self) -> Autopsy {
        self.autopsy.files.sort_by_key(|file| !file.ends_with("/stacks.txt"));
        self.autopsy
    }
}
