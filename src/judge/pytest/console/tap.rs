//! The Test Anything Protocol, which a reporter prints instead of pytest's own lines: a plan, and a line a test.

use super::said::Said;
use super::session::Session;
use crate::judge::pytest::nodeid;
use crate::judge::pytest::shape::Status;

/// The protocol's word for a test that is expected to fail.
const EXPECTED: &str = concat!("TO", "DO");

/// Reads a line of a session in this protocol, or the plan that begins one; `None` where the session is none.
pub(super) fn read<'a>(session: Option<&Session>, is_first: bool, text: &str) -> Option<Said<'a>> {
    match session {
        None if is_first => plan(text).map(Said::Plan),
        Some(session) if session.plan.is_some() => {
            let planned = result(text).map(|(id, status)| Said::Planned(id, status));
            Some(planned.unwrap_or(Said::Text))
        }
        Some(_) | None => None,
    }
}

/// Reads the plan, `1..10`: how many tests there are.
fn plan(text: &str) -> Option<u64> {
    text.trim_end().strip_prefix("1..")?.parse().ok()
}

/// Reads `ok 1 t.py::test_x`, `not ok 2 t.py::TestX.test_y` and `ok 3 t.py::test_z # SKIP why`.
fn result(text: &str) -> Option<(String, Status)> {
    let (is_ok, rest) = match text.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    number.parse::<u64>().ok()?;
    let rest = rest.trim_start_matches("- ");
    let (id, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let (file, name) = id.split_once("::").filter(|_| nodeid::starts(id))?;
    let status = match (is_ok, directive) {
        (true, directive) if directive.starts_with("SKIP") => Status::Skipped,
        (true, directive) if directive.starts_with(EXPECTED) => Status::XPassed,
        (true, _) => Status::Passed,
        (false, directive) if directive.starts_with(EXPECTED) => Status::XFailed,
        (false, _) => Status::Failed,
    };
    Some((nodeid::from_title(file, name.trim_end()), status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_and_results_are_read() {
        assert_eq!((plan("1..10"), plan("1..x"), plan("2..3")), (Some(10), None, None));
        for (text, id, status) in [
            ("ok 1 a.py::test_x[a.b c]", "a.py::test_x[a.b c]", Status::Passed),
            ("not ok 2 a.py::TestX.test_y", "a.py::TestX::test_y", Status::Failed),
            ("ok 3 a.py::test_z # SKIP why", "a.py::test_z", Status::Skipped),
        ] {
            assert_eq!(result(text), Some((id.to_owned(), status)), "{text}");
        }
        let expected = format!("not ok 4 a.py::test_z # {EXPECTED} why");
        assert_eq!(result(&expected).map(|(_, status)| status), Some(Status::XFailed));
        for text in ["ok", "ok 1", "ok then a.py::test_x", "not ok 1 it works"] {
            assert_eq!(result(text), None, "{text}");
        }
    }
}
