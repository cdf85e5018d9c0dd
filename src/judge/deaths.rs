//! Processes that died and tests that ran out of time: what of the log says so, and which test it was.

use crate::model::{Crash, CrashKind};
use crate::pytest::console::session::{Mark, MarkKind, Session};
use crate::pytest::console::stack::{Stack, StackKind};
use crate::pytest::nodeid;
use crate::pytest::trail::Trail;

use super::Scope;
use super::case::{self, Case};
use super::facts::Facts;
use super::verdict::Ruling;

/// Whether workers died of pytest-timeout's thread, whose banner xdist loses: its method is announced, no interpreter
/// told of a fatal error, and the session lasted at least as long as the limit.
pub(super) fn is_lost_banner(facts: &Facts<'_>, session: &Session, cases: &[Case]) -> bool {
    let has_lost = cases.iter().any(|case| case.is_crashed && !case.is_forked)
        || session.marks.iter().any(|mark| mark.kind == MarkKind::WorkerLost);
    if !has_lost || !session.has_timeout_thread || session.stacks.iter().any(|stack| stack.kind == StackKind::Fatal) {
        return false;
    }
    let is_memory =
        facts.exit.is_some_and(|exit| exit.oom_killed) || session.marks.iter().any(|mark| mark.kind == MarkKind::Died);
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

pub(super) fn counts_as_death(stack: &Stack, is_ended_outside: bool, is_xdist: bool) -> bool {
    if stack.kind != StackKind::Fatal {
        return false;
    }
    // Who ended a hanging session may have had its stacks printed by an abort of its own.
    if is_ended_outside && !stack.is_followed && !is_xdist && stack.is_pytest {
        return false;
    }
    // A child that a test aborts on purpose has no frame of pytest's, and the session goes on after it.
    stack.is_late || stack.is_pytest || !(stack.is_followed || stack.is_child)
}

/// Whether a test printed what the session says of workers: it shows none, and a lost one's test would have failed.
fn is_printed(session: &Session) -> bool {
    let is_green = session
        .closing
        .is_some_and(|(closing, _)| closing.counts.failed + closing.counts.errors == 0 && closing.counts.passed > 0);
    is_green && !session.is_xdist
}

pub(super) fn rule_crashes(
    facts: &Facts<'_>,
    session: &Session,
    cases: &mut [Case],
    is_timeout: bool,
    ruling: &mut Ruling,
) {
    let is_ended_outside = facts.ended_outside().is_some();
    let fatal: Vec<&Stack> = session
        .stacks
        .iter()
        .filter(|stack| counts_as_death(stack, is_ended_outside, session.is_xdist))
        .collect();
    let lost: Vec<&Mark> = session
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::WorkerLost && !is_printed(session))
        .collect();
    // The test that a lost worker ran is reported right after, with no reason of its own.
    for mark in &lost {
        let worker = mark
            .text
            .split_once(']')
            .and_then(|(head, _)| head.rsplit('[').next())
            .unwrap_or("");
        let next = session.failed.iter().find(|failed| {
            failed.line > mark.line && failed.line <= mark.line + 6 && failed.worker.as_deref() == Some(worker)
        });
        if let Some(next) = next
            && let Some(case) = cases.iter_mut().find(|case| case.id.as_deref() == Some(&next.id))
            && case.texts.is_empty()
        {
            case.is_crashed = true;
        }
    }
    for stack in &fatal {
        ruling.is_crashed = true;
        if !ruling.matches_line(facts, Scope::Crash, session.is_xdist, Some(stack.line), &stack.text) {
            ruling.unknown(facts, (Some(stack.line), &stack.text), None);
        }
        if !session.is_xdist && !cases.iter().any(|case| case.is_forked) {
            let test = stopped_test(facts, session, stack);
            if !stack.is_late {
                ruling.fail(test.as_deref());
            }
            ruling.crashes.push(Crash {
                kind: CrashKind::Session,
                late: stack.is_late,
                test: if stack.is_late { None } else { test },
                worker: None,
                frame: stack.top.clone(),
                line: Some(stack.line),
            });
        }
    }
    if is_timeout {
        for case in cases.iter_mut().filter(|case| case.is_crashed && !case.is_forked) {
            case.is_timed_out = true;
        }
        ruling.is_timed_out = true;
        let line = lost.first().map(|mark| mark.line);
        let words = "pytest-timeout: a worker ended at the limit, by the thread method";
        if !ruling.matches_line(facts, Scope::Crash, true, line, words) {
            ruling.unknown(facts, (line, words), None);
        }
        ruling.note("a worker was lost without a fatal error when pytest-timeout's limit had passed: its thread method ended it");
        return;
    }
    for mark in session
        .marks
        .iter()
        .filter(|mark| matches!(mark.kind, MarkKind::WorkerLost | MarkKind::WorkersGivenUp) && !is_printed(session))
    {
        ruling.is_crashed = true;
        if !ruling.matches_line(facts, Scope::Crash, true, Some(mark.line), &mark.text) {
            ruling.unknown(facts, (Some(mark.line), &mark.text), None);
        }
    }
    name_crashes(facts, session, cases, &fatal, &lost, ruling);
}

