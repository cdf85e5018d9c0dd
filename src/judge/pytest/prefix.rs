//! What continuous integration puts in front of every line: timestamps, job names, a service's name and a bar.
//!
//! A prefix is learned from pytest's own first line, where everything before the rule of `=` must be foreign.

/// The shape of a timestamp at the start of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `2024-05-01T12:34:56.789Z `, in brackets or not; GitHub, GitLab (with its ` 00O`), Azure, Docker.
    Date,
    /// `[12:34:56] `, with `TeamCity`'s marks after it or not.
    Bracket,
    /// `12:34:56  `, Jenkins.
    Clock,
    /// `May 01 12:34:56 `, `ts`.
    Month,
    /// `#12 3.456 `, the engine's image builder.
    Build,
}

/// Finds a timestamp at the start of a line.
/// Returns its shape and its length, with the one space (two after Jenkins' clock) that sets it off.
pub fn stamp(text: &str) -> Option<(Stamp, usize)> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'0'..=b'9' => date(bytes).map(|end| (Stamp::Date, gitlab(bytes, end))).or_else(|| {
            let end = clock(bytes, 0)?;
            let spaces = bytes[end..].iter().take(2).take_while(|byte| **byte == b' ').count();
            (spaces > 0 || end == bytes.len()).then_some((Stamp::Clock, end + spaces))
        }),
        b'[' => {
            if let Some(end) = date(&bytes[1..]) {
                return (bytes.get(end + 1) == Some(&b']')).then(|| (Stamp::Date, one_space(bytes, end + 2)));
            }
            let end = clock(bytes, 1)?;
            if bytes.get(end) != Some(&b']') {
                return None;
            }
            let rest = &text[end + 1..];
            let mark = [" : ", "W: ", "E: ", "i: ", ": "]
                .iter()
                .find(|mark| rest.starts_with(**mark))
                .map_or(0, |mark| mark.len());
            Some((
                Stamp::Bracket,
                if mark > 0 {
                    end + 1 + mark
                } else {
                    one_space(bytes, end + 1)
                },
            ))
        }
        b'#' => {
            let digits = run(bytes, 1, u8::is_ascii_digit);
            let end = run(bytes, digits + 1, |byte| byte.is_ascii_digit() || *byte == b'.');
            (digits > 1 && bytes.get(digits) == Some(&b' ') && end > digits + 2 && bytes[digits..end].contains(&b'.'))
                .then(|| (Stamp::Build, one_space(bytes, end)))
        }
        b'A'..=b'Z' => {
            const MONTHS: [&str; 12] = [
                "Jan ", "Feb ", "Mar ", "Apr ", "May ", "Jun ", "Jul ", "Aug ", "Sep ", "Oct ", "Nov ", "Dec ",
            ];
            MONTHS.iter().find(|month| text.starts_with(**month))?;
            let is_day = matches!(bytes.get(4..7)?, [b' ' | b'0'..=b'3', b'0'..=b'9', b' ']);
            is_day.then_some(())?;
            let end = clock(bytes, 7)?;
            Some((Stamp::Month, one_space(bytes, end)))
        }
        _ => None,
    }
}

fn run(bytes: &[u8], from: usize, is: impl Fn(&u8) -> bool) -> usize {
    from + bytes
        .get(from..)
        .map_or(0, |rest| rest.iter().take_while(|byte| is(byte)).count())
}

fn one_space(bytes: &[u8], end: usize) -> usize {
    end + usize::from(bytes.get(end) == Some(&b' '))
}

/// `12:34:56` with an optional fraction, starting at `from`.
fn clock(bytes: &[u8], from: usize) -> Option<usize> {
    let shape = b"00:00:00";
    let found = bytes.get(from..from + shape.len())?;
    for (byte, wanted) in found.iter().zip(shape) {
        let fits = if *wanted == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == wanted
        };
        fits.then_some(())?;
    }
    let end = from + shape.len();
    Some(match bytes.get(end) {
        Some(b'.' | b',') => run(bytes, end + 1, u8::is_ascii_digit),
        _ => end,
    })
}

/// An ISO date with its time and zone.
fn date(bytes: &[u8]) -> Option<usize> {
    let shape = b"0000-00-00";
    for (byte, wanted) in bytes.get(..shape.len())?.iter().zip(shape) {
        let fits = if *wanted == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == wanted
        };
        fits.then_some(())?;
    }
    matches!(bytes.get(10), Some(b'T' | b' ')).then_some(())?;
    let end = clock(bytes, 11)?;
    Some(match bytes.get(end) {
        Some(b'Z') => end + 1,
        Some(b'+' | b'-') => run(bytes, end + 1, |byte| byte.is_ascii_digit() || *byte == b':'),
        _ => end,
    })
}

