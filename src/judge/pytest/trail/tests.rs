use super::*;

#[test]
fn a_trail_names_the_test_that_did_not_end() {
    let trail = read(
            br#"{"event":"session_start","role":"main","worker":null,"pid":1,"at":1.0}
{"event":"start","nodeid":"a.py::test_a","worker":null,"pid":1,"at":1.0}
{"event":"phase","nodeid":"a.py::test_a","when":"call","outcome":"failed","reason":"AssertionError: x","worker":null,"pid":1,"at":1.0}
{"event":"phase","nodeid":"a.py::test_a","when":"teardown","outcome":"passed","worker":null,"pid":1,"at":1.0}
{"event":"start","nodeid":"a.py::test_b","worker":null,"pid":1,"at":1.0}
not json
{"event":"phase","nodeid":"a.py::te"#
                .as_slice(),
        )
        .unwrap();
    assert_eq!(trail.tests.len(), 2);
    assert!(trail.tests[0].is_failed && trail.tests[0].is_done);
    assert_eq!(trail.tests[0].reason, Some((3, "AssertionError: x".to_owned())));
    assert_eq!(
        trail.unfinished().map(|test| test.id.as_str()).collect::<Vec<_>>(),
        ["a.py::test_b"]
    );
    assert_eq!(trail.before("a.py::test_b"), Some(vec!["a.py::test_a"]));
    assert_eq!(trail.before("a.py::test_c"), None);
    assert!(!trail.is_finished);
}

#[test]
fn a_file_whose_collection_did_not_end_is_known() {
    let lines = r#"{"event":"collect","nodeid":"a.py","worker":"gw0"}
{"event":"collect","nodeid":"a.py","worker":"gw1"}
{"event":"collected","nodeid":"a.py","worker":"gw0"}
{"event":"collect","nodeid":"b.py","worker":"gw0"}
"#;
    let trail = read(lines.as_bytes()).unwrap();
    assert!(trail.collecting.iter().eq(["b.py"]));
    assert!(trail.tests.is_empty());
    let anew = format!("{lines}{}", r#"{"event":"session_start","role":"main"}"#);
    assert!(read(anew.as_bytes()).unwrap().collecting.is_empty());
}

#[test]
fn what_a_forked_child_writes_is_not_its_parents() {
    let lines = r#"{"event":"session_start","role":"main","worker":null,"pid":9}
{"event":"start","nodeid":"a.py::test_fork","worker":null,"pid":9}
{"event":"phase","nodeid":"a.py::test_fork","when":"call","outcome":"failed","reason":"SystemExit: 7","worker":null,"pid":16}
{"event":"phase","nodeid":"a.py::test_fork","when":"teardown","outcome":"passed","worker":null,"pid":16}
{"event":"start","nodeid":"a.py::test_b","worker":null,"pid":16}
{"event":"session_finish","role":"main","exit_status":1,"worker":null,"pid":16}
"#;
    let trail = read(lines.as_bytes()).unwrap();
    assert!(trail.has_forked && !trail.is_finished);
    let unfinished: Vec<&str> = trail.unfinished().map(|test| test.id.as_str()).collect();
    assert_eq!(unfinished, ["a.py::test_fork"]);
    assert!(!trail.tests[0].is_failed);
    let all_forked = lines
        .replace("\"pid\":9}\n{\"event\":\"start\"", "\"pid\":8}\n{\"event\":\"start\"")
        .replace("\"pid\":9", "\"pid\":16");
    let trail = read(all_forked.as_bytes()).unwrap();
    assert_eq!(trail.tests.len(), 2, "some plugins run every test in a child");
}

#[test]
fn a_worker_that_was_replaced_starts_anew_and_reruns_count_once() {
    let lines: Vec<String> = [
        ("a", "gw0", 10),
        ("b", "gw1", 11),
        ("c", "gw0", 10),
        ("d", "gw0", 12),
        ("e", "gw0", 12),
        ("e", "gw0", 12),
        ("f", "gw0", 12),
    ]
    .map(|(id, worker, pid)| {
        format!("{{\"event\":\"start\",\"nodeid\":\"{id}\",\"worker\":\"{worker}\",\"pid\":{pid}}}\n")
    })
    .to_vec();
    let lines = lines.concat();
    let trail = read(lines.as_bytes()).unwrap();
    assert_eq!(trail.before("c"), Some(vec!["a"]));
    assert_eq!(trail.before("f"), Some(vec!["d", "e"]));
    assert_eq!(trail.last_of(Some("gw1")).map(|test| test.id.as_str()), Some("b"));
}

#[test]
fn the_tests_that_began_are_those_of_the_whole_reading() {
    let log = br#"{"event":"session_start","role":"main","worker":null}
{"nodeid": "t.py::test_a[\"start\"]", "event": "start", "worker": null}
{"event":"phase","nodeid":"t.py::test_phase_of_none","when":"call","outcome":"failed","reason":"\"start\""}
{"event":"start","nodeid":"t.py::test_b","worker":"gw0","pid":1,"at":1.0}
{"event":"start","nodeid":"t.py::test_b","worker":"gw0","pid":1,"at":2.0}
{"event":"start","nodeid":"t.py::te"#
        .as_slice();
    let all: BTreeSet<String> = read(log).unwrap().tests.into_iter().map(|test| test.id).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(started(log).unwrap(), Some(all));
    assert_eq!(started(b"".as_slice()).unwrap(), None);
    assert_eq!(started(b"not json\n".as_slice()).unwrap(), Some(BTreeSet::new()));
}

#[test]
fn only_the_session_itself_and_no_worker_says_that_it_ended() {
    let worker = br#"{"event":"session_finish","role":"worker","exit_status":0,"worker":"gw0"}"#;
    assert!(!read(worker.as_slice()).unwrap().is_finished);
    let main = br#"{"event":"session_finish","role":"controller","exit_status":0,"worker":null}"#;
    assert!(read(main.as_slice()).unwrap().is_finished);
}

#[test]
fn a_line_that_says_that_the_test_before_has_ended_counts_as_its_last_phase() {
    let log = br#"{"event":"start","nodeid":"a","worker":null,"pid":1,"at_ns":1500000000}
{"event":"phase","nodeid":"a","when":"call","outcome":"failed","duration_s":0.1,"reason":"x","worker":null,"pid":1,"at_ns":1600000000}
{"event":"start","nodeid":"b","ended":"a","worker":null,"pid":1,"at_ns":2000000000}
{"event":"start","nodeid":"c","ended":"b","worker":null,"pid":1,"at_ns":9000000000}
"#
    .as_slice();
    let trail = read(log).unwrap();
    let told: Vec<_> = trail
        .tests
        .iter()
        .map(|test| (test.is_done, test.is_failed, test.at))
        .collect();
    assert_eq!(
        told,
        [
            (true, true, Some(1.5)),
            (true, false, Some(2.0)),
            (false, false, Some(9.0))
        ]
    );
    assert_eq!((trail.last_at, trail.longest_gap), (Some(9.0), 7.0));
    let end = br#"{"event":"session_finish","role":"main","exit_status":1,"ended":"c","worker":null,"pid":1,"at_ns":9500000000}"#;
    let trail = read([log, end].concat().as_slice()).unwrap();
    assert!(trail.is_finished && trail.unfinished().count() == 0);
}
