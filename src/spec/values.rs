//! How the values of flags are read: durations, sizes, CPUs, tags.

use std::time::Duration;

/// Reads `660s`, `10m`, `1h 30m`; a bare number is seconds, as it is for `timeout`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    match read {
        // A year is beyond any sweep, and within what every clock here can add.
        Some(length) if length > Duration::ZERO && length <= Duration::from_hours(365 * 24) => Ok(length),
        Some(_) | None => Err("expected a time such as `90s`, `10m` or `2h`, more than zero".to_owned()),
    }
}

/// Reads the size of a log; less would not hold what pytest says at the end.
pub(crate) fn log_size(text: &str) -> Result<u64, String> {
    let size = memory(text)?;
    if size < 64 << 10 {
        return Err("expected 64k at least".to_owned());
    }
    Ok(size)
}

/// Reads `10g`, `512m`, `1.5g` as Docker does: powers of 1024.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let wrong = || "expected a size such as `512m` or `10g`".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    let (digits, factor) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 1u64 << 10),
        Some((at, 'm')) => (&lower[..at], 1 << 20),
        Some((at, 'g')) => (&lower[..at], 1 << 30),
        Some((at, 't')) => (&lower[..at], 1 << 40),
        Some(_) | None => (lower, 1),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * factor as f64;
    if !(1.0..9e15).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked just above"
    )]
    Ok(bytes as u64)
}

/// Reads a number of CPUs.
pub(crate) fn cpus(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if cpus.is_finite() && cpus > 0.0 && cpus <= 4096.0 => Ok(cpus),
        Ok(_) | Err(_) => Err("expected a number of CPUs such as `2` or `0.5`".to_owned()),
    }
}

/// Reads a list of CPUs such as `0-1,3`.
pub(crate) fn cpuset(text: &str) -> Result<String, String> {
    let is_range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
    };
    if text.split(',').all(is_range) {
        Ok(text.to_owned())
    } else {
        Err("expected numbers of CPUs such as `0`, `0-1` or `0-1,3`".to_owned())
    }
}

/// A tag becomes part of a directory's name, so it must not lead anywhere else.
pub(crate) fn tag(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@');
    if text.is_empty() || text.len() > 100 || text.starts_with('.') || !text.chars().all(fits) {
        return Err("a tag is part of a directory's name: letters, digits, `-`, `_`, `.`, `+`, `@`, at most 100, and not a dot first".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        assert_eq!(duration("660"), Ok(Duration::from_mins(11)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "0", "-1", "0s", "soon", "nan", "inf", "1e300"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(memory("10g"), Ok(10 << 30));
        assert_eq!(memory("512M"), Ok(512 << 20));
        assert_eq!(memory("1.5GiB"), Ok(3 << 29));
        assert_eq!(memory("4096"), Ok(4096));
        for wrong in ["", "g", "ten", "-1g", "0", "nan"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tag_cannot_leave_the_logs_directory() {
        assert!(tag("fix14-no-prefix-cache").is_ok());
        for wrong in ["", "a/b", "../x", ".hidden", "a b", "a\\b", "a\nb"] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
    }
}
