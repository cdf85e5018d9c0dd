//! The scheduler over a scripted backend: order of events, lost attempts, deadlines, cancelling, resuming.

mod scripted;

use reproduce_flaky::sweep::scheduler::Reason;
use reproduce_flaky::sweep::stop::StopReason;

use scripted::{Act, SweepTest, json, told};

#[test]
fn events_come_in_order_and_after_what_they_announce() {
    let test = SweepTest::new(2).act(2, &[Act::Fail]);
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(
        told,
        [
            "sweep started, 2 to run",
            "1 started, attempt 1",
            "1 passed",
            "2 started, attempt 1",
            "2 failed",
            "finished, complete, 0 missing",
        ]
    );
    assert_eq!((end.tally.passed, end.tally.failed), (1, 1));
    assert_eq!(test.recorded(), [1, 2]);
}

#[test]
fn an_iteration_records_what_it_ran_under() {
    let test = SweepTest::new(1);
    test.run();
    let exit = json(&test.dir().join("run001/exit.json"));
    assert_eq!(
        (exit["tool"].as_str(), exit["jobs"].as_u64()),
        (Some("test"), Some(1)),
        "{exit}"
    );
    assert!(
        exit["cores"].as_u64() >= Some(1) && exit["load"].as_f64() >= Some(0.0),
        "{exit}"
    );
}

#[test]
fn a_resume_runs_only_the_missing_iterations() {
    let mut test = SweepTest::new(2);
    test.run();
    let first = std::fs::read(test.dir().join("run001/exit.json")).unwrap();
    test.last = 3;
    let (_, told) = test.run();
    assert_eq!(told[0], "sweep started, 1 to run");
    assert_eq!(told[1], "3 started, attempt 1");
    assert_eq!(std::fs::read(test.dir().join("run001/exit.json")).unwrap(), first);
}

#[test]
fn a_lost_attempt_is_tried_again_and_is_no_result() {
    let test = SweepTest::new(1).act(1, &[Act::Lost, Act::Vanish, Act::Fail]);
    let (end, told) = test.run();
    assert_eq!(
        told[1..6],
        [
            "1 started, attempt 1",
            "1 lost attempt 1",
            "1 started, attempt 2",
            "1 lost attempt 2",
            "1 started, attempt 3"
        ]
    );
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(test.outcome(1)["outcome"], "failed");
    assert_eq!(json(&test.dir().join("run001/exit.json"))["attempts"], 3);
}

#[test]
fn three_attempts_lost_for_one_reason_stop_the_sweep_and_record_the_iteration_as_errored() {
    let test = SweepTest::new(5).act(1, &[Act::Lost; 3]);
    let (end, _) = test.run();
    assert!(
        matches!(&end.reason, Reason::Broken(cause) if cause.contains("the daemon went away")),
        "{:?}",
        end.reason
    );
    assert_eq!(test.recorded(), [1]);
    assert_eq!(test.outcome(1)["verdict"], "errored");
}

#[test]
fn three_attempts_refused_in_the_same_way_stop_the_sweep_whatever_the_engine_names() {
    let test = SweepTest::new(5).act(1, &[Act::Refused; 3]);
    let (end, _) = test.run();
    assert!(matches!(end.reason, Reason::Broken(_)), "{:?}", end.reason);
    assert_eq!(test.recorded(), [1]);
}

#[test]
fn after_the_first_signal_a_lost_attempt_is_not_tried_again() {
    let mut test = SweepTest::new(2).act(1, &[Act::Vanish]);
    test.signals_after = Some((1, 1));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    let attempts: Vec<&String> = told.iter().filter(|event| event.contains("attempt")).collect();
    assert_eq!(attempts, ["1 started, attempt 1", "1 lost attempt 1"]);
    assert_eq!(test.recorded(), [0; 0]);
}

#[test]
fn a_clock_that_is_set_on_makes_no_session_longer_than_it_was() {
    let test = SweepTest::new(1).act(1, &[Act::Leap]);
    test.run();
    let exit = json(&test.dir().join("run001/exit.json"));
    assert!(exit["duration_s"].as_f64().unwrap() < 60.0, "{exit}");
}

