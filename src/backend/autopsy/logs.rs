//! The last lines of everything the tests of a hung session wrote, the most recently written first.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::run::{Kind, RunDir, tree};

/// Most files shown.
const FILES: usize = 100;
/// Most files looked at.
const LOOKED_AT: usize = 10_000;
/// Lines shown of each.
const LINES: usize = 20;
/// Bytes read from the end of each.
const BYTES: u64 = 16 << 10;
/// Deepest directory looked into.
const DEPTH: usize = 6;

/// The ends of the files below a session's directory; empty if there are none.
pub(super) fn tails(session: &RunDir) -> io::Result<String> {
    let mut found: Vec<((i64, u64), PathBuf)> = Vec::new();
    tree::walk(session, DEPTH, |level| {
        for entry in &level.entries {
            if found.len() < LOOKED_AT
                && entry.kind == Kind::File
                && let Ok(stat) = level.stat(&entry.name)
                && stat.st_size > 0
            {
                let modified = (stat.st_mtime, stat.st_mtime_nsec);
                found.push((modified, level.path.join(&entry.name)));
            }
        }
        Ok(())
    })?;
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut text = String::new();
    for (_, path) in found.iter().take(FILES) {
        if let Ok(tail) = tail(session, path) {
            let _ = write!(text, "--- {}\n{tail}\n\n", path.display());
        }
    }
    if found.len() > FILES {
        let _ = writeln!(text, "and {} files that were written to before", found.len() - FILES);
    }
    Ok(text)
}

fn tail(session: &RunDir, path: &Path) -> io::Result<String> {
    let (bytes, length) = session.tail(path, BYTES)?;
    if bytes.contains(&0) {
        return Ok(format!("({length} bytes that are no text)"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown: Vec<String> = lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| line.chars().take(400).collect())
        .collect();
    Ok(shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_text_files_are_shown_and_others_only_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("test_a[x]")).unwrap();
        let lines = (0..50).fold(String::new(), |text, n| text + "line " + &n.to_string() + "\n");
        std::fs::write(dir.path().join("test_a[x]/test.log.txt"), lines).unwrap();
        std::fs::write(dir.path().join("data.bin"), [0; 8]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.txt")).unwrap();
        let text = tails(&RunDir::open(dir.path()).unwrap()).unwrap();
        assert!(
            text.contains("--- test_a[x]/test.log.txt\nline 30\n") && text.contains("line 49\n"),
            "{text}"
        );
        assert!(text.contains("--- data.bin\n(8 bytes that are no text)"), "{text}");
        assert!(!text.contains("root:"), "links are not followed");
    }
}
