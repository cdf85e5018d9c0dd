//! The failing tests of one session: its sections, summary lines, progress and trail joined into one case a test.

use std::collections::{HashMap, HashSet};

use super::names::Names;
use super::pytest::console::section::{Section, SectionKind, worker_crash};
use super::pytest::console::session::{MAX_ENTRIES, Session, Summary, Text};
use super::pytest::nodeid;
use super::pytest::trail::{self, Trail};

/// One failing test, or one failure whose test nothing names.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// Node id; for a collection error the file. `None` where nothing names it.
    pub id: Option<String>,
    /// xdist worker.
    pub worker: Option<String>,
    /// First line of the console that shows it failing.
    pub line: Option<u64>,
    /// What the console says about why.
    pub texts: Vec<Text>,
    /// First lines of those texts that are a section's own.
    pub told: Vec<u64>,
    /// Whether the process that ran it died.
    pub is_crashed: bool,
    /// Whether that was a forked child.
    pub is_forked: bool,
    /// Whether its text is the trail's and not the console's.
    pub is_from_trail: bool,
}

impl Case {
    pub(super) fn is_silent(&self) -> bool {
        self.texts.iter().all(|text| text.body.trim().is_empty())
    }
}

/// Joins what a session, and its trail if that belongs to it, say about failing tests.
pub(super) fn cases(session: &Session, trail: Option<&Trail>) -> Vec<Case> {
    let mut cases = Cases::default();
    let names = Names::new(session);
    let counted = session
        .closing
        .map_or(u64::MAX, |(closing, _)| closing.counts.failed + closing.counts.errors);
    // A message that is printed with its line breaks may hold the words of a summary line.
    let listed: HashSet<&str> = session.summary.iter().map(Summary::name).collect();
    let has_more = listed.len() as u64 > counted && !session.sections.is_empty();
    for entry in &session.summary {
        let (id, text) = names.read_summary(entry);
        if id.is_empty() || (has_more && !names.is_shown(&id)) {
            continue;
        }
        // A section tells the same failure in full.
        let is_remnant = entry.is_cut && !(session.sections.is_empty() && nodeid::may_start(&entry.raw));
        if is_worker(&id) || is_remnant {
            continue;
        }
        let case = cases.of(&id, Some(entry.line));
        if !text.is_empty() {
            let is_told = ["worker 'gw", "Worker 'gw", "Slave 'gw"]
                .iter()
                .any(|words| text.body.starts_with(words));
            case.is_crashed |= is_told && worker_crash(&text.body).is_some();
            case.texts.push(text);
        }
    }
    for failed in &session.failed {
        let case = cases.of(&failed.id, Some(failed.line));
        case.line = case.line.map(|line| line.min(failed.line));
        if case.worker.is_none() {
            case.worker.clone_from(&failed.worker);
        }
    }
    for section in &session.sections {
        let id = match (&section.crashed, section.kind) {
            (Some(id), _) => Some(cases.shown_as(id).unwrap_or(id).to_owned()),
            (None, SectionKind::Collection) => {
                let is_file = !is_worker(&section.title) && section.title != "test session";
                is_file.then(|| section.title.trim_end_matches('/').to_owned())
            }
            (None, SectionKind::Call | SectionKind::Fixture | SectionKind::Internal) => {
                match cases.join(&names, section) {
                    Some(at) => cases.list[at].id.clone(),
                    None => names.unlisted_id(section),
                }
            }
        };
        let case = match &id {
            Some(id) => cases.of(id, Some(section.line)),
            None => cases.nameless(section.line),
        };
        case.is_crashed |= section.crashed.is_some() || section.is_forked_crash;
        case.is_forked |= section.is_forked_crash;
        if case.worker.is_none() {
            case.worker.clone_from(&section.worker);
        }
        if !section.text.is_empty() {
            case.texts.insert(0, section.text.clone());
            case.told.push(section.text.first());
        }
    }
    if let Some(trail) = trail {
        add_trail(&mut cases, trail);
    }
    cases.list
}

/// Adds what the trail knows: failing tests that the console does not name, and reasons that it does not give.
fn add_trail(cases: &mut Cases, trail: &Trail) {
    // Of several attempts at one test the last one counts, but the same test may run on every worker.
    let mut last: HashMap<(&str, Option<&str>), &trail::Test> = HashMap::new();
    for test in &trail.tests {
        last.insert((&test.id, test.worker.as_deref()), test);
    }
    for test in &trail.tests {
        let is_last = last
            .get(&(test.id.as_str(), test.worker.as_deref()))
            .is_some_and(|last| std::ptr::eq(*last, test));
        if is_last && test.is_failed && cases.list.len() < MAX_ENTRIES {
            let reason = test.reason.as_ref().map(|(line, reason)| (*line, reason.as_str()));
            add_reason(cases, &test.id, test.worker.as_deref(), reason);
        }
    }
    for (id, reason, line) in &trail.collect_errors {
        add_reason(cases, id, None, Some((*line, reason)));
    }
}

