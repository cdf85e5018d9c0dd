//! Processes of a session that died, its own and its workers', and pytest-timeout's thread, which ends them.

use super::case::Case;
use super::facts::Facts;
use super::finding::{Finding, Strength, of_each};
use super::pytest::console::phrases::Says;
use super::pytest::console::session::{Mark, Session};
use super::pytest::console::stack::{Stack, StackKind};
use super::pytest::trail::Trail;
use super::{Crash, CrashKind, Scope};

/// Whether workers died of pytest-timeout's thread, whose banner xdist loses: its method is announced, no interpreter
/// told of a fatal error, and the session lasted at least as long as the limit.
pub(super) fn is_lost_banner(facts: &Facts<'_>, session: &Session, cases: &[Case]) -> bool {
    let has_lost = cases.iter().any(|case| case.is_crashed && !case.is_forked) || session.lost().next().is_some();
    if !has_lost || !session.has_timeout_thread || session.stacks.iter().any(|stack| stack.kind == StackKind::Fatal) {
        return false;
    }
    let is_memory =
        facts.exit.is_some_and(|exit| exit.oom_killed) || session.marks.iter().any(|mark| mark.says.is_death());
    if is_memory {
        return false;
    }
    let elapsed = session
        .closing
        .map(|(closing, _)| closing.elapsed_s)
        .or_else(|| facts.exit.and_then(|exit| exit.duration_s));
    match (elapsed, session.timeout_s) {
        (Some(elapsed), Some(limit)) => elapsed >= limit,
        _ => true,
    }
}

fn counts_as_death(stack: &Stack, is_ended_outside: bool, session: &Session) -> bool {
    let is_xdist = session.is_xdist;
    if stack.kind != StackKind::Fatal {
        return false;
    }
    // Windows tells of exceptions that are then handled.
    if stack.text.starts_with("Windows fatal exception") && stack.is_followed {
        return false;
    }
    // A worker's death is always said, so it was a child of a test that died.
    let has_lost = session
        .marks
        .iter()
        .any(|mark| matches!(mark.says, Says::WorkerLost | Says::WorkersGivenUp));
    if is_xdist && session.is_green() && !stack.is_late && !has_lost {
        return false;
    }
    // Who ended a hanging session may have had its stacks printed by an abort of its own.
    if is_ended_outside && !stack.is_followed && !is_xdist && stack.is_pytest {
        return false;
    }
    // A child that a test aborts on purpose has no frame of pytest's, and the session goes on after it.
    stack.is_late || stack.is_pytest || !(stack.is_followed || stack.is_child)
}

/// Processes of a session that died: its own, which says so in a fatal block, and xdist's workers.
pub(super) fn deaths(
    facts: &Facts<'_>,
    session: &Session,
    cases: &mut [Case],
    is_thread_timeout: bool,
) -> Vec<Finding> {
    let is_ended_outside = facts.ended_outside().is_some();
    let fatal: Vec<&Stack> = session
        .stacks
        .iter()
        .filter(|stack| counts_as_death(stack, is_ended_outside, session))
        .collect();
    // A test of a green session without workers printed what it says of workers: a lost one's test would have failed.
    let is_printed = session.is_green() && session.has_passed() && !session.is_xdist;
    let lost: Vec<&Mark> = session.lost().filter(|_| !is_printed).collect();
    mark_crashed(session, cases, &lost);
    let mut found = Vec::new();
    for stack in &fatal {
        let place = (Some(stack.line), stack.text.as_str());
        let mut dead = facts.explain_line(Strength::Crashed, Scope::Crash, session.is_xdist, place);
        if !session.is_xdist && !cases.iter().any(|case| case.is_crashed) {
            let test = facts.stopped_test(session, stack).filter(|_| !stack.is_late);
            dead[0].crash = Some(Crash {
                kind: CrashKind::Session,
                late: stack.is_late,
                test: test.clone(),
                worker: None,
                frame: stack.top.clone(),
                line: Some(stack.line),
            });
            let unnamed = if stack.is_late {
                Vec::new()
            } else {
                facts.running(session)
            };
            dead = of_each(&dead, &test.map_or(unnamed, |test| vec![test]));
        }
        found.extend(dead);
    }
    if is_thread_timeout {
        let words = "pytest-timeout: a worker ended at the limit, by the thread method";
        let place = (lost.first().map(|mark| mark.line), words);
        found.extend(facts.explain_line(Strength::TimedOut, Scope::Crash, true, place));
        found.push(Finding::noted(
            Strength::TimedOut,
            "a worker was lost without a fatal error when pytest-timeout's limit had passed: its thread method ended it",
        ));
        return found;
    }
    let given_up = |mark: &&Mark| mark.says == Says::WorkersGivenUp && !is_printed;
    for mark in lost.iter().copied().chain(session.marks.iter().filter(given_up)) {
        let place = (Some(mark.line), mark.text.as_str());
        found.extend(facts.explain_line(Strength::Crashed, Scope::Crash, true, place));
    }
    let frame = fatal
        .first()
        .filter(|_| fatal.len() == 1)
        .and_then(|stack| stack.top.clone());
    found.extend(dead_workers(facts, session, cases, &lost, frame.as_ref()));
    found
}

