//! Lines of a console log as pytest wrote them: without color, carriage returns, and what continuous integration
//! put in front, decoded lossily, and never longer than a fixed bound.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::prefix::{self, Prefix};
use super::{closing, nodeid, shape};

/// Bytes kept of the beginning of a line.
const HEAD: usize = 24 * 1024;
/// Bytes kept of the end of a longer line.
const TAIL: usize = 8 * 1024;

// Made once: making one costs more than a search in a short line.
static CARET_ESCAPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("^[["));
static BARE_RESET: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("[0m"));

/// Reads a log line by line; memory does not grow with the log.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts about the log that are learned one by one"
)]
pub struct Lines<R> {
    reader: R,
    number: u64,
    /// The current line's bytes, shortened, without its newline.
    raw: Vec<u8>,
    /// Where the next part of `raw` begins; carriage returns divide a line into parts.
    next_part: Option<usize>,
    is_terminated: bool,
    /// Whether each line is an object of the engine's log driver, which holds the line itself.
    is_json: bool,
    prefix: Option<Prefix>,
    /// Whether the prefix was learned from less than pytest's own rule, which may teach another one.
    is_provisional: bool,
    was_stripped: bool,
    text: String,
}

/// A line as the engine's log driver `json-file` keeps it.
#[derive(Deserialize)]
struct Entry {
    log: String,
    #[expect(dead_code, reason = "every entry has the field, other objects do not")]
    stream: String,
}

impl Entry {
    fn read(line: &[u8]) -> Option<Entry> {
        line.starts_with(b"{\"log\":\"")
            .then(|| serde_json::from_slice(line).ok())?
    }
}

/// One line, or one part of a line that carriage returns divide.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Number in the file, from 1.
    pub number: u64,
    /// Its text.
    pub text: &'a str,
    /// Whether a newline ends it; only the last line of a log can lack one.
    pub is_terminated: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the beginning of a log.
    pub fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            number: 0,
            raw: Vec::new(),
            next_part: None,
            is_terminated: true,
            is_json: false,
            prefix: None,
            is_provisional: false,
            was_stripped: false,
            text: String::new(),
        }
    }

    /// Fixes what stands in front of every line, now that the line handed out last is known to be pytest's own.
    pub fn settle(&mut self) {
        if self.prefix.is_none() && !self.was_stripped {
            self.prefix = Some(Prefix::default());
        }
    }

    /// The next line.
    ///
    /// # Errors
    /// Only the reader's own.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let start = if let Some(start) = self.next_part.take() {
            start
        } else if self.fill()? {
            0
        } else {
            return Ok(None);
        };
        let end = match memchr::memchr(b'\r', &self.raw[start..]) {
            Some(at) => {
                self.next_part = Some(start + at + 1);
                start + at
            }
            None => self.raw.len(),
        };
        let decoded = decode(&self.raw[start..end]);
        let text = decoded.as_ref();
        let cut = match &self.prefix {
            Some(prefix) if !self.is_provisional || header_start(text).is_none() => {
                prefix.length(text).max(prefix.own_end(text))
            }
            Some(_) | None => {
                if let Some(at) = header_start(text) {
                    let prefix = Prefix::learn(&text[..at]);
                    let length = prefix.length(text);
                    self.prefix = Some(prefix);
                    self.is_provisional = false;
                    length
                } else if let Some(at) = early_start(text) {
                    let prefix = Prefix::learn(&text[..at]);
                    let length = prefix.length(text);
                    self.prefix = Some(prefix);
                    self.is_provisional = true;
                    length
                } else {
                    prefix::stamp(text).map_or(0, |(_, length)| length)
                }
            }
        };
        // Only the first part of a line that carriage returns divide has the prefix.
        self.was_stripped = cut > 0 || (start > 0 && self.was_stripped);
        self.text.clear();
        self.text.push_str(&text[cut..]);
        Ok(Some(Line {
            number: self.number,
            text: &self.text,
            is_terminated: self.is_terminated || self.next_part.is_some(),
        }))
    }

    /// Reads one line's bytes into `raw`; false at the end of the log.
    fn fill(&mut self) -> io::Result<bool> {
        self.raw.clear();
        let was_terminated = std::mem::take(&mut self.is_terminated);
        let mut any = false;
        let mut is_long = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            any = true;
            let (piece, used) = match memchr::memchr(b'\n', buffer) {
                Some(at) => {
                    self.is_terminated = true;
                    (&buffer[..at], at + 1)
                }
                None => (buffer, buffer.len()),
            };
            self.raw.extend_from_slice(piece);
            self.reader.consume(used);
            if self.raw.len() > HEAD + 2 * TAIL {
                is_long = true;
                self.raw.drain(HEAD..self.raw.len() - TAIL);
            }
            if self.is_terminated {
                break;
            }
        }
        if is_long && self.raw.len() > HEAD + TAIL {
            self.raw.drain(HEAD..self.raw.len() - TAIL);
        }
        while matches!(self.raw.last(), Some(b'\r' | 0)) {
            self.raw.pop();
        }
        if any && self.raw.is_empty() && !self.is_terminated {
            // The second half of UTF-16's last newline.
            self.is_terminated = was_terminated;
            return Ok(false);
        }
        if any {
            self.number += 1;
            if self.number == 1 && self.raw.starts_with(b"\xef\xbb\xbf") {
                self.raw.drain(..3);
            }
            let entry = Entry::read(&self.raw).filter(|_| self.is_json || self.number == 1);
            self.is_json |= entry.is_some();
            if let Some(entry) = entry {
                self.raw = entry.log.into_bytes();
                while matches!(self.raw.last(), Some(b'\r' | b'\n')) {
                    self.raw.pop();
                }
            }
        }
        Ok(any)
    }
}