fn add_reason(cases: &mut Cases, id: &str, worker: Option<&str>, reason: Option<(u64, &str)>) {
    let is_new = !cases.by_id.contains_key(id);
    let case = cases.of(id, None);
    if is_new {
        case.worker = worker.map(str::to_owned);
    }
    if let Some((line, reason)) = reason
        && case.is_silent()
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

/// Cases so far, and where to find them.
#[derive(Default)]
struct Cases {
    list: Vec<Case>,
    by_id: HashMap<String, usize>,
    /// Places by what a section may call the test: the title of its id, the whole id, a doctest's name.
    by_title: HashMap<String, Titled>,
    /// Places by file and by the test's own name, for plugins whose titles leave out what a test stands in.
    by_name: HashMap<(String, String), Vec<usize>>,
    /// How many sections of a test's own failure each case has.
    taken: Vec<usize>,
    /// The first case that `--tb=line`, whose sections come in the order of the summary, has not reached.
    next_line: usize,
}

/// Cases that one title may mean.
#[derive(Default)]
struct Titled {
    all: Vec<usize>,
    by_file: HashMap<String, usize>,
    /// Cases before this place in `all` have their section.
    next: usize,
}

impl Cases {
    /// The case of a test, begun here where there is none.
    fn of(&mut self, id: &str, line: Option<u64>) -> &mut Case {
        if let Some(at) = self.by_id.get(id) {
            return &mut self.list[*at];
        }
        let at = self.list.len();
        self.list.push(Case {
            id: Some(id.to_owned()),
            line,
            ..Case::default()
        });
        self.taken.push(0);
        self.by_id.insert(id.to_owned(), at);
        let name = (nodeid::file(id).to_owned(), nodeid::name(id).to_owned());
        self.by_name.entry(name).or_default().push(at);
        let mut titles = vec![nodeid::title(id), id.to_owned()];
        titles.extend(id.split_once("::").map(|(_, name)| format!("[doctest] {name}")));
        // xdist's group of tests, which no section shows.
        titles.extend(titles[0].rsplit_once('@').map(|(title, _)| title.to_owned()));
        titles.dedup();
        for title in titles {
            let titled = self.by_title.entry(title).or_default();
            titled.all.push(at);
            titled.by_file.entry(nodeid::file(id).to_owned()).or_insert(at);
        }
        &mut self.list[at]
    }

    /// How the summary shows a test whose worker was started in another directory.
    fn shown_as(&self, id: &str) -> Option<&str> {
        if self.by_id.contains_key(id) {
            return None;
        }
        let titled = self.by_title.get(&nodeid::title(id))?;
        let mut known = titled.all.iter().take(64).filter_map(|at| self.list[*at].id.as_deref());
        known.find(|known| known.strip_suffix(id).is_some_and(|rest| rest.ends_with('/')))
    }

    fn nameless(&mut self, line: u64) -> &mut Case {
        let at = self.list.len();
        self.list.push(Case {
            line: Some(line),
            ..Case::default()
        });
        self.taken.push(0);
        &mut self.list[at]
    }

    /// The known failing test that a section's title belongs to. Titles are not unique: same-named tests of two files
    /// are told apart by the file that their traceback shows, and else by their order, which sections and summary share.
    fn join(&mut self, names: &Names<'_>, section: &Section) -> Option<usize> {
        let file = section.file.as_deref().map(|file| names.relative(file));
        let at = if section.title.is_empty() {
            self.join_in_order(file.as_deref())
        } else {
            self.join_by_title(file.as_deref(), section)
        }?;
        if section.kind == SectionKind::Call {
            self.taken[at] += 1;
        }
        Some(at)
    }

    /// `--tb=line` names the file only.
    fn join_in_order(&mut self, file: Option<&str>) -> Option<usize> {
        let is_free = |at: usize| self.taken[at] == 0 && self.list[at].texts.is_empty();
        while self.next_line < self.list.len() && !is_free(self.next_line) {
            self.next_line += 1;
        }
        let is_of_file = |at: &usize| file.is_some() && self.list[*at].id.as_deref().map(nodeid::file) == file;
        let mut rest = (self.next_line..self.list.len()).filter(|at| is_free(*at)).take(1000);
        rest.clone().find(is_of_file).or_else(|| rest.next())
    }

    fn join_by_title(&mut self, file: Option<&str>, section: &Section) -> Option<usize> {
        // A subtest's description stands behind the test's own title.
        let ends = section.title.match_indices(' ').map(|(at, _)| at);
        let is_description = |at: &usize| matches!(section.title.as_bytes().get(at + 1), Some(b'[' | b'('));
        let titles: Vec<&str> = std::iter::once(section.title.len())
            .chain(ends.filter(is_description).take(16))
            .map(|end| &section.title[..end])
            .filter(|title| self.by_title.contains_key(*title))
            .collect();
        if titles.is_empty() {
            let name = (file?.to_owned(), section.title.clone());
            let mut named = self.by_name.get(&name)?.iter().copied();
            return named.find(|at| self.taken[*at] == 0);
        }
        let by_file = titles.iter().find_map(|title| self.by_title[*title].by_file.get(file?));
        if let Some(at) = by_file {
            return Some(*at);
        }
        // A traceback that starts in another test file is another test's.
        let is_elsewhere = section.is_test_file
            && file.is_some_and(|file| {
                let mut candidates = titles.iter().flat_map(|title| &self.by_title[*title].all).take(64);
                candidates.all(|at| {
                    let own = self.list[*at].id.as_deref().map_or("", nodeid::file);
                    !file.ends_with(own) && !own.ends_with(file) && is_test_file(own)
                })
            });
        if is_elsewhere {
            return None;
        }
        for title in &titles {
            let titled = self.by_title.get_mut(*title)?;
            while titled.all.get(titled.next).is_some_and(|at| self.taken[*at] > 0) {
                titled.next += 1;
            }
            if let Some(at) = titled.all.get(titled.next) {
                return Some(*at);
            }
        }
        titles.first().map(|title| self.by_title[*title].all[0])
    }
}

fn is_test_file(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.starts_with("test_") || name.ends_with("_test.py")
}
