//! The report page as a file: opened by a real browser from disk, hostile logs in it, and very large.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{TimeDelta, TimeZone, Utc};
use reproduce_flaky::judge::{Evidence, Exit, Outcome, OutcomeKind, Record};
use reproduce_flaky::report::html::{self, Report, Sheet};
use reproduce_flaky::report::summary::{Source, Summary};
use reproduce_flaky::stats::Answers;
use reproduce_flaky::stats::test_rate::TestRates;
use serde_json::Value;

use crate::browser::open;
use crate::cli::Place;
use crate::place::{Need, skip};
use crate::report_sweeps::rebuilt;

const HOSTILE: &str = "ValueError: <script>alert(1)</script> </pre></details><img src=x onerror=alert(2)> \u{1b}[31mred\u{1b}[0m \
    \u{202e}turned \u{7} &lt; \"><svg onload=alert(3)> http://example.invalid/x.png";

/// A tree of the script with one passing and two failing iterations whose logs are out to do harm.
fn hostile() -> tempfile::TempDir {
    let logs = tempfile::tempdir().unwrap();
    for iteration in 1..=3 {
        let dir = logs.path().join(format!("serial_<b>x/run{iteration:03}"));
        fs::create_dir_all(&dir).unwrap();
        let test = "tests/test_<i>a.py::test_x[<script>alert(4)</script>]";
        let log = if iteration == 1 {
            "===== test session starts =====\ncollected 1 item\n\ntests/test_a.py .   [100%]\n\n===== 1 passed in 0.01s =====\n"
                .to_owned()
        } else {
            format!(
                "===== test session starts =====\ncollected 1 item\n\ntests/test_<i>a.py F   [100%]\n\n\
                 ===== FAILURES =====\n_____ test_x[<script>alert(4)</script>] _____\n\n    def test_x():\n>       x()\n\
                 E       {HOSTILE}\n\ntests/test_<i>a.py:3: ValueError\n===== short test summary info =====\n\
                 FAILED {test} - {HOSTILE}\n===== 1 failed in 0.01s =====\n"
            )
        };
        fs::write(dir.join("run.log"), log).unwrap();
        fs::write(dir.join(".exit_code"), if iteration == 1 { "0" } else { "1" }).unwrap();
    }
    logs
}

