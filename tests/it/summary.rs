//! `summary` over the sweeps the tool was made for, as directories that the old script left, and over its own.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up or find fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Place;
use crate::place::run;
use crate::report_sweeps::rebuilt;

/// The summaries of all sweeps below a directory by name.
fn summaries(dir: &Path) -> BTreeMap<String, Value> {
    let (code, out, err) = run(dir, &["summary", ".", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let each = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    each.map(|summary| {
        (
            summary["sweep"].as_str().unwrap().trim_start_matches("./").to_owned(),
            summary,
        )
    })
    .collect()
}

fn category<'a>(summary: &'a Value, id: &str) -> &'a Value {
    let categories = summary["categories"].as_array().unwrap();
    categories
        .iter()
        .find(|category| category["id"] == id)
        .unwrap_or(&Value::Null)
}

#[test]
fn the_reports_tables_come_out_of_its_own_logs() {
    let logs = rebuilt();
    let all = summaries(logs.path());
    let counts = |name: &str| {
        let summary = &all[name];
        [
            &summary["iterations"]["recorded"],
            &summary["rate"]["failed"],
            &summary["rate"]["of"],
        ]
        .map(|value| value.as_u64().unwrap())
    };
    for (name, recorded, failed) in [
        ("serial", 75, 2),
        ("n1", 100, 3),
        ("n4", 100, 5),
        ("serial_fix8", 50, 13),
        ("serial_fix9", 50, 39),
        ("serial_fix13", 50, 4),
        ("serial_fix14", 50, 1),
        ("serial_fix14-no-prefix-cache", 50, 0),
    ] {
        assert_eq!(counts(name), [recorded, failed, recorded], "{name}");
    }
    assert_eq!(category(&all["serial"], "A1")["runs"], json!([29, 35]));
    assert_eq!(category(&all["n1"], "A2")["runs"], json!([28]));
    assert_eq!(category(&all["n1"], "A3")["runs"], json!([71, 99]));
    assert_eq!(category(&all["n4"], "B1")["runs"], json!([91, 96, 98, 99, 100]));
    assert_eq!(
        category(&all["serial_fix8"], "A2")["runs"],
        json!([6, 8, 10, 18, 21, 24, 28, 31, 39, 43, 44, 47, 49])
    );
    assert_eq!(category(&all["serial_fix9"], "A1")["iterations"], 32);
    assert_eq!(category(&all["serial_fix9"], "A2")["rate"]["failed"], 5);
    assert_eq!(category(&all["serial_fix14"], "B1")["runs"], json!([24]));
    assert_eq!(all["serial_fix14"]["outcomes"], json!({"crashed": 1, "passed": 49}));
    assert_eq!(all["serial_fix14-no-prefix-cache"]["categories"], json!([]));
}

#[test]
fn rates_have_wilsons_interval_and_a_sweep_of_two_regimes_has_both() {
    let logs = rebuilt();
    let all = summaries(logs.path());
    let rate = &all["serial"]["rate"];
    // statsmodels, proportion_confint(2, 75, method="wilson")
    assert!(
        (rate["low"].as_f64().unwrap() - 0.007_343_689_006_131_395).abs() < 1e-11,
        "{rate}"
    );
    assert!(
        (rate["high"].as_f64().unwrap() - 0.092_114_881_877_591_51).abs() < 1e-10,
        "{rate}"
    );
    assert_eq!((&rate["confidence"], &rate["method"]), (&json!(0.95), &json!("wilson")));
    let n4 = &all["n4"];
    assert_eq!(
        n4["regimes"],
        json!([{"first": 1, "last": 90, "failed": 0, "of": 90}, {"first": 91, "last": 100, "failed": 5, "of": 10}])
    );
    assert!((n4["regime_p"].as_f64().unwrap() - 9.085e-6).abs() < 1e-8);
    assert!(n4["notes"].to_string().contains("not one constant, independent rate"));
    assert_eq!(all["serial_fix8"]["regimes"].as_array().unwrap().len(), 1);
}

#[test]
fn the_text_fits_a_terminal_and_reads_without_color() {
    let logs = rebuilt();
    let (code, out, _) = run(logs.path(), &["summary", "serial_fix13"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out);
    let (_, everything, _) = run(logs.path(), &["summary", "--logs-dir", "."]);
    for line in everything.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\u{1b}') && !line.ends_with(' '), "{line:?}");
    }
    assert!(
        everything.contains("serial_fix14-no-prefix-cache      50    0/50        0  below 5.8 %\n"),
        "{everything}"
    );
    // No percentage stands without its count, on its own line or the one above.
    let lines: Vec<&str> = everything.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" % ")) {
        assert!(pair.concat().contains('/'), "{pair:?}");
    }
}

