//! The precedence: what a run came to, why, and which fact lied.

use std::collections::BTreeSet;
use std::io;

use crate::model::{Counts, Crash, CrashKind, Evidence, Outcome, OutcomeKind};
use crate::pytest::console::session::{Mark, MarkKind, Region, Session, Text};
use crate::pytest::console::stack::{Stack, StackKind};
use crate::pytest::nodeid;
use crate::pytest::trail::Trail;

use super::case::{self, Case};
use super::facts::Facts;
use super::{Scope, UNKNOWN, testlog};

/// Most entries of evidence kept.
const MAX_EVIDENCE: usize = 200;

/// What has been concluded so far.
#[derive(Default)]
pub(super) struct Ruling {
    is_hung: bool,
    is_crashed: bool,
    is_timed_out: bool,
    has_failed: bool,
    /// Places in the signature set.
    categories: BTreeSet<usize>,
    has_unknown: bool,
    /// Whether a failure is there that is not infrastructure's.
    has_real: bool,
    failing: Vec<String>,
    pub(super) evidence: Vec<Evidence>,
    crashes: Vec<Crash>,
    notes: Vec<String>,
    counts: Counts,
}

/// Judges the facts.
pub(super) fn judge(facts: &Facts<'_>) -> io::Result<Outcome> {
    let mut ruling = Ruling::default();
    let sessions = &facts.console.sessions;
    let (earlier, last) = match sessions.split_last() {
        Some((last, earlier)) => (earlier, Some(last)),
        None => (&[][..], None),
    };
    for session in earlier {
        rule_session(facts, session, false, &mut ruling)?;
        if session.closing.is_none() && !ruling.is_explained() && !facts.is_silently_complete(session) {
            ruling.crash(
                facts,
                session,
                CrashKind::Session,
                None,
                "died: it ended without a closing line, and another session followed",
            );
        }
    }
    // A session without a terminal reporter shows nothing; the trail has seen it.
    let unseen = Session::default();
    let has_trail = facts.trail.as_ref().is_some_and(|trail| !trail.tests.is_empty());
    let kind = match last.or(has_trail.then_some(&unseen)) {
        Some(session) => {
            rule_session(facts, session, true, &mut ruling)?;
            rule_end(facts, session, &mut ruling)?
        }
        None => rule_nothing(facts, &mut ruling)?,
    };
    Ok(ruling.finish(facts, kind))
}

impl Ruling {
    /// Whether anything says why the session did not end well.
    fn is_explained(&self) -> bool {
        self.is_hung || self.is_crashed || self.is_timed_out || self.has_failed
    }

    fn fail(&mut self, id: Option<&str>) {
        self.has_failed = true;
        if let Some(id) = id
            && !id.is_empty()
            && !self.failing.iter().any(|known| known == id)
        {
            self.failing.push(id.to_owned());
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) && self.notes.len() < 50 {
            self.notes.push(text);
        }
    }

    fn evidence(
        &mut self,
        facts: &Facts<'_>,
        category: Option<usize>,
        place: (Option<u64>, &str),
        case: Option<&Case>,
    ) {
        let category = category.map_or(UNKNOWN, |index| facts.signatures.at(index).id.as_str());
        let (line, text) = place;
        let text: String = text.trim().chars().take(400).collect();
        let evidence = Evidence {
            category: category.to_owned(),
            file: if case.is_some_and(|case| case.is_from_trail) {
                "tests.jsonl".to_owned()
            } else {
                facts.file.clone()
            },
            line,
            text,
            test: case.and_then(|case| case.id.clone()),
            worker: case.and_then(|case| case.worker.clone()),
        };
        if self.evidence.len() < MAX_EVIDENCE && !self.evidence.contains(&evidence) {
            self.evidence.push(evidence);
        }
    }

