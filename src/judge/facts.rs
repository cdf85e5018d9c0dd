//! What is known about how a run ended, put together from exit facts, the console's wrappers and the trail.

use std::collections::HashSet;

use super::pytest::console::phrases::{self, Says};
use super::pytest::console::session::{MAX_ENTRIES, Mark, Region, Session, Text};
use crate::judge::pytest::console::Console;
use crate::judge::pytest::trail::Trail;
use crate::judge::{Counts, EndedBy, Ending, Exit};

use super::finding::{Cause, Finding, Place, Strength};
use super::names::{Names, stack_test};
use super::pytest::argv;
use super::pytest::console::stack::Stack;
use super::pytest::nodeid;
use super::testlog::TestLogs;
use super::{Crash, CrashKind, Scope, SignatureSet};

/// Everything the judge looks at.
pub(super) struct Facts<'a> {
    /// Name of the console log.
    pub file: String,
    /// What it says.
    pub console: Console,
    /// The trail, where there is one with anything in it.
    pub trail: Option<Trail>,
    /// How the process ended.
    pub exit: Option<&'a Exit>,
    /// What the tests wrote themselves.
    pub logs: TestLogs<'a>,
    /// The rules.
    pub signatures: &'a SignatureSet,
}

/// How the last process of a run ended, as far as anything says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Exit code, from the exit facts or a wrapper's words.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Whether the session is known to have sent it to itself.
    pub is_own: bool,
}

impl End {
    /// Whether a signal ended it that nobody sends to a session on purpose: an abort, a fault, a kill, one of its own.
    pub(super) fn is_death(self) -> bool {
        self.signal
            .is_some_and(|signal| self.is_own || !matches!(signal, 1 | 2 | 13 | 15))
    }

    /// Whether it was told to end: HUP, INT, TERM.
    pub(super) fn is_told(self) -> bool {
        !self.is_own && matches!(self.signal, Some(1 | 2 | 15))
    }
}

