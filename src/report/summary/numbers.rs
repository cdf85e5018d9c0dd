//! Numbers of iterations, which may be far apart: what is missing is a list of stretches, never of numbers.

use crate::judge::Record;
use crate::spec::Spec;

/// Most stretches that are told one by one.
const MOST: usize = 20;

/// The iterations that were asked for and have no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// First and last of each stretch, in order.
    pub stretches: Vec<(u32, u32)>,
    /// How many iterations they are.
    pub n: u64,
}

impl Gaps {
    /// Of a sweep whose records are in order; in trees of the script, from the first that is there to the last.
    pub fn of(spec: Option<&Spec>, records: &[Record]) -> Gaps {
        let ends = records.first().zip(records.last());
        let asked = spec.map(|spec| (spec.first, spec.last));
        let Some((first, last)) = asked.or(ends.map(|(first, last)| (first.iteration, last.iteration))) else {
            return Gaps::default();
        };
        // As u64, so that the one after the last number is a number too.
        let mut next = u64::from(first);
        let mut gaps = Gaps::default();
        let inside = |number: &u64| (u64::from(first)..=u64::from(last)).contains(number);
        let recorded = records.iter().map(|record| u64::from(record.iteration)).filter(inside);
        for number in recorded.chain([u64::from(last) + 1]) {
            if let (Ok(from), Ok(to)) = (u32::try_from(next), u32::try_from(number.saturating_sub(1)))
                && next < number
            {
                gaps.n += number - next;
                gaps.stretches.push((from, to));
            }
            next = number + 1;
        }
        gaps
    }
}

/// Numbers in ascending order, neighbors taken together: `3, 7-9`; of very many the first ones.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match stretches.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => stretches.push((number, number)),
        }
    }
    spans(&stretches)
}

/// `3, 7-9`; of very many the first ones.
pub(super) fn spans(stretches: &[(u32, u32)]) -> String {
    let shown = stretches.iter().take(MOST).map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if stretches.len() > MOST {
        text += ", …";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Outcome, OutcomeKind};

    #[test]
    fn neighbors_are_taken_together_and_long_lists_end() {
        assert_eq!(ranges([]), "");
        assert_eq!(ranges([3, 7, 8, 9, 11]), "3, 7-9, 11");
        assert!(ranges((0..100).map(|number| number * 2)).ends_with("36, 38, …"));
    }

    #[test]
    fn what_is_missing_between_two_numbers_far_apart_is_one_stretch() {
        let record = |iteration| Record {
            iteration,
            dir: "run".into(),
            exit: None,
            outcome: Outcome::new(OutcomeKind::Passed),
            problem: None,
        };
        for (numbers, shown, n) in [
            (&[][..], "", 0),
            (&[7], "", 0),
            (&[0, 1, 3, 7], "2, 4-6", 4),
            (&[1, 4_000_000_000], "2-3999999999", 3_999_999_998),
            (&[0, u32::MAX], "1-4294967294", 4_294_967_294),
        ] {
            let records: Vec<Record> = numbers.iter().copied().map(record).collect();
            let gaps = Gaps::of(None, &records);
            assert_eq!((spans(&gaps.stretches).as_str(), gaps.n), (shown, n));
        }
    }
}
