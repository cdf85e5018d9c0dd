//! A sweep as `JUnit` XML: one case per test over all iterations, for Jenkins, GitHub and GitLab.
//!
//! A test that failed in any iteration is a failed case, whose message gives the number of iterations. Failures without
//! a test to blame, such as a crash before the first test, are a case of their own. Iterations that errored are a
//! skipped case: visible, without turning a job red.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::shown::shown;
use crate::report::suite::{Case, Suite};
use crate::stats::counted;

/// The bytes of the report.
pub fn xml(suites: &[Suite]) -> anyhow::Result<Vec<u8>> {
    let mut report = Report::new("reproduce-flaky");
    for suite in suites {
        report.add_test_suite(test_suite(suite));
    }
    let mut bytes = Vec::new();
    report.serialize(&mut bytes)?;
    Ok(without_root_skipped(bytes))
}

/// Removes `skipped` from the root element, where the crate writes it and Jenkins' schema does not know it.
fn without_root_skipped(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(bytes) else {
        return Vec::new();
    };
    let root = text.find("<testsuites").unwrap_or(0);
    let end = text[root..].find('>').map_or(text.len(), |at| root + at);
    // Quotes are escaped inside values, so this text can only be the attribute itself.
    let Some(start) = text[root..end].find(" skipped=\"").map(|at| root + at) else {
        return text.into_bytes();
    };
    let value = start + " skipped=\"".len();
    let after = text[value..end].find('"').map_or(end, |at| value + at + 1);
    text.replace_range(start..after, "");
    text.into_bytes()
}

fn test_suite(suite: &Suite) -> TestSuite {
    let mut xml = TestSuite::new(&*shown(&suite.name));
    if let Some(started_at) = suite.started_at {
        xml.set_timestamp(started_at);
    }
    if let Some(time) = suite
        .duration_s
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    {
        xml.set_time(time);
    }
    for (name, value) in &suite.properties {
        xml.add_property((name.as_str(), &*shown(value)));
    }
    for case in &suite.cases {
        xml.add_test_case(test_case(suite, case));
    }
    if let Some((first, why)) = suite.errored.first() {
        let mut status = TestCaseStatus::skipped();
        let count = counted(suite.errored.len() as u64, "iteration", "iterations");
        let why = shown(why);
        status.set_message(format!("{count} errored and are in no rate; iteration {first}: {why}"));
        let lines: Vec<String> = suite
            .errored
            .iter()
            .map(|(run, why)| format!("iteration {run}: {}", shown(why)))
            .collect();
        status.set_description(lines.join("\n"));
        let mut case = TestCase::new("errored iterations", status);
        case.set_classname(&*shown(&suite.name));
        xml.add_test_case(case);
    }
    if !suite.words.is_empty() {
        xml.set_system_out(suite.words.as_str());
    }
    xml
}

fn test_case(suite: &Suite, case: &Case) -> TestCase {
    let (class, name) = class_and_name(&shown(&case.name));
    let suite_name = shown(&suite.name);
    let count = case.rate.count;
    let status = if count.failed() == 0 {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let categories = shown(&case.categories.join(", ")).into_owned();
        let lines: Vec<String> = case.evidence.iter().map(|line| shown(line).into_owned()).collect();
        let evidence = lines.first().map_or_else(String::new, |line| format!(": {line}"));
        status.set_type(if categories.is_empty() { "UNKNOWN" } else { &categories });
        status.set_message(format!("{}: {categories}{evidence}", case.sentence()));
        let runs: Vec<String> = case.runs.iter().map(u32::to_string).collect();
        let mut body = vec![format!("iterations: {}", runs.join(" "))];
        body.extend(lines);
        if let Some(run) = case.runs.first() {
            body.push(format!("reproduce-flaky show {suite_name}/run{run:03}"));
        }
        status.set_description(body.join("\n"));
        status
    };
    let mut xml = TestCase::new(name, status);
    if case.reran > 0 {
        let of = count.of().max(case.reran);
        xml.set_system_out(format!("needed a rerun: {}/{of}", case.reran));
    }
    xml.set_classname(if class.is_empty() {
        suite_name.into_owned()
    } else {
        class
    });
    xml
}

