use super::*;

fn course(n: usize) -> Course {
    let names = (0..=n).map(|candidate| format!("c{candidate}")).collect();
    Course::new(names, vec![1.0; n + 1], vec![Count::default(); n + 1])
}

/// Runs what comes next until it is over; `came` says what becomes of a run by its candidate and how many ran before.
fn play(course: &mut Course, came: impl Fn(usize, u64) -> RunResult) -> End {
    loop {
        let wanted = match course.ahead() {
            Ahead::Over(end) => return end,
            Ahead::Run(wanted) => wanted,
        };
        for wanted in wanted {
            if !course.is_wanted(&wanted) {
                continue;
            }
            let iteration = course.free(wanted.candidate);
            let part = course.start(&wanted, iteration);
            assert_eq!(part.candidate, course.names[wanted.candidate]);
            let came = came(wanted.candidate, course.spent());
            course.came_to(wanted.candidate, iteration, Some(came));
        }
    }
}

const OTHER: fn() -> RunResult = || RunResult::Silent {
    why: "failed UNKNOWN".to_owned(),
    is_certain: false,
    is_other: true,
};

#[test]
fn what_fails_from_a_candidate_on_is_found_and_confirmed_around_those_that_cannot_be_run() {
    let mut course = course(32);
    course.leave_out(19, "does not build".to_owned());
    let end = play(&mut course, |candidate, spent| match candidate {
        25 => OTHER(),
        // Three in ten, in no order that the rounds could follow.
        _ => RunResult::Answered {
            failed: candidate >= 20 && draw::draw(7, spent, 1) < 0.3,
        },
    });
    let End::Culprit {
        candidate: 20,
        p,
        confirmation: Some(decision),
    } = end
    else {
        panic!("{end:?}")
    };
    assert!(p >= 0.95 && decision.only_higher >= 5, "{decision:?}");
    assert_eq!(course.left_out().get(&19).map(String::as_str), Some("does not build"));
    assert!(course.spent() < 200, "{}", course.spent());
}

#[test]
fn a_run_that_failed_for_another_reason_is_no_evidence() {
    let mut course = course(3);
    for iteration in 1..=3 {
        course.record(2, iteration, None, OTHER());
    }
    assert_eq!((course.count(2).of(), course.silent(2)), (0, (0, 3)));
    assert!(course.left_out().is_empty());
    course.record(2, 4, None, OTHER());
    assert_eq!(course.left_out().into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(course.kept(), [0, 1, 3]);
    // A single answer brings the candidate back.
    course.record(2, 5, None, RunResult::Answered { failed: false });
    assert!(course.left_out().is_empty());
}

#[test]
fn where_a_session_was_called_wrongly_one_run_is_enough_to_leave_its_candidate_out() {
    let mut course = course(3);
    let came = RunResult::Silent {
        why: "usage error".to_owned(),
        is_certain: true,
        is_other: false,
    };
    course.record(1, 1, None, came);
    assert_eq!(course.left_out().into_keys().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_confirmation_that_was_cut_off_goes_on_where_it_was() {
    let mut whole = course(4);
    let came = |candidate: usize| RunResult::Answered { failed: candidate >= 2 };
    // Everything up to the first run of a block.
    let mut half = loop {
        let Ahead::Run(wanted) = whole.ahead() else {
            panic!("nothing was confirmed")
        };
        let wanted = wanted.into_iter().next().unwrap();
        let iteration = whole.free(wanted.candidate);
        whole.start(&wanted, iteration);
        whole.came_to(wanted.candidate, iteration, Some(came(wanted.candidate)));
        if wanted.confirms.is_some() {
            break whole.clone();
        }
    };
    let Ahead::Run(wanted) = half.ahead() else {
        panic!("it is over")
    };
    assert_eq!(wanted.len(), 1, "{wanted:?}");
    assert_eq!(wanted[0].confirms, Some((2, 1)));
    let end = play(&mut half, |candidate, _| came(candidate));
    assert!(matches!(end, End::Culprit { candidate: 2, .. }), "{end:?}");
}

#[test]
fn runs_of_sweeps_recorded_before_are_probes() {
    let ends = [(0, 100), (0, 0), (30, 100)].map(|(failed, of)| Count::new(failed, of).unwrap());
    let mut course = Course::new(
        vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        vec![1.0; 3],
        ends.to_vec(),
    );
    assert_eq!((course.count(2), course.spent()), (ends[2], 0));
    let Ahead::Run(wanted) = course.ahead() else {
        panic!("it is over")
    };
    assert_eq!(wanted[0].candidate, 1, "{wanted:?}");
    course.jobs = 4;
    let Ahead::Run(wanted) = course.ahead() else {
        panic!("it is over")
    };
    assert_eq!(wanted.len(), 4);
}