/// Marks the cases of tests that lost workers ran: xdist reports such a test right after, with no reason of its own.
fn mark_crashed(session: &Session, cases: &mut [Case], lost: &[&Mark]) {
    for test in lost.iter().filter_map(|mark| mark.test.as_ref()) {
        if let Some(case) = cases.iter_mut().find(|case| case.id.as_ref() == Some(test))
            && case.texts.is_empty()
        {
            case.is_crashed = true;
        }
    }
    // Where no worker is shown, as with letters, the only tests without a reason are those of the lost workers.
    let silent = cases.iter().filter(|case| case.is_silent() && !case.is_crashed).count();
    let crashed = cases.iter().filter(|case| case.is_crashed).count();
    let fatal = session
        .stacks
        .iter()
        .filter(|stack| stack.kind == StackKind::Fatal)
        .count();
    let died = if session.closing.is_none() {
        lost.len().max(fatal)
    } else {
        lost.len()
    };
    if (session.is_xdist || !lost.is_empty()) && silent > 0 && silent + crashed <= died {
        cases
            .iter_mut()
            .filter(|case| case.is_silent())
            .for_each(|case| case.is_crashed = true);
    }
}

/// The processes of workers and forked children that died, and which tests they ran.
fn dead_workers(
    facts: &Facts<'_>,
    session: &Session,
    cases: &[Case],
    lost: &[&Mark],
    frame: Option<&String>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut died = |kind: CrashKind, test: Option<&str>, worker: Option<&String>, line: Option<u64>| {
        let crash = Crash {
            kind,
            late: false,
            test: test.map(str::to_owned),
            worker: worker.cloned(),
            frame: frame.cloned(),
            line,
        };
        let finding = Finding {
            crash: Some(crash),
            ..Finding::new(Strength::Crashed)
        };
        found.push(finding.of(test.unwrap_or("")));
    };
    // What is still unfinished when the session is over ran in a worker that is gone.
    if !lost.is_empty() && session.closing.is_some() && !cases.iter().any(|case| case.is_crashed) {
        for test in facts.trail.iter().flat_map(Trail::unfinished) {
            died(
                CrashKind::Worker,
                Some(&test.id),
                test.worker.as_ref(),
                lost.first().map(|mark| mark.line),
            );
        }
    }
    // A plugin ran the lost worker's test again, and it did not fail in the end.
    for mark in lost {
        if let Some(test) = mark
            .test
            .as_deref()
            .filter(|test| session.reran.iter().any(|own| own == test))
        {
            died(CrashKind::Worker, Some(test), None, Some(mark.line));
        }
    }
    for case in cases.iter().filter(|case| case.is_crashed) {
        let kind = if case.is_forked {
            CrashKind::Forked
        } else {
            CrashKind::Worker
        };
        died(kind, case.id.as_deref(), case.worker.as_ref(), case.line);
    }
    found
}

/// Seconds that xdist waits for its workers to end before it kills them; it waits for ten.
const XDIST_WAITS: f64 = 9.0;

/// Workers that died after their last test, in `atexit` or a destructor: xdist has their results and says nothing.
pub(super) fn at_exit(facts: &Facts<'_>, session: &Session) -> Vec<Finding> {
    let mut found = Vec::new();
    for end in facts.trail.iter().flat_map(|trail| &trail.workers) {
        let name = format!("[{}]", end.worker);
        let is_told = |mark: &Mark| mark.says == Says::WorkerLost && mark.text.starts_with(&name);
        // Whoever is asked to end, and does, has not died; and the interpreter interrupts itself where it must stop.
        if end.status >= 0 || matches!(end.status, -1 | -2 | -13 | -15) || session.marks.iter().any(is_told) {
            continue;
        }
        if end.status == -9 && end.waited_s >= XDIST_WAITS {
            let note = format!(
                "worker {} did not end after its last test, and xdist killed it",
                end.worker
            );
            found.push(Finding::noted(Strength::Passed, note));
            continue;
        }
        let signal = -end.status;
        let words = format!(
            "died: worker {} was killed by signal {signal} after its last test",
            end.worker
        );
        let mut dead = facts.died(Strength::Crashed, session, CrashKind::Worker, (Some(end.line), &words));
        for finding in &mut dead {
            if let Some(place) = &mut finding.evidence {
                place.file = Some("tests.jsonl".to_owned());
                place.worker = Some(end.worker.clone());
            }
            if let Some(crash) = &mut finding.crash {
                (crash.late, crash.worker, crash.line) = (true, Some(end.worker.clone()), None);
            }
        }
        found.extend(dead);
    }
    found
}

/// pytest-timeout's thread method ends the process below its banner: no summary follows.
pub(super) fn timeouts(facts: &Facts<'_>, session: &Session) -> Vec<Finding> {
    let is_last = |stack: &&Stack| stack.kind == StackKind::Timeout && !stack.is_followed && session.closing.is_none();
    let Some(stack) = session.stacks.iter().rfind(is_last) else {
        return Vec::new();
    };
    let place = (Some(stack.line), "pytest-timeout: the session ended below its banner");
    let found = facts.explain_line(Strength::TimedOut, Scope::Crash, session.is_xdist, place);
    of_each(&found, &Vec::from_iter(facts.stopped_test(session, stack)))
}