    /// Adds the categories whose signatures match a text; false when there are none.
    pub(super) fn matches(
        &mut self,
        facts: &Facts<'_>,
        scope: Scope,
        is_xdist: bool,
        text: &Text,
        case: Option<&Case>,
    ) -> bool {
        let hits = facts.signatures.find(scope, is_xdist, &text.body);
        for hit in &hits {
            self.add(facts, hit.signature);
            let (line, text) = text
                .line_at(hit.offset)
                .map_or((None, ""), |(line, text)| (Some(line), text));
            self.evidence(facts, Some(hit.signature), (line, text), case);
        }
        !hits.is_empty()
    }

    /// Adds the categories whose signatures match one line of a scope; false when there are none.
    fn matches_line(&mut self, facts: &Facts<'_>, scope: Scope, is_xdist: bool, line: Option<u64>, text: &str) -> bool {
        let hits = facts.signatures.find(scope, is_xdist, text);
        for hit in &hits {
            self.add(facts, hit.signature);
            self.evidence(facts, Some(hit.signature), (line, text), None);
        }
        !hits.is_empty()
    }

    pub(super) fn add(&mut self, facts: &Facts<'_>, index: usize) {
        self.categories.insert(index);
        self.has_real |= !facts.signatures.at(index).infra;
    }

    fn unknown(&mut self, facts: &Facts<'_>, place: (Option<u64>, &str), case: Option<&Case>) {
        self.has_unknown = true;
        self.has_real = true;
        self.evidence(facts, None, place, case);
    }

    /// A process died: `words` is how, for the `exit` scope.
    fn crash(&mut self, facts: &Facts<'_>, session: &Session, kind: CrashKind, line: Option<u64>, words: &str) {
        self.is_crashed = true;
        self.crashes.push(Crash {
            kind,
            late: session.closing.is_some(),
            test: None,
            worker: None,
            frame: None,
            line,
        });
        if !self.matches_line(facts, Scope::Exit, session.is_xdist, line, words) {
            self.unknown(facts, (line, words), None);
        }
    }

    fn hang(&mut self, facts: &Facts<'_>, is_xdist: bool, line: Option<u64>, why: &str) {
        self.is_hung = true;
        let words = format!("ended from outside: {why}");
        if !self.matches_line(facts, Scope::Exit, is_xdist, line, &words) {
            self.unknown(facts, (line, &words), None);
        }
    }

    fn finish(mut self, facts: &Facts<'_>, fallback: OutcomeKind) -> Outcome {
        let kind = if self.is_hung {
            OutcomeKind::Hung
        } else if self.is_crashed {
            OutcomeKind::Crashed
        } else if self.is_timed_out {
            OutcomeKind::TimedOut
        } else if self.has_failed {
            if self.has_real || self.has_unknown || self.categories.is_empty() {
                OutcomeKind::Failed
            } else {
                OutcomeKind::Infra
            }
        } else {
            fallback
        };
        if self.has_failed && self.categories.is_empty() && !self.has_unknown && kind == OutcomeKind::Failed {
            self.has_unknown = true;
        }
        self.contradictions(facts, kind);
        let mut outcome = Outcome::new(kind);
        if !matches!(
            kind,
            OutcomeKind::Passed | OutcomeKind::NoTests | OutcomeKind::UsageError
        ) {
            outcome.categories = self
                .categories
                .iter()
                .map(|index| facts.signatures.at(*index).id.clone())
                .collect();
            if self.has_unknown {
                outcome.categories.push(UNKNOWN.to_owned());
            }
            outcome.failing_tests = self.failing;
            outcome.evidence = self.evidence;
            outcome.crashes = self.crashes;
        }
        outcome.counts = self.counts;
        outcome.notes = self.notes;
        outcome
    }

