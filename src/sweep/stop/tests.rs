use super::*;

fn outcome(kind: OutcomeKind, categories: &[&str]) -> Outcome {
    Outcome {
        categories: categories.iter().map(|id| (*id).to_owned()).collect(),
        ..Outcome::new(kind)
    }
}

fn fed(rules: StopRules, outcomes: &[Outcome]) -> (usize, Option<String>) {
    let mut state = StopState::new(rules);
    for (index, outcome) in outcomes.iter().enumerate() {
        if let Some(reason) = state.observe(outcome) {
            return (index + 1, Some(reason.to_string()));
        }
    }
    (outcomes.len(), None)
}

fn until(text: &str) -> StopRules {
    StopRules {
        until: vec![text.parse().unwrap()],
        ..StopRules::default()
    }
}

#[test]
fn a_sweep_ends_when_a_category_was_seen_often_enough() {
    let hang = outcome(OutcomeKind::Hung, &["A4"]);
    let outcomes = [hang.clone(), outcome(OutcomeKind::Failed, &["A1"]), hang.clone(), hang];
    assert_eq!(fed(until("A4=2"), &outcomes), (3, Some("until A4=2".to_owned())));
    assert_eq!(fed(until("hung"), &outcomes), (1, Some("until hung=1".to_owned())));
    assert_eq!(fed(until("timed-out=1"), &outcomes), (4, None));
    assert_eq!(fed(until("any=3"), &outcomes), (3, Some("until any=3".to_owned())));
}

#[test]
fn errored_iterations_are_no_failures_and_no_evidence() {
    let rules = StopRules {
        max_failures: Some(1),
        prove_below: Some(0.5),
        ..StopRules::default()
    };
    let outcomes = vec![outcome(OutcomeKind::Infra, &["A5"]); 500];
    assert_eq!(fed(rules, &outcomes), (500, None));
}

#[test]
fn clean_iterations_prove_a_rate_to_be_below_a_limit_after_the_published_number() {
    for (limit, runs, words) in [(0.03, 113, "prove-below 3%"), (0.26, 12, "prove-below 26%")] {
        let rules = StopRules {
            prove_below: Some(limit),
            ..StopRules::default()
        };
        let outcomes = vec![outcome(OutcomeKind::Passed, &[]); 200];
        assert_eq!(fed(rules, &outcomes), (runs, Some(words.to_owned())));
    }
}

#[test]
fn the_first_rule_that_is_met_stays_the_reason() {
    let mut state = StopState::new(StopRules {
        max_failures: Some(1),
        time: Some(Duration::from_hours(2)),
        ..StopRules::default()
    });
    assert_eq!(state.elapsed(Duration::from_mins(90)), None);
    assert_eq!(
        state.elapsed(Duration::from_hours(2)).map(ToString::to_string),
        Some("for 2h".to_owned())
    );
    assert_eq!(
        state
            .observe(&outcome(OutcomeKind::Failed, &[]))
            .map(ToString::to_string),
        Some("for 2h".to_owned())
    );
}

#[test]
fn the_standing_counts_down_to_the_proof() {
    let mut state = StopState::new(StopRules {
        prove_below: Some(0.03),
        ..StopRules::default()
    });
    assert_eq!(state.standing().to_string(), "");
    for _ in 0..100 {
        state.observe(&outcome(OutcomeKind::Passed, &[]));
    }
    let line = state.standing().to_string();
    assert!(line.starts_with("failed 0/100, a rate between 0.0 % and "), "{line}");
    assert!(line.ends_with(" of 20, 13 clean runs to go"), "{line}");
}

#[test]
fn rules_that_mean_nothing_are_refused_in_words() {
    for text in ["", "A4=0", "A4=", "A4=x", "=2", "a b", "A4=-1"] {
        assert!(text.parse::<Until>().is_err(), "{text}");
    }
    let rules = until("B1=2");
    assert_eq!(rules.categories().collect::<Vec<_>>(), ["B1"]);
}
