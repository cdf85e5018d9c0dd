//! What was read of a sweep's runs at an earlier time, kept in the user's cache: ten thousand runs need not be opened again.
//!
//! What is known of a run is believed as long as its judgement has not changed, which one look at `outcome.json` tells:
//! its facts and its trail are written once. What was changed in the second before it was read is not believed: file
//! systems stamp with a clock of some milliseconds' grain. Two documents are kept, each with a line for every run: the
//! briefs, which are enough to say how a sweep stands, and all that was read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Stat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cached::{Cached, INDEXES};
use super::layout::OUTCOME;
use super::scan::{self, Reached, Scan, ScannedRun};
use super::{Files, RunDir, StoreError};
use crate::judge::pytest::trail;
use crate::judge::{Exit, Outcome, OutcomeKind, RunFiles as _};
use crate::spec;

/// A sweep with fewer runs is read as fast without an index.
const LEAST: usize = 100;
/// An index is made again when more than one run in so many was not in it.
const SHARE: usize = 50;

/// What the name of a document of briefs ends in.
const BRIEFS: &str = ".briefs";

/// Device, inode, size, and time of the last change in seconds and nanoseconds.
type Stamp = [i64; 5];

/// How one run stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Brief {
    pub iteration: u32,
    name: String,
    /// `None` where what was read is not to be believed again.
    stamp: Option<Stamp>,
    /// `None` for a run without a judgement.
    pub outcome: Option<OutcomeKind>,
    pub categories: Vec<String>,
    pub duration_s: Option<f64>,
}

/// Everything that was read of one run.
#[derive(Serialize, Deserialize)]
struct Whole<'a> {
    exit: Option<Cow<'a, Exit>>,
    /// Whether the facts are a code alone.
    is_bare: bool,
    outcome: Option<Cow<'a, Outcome>>,
    problem: Option<Cow<'a, str>>,
    /// The place of the tests in the index's sets; `None` without a trail.
    reached: Option<usize>,
}

/// Reads a sweep as [`super::scan()`] does, where `cache` is the user's with the help of what was read before.
///
/// # Errors
/// Only where the directory itself cannot be read.
pub fn scan_known(dir: &Path, cache: Option<&Path>) -> Result<Scan, StoreError> {
    scan_at(now(), dir, cache)
}

