//! A hundred thousand iterations in one directory, and a thousand nodes that publish into it.
//!
//! `cargo bench --bench scale [-- ITERATIONS]`. The first part publishes through the store with 1, 8 and 64 writers at
//! once and says how many iterations a second the directory takes, and what share of that a thousand nodes ask for that
//! finish an iteration every five minutes each (3.3 a second). The second part fills a directory with recorded
//! iterations, 100,000 unless told otherwise, and times what looks at all of them. Sizes are those on this disk; a
//! shared one answers each call more slowly, so calls are what to count: one directory listing, and three to four small
//! files an iteration.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use chrono::{DateTime, TimeDelta};
use reproduce_flaky::judge::{Exit, Outcome, OutcomeKind};
use reproduce_flaky::run::{self, Claimed, Sweep};
use reproduce_flaky::spec::{BackendKind, Spec};

const TOOL: &str = env!("CARGO_BIN_EXE_reproduce-flaky");
/// Iterations published with each number of writers.
const PUBLISHED: u32 = 960;
/// What a thousand nodes publish a second when an iteration takes five minutes.
const ASKED_FOR: f64 = 1000.0 / 300.0;

fn main() {
    let iterations: u32 = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    println!("publishing, {PUBLISHED} iterations each:");
    for writers in [1, 8, 64] {
        publish(&dir.path().join(format!("w{writers}")), writers);
    }
    let logs = dir.path().join("logs");
    fill(&logs, iterations);
    println!("{iterations} recorded iterations:");
    let sweep = logs.join("serial");
    println!(
        "  {} MB on disk, of which the directory itself {:.1} MB",
        size_mb(&sweep),
        { fs::metadata(&sweep).unwrap().len() as f64 / 1e6 }
    );
    time("the numbers that a resume looks for", || {
        assert_eq!(run::recorded(&sweep).unwrap().len(), iterations as usize);
    });
    time("facts and judgements of all", || {
        assert_eq!(run::scan(&sweep).unwrap().runs.len(), iterations as usize);
    });
    let logs = logs.to_str().unwrap();
    for words in [["status", "--logs-dir", logs], ["summary", "--logs-dir", logs]] {
        time(words[0], || {
            let run = Command::new(TOOL).args(words).stdout(Stdio::null()).status();
            assert!(run.unwrap().success());
        });
    }
}

/// Publishes iterations with several writers at once, each with its own view of the directory, as processes have.
fn publish(logs: &Path, writers: u32) {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || {
                let sweep = Sweep::open(logs, &spec(PUBLISHED)).unwrap();
                for iteration in (1..=PUBLISHED).filter(|iteration| iteration % writers == writer) {
                    let Claimed::Ours(claim) = sweep.claim(iteration).unwrap() else {
                        panic!("iteration {iteration} is nobody else's");
                    };
                    let mut attempt = sweep.new_attempt(&claim).unwrap();
                    attempt.write_log(b"1 passed in 0.01s\n").unwrap();
                    let (exit, outcome) = passed(iteration);
                    sweep.publish(claim, attempt, &exit, &outcome).unwrap();
                }
            });
        }
    });
    let rate = f64::from(PUBLISHED) / began.elapsed().as_secs_f64();
    println!(
        "  {writers:>2} at once: {rate:.0} a second; a thousand nodes ask for {:.1} % of that",
        ASKED_FOR / rate * 100.0
    );
}

/// Writes recorded iterations as they stand on disk, without what makes publishing safe and slow.
fn fill(logs: &Path, iterations: u32) {
    let sweep = Sweep::open(logs, &spec(iterations)).unwrap();
    for iteration in 1..=iterations {
        let run = sweep.dir().join(run::run_name(iteration));
        let (exit, outcome) = passed(iteration);
        let document = |value: &serde_json::Value| serde_json::to_vec(value).unwrap();
        let files: [(&str, Vec<u8>); 4] = [
            ("run.log", b"1 passed in 0.01s\n".to_vec()),
            (".exit_code", b"0\n".to_vec()),
            ("exit.json", document(&serde_json::to_value(exit).unwrap())),
            ("outcome.json", document(&serde_json::to_value(outcome).unwrap())),
        ];
        fs::create_dir(&run).unwrap();
        for (name, bytes) in files {
            fs::write(run.join(name), bytes).unwrap();
        }
    }
}

fn time(what: &str, work: impl Fn()) {
    work();
    let began = Instant::now();
    work();
    println!("  {what}: {:.2} s", began.elapsed().as_secs_f64());
}

/// Space that a tree takes, in whole megabytes.
fn size_mb(tree: &Path) -> u64 {
    fn blocks(path: &Path) -> u64 {
        let own = fs::symlink_metadata(path).unwrap().blocks();
        match fs::read_dir(path) {
            Ok(entries) => own + entries.map(|entry| blocks(&entry.unwrap().path())).sum::<u64>(),
            Err(_) => own,
        }
    }
    blocks(tree) * 512 / 1_000_000
}

fn passed(iteration: u32) -> (Exit, Outcome) {
    let exit = Exit {
        code: Some(0),
        started_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(iteration))),
        duration_s: Some(300.0),
        node: Some(format!("n{}", iteration % 1000)),
        ..Exit::default()
    };
    let mut outcome = Outcome::new(OutcomeKind::Passed);
    outcome.iteration = Some(iteration);
    (exit, outcome)
}

fn spec(last: u32) -> Spec {
    Spec {
        tool: "bench".to_owned(),
        last,
        backend: BackendKind::Local,
        ..Spec::default()
    }
}
