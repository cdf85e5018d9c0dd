//! Pictures as text, without a terminal.

use std::collections::BTreeMap;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::stats::{Count, Method, Rate};

fn sweep(name: &str, n_running: u32) -> SweepStatus {
    let latest = (1..=42).map(|iteration| {
        let outcome = match iteration {
            7 => OutcomeKind::Failed,
            24 => OutcomeKind::Crashed,
            30 => OutcomeKind::Infra,
            _ => OutcomeKind::Passed,
        };
        Latest {
            iteration,
            verdict: outcome.verdict(),
            outcome,
            categories: if outcome == OutcomeKind::Crashed {
                vec!["B1".to_owned()]
            } else {
                Vec::new()
            },
            failing_tests: vec!["tests/test_a.py::test_indexers_sync[jetstream]".to_owned()],
            dir: format!("{name}/run{iteration:03}"),
        }
    });
    SweepStatus {
        sweep: name.to_owned(),
        running: n_running > 0,
        planned: 50,
        recorded: 42,
        passed: 39,
        failed: 2,
        errored: 1,
        rate: Rate::new(Count::new(2, 41).unwrap(), 0.95, Method::ConfidenceSequence),
        by_category: BTreeMap::from([("A2".to_owned(), 1), ("B1".to_owned(), 1)]),
        in_flight: (43..43 + n_running)
            .map(|iteration| Running {
                iteration,
                elapsed_s: Some(if iteration == 44 { 700.0 } else { 65.0 }),
                host: None,
                pid: None,
                attempt: Some(format!("{name}/.attempts/run{iteration:03}.x")),
                last_line: Some(
                    "tests/test_a.py::test_indexers_sync[jetstream] \u{1b}PASSED [ 50%] and a long rest".to_owned(),
                ),
            })
            .collect(),
        usual_s: Some(120.0),
        left_s: (n_running > 0).then_some(240.0),
        ended: None,
        stop_rule: None,
        latest: latest.collect(),
    }
}

const PLAIN: Look = Look {
    is_colored: false,
    is_unicode: false,
    has_keys: true,
};

fn picture(state: &mut State, width: u16, height: u16, look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, look)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn everything_is_there_in_eighty_columns_without_color() {
    let mut state = State::default();
    state.show(vec![sweep("logs/n4_fix8", 2)]);
    state.step(1);
    // No time passes in a picture that was not taken.
    state.seen = None;
    let expected = "\
logs/n4_fix8  ####################---- 42/50  running, about 4 min 0 s left
  39 passed  2 failed  1 errored   A2 in 1  B1 in 1
  2/41 failed: 4.9 % (95 % interval: 0.12 % to 24 %)
  ......F................C.....E............  1-42
> run043  1 min 5 s of 2 min 0 s tests/test_a.py::test_indexers_sync[jetstrea…
  run044  11 min 40 s (6x)       tests/test_a.py::test_indexers_sync[jetstrea…
  failed or errored, the last one first
  run030  infra                  test_indexers_sync[jetstream]
  run024  crashed B1             test_indexers_sync[jetstream]
  run007  failed                 test_indexers_sync[jetstream]


 j k  select   Enter  log   e  evidence   q  leave, nothing is stopped
";
    assert_eq!(picture(&mut state, 80, 13, PLAIN), expected);
}

#[test]
fn any_size_can_be_drawn_and_what_is_selected_is_in_sight() {
    let look = Look {
        is_colored: true,
        is_unicode: true,
        has_keys: true,
    };
    let mut state = State::default();
    state.show((0..5).map(|n| sweep(&format!("logs/n{n}"), 3)).collect());
    for (width, height) in [(80, 24), (200, 60), (20, 5), (1, 1), (3, 2), (80, 4), (40, 10)] {
        for _ in 0..40 {
            let drawn = picture(&mut state, width, height, look);
            if width >= 20 && state.selected().is_some() {
                assert_eq!(drawn.matches('▶').count(), 1, "{width}x{height}: {drawn}");
            }
            state.step(1);
        }
        state.step(-1000);
    }
}

#[test]
fn what_is_selected_stays_so_while_runs_come_and_go() {
    let mut state = State::default();
    state.show(vec![sweep("logs/a", 3), sweep("logs/b", 2)]);
    state.step(1);
    state.step(2);
    assert_eq!(state.selected().unwrap().iteration, 45);
    // Run 43 ends; the same run stays selected, at another place.
    let mut next = sweep("logs/a", 3);
    next.in_flight.remove(0);
    state.show(vec![next.clone(), sweep("logs/b", 2)]);
    assert_eq!(state.selected().unwrap().iteration, 45);
    next.in_flight.clear();
    state.show(vec![next]);
    assert_eq!(state.selected().unwrap().iteration, 24, "what took its place");
    state.show(Vec::new());
    assert_eq!(state.selected(), None);
    state.step(1);
    assert!(picture(&mut state, 80, 5, PLAIN).contains("no sweep yet"));
}