/// Where the rule of `=` of pytest's first line begins.
fn header_start(text: &str) -> Option<usize> {
    for title in [
        "= test session starts =",
        "= FAILURES =",
        "= ERRORS =",
        "= short test summary info =",
    ] {
        if let Some(at) = memchr::memmem::find(text.as_bytes(), title.as_bytes()) {
            let before = text[..=at].trim_end_matches('=');
            // A worker may die while the header is written.
            return Some(before.find("Fatal Python error").unwrap_or(before.len()));
        }
    }
    // Quiet sessions have no rules; their last line is a list of counts and a time.
    if text.ends_with('s') && text.contains(" in ") {
        for (at, _) in text
            .char_indices()
            .filter(|(_, char)| char.is_ascii_digit() || *char == 'n')
        {
            let is_start = text[..at].chars().next_back().is_none_or(char::is_whitespace);
            if is_start && closing::closing(&text[at..]).is_some() {
                return Some(at);
            }
        }
    }
    None
}

/// Where pytest's words begin on a line that stands before its first rule, or in place of one, behind something that
/// reads like a service's name or a timestamp.
fn early_start(text: &str) -> Option<usize> {
    const WORDS: [&str; 6] = [
        "Test session starts (platform: ",
        "ImportError while loading conftest '",
        "ERROR: usage: ",
        "ERROR: file or directory not found: ",
        "ERROR: not found: ",
        "INTERNALERROR> ",
    ];
    // A log that stands indented in somebody's text.
    let bare = text.trim_start();
    let indent = text.len() - bare.len();
    let is_pytests = nodeid::starts(bare) || ["E   ", "FAILED ", "ERROR "].iter().any(|word| bare.starts_with(word));
    if (2..=12).contains(&indent) && is_pytests {
        return Some(indent);
    }
    let at = WORDS
        .iter()
        .find_map(|word| text.find(word))
        .or_else(|| row_start(text))
        .or_else(|| text.find("FAILED ").filter(|at| nodeid::starts(&text[at + 7..])))?;
    let before = &text[..at];
    if before.contains("[gw") || before.ends_with("PARALLEL ") {
        return None;
    }
    let is_name = before.ends_with(['|', ' ', '\t', '>', ']'])
        && !before.trim_start().contains("  ")
        && !before.contains(['"', '\'', '$']);
    (at > 0 && at <= 60 && (is_name || before.contains(" | "))).then_some(at)
}

/// Where a row of letters begins that a file starts and a percentage ends.
fn row_start(text: &str) -> Option<usize> {
    shape::percent_at_end(text)?;
    let words = text.match_indices([' ', '\t']).map(|(at, _)| at + 1).take(4);
    let is_row = |at: &usize| shape::letters(&text[*at..]).is_some_and(|row| row.file.is_some());
    std::iter::once(0).chain(words).find(is_row)
}

/// Text of a line without escape sequences.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
    };
    // One look at each byte tells almost every line that none of the below can be in it.
    if memchr::memchr3(0, 0x1b, b'[', text.as_bytes()).is_none() {
        return text;
    }
    // UTF-16, and what a power cut leaves: the rest reads well enough without the zeros.
    let text = if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace(['\0', '\u{fffd}'], ""))
    } else {
        text
    };
    // As `cat -v` shows it.
    let text = if CARET_ESCAPE.find(text.as_bytes()).is_some() {
        Cow::Owned(text.replace("^[[", "\u{1b}["))
    } else {
        text
    };
    if memchr::memchr(0x1b, text.as_bytes()).is_some() {
        return Cow::Owned(strip_escapes(&text));
    }
    // A log copied out of a browser has lost the escape bytes and kept what followed them.
    if BARE_RESET.find(text.as_bytes()).is_some() {
        return Cow::Owned(strip_bare_colors(&text));
    }
    text
}

/// Removes terminal sequences: CSI, OSC, APC and the two-byte ones.
pub(crate) fn strip_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(0x1b, rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        rest = after_escape(&rest[at + 1..]);
    }
    plain.push_str(rest);
    plain
}

/// What follows a sequence whose escape byte has been read.
fn after_escape(text: &str) -> &str {
    let bytes = text.as_bytes();
    let end = match bytes.first() {
        Some(b'[') => {
            let parameters = bytes[1..]
                .iter()
                .take_while(|byte| (0x20..=0x3f).contains(*byte))
                .count();
            let is_ended = bytes
                .get(1 + parameters)
                .is_some_and(|byte| (0x40..=0x7e).contains(byte));
            1 + parameters + usize::from(is_ended)
        }
        Some(b']' | b'_' | b'P' | b'^') => match memchr::memchr2(0x07, 0x1b, bytes) {
            Some(at) if bytes[at] == 0x1b && bytes.get(at + 1) == Some(&b'\\') => at + 2,
            Some(at) if bytes[at] == 0x1b => at,
            Some(at) => at + 1,
            None => bytes.len(),
        },
        Some(b'(' | b')' | b'#' | b'%') => 1 + text[1..].chars().next().map_or(0, char::len_utf8),
        Some(_) => text.chars().next().map_or(0, char::len_utf8),
        None => 0,
    };
    &text[end..]
}

/// Removes `[31m`, `[1;32m` and the like where their escape byte is lost.
fn strip_bare_colors(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let length = after
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b';')
            .count();
        if length <= 12 && after.as_bytes().get(length) == Some(&b'm') {
            rest = &after[length + 1..];
        } else {
            plain.push('[');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests;
