//! The lines between `test session starts` and the first test: plugins, limits, workers, collection.

use super::session::Session;

/// First words of lines that tell nothing that is asked for.
const FURTHER: [&str; 3] = ["platform ", "cachedir: ", "configfile: "];
/// What else is counted while files are collected.
const FURTHER_COUNTS: [&str; 5] = ["errors", "error", "skipped", "deselected", "selected"];
/// Plugins that print counts of their own instead of pytest's closing line.
const RESULTS: [&str; 2] = ["pretty-", "sugar-"];

/// Reads one of them; false when it is none.
pub(super) fn take(session: &mut Session, text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("rootdir: ") {
        session.rootdir = Some(rest.split(", ").next().unwrap_or(rest).trim().to_owned());
        return true;
    }
    if let Some(rest) = text.strip_prefix("plugins: ") {
        session.has_results = rest
            .split(", ")
            .any(|plugin| RESULTS.iter().any(|name| plugin.starts_with(name)));
        return true;
    }
    if let Some(rest) = text.strip_prefix("timeout: ") {
        session.timeout_s = rest.trim().trim_end_matches('s').parse().ok();
        return session.timeout_s.is_some();
    }
    if let Some(rest) = text.strip_prefix("timeout method: ") {
        session.has_timeout_thread = rest.trim() == "thread";
        return true;
    }
    let text = text.strip_prefix("collecting ... ").unwrap_or(text);
    if let Some((_, rest)) = text.strip_prefix("collect").and_then(|rest| rest.split_once(" / "))
        && let Some((errors, _)) = rest.split_once(" error")
        && let Ok(errors) = errors.parse()
    {
        session.failed_letters = errors;
        session.certain_letters = errors;
    }
    if let Some((number, rest)) = text.strip_prefix("collected ").and_then(|rest| rest.split_once(' ')) {
        session.collected = number.parse().ok();
        session.is_header_over = session.collected.is_some() && rest.starts_with("item");
        return session.is_header_over;
    }
    if is_workers(text) {
        session.is_xdist = true;
        return true;
    }
    FURTHER.iter().any(|start| text.starts_with(start))
}

/// xdist's lines about its workers: `created: 4/4 workers`, `4 workers [20 items]`, `gw0 [20] / gw1 [20]`.
pub(super) fn is_workers(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("created: ") {
        return rest.trim_end().trim_end_matches('s').ends_with(" worker");
    }
    if text.starts_with("bringing up nodes") || text.starts_with("scheduling tests via ") {
        return true;
    }
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(name), Some(state)) if name.starts_with("gw") => {
            name[2..].parse::<u32>().is_ok() && (state.starts_with('[') || matches!(state, "I" | "C" | "ok"))
        }
        (Some(number), Some("worker" | "workers")) => {
            number.parse::<u32>().is_ok() && words.next().is_some_and(|word| word.starts_with('['))
        }
        _ => false,
    }
}

/// What another program wrote behind pytest's words for the collection: its cursor stood there.
pub(super) fn foreign(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("collecting ") else {
        return text;
    };
    let counted = rest.trim_start_matches(|char: char| char.is_ascii_digit());
    let told = ["... ", " items", " item"]
        .iter()
        .find_map(|words| counted.strip_prefix(words));
    let mut told = told.unwrap_or(rest).trim_start();
    // `/ 4 errors / 2 skipped`, which nothing needs to set off.
    while let Some((number, more)) = told.strip_prefix("/ ").and_then(|part| part.split_once(' ')) {
        let word = FURTHER_COUNTS.iter().find_map(|word| more.strip_prefix(word));
        let Some(more) = word.filter(|_| number.parse::<u64>().is_ok()) else {
            break;
        };
        told = more.trim_start();
    }
    told
}
