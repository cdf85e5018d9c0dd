//! What was read of a sweep's runs at an earlier time, kept in the user's cache: ten thousand runs need not be opened again.
//!
//! The list of runs is believed as long as the sweep's directory has not changed, which one look at the directory tells.
//! What is known of a run is believed as long as neither the run's directory nor its judgement has changed. What was
//! changed in the second before it was read is not believed: file systems stamp with a clock of some milliseconds' grain.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cached::{Cached, INDEXES};
use super::layout::OUTCOME;
use super::scan::{self, Reached, Scan, ScannedRun};
use super::{Files, RunDir, StoreError};
use crate::judge::pytest::trail;
use crate::judge::{Exit, Outcome, RunFiles as _};
use crate::spec;

/// A sweep with fewer runs is read as fast without an index.
const LEAST: usize = 100;
/// An index is made again when more than one run in so many was not in it.
const SHARE: usize = 50;

/// Device, inode, links, size, and time of the last change in seconds and nanoseconds.
type Stamp = [i64; 6];

/// The first line of an index.
#[derive(Default, Serialize, Deserialize)]
struct Head {
    tool: String,
    /// Stamp of the sweep's directory, where all of its runs are in the index.
    sweep: Option<Stamp>,
    /// Sets of tests that runs began.
    reached: Vec<BTreeSet<String>>,
}

/// A run, one a line.
#[derive(Serialize, Deserialize)]
struct Known<'a> {
    iteration: u32,
    name: Cow<'a, str>,
    stamps: [Stamp; 2],
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
    let place = cache.zip(fs::canonicalize(dir).ok());
    let Some((cached, name)) = place.and_then(|(cache, real)| Some((Cached::open(cache, &INDEXES)?, name_of(&real))))
    else {
        return scan::scan(dir);
    };
    let sweep = stamp(dir);
    let bytes = cached.bytes(&name).unwrap_or_default();
    let (mut head, known) = parse(&bytes);
    let sets: Vec<Arc<BTreeSet<String>>> = std::mem::take(&mut head.reached).into_iter().map(Arc::new).collect();
    let listed = if sweep.is_some() && head.sweep == sweep {
        let listed = known.iter().map(|run| (run.iteration, dir.join(run.name.as_ref())));
        listed.collect()
    } else {
        scan::list(dir)?
    };
    let mut known: HashMap<u32, Known<'static>> = known.into_iter().map(|run| (run.iteration, run)).collect();
    let listed: Vec<_> = listed
        .into_iter()
        .map(|(iteration, path)| (iteration, path, known.remove(&iteration)))
        .collect();
    let read: Vec<(ScannedRun, Option<[Stamp; 2]>, bool)> = listed
        .into_par_iter()
        .map(|(iteration, path, known)| {
            let stamps = stamps(&path);
            match known.filter(|known| Some(known.stamps) == stamps && path.ends_with(known.name.as_ref())) {
                Some(known) => (known.run(path, &sets), stamps, true),
                None => (read_whole(iteration, path), stamps, false),
            }
        })
        .collect();
    let n_new = read.iter().filter(|(_, _, is_known)| !is_known).count();
    if read.len() >= LEAST && (n_new > read.len() / SHARE || head.sweep.is_none()) {
        cached.write_bytes(&name, &index(&read, sweep, began));
    }
    Ok(scan::with_runs(dir, read.into_iter().map(|(run, _, _)| run).collect()))
}

