//! What a hung session was doing, collected before it is killed: bounded in time, and never able to keep the kill
//! from happening.
//!
//! First what can be seen without touching anything (processes, threads, open files), then native stacks by the
//! debugger of this machine, and last the Python stacks: the signal that asks for them interrupts a system call,
//! and so the hang may be over with it.

use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
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

use crate::run::{AUTOPSY, AttemptDirs, RunDir, STACKS};

/// The Python program that lists processes and asks for stacks, run by the session's own Python beside the session.
const LOOK: &str = include_str!("autopsy/look.py");
/// Signal on which the session's plugin writes stacks; the same number is in the plugin.
const STACKS_SIGNAL: &str = "60";
/// Most that is taken in of what the program prints, and of what the session prints meanwhile.
pub(super) const PRINTED: usize = 4 << 20;
/// Most that is taken in of the stacks that a process wrote by itself.
const WRITTEN: u64 = 256 << 10;
/// Longest time for reading or writing a file of this machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is done with the session after an autopsy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterAutopsy {
    /// The session is ended.
    End,
    /// The session is left running: the autopsy does nothing that could change what the session waits for.
    Keep,
}

impl AfterAutopsy {
    fn word(self) -> &'static str {
        match self {
            AfterAutopsy::End => "end",
            AfterAutopsy::Keep => "keep",
        }
    }
}

/// The files and notes of an autopsy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autopsy {
    /// Files written, relative to the run's directory; the first is the one to read first.
    pub files: Vec<String>,
    /// What was not possible, and why.
    pub notes: Vec<String>,
}

/// How an autopsy reaches the processes of a session.
pub(super) trait Access: Send + Sync {
    /// Starts a Python program where the session's processes are.
    fn python(&self, arguments: Vec<String>) -> BoxFuture<'_, Result<Program, String>>;

    /// The session's processes, by their numbers inside the container and on this machine.
    fn processes(&self) -> BoxFuture<'_, Result<Vec<Seen>, String>>;

    /// Whether no process but the session's can be seen from there, as in a container.
    fn is_its_own(&self) -> bool;
}

