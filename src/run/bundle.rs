//! Bundles: runs in one compressed archive, written as a stream without secrets, read without trust.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::layout::{EXIT, OUTCOME, SPEC};
use super::sweep::json;
use super::tree::{self, Level};
use super::{Kind, LARGEST, RunDir, StoreError, durable, place_in_sweep};
use crate::judge::Outcome;
use crate::report::redact::{Found, Redacted, Redactor};
use crate::run::manifest::{Closing, Manifest};

mod place;
mod unpack;

pub use place::{ImportedSweep, is_imported, place};
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
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("imported_at");
        }
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

    /// Adds a run with all its files, or an answer that `--retry` has set aside; one that nobody has judged yet gets this
    /// judgement.
    pub fn add_run(&mut self, sweep: &str, iteration: u32, dir: &Path, outcome: &Outcome) -> Result<(), StoreError> {
        let to = format!("{LOGS}/{sweep}/{}", place_in_sweep(iteration, dir));
        self.add_dir(dir, &to)?;
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
            format: crate::run::manifest::FORMAT,
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

    /// Adds the files of a run's directory, and of the directories below it. Links are not followed; what is too deep or
    /// cannot be listed is left out.
    fn add_dir(&mut self, dir: &Path, to: &str) -> Result<(), StoreError> {
        let read = |cause| StoreError::io("read", dir, cause);
        let mut failed = None;
        // Names in the bundle of directories that have been listed in the one above, and not been walked yet.
        let mut named = BTreeMap::from([(PathBuf::new(), to.to_owned())]);
        let walked = tree::walk(&RunDir::open(dir).map_err(read)?, DEEPEST, |level| {
            let to = named.remove(level.path).unwrap_or_default();
            self.add_level(level, &to, &mut named).map_err(|error| {
                failed = Some(error);
                io::Error::other("not added")
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.left_out.extend(named.into_values());
        walked.map_err(read)
    }

    /// Adds the files of one directory.
    fn add_level(
        &mut self,
        level: &Level<'_>,
        to: &str,
        named: &mut BTreeMap<PathBuf, String>,
    ) -> Result<(), StoreError> {
        let mut taken = BTreeSet::new();
        for entry in &level.entries {
            // A test's name may hold its parameters, and those a secret.
            let name = entry.name.to_string_lossy().into_owned();
            let mut name = self.redactor.text(&name, &mut self.found).replace('/', "_");
            while !taken.insert(name.clone()) {
                name.push('+');
            }
            let to = format!("{to}/{name}");
            let path = level.path.join(&entry.name);
            match entry.kind {
                Kind::Dir => drop(named.insert(path, to)),
                Kind::File => {
                    let is_document = level.depth == 0 && [EXIT, OUTCOME].contains(&name.as_str());
                    let file = level.file(&entry.name);
                    file.map_err(|cause| StoreError::io("read", &path, cause))
                        .and_then(|file| self.add_file(file, &path, &to, is_document))?;
                }
                Kind::Link | Kind::Other => self.left_out.push(to),
            }
        }
        Ok(())
    }

    fn add_file(&mut self, mut file: File, path: &Path, to: &str, is_document: bool) -> Result<(), StoreError> {
        let failed = |cause| StoreError::io("read", path, cause);
        if is_document {
            let mut bytes = Vec::new();
            Read::by_ref(&mut file)
                .take(LARGEST)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            if let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&bytes) {
                self.redactor.document(&mut value, &mut self.found);
                self.files += 1;
                return self.add(to, &json(&value));
            }
            file.rewind().map_err(failed)?;
        }
        if is_closed_to_search(&mut file).map_err(failed)? {
            self.left_out.push(to.to_owned());
            return Ok(());
        }
        // The archive has to know the size before the bytes, and it is known only when the secrets are out.
        let mut reader = Redacted::new(file, self.redactor);
        let spooled = self.spool.set_len(0).and_then(|()| self.spool.rewind());
        spooled.map_err(|cause| StoreError::io("write", &self.path, cause))?;
        let size = io::copy(&mut reader, &mut self.spool).map_err(failed)?;
        self.found.add(reader.found());
        self.files += 1;
        let mut clean = self.spool.try_clone().map_err(failed)?;
        clean.rewind().map_err(failed)?;
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
    file.rewind()?;
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