    /// Writes down where facts disagree.
    fn contradictions(&mut self, facts: &Facts<'_>, kind: OutcomeKind) {
        let end = facts.end();
        let is_green = facts.last_session().is_some_and(|session| {
            session.closing.is_some_and(|(closing, _)| {
                closing.counts.failed == 0 && closing.counts.errors == 0 && !closing.is_empty
            })
        });
        let first = self
            .evidence
            .first()
            .map(|evidence| (evidence.text.clone(), evidence.line));
        if end.code == Some(0) && !matches!(kind, OutcomeKind::Passed) {
            match first {
                Some((text, Some(line))) => self.note(format!("exit code 0, but `{text}` on line {line}")),
                Some((text, None)) => self.note(format!("exit code 0, but {text}")),
                None => self.note("exit code 0, but the session says otherwise"),
            }
        }
        if let Some(code) = end.code
            && code != 0
            && kind == OutcomeKind::Passed
        {
            self.note(format!("exit code {code}, but the session says that nothing failed"));
        }
        if is_green
            && !matches!(
                kind,
                OutcomeKind::Passed | OutcomeKind::NoTests | OutcomeKind::UsageError
            )
        {
            self.note("the closing line counts no failure, but the session did not end well");
        }
        if facts.last_session().is_some_and(|session| session.closing.is_none()) && kind != OutcomeKind::Passed {
            self.note("the log has no closing line");
        }
    }
}

/// Takes in what a session says of itself: failures, deaths, timeouts, interrupts.
fn rule_session(facts: &Facts<'_>, session: &Session, is_last: bool, ruling: &mut Ruling) -> io::Result<()> {
    let mut cases = case::cases(session);
    if is_last && let Some(trail) = &facts.trail {
        case::add_trail(&mut cases, trail);
    }
    let is_thread_timeout = is_lost_banner(facts, session, &cases);
    add_counts(&mut ruling.counts, session);
    rule_crashes(facts, session, &mut cases, is_thread_timeout, ruling);
    rule_timeouts(facts, session, &cases, ruling);
    if let Some(internal) = &session.internal
        && !ruling.is_crashed
    {
        ruling.fail(None);
        // The limit struck outside of the test's own call, so pytest itself fell over the exception.
        if is_timeout(&internal.text.body) {
            ruling.is_timed_out = true;
            for test in running(facts, session) {
                ruling.fail(Some(&test));
            }
        }
        if !ruling.matches(facts, Scope::Failure, session.is_xdist, &internal.text, None) {
            let last = internal.text.body.lines().last().unwrap_or("INTERNALERROR").to_owned();
            ruling.unknown(facts, (Some(internal.line), &last), None);
        }
    }
    for case in &cases {
        rule_case(facts, session, case, is_thread_timeout, ruling)?;
    }
    let counted = session
        .closing
        .map_or(0, |(closing, _)| closing.counts.failed + closing.counts.errors);
    let is_nameless = cases.is_empty() && (counted > 0 || session.failed_letters > 0) && !ruling.is_explained();
    let is_partly_nameless = session.sections.is_empty()
        && session.summary.is_empty()
        && session.failed_letters > cases.iter().filter(|case| !case.is_crashed).count() as u64
        && !ruling.is_crashed;
    if is_nameless || is_partly_nameless {
        ruling.fail(None);
        let line = session.failed_letters_line.or(session.closing.map(|(_, line)| line));
        rule_nameless(facts, session, line, ruling)?;
    }
    for stop in session.marks.iter().filter(|mark| mark.kind == MarkKind::Stopped) {
        rule_stop(facts, session, stop, ruling);
    }
    Ok(())
}

/// A failure whose test nothing on the console names; a per-test log may know it.
fn rule_nameless(facts: &Facts<'_>, session: &Session, line: Option<u64>, ruling: &mut Ruling) -> io::Result<()> {
    let found = testlog::search_all(facts, session.is_xdist, ruling)?;
    if found.is_empty() {
        ruling.unknown(facts, (line, "a test failed, and nothing names it"), None);
    }
    for name in found {
        let id = testlog::id_of(facts, session, &name);
        ruling.fail(id.as_deref());
    }
    Ok(())
}

