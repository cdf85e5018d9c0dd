//! Per-test logs: what they say of tests that the console gives no reason for, and which test a hang stands in.

use std::io;

use crate::model::Evidence;
use crate::pytest::console::session::Session;
use crate::pytest::lines::Lines;
use crate::pytest::nodeid;

use super::Scope;
use super::case::{self, Case};
use super::facts::Facts;
use super::verdict::Ruling;

/// Logs of services that run beside a test grow to megabytes and are not its own words.
const SERVICES: [&str; 4] = ["nats", "etcd", "prometheus", "docker"];

fn is_own(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    !SERVICES.iter().any(|service| file.starts_with(service))
}

/// Directory of a test's logs: the first part of the path.
fn directory(path: &str) -> &str {
    path.split_once('/').map_or("", |(directory, _)| directory)
}

/// Searches the logs of one test; false where no signature matches.
pub(super) fn search(
    facts: &Facts<'_>,
    is_xdist: bool,
    name: &str,
    case: Option<&Case>,
    ruling: &mut Ruling,
) -> io::Result<bool> {
    if !facts.signatures.has(Scope::TestLog) {
        return Ok(false);
    }
    let mut is_found = false;
    for path in facts.run.test_logs()? {
        if directory(&path) == name && is_own(&path) {
            is_found |= search_file(facts, is_xdist, &path, case, ruling)?;
        }
    }
    Ok(is_found)
}

/// Searches every per-test log; returns the directories with a match.
pub(super) fn search_all(facts: &Facts<'_>, is_xdist: bool, ruling: &mut Ruling) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in facts.run.test_logs()? {
        let name = directory(&path);
        if is_own(&path)
            && search_file(facts, is_xdist, &path, None, ruling)?
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

fn search_file(
    facts: &Facts<'_>,
    is_xdist: bool,
    path: &str,
    case: Option<&Case>,
    ruling: &mut Ruling,
) -> io::Result<bool> {
    let mut lines = Lines::new(facts.run.open(path)?);
    let mut seen: Vec<usize> = Vec::new();
    while let Some(line) = lines.next_line()? {
        for hit in facts.signatures.find(Scope::TestLog, is_xdist, line.text) {
            // A line that merely tells what goes on may quote what it waits for.
            let is_talk = [" DEBUG ", " INFO ", " TRACE ", "DEBUG:", "INFO:"]
                .iter()
                .any(|level| line.text.contains(level));
            if is_talk || seen.contains(&hit.signature) {
                continue;
            }
            seen.push(hit.signature);
            ruling.add(facts, hit.signature);
            ruling.evidence.push(Evidence {
                category: facts.signatures.at(hit.signature).id.clone(),
                file: path.to_owned(),
                line: Some(line.number),
                text: line.text.trim().chars().take(400).collect(),
                test: case.and_then(|case| case.id.clone()),
                worker: None,
            });
        }
    }
    Ok(!seen.is_empty())
}

/// Whether a per-test log ends where a signature knows tests to hang.
pub(super) fn is_at_hang(facts: &Facts<'_>) -> io::Result<bool> {
    Ok(!last_lines(facts, &mut Ruling::default())?.is_empty())
}

/// Directories whose log ends in a line that a signature knows as the place of a hang.
pub(super) fn last_lines(facts: &Facts<'_>, ruling: &mut Ruling) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in facts.run.test_logs()? {
        if !is_own(&path) {
            continue;
        }
        let mut lines = Lines::new(facts.run.open(&path)?);
        let mut last = (0, String::new());
        while let Some(line) = lines.next_line()? {
            if !line.text.trim().is_empty() {
                last.0 = line.number;
                last.1.clear();
                last.1.push_str(line.text);
            }
        }
        for index in facts.signatures.find_last(&last.1) {
            let name = directory(&path);
            if !found.iter().any(|known| known == name) {
                found.push(name.to_owned());
            }
            ruling.evidence.push(Evidence {
                category: facts.signatures.at(index).id.clone(),
                file: path.clone(),
                line: Some(last.0),
                text: last.1.trim().chars().take(400).collect(),
                test: None,
                worker: None,
            });
        }
    }
    Ok(found)
}

/// The node id of a directory's test, from what the session shows.
pub(super) fn id_of(facts: &Facts<'_>, session: &Session, name: &str) -> Option<String> {
    let known = session
        .running
        .iter()
        .map(String::as_str)
        .chain(session.failed.iter().map(|failed| failed.id.as_str()))
        .chain(
            facts
                .trail
                .iter()
                .flat_map(|trail| trail.tests.iter().map(|test| test.id.as_str())),
        )
        .find(|id| nodeid::name(id) == name);
    if let Some(known) = known {
        return Some(known.to_owned());
    }
    let file = session.last_file.as_deref()?;
    Some(nodeid::from_title(&case::relative(file, session), name))
}
