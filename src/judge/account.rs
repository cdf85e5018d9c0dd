//! What a session says of itself: its failing tests, why each failed, why it stopped early.

use std::io;

use crate::model::Counts;
use crate::pytest::console::session::{Mark, MarkKind, Region, Session, Text};
use crate::pytest::nodeid;

use super::case::{self, Case};
use super::deaths::{is_lost_banner, is_timeout, rule_crashes, rule_timeouts, running};
use super::facts::Facts;
use super::verdict::Ruling;
use super::{Scope, testlog};

/// Takes in what a session says of itself: failures, deaths, timeouts, interrupts.
pub(super) fn rule_session(facts: &Facts<'_>, session: &Session, is_last: bool, ruling: &mut Ruling) -> io::Result<()> {
    let is_green = session
        .closing
        .is_some_and(|(closing, _)| closing.counts.failed + closing.counts.errors == 0);
    // pytest counts whatever it reports: what a green session seems to have reported, a test printed.
    let mut cases = if is_green { Vec::new() } else { case::cases(session) };
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
    // Letters count where nothing better does: a test may print them, the closing line knows.
    let letters = if session.closing.is_some() {
        0
    } else {
        session.failed_letters
    };
    let is_nameless = cases.is_empty() && (counted > 0 || letters > 0) && !ruling.is_explained();
    if is_nameless || is_partly_nameless(session, &cases, ruling) {
        ruling.fail(None);
        let line = session.failed_letters_line.or(session.closing.map(|(_, line)| line));
        rule_nameless(facts, session, line, ruling)?;
    }
    for stop in session.marks.iter().filter(|mark| mark.kind == MarkKind::Stopped) {
        rule_stop(facts, session, stop, ruling);
    }
    Ok(())
}

/// Whether a session that did not come to its end showed more failures than it names.
fn is_partly_nameless(session: &Session, cases: &[Case], ruling: &Ruling) -> bool {
    if session.closing.is_some() || !session.summary.is_empty() {
        return false;
    }
    if !session.sections.is_empty() {
        // Cut among its sections: each letter has one.
        return session.region == Region::Report && session.failed_letters > session.sections.len() as u64;
    }
    let named = cases.iter().filter(|case| !case.is_crashed).count() as u64;
    // A lost worker's test is shown failing; a session that dies itself shows no letter for the test it dies in.
    let is_of_worker = session.is_xdist || session.marks.iter().any(|mark| mark.kind == MarkKind::WorkerLost);
    if ruling.is_crashed {
        return session.certain_letters > named && !is_of_worker;
    }
    session.failed_letters > named
}

/// A failure whose test nothing on the console names; a per-test log may know it.
pub(super) fn rule_nameless(
    facts: &Facts<'_>,
    session: &Session,
    line: Option<u64>,
    ruling: &mut Ruling,
) -> io::Result<()> {
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

pub(super) fn add_counts(counts: &mut Counts, session: &Session) {
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

pub(super) fn rule_case(
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
    let is_silent = case.texts.iter().all(|text| text.body.trim().is_empty());
    if is_silent
        && let Some(id) = &case.id
        && testlog::search(facts, session.is_xdist, nodeid::name(id), Some(case), ruling)?
    {
        return Ok(());
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
pub(super) fn headline(text: &Text) -> Option<(Option<u64>, String)> {
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
pub(super) fn rule_stop(facts: &Facts<'_>, session: &Session, stop: &Mark, ruling: &mut Ruling) {
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
