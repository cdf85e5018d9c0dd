//! Bundles: runs in one compressed archive, written as a stream without secrets, read without trust.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::layout::{EXIT, OUTCOME, SPEC, run_name};
use super::sweep::json;
use super::{StoreError, durable};
use crate::model::Outcome;
use crate::model::bundle::{Closing, Manifest};
use crate::model::redact::{Found, Redacted, Redactor};

mod place;
mod unpack;

pub use place::{Placed, place};
pub use unpack::{Unpacked, unpack};

/// The one directory that everything is in.
const ROOT: &str = "reproduce-flaky-bundle";
const README: &str = "README.txt";
const MANIFEST: &str = "manifest.json";
/// The last file: without it the bundle is cut short.
const CLOSING: &str = "redacted.json";
/// Where the sweeps are.
const LOGS: &str = "logs";
/// Deepest directory of a run.
const DEEPEST: usize = 16;

/// A bundle being written. It gets its name when it is whole.
pub struct Bundle<'a> {
    archive: tar::Builder<zstd::Encoder<'static, NamedTempFile>>,
    path: PathBuf,
    redactor: &'a Redactor,
    found: Found,
    files: u64,
    left_out: Vec<String>,
    seconds: u64,
    /// Where a file waits without its secrets until its size is known.
    spool: File,
}

