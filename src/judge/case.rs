//! The failing tests of one session: its sections, summary lines and progress joined into one case a test.

use std::collections::HashMap;

use crate::pytest::console::session::{SectionKind, Session, Summary, Text};
use crate::pytest::nodeid;
use crate::pytest::row::Status;
use crate::pytest::trail::{self, Trail};

/// One failing test, or one failure whose test nothing names.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; any of them may hold together"
)]
pub(super) struct Case {
    /// Node id; for a collection error the file. `None` where nothing names it.
    pub id: Option<String>,
    /// xdist worker.
    pub worker: Option<String>,
    /// First line of the console that shows it failing.
    pub line: Option<u64>,
    /// What the console says about why.
    pub texts: Vec<Text>,
    /// Whether the process that ran it died.
    pub is_crashed: bool,
    /// Whether that was a forked child.
    pub is_forked: bool,
    /// Whether its text is the trail's and not the console's.
    pub is_from_trail: bool,
    /// Whether pytest-timeout ended it.
    pub is_timed_out: bool,
}

/// Joins what a session says about its failing tests.
pub(super) fn cases(session: &Session) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut from_summary: Vec<(usize, Status)> = Vec::new();
    let titles: Vec<String> = session.sections.iter().map(|section| section.title.clone()).collect();
    for entry in &session.summary {
        let (id, text) = read_summary(entry, session, &titles);
        // A section tells the same failure in full.
        let is_remnant = entry.is_cut && !(session.sections.is_empty() && nodeid::starts(&entry.raw));
        if is_worker(&id) || is_remnant {
            continue;
        }
        let at = find_or_add(&mut cases, &id, entry.line);
        if !text.is_empty() {
            cases[at].texts.push(text);
        }
        from_summary.push((at, entry.status));
    }
    for failed in &session.failed {
        let at = find_or_add(&mut cases, &failed.id, failed.line);
        let case = &mut cases[at];
        case.line = case.line.map(|line| line.min(failed.line));
        if case.worker.is_none() {
            case.worker.clone_from(&failed.worker);
        }
    }
    // Titles are not unique: same-named tests of two files are told apart by the file their traceback shows, and
    // else by their order, which sections and summary share.
    let mut taken = vec![0_usize; cases.len()];
    for section in &session.sections {
        let id = match (&section.crashed, section.kind) {
            (Some(id), _) => Some(id.clone()),
            (None, SectionKind::Collection) => {
                (!is_worker(&section.title)).then(|| section.title.trim_end_matches('/').to_owned())
            }
            (None, SectionKind::Call | SectionKind::Fixture | SectionKind::Internal) => {
                if let Some(at) = join(&cases, &taken, session, section) {
                    taken.resize(cases.len(), 0);
                    if section.kind == SectionKind::Call {
                        taken[at] += 1;
                    }
                    cases[at].id.clone()
                } else {
                    unlisted_id(session, section)
                }
            }
        };
        let at = if let Some(id) = &id {
            find_or_add(&mut cases, id, section.line)
        } else {
            cases.push(Case {
                line: Some(section.line),
                ..Case::default()
            });
            cases.len() - 1
        };
        let case = &mut cases[at];
        case.is_crashed |= section.crashed.is_some() || section.is_forked_crash;
        case.is_forked |= section.is_forked_crash;
        if case.worker.is_none() {
            case.worker.clone_from(&section.worker);
        }
        if !section.text.is_empty() {
            case.texts.insert(0, section.text.clone());
        }
    }
    cases
}

/// Adds what the trail knows: failing tests that the console does not name, and reasons that it does not give.
pub(super) fn add_trail(cases: &mut Vec<Case>, trail: &Trail) {
    // Of several attempts at one test the last one counts, but the same test may run on every worker.
    let mut last: HashMap<(&str, Option<&str>), &trail::Test> = HashMap::new();
    for test in &trail.tests {
        last.insert((&test.id, test.worker.as_deref()), test);
    }
    for test in &trail.tests {
        let is_last = last
            .get(&(test.id.as_str(), test.worker.as_deref()))
            .is_some_and(|last| std::ptr::eq(*last, test));
        if !is_last || !test.is_failed {
            continue;
        }
        let reason = test.reason.as_ref().map(|(line, reason)| (*line, reason.as_str()));
        add_reason(cases, &test.id, test.worker.as_deref(), reason);
    }
    for (id, reason, line) in &trail.collect_errors {
        add_reason(cases, id, None, Some((*line, reason)));
    }
}