impl Facts<'_> {
    /// Tests that the trail saw begin and not end; where there are none, files in the middle of their collection.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let tests = self.trail.iter().flat_map(Trail::unfinished);
        let mut ids: Vec<String> = tests
            .filter(|test| seen.insert(&test.id))
            .take(MAX_ENTRIES)
            .map(|test| test.id.clone())
            .collect();
        if ids.is_empty() {
            ids.extend(self.trail.iter().flat_map(|trail| trail.collecting.iter().cloned()));
        }
        ids
    }

    /// The tests that ran when the session ended: as the progress has it, or the trail, or the stack of whoever looked
    /// into the session, or the log of a test that stands where tests are known to hang.
    pub(super) fn running(&self, session: &Session) -> Vec<String> {
        if !session.running.is_empty() {
            return session.running.iter().cloned().collect();
        }
        let unfinished = self.unfinished();
        if !unfinished.is_empty() {
            return unfinished;
        }
        let mut stacks = session.stacks.iter().rev().filter(|stack| !stack.is_followed);
        if let Some(test) = stacks.find_map(|stack| stack_test(session, stack)) {
            return vec![test];
        }
        let logs = self.logs.standing().into_iter();
        logs.filter_map(|hit| self.id_of(session, &hit.directory)).collect()
    }

    /// The test that a serial session stopped in: the progress and the trail know its parameter, a stack does not.
    pub(super) fn stopped_test(&self, session: &Session, stack: &Stack) -> Option<String> {
        if stack.running.is_some() {
            return stack.running.clone();
        }
        let mut unfinished = self.unfinished();
        if unfinished.len() == 1 {
            return unfinished.pop();
        }
        stack_test(session, stack)
    }

    /// The node id of the test that a directory of logs is named after, from what the session shows.
    pub(super) fn id_of(&self, session: &Session, name: &str) -> Option<String> {
        let failed = session.failed.iter().map(|failed| &failed.id);
        let trail = self
            .trail
            .iter()
            .flat_map(|trail| trail.tests.iter().map(|test| &test.id));
        let mut known = session.running.iter().chain(failed).chain(trail);
        if let Some(known) = known.find(|id| nodeid::name(id) == name) {
            return Some(known.clone());
        }
        let file = session.last_file.as_deref()?;
        Some(nodeid::from_title(&Names::new(session).relative(file), name))
    }

    /// A finding of a signature. What is the network's or the engine's fault says nothing about the test.
    pub(super) fn matched(&self, strength: Strength, signature: usize, place: Place) -> Finding {
        let is_infra = matches!(strength, Strength::Failed | Strength::Nameless) && self.signatures.at(signature).infra;
        Finding {
            cause: Cause::Signature(signature),
            evidence: Some(place),
            ..Finding::new(if is_infra { Strength::Infra } else { strength })
        }
    }

    /// One finding for each signature that matches a text; none where no signature does.
    pub(super) fn explain(&self, strength: Strength, scope: Scope, is_xdist: bool, text: &Text) -> Vec<Finding> {
        let hits = self.signatures.find(scope, is_xdist, &text.body).into_iter();
        hits.map(|hit| {
            let (line, text) = text.line_at(hit.offset).unwrap_or_default();
            self.matched(strength, hit.signature, Place::at(Some(line), text))
        })
        .collect()
    }

    /// The findings that one line, or a fact that is no line, makes in a scope; of an unknown cause where no signature
    /// matches.
    pub(super) fn explain_line(
        &self,
        strength: Strength,
        scope: Scope,
        is_xdist: bool,
        (line, words): (Option<u64>, &str),
    ) -> Vec<Finding> {
        let place = Place::at(line, words);
        let hits = self.signatures.find(scope, is_xdist, words);
        if hits.is_empty() {
            return vec![Finding::unknown(strength, place)];
        }
        let hits = hits.into_iter();
        hits.map(|hit| self.matched(strength, hit.signature, place.clone()))
            .collect()
    }

    /// A session of which somebody had to make an end: `why` is how, for the scope `exit`.
    pub(super) fn hung(&self, strength: Strength, is_xdist: bool, line: Option<u64>, why: &str) -> Vec<Finding> {
        let words = format!("ended from outside: {why}");
        self.explain_line(strength, Scope::Exit, is_xdist, (line, &words))
    }

    /// A process that died: `words` say how, for the scope `exit`.
    pub(super) fn died(
        &self,
        strength: Strength,
        session: &Session,
        kind: CrashKind,
        (line, words): (Option<u64>, &str),
    ) -> Vec<Finding> {
        let mut found = self.explain_line(strength, Scope::Exit, session.is_xdist, (line, words));
        found[0].crash = Some(Crash {
            kind,
            late: session.closing.is_some(),
            test: None,
            worker: None,
            frame: None,
            line,
        });
        found
    }

    /// Lines of other programs that nothing of pytest's follows.
    pub(super) fn tail(&self) -> impl Iterator<Item = &Mark> {
        let last = self.console.sessions.last();
        // Words before a session that then ran say nothing about how it ended. But of a piece without a beginning and
        // an end somebody may have told the end first.
        let is_piece = last.is_some_and(|session| !session.has_header && session.closing.is_none());
        let before = self.console.before.marks.iter();
        before
            .filter(move |mark| last.is_none() || (is_piece && mark.says.is_status_of_death()))
            .chain(last.into_iter().flat_map(|session| session.marks.iter()))
            .filter(|mark| !mark.is_followed)
    }

    /// Exit code and signal. The exit facts come first; a wrapper's words count where there are none.
    pub(super) fn end(&self) -> End {
        let told = self.tail().filter_map(|mark| match mark.says {
            Says::Status(code) => Some(code),
            _ => None,
        });
        let ending = self.exit.and_then(|exit| exit.ending);
        let own = self.exit.and_then(|exit| exit.code);
        // Of several statuses the one that says that a process died counts: a build tool passes on one of its own.
        let told: Vec<i32> = told.filter(|_| own != Some(0) && !self.is_direct()).collect();
        let died = told.iter().rfind(|code| phrases::is_death(**code)).copied();
        let code = died
            .filter(|_| own.is_none_or(|own| !phrases::is_death(own)))
            .or(own)
            .or(told.last().copied());
        let signal = self
            .exit
            .and_then(|exit| exit.signal)
            // Python tells a signal as a negative code, a shell as one above 128.
            .or_else(|| code.filter(|code| (-64..0).contains(code)).map(|code| -code))
            .or_else(|| code.filter(|code| (129..=159).contains(code)).map(|code| code - 128))
            // What knows the status of a process that ended knows it better than a number.
            .filter(|_| ending != Some(Ending::Exited));
        End {
            code,
            signal,
            is_own: ending == Some(Ending::SignalFromInside),
        }
    }

    /// Why we know that the session was ended from outside, in the words of the `exit` scope; `None` when it was not,
    /// or nothing says so.
    pub(super) fn ended_outside(&self) -> Option<String> {
        let ended_by = self.witness().map(|exit| exit.ended_by);
        match ended_by.or(self.console.marker.and_then(|(_, by)| by)) {
            Some(EndedBy::Deadline) => return Some("by the deadline".to_owned()),
            Some(EndedBy::Silence) => return Some("after a silence".to_owned()),
            None if self.console.marker.is_some() => return Some("by us, as the marker says".to_owned()),
            Some(EndedBy::Itself | EndedBy::Cancel) | None => {}
        }
        if self.end().code == Some(124) && !self.is_direct() {
            return Some("by `timeout`: exit code 124".to_owned());
        }
        // Exit facts outrank what the log says of the harness.
        if ended_by.is_some() {
            return None;
        }
        // What came to its closing line, and of whose end a wrapper tells then, was no more when somebody lost patience.
        let is_closed = self
            .console
            .sessions
            .last()
            .is_some_and(|session| session.closing.is_some());
        let is_over = |mark: &&Mark| is_closed && matches!(mark.says, Says::Ended | Says::Status(0..=5));
        self.tail()
            .take_while(|mark| !is_over(mark))
            .find(|mark| mark.says == Says::EndedOutside)
            .map(|mark| format!("as line {} says", mark.line))
    }

    /// How many tests ended in which way, by what says it best: the sessions' closing lines, their progress, the trail.
    pub(super) fn counts(&self) -> Option<Counts> {
        let told = self.console.sessions.iter().filter_map(Session::counts);
        let told = told.reduce(|mut all, counts| {
            all += counts;
            all
        });
        let tests = self.trail.iter().flat_map(|trail| &trail.tests);
        told.or_else(|| {
            let done: Vec<_> = tests.filter(|test| test.is_done).collect();
            (!done.is_empty()).then(|| {
                let failed = done.iter().filter(|test| test.is_failed).count() as u64;
                let rerun = done.iter().filter(|test| test.is_rerun).count() as u64;
                Counts {
                    passed: done.len() as u64 - failed - rerun,
                    failed,
                    rerun,
                    ..Counts::default()
                }
            })
        })
    }

    /// Tests that were run again in the same session, as the trail knows them, or the progress.
    pub(super) fn reran(&self) -> Vec<String> {
        match &self.trail {
            Some(trail) if !trail.tests.is_empty() => trail.reran.clone(),
            Some(_) | None => {
                let sessions = self.console.sessions.iter();
                let mut seen = HashSet::new();
                let ids = sessions.flat_map(|session| &session.reran);
                ids.filter(|id| seen.insert(*id)).cloned().collect()
            }
        }
    }

    /// Exit facts of whoever ran the session, who knows who ended it; a code alone tells nothing of that.
    pub(super) fn witness(&self) -> Option<&Exit> {
        self.exit.filter(|exit| !exit.is_bare)
    }

    /// Whether the facts say that nobody but the session ended it.
    pub(super) fn is_ended_by_itself(&self) -> bool {
        self.exit
            .is_some_and(|exit| exit.ended_by == EndedBy::Itself && !exit.argv.is_empty())
    }

    /// Whether the exit facts are pytest's own, with no wrapper in between that may have changed them.
    pub(super) fn is_direct(&self) -> bool {
        let argv = self.exit.map_or(&[][..], |exit| &exit.argv);
        let is_pytest = |word: &String| word.rsplit('/').next() == Some("pytest");
        argv.first().is_some_and(is_pytest) || argv.get(1..3).is_some_and(|words| words == ["-m", "pytest"])
    }

    /// Whether the user ended it, which makes it no result.
    pub(super) fn is_cancelled(&self) -> bool {
        let told = self.console.marker.and_then(|(_, by)| by);
        self.witness().map(|exit| exit.ended_by).or(told) == Some(EndedBy::Cancel)
    }

    /// Whether the session never meant to print a closing line and yet reached its end.
    pub(super) fn is_silently_complete(&self, session: &Session) -> bool {
        let is_trail_green = self
            .trail
            .as_ref()
            .is_some_and(|trail| trail.is_finished && trail.unfinished().next().is_none());
        if is_trail_green {
            return true;
        }
        let is_at_end = !session.has_header
            && !session.is_verbose
            && session.percent == Some(100)
            && !session.is_row_open
            && session.region == Region::Progress
            && !self.console.is_cut_in_line;
        let is_quiet = self.exit.is_some_and(|exit| argv::prints_no_closing(&exit.argv));
        is_at_end || (is_quiet && self.end().code == Some(0))
    }
}