impl<'a> Bundle<'a> {
    /// Begins a bundle that will have this name, which must be free.
    pub fn create(
        path: &Path,
        redactor: &'a Redactor,
        manifest: &Manifest,
        readme: &str,
    ) -> Result<Bundle<'a>, StoreError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        let failed = |cause| StoreError::io("write", path, cause);
        let dir = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".bundle-")
            .tempfile_in(dir)
            .map_err(failed)?;
        let spool = tempfile::tempfile_in(dir).map_err(failed)?;
        let mut encoder = zstd::Encoder::new(file, 3).map_err(failed)?;
        encoder.include_checksum(true).map_err(failed)?;
        let mut bundle = Bundle {
            archive: tar::Builder::new(encoder),
            path: path.to_owned(),
            redactor,
            found: Found::default(),
            files: 0,
            left_out: Vec::new(),
            seconds: u64::try_from(manifest.made_at.timestamp()).unwrap_or_default(),
            spool,
        };
        let readme = redactor.text(readme, &mut Found::default()).into_owned();
        bundle.add(README, readme.as_bytes())?;
        let mut manifest = serde_json::to_value(manifest).unwrap_or_default();
        redactor.document(&mut manifest, &mut Found::default());
        bundle.add(MANIFEST, &json(&manifest))?;
        Ok(bundle)
    }

    /// Adds what a sweep ran. Values of its variables stay behind: whoever repeats it has their own.
    pub fn add_sweep(&mut self, name: &str, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(SPEC);
        let Some(bytes) = durable::read(&path).map_err(|cause| StoreError::io("read", &path, cause))? else {
            return Ok(());
        };
        let Ok(mut spec) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
            return Ok(());
        };
        for variable in spec["env"].as_array_mut().into_iter().flatten() {
            let known = variable["name"].as_str().unwrap_or_default().to_owned();
            if variable
                .as_object_mut()
                .and_then(|fields| fields.remove("value"))
                .is_some()
            {
                *self.found.kinds.entry(known).or_default() += 1;
            }
        }
        self.redactor.document(&mut spec, &mut self.found);
        self.add(&format!("{LOGS}/{name}/{SPEC}"), &json(&spec))
    }

    /// Adds a run with all its files; one that nobody has judged yet gets this judgement.
    pub fn add_run(&mut self, sweep: &str, iteration: u32, dir: &Path, outcome: &Outcome) -> Result<(), StoreError> {
        let to = format!("{LOGS}/{sweep}/{}", run_name(iteration));
        self.add_dir(dir, &to, 0)?;
        if !dir.join(OUTCOME).is_file() {
            let mut outcome = serde_json::to_value(outcome).unwrap_or_default();
            self.redactor.document(&mut outcome, &mut self.found);
            self.files += 1;
            self.add(&format!("{to}/{OUTCOME}"), &json(&outcome))?;
        }
        Ok(())
    }

    /// Ends the bundle and gives it its name; says what was taken out.
    pub fn finish(mut self) -> Result<Closing, StoreError> {
        let closing = Closing {
            format: crate::model::bundle::FORMAT,
            files: self.files,
            redacted: self.found.kinds.clone(),
            not_looked_for: self.redactor.too_common().to_vec(),
            left_out: self.left_out.clone(),
        };
        self.add(CLOSING, &json(&closing))?;
        let path = self.path;
        let failed = |cause| StoreError::io("write", &path, cause);
        let file = self
            .archive
            .into_inner()
            .and_then(zstd::Encoder::finish)
            .map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(closing),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists { path }),
            Err(error) => Err(StoreError::io("write", &path, error.error)),
        }
    }

    /// Adds the files of a directory, in the order of their names. Links are not followed.
    fn add_dir(&mut self, dir: &Path, to: &str, depth: usize) -> Result<(), StoreError> {
        let failed = |cause| StoreError::io("read", dir, cause);
        let mut entries = fs::read_dir(dir)
            .map_err(failed)?
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut taken = std::collections::BTreeSet::new();
        for entry in entries {
            let kind = entry.file_type().map_err(failed)?;
            // A test's name may hold its parameters, and those a secret.
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut name = self.redactor.text(&name, &mut self.found).replace('/', "_");
            while !taken.insert(name.clone()) {
                name.push('+');
            }
            let to = format!("{to}/{name}");
            if kind.is_dir() && depth < DEEPEST {
                self.add_dir(&entry.path(), &to, depth + 1)?;
            } else if kind.is_file() {
                self.add_file(
                    &entry.path(),
                    &to,
                    depth == 0 && [EXIT, OUTCOME].contains(&name.as_str()),
                )?;
            } else {
                self.left_out.push(to);
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, to: &str, is_document: bool) -> Result<(), StoreError> {
        let failed = |cause| StoreError::io("read", path, cause);
        if is_document
            && let Ok(Some(bytes)) = durable::read(path)
            && let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&bytes)
        {
            self.redactor.document(&mut value, &mut self.found);
            self.files += 1;
            return self.add(to, &json(&value));
        }
        let mut file = durable::open_regular(path).map_err(failed)?;
        if is_closed_to_search(&mut file).map_err(failed)? {
            self.left_out.push(to.to_owned());
            return Ok(());
        }
        // The archive has to know the size before the bytes, and it is known only when the secrets are out.
        let mut reader = Redacted::new(file, self.redactor);
        let spooled = self.spool.set_len(0).and_then(|()| self.spool.seek(SeekFrom::Start(0)));
        spooled.map_err(|cause| StoreError::io("write", &self.path, cause))?;
        let size = io::copy(&mut reader, &mut self.spool).map_err(failed)?;
        self.found.add(reader.found());
        self.files += 1;
        let mut clean = self.spool.try_clone().map_err(failed)?;
        clean.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.append(to, size, clean)
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.append(name, bytes.len() as u64, bytes)
    }

    fn append(&mut self, name: &str, size: u64, bytes: impl Read) -> Result<(), StoreError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(self.seconds);
        self.archive
            .append_data(&mut header, format!("{ROOT}/{name}"), bytes)
            .map_err(|cause| StoreError::io("write", &self.path, cause))
    }
}

/// Whether a secret in the file would not be seen: it is compressed, or the memory of a process.
fn is_closed_to_search(file: &mut File) -> io::Result<bool> {
    const COMPRESSED: [&[u8]; 7] = [
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"\xfd7zXZ\0",
        b"BZh",
        b"PK\x03\x04",
        b"7z\xbc\xaf",
        b"\x04\x22\x4d\x18",
    ];
    const MEMORY: u8 = 4;
    let mut head = Vec::new();
    Read::by_ref(file).take(18).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let is_memory = head.starts_with(b"\x7fELF") && head.get(16) == Some(&MEMORY);
    Ok(is_memory || COMPRESSED.iter().any(|magic| head.starts_with(magic)))
}

impl std::fmt::Debug for Bundle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
