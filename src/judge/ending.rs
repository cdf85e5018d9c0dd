//! How the last session ended, where it did not say so itself: from exit facts, wrappers' words, and where the log stops.

use std::io;

use crate::model::{CrashKind, OutcomeKind};
use crate::pytest::console::session::{MarkKind, Region, Session};
use crate::pytest::console::stack::StackKind;

use super::deaths::{running, stack_test};
use super::facts::Facts;
use super::verdict::Ruling;
use super::{Scope, case, testlog};

/// Says how the last session ended; returns what the run came to where nothing failed.
pub(super) fn rule_end(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
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
        && (is_finished || !ruling.is_timed_out)
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
    // Somebody's kill looks like the memory limit's; the test's own log may say where it hung.
    let is_killed_hang = end.signal == Some(9)
        && !is_finished
        && !facts.exit.is_some_and(|exit| exit.oom_killed)
        && testlog::is_at_hang(facts)?;
    if is_killed_hang && !ruling.is_crashed {
        ruling.hang(facts, session.is_xdist, None, "killed where a test's log stands still");
        rule_running(facts, session, ruling)?;
        return Ok(OutcomeKind::Hung);
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

pub(super) fn rule_finished(facts: &Facts<'_>, session: &Session) -> OutcomeKind {
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
pub(super) fn rule_cut(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
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
    // Tests failed, pytest said so, and only the log is incomplete.
    if ruling.has_failed && end.code == Some(1) && session.running.is_empty() {
        return Ok(OutcomeKind::Failed);
    }
    match end.code {
        Some(code) if !testlog::is_at_hang(facts)? => {
            let words = format!("died: exit code {code} before the session's end");
            ruling.crash(facts, session, CrashKind::Session, None, &words);
        }
        Some(_) | None => {
            let line = facts.console.last.as_ref().map(|(line, _)| *line);
            ruling.hang(facts, session.is_xdist, line, "the log stops before the session's end");
        }
    }
    rule_running(facts, session, ruling)?;
    Ok(OutcomeKind::Hung)
}

/// Names the tests that were running when the session ended.
pub(super) fn rule_running(facts: &Facts<'_>, session: &Session, ruling: &mut Ruling) -> io::Result<()> {
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
pub(super) fn rule_nothing(facts: &Facts<'_>, ruling: &mut Ruling) -> io::Result<OutcomeKind> {
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
        // Its own output was still in a buffer; the stack knows the test.
        if let Some(test) = stack_test(&session, fatal).filter(|_| fatal.is_pytest) {
            ruling.fail(Some(&test));
        }
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
        None if is_talk(facts) => {
            let line = console.last.as_ref().map(|(line, _)| *line);
            ruling.hang(facts, false, line, "the log stops, and nothing says why");
            rule_running(facts, &session, ruling)?;
            Ok(OutcomeKind::Hung)
        }
        Some(_) | None => {
            ruling.note("nothing in the log is a pytest session");
            Ok(OutcomeKind::Infra)
        }
    }
}

/// Whether a log is what programs print while they run, as a quiet session without capture leaves it, and ends in no
/// complaint of whoever should have started one.
fn is_talk(facts: &Facts<'_>) -> bool {
    facts.console.last.as_ref().is_some_and(|(_, last)| {
        let last = last.to_ascii_lowercase();
        ![
            "error",
            "fatal",
            "cannot",
            "failed",
            "not found",
            "denied",
            "unable",
            "invalid",
        ]
        .iter()
        .any(|word| last.contains(word))
    })
}