/// GitLab writes ` 00O` or ` 01E` after the time, and a `+` where a long line goes on.
fn gitlab(bytes: &[u8], end: usize) -> usize {
    if let Some([b' ', a, b, b'O' | b'E', rest @ ..]) = bytes.get(end..)
        && a.is_ascii_hexdigit()
        && b.is_ascii_hexdigit()
    {
        return match rest.first() {
            Some(b'+' | b' ') | None => (end + 5).min(bytes.len()),
            Some(_) => end + 4,
        };
    }
    one_space(bytes, end)
}

/// What stands in front of every line of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    literal: String,
    stamp: Option<Stamp>,
}

impl Prefix {
    /// Learns a prefix from what stands before a line that is known to start with pytest's own text.
    pub fn learn(before: &str) -> Prefix {
        for (at, _) in before.char_indices() {
            if let Some((kind, length)) = stamp(&before[at..])
                && at + length == before.len()
            {
                return Prefix {
                    literal: before[..at].to_owned(),
                    stamp: Some(kind),
                };
            }
        }
        Prefix {
            literal: before.to_owned(),
            stamp: None,
        }
    }

    /// Length of the prefix on this line; 0 where the line does not have it.
    pub fn length(&self, text: &str) -> usize {
        let Some(rest) = strip(text, &self.literal) else {
            // Continuous integration trims trailing blanks, so an empty line may have lost the end of its prefix.
            let is_trimmed = self.stamp.is_none() && !text.is_empty() && text == self.literal.trim_end();
            return if is_trimmed { text.len() } else { 0 };
        };
        match self.stamp {
            None => text.len() - rest.len(),
            Some(kind) => match stamp(rest) {
                Some((found, length)) if found == kind => text.len() - rest.len() + length,
                _ => 0,
            },
        }
    }
}

impl Prefix {
    /// Length of the service's name on the line by which an engine tells how the service ended whose lines these are:
    /// `tests-1 exited with code 139`.
    pub fn own_end(&self, text: &str) -> usize {
        let Some(name) = self.literal.strip_suffix("| ").map(str::trim_end) else {
            return 0;
        };
        let is_end = |rest: &str| rest.starts_with(" exited with code ");
        text.strip_prefix(name)
            .filter(|rest| is_end(rest))
            .map_or(0, |_| name.len() + 1)
    }
}

/// Strips a literal whose numbers may differ from line to line.
fn strip<'a>(text: &'a str, literal: &str) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix(literal) {
        return Some(rest);
    }
    if !literal.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (mut text, mut literal) = (text, literal);
    while !literal.is_empty() {
        let digits = literal.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let found = text.bytes().take_while(u8::is_ascii_digit).count();
            if found == 0 {
                return None;
            }
            (text, literal) = (&text[found..], &literal[digits..]);
        } else {
            let end = literal
                .find(|char: char| char.is_ascii_digit())
                .unwrap_or(literal.len());
            // Numbers may stand to the right of their column.
            let words = literal[..end].trim_end_matches(' ');
            text = if words.len() < end && end < literal.len() {
                text.strip_prefix(words)?.trim_start_matches(' ')
            } else {
                text.strip_prefix(&literal[..end])?
            };
            literal = &literal[end..];
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_every_system_are_found_with_their_one_blank() {
        for (line, rest) in [
            ("2024-05-01T12:34:56.1234567Z    indented", "   indented"),
            ("2024-05-01T12:34:56.123456Z 00O collected", "collected"),
            ("2024-05-01T12:34:56.123456Z 01E+more", "more"),
            ("[2024-05-01T12:34:56.123Z] text", "text"),
            ("2024-05-01 12:34:56,123 text", "text"),
            ("2024-05-01T12:34:56+02:00 text", "text"),
            ("12:34:56  text", "text"),
            ("[12:34:56] text", "text"),
            ("[12:34:56]W: text", "text"),
            ("May 01 12:34:56 text", "text"),
            ("#12 3.456 text", "text"),
            ("2024-05-01T12:34:56.1234567Z", ""),
        ] {
            let (_, length) = stamp(line).expect(line);
            assert_eq!(&line[length..], rest, "{line}");
        }
        for line in [
            "tests/test_a.py ..",
            "",
            "12:34",
            "# 1 2",
            "[gw0] node down",
            "Maybe",
            "2024-05-01",
        ] {
            assert_eq!(stamp(line), None, "{line}");
        }
    }

    #[test]
    fn a_job_name_before_the_timestamp_is_part_of_the_prefix() {
        let prefix = Prefix::learn("test\tRun pytest\t2024-05-01T12:34:56.1234567Z ");
        assert_eq!(prefix.length("test\tRun pytest\t2024-05-01T12:34:57.7654321Z x"), 45);
        assert_eq!(prefix.length("no prefix"), 0);
        assert_eq!(Prefix::learn("web-1  | ").length("web-1  | x"), 9);
        assert_eq!(Prefix::learn("web-1  | ").length("web-1  |"), 8);
        assert_eq!(Prefix::learn("     9\t").length("    10\tx"), 7);
        assert_eq!(Prefix::learn("\tLine 12: ").length("\tLine 4026: x"), 12);
    }
}