#[test]
fn a_sweep_is_a_page_of_markdown_a_table_of_csv_and_a_suite_of_junit() {
    let logs = rebuilt();
    let (_, page, _) = run(logs.path(), &["summary", "serial_fix13", "n1", "--format", "markdown"]);
    for title in [
        "### Outcomes in order",
        "\nn1\n\n```text\n      1  .......... .......... .......F.. ",
        "### Run statistics",
        "### Failure breakdown",
        "### Per iteration",
        "### Flaky tests identified",
    ] {
        assert!(page.contains(title), "{page}");
    }
    assert!(
        page.contains("| n1 | n1 | 100 (1-100) | 97 | 3 | 0 | 0 | 3/100 |"),
        "{page}"
    );

    let table = |words: &[&str]| {
        let (code, out, err) = run(
            logs.path(),
            &[&["summary", "--logs-dir", ".", "--format", "csv"], words].concat(),
        );
        assert_eq!(code, 0, "{err}");
        let mut reader = csv::Reader::from_reader(out.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        (header, reader.records().map(Result::unwrap).collect::<Vec<_>>())
    };
    let (header, rows) = table(&[]);
    assert_eq!((header[0].as_str(), rows.len()), ("sweep", 8));
    assert_eq!(table(&["--table", "iterations"]).1.len(), 2 + 3 + 5 + 13 + 42 + 4 + 1);
    assert_eq!(table(&["--table", "iterations", "--all"]).1.len(), 70 + 525 - 67);
    assert!(
        table(&["--table", "failures"])
            .1
            .iter()
            .any(|row| &row[1] == "B1" && &row[6] == "91 96 98 99 100")
    );
    let (_, tests) = table(&["--table", "tests"]);
    assert!(
        tests
            .iter()
            .any(|row| row[1].ends_with("::test_indexers_sync[jetstream]") && &row[2] == "2")
    );

    let file = logs.path().join("report.xml");
    let words = ["summary", "serial", "--format", "junit", "-o", file.to_str().unwrap()];
    let (code, out, _) = run(logs.path(), &words);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(fs::read_to_string(file).unwrap().starts_with("<?xml"));
}

#[test]
fn a_tree_without_sweeps_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["summary"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with("error: no sweep below `logs`\nhint: reproduce-flaky demo makes some"),
        "{err}"
    );
    fs::write(dir.path().join("a.log"), "1 passed").unwrap();
    let (_, _, err) = run(dir.path(), &["summary", "."]);
    assert!(err.contains("reproduce-flaky classify . judges single logs"), "{err}");
    let (code, _, err) = run(dir.path(), &["summary", "nowhere"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("failed to read `nowhere`: no such file or directory"),
        "{err}"
    );
}

#[test]
fn names_with_brackets_hostile_logs_and_broken_files_do_not_break_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    for (iteration, log) in [
        (
            1,
            &b"\x1b[31mFAILED\x1b[0m \xff\xfe<script>alert(1)</script>|x|\r\n"[..],
        ),
        (2, b""),
        (3, b"=================== 1 passed in 0.01s ===================\n"),
    ] {
        let run = dir.path().join(format!("n4_odd [tag]/run{iteration:03}"));
        fs::create_dir_all(run.join("test_x[a-b]")).unwrap();
        fs::write(run.join("pytest.log"), log).unwrap();
        fs::write(run.join("test_x[a-b]/test.log.txt"), log).unwrap();
    }
    fs::write(dir.path().join("n4_odd [tag]/run003/exit.json"), "{\"code\":0,").unwrap();
    for format in ["text", "markdown", "json", "csv", "junit"] {
        let (code, out, err) = run(dir.path(), &["summary", ".", "--format", format]);
        assert_eq!(code, 0, "{format}: {err}");
        assert!(!out.contains('\u{1b}') && !out.is_empty(), "{format}: {out}");
        assert!(
            format == "json" || format == "csv" || format == "text" || !out.contains("<script>"),
            "{format}: {out}"
        );
    }
    let all = summaries(dir.path());
    let summary = &all["n4_odd [tag]"];
    assert_eq!((&summary["mode"], &summary["tag"]), (&json!("n4"), &json!("odd [tag]")));
    assert_eq!(summary["iterations"]["passed"], 1);
    assert!(
        summary["notes"].to_string().contains("exit.json is corrupted"),
        "{summary}"
    );
}

