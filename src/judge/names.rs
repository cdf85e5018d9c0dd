//! The names that a session uses: what completes an id or a path that the console shows in part only.

use std::collections::{BTreeSet, HashSet};

use super::pytest::console::section::{Section, SectionKind, e_line};
use super::pytest::console::session::{Session, Summary, Text};
use super::pytest::console::stack::Stack;
use super::pytest::nodeid;

/// Widths that terminals are given where nobody asks for one: a line that fills them may have been cut.
const WIDTHS: [usize; 4] = [80, 100, 120, 132];

/// The names that a session uses, to complete those that it cuts.
pub(super) struct Names<'a> {
    session: &'a Session,
    /// Ids of tests that the progress shows failing.
    failed: BTreeSet<&'a str>,
    /// Titles of sections.
    titles: BTreeSet<&'a str>,
    /// Files of tests that failed or ran.
    files: HashSet<&'a str>,
    /// The terminal's width, where several lines of the summary fill it and go on on the next line.
    full: Option<usize>,
}

impl<'a> Names<'a> {
    pub(super) fn new(session: &'a Session) -> Names<'a> {
        let failed = session.failed.iter().map(|failed| failed.id.as_str());
        let ids = failed.clone().chain(session.running.iter().map(String::as_str));
        Names {
            session,
            failed: failed.collect(),
            titles: session.sections.iter().map(|section| section.title.as_str()).collect(),
            files: ids.map(nodeid::file).collect(),
            full: full_width(&session.summary),
        }
    }

    /// Reads a summary line's id and reason, also where a terminal cut or wrapped it.
    pub(super) fn read_summary(&self, entry: &Summary) -> (String, Text) {
        let mut raw = entry.raw.trim_end().to_owned();
        let mut more = entry.more.body.lines();
        let mut wrapped = 0;
        // An id that fills the line, or whose bracket is still open, goes on on the next line.
        while wrapped < 4 && self.is_cut(&raw, &entry.raw) {
            let next = more.clone().next();
            let Some(next) = next.filter(|next| !next.is_empty() && !next.starts_with(' ')) else {
                break;
            };
            let joined = format!("{raw}{}", next.trim_end());
            let id = &joined[..self.id_length(&joined)];
            let is_sensible = self.failed.contains(id)
                || self.titles.contains(nodeid::title(id).as_str())
                || !next.split(" - ").next().unwrap_or(next).contains(' ');
            if !is_sensible {
                break;
            }
            raw = joined;
            more.next();
            wrapped += 1;
        }
        let end = self.id_length(&raw);
        let id = raw[..end].trim_end();
        let reason = raw[end..].trim_start().strip_prefix("- ").unwrap_or("");
        let mut text = Text::default();
        if !reason.is_empty() {
            text.push(entry.line, reason);
        }
        for (offset, line) in (1..).zip(more) {
            // Without a reason of its own an entry has one only in `E` lines, which somebody set below it.
            let told = if reason.is_empty() {
                e_line(line).map(str::trim_start)
            } else {
                Some(line)
            };
            if let Some(told) = told {
                text.push(entry.line + wrapped + offset, told);
            }
        }
        // A line that was cut off names the beginning of an id; a section or the progress has all of it.
        let may_be_cut = id.contains('[') && !id.ends_with(']') || (reason.is_empty() && entry.raw.len() >= 70);
        let title = nodeid::title(id);
        if may_be_cut && !self.titles.contains(title.as_str()) {
            let whole = longer(&self.failed, id).map(str::to_owned);
            let whole = whole.or_else(|| Some(nodeid::from_title(nodeid::file(id), longer(&self.titles, &title)?)));
            return (whole.unwrap_or_else(|| id.to_owned()), text);
        }
        (nodeid::slashed(id).into_owned(), text)
    }

    /// Whether a section or the progress shows a test failing too.
    pub(super) fn is_shown(&self, id: &str) -> bool {
        let title = nodeid::title(id);
        let is_described =
            || longer(&self.titles, &title).is_some_and(|whole| whole[title.len()..].starts_with([' ', '[']));
        let is_collected = || self.titles.contains(format!("ERROR collecting {id}").as_str());
        self.failed.contains(id) || self.titles.contains(title.as_str()) || is_described() || is_collected()
    }

    /// Whether an id goes on on the next line: it fills the line, or its bracket is still open.
    fn is_cut(&self, raw: &str, first: &str) -> bool {
        let length = first.chars().count();
        let mut widths = ["FAILED ", "ERROR "].iter().map(|word| length + word.len());
        let is_full = self.full == Some(length) || widths.any(|width| WIDTHS.contains(&width));
        let has_open_bracket = raw.contains('[') && nodeid::length(raw) == raw.len() && !raw.ends_with(']');
        has_open_bracket
            || (is_full && !raw.contains(" - ") && raw.len() == first.trim_end().len() && !raw.ends_with(']'))
    }

    /// Length of the id that a summary line starts with.
    fn id_length(&self, raw: &str) -> usize {
        let ends = raw.match_indices(" - ").map(|(at, _)| at).take(64).chain([raw.len()]);
        if let Some(end) = ends.filter(|end| self.failed.contains(&raw[..*end])).last() {
            return end;
        }
        let length = nodeid::length(raw);
        // A name may hold a blank outside of brackets; the reason starts at the dash.
        if raw[length..].is_empty() || raw[length..].starts_with(" - ") {
            length
        } else {
            raw.find(" - ").unwrap_or(raw.len())
        }
    }

    /// The id of a section that neither the summary nor the progress lists.
    pub(super) fn unlisted_id(&self, section: &Section) -> Option<String> {
        if section.title.is_empty() {
            return None;
        }
        let only_file = self.session.last_file.as_deref().filter(|_| self.session.n_files == 1);
        if let Some(name) = section.title.strip_prefix("[doctest] ") {
            let file = section.file.as_deref().or(only_file)?;
            return Some(format!("{}::{name}", self.relative(file)));
        }
        if nodeid::starts(&section.title) {
            return Some(section.title.clone());
        }
        let file = match (&section.file, only_file) {
            (Some(file), _) if section.is_test_file => self.relative(file),
            (_, Some(file)) => file.to_owned(),
            // A fixture's place is not where its test lives.
            (Some(file), None) if section.kind != SectionKind::Fixture => self.relative(file),
            (_, None) => return None,
        };
        // A subtest's message stands behind the test's own name.
        let title = match (section.title.find(" ["), section.title.find(" (")) {
            (Some(at), _) | (None, Some(at)) if !section.title[..at].contains('[') => &section.title[..at],
            _ => &section.title,
        };
        Some(nodeid::from_title(&file, title))
    }

    /// A path as node ids write it: relative to pytest's root directory, with slashes on every system.
    pub(super) fn relative(&self, file: &str) -> String {
        self.below_root(file).trim_start_matches(".../").replace('\\', "/")
    }

    fn below_root<'b>(&'b self, file: &'b str) -> &'b str {
        if let Some(rootdir) = &self.session.rootdir
            && let Some(rest) = file.strip_prefix(rootdir.as_str())
        {
            return rest.trim_start_matches(['/', '\\']);
        }
        if let Some(last) = &self.session.last_file
            && file.ends_with(last.as_str())
        {
            return last;
        }
        let parts = file.match_indices('/').map(|(at, _)| at + 1);
        let mut ends = std::iter::once(0).chain(parts).map(|at| &file[at..]);
        ends.find(|end| self.files.contains(end))
            .unwrap_or_else(|| file.strip_prefix("/workspace/").unwrap_or(file))
    }
}

/// The test that a stack passes through, as a node id without its parameter.
pub(super) fn stack_test(session: &Session, stack: &Stack) -> Option<String> {
    if let Some(file) = &stack.module {
        return Some(Names::new(session).relative(file));
    }
    let (file, function) = stack.test()?;
    Some(nodeid::from_title(&Names::new(session).relative(file), function))
}

/// The first of some names that begins with a text and is longer.
fn longer<'a>(names: &BTreeSet<&'a str>, start: &str) -> Option<&'a str> {
    let after = (std::ops::Bound::Excluded(start), std::ops::Bound::Unbounded);
    names
        .range::<str, _>(after)
        .next()
        .copied()
        .filter(|name| name.starts_with(start))
}

/// The length that at least two lines of a summary have which nothing but a next line tells more of.
fn full_width(summary: &[Summary]) -> Option<usize> {
    let is_wrapped = |entry: &&Summary| {
        let next = entry.more.body.lines().next().unwrap_or("");
        !entry.raw.contains(" - ") && !next.is_empty() && !next.contains(' ')
    };
    let lengths = || summary.iter().filter(is_wrapped).map(|entry| entry.raw.chars().count());
    let longest = lengths().max()?;
    (lengths().filter(|length| *length == longest).count() > 1).then_some(longest)
}
