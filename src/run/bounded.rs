//! `--max-log`: a log that keeps its head and its tail. What lies between is never more than a ring on disk holds, so a
//! session that prints without end fills neither the disk nor the memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::RunDir;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 16;

/// How far a bounded log has come.
#[derive(Debug)]
pub(super) struct Bounded {
    head: u64,
    tail: u64,
    /// Bytes of output so far.
    written: u64,
    /// The last byte of the head.
    last: u8,
    /// The last output after the head; a file without a name, whose oldest bytes are overwritten first.
    ring: Option<File>,
}

impl Bounded {
    /// Half of `most` for either end.
    pub(super) fn new(most: u64) -> Bounded {
        Bounded {
            head: most - most / 2,
            tail: most / 2,
            written: 0,
            last: b'\n',
            ring: None,
        }
    }

    /// Takes in a piece of output: into the log itself, or into the ring.
    pub(super) fn write(&mut self, log: &mut File, dir: &RunDir, piece: &[u8]) -> io::Result<()> {
        let room = usize::try_from(self.head.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let (head, rest) = piece.split_at(room.min(piece.len()));
        log.write_all(head)?;
        self.last = head.last().copied().unwrap_or(self.last);
        self.written += head.len() as u64;
        if rest.is_empty() {
            return Ok(());
        }
        let ring = match &mut self.ring {
            Some(ring) => ring,
            empty => empty.insert(dir.unnamed_file()?),
        };
        let mut rest = rest;
        while !rest.is_empty() {
            let at = (self.written - self.head) % self.tail;
            let until_end = usize::try_from(self.tail - at).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(until_end.min(rest.len()));
            ring.write_all_at(now, at)?;
            self.written += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Puts the tail behind the head, with a line between them where something is missing, and returns how many bytes are.
    pub(super) fn end(&mut self, log: &mut File) -> io::Result<u64> {
        let Some(ring) = self.ring.take() else { return Ok(0) };
        let past = self.written - self.head;
        let mut at = past.saturating_sub(self.tail);
        if at > 0 {
            // The rest of a cut line says nothing, unless there is no other.
            at += self.rest_of_line(&ring, at)?;
            if self.last != b'\n' {
                log.write_all(b"\n")?;
            }
            writeln!(
                log,
                "--- reproduce-flaky: {at} bytes of output were cut here (--max-log) ---"
            )?;
        }
        let cut = at;
        let mut buffer = vec![0; PIECE];
        while at < past {
            let read = self.read(&ring, &mut buffer, at, past)?;
            log.write_all(&buffer[..read])?;
            at += read as u64;
        }
        Ok(cut)
    }

    /// Length of what is left of the first line of the ring, which began before it.
    fn rest_of_line(&self, ring: &File, from: u64) -> io::Result<u64> {
        let past = self.written - self.head;
        let mut buffer = vec![0; PIECE];
        let read = self.read(ring, &mut buffer, from, past)?;
        Ok(memchr::memchr(b'\n', &buffer[..read]).map_or(0, |end| end as u64 + 1))
    }

    /// Reads from a place behind the head, at most up to where the ring's file ends.
    fn read(&self, ring: &File, buffer: &mut [u8], at: u64, until: u64) -> io::Result<usize> {
        let place = at % self.tail;
        let most = (self.tail - place).min(until - at);
        let most = buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        ring.read_exact_at(&mut buffer[..most], place)?;
        Ok(most)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[track_caller]
    fn check(most: u64, pieces: &[&str], expected: &str, cut: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.log");
        let run = RunDir::open(dir.path()).unwrap();
        let mut log = File::create_new(&path).unwrap();
        let mut bounded = Bounded::new(most);
        for piece in pieces {
            bounded.write(&mut log, &run, piece.as_bytes()).unwrap();
        }
        assert_eq!(bounded.end(&mut log).unwrap(), cut);
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, expected);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "the ring has no name"
        );
    }

    #[test]
    fn what_fits_is_kept_whole_however_it_is_cut_into_pieces() {
        check(8, &["abc", "def"], "abcdef", 0);
        check(8, &["abcdefgh"], "abcdefgh", 0);
        check(8, &["a", "bcdefg", "h"], "abcdefgh", 0);
        check(8, &[], "", 0);
    }

    #[test]
    fn head_and_tail_stay_and_the_line_between_them_says_how_much_is_missing() {
        let cut = |n: u64| format!("--- reproduce-flaky: {n} bytes of output were cut here (--max-log) ---\n");
        check(8, &["abcdefghij"], &format!("abcd\n{}ghij", cut(2)), 2);
        check(
            8,
            &["abc\n", "0123456789\n", "xy\n"],
            &format!("abc\n{}xy\n", cut(11)),
            11,
        );
        check(8, &["abc\n0123\nxyz"], &format!("abc\n{}xyz", cut(5)), 5);
        let long: Vec<String> = (0..1000).map(|n| format!("{n:03}\n")).collect();
        let pieces: Vec<&str> = long.iter().map(String::as_str).collect();
        check(16, &pieces, &format!("000\n001\n{}999\n", cut(3988)), 3988);
    }
}
