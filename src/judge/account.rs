//! What a session says of itself: its failing tests and why each failed, the processes that died, why it stopped early.

use super::Scope;
use super::case::{self, Case};
use super::deaths::{deaths, is_lost_banner, timeouts};
use super::facts::Facts;
use super::finding::{Finding, Place, Strength, of_each, strongest};
use super::pytest::console::section::is_timeout;
use super::pytest::console::session::{Region, Session, Text};
use super::pytest::console::stack::StackKind;
use super::pytest::nodeid;

/// What a session says of itself; the trail belongs to the last one.
pub(super) fn findings(facts: &Facts<'_>, session: &Session, is_last: bool) -> Vec<Finding> {
    let trail = facts.trail.as_ref().filter(|_| is_last);
    let mut cases = if session.is_green() {
        // pytest counts whatever it reports: what a green session seems to have reported, a test printed. But a plugin
        // may report a failure and count a pass.
        let failed = session
            .failed
            .iter()
            .filter(|failed| failed.is_certain && !failed.is_retried);
        let mut seen = Session::default();
        seen.failed.extend(failed.cloned());
        case::cases(&seen, trail)
    } else {
        case::cases(session, trail)
    };
    let is_thread_timeout = is_lost_banner(facts, session, &cases);
    let mut found = deaths(facts, session, &mut cases, is_thread_timeout);
    found.extend(timeouts(facts, session));
    found.extend(internal(facts, session, strongest(&found)));
    for case in &cases {
        found.extend(failure(facts, session, case, is_thread_timeout));
    }
    for (line, why) in &session.stops {
        found.extend(stopped(facts, session, *line, why, strongest(&found)));
    }
    found.extend(nameless(facts, session, &cases, strongest(&found)));
    found
}

/// Failures that are counted, or shown as letters, and that nothing names; a per-test log may know them.
fn nameless(facts: &Facts<'_>, session: &Session, cases: &[Case], strongest: Strength) -> Vec<Finding> {
    let counted = session
        .closing
        .map_or(0, |(closing, _)| closing.counts.failed + closing.counts.errors);
    // Letters count where nothing better does: a test may print them, the closing line knows.
    let has_failed = counted > 0 || (session.closing.is_none() && session.failed_letters > 0);
    let shown = cases.len().max(session.sections.len()).max(session.summary.len()) as u64;
    // A lost worker's test is counted, and may be named nowhere.
    let lost = session
        .lost()
        .count()
        .saturating_sub(cases.iter().filter(|case| case.is_crashed).count());
    let shown = shown + lost as u64;
    // A piece of a log has lost what named them.
    let has_more = !session.has_header && counted > shown && shown > 0;
    let strength = if has_more || is_partly_nameless(session, cases, strongest) {
        Strength::Failed
    } else if cases.is_empty() && has_failed {
        Strength::Nameless
    } else {
        return Vec::new();
    };
    let line = session.failed_letters_line.or(session.closing.map(|(_, line)| line));
    let hits = facts.logs.all();
    if hits.is_empty() {
        return vec![Finding::unknown(
            strength,
            Place::at(line, "a test failed, and nothing names it"),
        )];
    }
    let of_log = |hit: super::testlog::LogHit| Finding {
        test: facts.id_of(session, &hit.directory),
        ..hit.finding(facts, strength)
    };
    hits.into_iter().map(of_log).collect()
}

/// Whether a session that did not come to its end showed more failures than it names.
fn is_partly_nameless(session: &Session, cases: &[Case], strongest: Strength) -> bool {
    if session.closing.is_some() || !session.summary.is_empty() {
        return false;
    }
    if !session.sections.is_empty() {
        // Cut among its sections: each letter has one.
        return session.region == Region::Report && session.failed_letters > session.sections.len() as u64;
    }
    let named = cases.iter().filter(|case| !case.is_crashed).count() as u64;
    // A lost worker's test is shown failing; a session that dies itself shows no letter for the test it dies in.
    let is_of_worker = session.is_xdist || session.lost().next().is_some();
    if strongest == Strength::Crashed && is_of_worker {
        return session.failed_letters > named + session.lost().count() as u64;
    }
    if strongest == Strength::Crashed {
        return session.certain_letters > named;
    }
    session.failed_letters > named
}