/// Says which tests the dead processes ran.
fn name_crashes(
    facts: &Facts<'_>,
    session: &Session,
    cases: &[Case],
    fatal: &[&Stack],
    lost: &[&Mark],
    ruling: &mut Ruling,
) {
    // What is still unfinished when the session is over ran in a worker that is gone.
    if !lost.is_empty() && session.closing.is_some() && !cases.iter().any(|case| case.is_crashed) {
        for test in facts.trail.iter().flat_map(Trail::unfinished) {
            ruling.fail(Some(&test.id));
            ruling.crashes.push(Crash {
                kind: CrashKind::Worker,
                late: false,
                test: Some(test.id.clone()),
                worker: test.worker.clone(),
                frame: fatal.first().and_then(|stack| stack.top.clone()),
                line: lost.first().map(|mark| mark.line),
            });
        }
    }
    for case in cases.iter().filter(|case| case.is_crashed) {
        ruling.is_crashed = true;
        let frame = fatal
            .first()
            .filter(|_| fatal.len() == 1)
            .and_then(|stack| stack.top.clone());
        ruling.crashes.push(Crash {
            kind: if case.is_forked {
                CrashKind::Forked
            } else {
                CrashKind::Worker
            },
            late: false,
            test: case.id.clone(),
            worker: case.worker.clone(),
            frame,
            line: case.line,
        });
    }
}

/// The tests that were running at the end, as the progress or else the trail has it.
pub(super) fn running(facts: &Facts<'_>, session: &Session) -> Vec<String> {
    if session.running.is_empty() {
        facts.unfinished()
    } else {
        session.running.clone()
    }
}

/// The test that a serial session stopped in: the progress and the trail know its parameter, a stack does not.
pub(super) fn stopped_test(facts: &Facts<'_>, session: &Session, stack: &Stack) -> Option<String> {
    if stack.running.is_some() {
        return stack.running.clone();
    }
    let found = stack_test(session, stack);
    let mut unfinished = facts.unfinished();
    if unfinished.len() == 1 {
        return unfinished.pop();
    }
    found
}

/// The test that a stack passes through, as a node id without its parameter.
pub(super) fn stack_test(session: &Session, stack: &Stack) -> Option<String> {
    let (file, function) = stack.test()?;
    Some(nodeid::from_title(&case::relative(file, session), function))
}

/// Whether a failure's text is pytest-timeout's.
pub(super) fn is_timeout(text: &str) -> bool {
    text.lines().any(|line| {
        let Some(rest) = line.strip_prefix("Failed: ").unwrap_or(line).strip_prefix("Timeout ") else {
            return false;
        };
        let number = rest.trim_start_matches(['(', '>', ' ']);
        let end = number
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(number.len());
        let tail = number[end..].trim_end();
        let is_limit = rest.starts_with(['(', '>']) && end > 0;
        is_limit
            && (tail.contains("from pytest-timeout")
                || matches!(tail, "s" | "s)")
                || (tail.ends_with("...") && line.starts_with("Failed: "))
                || number.ends_with("..."))
    })
}

pub(super) fn rule_timeouts(facts: &Facts<'_>, session: &Session, cases: &[Case], ruling: &mut Ruling) {
    if cases
        .iter()
        .any(|case| case.texts.iter().any(|text| is_timeout(&text.body)))
    {
        ruling.is_timed_out = true;
    }
    // The thread method ends the process below its banner: no summary follows.
    let Some(stack) = session
        .stacks
        .iter()
        .rfind(|stack| stack.kind == StackKind::Timeout && !stack.is_followed && session.closing.is_none())
    else {
        return;
    };
    ruling.is_timed_out = true;
    let test = stopped_test(facts, session, stack);
    ruling.fail(test.as_deref());
    let words = "pytest-timeout: the session ended below its banner";
    if !ruling.matches_line(facts, Scope::Crash, session.is_xdist, Some(stack.line), words) {
        ruling.unknown(facts, (Some(stack.line), words), None);
    }
}
