//! Lines of a log around the lines that matter, read in one pass with memory that does not grow with the log.

use std::collections::VecDeque;
use std::io::{self, BufRead};

/// Most bytes kept of one line.
const LONGEST_LINE: usize = 600;

/// Some lines of a file in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// File below the iteration's directory.
    pub file: String,
    /// Number of the first line, from 1.
    pub first: u64,
    /// The lines, decoded lossily, each shortened; escapes and control characters are still in them.
    pub lines: Vec<String>,
    /// Numbers of the lines that matter.
    pub hits: Vec<u64>,
    /// Whether the file goes on after them.
    pub is_cut: bool,
}

impl Excerpt {
    /// Bytes of its text.
    pub fn len(&self) -> usize {
        self.lines.iter().map(|line| line.len() + 1).sum()
    }

    /// Whether it has no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// How many lines are taken around one that matters.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Before it.
    pub before: usize,
    /// After it.
    pub after: usize,
}

/// Reads the surroundings of some lines, given by their numbers from 1; those that touch become one.
///
/// # Errors
/// The reader's own.
pub fn around(mut reader: impl BufRead, file: &str, lines: &[u64], around: Around) -> io::Result<Vec<Excerpt>> {
    let mut wanted: Vec<u64> = lines.iter().copied().filter(|line| *line > 0).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let Some(last) = wanted.last().copied() else {
        return Ok(Vec::new());
    };
    let mut found: Vec<Excerpt> = Vec::new();
    let mut before: VecDeque<String> = VecDeque::new();
    let mut number = 0;
    let mut until = 0;
    while number < last || number < until {
        let Some(line) = next_line(&mut reader)? else {
            return Ok(found);
        };
        number += 1;
        let is_hit = wanted.binary_search(&number).is_ok();
        if is_hit && number > until {
            let lines: Vec<String> = before.drain(..).collect();
            let first = number - lines.len() as u64;
            match found.last_mut() {
                Some(last) if last.first + last.lines.len() as u64 == first => last.lines.extend(lines),
                Some(_) | None => found.push(Excerpt {
                    file: file.to_owned(),
                    first,
                    lines,
                    ..Excerpt::default()
                }),
            }
        }
        if is_hit {
            until = number + around.after as u64;
        }
        match found.last_mut() {
            Some(excerpt) if number <= until => {
                excerpt.hits.extend(is_hit.then_some(number));
                excerpt.lines.push(line);
            }
            Some(_) | None => {
                before.push_back(line);
                if before.len() > around.before {
                    before.pop_front();
                }
            }
        }
    }
    if let Some(excerpt) = found.last_mut() {
        excerpt.is_cut = !reader.fill_buf()?.is_empty();
    }
    Ok(found)
}

/// Reads the beginning of a file, at most so many lines and bytes.
///
/// # Errors
/// The reader's own.
pub fn head(mut reader: impl BufRead, file: &str, most_lines: usize, most_bytes: usize) -> io::Result<Excerpt> {
    let mut excerpt = Excerpt {
        file: file.to_owned(),
        first: 1,
        ..Excerpt::default()
    };
    while excerpt.lines.len() < most_lines && excerpt.len() < most_bytes {
        let Some(line) = next_line(&mut reader)? else {
            return Ok(excerpt);
        };
        excerpt.lines.push(line);
    }
    excerpt.is_cut = !reader.fill_buf()?.is_empty();
    Ok(excerpt)
}

/// The next line without its end, shortened; `None` at the end.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut kept: Vec<u8> = Vec::new();
    let mut n_bytes = 0;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        let (part, used, is_end) = match memchr::memchr(b'\n', available) {
            Some(at) => (&available[..at], at + 1, true),
            None => (available, available.len(), false),
        };
        kept.extend(&part[..part.len().min(LONGEST_LINE - kept.len())]);
        n_bytes += used;
        reader.consume(used);
        if is_end {
            break;
        }
    }
    if n_bytes == 0 {
        return Ok(None);
    }
    let mut line = String::from_utf8_lossy(&kept).trim_end_matches('\r').to_owned();
    if kept.len() == LONGEST_LINE && n_bytes > LONGEST_LINE + 1 {
        line.push('…');
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> String {
        (1..=100).fold(String::new(), |log, number| log + "line " + &number.to_string() + "\n")
    }

    const NEAR: Around = Around { before: 2, after: 1 };

    #[test]
    fn the_lines_around_a_line_are_read_and_neighbors_become_one() {
        let found = around(log().as_bytes(), "run.log", &[10, 1, 12, 100], NEAR).unwrap();
        let spans: Vec<(u64, usize, Vec<u64>)> = found
            .iter()
            .map(|excerpt| (excerpt.first, excerpt.lines.len(), excerpt.hits.clone()))
            .collect();
        assert_eq!(spans, [(1, 2, vec![1]), (8, 6, vec![10, 12]), (98, 3, vec![100])]);
        assert_eq!(found[1].lines[..3], ["line 8", "line 9", "line 10"]);
        assert!(!found[2].is_cut);
        let one = around(log().as_bytes(), "run.log", &[50, 51], NEAR).unwrap();
        assert_eq!((one.len(), one[0].lines.len(), one[0].is_cut), (1, 5, true));
    }

    #[test]
    fn lines_that_are_not_there_give_nothing() {
        assert!(around(log().as_bytes(), "x", &[101, 0], NEAR).unwrap().is_empty());
        assert!(around(&b""[..], "x", &[1], NEAR).unwrap().is_empty());
    }

    #[test]
    fn long_and_broken_lines_are_bounded() {
        let mut bytes = vec![b'x'; 5_000_000];
        bytes.extend(b"\n\xff\xfe end\r\nlast");
        let excerpt = head(&bytes[..], "x", 10, 10_000).unwrap();
        assert_eq!(excerpt.lines.len(), 3);
        assert!(excerpt.lines[0].len() < LONGEST_LINE + 8 && excerpt.lines[0].ends_with('…'));
        assert!(excerpt.lines[1].ends_with(" end"));
        assert!(head(&bytes[..], "x", 1, 10_000).unwrap().is_cut);
    }
}
