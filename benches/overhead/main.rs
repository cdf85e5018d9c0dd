//! What a fresh container costs an iteration: this tool against what people use today, in one run.
//!
//! `cargo bench --bench overhead [-- --rounds N] [--suites 0,0.5,5] [--jobs 1,2,4] [--sweep N]`. Four competitors run the
//! same sessions over the same image, in turn, in an order that changes with each round, so that whatever else the machine
//! does hits all alike:
//!
//! - `script`: the loop of `timeout 660 docker run --rm … bash -c "python3 -m pytest … | tee …"` that this tool
//!   replaces, with `-j N` as N chunks in the background. Its random delay of 0 to 5 s before each start is left out:
//!   with it the tool would look better than it is.
//! - `api`: the engine's API and nothing else: create, wait, attach, start, read, inspect, remove.
//! - `floor`: fork and exec in fresh namespaces, without an engine (`unshare`; root's).
//! - this tool, from its start to its end: finding Python, asking the engine, the first container's start and the last
//!   one's removal are in its figures.
//!
//! A suite of S seconds is a pytest session that takes S in all; of 0, an empty test, which takes what pytest takes. Each
//! runs a sweep of 16 iterations, or of N. The table has medians over the rounds of the ratio of wall times, with their
//! range. What the sessions alone take is in it too: no tool can be faster than that.
//!
//! Before that, in pairs with `docker run`: from the command to the first line of the first test, once with all that earlier
//! sweeps have found and once with none of it, and from the session's end to the result; with `--start` nothing else.
//!
//! With `--flood MIB` only a session that prints so much is measured, against `docker run > file`; with `--long N` what
//! a sweep of N empty sessions holds on to; with `--idle S` what process 1 of a container uses while a session sleeps
//! for S seconds.

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod api;
mod competitors;
mod container;
mod flood;
mod idle;
mod long;
mod start;

use std::path::Path;
use std::time::Duration;

use competitors::{Competitor, Work};
use container::Container;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let text = |name: &str, default: &str| -> String {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1))
            .map_or(default, String::as_str)
            .to_owned()
    };
    let rounds: usize = text("--rounds", "5").parse().unwrap();
    let jobs: Vec<u32> = text("--jobs", "1,2,4")
        .split(',')
        .map(|word| word.parse().unwrap())
        .collect();
    let suites: Vec<f64> = text("--suites", "0,0.5,5")
        .split(',')
        .map(|word| word.parse().unwrap())
        .collect();
    let sweep: u32 = text("--sweep", "16").parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let Some(container) = Container::of_this_machine(dir.path()) else {
        println!("no container engine answers: nothing can be measured");
        return;
    };
    if words.iter().any(|word| word == "--flood") {
        return flood::measure(dir.path(), &container, text("--flood", "1024").parse().unwrap(), rounds);
    }
    if words.iter().any(|word| word == "--idle") {
        return idle::measure(dir.path(), &container, text("--idle", "20").parse().unwrap(), rounds);
    }
    if words.iter().any(|word| word == "--long") {
        return long::measure(dir.path(), text("--long", "5000").parse().unwrap());
    }
    start::measure(dir.path(), &container, rounds);
    if words.iter().any(|word| word == "--start") {
        return;
    }
    println!();
    let startup = container.time_of_an_empty_session();
    println!("load before: {}", load());
    println!("an empty pytest session takes {:.2} s here", startup.as_secs_f64());
    println!();
    println!("| session | `-j` | script, s an iteration | of script: this tool | bare API | floor | sessions alone |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut once = Vec::new();
    for suite in suites {
        for jobs in &jobs {
            let sleep = Duration::from_secs_f64(suite).saturating_sub(startup);
            let work = Work {
                dir: dir.path(),
                container: &container,
                sleep,
                jobs: *jobs,
                iterations: sweep,
            };
            let alone = sleep + startup;
            measure(suite, &work, alone, rounds, &mut once);
        }
    }
    println!();
    println!(
        "of that this tool takes {:.2} s before the first session and after the last (median of {})",
        median(&once),
        once.len()
    );
    println!("load after: {}", load());
}

fn measure(suite: f64, work: &Work, alone: Duration, rounds: usize, once: &mut Vec<f64>) {
    let mut taken: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        for turn in 0..4 {
            // Another one begins each round, and the direction changes.
            let turn = if round % 2 == 0 { turn } else { 3 - turn };
            let at = (round / 2 + turn) % 4;
            let Some(ran) = Competitor::ALL[at].run(work) else {
                continue;
            };
            taken[at].push(ran.an_iteration_s);
            once.extend((ran.once_s > 0.0).then_some(ran.once_s));
        }
    }
    let ratio = |of: &[f64], to: &[f64]| -> String {
        let mut ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
        ratios.sort_by(f64::total_cmp);
        match (ratios.first(), ratios.last()) {
            (Some(least), Some(most)) => format!("{:.2} ({least:.2}-{most:.2})", median(&ratios)),
            _ => "-".to_owned(),
        }
    };
    let [ours, script, api, floor] = &taken;
    let session = if suite > 0.0 {
        format!("{suite} s")
    } else {
        "empty".to_owned()
    };
    println!(
        "| {session} | {} | {:.2} | **{}** | {} | {} | {} |",
        work.jobs,
        median(script),
        ratio(ours, script),
        ratio(api, script),
        ratio(floor, script),
        format_args!("{:.2}", alone.as_secs_f64() / f64::from(work.jobs) / median(script))
    );
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn load() -> String {
    std::fs::read_to_string(Path::new("/proc/loadavg"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
