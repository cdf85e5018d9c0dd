//! Every figure against reference implementations: `tests/fixtures/stats.csv`, one row a figure.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read fails the test")]

use reproduce_flaky::stats::{self, ArmsTest, Count, regime};
use serde_json::{Value, json};

const VECTORS: &str = include_str!("../fixtures/stats.csv");

#[derive(Debug, serde::Deserialize)]
struct Row {
    quantity: String,
    args: String,
    expected: String,
    rel_tol: f64,
}

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

fn agrees(found: &Value, expected: &Value, tolerance: f64) -> bool {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            // A logarithm of 1 is zero up to rounding, which no relative tolerance covers.
            (found - expected).abs() <= tolerance * expected.abs().max(1e-9) || expected == 0.0 && found.abs() < 1e-12
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| agrees(found, expected, tolerance))
        }
        (Value::Null, Value::Null) => true,
        _ => false,
    }
}

#[test]
fn every_figure_is_that_of_the_reference_implementations() {
    let rows: Vec<Row> = csv::Reader::from_reader(VECTORS.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows.len(), 182);
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let found = compute(&row.quantity, &serde_json::from_str(&row.args).unwrap());
            let expected = serde_json::from_str(&row.expected).unwrap();
            (!agrees(&found, &expected, row.rel_tol))
                .then(|| format!("{} {}: {found}, not {expected}", row.quantity, row.args))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