/// The same, at a time in seconds since 1970.
fn scan_at(began: i64, dir: &Path, cache: Option<&Path>) -> Result<Scan, StoreError> {
    let Some(index) = Index::of(dir, cache) else {
        return scan::scan(dir);
    };
    let bytes = index.wholes();
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let sets: Vec<BTreeSet<String>> = lines.get(1).and_then(|line| parsed(line)).unwrap_or_default();
    let sets: Vec<Arc<BTreeSet<String>>> = sets.into_iter().map(Arc::new).collect();
    let read: Vec<(ScannedRun, Option<Stamp>, bool)> = find(dir, &index.briefs)?
        .into_par_iter()
        .map(|found| {
            let whole = found.known.and_then(|at| parsed::<Whole<'_>>(lines.get(at + 2)?));
            match whole {
                Some(whole) => (whole.run(found.iteration, found.path, &sets), found.stamp, true),
                None => (read_whole(found.iteration, found.path), found.stamp, false),
            }
        })
        .collect();
    let n_new = read.iter().filter(|(_, _, is_known)| !is_known).count();
    if is_worth_keeping(n_new, read.len()) {
        index.keep(&read, began);
    }
    Ok(scan::with_runs(dir, read.into_iter().map(|(run, _, _)| run).collect()))
}

fn is_worth_keeping(n_new: usize, n_runs: usize) -> bool {
    n_runs >= LEAST && n_new > n_runs / SHARE
}

/// Looks how each run of a sweep stands, in the order of their numbers. `known` is what an earlier look saw; for the first
/// look, what is kept in the user's cache stands in its place.
///
/// # Errors
/// Only where the directory itself cannot be read.
pub fn look(dir: &Path, mut known: Vec<Brief>, cache: Option<&Path>) -> Result<Vec<Brief>, StoreError> {
    let began = now();
    let is_first = known.is_empty();
    if is_first {
        known = Index::of(dir, cache).map_or(known, |index| index.briefs);
    }
    let mut found = find(dir, &known)?;
    let n_new = found.iter().filter(|found| found.known.is_none()).count();
    if is_first && is_worth_keeping(n_new, found.len()) {
        // Keeps what it reads.
        scan_known(dir, cache)?;
        known = Index::of(dir, cache).map_or(known, |index| index.briefs);
        found = find(dir, &known)?;
    }
    let brief = |found: Found| match found.known {
        Some(at) => known[at].clone(),
        None => Brief::of(&scan::read_run(found.iteration, found.path), found.stamp, began),
    };
    Ok(found.into_par_iter().map(brief).collect())
}

/// A run on disk, and what is known of it.
struct Found {
    iteration: u32,
    path: PathBuf,
    /// Before the run is read.
    stamp: Option<Stamp>,
    /// Its place among what is known, if it has not changed.
    known: Option<usize>,
}

/// The runs of a sweep, each looked at once.
fn find(dir: &Path, known: &[Brief]) -> Result<Vec<Found>, StoreError> {
    let sweep = RunDir::open(dir).ok();
    let found = |(iteration, path): (u32, PathBuf)| {
        let name = path.file_name()?.to_str()?;
        let stamp = sweep.as_ref().and_then(|sweep| stamp(sweep, name));
        let at = known.binary_search_by_key(&iteration, |brief| brief.iteration);
        let is_known = |at: &usize| stamp.is_some() && known[*at].stamp == stamp && known[*at].name == name;
        let at = at.ok().filter(is_known);
        let run = Found {
            iteration,
            stamp,
            known: at,
            path,
        };
        (at.is_some() || scan::is_run(&run.path)).then_some((iteration, run))
    };
    let found: Vec<(u32, Found)> = scan::named(dir)?.into_par_iter().filter_map(found).collect();
    Ok(BTreeMap::from_iter(found).into_values().collect())
}

impl Brief {
    /// `began`: when the run was looked at, in seconds since 1970.
    fn of(run: &ScannedRun, stamp: Option<Stamp>, began: i64) -> Brief {
        let outcome = run.outcome.as_ref();
        Brief {
            iteration: run.iteration,
            name: run.dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            stamp: stamp.filter(|[.., changed, _]| *changed < began - 1),
            outcome: outcome.map(|outcome| outcome.outcome),
            categories: outcome.map(|outcome| outcome.categories.clone()).unwrap_or_default(),
            duration_s: run.exit.as_ref().and_then(|exit| exit.duration_s),
        }
    }

    /// A line of an index.
    fn line(&self) -> Vec<u8> {
        let Brief {
            iteration,
            name,
            stamp,
            outcome,
            categories,
            duration_s,
        } = self;
        json(&(iteration, name, stamp, outcome, categories, duration_s))
    }

    /// The run's directory.
    pub fn dir(&self, sweep: &Path) -> PathBuf {
        sweep.join(&self.name)
    }
}

impl Whole<'_> {
    fn run(self, iteration: u32, dir: PathBuf, sets: &[Arc<BTreeSet<String>>]) -> ScannedRun {
        let reached = match self.reached {
            None => Reached::NoTrail,
            Some(place) => sets
                .get(place)
                .map_or(Reached::Unread, |tests| Reached::Tests(Arc::clone(tests))),
        };
        let exit = self.exit.map(|exit| Exit {
            is_bare: self.is_bare,
            ..exit.into_owned()
        });
        ScannedRun {
            iteration,
            dir,
            exit,
            outcome: self.outcome.map(Cow::into_owned),
            problem: self.problem.map(Cow::into_owned),
            reached,
        }
    }
}

/// Reads a run with the tests that it began.
fn read_whole(iteration: u32, dir: PathBuf) -> ScannedRun {
    let run = scan::read_run(iteration, dir);
    let began = RunDir::open(&run.dir).ok().and_then(|dir| {
        let files = Files::of(Arc::new(dir));
        let trail = files.trail().ok()?;
        Some(trail.map(trail::started).transpose().ok()?.flatten())
    });
    let reached = match began {
        None => Reached::Unread,
        Some(None) => Reached::NoTrail,
        Some(Some(tests)) => Reached::Tests(Arc::new(tests)),
    };
    ScannedRun { reached, ..run }
}

/// The two documents of one sweep.
struct Index {
    cached: Cached,
    /// Name of the document of all that was read; the name of the briefs has an ending besides.
    name: String,
    /// Their first line, the same in both and in no others.
    head: Vec<u8>,
    briefs: Vec<Brief>,
}

