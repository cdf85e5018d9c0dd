//! Figures and decisions of reference implementations, one row each: what is computed of which arguments, what comes of
//! it, and how far a number may be off.

use serde_json::Value;

#[derive(Debug, serde::Deserialize)]
struct Vector {
    quantity: String,
    args: String,
    expected: String,
    /// Relative, on every number inside; 0 where they have to be equal.
    rel_tol: f64,
}

/// Fails with each vector of a table that `compute` does not agree with; the table has `count` of them.
#[track_caller]
pub(crate) fn check(table: &str, count: usize, compute: impl Fn(&str, Value) -> Value) {
    let vectors: Vec<Vector> = csv::Reader::from_reader(table.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(vectors.len(), count);
    let wrong: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let found = compute(&vector.quantity, serde_json::from_str(&vector.args).unwrap());
            let expected = serde_json::from_str(&vector.expected).unwrap();
            (!agrees(&found, &expected, vector.rel_tol))
                .then(|| format!("{} {}: {found}, not {expected}", vector.quantity, vector.args))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn agrees(found: &Value, expected: &Value, tolerance: f64) -> bool {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            // A logarithm of 1 is zero up to rounding, which no relative tolerance covers.
            let rounding = if tolerance > 0.0 { 1e-12 } else { 0.0 };
            (found - expected).abs() <= tolerance * expected.abs() || expected == 0.0 && found.abs() <= rounding
        }
        (Value::Array(found), Value::Array(expected)) => {
            let mut pairs = found.iter().zip(expected);
            found.len() == expected.len() && pairs.all(|(found, expected)| agrees(found, expected, tolerance))
        }
        (Value::Object(found), Value::Object(expected)) => {
            let has = |(key, expected): (&String, &Value)| {
                found.get(key).is_some_and(|found| agrees(found, expected, tolerance))
            };
            found.len() == expected.len() && expected.iter().all(has)
        }
        _ => found == expected,
    }
}
