//! What a core says about itself: its notes, as core(5) and the kernel's `binfmt_elf.c` have them. 64-bit and
//! little-endian, which is all this tool runs on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Most bytes of notes taken in; a process with ten thousand mapped files has a megabyte.
const NOTES: u64 = 16 << 20;
const ET_CORE: u16 = 4;
const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;

/// What a core says about its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// Process id, as the process knew it.
    pub(super) pid: i32,
    pub(super) signal: i32,
    /// First words of the command line.
    pub(super) command: String,
    /// Mapped files, the program first.
    pub(super) files: Vec<String>,
}

/// A part of an ELF file that its header names.
struct Segment {
    kind: u64,
    /// Offsets in the file and in memory.
    at: u64,
    address: u64,
    size: u64,
}

/// The kind of an ELF file and its segments; `None` for other files.
fn segments(file: &mut File) -> io::Result<Option<(u64, Vec<Segment>)>> {
    let mut header = [0; 64];
    file.seek(SeekFrom::Start(0))?;
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let (at, size, count) = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    let mut segments = Vec::new();
    for index in 0..count {
        let mut segment = [0; 56];
        read_at(file, at.saturating_add(index * size), &mut segment)?;
        segments.push(Segment {
            kind: number(&segment, 0, 4),
            at: number(&segment, 8, 8),
            address: number(&segment, 16, 8),
            size: number(&segment, 32, 8),
        });
    }
    Ok(Some((number(&header, 16, 2), segments)))
}

fn read_at(file: &mut File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

/// Up to `most` bytes from an offset on.
fn some_at(file: &mut File, at: u64, most: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a core. `None` where the file is none.
pub(super) fn read(file: &mut File) -> io::Result<Option<Dump>> {
    let Some((kind, segments)) = segments(file)? else {
        return Ok(None);
    };
    if kind != u64::from(ET_CORE) {
        return Ok(None);
    }
    let mut dump = Dump::default();
    let mut left = NOTES;
    for segment in segments.iter().filter(|segment| segment.kind == u64::from(PT_NOTE)) {
        let notes = some_at(file, segment.at, segment.size.min(left))?;
        left -= notes.len() as u64;
        dump.take(&notes);
    }
    Ok(Some(dump))
}

/// The name that a shared library has for itself (`DT_SONAME`), if any.
pub(super) fn soname(file: &mut File) -> io::Result<Option<String>> {
    const DYNAMIC: u64 = 2;
    const LOAD: u64 = 1;
    const STRINGS: u64 = 5;
    const SONAME: u64 = 14;
    let Some((_, segments)) = segments(file)? else {
        return Ok(None);
    };
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == DYNAMIC) else {
        return Ok(None);
    };
    let entries = some_at(file, dynamic.at, dynamic.size.min(64 << 10))?;
    let entry = |wanted: u64| {
        let mut entries = entries
            .chunks_exact(16)
            .map(|entry| (number(entry, 0, 8), number(entry, 8, 8)));
        entries.find(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    };
    let (Some(strings), Some(name)) = (entry(STRINGS), entry(SONAME)) else {
        return Ok(None);
    };
    let address = strings.saturating_add(name);
    let loaded = segments
        .iter()
        .find(|part| part.kind == LOAD && (part.address..part.address.saturating_add(part.size)).contains(&address));
    let Some(loaded) = loaded else { return Ok(None) };
    let bytes = some_at(file, loaded.at.saturating_add(address - loaded.address), 256)?;
    Ok(Some(text(&bytes)).filter(|name| !name.is_empty()))
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
        let open = |path: &std::path::Path| File::open(path).unwrap();
        assert_eq!(read(&mut open(&dir.path().join("core"))).unwrap(), None);
        assert_eq!(read(&mut open(&std::env::current_exe().unwrap())).unwrap(), None);
        assert_eq!(soname(&mut open(&dir.path().join("core"))).unwrap(), None);
    }
}
