//! Bytes searched for in a file that may be as large as the memory of a process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// Calls `at` with each place in a file at which these bytes stand, until it says no.
fn each(file: &mut File, bytes: &[u8], mut at: impl FnMut(u64) -> bool) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let finder = memchr::memmem::Finder::new(bytes);
    let mut piece = vec![0; 1 << 20];
    let (mut kept, mut begins) = (0, 0);
    loop {
        let read = file.read(&mut piece[kept..])?;
        if read == 0 {
            return Ok(());
        }
        let filled = kept + read;
        for found in finder.find_iter(&piece[..filled]) {
            if !at(begins + found as u64) {
                return Ok(());
            }
        }
        // The bytes may begin at the end of this piece: that end is searched again with the next piece.
        kept = filled.min(bytes.len() - 1);
        piece.copy_within(filled - kept..filled, 0);
        begins += (filled - kept) as u64;
    }
}

/// Whether a file holds these bytes anywhere.
pub(super) fn holds(file: &mut File, bytes: &[u8]) -> io::Result<bool> {
    let mut is_found = false;
    each(file, bytes, |_| {
        is_found = true;
        false
    })?;
    Ok(is_found)
}

/// Overwrites these bytes wherever a file holds them.
pub(super) fn wipe(file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut places = Vec::new();
    each(&mut file.try_clone()?, bytes, |place| {
        places.push(place);
        true
    })?;
    places
        .into_iter()
        .try_for_each(|place| file.write_all_at(&vec![b'*'; bytes.len()], place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_also_where_two_pieces_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core");
        for at in [0, (1 << 20) - 3, (2 << 20) - 6] {
            let mut bytes = vec![b'.'; at];
            bytes.extend_from_slice(b"A=run007\0tail");
            std::fs::write(&path, &bytes).unwrap();
            let mut file = File::options().read(true).write(true).open(&path).unwrap();
            assert!(holds(&mut file, b"A=run007\0").unwrap(), "{at}");
            assert!(!holds(&mut file, b"A=run008\0").unwrap());
            wipe(&file, b"run007").unwrap();
            let wiped = std::fs::read(&path).unwrap();
            assert_eq!(wiped.len(), bytes.len());
            assert!(wiped[..at].iter().all(|byte| *byte == b'.') && wiped.ends_with(b"A=******\0tail"));
        }
    }
}
