//! Per-test logs: what they say of tests that the console gives no reason for, and where a hang stands.
//!
//! A directory's logs are read when something is asked of them, and once.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::facts::Facts;
use super::finding::{Finding, Place, Strength};
use super::pytest::lines::Lines;
use super::{RunFiles, Scope, SignatureSet};

/// Logs of services that run beside a test grow to megabytes and are not its own words.
const SERVICES: [&str; 4] = ["nats", "etcd", "prometheus", "docker"];
/// Levels of lines that tell what goes on, and may quote what they wait for.
const TALK: [&str; 5] = [" DEBUG ", " INFO ", " TRACE ", "DEBUG:", "INFO:"];

/// A signature's match in one log.
#[derive(Clone, Debug)]
pub(super) struct LogHit {
    /// The test's directory.
    pub(super) directory: String,
    pub(super) signature: usize,
    pub(super) place: Place,
}

impl LogHit {
    pub(super) fn finding(self, facts: &Facts<'_>, strength: Strength) -> Finding {
        facts.matched(strength, self.signature, self.place)
    }
}

/// What the logs of one directory say.
#[derive(Default)]
struct Said {
    /// Matches of the scope `test-log`.
    hits: Vec<LogHit>,
    /// Last lines that a signature knows as the place of a hang.
    standing: Vec<LogHit>,
}

/// The logs that the tests of a run wrote.
pub(super) struct TestLogs<'a> {
    run: &'a dyn RunFiles,
    signatures: &'a SignatureSet,
    /// Paths by directory, the first part of each path.
    directories: OnceCell<BTreeMap<String, Vec<String>>>,
    said: RefCell<BTreeMap<String, Rc<Said>>>,
    /// Whether xdist runs the session: signatures may hold in one mode only.
    is_xdist: bool,
    /// The first error of a reader; the judgement is not given then.
    error: Cell<Option<io::Error>>,
}

impl<'a> TestLogs<'a> {
    pub(super) fn new(run: &'a dyn RunFiles, signatures: &'a SignatureSet, is_xdist: bool) -> TestLogs<'a> {
        TestLogs {
            run,
            signatures,
            directories: OnceCell::new(),
            said: RefCell::default(),
            is_xdist,
            error: Cell::new(None),
        }
    }

    /// What went wrong in reading, once.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.error.take()
    }

    /// Matches in the logs of one test.
    pub(super) fn of(&self, name: &str) -> Vec<LogHit> {
        if !self.signatures.has(Scope::TestLog) {
            return Vec::new();
        }
        self.said(name).hits.clone()
    }

    /// Matches in all logs.
    pub(super) fn all(&self) -> Vec<LogHit> {
        if !self.signatures.has(Scope::TestLog) {
            return Vec::new();
        }
        let names = self.directories().keys();
        names.flat_map(|name| self.said(name).hits.clone()).collect()
    }

    /// Logs that end where a signature knows tests to hang.
    pub(super) fn standing(&self) -> Vec<LogHit> {
        if !self.signatures.iter().any(|signature| !signature.last.is_empty()) {
            return Vec::new();
        }
        let names = self.directories().keys();
        names.flat_map(|name| self.said(name).standing.clone()).collect()
    }

    fn directories(&self) -> &BTreeMap<String, Vec<String>> {
        self.directories.get_or_init(|| {
            let mut directories: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let paths = self.run.test_logs().unwrap_or_else(|error| {
                self.error.set(Some(error));
                Vec::new()
            });
            for path in paths {
                let file = path.rsplit('/').next().unwrap_or(&path);
                if SERVICES.iter().any(|service| file.starts_with(service)) {
                    continue;
                }
                let directory = path.split_once('/').map_or("", |(directory, _)| directory).to_owned();
                directories.entry(directory).or_default().push(path);
            }
            directories
        })
    }

    fn said(&self, name: &str) -> Rc<Said> {
        if let Some(said) = self.said.borrow().get(name) {
            return Rc::clone(said);
        }
        let mut said = Said::default();
        for path in self.directories().get(name).into_iter().flatten() {
            if let Err(error) = self.read(name, path, &mut said) {
                self.error.set(Some(error));
            }
        }
        let said = Rc::new(said);
        self.said.borrow_mut().insert(name.to_owned(), Rc::clone(&said));
        said
    }

    fn read(&self, directory: &str, path: &str, said: &mut Said) -> io::Result<()> {
        let hit = |signature, line, text: &str| LogHit {
            directory: directory.to_owned(),
            signature,
            place: Place {
                file: Some(path.to_owned()),
                ..Place::at(Some(line), text)
            },
        };
        let mut seen: Vec<usize> = Vec::new();
        let mut last = (0, String::new());
        let mut lines = Lines::new(self.run.open(path)?);
        while let Some(line) = lines.next_line()? {
            if line.text.trim().is_empty() {
                continue;
            }
            last.0 = line.number;
            last.1.clear();
            last.1.push_str(line.text);
            for found in self.signatures.find(Scope::TestLog, self.is_xdist, line.text) {
                let is_talk = TALK.iter().any(|level| line.text.contains(level));
                if !is_talk && !seen.contains(&found.signature) {
                    seen.push(found.signature);
                    said.hits.push(hit(found.signature, line.number, line.text));
                }
            }
        }
        let standing = self.signatures.find_last(&last.1);
        said.standing
            .extend(standing.into_iter().map(|signature| hit(signature, last.0, &last.1)));
        Ok(())
    }
}