fn add_reason(cases: &mut Vec<Case>, id: &str, worker: Option<&str>, reason: Option<(u64, &str)>) {
    let at = cases
        .iter()
        .position(|case| case.id.as_deref() == Some(id))
        .unwrap_or_else(|| {
            cases.push(Case {
                id: Some(id.to_owned()),
                worker: worker.map(str::to_owned),
                ..Case::default()
            });
            cases.len() - 1
        });
    let case = &mut cases[at];
    let is_silent = case.texts.iter().all(|text| text.body.trim().is_empty());
    if let Some((line, reason)) = reason
        && is_silent
        && !case.is_crashed
    {
        let mut text = Text::default();
        for part in reason.lines() {
            text.push(line, part);
        }
        case.texts.push(text);
        case.is_from_trail = true;
    }
}

/// Whether a name is a worker's: workers that collected different tests are listed like files.
fn is_worker(name: &str) -> bool {
    name.strip_prefix("gw")
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

fn find_or_add(cases: &mut Vec<Case>, id: &str, line: u64) -> usize {
    if let Some(at) = cases.iter().position(|case| case.id.as_deref() == Some(id)) {
        return at;
    }
    cases.push(Case {
        id: Some(id.to_owned()),
        line: Some(line),
        ..Case::default()
    });
    cases.len() - 1
}

/// Reads a summary line's id and reason, also where a terminal cut or wrapped it.
fn read_summary(entry: &Summary, session: &Session, titles: &[String]) -> (String, Text) {
    let mut raw = entry.raw.trim_end().to_owned();
    let mut more = entry.more.body.lines();
    let mut wrapped = 0;
    // An id that fills the line, or whose bracket is still open, goes on on the next line.
    while wrapped < 4 && is_cut(&raw, &entry.raw) {
        let Some(next) = more
            .clone()
            .next()
            .filter(|next| !next.is_empty() && !next.starts_with(' '))
        else {
            break;
        };
        let joined = format!("{raw}{}", next.trim_end());
        let id = &joined[..id_length(&joined, session)];
        let is_sensible = session.failed.iter().any(|failed| failed.id == id)
            || titles.iter().any(|title| *title == nodeid::title(id))
            || !next.split(" - ").next().unwrap_or(next).contains(' ');
        if !is_sensible {
            break;
        }
        raw = joined;
        more.next();
        wrapped += 1;
    }
    let end = id_length(&raw, session);
    let mut id = raw[..end].trim_end().to_owned();
    let reason = raw[end..].trim_start().strip_prefix("- ").unwrap_or("");
    let mut text = Text::default();
    if !reason.is_empty() {
        text.push(entry.line, reason);
        for (offset, line) in (1..).zip(more) {
            text.push(entry.line + wrapped + offset, line);
        }
    }
    // A line that was cut off names the beginning of an id; a section or the progress has all of it.
    if id.contains('[') && !id.ends_with(']') || (reason.is_empty() && entry.raw.len() >= 70) {
        let known = session
            .failed
            .iter()
            .map(|failed| failed.id.clone())
            .chain(titles.iter().map(|title| nodeid::from_title(nodeid::file(&id), title)))
            .find(|known| known.starts_with(&id) && known.len() > id.len());
        if let Some(known) = known
            && !titles.iter().any(|title| *title == nodeid::title(&id))
        {
            id = known;
        }
    }
    (id, text)
}

fn is_cut(raw: &str, first: &str) -> bool {
    let is_full = [80, 100, 120, 132].contains(&(first.chars().count() + "FAILED ".len()))
        || [80, 100, 120, 132].contains(&(first.chars().count() + "ERROR ".len()));
    let has_open_bracket = raw.contains('[') && nodeid::length(raw) == raw.len() && !raw.ends_with(']');
    has_open_bracket || (is_full && !raw.contains(" - ") && raw.len() == first.trim_end().len() && !raw.ends_with(']'))
}

/// Length of the id that a summary line starts with.
fn id_length(raw: &str, session: &Session) -> usize {
    let known = session
        .failed
        .iter()
        .map(|failed| failed.id.as_str())
        .filter(|id| raw.starts_with(id) && (raw.len() == id.len() || raw[id.len()..].starts_with(" - ")))
        .map(str::len)
        .max();
    known.unwrap_or_else(|| {
        let length = nodeid::length(raw);
        // A name may hold a blank outside of brackets; the reason starts at the dash.
        if raw[length..].is_empty() || raw[length..].starts_with(" - ") {
            length
        } else {
            raw.find(" - ").unwrap_or(raw.len())
        }
    })
}

/// The known failing test that a section's title belongs to.
fn join(
    cases: &[Case],
    taken: &[usize],
    session: &Session,
    section: &crate::pytest::console::session::Section,
) -> Option<usize> {
    if section.title.is_empty() {
        // `--tb=line` names the file only, in the order of the summary.
        let free = |at: usize, case: &Case| taken.get(at) == Some(&0) && case.texts.is_empty();
        let file = section.file.as_deref().map(|file| relative(file, session));
        let mut in_order = cases.iter().enumerate().filter(|(at, case)| free(*at, case));
        let by_file = in_order
            .clone()
            .find(|(_, case)| file.is_some() && case.id.as_deref().map(nodeid::file) == file.as_deref());
        return by_file.or_else(|| in_order.next()).map(|(at, _)| at);
    }
    let fits = |id: &str| {
        let title = nodeid::title(id);
        section.title == title
            || section
                .title
                .strip_prefix(&title)
                .is_some_and(|rest| rest.starts_with(" [") || rest.starts_with(" ("))
            || section.title == id
            || section
                .title
                .strip_prefix("[doctest] ")
                .is_some_and(|name| id.ends_with(&format!("::{name}")))
    };
    let candidates: Vec<usize> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.id.as_deref().is_some_and(fits))
        .map(|(at, _)| at)
        .collect();
    let file = section.file.as_deref().map(|file| relative(file, session));
    let in_file = candidates
        .iter()
        .copied()
        .find(|at| file.is_some() && cases[*at].id.as_deref().map(nodeid::file) == file.as_deref());
    if in_file.is_some() {
        return in_file;
    }
    // A traceback that starts in another test file is another test's.
    let is_elsewhere = section.is_test_file
        && file.as_deref().is_some_and(|file| {
            candidates.iter().all(|at| {
                let own = cases[*at].id.as_deref().map_or("", nodeid::file);
                !file.ends_with(own) && !own.ends_with(file) && is_test_file(own)
            })
        });
    if is_elsewhere {
        return None;
    }
    candidates
        .iter()
        .copied()
        .find(|at| taken.get(*at).is_none_or(|taken| *taken == 0))
        .or_else(|| candidates.first().copied())
}

