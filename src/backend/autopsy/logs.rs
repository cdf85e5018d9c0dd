//! The last lines of everything the tests of a hung session wrote, the most recently written first.

use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most files shown.
const FILES: usize = 100;
/// Lines shown of each.
const LINES: usize = 20;
/// Bytes read from the end of each.
const BYTES: u64 = 16 << 10;
/// Deepest directory looked into.
const DEPTH: usize = 6;

/// The ends of the files below a directory, but for those in `without`; `None` if there are none.
pub(super) fn tails(dir: &Path, without: &str) -> Option<String> {
    let mut found = Vec::new();
    collect(dir, without, DEPTH, &mut found);
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut text = String::new();
    for (_, path) in found.iter().take(FILES) {
        let Some(tail) = tail(path) else { continue };
        let name = path.strip_prefix(dir).unwrap_or(path).display();
        let _ = write!(text, "--- {name}\n{tail}\n\n");
    }
    if found.len() > FILES {
        let _ = writeln!(text, "and {} files that were written to before", found.len() - FILES);
    }
    (!text.is_empty()).then_some(text)
}

fn collect(dir: &Path, without: &str, depth: usize, found: &mut Vec<(SystemTime, PathBuf)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth > 0 && entry.file_name() != without {
            collect(&entry.path(), without, depth - 1, found);
        } else if metadata.is_file() && metadata.len() > 0 {
            found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
    }
}

fn tail(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    if bytes.contains(&0) {
        return Some(format!("({length} bytes that are no text)"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown: Vec<String> = lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| line.chars().take(400).collect())
        .collect();
    Some(shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_text_files_are_shown_and_others_only_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("test_a[x]")).unwrap();
        std::fs::create_dir_all(dir.path().join("autopsy")).unwrap();
        let lines = (0..50).fold(String::new(), |text, n| text + "line " + &n.to_string() + "\n");
        std::fs::write(dir.path().join("test_a[x]/test.log.txt"), lines).unwrap();
        std::fs::write(dir.path().join("data.bin"), [0; 8]).unwrap();
        std::fs::write(dir.path().join("autopsy/stacks.txt"), "ours").unwrap();
        let text = tails(dir.path(), "autopsy").unwrap();
        assert!(
            text.contains("--- test_a[x]/test.log.txt\nline 30\n") && text.contains("line 49\n"),
            "{text}"
        );
        assert!(text.contains("--- data.bin\n(8 bytes that are no text)"), "{text}");
        assert!(!text.contains("ours"));
        assert_eq!(tails(&dir.path().join("autopsy/none"), "autopsy"), None);
    }
}
