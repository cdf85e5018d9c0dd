//! The precedence: what a run came to, why, and which fact lied.

use std::collections::BTreeSet;
use std::io;

use crate::model::{Counts, Crash, CrashKind, Evidence, Outcome, OutcomeKind};
use crate::pytest::console::session::{Session, Text};

use super::account::rule_session;
use super::case::Case;
use super::ending::{rule_end, rule_nothing};
use super::facts::Facts;
use super::{Scope, UNKNOWN};

/// Most entries of evidence kept.
const MAX_EVIDENCE: usize = 200;

/// What has been concluded so far.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own; any of them may hold together"
)]
pub(super) struct Ruling {
    pub(super) is_hung: bool,
    pub(super) is_crashed: bool,
    pub(super) is_timed_out: bool,
    pub(super) has_failed: bool,
    /// Places in the signature set.
    pub(super) categories: BTreeSet<usize>,
    pub(super) has_unknown: bool,
    /// Whether a failure is there that is not infrastructure's.
    pub(super) has_real: bool,
    pub(super) failing: Vec<String>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) crashes: Vec<Crash>,
    pub(super) notes: Vec<String>,
    pub(super) counts: Counts,
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
    if let Some(cut) = facts.exit.and_then(|exit| exit.log_cut) {
        ruling.note(format!(
            "{cut} bytes in the middle of {} were not kept (--max-log)",
            facts.file
        ));
    }
    Ok(ruling.finish(facts, kind))
}

impl Ruling {
    /// Whether anything says why the session did not end well.
    pub(super) fn is_explained(&self) -> bool {
        self.is_hung || self.is_crashed || self.is_timed_out || self.has_failed
    }

    pub(super) fn fail(&mut self, id: Option<&str>) {
        self.has_failed = true;
        if let Some(id) = id
            && !id.is_empty()
            && !self.failing.iter().any(|known| known == id)
        {
            self.failing.push(id.to_owned());
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) && self.notes.len() < 50 {
            self.notes.push(text);
        }
    }

    pub(super) fn evidence(
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
    pub(super) fn matches_line(
        &mut self,
        facts: &Facts<'_>,
        scope: Scope,
        is_xdist: bool,
        line: Option<u64>,
        text: &str,
    ) -> bool {
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

    pub(super) fn unknown(&mut self, facts: &Facts<'_>, place: (Option<u64>, &str), case: Option<&Case>) {
        self.has_unknown = true;
        self.has_real = true;
        self.evidence(facts, None, place, case);
    }

    /// A process died: `words` is how, for the `exit` scope.
    pub(super) fn crash(
        &mut self,
        facts: &Facts<'_>,
        session: &Session,
        kind: CrashKind,
        line: Option<u64>,
        words: &str,
    ) {
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

    pub(super) fn hang(&mut self, facts: &Facts<'_>, is_xdist: bool, line: Option<u64>, why: &str) {
        self.is_hung = true;
        let words = format!("ended from outside: {why}");
        if !self.matches_line(facts, Scope::Exit, is_xdist, line, &words) {
            self.unknown(facts, (line, &words), None);
        }
    }

    pub(super) fn finish(mut self, facts: &Facts<'_>, fallback: OutcomeKind) -> Outcome {
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
    pub(super) fn contradictions(&mut self, facts: &Facts<'_>, kind: OutcomeKind) {
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