fn add_counts(counts: &mut Counts, session: &Session) {
    if let Some((closing, _)) = session.closing {
        let own = closing.counts;
        counts.passed += own.passed;
        counts.failed += own.failed;
        counts.errors += own.errors;
        counts.skipped += own.skipped;
        counts.xfailed += own.xfailed;
        counts.xpassed += own.xpassed;
        counts.rerun += own.rerun;
    }
}

/// Whether workers died of pytest-timeout's thread, whose banner xdist loses: its method is announced, no interpreter
/// told of a fatal error, and the session lasted at least as long as the limit.
fn is_lost_banner(facts: &Facts<'_>, session: &Session, cases: &[Case]) -> bool {
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

fn counts_as_death(stack: &Stack, is_ended_outside: bool, is_xdist: bool) -> bool {
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

fn rule_crashes(facts: &Facts<'_>, session: &Session, cases: &mut [Case], is_timeout: bool, ruling: &mut Ruling) {
    let is_ended_outside = facts.ended_outside().is_some();
    let fatal: Vec<&Stack> = session
        .stacks
        .iter()
        .filter(|stack| counts_as_death(stack, is_ended_outside, session.is_xdist))
        .collect();
    let lost: Vec<&Mark> = session
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::WorkerLost)
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
        .filter(|mark| matches!(mark.kind, MarkKind::WorkerLost | MarkKind::WorkersGivenUp))
    {
        ruling.is_crashed = true;
        if !ruling.matches_line(facts, Scope::Crash, true, Some(mark.line), &mark.text) {
            ruling.unknown(facts, (Some(mark.line), &mark.text), None);
        }
    }
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
fn running(facts: &Facts<'_>, session: &Session) -> Vec<String> {
    if session.running.is_empty() {
        facts.unfinished()
    } else {
        session.running.clone()
    }
}

/// The test that a serial session stopped in: the progress and the trail know its parameter, a stack does not.
fn stopped_test(facts: &Facts<'_>, session: &Session, stack: &Stack) -> Option<String> {
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
fn stack_test(session: &Session, stack: &Stack) -> Option<String> {
    let (file, function) = stack.test()?;
    Some(nodeid::from_title(&case::relative(file, session), function))
}

/// Whether a failure's text is pytest-timeout's.
fn is_timeout(text: &str) -> bool {
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

fn rule_timeouts(facts: &Facts<'_>, session: &Session, cases: &[Case], ruling: &mut Ruling) {
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

fn rule_case(
    facts: &Facts<'_>,
    session: &Session,
    case: &Case,
    is_thread_timeout: bool,
    ruling: &mut Ruling,
) -> io::Result<()> {
    ruling.fail(case.id.as_deref());
    let mut is_covered = false;
    for text in &case.texts {
        // The limit ended the worker, so the worker's death is no cause of its own.
        if is_thread_timeout && case.is_crashed {
            is_covered = true;
            continue;
        }
        let hits = facts.signatures.find(Scope::Failure, session.is_xdist, &text.body);
        for hit in hits {
            is_covered = true;
            ruling.add(facts, hit.signature);
            let (line, text) = text
                .line_at(hit.offset)
                .map_or((None, ""), |(line, text)| (Some(line), text));
            ruling.evidence(facts, Some(hit.signature), (line, text), Some(case));
        }
        if case.is_crashed {
            is_covered |= ruling.matches(facts, Scope::Crash, session.is_xdist, text, Some(case));
        }
    }
    if is_covered || case.is_crashed || case.is_timed_out {
        return Ok(());
    }
    if !case.texts.iter().any(|text| !text.body.trim().is_empty()) {
        if let Some(id) = &case.id
            && testlog::search(facts, session.is_xdist, nodeid::name(id), Some(case), ruling)?
        {
            return Ok(());
        }
    }
    let place = case
        .texts
        .first()
        .and_then(headline)
        .unwrap_or_else(|| (case.line, "failed without a reason on the console".to_owned()));
    ruling.unknown(facts, (place.0, &place.1), Some(case));
    Ok(())
}

/// The line of a failure's text that says most: its exception, not what pytest or a plugin says about it.
fn headline(text: &Text) -> Option<(Option<u64>, String)> {
    let mut offset = 0;
    let mut first = None;
    for line in text.body.lines() {
        let place = || (text.line_at(offset).map(|(number, _)| number), line.to_owned());
        let head = line.split(": ").next().unwrap_or("");
        let is_exception = head.len() < line.len()
            && head
                .rsplit('.')
                .next()
                .is_some_and(|name| name.starts_with(char::is_uppercase))
            && head
                .chars()
                .all(|char| char.is_alphanumeric() || matches!(char, '.' | '_'));
        if is_exception {
            return Some(place());
        }
        if first.is_none() && !line.trim().is_empty() {
            first = Some(place());
        }
        offset += line.len() + 1;
    }
    first
}

/// A rule of `!`: why the session stopped early.
fn rule_stop(facts: &Facts<'_>, session: &Session, stop: &Mark, ruling: &mut Ruling) {
    let text = stop
        .text
        .strip_prefix("xdist.dsession.Interrupted: ")
        .unwrap_or(&stop.text);
    if text.starts_with("maximum crashed workers") {
        ruling.is_crashed = true;
        if !ruling.matches_line(facts, Scope::Crash, true, Some(stop.line), text) {
            ruling.unknown(facts, (Some(stop.line), text), None);
        }
    } else if text.starts_with("stopping after ") || text.starts_with("Interrupted: ") {
        // The failures it stops after are cases of their own.
        ruling.has_failed = true;
    } else if text.contains("KeyboardInterrupt") {
        ruling.hang(facts, session.is_xdist, Some(stop.line), "interrupted");
        for test in running(facts, session) {
            ruling.fail(Some(&test));
        }
    } else if text.starts_with("session-timeout: ") {
        ruling.is_timed_out = true;
        ruling.has_failed = true;
        let words = format!("pytest-timeout: {text}");
        if !ruling.matches_line(facts, Scope::Crash, session.is_xdist, Some(stop.line), &words) {
            ruling.unknown(facts, (Some(stop.line), text), None);
        }
    } else if !ruling.is_crashed {
        ruling.has_failed = true;
        let reason = text.split_once("Exit: ").map_or(text, |(_, reason)| reason);
        let mut found = Text::default();
        found.push(stop.line, reason);
        if !ruling.matches(facts, Scope::Failure, session.is_xdist, &found, None) {
            ruling.unknown(facts, (Some(stop.line), text), None);
        }
    }
}

/// Says how the last session ended; returns what the run came to where nothing failed.
fn rule_end(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
    let end = facts.end();
    if facts.is_cancelled() {
        ruling.note("cancelled by the user: no result");
        return Ok(OutcomeKind::Infra);
    }
    if let Some(why) = facts.ended_outside() {
        let line = facts.console.marker.as_ref().map(|(line, _)| *line);
        ruling.hang(facts, session.is_xdist, line, &why);
        rule_running(facts, session, ruling)?;
        return Ok(OutcomeKind::Hung);
    }
    if facts.exit.is_some_and(|exit| exit.oom_killed) {
        ruling.crash(
            facts,
            session,
            CrashKind::Memory,
            None,
            "died: the memory limit killed a process",
        );
        if session.closing.is_none() {
            rule_running(facts, session, ruling)?;
        }
    }
    let is_finished = session.closing.is_some() || facts.is_silently_complete(session);
    // Output that was still in a pipe may follow the shell's word; without a closing line that word holds.
    let died = facts
        .tail()
        .chain(session.marks.iter().filter(|_| session.closing.is_none()))
        .find(|mark| mark.kind == MarkKind::Died)
        .cloned();
    if let Some(mark) = died
        && !ruling.is_crashed
        && !(ruling.is_timed_out && !is_finished)
    {
        ruling.crash(
            facts,
            session,
            CrashKind::Session,
            Some(mark.line),
            &format!("died: {}", mark.text),
        );
        if !is_finished {
            rule_running(facts, session, ruling)?;
        }
        return Ok(OutcomeKind::Crashed);
    }
    if end.is_death() && !ruling.is_crashed {
        let signal = end.signal.unwrap_or_default();
        ruling.crash(
            facts,
            session,
            CrashKind::Session,
            None,
            &format!("died: killed by signal {signal}"),
        );
        if !is_finished {
            rule_running(facts, session, ruling)?;
        }
        return Ok(OutcomeKind::Crashed);
    }
    if end.is_told() && !ruling.is_explained() {
        let signal = end.signal.unwrap_or_default();
        ruling.hang(facts, session.is_xdist, None, &format!("by signal {signal}"));
        if !is_finished {
            rule_running(facts, session, ruling)?;
        }
        return Ok(OutcomeKind::Hung);
    }
    if is_finished {
        return Ok(rule_finished(facts, session));
    }
    if ruling.is_crashed {
        // A session that died names its test at most by what was running.
        if ruling.failing.is_empty() {
            rule_running(facts, session, ruling)?;
        }
        return Ok(OutcomeKind::Crashed);
    }
    if ruling.is_timed_out || session.internal.is_some() {
        return Ok(OutcomeKind::Failed);
    }
    rule_cut(facts, session, ruling)
}

fn rule_finished(facts: &Facts<'_>, session: &Session) -> OutcomeKind {
    let Some((closing, _)) = session.closing else {
        let is_empty = facts.trail.as_ref().is_some_and(|trail| trail.exit_status == Some(5));
        return if is_empty {
            OutcomeKind::NoTests
        } else {
            OutcomeKind::Passed
        };
    };
    let counts = closing.counts;
    let ran = counts.passed + counts.failed + counts.errors + counts.skipped + counts.xfailed + counts.xpassed;
    if !closing.is_empty && ran > 0 {
        let is_all_skipped = ran == counts.skipped && session.collected == Some(0);
        return if is_all_skipped && facts.end().code == Some(5) {
            OutcomeKind::NoTests
        } else {
            OutcomeKind::Passed
        };
    }
    let has_usage = facts
        .console
        .before
        .iter()
        .chain(&session.marks)
        .any(|mark| mark.kind == MarkKind::Usage);
    if has_usage || facts.end().code == Some(4) {
        OutcomeKind::UsageError
    } else {
        OutcomeKind::NoTests
    }
}

/// A session without a closing line, and nothing in the log says why.
fn rule_cut(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
    let end = facts.end();
    let has_lost_engine = facts.tail().any(|mark| mark.kind == MarkKind::Engine);
    if has_lost_engine && !ruling.has_failed {
        ruling.note("the container was lost");
        return Ok(OutcomeKind::Infra);
    }
    if session.finished == 0
        && (end.code == Some(4)
            || (end.code != Some(0) && session.marks.iter().any(|mark| mark.kind == MarkKind::Usage)))
    {
        return Ok(OutcomeKind::UsageError);
    }
    if end.code == Some(5) {
        return Ok(OutcomeKind::NoTests);
    }
    // The failures were being reported: the tests were over.
    if ruling.has_failed && matches!(session.region, Region::Report | Region::Summary) {
        return Ok(OutcomeKind::Failed);
    }
    match end.code {
        Some(code) => {
            let words = format!("died: exit code {code} before the session's end");
            ruling.crash(facts, session, CrashKind::Session, None, &words);
        }
        None => {
            let line = facts.console.last.as_ref().map(|(line, _)| *line);
            ruling.hang(facts, session.is_xdist, line, "the log stops before the session's end");
        }
    }
    rule_running(facts, session, ruling)?;
    Ok(OutcomeKind::Hung)
}

/// Names the tests that were running when the session ended.
fn rule_running(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<()> {
    if session.closing.is_some() {
        return Ok(());
    }
    let mut running = running(facts, session);
    if running.is_empty() {
        // A watchdog's stack, or one printed to find out, passes through the test.
        running = session
            .stacks
            .iter()
            .rev()
            .filter(|stack| !stack.is_followed)
            .find_map(|stack| stack_test(session, stack))
            .into_iter()
            .collect();
    }
    let in_logs = testlog::last_lines(facts, ruling)?;
    if running.is_empty() {
        running = in_logs
            .iter()
            .filter_map(|name| testlog::id_of(facts, session, name))
            .collect();
    }
    for id in &running {
        ruling.fail(Some(id));
    }
    Ok(())
}

/// A log without any session.
fn rule_nothing(facts: &Facts<'_>, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
    let session = Session::default();
    let end = facts.end();
    let console = &facts.console;
    if facts.is_cancelled() {
        ruling.note("cancelled by the user: no result");
        return Ok(OutcomeKind::Infra);
    }
    if let Some(why) = facts.ended_outside() {
        let line = console.marker.as_ref().map(|(line, _)| *line);
        ruling.hang(facts, false, line, &why);
        rule_running(facts, &session, ruling)?;
        return Ok(OutcomeKind::Hung);
    }
    if facts.exit.is_some_and(|exit| exit.error.is_some()) {
        return Ok(OutcomeKind::Infra);
    }
    if let Some(fatal) = console
        .stacks_before
        .iter()
        .find(|stack| stack.kind == StackKind::Fatal)
    {
        ruling.crash(
            facts,
            &session,
            CrashKind::Session,
            Some(fatal.line),
            &format!("died: {}", fatal.text),
        );
        return Ok(OutcomeKind::Crashed);
    }
    if console.before.iter().any(|mark| mark.kind == MarkKind::Usage) {
        return Ok(OutcomeKind::UsageError);
    }
    if console.before.iter().any(|mark| mark.kind == MarkKind::Engine) || matches!(end.code, Some(125..=127)) {
        return Ok(OutcomeKind::Infra);
    }
    if let Some(mark) = console.before.iter().find(|mark| mark.kind == MarkKind::Died) {
        ruling.crash(
            facts,
            &session,
            CrashKind::Session,
            Some(mark.line),
            &format!("died: {}", mark.text),
        );
        return Ok(OutcomeKind::Crashed);
    }
    if end.is_death() || facts.exit.is_some_and(|exit| exit.oom_killed) {
        ruling.crash(
            facts,
            &session,
            CrashKind::Session,
            None,
            "died: killed before the session began",
        );
        return Ok(OutcomeKind::Crashed);
    }
    if let Some(error) = &console.error_before {
        ruling.fail(Some(&case::relative(&error.title, &session)));
        if !ruling.matches(facts, Scope::Failure, false, &error.text, None) {
            let text = error
                .text
                .body
                .lines()
                .last()
                .unwrap_or("an error before the session")
                .to_owned();
            ruling.unknown(facts, (Some(error.line), &text), None);
        }
        return Ok(OutcomeKind::Failed);
    }
    if facts.is_silently_complete(&session) {
        return Ok(OutcomeKind::Passed);
    }
    match end.code {
        Some(4) => Ok(OutcomeKind::UsageError),
        Some(5) => Ok(OutcomeKind::NoTests),
        Some(0) => {
            ruling.crash(
                facts,
                &session,
                CrashKind::Session,
                None,
                "died: exit code 0 without a session",
            );
            Ok(OutcomeKind::Crashed)
        }
        Some(_) | None => {
            ruling.note("nothing in the log is a pytest session");
            Ok(OutcomeKind::Infra)
        }
    }
}
