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
fn a_look_sees_what_has_changed_since_the_last_one_and_since_the_index_was_made() {
    let (_place, sweep, cache, later) = recorded();
    let counts = |runs: &[Brief]| {
        let hung = runs.iter().filter(|run| run.outcome == Some(OutcomeKind::Hung)).count();
        (runs.len(), hung)
    };
    let change = |hung: u32, gone: u32, new: u32| {
        record(&sweep, hung, OutcomeKind::Hung);
        fs::remove_dir_all(sweep.join(run_name(gone))).unwrap();
        record(&sweep, new, OutcomeKind::Passed);
    };
    scan_at(later, &sweep, Some(&cache)).unwrap();
    change(7, 8, 500);
    let first = look(&sweep, Vec::new(), Some(&cache)).unwrap();
    assert_eq!(counts(&first), (120, 1));
    change(9, 10, 501);
    let judgement = sweep.join(run_name(11)).join(OUTCOME);
    let text = fs::read_to_string(&judgement)
        .unwrap()
        .replace("\"outcome\": \"passed\"", "\"outcome\": \"hung\"");
    fs::write(&judgement, text).unwrap();
    assert_eq!(counts(&look(&sweep, first, Some(&cache)).unwrap()), (120, 3));
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
    for name in [name.clone(), format!("{name}{BRIEFS}")] {
        let whole = cached.bytes(&name).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"{}\n{}", &[0xff; 10]] {
            cached.write_bytes(&name, bytes);
            assert_eq!(scan_at(later, &sweep, Some(&cache)).unwrap().runs.len(), 120);
            assert_eq!(look(&sweep, Vec::new(), Some(&cache)).unwrap().len(), 120);
        }
    }
}
