//! The lines between `test session starts` and the first test: versions, plugins, limits, workers, collection.

use super::session::Session;

/// Reads one of them; false when it is none.
pub(super) fn take(session: &mut Session, text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("platform ") {
        session.pytest = rest
            .split(", ")
            .find_map(|part| part.strip_prefix("pytest-"))
            .map(str::to_owned);
        return session.pytest.is_some();
    }
    if let Some(rest) = text.strip_prefix("rootdir: ") {
        session.rootdir = Some(rest.split(", ").next().unwrap_or(rest).trim().to_owned());
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
    if let Some(rest) = text
        .strip_prefix("collected ")
        .or_else(|| text.strip_prefix("collecting ... collected "))
    {
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if rest.starts_with("item") {
            session.collected = number.parse().ok();
            return session.collected.is_some();
        }
        return false;
    }
    if is_workers(text) {
        session.is_xdist = true;
        return true;
    }
    text.starts_with("plugins: ") || text.starts_with("cachedir: ") || text.starts_with("configfile: ")
}

/// xdist's lines about its workers: `created: 4/4 workers`, `4 workers [20 items]`, `gw0 [20] / gw1 [20]`.
pub(super) fn is_workers(text: &str) -> bool {
    if text.starts_with("created: ")
        && text
            .trim_end()
            .ends_with(if text.contains("1/1") { "worker" } else { "workers" })
    {
        return true;
    }
    if text.starts_with("bringing up nodes") || text.starts_with("scheduling tests via ") {
        return true;
    }
    let mut words = text.split_whitespace();
    match words.next() {
        Some(word) if word.starts_with("gw") => {
            word[2..].parse::<u32>().is_ok()
                && words
                    .next()
                    .is_some_and(|state| state.starts_with('[') || matches!(state, "I" | "C" | "ok"))
        }
        Some(number) if number.parse::<u32>().is_ok() => {
            matches!(words.next(), Some("worker" | "workers")) && words.next().is_some_and(|word| word.starts_with('['))
        }
        _ => false,
    }
}
