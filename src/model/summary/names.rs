//! Names of sweeps and numbers of iterations, read and written as people do.

use super::super::Mode;

/// Mode and tag in the name of a sweep's directory: `logs/n4_fix8` is `n4` and `fix8`. Another name has neither.
#[must_use]
pub fn split_name(sweep: &str) -> (Option<Mode>, Option<String>) {
    let name = sweep.trim_end_matches('/').rsplit('/').next().unwrap_or(sweep);
    let (mode, tag) = match name.split_once('_') {
        Some((mode, tag)) => (mode, Some(tag.to_owned())),
        None => (name, None),
    };
    let is_mode = mode == "serial" || mode.starts_with('n');
    match mode.parse::<Mode>() {
        Ok(mode) if is_mode => (Some(mode), tag),
        Ok(_) | Err(_) => (None, None),
    }
}

/// Numbers in ascending order, neighbors taken together: `3, 7-9`; of very many the first ones.
#[must_use]
pub fn ranges(numbers: &[u32]) -> String {
    const MOST: usize = 20;
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            Some(_) | None => spans.push((*number, *number)),
        }
    }
    let shown = spans.iter().take(MOST).map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if spans.len() > MOST {
        text += ", …";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweeps_name_tells_mode_and_tag() {
        let tag = |tag: &str| Some(tag.to_owned());
        assert_eq!(split_name("logs/serial"), (Some(Mode::Serial), None));
        assert_eq!(split_name("n4_fix8/"), (Some(Mode::Xdist(4)), tag("fix8")));
        assert_eq!(
            split_name("a/serial_fix14-no-prefix_cache"),
            (Some(Mode::Serial), tag("fix14-no-prefix_cache"))
        );
        for other in ["logs", "4_x", "n0", "nightly", "2026-11-24"] {
            assert_eq!(split_name(other), (None, None), "{other}");
        }
    }

    #[test]
    fn neighbors_are_taken_together_and_long_lists_end() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3, 7, 8, 9, 11]), "3, 7-9, 11");
        let odd: Vec<u32> = (0..100).map(|number| number * 2).collect();
        assert!(ranges(&odd).ends_with("36, 38, …"));
    }
}