/// What one failing test shows.
fn failure(facts: &Facts<'_>, session: &Session, case: &Case, is_thread_timeout: bool) -> Vec<Finding> {
    let id = case.id.as_deref().unwrap_or("");
    // The limit ended the worker, so the worker's death is no cause of its own.
    if is_thread_timeout && case.is_crashed && !case.is_forked {
        return vec![Finding::new(Strength::TimedOut).of(id)];
    }
    let strength = if case.is_crashed {
        Strength::Crashed
    } else if case.texts.iter().any(|text| is_timeout(&text.body)) {
        Strength::TimedOut
    } else {
        Strength::Failed
    };
    let mut found: Vec<Finding> = Vec::new();
    for text in &case.texts {
        let before = found.len();
        found.extend(facts.explain(strength, Scope::Failure, session.is_xdist, text));
        if case.is_crashed {
            found.extend(facts.explain(strength, Scope::Crash, session.is_xdist, text));
        }
        // A test that failed in its call and again in its teardown has two reasons, and each counts.
        let is_reason = case.told.contains(&text.first()) && strength == Strength::Failed;
        if found.len() == before
            && is_reason
            && let Some((line, words)) = headline(text)
        {
            found.push(Finding::unknown(strength, Place::at(line, &words)));
        }
    }
    if found.is_empty() && case.is_silent() && strength == Strength::Failed {
        let hits = facts.logs.of(nodeid::name(id)).into_iter();
        found.extend(hits.map(|hit| hit.finding(facts, strength)));
    }
    if found.is_empty() && strength == Strength::Failed {
        let text = case.texts.first().and_then(headline);
        let (line, text) = text.unwrap_or_else(|| (case.line, "failed without a reason on the console".to_owned()));
        found.push(Finding::unknown(strength, Place::at(line, &text)));
    }
    if found.is_empty() && case.is_crashed {
        let lost = session.lost().next();
        let fatal = session.stacks.iter().find(|stack| stack.kind == StackKind::Fatal);
        let place = lost.map(|mark| (mark.line, mark.text.as_str()));
        if let Some((line, text)) = place.or(fatal.map(|stack| (stack.line, stack.text.as_str()))) {
            found = facts.explain_line(strength, Scope::Crash, session.is_xdist, (Some(line), text));
        }
    }
    if found.is_empty() {
        found.push(Finding::new(strength));
    }
    for finding in &mut found {
        finding.test.clone_from(&case.id);
        if let Some(place) = &mut finding.evidence {
            place.worker.clone_from(&case.worker);
            if case.is_from_trail && place.file.is_none() {
                place.file = Some("tests.jsonl".to_owned());
            }
        }
    }
    found
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

/// pytest fell over an error of its own, or over a limit that struck outside of a test's own call.
fn internal(facts: &Facts<'_>, session: &Session, strongest: Strength) -> Vec<Finding> {
    let Some(internal) = session.internal.as_ref().filter(|_| strongest < Strength::Crashed) else {
        return Vec::new();
    };
    let is_timeout = is_timeout(&internal.text.body);
    let strength = if is_timeout {
        Strength::TimedOut
    } else {
        Strength::Failed
    };
    let mut found = facts.explain(strength, Scope::Failure, session.is_xdist, &internal.text);
    if found.is_empty() {
        let last = internal.text.body.lines().last().unwrap_or("INTERNALERROR");
        found.push(Finding::unknown(strength, Place::at(Some(internal.line), last)));
    }
    let tests = if is_timeout { facts.running(session) } else { Vec::new() };
    of_each(&found, &tests)
}

/// A rule of `!`: why the session stopped early.
fn stopped(facts: &Facts<'_>, session: &Session, line: u64, why: &str, strongest: Strength) -> Vec<Finding> {
    let text = why.strip_prefix("xdist.dsession.Interrupted: ").unwrap_or(why);
    if text.starts_with("maximum crashed workers") {
        return facts.explain_line(Strength::Crashed, Scope::Crash, true, (Some(line), text));
    }
    if text.starts_with("stopping after ") || text.starts_with("Interrupted: ") {
        // The failures it stops after are cases of their own.
        return vec![Finding::new(Strength::Nameless)];
    }
    if text.contains("KeyboardInterrupt") && facts.is_ended_by_itself() {
        // Nobody ended the session, so a test raised it.
        let found = facts.explain_line(Strength::Failed, Scope::Failure, session.is_xdist, (Some(line), text));
        return of_each(&found, &facts.running(session));
    }
    if text.contains("KeyboardInterrupt") {
        let found = facts.hung(Strength::Hung, session.is_xdist, Some(line), "interrupted");
        return of_each(&found, &facts.running(session));
    }
    if text.starts_with("session-timeout: ") {
        let words = format!("pytest-timeout: {text}");
        let place = (Some(line), words.as_str());
        return facts.explain_line(Strength::TimedOut, Scope::Crash, session.is_xdist, place);
    }
    if strongest == Strength::Crashed {
        return Vec::new();
    }
    let reason = text.split_once("Exit: ").map_or(text, |(_, reason)| reason);
    let mut words = Text::default();
    words.push(line, reason);
    let mut found = facts.explain(Strength::Failed, Scope::Failure, session.is_xdist, &words);
    if found.is_empty() {
        found.push(Finding::unknown(Strength::Failed, Place::at(Some(line), text)));
    }
    found
}
