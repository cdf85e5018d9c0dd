//! Every figure against reference implementations: `tests/fixtures/stats.csv`, one row a figure.

use reproduce_flaky::stats::{self, ArmsTest, Count, regime};
use serde_json::{Value, json};

use crate::vectors;

const VECTORS: &str = include_str!("../fixtures/stats.csv");

fn compute(quantity: &str, args: &Value) -> Value {
    let whole = |index: usize| args[index].as_u64().unwrap();
    let number = |index: usize| args[index].as_f64().unwrap();
    let count = |index: usize| Count::new(whole(index), whole(index + 1)).unwrap();
    match quantity {
        "wilson" => json!(stats::wilson(whole(0), whole(1), number(2))),
        "clopper_pearson" => json!(stats::clopper_pearson(whole(0), whole(1), number(2))),
        "upper_bound" => json!(stats::upper_bound(whole(0), whole(1), number(2))),
        "clean_runs_needed" => json!(stats::clean_runs_needed(count(0), number(2))),
        "confidence_sequence" => json!(stats::confidence_sequence(count(0), number(2))),
        "fisher_less" => json!(stats::fisher(count(0), count(2)).less),
        "fisher_greater" => json!(stats::fisher(count(0), count(2)).greater),
        "fisher_two" => json!(stats::fisher(count(0), count(2)).two_sided),
        "runs_to_see_one" => json!(stats::runs_to_see_one(number(0), number(1))),
        "holm" => {
            let p_values: Vec<f64> = serde_json::from_value(args.clone()).unwrap();
            json!(stats::holm(&p_values))
        }
        "log_e_below" => json!(stats::log_e_below(count(0), number(2))),
        "ab_e_value" => {
            let blocks: Vec<(u8, u8)> = serde_json::from_value(args.clone()).unwrap();
            let test: ArmsTest = blocks.into_iter().map(|(base, new)| (base == 1, new == 1)).collect();
            json!(test.e_value())
        }
        "regime" => {
            let series: Vec<u8> = serde_json::from_value(args.clone()).unwrap();
            let series: Vec<bool> = series.into_iter().map(|failed| failed == 1).collect();
            let split = regime::best_split(&series);
            json!([split.at.map(|at| at + 1), split.p])
        }
        unknown => panic!("nothing computes `{unknown}`"),
    }
}

#[test]
fn every_figure_is_that_of_the_reference_implementations() {
    vectors::check(VECTORS, 182, |quantity, args| compute(quantity, &args));
}