/// Class and name as pytest's own report has them, so that a viewer matches the two reports.
fn class_and_name(nodeid: &str) -> (String, String) {
    // A parameter begins with the first bracket, and may hold any of the separators.
    let (path, parameters) = nodeid.split_at(nodeid.find("::").map_or(nodeid.len(), |file| {
        nodeid[file..].find('[').map_or(nodeid.len(), |at| file + at)
    }));
    match path.rsplit_once("::") {
        None => (String::new(), nodeid.to_owned()),
        Some((scope, name)) => {
            let (file, classes) = scope
                .split_once("::")
                .map_or((scope, ""), |(file, classes)| (file, classes));
            let mut class = file.strip_suffix(".py").unwrap_or(file).replace('/', ".");
            if !classes.is_empty() {
                class = format!("{class}.{}", classes.replace("::", "."));
            }
            (class, format!("{name}{parameters}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::stats::{Count, Method, Rate};

    fn case(name: &str, failed: u64, of: u64) -> Case {
        Case {
            name: name.to_owned(),
            rate: Rate::new(Count::new(failed, of).unwrap(), 0.95, Method::Wilson),
            categories: if failed > 0 { vec!["A1".to_owned()] } else { Vec::new() },
            failed,
            runs: if failed > 0 { vec![29, 35] } else { Vec::new() },
            reran: 0,
            evidence: if failed > 0 {
                vec!["E   assert 1 < 2 & \u{1b}[31m\"x\"\u{0}".to_owned()]
            } else {
                Vec::new()
            },
        }
    }

    fn suite() -> Suite {
        Suite {
            name: "serial".to_owned(),
            started_at: DateTime::from_timestamp(1_760_000_000, 0),
            ended_at: None,
            duration_s: Some(12.5),
            confidence: 0.95,
            cases: vec![
                case("tests/router/test_e2e.py::test_router_decisions[jetstream-nats]", 2, 75),
                case("tests/router/test_e2e.py::TestSync::test_file", 0, 75),
                case("session", 1, 75),
            ],
            errored: vec![(7, "A5".to_owned())],
            properties: vec![("image".to_owned(), "app:1".to_owned())],
            words: "2/75 failed".to_owned(),
        }
    }

    #[test]
    fn cases_carry_pytests_own_names() {
        for (id, class, name) in [
            ("tests/a.py::test_x[a::b/c]", "tests.a", "test_x[a::b/c]"),
            ("tests/a.py::T::U::test_x", "tests.a.T.U", "test_x"),
            ("tests/a.py", "", "tests/a.py"),
            ("session", "", "session"),
        ] {
            assert_eq!(class_and_name(id), (class.to_owned(), name.to_owned()), "{id}");
        }
    }

    #[test]
    fn the_document_says_how_often_and_why() {
        let text = String::from_utf8(xml(&[suite()]).unwrap()).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap(),
            r#"<testsuites name="reproduce-flaky" tests="4" failures="2" errors="0">"#
        );
        for part in [
            r#"<testcase name="test_router_decisions[jetstream-nats]" classname="tests.router.test_e2e">"#,
            r#"message="failed in 2 of 75 iterations, 2.7 % (0.73 % to 9.2 %): A1: E   assert 1 &lt; 2 &amp; &quot;x&quot;" type="A1""#,
            "iterations: 29 35",
            "reproduce-flaky show serial/run029",
            r#"<testcase name="test_file" classname="tests.router.test_e2e.TestSync"/>"#,
            r#"<skipped message="1 iteration errored and are in no rate; iteration 7: A5">"#,
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    /// Elements with the attributes that Jenkins' schema (junit-10.xsd of its xUnit plugin) gives them.
    const SCHEMA: [(&str, &[&str]); 9] = [
        ("testsuites", &["name", "time", "tests", "failures", "errors"]),
        (
            "testsuite",
            &[
                "name",
                "tests",
                "failures",
                "errors",
                "group",
                "time",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
                "file",
                "log",
                "url",
            ],
        ),
        ("testcase", &["name", "time", "classname", "group"]),
        ("failure", &["type", "message"]),
        ("error", &["type", "message"]),
        ("skipped", &["type", "message"]),
        ("properties", &[]),
        ("property", &["name", "value"]),
        ("system-out", &[]),
    ];

    #[test]
    fn every_element_and_attribute_is_one_of_jenkins_schema() {
        let text = String::from_utf8(xml(&[suite(), Suite::default()]).unwrap()).unwrap();
        let tag = regex::Regex::new(r#"<([a-z][\w-]*)((?:\s+[\w-]+="[^"<]*")*)\s*/?>"#).unwrap();
        let attribute = regex::Regex::new(r#"([\w-]+)=""#).unwrap();
        let value = regex::Regex::new(r#""[^"]*""#).unwrap();
        let mut n_tags = 0;
        for found in tag.captures_iter(&text) {
            let (_, allowed) = SCHEMA
                .iter()
                .find(|(name, _)| *name == &found[1])
                .unwrap_or_else(|| panic!("{}", &found[0]));
            let attributes = value.replace_all(&found[2], "\"");
            for name in attribute.captures_iter(&attributes) {
                assert!(allowed.contains(&&name[1]), "{}", &found[0]);
            }
            n_tags += 1;
        }
        assert_eq!(
            n_tags,
            text.matches('<').count() - text.matches("</").count() - text.matches("<?").count()
        );
        assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'));
    }
}