impl Index {
    /// What is kept of a sweep: nothing of a document that another version wrote, or that cannot be read.
    fn of(dir: &Path, cache: Option<&Path>) -> Option<Index> {
        let cached = Cached::open(cache?, &INDEXES)?;
        let name = name_of(&fs::canonicalize(dir).ok()?);
        let bytes = cached.bytes(&format!("{name}{BRIEFS}")).unwrap_or_default();
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let head = lines.remove(0).to_vec();
        let is_ours = parsed::<(String, String, u32)>(&head).is_some_and(|(tool, ..)| tool == spec::tool());
        let briefs: Option<Vec<Brief>> = lines.par_iter().map(|line| parsed(line)).collect();
        Some(Index {
            cached,
            name,
            head,
            briefs: briefs.filter(|_| is_ours).unwrap_or_default(),
        })
    }

    /// What was read: after the first line and one of the sets of tests, a line for each brief.
    fn wholes(&self) -> Vec<u8> {
        let bytes = if self.briefs.is_empty() {
            None
        } else {
            self.cached.bytes(&self.name)
        };
        let is_of_these = |bytes: &Vec<u8>| bytes.split(|byte| *byte == b'\n').next() == Some(&self.head);
        bytes.filter(is_of_these).unwrap_or_default()
    }

    /// Keeps what was read. A run without a judgement is not kept: it is judged from its logs each time.
    fn keep(&self, read: &[(ScannedRun, Option<Stamp>, bool)], began: i64) {
        let mut sets: Vec<&BTreeSet<String>> = Vec::new();
        let mut places: HashMap<&BTreeSet<String>, usize> = HashMap::new();
        let mut kept: Vec<(Brief, Whole<'_>)> = Vec::new();
        for (run, stamp, _) in read {
            let brief = Brief::of(run, *stamp, began);
            if brief.stamp.is_none() || brief.outcome.is_none() || run.reached == Reached::Unread {
                continue;
            }
            let reached = match &run.reached {
                Reached::Unread | Reached::NoTrail => None,
                Reached::Tests(tests) => Some(*places.entry(tests).or_insert_with(|| {
                    sets.push(tests);
                    sets.len() - 1
                })),
            };
            let whole = Whole {
                exit: run.exit.as_ref().map(Cow::Borrowed),
                is_bare: run.exit.as_ref().is_some_and(|exit| exit.is_bare),
                outcome: run.outcome.as_ref().map(Cow::Borrowed),
                problem: run.problem.as_deref().map(Cow::Borrowed),
                reached,
            };
            kept.push((brief, whole));
        }
        let head = json(&(spec::tool(), since_1970().as_nanos().to_string(), std::process::id()));
        let (briefs, wholes): (Vec<Vec<u8>>, Vec<Vec<u8>>) = kept
            .par_iter()
            .map(|(brief, whole)| (brief.line(), json(whole)))
            .unzip();
        let document = |lines: Vec<Vec<u8>>| lines.join(&b'\n');
        let wholes = [vec![head.clone(), json(&sets)], wholes].concat();
        self.cached.write_bytes(&self.name, &document(wholes));
        let briefs = [vec![head], briefs].concat();
        self.cached
            .write_bytes(&format!("{}{BRIEFS}", self.name), &document(briefs));
    }
}

fn parsed<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The stamp of a run's judgement, or else of its directory; `None` where neither is there.
fn stamp(sweep: &RunDir, run: &str) -> Option<Stamp> {
    let stat = |name: &str| rustix::fs::statat(sweep, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let is_file = |found: &Stat| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let found = stat(&format!("{run}/{OUTCOME}"))
        .filter(is_file)
        .or_else(|| stat(run))?;
    let [device, inode] = [found.st_dev, found.st_ino].map(u64::cast_signed);
    let nanoseconds = i64::try_from(found.st_ctime_nsec).unwrap_or_default();
    Some([device, inode, found.st_size, found.st_ctime, nanoseconds])
}

fn now() -> i64 {
    since_1970().as_secs().cast_signed()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The name of the index of a sweep's directory.
fn name_of(dir: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let digest = Sha256::digest(dir.as_os_str().as_bytes());
    digest.iter().fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
mod tests;