impl Known<'static> {
    fn run(self, dir: PathBuf, sets: &[Arc<BTreeSet<String>>]) -> ScannedRun {
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
            iteration: self.iteration,
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

/// The lines of an index. A run without a judgement is in none: it is judged from its logs each time.
fn index(read: &[(ScannedRun, Option<[Stamp; 2]>, bool)], sweep: Option<Stamp>, began: i64) -> Vec<u8> {
    let mut sets: Vec<BTreeSet<String>> = Vec::new();
    let mut places: HashMap<Arc<BTreeSet<String>>, usize> = HashMap::new();
    let is_old = |stamp: &Stamp| stamp[4] < began - 1;
    let mut kept = Vec::new();
    for (run, stamps, _) in read {
        let stamps = stamps.filter(|stamps| stamps.iter().all(is_old));
        let name = run.dir.file_name().and_then(|name| name.to_str());
        let (Some(stamps), Some(name), true) = (stamps, name, run.outcome.is_some()) else {
            continue;
        };
        let reached = match &run.reached {
            Reached::Unread => continue,
            Reached::NoTrail => None,
            Reached::Tests(tests) => Some(*places.entry(Arc::clone(tests)).or_insert_with(|| {
                sets.push(BTreeSet::clone(tests));
                sets.len() - 1
            })),
        };
        kept.push(Known {
            iteration: run.iteration,
            name: name.into(),
            stamps,
            exit: run.exit.as_ref().map(Cow::Borrowed),
            is_bare: run.exit.as_ref().is_some_and(|exit| exit.is_bare),
            outcome: run.outcome.as_ref().map(Cow::Borrowed),
            problem: run.problem.as_deref().map(Cow::Borrowed),
            reached,
        });
    }
    let head = Head {
        tool: spec::tool(),
        sweep: sweep.filter(|sweep| is_old(sweep) && kept.len() == read.len()),
        reached: sets,
    };
    let mut lines: Vec<Vec<u8>> = vec![serde_json::to_vec(&head).unwrap_or_default()];
    lines.extend(
        kept.par_iter()
            .map(|run| serde_json::to_vec(run).unwrap_or_default())
            .collect::<Vec<_>>(),
    );
    lines.join(&b'\n')
}

/// Head and runs of an index; nothing of one that another version wrote, or that cannot be read.
fn parse(bytes: &[u8]) -> (Head, Vec<Known<'static>>) {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let head: Option<Head> = serde_json::from_slice(lines.remove(0)).ok();
    let Some(head) = head.filter(|head| head.tool == spec::tool()) else {
        return Default::default();
    };
    let known: Result<Vec<Known<'static>>, _> = lines.par_iter().map(|line| serde_json::from_slice(line)).collect();
    known.map_or_else(|_| Default::default(), |known| (head, known))
}

/// Stamps of a run's directory and of the judgement in it. `None` where one is missing, or the directory is a link.
fn stamps(run: &Path) -> Option<[Stamp; 2]> {
    Some([stamp(run)?, stamp(&run.join(OUTCOME))?])
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.symlink_metadata().ok().filter(|found| !found.is_symlink())?;
    let [device, inode, links, size] = [found.dev(), found.ino(), found.nlink(), found.size()].map(u64::cast_signed);
    Some([device, inode, links, size, found.ctime(), found.ctime_nsec()])
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
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
mod tests {
    use super::*;
    use crate::judge::OutcomeKind;
    use crate::run::{run_name, write_outcome};

    /// A directory of runs that passed, and a cache; the time at which all of it is old.
    fn recorded() -> (tempfile::TempDir, PathBuf, PathBuf, i64) {
        let place = tempfile::tempdir().unwrap();
        let [sweep, cache] = ["serial", "cache"].map(|name| place.path().join(name));
        fs::create_dir(&cache).unwrap();
        for iteration in 1..=120 {
            record(&sweep, iteration, OutcomeKind::Passed);
        }
        let later = now() + 60;
        (place, sweep, cache, later)
    }

    fn record(sweep: &Path, iteration: u32, outcome: OutcomeKind) {
        let dir = sweep.join(run_name(iteration));
        fs::create_dir_all(&dir).unwrap();
        write_outcome(&dir, &Outcome::new(outcome)).unwrap();
    }

    /// Changes the index so that what comes from it is seen.
    fn mark(sweep: &Path, cache: &Path) {
        let cached = Cached::open(cache, &INDEXES).unwrap();
        let name = name_of(&sweep.canonicalize().unwrap());
        let text = String::from_utf8(cached.bytes(&name).unwrap()).unwrap();
        let marked = text.replace("\"problem\":null", "\"problem\":\"kept\"");
        assert_ne!(text, marked);
        cached.write_bytes(&name, marked.as_bytes());
    }

    fn anew(scan: &Scan) -> Vec<u32> {
        let anew = scan.runs.iter().filter(|run| run.problem.is_none());
        anew.map(|run| run.iteration).collect()
    }

    #[test]
    fn an_index_beside_changed_runs_is_not_believed() {
        let (_place, sweep, cache, later) = recorded();
        let scan = || scan_at(later, &sweep, Some(&cache)).unwrap();
        assert_eq!(scan().runs.len(), 120);
        mark(&sweep, &cache);
        assert_eq!(anew(&scan()), Vec::<u32>::new(), "what has not changed is known");
        // Judged again, as `classify --write` does it, and changed where it lies.
        record(&sweep, 7, OutcomeKind::Hung);
        let judgement = sweep.join(run_name(9)).join(OUTCOME);
        let text = fs::read_to_string(&judgement).unwrap().replace("passed", "failed");
        fs::write(&judgement, text).unwrap();
        let seen = scan();
        assert_eq!(anew(&seen), [7, 9]);
        assert_eq!(seen.runs[6].outcome.as_ref().unwrap().outcome, OutcomeKind::Hung);
        assert_eq!(seen.runs[8].outcome.as_ref().unwrap().outcome, OutcomeKind::Failed);
        // Gone, new, and another one in the place of one.
        fs::remove_dir_all(sweep.join(run_name(1))).unwrap();
        record(&sweep, 500, OutcomeKind::Passed);
        fs::rename(sweep.join(run_name(2)), sweep.join("elsewhere")).unwrap();
        record(&sweep, 2, OutcomeKind::Crashed);
        let seen = scan();
        assert_eq!(anew(&seen), [2, 7, 9, 500]);
        assert!(seen.runs.iter().all(|run| run.iteration != 1));
    }

    #[test]
    fn what_changed_just_now_is_read_again() {
        let (_place, sweep, cache, later) = recorded();
        let at = later - 60;
        scan_at(at, &sweep, Some(&cache)).unwrap();
        let seen = scan_at(at, &sweep, Some(&cache)).unwrap();
        assert_eq!((seen.runs.len(), anew(&seen).len()), (120, 120));
    }

    #[test]
    fn an_index_of_other_bytes_is_none() {
        let (_place, sweep, cache, later) = recorded();
        scan_at(later, &sweep, Some(&cache)).unwrap();
        let cached = Cached::open(&cache, &INDEXES).unwrap();
        let name = name_of(&sweep.canonicalize().unwrap());
        let whole = cached.bytes(&name).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"{}\n{}", &[0xff; 10]] {
            cached.write_bytes(&name, bytes);
            assert_eq!(scan_at(later, &sweep, Some(&cache)).unwrap().runs.len(), 120);
        }
    }
}