#[test]
fn attempts_lost_at_the_same_moment_do_not_stop_the_sweep() {
    let lost = [Act::Lost];
    let test = SweepTest::new(4)
        .jobs(4)
        .act(1, &lost)
        .act(2, &lost)
        .act(3, &lost)
        .act(4, &lost);
    let (end, _) = test.run();
    assert_eq!(end.reason, Reason::Complete);
    assert_eq!(end.tally.passed, 4);
}

#[test]
fn a_session_that_hangs_is_ended_at_the_deadline_and_said_to_be_hung() {
    let test = SweepTest::new(2).act(1, &[Act::Hang]).act(2, &[Act::Stubborn]);
    let (end, told) = test.run();
    assert_eq!(end.tally.failed, 2);
    assert!(
        told.contains(&"1 hung".to_owned()) && told.contains(&"2 hung".to_owned()),
        "{told:?}"
    );
    let exit = json(&test.dir().join("run002/exit.json"));
    assert_eq!(
        (exit["ended_by"].as_str(), exit["code"].as_i64()),
        (Some("deadline"), Some(137))
    );
    assert_eq!(test.outcome(1)["categories"], serde_json::json!(["A4"]));
    let log = std::fs::read_to_string(test.dir().join("run001/run.log")).unwrap();
    let nonce = json(&test.dir().join("run001/exit.json"))["nonce"].clone();
    let marker = format!(
        "\n=== reproduce-flaky: deadline of 11m passed; ending the session [{}] ===\n",
        nonce.as_str().unwrap()
    );
    assert!(log.contains(&marker) && nonce != exit["nonce"], "{log}");
}

#[test]
fn a_silent_session_is_ended_before_the_deadline() {
    let mut test = SweepTest::new(1).act(1, &[Act::Hang]);
    test.silence = Some(5.0);
    test.run();
    assert_eq!(json(&test.dir().join("run001/exit.json"))["ended_by"], "silence");
}

#[test]
fn a_session_that_nothing_can_end_does_not_hold_the_sweep() {
    let test = SweepTest::new(2).act(1, &[Act::Unkillable]);
    let (end, _) = test.run();
    assert_eq!((end.tally.failed, end.tally.passed), (1, 1));
    assert_eq!(test.outcome(1)["outcome"], "hung");
}

#[test]
fn one_signal_lets_running_iterations_end_and_starts_nothing_new() {
    let mut test = SweepTest::new(9).jobs(2).act(2, &[Act::Hang]);
    test.silence = Some(20.0);
    test.signals_after = Some((2, 1));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(
        told.contains(&"cancel".to_owned()) && told.contains(&"2 hung".to_owned()),
        "{told:?}"
    );
    assert!(test.recorded().len() < 9);
}

#[test]
fn a_second_signal_ends_running_iterations_and_they_are_no_results() {
    let mut test = SweepTest::new(9).act(1, &[Act::Stubborn]);
    test.signals_after = Some((1, 2));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(told.contains(&"cancel now".to_owned()), "{told:?}");
    assert_eq!(test.recorded(), [0; 0]);
    // The same command goes on from there.
    test.signals_after = None;
    test.acts.clear();
    test.run();
    assert_eq!(test.recorded().len(), 9);
}

#[test]
fn the_grace_after_one_signal_is_bounded() {
    let mut test = SweepTest::new(1).act(1, &[Act::Hang]);
    test.signals_after = Some((1, 1));
    let (end, told) = test.run();
    assert_eq!(end.reason, Reason::Interrupted);
    assert!(told.contains(&"cancel now".to_owned()), "{told:?}");
    assert_eq!(test.recorded(), [0; 0]);
}

#[test]
fn the_sweep_stops_after_enough_failures() {
    let mut test = SweepTest::new(9).act(2, &[Act::Fail]).act(4, &[Act::Fail]);
    test.stop.max_failures = Some(2);
    let (end, _) = test.run();
    assert_eq!(end.reason, Reason::Stopped(StopReason::MaxFailures(2)));
    assert_eq!(test.recorded(), [1, 2, 3, 4]);
}

#[test]
fn the_event_log_tells_the_same_as_the_displays() {
    let test = SweepTest::new(3).act(2, &[Act::Fail]);
    let (_, told_live) = test.run();
    let log = std::fs::read_to_string(test.dir().join("events.jsonl")).unwrap();
    let logged: Vec<String> = log
        .lines()
        .map(|line| told(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(logged, told_live);
}
