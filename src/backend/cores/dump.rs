//! What a core says about itself: its notes, as core(5) and the kernel's `binfmt_elf.c` have them. 64-bit and
//! little-endian, which is all this tool runs on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Most bytes of notes taken in; a process with ten thousand mapped files has a megabyte.
const NOTES: u64 = 16 << 20;
const ET_CORE: u16 = 4;
const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;

/// What a core tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// Process id, as the process knew it.
    pub(super) pid: i32,
    /// Signal that ended it.
    pub(super) signal: i32,
    /// First words of its command line.
    pub(super) command: String,
    /// Files it had mapped, its program first.
    pub(super) files: Vec<String>,
}

/// Reads a core. `None` where the file is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Dump>> {
    let mut file = File::open(path)?;
    let mut header = [0; 64];
    if file.read_exact(&mut header).is_err()
        || !header.starts_with(b"\x7fELF\x02\x01")
        || number(&header, 16, 2) != u64::from(ET_CORE)
    {
        return Ok(None);
    }
    let (at, size, count) = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    let mut dump = Dump::default();
    for index in 0..count {
        file.seek(SeekFrom::Start(at + index * size))?;
        let mut segment = [0; 56];
        file.read_exact(&mut segment)?;
        if number(&segment, 0, 4) == u64::from(PT_NOTE) {
            file.seek(SeekFrom::Start(number(&segment, 8, 8)))?;
            let mut notes = Vec::new();
            (&mut file)
                .take(number(&segment, 32, 8).min(NOTES))
                .read_to_end(&mut notes)?;
            dump.take(&notes);
        }
    }
    Ok(Some(dump))
}

impl Dump {
    fn take(&mut self, mut notes: &[u8]) {
        while notes.len() >= 12 {
            let padded = |at: usize| usize::try_from(number(notes, at, 4).next_multiple_of(4)).unwrap_or(usize::MAX);
            let (name, content) = (padded(0), padded(4));
            let kind = number(notes, 8, 4);
            let Some(end) = name.checked_add(content).and_then(|length| length.checked_add(12)) else {
                return;
            };
            let Some(about) = notes.get(12 + name..end) else { return };
            match u32::try_from(kind).unwrap_or_default() {
                // One for each thread, the one that died first.
                NT_PRSTATUS if self.signal == 0 => self.signal = i32::try_from(number(about, 0, 4)).unwrap_or_default(),
                NT_PRPSINFO => {
                    self.pid = i32::try_from(number(about, 24, 4)).unwrap_or_default();
                    self.command = text(about.get(56..).unwrap_or_default());
                }
                NT_FILE => self.files = files(about),
                _ => {}
            }
            notes = &notes[end..];
        }
    }
}

/// Names of the mapped files, each once, in the order they are mapped: three numbers for each mapping stand before them.
fn files(note: &[u8]) -> Vec<String> {
    let count = usize::try_from(number(note, 0, 8)).unwrap_or_default();
    let names = count
        .checked_mul(24)
        .and_then(|table| note.get(16 + table..))
        .unwrap_or_default();
    let mut files: Vec<String> = Vec::new();
    for name in names.split(|byte| *byte == 0).take(count) {
        let name = String::from_utf8_lossy(name).into_owned();
        if name.starts_with('/') && !name.ends_with(" (deleted)") && !files.contains(&name) {
            files.push(name);
        }
    }
    files
}

/// A number of so many bytes; 0 where there are fewer.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let found = bytes.get(at..at + length).unwrap_or_default();
    found.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = [5, u32::try_from(content.len()).unwrap(), kind]
            .map(u32::to_le_bytes)
            .concat();
        note.extend_from_slice(b"CORE\0\0\0\0");
        note.extend_from_slice(content);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn the_notes_name_the_process_its_signal_and_its_files() {
        let mut about = vec![0; 136];
        about[24] = 7;
        about[56..63].copy_from_slice(b"python3");
        let mut mapped = [3_u64, 4096].map(u64::to_le_bytes).concat();
        mapped.resize(16 + 3 * 24, 1);
        mapped.extend_from_slice(b"/bin/python3\0/lib/libc.so.6\0/bin/python3\0");
        let notes = [
            note(NT_PRSTATUS, &[6; 4]),
            note(NT_PRSTATUS, &[0; 4]),
            note(NT_PRPSINFO, &about),
            note(NT_FILE, &mapped),
        ];
        let mut dump = Dump::default();
        dump.take(&notes.concat());
        assert_eq!((dump.pid, dump.command.as_str()), (7, "python3"));
        assert_eq!(dump.signal, 0x0606_0606);
        assert_eq!(dump.files, ["/bin/python3", "/lib/libc.so.6"]);
        // One that is cut, or that lies about its length, ends the reading.
        let mut cut = Dump::default();
        cut.take(&notes.concat()[..20]);
        cut.take(&[255; 40]);
        assert_eq!(cut, Dump::default());
    }

    #[test]
    fn other_files_are_no_cores() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("core"), "a module of that name").unwrap();
        assert_eq!(read(&dir.path().join("core")).unwrap(), None);
        assert_eq!(read(&std::env::current_exe().unwrap()).unwrap(), None);
    }
}
