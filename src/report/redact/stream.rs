//! Takes secrets out of a stream, also those that stand in two reads. Memory does not grow with the stream.

use std::io::{self, Read};

use super::{Found, LONGEST, Redactor, replace};

/// Bytes that are searched at once. A secret in the last [`LONGEST`] of them is found with the next bytes.
const AT_ONCE: usize = 8 * LONGEST;

/// A reader that leaves out the secrets of another reader.
#[derive(Debug)]
pub struct Redacted<'a, R> {
    reader: R,
    redactor: &'a Redactor,
    found: Found,
    /// Bytes that were read and are not searched to their end yet.
    pub(super) open: Vec<u8>,
    is_at_end: bool,
    /// Bytes without secrets, and how many of them were handed out.
    clean: Vec<u8>,
    at: usize,
    /// Whether the next bytes belong to a secret that is longer than the bytes searched at once.
    is_inside: bool,
}

impl<'a, R: Read> Redacted<'a, R> {
    /// Begins to read.
    pub fn new(reader: R, redactor: &'a Redactor) -> Redacted<'a, R> {
        Redacted {
            reader,
            redactor,
            found: Found::default(),
            open: Vec::new(),
            is_at_end: false,
            clean: Vec::new(),
            at: 0,
            is_inside: false,
        }
    }

    /// The secrets found so far.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Reads on until there are enough bytes to search.
    fn fill(&mut self) -> io::Result<()> {
        while self.open.len() < AT_ONCE && !self.is_at_end {
            let wanted = (AT_ONCE - self.open.len()) as u64;
            let read = self.reader.by_ref().take(wanted).read_to_end(&mut self.open)?;
            self.is_at_end = read < usize::try_from(wanted).unwrap_or(usize::MAX);
        }
        Ok(())
    }

    /// Searches the bytes that were read, and hands out those in which no secret can begin any more.
    fn step(&mut self) -> io::Result<()> {
        self.fill()?;
        if self.is_inside {
            let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.~+/=-".contains(byte);
            let length = self.open.iter().take_while(|byte| is_token(byte)).count();
            self.is_inside = length == self.open.len() && !self.is_at_end;
            self.open.drain(..length);
            return Ok(());
        }
        let mut hits = self.redactor.hits(&self.open);
        let safe = if self.is_at_end {
            self.open.len()
        } else {
            self.open.len() - LONGEST
        };
        let mut cut = safe;
        if let Some(crossing) = hits.iter().find(|hit| hit.end > safe && hit.start < safe) {
            if crossing.start == 0 {
                cut = crossing.end;
                self.is_inside = cut == self.open.len() && !self.is_at_end;
            } else {
                cut = crossing.start;
            }
        }
        // Cut at the end of a line, so that patterns see whole lines.
        if !self.is_at_end
            && !self.is_inside
            && let Some(end) = memchr::memrchr(b'\n', &self.open[..cut])
            && hits.iter().all(|hit| end < hit.start || end + 1 >= hit.end)
        {
            cut = end + 1;
        }
        hits.retain(|hit| hit.end <= cut);
        replace(&self.open[..cut], &hits, &mut self.clean, &mut self.found);
        self.open.drain(..cut);
        Ok(())
    }
}

impl<R: Read> Read for Redacted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.clean.len() {
            self.clean.clear();
            self.at = 0;
            if self.is_at_end && self.open.is_empty() {
                return Ok(0);
            }
            self.step()?;
        }
        let n = buffer.len().min(self.clean.len() - self.at);
        buffer[..n].copy_from_slice(&self.clean[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
