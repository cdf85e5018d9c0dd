use super::*;

fn side(text: &str, categories: &[(&str, u64)]) -> Sample {
    let mut side = Sample::from_counts(text, text.parse().unwrap());
    side.by_category = categories.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
    side
}

fn expecting(direction: Direction) -> Question {
    Question {
        expect: Some(direction),
        ..Question::default()
    }
}

#[test]
fn two_failures_before_and_none_after_fifty_are_no_evidence() {
    let comparison = Comparison::new(&side("2/75", &[]), &side("0/50", &[]), Question::default());
    let any = &comparison.classes[0];
    assert_eq!((any.verdict, any.clean_runs_needed), (Finding::NoEvidence, Some(259)));
    assert!((any.p_adjusted - 0.358).abs() < 1e-3);
}

#[test]
fn a_direction_stated_beforehand_is_tested_at_the_whole_level_and_alone() {
    let (base, new) = (side("13/50", &[]), side("0/12", &[]));
    let finding = |question| Comparison::new(&base, &new, question).classes[0].verdict;
    assert_eq!(finding(Question::default()), Finding::NoEvidence);
    assert_eq!(finding(expecting(Direction::Fewer)), Finding::Fewer);
    assert_eq!(finding(expecting(Direction::More)), Finding::NoEvidence);
}

#[test]
fn sizes_that_were_planned_alike_are_compared_by_barnards_test_and_others_by_fishers() {
    let planned = |text: &str, planned| Sample {
        planned,
        ..side(text, &[])
    };
    let compared = |base: Option<u64>, new: Option<u64>, test| {
        let question = Question {
            test,
            ..Question::default()
        };
        let found = Comparison::new(&planned("4/50", base), &planned("0/50", new), question);
        (found.test, found.classes[0].tested.less, found.classes[0].fisher.less)
    };
    let (test, p, fisher) = compared(Some(50), Some(50), None);
    assert_eq!(test, ExactTest::Barnard);
    // scipy: barnard_exact([[4, 0], [46, 50]], alternative="greater", n=256).
    assert!((p - 0.022_232_193).abs() < 1e-6 && fisher > 0.05, "{p} {fisher}");
    for (base, new) in [(None, None), (Some(50), Some(60)), (Some(50), None)] {
        assert_eq!(compared(base, new, None).0, ExactTest::Fisher);
    }
    assert_eq!(compared(None, None, Some(ExactTest::Boschloo)).0, ExactTest::Boschloo);
}

#[test]
fn every_class_of_either_side_is_compared_and_adjusted_for_the_others() {
    let base = side("13/50", &[("A2", 13)]);
    let new = side("1/50", &[("B1", 1)]);
    let comparison = Comparison::new(&base, &new, Question::default());
    let ids: Vec<&str> = comparison.classes.iter().map(|class| class.id.as_str()).collect();
    assert_eq!(ids, ["any", "A2", "B1"]);
    assert_eq!(
        comparison.classes.iter().map(|class| class.verdict).collect::<Vec<_>>(),
        [Finding::Fewer, Finding::Fewer, Finding::NoEvidence]
    );
    assert!((comparison.classes[1].p_adjusted / comparison.classes[1].fisher.less - 3.0).abs() < 1e-9);
}

#[test]
fn a_side_that_says_nothing_gives_no_evidence() {
    let comparison = Comparison::new(&side("0/0", &[]), &side("5/5", &[]), Question::default());
    assert_eq!(comparison.classes[0].verdict, Finding::NoEvidence);
    assert!((comparison.classes[0].p_adjusted - 1.0).abs() < 1e-12);
}

#[test]
fn the_json_has_the_published_fields_and_no_others() {
    let comparison = Comparison::new(&side("2/75", &[]), &side("0/50", &[]), Question::default());
    let json = serde_json::to_value(&comparison).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&json), "base classes e_value format new notes test");
    assert_eq!(keys(&json["base"]), "failed name of");
    assert_eq!(
        keys(&json["classes"][0]),
        "base clean_runs_needed id new p_adjusted p_greater p_less p_test_greater p_test_less p_two_sided test verdict"
    );
    assert_eq!(keys(&json["classes"][0]["new"]), "failed high low of");
    assert_eq!(json["classes"][0]["verdict"], "no evidence");
}