#[test]
fn the_screen_at_the_end_and_the_stored_summary_say_what_summary_says() {
    let place = Place::endings();
    let ran = place.run(&["--backend", "local", "-s", "1", "-e", "5"]).exits(3);
    let screen = ran.out();
    for words in [
        "1 iteration passed, 3 failed, 1 errored",
        "3/4 failed: 75 %",
        "Routing assertion: 1/4, 25 %",
        "A5",
        "errored: outside the rate",
        "logs/serial/run002/run.log:",
        "reproduce-flaky show logs/serial/run002",
    ] {
        assert!(screen.contains(words), "{words} is not on the screen:\n{screen}");
    }
    let report = place.run(&["summary", "logs/serial"]).exits(0).out();
    assert_eq!(
        fs::read_to_string(place.path("logs/serial/summary.txt")).unwrap(),
        report
    );
    let json = place.run(&["summary", "--format", "json"]).exits(0).out();
    let summary: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        summary["iterations"],
        json!({"planned": 5, "recorded": 5, "passed": 1, "failed": 3, "errored": 1, "missing": 0})
    );
    assert_eq!(summary["conditions"]["backend"], "local");
    // Reached tests are known from the trail: one in each iteration, another each time.
    let tests = summary["tests"].as_array().unwrap();
    assert!(
        tests.iter().all(|test| test["failed"].as_u64() <= test["of"].as_u64()),
        "{tests:?}"
    );
}

/// A run of a bundle or a foreign tree whose judgement is out to do harm: every text of it acts on a terminal, a CI
/// service, a spreadsheet or a parser of XML.
fn hostile(sweep: &Path) {
    let text =
        "x\r\n::error::pwned\u{1b}[31m \u{7}\u{0}\u{8}\u{c}\u{202e}\u{2028}::warning::b##[group]\u{fffe}\u{ffff}</a>&|";
    for (iteration, outcome) in [(1, "failed"), (2, "infra"), (3, "passed")] {
        let run = sweep.join(format!("run{iteration:03}"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("run.log"), "").unwrap();
        fs::write(
            run.join("exit.json"),
            json!({"code": 1, "node": text, "error": text, "argv": [text]}).to_string(),
        )
        .unwrap();
        let verdict = [("failed", "failed"), ("infra", "errored"), ("passed", "passed")];
        let (_, verdict) = verdict.iter().find(|(known, _)| *known == outcome).unwrap();
        let tests = [format!("=1+1 {text}.py::{text}"), format!("::error::{text}")];
        let judged = json!({
            "format": 1, "iteration": iteration, "verdict": verdict, "outcome": outcome,
            "categories": [text, "::error::c", "=c"], "failing_tests": tests,
            "evidence": [
                {"category": text, "file": text, "line": 1, "text": format!("{text} aaa ::error::b"), "test": tests[0], "worker": text},
                {"category": "=c", "file": "=f", "line": null, "text": "=HYPERLINK(1)", "test": null, "worker": null},
            ],
            "counts": {}, "notes": [text, "::error::n"],
        });
        fs::write(run.join("outcome.json"), judged.to_string()).unwrap();
    }
}

#[test]
fn what_a_test_wrote_acts_on_no_terminal_no_ci_service_no_spreadsheet_and_no_parser() {
    let dir = tempfile::tempdir().unwrap();
    hostile(&dir.path().join("serial_a"));
    hostile(&dir.path().join("serial_b"));
    for words in [
        &["text"][..],
        &["text", "--table", "statistics"],
        &["text", "--table", "failures"],
        &["text", "--table", "iterations", "--all"],
        &["text", "--table", "tests"],
        &["markdown", "--all"],
        &["csv"],
        &["csv", "--table", "failures"],
        &["csv", "--table", "iterations", "--all"],
        &["csv", "--table", "tests"],
        &["junit"],
        &["svg"],
        &["html"],
    ] {
        let (code, out, err) = run(dir.path(), &[&["summary", ".", "--format"], words].concat());
        assert_eq!(code, 0, "{words:?}: {err}");
        assert!(out.len() > 50, "{words:?}: {out}");
        for line in out.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
            assert!(
                !line.trim_start().starts_with("::") && !line.contains("##["),
                "{words:?}: {line}"
            );
        }
        let acts = |c: &char| *c != '\n' && c.is_control() || "\u{202e}\u{2028}\u{fffe}\u{ffff}".contains(*c);
        assert_eq!(out.chars().find(acts), None, "{words:?}: {out}");
        if words[0] == "csv" {
            let mut reader = csv::Reader::from_reader(out.as_bytes());
            for cell in reader
                .records()
                .map(Result::unwrap)
                .flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>())
            {
                assert!(!cell.starts_with(['=', '+', '-', '@']), "{words:?}: {cell}");
            }
        }
        if matches!(words[0], "junit" | "svg") {
            let file = dir.path().join("file.xml");
            fs::write(&file, &out).unwrap();
            let check = "import sys, xml.dom.minidom as d; d.parse(sys.argv[1])";
            let parsed = std::process::Command::new("python3")
                .args(["-c", check])
                .arg(&file)
                .output()
                .unwrap();
            assert!(
                parsed.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&parsed.stderr)
            );
        }
    }
}
