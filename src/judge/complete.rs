//! Node ids that the console could only tell in part, completed from the trail.
//!
//! A stack names the function of a test and not its parameters; the trail has the test that began and did not end.

use std::io;

use crate::model::Outcome;
use crate::pytest::trail::Trail;

/// Completes the ids of an outcome.
pub(super) fn ids(mut outcome: Outcome, trail: Option<&Trail>) -> io::Result<Outcome> {
    let Some(trail) = trail else { return Ok(outcome) };
    let own = outcome.failing_tests.iter_mut();
    let crashes = outcome.crashes.iter_mut().filter_map(|crash| crash.test.as_mut());
    let evidence = outcome
        .evidence
        .iter_mut()
        .filter_map(|evidence| evidence.test.as_mut());
    for id in own.chain(crashes).chain(evidence) {
        if let Some(whole) = whole(id, trail) {
            *id = whole;
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    outcome.failing_tests.retain(|id| seen.insert(id.clone()));
    Ok(outcome)
}

/// The one unfinished test that an id without parameters can only mean.
fn whole(id: &str, trail: &Trail) -> Option<String> {
    if id.contains('[') || trail.tests.iter().any(|test| test.id == id) {
        return None;
    }
    let mut meant = trail.unfinished().filter(|test| test.id.split('[').next() == Some(id));
    match (meant.next(), meant.next()) {
        (Some(only), None) => Some(only.id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OutcomeKind;
    use crate::pytest::trail;

    fn completed(id: &str, trail_lines: &str) -> Vec<String> {
        let trail = trail::read(trail_lines.as_bytes()).unwrap();
        let outcome = Outcome {
            failing_tests: vec![id.to_owned()],
            ..Outcome::new(OutcomeKind::Crashed)
        };
        ids(outcome, Some(&trail)).unwrap().failing_tests
    }

    #[test]
    fn the_parameters_of_a_test_that_died_come_from_the_trail() {
        let died = "{\"event\":\"start\",\"nodeid\":\"a.py::test_x[tcp]\"}\n";
        assert_eq!(completed("a.py::test_x", died), ["a.py::test_x[tcp]"]);
        assert_eq!(completed("a.py::test_y", died), ["a.py::test_y"]);
        // Two that it may mean are one too many.
        let two = format!("{died}{}", died.replace("tcp", "nats"));
        assert_eq!(completed("a.py::test_x", &two), ["a.py::test_x"]);
    }
}