fn is_test_file(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.starts_with("test_") || name.ends_with("_test.py")
}

/// The id of a section that neither the summary nor the progress lists.
fn unlisted_id(session: &Session, section: &crate::pytest::console::session::Section) -> Option<String> {
    if section.title.is_empty() {
        return None;
    }
    if let Some(name) = section.title.strip_prefix("[doctest] ") {
        return section
            .file
            .as_deref()
            .map(|file| format!("{}::{name}", relative(file, session)));
    }
    if nodeid::starts(&section.title) {
        return Some(section.title.clone());
    }
    let only_file = session.last_file.as_deref().filter(|_| session.n_files == 1);
    let file = match (&section.file, only_file) {
        (Some(file), _) if section.is_test_file => relative(file, session),
        (_, Some(file)) => file.to_owned(),
        (Some(file), None) => relative(file, session),
        (None, None) => return Some(section.title.clone()),
    };
    // A subtest's message stands behind the test's own name.
    let title = match (section.title.find(" ["), section.title.find(" (")) {
        (Some(at), _) | (None, Some(at)) if !section.title[..at].contains('[') => &section.title[..at],
        _ => &section.title,
    };
    Some(nodeid::from_title(&file, title))
}

/// A path as node ids write it: relative to pytest's root directory.
pub(super) fn relative(file: &str, session: &Session) -> String {
    let found = below_root(file, session);
    // Node ids have slashes on every system.
    if found.contains('\\') {
        found.replace('\\', "/")
    } else {
        found
    }
}

fn below_root(file: &str, session: &Session) -> String {
    if let Some(rootdir) = &session.rootdir
        && let Some(rest) = file.strip_prefix(rootdir.as_str())
    {
        return rest.trim_start_matches(['/', '\\']).to_owned();
    }
    if let Some(last) = &session.last_file
        && file.ends_with(last.as_str())
    {
        return last.clone();
    }
    let known = session
        .failed
        .iter()
        .map(|failed| nodeid::file(&failed.id))
        .chain(session.running.iter().map(|id| nodeid::file(id)))
        .find(|known| file.ends_with(known));
    known.map_or_else(
        || file.strip_prefix("/workspace/").unwrap_or(file).to_owned(),
        str::to_owned,
    )
}
