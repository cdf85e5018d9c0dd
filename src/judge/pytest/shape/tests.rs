use super::*;

#[test]
fn rules_name_what_follows_them() {
    let found = rule("=========== FAILURES ==========").unwrap();
    assert_eq!((found.fill, found.title, found.width), ('=', "FAILURES", 31));
    assert_eq!(rule("_ test_long[x] _").unwrap().title, "test_long[x]");
    assert_eq!(rule("――― test_x ―――").unwrap().width, 14);
    for text in ["_ _ _ _ _ _ _", "=====", "== x", "", "a = b", "=== x -", "= ="] {
        assert_eq!(rule(text), None, "{text}");
    }
}

#[test]
fn results_are_read_in_every_order() {
    for (text, id, status, worker) in [
        (
            "tests/a.py::TestX::test_y[a b] FAILED    [ 50%]",
            "tests/a.py::TestX::test_y[a b]",
            Status::Failed,
            None,
        ),
        (
            "[gw3] [ 50%] PASSED tests/a.py::test_x[a] b] ",
            "tests/a.py::test_x[a] b]",
            Status::Passed,
            Some("gw3"),
        ),
        (
            "tests/a.py::test_x[a] b] SKIPPED (why not) [ 1%]",
            "tests/a.py::test_x[a] b]",
            Status::Skipped,
            None,
        ),
        (
            "tests/a.py::test_x [i=1] (n=2) SUBFAIL [ 1%]",
            "tests/a.py::test_x",
            Status::Failed,
            None,
        ),
        (
            "tests/a.py::test_x SUBFAILED[i=1] (n=2) [ 1%]",
            "tests/a.py::test_x",
            Status::Failed,
            None,
        ),
        (
            "tests/a.py::test_x PARALLEL FAILED [ 1%]",
            "tests/a.py::test_x",
            Status::Failed,
            None,
        ),
        (
            "[gw1] [ 55%] FAILED tests/a.py::test_x    [ 55%]",
            "tests/a.py::test_x",
            Status::Failed,
            Some("gw1"),
        ),
        (
            "..[gw1] [ 55%] RERUN tests/a.py::test_x[a] ",
            "tests/a.py::test_x[a]",
            Status::Rerun,
            Some("gw1"),
        ),
    ] {
        let line = progress(text).unwrap();
        assert_eq!(
            (line.id, line.status, line.worker),
            (id, Some(status), worker),
            "{text}"
        );
    }
    let line = progress("tests/a.py::test_x Fatal Python error: Aborted").unwrap();
    assert_eq!((line.status, line.rest), (None, "Fatal Python error: Aborted"));
    let quoting = "tests/a.py::test_x[[gw6] [ 9%] PASSED a.py::b] ";
    assert_eq!(progress(quoting).unwrap().id, quoting.trim_end());
    assert_eq!(progress("[gw0] node down: Not properly terminated"), None);
}

#[test]
fn a_result_after_the_tests_own_output_is_found() {
    assert_eq!(late_status("PASSED"), Some(Status::Passed));
    assert_eq!(late_status("some outputFAILED     [ 50%]"), Some(Status::Failed));
    assert_eq!(late_status("the child said FAILED"), None);
    assert_eq!(late_status(""), None);
}

#[test]
fn rows_of_letters_are_read_with_and_without_a_file() {
    let row = letters("tests/a.py ..F.s        [ 50%]").unwrap();
    assert_eq!(
        (row.file, row.letters, row.percent),
        (Some("tests/a.py"), "..F.s", Some(50))
    );
    assert_eq!(letters("....F.. [100%]").unwrap().percent, Some(100));
    assert_eq!(letters("a.py ··e· [100%]").unwrap().failed(), 1);
    assert_eq!(percent_at_end("tests/a.py::x PASSED [ 5/10]"), Some(50));
    assert_eq!(percent_at_end(&format!("PASSED [{}/1]", u64::MAX)), None);
    assert_eq!(letters("tests/a.py ").unwrap().letters, "");
    assert_eq!(
        letters("tests/a.py ..Fatal Python error: Aborted").unwrap().letters,
        ".."
    );
    assert_eq!(letters("tests/a.py:3: AssertionError"), None);
    assert_eq!(letters("Failed"), None);
}

#[test]
fn summary_lines_name_their_test_whatever_stands_before_it() {
    for text in [
        "SUBFAILED[a b] t.py::test_x - E",
        "SUBFAIL t.py::test_x - E",
        "[a b] (n=0) SUBFAIL t.py::test_x - E",
        "PARALLEL FAILED t.py::test_x - E",
        "ERROR t.py::test_x - E",
        "FAILED \u{1f630}  t.py::test_x - E",
    ] {
        assert_eq!(summary(text).unwrap(), "t.py::test_x - E", "{text}");
    }
    assert_eq!(summary("PASSED t.py::test_x"), None);
}
