//! Lengths of time as people say them.

use std::time::Duration;

/// A length of time in its two largest units: `45 s`, `2 min 5 s`, `10 h 3 min`.
pub fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0))
        .unwrap_or_default()
        .as_secs();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A length of time in the one unit that people use for it: `1.5 s`, `12 min`.
pub(crate) fn rounded(seconds: f64) -> String {
    let (value, unit) = if seconds < 120.0 {
        (seconds, "s")
    } else if seconds < 7200.0 {
        (seconds / 60.0, "min")
    } else if seconds < 172_800.0 {
        (seconds / 3600.0, "h")
    } else {
        (seconds / 86_400.0, "d")
    };
    let decimals = usize::from(value < 10.0 && (value - value.round()).abs() > 0.05);
    format!("{value:.decimals$} {unit}")
}
