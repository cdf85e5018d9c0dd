//! How figures are written, the same in every report.

/// A probability: two digits where it is worth them, one digit and the power of ten where it is tiny.
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

/// A rate as a percentage with two or three digits; never rounded to 0 % or 100 % unless it is that.
pub fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    // Close to 100 % it is the distance from it that has to be told.
    let distance = percent.min(100.0 - percent);
    let decimals = [9.95, 0.995, 0.0995, 0.009_95, 0.000_995]
        .iter()
        .take_while(|least| distance < **least)
        .count();
    if decimals == 5 && distance > 0.0 && percent < 1.0 {
        return format!("{percent:.0e} %");
    }
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} %")
}

pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

pub fn iterations(n: u64) -> String {
    counted(n, "iteration", "iterations")
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
    fn percentages_are_zero_or_all_only_where_they_are() {
        let shown = [0.0, 0.000_004, 0.0073, 0.0267, 0.26, 0.92, 0.986, 0.9996, 1.0].map(percent);
        assert_eq!(
            shown,
            [
                "0 %", "4e-4 %", "0.73 %", "2.7 %", "26 %", "92 %", "98.6 %", "99.96 %", "100 %"
            ]
        );
    }

    #[test]
    fn probabilities_have_the_digits_they_are_worth() {
        let shown = [1.0, 0.999, 0.5, 0.3581, 0.0427, 0.00123, 0.000_363, 9.08e-6, 0.0].map(p_value);
        assert_eq!(shown, ["1", "1", "0.5", "0.36", "0.043", "0.0012", "4e-4", "9e-6", "0"]);
    }
}