/// The page of some sweeps, written beside them.
fn report(logs: &Path, sweeps: &[&str]) -> String {
    let output = assert_cmd::Command::cargo_bin("reproduce-flaky")
        .unwrap()
        .current_dir(logs)
        .arg("summary")
        .args(sweeps)
        .args(["--format", "html", "-o", "report.html"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(logs.join("report.html")).unwrap()
}

/// Nothing ran, nothing was asked for but the file itself, nothing complained.
#[track_caller]
fn assert_quiet(seen: &Value) {
    for kind in ["console", "errors", "dialogs"] {
        assert_eq!(seen[kind], Value::Array(Vec::new()), "{kind}");
    }
    let requests = seen["requests"].as_array().unwrap();
    assert!(
        requests.iter().all(|url| {
            let url = url.as_str().unwrap();
            url.starts_with("file:") && url.contains("report.html") || url.starts_with("data:")
        }),
        "{requests:?}"
    );
    if let Some(axe) = seen.get("axe") {
        if axe.is_null() {
            skip(Need::Axe, "no axe-core on this machine");
        } else {
            assert_eq!(*axe, Value::Array(Vec::new()), "accessibility");
        }
    }
}

#[test]
fn a_browser_opens_the_page_without_a_complaint_and_without_a_request() {
    let logs = rebuilt();
    report(logs.path(), &["serial_fix8", "serial_fix9"]);
    let file = logs.path().join("report.html");
    for look in [
        &["--axe"][..],
        &["--axe", "--dark", "--width", "390", "--height", "844"],
    ] {
        let Some(seen) = open(&file, look) else { return };
        assert_quiet(&seen);
    }
}

#[test]
fn a_hostile_log_is_shown_as_text() {
    let logs = hostile();
    let page = report(logs.path(), &["serial_<b>x"]);
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert!(page.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
    for attack in ["<img", "<svg onload", "<b>x", "<i>a"] {
        assert!(!page.contains(attack), "{attack}");
    }
    let all_open = "document.querySelectorAll('details').forEach(d => d.open = true), document.body.innerText";
    let Some(seen) = open(&logs.path().join("report.html"), &["--axe", "--evaluate", all_open]) else {
        return;
    };
    assert_quiet(&seen);
    let text = seen["values"][0].as_str().unwrap();
    for shown in [
        "<script>alert(1)</script> </pre></details><img src=x",
        "red turned  &lt;",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

#[test]
fn secrets_in_logs_and_arguments_are_not_on_the_page_and_it_says_so() {
    let (token, value) = (format!("hf_{}", "a1B2".repeat(8)), "correct-horse-9");
    let long = format!("{}{token}", "x".repeat(590));
    let suite = format!(
        "import pytest\n@pytest.mark.parametrize('key', ['{token}'])\ndef test_leak(key):\n    print('{long}')\n    \
         print('{value}')\n    assert False, '{token} {value}'\n"
    );
    let place = Place::new(&[("test_leak.py", suite.as_str())]);
    let words = [
        "--backend",
        "local",
        "-e",
        "1",
        "--",
        "-k",
        "test_leak",
        "-o",
        &format!("cache_dir={value}"),
    ];
    place.run(&words).exits(3);
    let page = |words: &[&str]| {
        let mut command = place.command(&[&["summary", "--format", "html"], words].concat());
        let output = command.env("MY_PASSWORD", value).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let clean = page(&[]);
    for secret in [&token[..12], value] {
        let at = clean.find(secret);
        assert_eq!(at.map(|at| &clean[at.saturating_sub(200)..at + 20]), None);
    }
    assert!(clean.contains("test_leak[[redacted: hf token]]") && clean.contains("cache_dir=[redacted: MY_PASSWORD]"));
    assert!(clean.contains("Secrets were looked for in logs, arguments and names: "));
    let all = page(&["--no-redact"]);
    assert!(all.contains(&token) && all.contains("Secrets were not looked for"));
}

#[test]
fn a_run_and_a_filter_can_be_linked_to() {
    let logs = rebuilt();
    report(logs.path(), &["serial_fix9"]);
    let file = logs.path().join("report.html");
    let target = "document.querySelector('article:target details').open && document.activeElement.tagName";
    let Some(seen) = open(
        &file,
        &["--fragment", "#serial_fix9/run050", "--evaluate", "location.hash"],
    ) else {
        return;
    };
    assert_quiet(&seen);
    let first = "document.querySelector('article').id";
    let id = open(&file, &["--evaluate", first]).unwrap()["values"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let seen = open(&file, &["--fragment", &format!("#{id}"), "--evaluate", target]).unwrap();
    assert_eq!(seen["values"][0], "SUMMARY", "{id}");
    let shown =
        "[...document.querySelectorAll('article')].filter(a => !a.hidden).every(a => a.dataset.c.includes('A2'))";
    let hidden = "[...document.querySelectorAll('article')].filter(a => a.hidden).length > 0";
    let seen = open(
        &file,
        &["--fragment", "#?cause=A2", "--evaluate", shown, "--evaluate", hidden],
    )
    .unwrap();
    assert_eq!(seen["values"], serde_json::json!([true, true]));
    assert_quiet(&seen);
}

#[test]
fn the_tables_can_be_read_without_scripts() {
    let logs = rebuilt();
    let page = report(logs.path(), &["n4"]);
    // The structure that readers of screens go by.
    assert!(page.contains("<html lang=\"en\">") && page.matches("<h1").count() == 1);
    for header in page.split("<th").skip(1).filter(|rest| !rest.starts_with("ead")) {
        assert!(
            header.split('>').next().unwrap().contains("scope="),
            "{}",
            &header[..60]
        );
    }
    for reference in ["href=\"", "src=\""] {
        for rest in page.split(reference).skip(1) {
            assert!(rest.starts_with('#') || rest.starts_with("data:,\""), "{}", &rest[..40]);
        }
    }
    let text = "document.body.innerText";
    let Some(seen) = open(&logs.path().join("report.html"), &["--no-script", "--evaluate", text]) else {
        return;
    };
    let text = seen["values"][0].as_str().unwrap();
    for words in [
        "5/100 failed",
        "0/90 in 1-90, then 5/10 in 91-100",
        "passed × 90",
        "Abnormal end",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("no filter\n"), "filters need scripts");
}

#[test]
fn pictures_are_well_formed() {
    let logs = rebuilt();
    let output = assert_cmd::Command::cargo_bin("reproduce-flaky")
        .unwrap()
        .current_dir(logs.path())
        .args(["summary", "n4", "serial_fix8", "--format", "svg"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let file = logs.path().join("x.svg");
    fs::write(&file, &output.stdout).unwrap();
    let check = "import sys, xml.dom.minidom as d; print(len(d.parse(sys.argv[1]).getElementsByTagName('rect')))";
    let parsed = Command::new("python3").args(["-c", check]).arg(&file).output().unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    let n_cells: u32 = String::from_utf8_lossy(&parsed.stdout).trim().parse().unwrap();
    assert_eq!(
        n_cells,
        1 + 5 + 13,
        "a cell for each iteration that failed, and the ground"
    );
}

/// Ten thousand iterations of which each `every`th failed, with as much evidence as a run may have.
fn huge(every: u32) -> Vec<Record> {
    let start = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    (1..=10_000)
        .map(|iteration| {
            let is_failed = iteration % every == 0;
            let mut outcome = Outcome::new(if is_failed {
                OutcomeKind::Failed
            } else {
                OutcomeKind::Passed
            });
            if is_failed {
                let tests = (0..3).map(|n| {
                    format!(
                        "tests/router/test_end_to_end.py::test_{n}[a-long-parameter-{}]",
                        iteration % 7
                    )
                });
                outcome.failing_tests = tests.collect();
                outcome.categories = vec!["A1".to_owned(), "UNKNOWN".to_owned()];
                outcome.evidence = (0..8)
                    .map(|n| Evidence {
                        category: if n == 0 { "A1" } else { "UNKNOWN" }.to_owned(),
                        file: "run.log".to_owned(),
                        line: Some(100 + n),
                        text: format!("<{iteration}> & {}", "\"<&>\" ".repeat(40)),
                        test: Some(outcome.failing_tests[0].clone()),
                        worker: Some("gw3".to_owned()),
                    })
                    .collect();
            }
            Record {
                iteration,
                dir: format!("logs/n4/run{iteration:03}").into(),
                exit: Some(Exit {
                    code: Some(i32::from(is_failed)),
                    started_at: start.checked_add_signed(TimeDelta::seconds(i64::from(iteration) * 30)),
                    duration_s: Some(100.0 + f64::from(iteration % 17)),
                    node: Some(format!("node{}", iteration % 5)),
                    ..Exit::default()
                }),
                outcome,
                problem: None,
            }
        })
        .collect()
}

#[test]
fn ten_thousand_iterations_make_a_page_of_less_than_five_megabytes() {
    for every in [1, 2, 7, 50] {
        let records = huge(every);
        let summary = Summary::of(&Source {
            answers: Answers {
                dir: "logs/n4".as_ref(),
                spec: None,
                records: &records,
                replaced: &[],
            },
            tests: &TestRates::default(),
            classes: &[],
            unknown: &[],
            running: 0,
            starved: &[],
            problems: &[],
            confidence: 0.95,
        });
        let failing = records.iter().filter(|record| !record.outcome.failing_tests.is_empty());
        let excerpts = failing
            .take(600)
            .map(|record| (record.iteration, Vec::new()))
            .collect::<BTreeMap<_, _>>();
        let sheet = Sheet {
            summary: &summary,
            spec: None,
            records: &records,
            excerpts: &excerpts,
        };
        let page = html::page(&Report {
            sheets: &[sheet],
            comparisons: &[],
            redacted: None,
            tool: "test",
            made_at: None,
        });
        assert!(
            page.len() < 5_000_000,
            "{} bytes where each {every}th failed",
            page.len()
        );
        let file = tempfile::tempdir().unwrap();
        let file = (file.path().join("report.html"), file);
        fs::write(&file.0, &page).unwrap();
        let count = "document.querySelectorAll('*').length";
        if every == 7 {
            let Some(seen) = open(&file.0, &["--evaluate", count]) else {
                return;
            };
            assert_quiet(&seen);
            assert!(seen["values"][0].as_u64().unwrap() < 60_000, "{seen}");
        }
    }
}
