//! How many digits of a figure are worth showing.

/// A probability: two digits where it is worth them, one digit and the power of ten where it is tiny.
#[must_use]
pub fn p_value(p: f64) -> String {
    if p >= 0.995 {
        "1".to_owned()
    } else if p >= 0.001 {
        significant(p)
    } else if p > 0.0 {
        format!("{p:.0e}")
    } else {
        "0".to_owned()
    }
}

/// Two significant digits, without trailing zeros.
fn significant(value: f64) -> String {
    let decimals = if value >= 0.1 {
        2
    } else if value >= 0.01 {
        3
    } else {
        4
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_have_the_digits_they_are_worth() {
        let shown = [1.0, 0.999, 0.5, 0.3581, 0.0427, 0.00123, 0.000_363, 9.08e-6, 0.0].map(p_value);
        assert_eq!(shown, ["1", "1", "0.5", "0.36", "0.043", "0.0012", "4e-4", "9e-6", "0"]);
    }
}