/// The running looking program. Dropping the value ends the program.
pub(super) struct Program {
    pub(super) output: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    pub(super) input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Program {
    /// The sections that the program prints until one of that name begins, the program ends, the time is over, or the
    /// output is too much: a test may have replaced the Python that runs the program.
    async fn read(&mut self, name: &str, until: Instant) -> Vec<Section> {
        let mark = format!("@@{name}\n");
        let mut printed = Vec::new();
        while !printed.ends_with(mark.as_bytes())
            && printed.len() < PRINTED
            && let Ok(Some(piece)) = tokio::time::timeout_at(until, self.output.next()).await
        {
            printed.extend_from_slice(&piece);
        }
        sections::read(&printed)
    }
}

/// An autopsy in the making.
pub(super) struct Examination {
    /// The tool's own directory of the attempt, and the session's.
    dirs: AttemptDirs,
    until: Instant,
    autopsy: Autopsy,
    threads: String,
    python: Vec<Section>,
    native: Vec<(i32, String)>,
    /// The process that was asked for its stacks last, and where in the file of stacks its answer begins.
    asked: Option<(u64, String)>,
    /// Whether processes were aborted for their stacks, which they print themselves.
    pub(super) has_aborted: bool,
}

impl Examination {
    pub(super) fn new(dirs: &AttemptDirs, budget: Duration) -> Examination {
        Examination {
            dirs: dirs.clone(),
            until: Instant::now() + budget,
            autopsy: Autopsy::default(),
            threads: String::new(),
            python: Vec::new(),
            native: Vec::new(),
            asked: None,
            has_aborted: false,
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Looks at processes, native stacks, Python stacks and logs, and writes each file as soon as its text is known.
    pub(super) async fn examine(&mut self, access: &dyn Access, after: AfterAutopsy) {
        let budget = self.left();
        let seen = match tokio::time::timeout(budget / 5, access.processes()).await {
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
        let which = if access.is_its_own() {
            "all".to_owned()
        } else {
            let inside: Vec<String> = seen.iter().map(|seen| seen.inside.to_string()).collect();
            inside.join(",")
        };
        let arguments = ["-ISc", LOOK, &which, STACKS_SIGNAL, after.word()]
            .map(str::to_owned)
            .to_vec();
        let mut program = match tokio::time::timeout(budget * 2 / 5, access.python(arguments)).await {
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
            self.take("ready", looked).await;
            self.write_stacks().await;
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
            self.take("end", asked).await;
            self.read_stacks().await;
        }
        let session = Arc::clone(&self.dirs.session);
        if let Some(Ok(text)) = on_disk(move || logs::tails(&session)).await
            && !text.is_empty()
        {
            self.write("logs.txt", &text).await;
        }
        self.write_stacks().await;
    }

    /// Takes in what the program printed, up to a section that shows that it was not cut.
    async fn take(&mut self, last: &str, sections: Vec<Section>) {
        if sections.iter().all(|section| section.name != last) {
            self.note(format!("the look at the processes was not done in time, at `{last}`"));
        }
        for section in sections {
            match section.name.as_str() {
                "processes" => {
                    self.write("processes.txt", &section.text).await;
                    self.threads = section.text;
                }
                "files" => self.write("files.txt", &section.text).await,
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

    /// Reads the stacks of a process whose answer ended the session: the signal cut the wait short that the session hung
    /// in. The looking program ended with the session, so the stacks are read from the process's own file.
    async fn read_stacks(&mut self) {
        let Some((start, process)) = self.asked.take() else {
            return;
        };
        let session = Arc::clone(&self.dirs.session);
        let Some(Ok(text)) = on_disk(move || written(&session, start)).await else {
            return;
        };
        if !text.trim().is_empty() {
            self.autopsy.notes.retain(|note| !note.ends_with("at `end`"));
            self.note("asking for the stacks ended what the session waited for, and it went on".to_owned());
            self.python.push(Section {
                name: "stacks".to_owned(),
                text: format!("{process}\n{text}"),
            });
        }
    }

    pub(super) fn note(&mut self, text: String) {
        if !self.autopsy.notes.contains(&text) {
            self.autopsy.notes.push(text);
        }
    }

    async fn write(&mut self, name: &'static str, text: &str) {
        let (own, text) = (Arc::clone(&self.dirs.own), text.to_owned());
        let write = move || own.ensure_dir(AUTOPSY, 0o755)?.replace(name, text.as_bytes());
        match on_disk(write).await {
            Some(Ok(())) => {
                let file = format!("{AUTOPSY}/{name}");
                if !self.autopsy.files.contains(&file) {
                    self.autopsy.files.push(file);
                }
            }
            Some(Err(error)) => self.note(format!("failed to write `{name}`: {error}")),
            None => self.note(format!("`{name}` could not be written in time")),
        }
    }

    /// Adds what processes printed that were aborted for their stacks.
    pub(super) async fn printed(&mut self, output: &[u8]) {
        let text = String::from_utf8_lossy(output).into_owned();
        if !text.trim().is_empty() {
            self.python.push(Section {
                name: "printed".to_owned(),
                text,
            });
        }
        self.write_stacks().await;
    }

    async fn write_stacks(&mut self) {
        let text = sections::stacks(&self.python, &self.native, &self.threads, &self.autopsy.notes);
        self.write("stacks.txt", &text).await;
    }

    pub(super) fn end(mut self) -> Autopsy {
        self.autopsy.files.sort_by_key(|file| !file.ends_with("/stacks.txt"));
        self.autopsy
    }
}

/// Does something with files on a thread that may wait; `None` if that takes too long.
async fn on_disk<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(act)).await;
    done.ok()?.ok()
}

/// What a process wrote to its file of stacks from an offset on. The session owns the file and may have made it anything
/// of any length.
fn written(session: &RunDir, start: u64) -> io::Result<String> {
    let mut file = session.file(STACKS)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(WRITTEN).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the section that names a process before it is asked.
fn asked(text: &str) -> Option<(u64, String)> {
    let (start, process) = text.trim_end().split_once('\n')?;
    Some((start.parse().ok()?, process.to_owned()))
}
