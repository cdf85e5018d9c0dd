//! Every decision of `prove`, `amplify`, `culprit` and of `compare` at equal sizes against a reference implementation:
//! `tests/fixtures/next.csv`, one row a decision.

use reproduce_flaky::stats::amplify::{self, Base, Run, State};
use reproduce_flaky::stats::culprit::{Axis, Next};
use reproduce_flaky::stats::prove::{self, Plan};
use reproduce_flaky::stats::sign::SignPlan;
use reproduce_flaky::stats::{Answer, Block, Conclusion, Count, ExactTest, draw};
use serde_json::{Value, json};

use crate::vectors;

const VECTORS: &str = include_str!("../fixtures/next.csv");

/// The arguments of a vector, by position.
struct Args(Value);

impl Args {
    fn whole(&self, index: usize) -> u64 {
        self.0[index].as_u64().unwrap()
    }

    fn index(&self, index: usize) -> usize {
        usize::try_from(self.whole(index)).unwrap()
    }

    fn number(&self, index: usize) -> f64 {
        self.0[index].as_f64().unwrap()
    }

    fn count(&self, index: usize) -> Count {
        Count::new(self.whole(index), self.whole(index + 1)).unwrap()
    }

    fn list<T: serde::de::DeserializeOwned>(&self, index: usize) -> Vec<T> {
        serde_json::from_value(self.0[index].clone()).unwrap()
    }

    fn base(&self, index: usize) -> Base {
        let [failed, of, other]: [u64; 3] = self.list(index).try_into().unwrap();
        Base {
            target: Count::new(failed, of).unwrap(),
            other,
        }
    }

    fn runs(&self, index: usize) -> Vec<Run> {
        let runs: Vec<(u32, Option<u8>, u8)> = self.list(index);
        runs.into_iter()
            .map(|(on, target, other)| Run {
                on,
                target: target.map(|failed| failed == 1),
                other: other == 1,
            })
            .collect()
    }

    fn blocks(&self, index: usize) -> Vec<Block> {
        let blocks: Vec<(Option<u8>, Option<u8>)> = self.list(index);
        blocks
            .into_iter()
            .map(|(higher, lower)| Block {
                higher: answer(higher),
                lower: answer(lower),
            })
            .collect()
    }

    /// By candidate: failures among the answered probes.
    fn counts(&self, n: usize, index: usize) -> Vec<Count> {
        let probes: Vec<(usize, Option<u8>)> = self.list(index);
        (0..=n)
            .map(|candidate| {
                let own = probes.iter().filter(|probe| probe.0 == candidate);
                own.filter_map(|probe| Some(probe.1? == 1)).collect()
            })
            .collect()
    }
}

fn answer(failed: Option<u8>) -> Answer {
    failed.map(|failed| failed == 1).into()
}

fn word(conclusion: Option<Conclusion>) -> &'static str {
    conclusion.map_or("open", Conclusion::as_str)
}

fn compute(quantity: &str, args: &Args) -> Value {
    match quantity {
        "barnard_less" => json!(ExactTest::Barnard.p_values(args.count(0), args.count(2)).less),
        "barnard_greater" => json!(ExactTest::Barnard.p_values(args.count(0), args.count(2)).greater),
        "boschloo_less" => json!(ExactTest::Boschloo.p_values(args.count(0), args.count(2)).less),
        "boschloo_greater" => json!(ExactTest::Boschloo.p_values(args.count(0), args.count(2)).greater),
        "prove_looks" => json!(prove::looks(args.count(0), args.index(2))),
        "prove_plan" => {
            let plan = Plan::choose(args.count(0), args.number(2), args.number(3));
            json!(plan.ok().map(|plan| (plan.allowed(), plan.looks, plan.assurance)))
        }
        "prove_decide" => {
            let plan = Plan::allowing(args.count(0), args.index(2), 0.0).unwrap();
            let runs: Vec<Answer> = args.list(3).into_iter().map(answer).collect();
            let decision = plan.decide(&runs);
            json!([word(decision.conclusion), decision.fix.of(), decision.fix.failed()])
        }
        "control_plan" => {
            let plan = SignPlan::for_control(args.count(0), args.number(2), args.number(3));
            json!(
                plan.ok()
                    .map(|plan| (plan.allowed(), plan.boundaries, plan.most_blocks))
            )
        }
        "control_decide" => {
            let decision = SignPlan::allowing(args.index(0)).decide(&args.blocks(1));
            json!([
                word(decision.conclusion),
                decision.blocks,
                decision.only_higher,
                decision.only_lower
            ])
        }
        "amplify_draw" => json!(draw::draw(args.whole(0), args.whole(1), args.whole(2))),
        "amplify_state" => json!(State::of(args.index(0), args.base(1), &args.runs(2))),
        "amplify_block" => json!(amplify::block(args.whole(0), args.whole(1), &args.list::<f64>(2), 8)),
        "amplify_factors" => {
            let factors = amplify::factors(args.index(0), args.base(1), &args.runs(2)).into_iter();
            json!(
                factors
                    .map(|factor| (factor.factor, factor.low, factor.high))
                    .collect::<Vec<_>>()
            )
        }
        "confirm_decide" => {
            let found = amplify::confirm(u8::try_from(args.whole(0)).unwrap(), &args.blocks(1));
            let verdict = found.verdict.map_or(json!("open"), |verdict| json!(verdict));
            json!([verdict, found.blocks, found.winner_failed, found.base_failed])
        }
        "amplify_report" => {
            let bounds = amplify::bounds(args.count(0), args.count(2));
            json!([bounds.rate, bounds.factor])
        }
        "culprit_posterior" => {
            let n = args.index(0);
            let axis = match &args.0[2] {
                Value::Null => Axis::new(n),
                _ => Axis::with_weights(args.list(2)).unwrap(),
            };
            json!(axis.posterior(&args.counts(n, 1)))
        }
        "culprit_next" => {
            let n = args.index(0);
            match Axis::new(n).next(&args.counts(n, 1), args.index(2)) {
                Next::Probe(candidates) => json!(["probe", candidates]),
                Next::Culprit { candidate, p } => json!(["culprit", candidate, p]),
                Next::NoCulprit { p } => json!(["no culprit", p]),
            }
        }
        unknown => panic!("nothing computes `{unknown}`"),
    }
}

#[test]
fn every_decision_is_that_of_the_reference_implementation() {
    vectors::check(VECTORS, 227, |quantity, args| compute(quantity, &Args(args)));
}
