use std::path::PathBuf;

use super::*;

fn proof(design: Design, failed: u64, of: u64, allowed: u64, most: u64) -> Proving {
    Proving::new(Proof {
        base: PathBuf::new(),
        class: "A2".to_owned(),
        failed,
        of,
        design,
        remaining: 0.0,
        power: 0.8,
        allowed,
        most,
        is_full: false,
        seed: 7,
    })
    .unwrap()
}

/// A run at each letter; a blank is missing.
fn side(text: &str) -> BTreeMap<u32, Answer> {
    let runs = (1..).zip(text.chars()).filter(|(_, letter)| *letter != ' ');
    runs.map(|(run, letter)| (run, Answer::read(letter))).collect()
}

fn next(proving: &Proving, sides: &[&str]) -> Step {
    proving.next(&Runs::recorded(sides.iter().map(|text| side(text))))
}

#[test]
fn the_missing_run_comes_next_and_none_after_the_decision() {
    let proving = proof(Design::Recorded, 13, 50, 0, 12);
    assert_eq!(next(&proving, &[""]), Step::Run { arm: 0, iteration: 1 });
    assert_eq!(next(&proving, &[".. ."]), Step::Run { arm: 0, iteration: 3 });
    assert_eq!(next(&proving, &["..x........."]), Step::Run { arm: 0, iteration: 13 });
    let decided = Step::Decided(Reason::Stopped(StopReason::Decided));
    assert_eq!(next(&proving, &["............"]), decided);
    assert_eq!(next(&proving, &[".. .F"]), decided);
}

#[test]
fn a_full_plan_goes_on_after_a_failure_and_looks_once() {
    let mut proving = proof(Design::Recorded, 13, 50, 0, 12);
    proving.proof.is_full = true;
    assert_eq!(next(&proving, &["..F"]), Step::Run { arm: 0, iteration: 4 });
    let runs = Runs::recorded([side("..F.........")]);
    let shown = proving.shown(&runs);
    assert_eq!(
        (shown.conclusion, shown.fix),
        (Some(Conclusion::NotShown), Count::new(1, 12).unwrap())
    );
    assert_eq!(proving.next(&runs), Step::Decided(Reason::Complete));
    let clean = proving.shown(&Runs::recorded([side("............")]));
    assert_eq!(clean.conclusion, Some(Conclusion::Fewer));
    let worse = proving.shown(&Runs::recorded([side("FFFFFFFFFFFF")]));
    assert_eq!(worse.conclusion, Some(Conclusion::More));
}

#[test]
fn a_block_that_has_begun_is_completed_before_the_next_begins() {
    let proving = proof(Design::Control, 13, 50, 0, 40);
    let first = proving.first_side(1);
    assert_eq!(
        next(&proving, &["", ""]),
        Step::Run {
            arm: first,
            iteration: 1
        }
    );
    assert_eq!(next(&proving, &["F.", "."]), Step::Run { arm: 1, iteration: 2 });
    // A block with a run that errored needs no other side.
    let third = proving.first_side(3);
    assert_eq!(
        next(&proving, &["Fx", "."]),
        Step::Run {
            arm: third,
            iteration: 3
        }
    );
}

#[test]
fn five_blocks_in_which_only_the_base_failed_show_it() {
    let proving = proof(Design::Control, 13, 50, 0, 40);
    let shown = proving.shown(&Runs::recorded([side("F.F.xFFF"), side("........")]));
    assert_eq!(shown.conclusion, Some(Conclusion::Fewer));
    assert_eq!(shown.blocks, Some((7, 5, 0)));
    assert!((shown.p.unwrap() - 1.0 / 32.0).abs() < 1e-12);
    assert_eq!(shown.base, Count::new(5, 7).unwrap());
    let shown = proving.shown(&Runs::recorded([side("F.F"), side("..F")]));
    assert_eq!(shown.conclusion, Some(Conclusion::NotShown));
}
