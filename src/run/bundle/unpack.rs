//! A bundle unpacked beside the sweeps, hidden, until all of it has been looked at. Nothing in it is believed: only
//! plain files below the places they belong to, and no more of them than was allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use super::{CLOSING, DEEPEST, LOGS, MANIFEST, README, ROOT, StoreError};
use crate::run::layout::{ATTEMPTS, SPEC, iteration_of, run_name};
use crate::run::manifest::{Closing, FORMAT, Manifest};
use crate::run::replaced::iteration_and_number;

/// How every file begins that is compressed as bundles are.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Most files of a bundle.
const MOST_FILES: u64 = 1_000_000;
/// Most directories that are named in a bundle; `export` names none, whoever packs it anew may.
const MOST_DIRS: u64 = 100_000;
/// Most zeros behind the end of the archive.
const MOST_PADDING: u64 = 1 << 20;
/// Longest path.
const LONGEST_PATH: u64 = 4096;
/// Largest file that the tool itself puts into a bundle.
const MOST_OWN: u64 = 64 << 20;

/// A bundle that was found good. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Unpacked {
    pub(super) dir: TempDir,
    /// What it says about itself.
    pub manifest: Manifest,
    /// What was taken out of it.
    pub closing: Closing,
    /// What is in it, by the names of sweeps.
    pub sweeps: BTreeMap<String, Held>,
}

/// What a bundle holds of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub iterations: BTreeSet<u32>,
    /// Answers that `--retry` had set aside, by the names of their directories.
    pub replaced: BTreeMap<String, u32>,
}

/// Unpacks a bundle into a hidden directory of `logs_dir`.
///
/// # Errors
/// It is no bundle, is cut short, holds anything but plain files in their places, or more bytes than allowed.
pub fn unpack(bundle: &Path, logs_dir: &Path, most_bytes: u64) -> Result<Unpacked, StoreError> {
    let failed = |cause| StoreError::io("read", bundle, cause);
    let refused = |cause: &str| StoreError::NotImported {
        path: bundle.to_owned(),
        cause: cause.to_owned(),
    };
    let mut file = fs::File::open(bundle).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(refused("it is not a file"));
    }
    let mut magic = Vec::new();
    Read::by_ref(&mut file)
        .take(4)
        .read_to_end(&mut magic)
        .map_err(failed)?;
    if magic != ZSTD {
        return Err(refused("it is not what `reproduce-flaky export` writes"));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut reading = Reading {
        logs_dir,
        dir: None,
        manifest: None,
        closing: None,
        sweeps: BTreeMap::new(),
        left: most_bytes,
        most_bytes,
        files: 0,
        dirs: 0,
    };
    let read = zstd::Decoder::new(file)
        .map_err(Bad::from)
        .and_then(|bytes| reading.all(bytes.single_frame()));
    match read {
        Ok(()) => {}
        Err(Bad::Bundle(cause)) => return Err(refused(&cause)),
        Err(Bad::Place(error)) => return Err(error),
    }
    let Reading {
        dir,
        manifest,
        closing,
        sweeps,
        ..
    } = reading;
    let (Some(dir), Some(manifest), Some(closing)) = (dir, manifest, closing) else {
        return Err(refused("it is cut short"));
    };
    if (sweeps.values()).all(|held| held.iterations.is_empty() && held.replaced.is_empty()) {
        return Err(refused("it holds no run"));
    }
    Ok(Unpacked {
        dir,
        manifest,
        closing,
        sweeps,
    })
}

/// Why reading ended.
enum Bad {
    /// The bundle's fault.
    Bundle(String),
    /// The fault of the place it goes to.
    Place(StoreError),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Bad {
        Bad::Bundle(crate::run::error::words(&error))
    }
}

fn bad<T>(cause: impl Into<String>) -> Result<T, Bad> {
    Err(Bad::Bundle(cause.into()))
}

struct Reading<'a> {
    logs_dir: &'a Path,
    dir: Option<TempDir>,
    manifest: Option<Manifest>,
    closing: Option<Closing>,
    sweeps: BTreeMap<String, Held>,
    left: u64,
    most_bytes: u64,
    files: u64,
    dirs: u64,
}

/// Where a file of a bundle belongs.
enum Destination {
    Readme,
    Manifest,
    Closing,
    /// Below the directory of sweeps; whose file it is, if it is a run's.
    Sweep {
        sweep: String,
        run: Option<Run>,
        path: PathBuf,
    },
}

enum Run {
    Standing(u32),
    Replaced(String, u32),
}

impl Reading<'_> {
    fn all(&mut self, bytes: zstd::Decoder<'_, impl io::BufRead>) -> Result<(), Bad> {
        let mut archive = tar::Archive::new(bytes);
        // Raw, so that no entry of any kind is read into memory unasked.
        let mut long_name: Option<Vec<u8>> = None;
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            let size = entry.header().entry_size()?;
            if entry.header().entry_type().is_gnu_longname() {
                if size > LONGEST_PATH {
                    return bad("a path in it is too long");
                }
                if long_name.is_some() {
                    return bad("a file in it has two names");
                }
                let mut name = Vec::new();
                entry.read_to_end(&mut name)?;
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                long_name = Some(name);
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            let kind = entry.header().entry_type();
            if !kind.is_file() && !kind.is_dir() {
                return bad(format!("`{}` is no plain file", String::from_utf8_lossy(&name)));
            }
            let path = inside(&name)?;
            if kind.is_dir() {
                self.dirs += 1;
                if self.dirs > MOST_DIRS || size > 0 {
                    return bad(format!(
                        "it names more than {MOST_DIRS} directories, or one with bytes in it"
                    ));
                }
                continue;
            }
            self.files += 1;
            if self.files > MOST_FILES {
                return bad(format!("it has more than {MOST_FILES} files"));
            }
            if size > self.left {
                let allowed = self.most_bytes >> 20;
                return bad(format!("unpacked it is larger than the {allowed} MiB that are allowed"));
            }
            self.left -= size;
            self.one(&path, &mut entry, size)?;
        }
        let mut bytes = archive.into_inner();
        is_padding(&mut bytes)?;
        // Whatever else is in the file nobody has looked at, and no checksum covers it.
        if bytes.finish().fill_buf()?.is_empty() {
            Ok(())
        } else {
            bad(AFTER_ITS_END)
        }
    }

    fn one(&mut self, path: &Path, bytes: &mut impl Read, size: u64) -> Result<(), Bad> {
        let destination = destination(path)?;
        if self.manifest.is_none() && matches!(destination, Destination::Closing | Destination::Sweep { .. }) {
            return bad("it does not begin with its manifest.json");
        }
        match destination {
            Destination::Readme => Ok(()),
            Destination::Manifest => {
                let text = own(bytes, size)?;
                let format = serde_json::from_slice::<serde_json::Value>(&text)
                    .ok()
                    .and_then(|value| value["format"].as_u64());
                match format {
                    Some(format) if format > u64::from(FORMAT) => {
                        bad(format!("it has format {format}, which this version does not know"))
                    }
                    Some(_) | None => {
                        self.manifest = Some(serde_json::from_slice(&text).map_err(|error| {
                            Bad::Bundle(format!("its manifest.json does not read as one: {error}"))
                        })?);
                        Ok(())
                    }
                }
            }
            Destination::Closing => {
                let text = own(bytes, size)?;
                self.closing = Some(
                    serde_json::from_slice(&text)
                        .map_err(|error| Bad::Bundle(format!("its redacted.json does not read as one: {error}")))?,
                );
                Ok(())
            }
            Destination::Sweep { sweep, run, path } => {
                let held = self.sweeps.entry(sweep).or_default();
                match run {
                    Some(Run::Standing(iteration)) => drop(held.iterations.insert(iteration)),
                    Some(Run::Replaced(name, iteration)) => drop(held.replaced.insert(name, iteration)),
                    None => {}
                }
                self.write(&path, bytes)
            }
        }
    }

    /// Writes a file that must not be there yet.
    fn write(&mut self, path: &Path, bytes: &mut impl Read) -> Result<(), Bad> {
        if self.dir.is_none() {
            let made = fs::create_dir_all(self.logs_dir)
                .and_then(|()| tempfile::Builder::new().prefix(".import-").tempdir_in(self.logs_dir));
            self.dir = Some(made.map_err(|cause| Bad::Place(StoreError::io("write", self.logs_dir, cause)))?);
        }
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.path().join(path);
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                Bad::Bundle("a path in it stands there twice".to_owned())
            }
            _ => Bad::Place(StoreError::io("write", &path, cause)),
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        // What cannot be read is the bundle's fault, what cannot be written is not.
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = bytes.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            io::Write::write_all(&mut file, &buffer[..n]).map_err(failed)?;
        }
    }
}

const AFTER_ITS_END: &str = "something follows its end";

/// What follows the end of the archive are zeros that fill a block; the checksum stands behind them.
fn is_padding(bytes: &mut impl Read) -> Result<(), Bad> {
    let mut left = MOST_PADDING;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = bytes.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        if n as u64 > left || buffer[..n].iter().any(|byte| *byte != 0) {
            return bad(AFTER_ITS_END);
        }
        left -= n as u64;
    }
}

fn own(bytes: &mut impl Read, size: u64) -> Result<Vec<u8>, Bad> {
    if size > MOST_OWN {
        return bad("what it says about itself is too large");
    }
    let mut text = Vec::new();
    bytes.read_to_end(&mut text)?;
    Ok(text)
}

/// The path below the bundle's own directory; one that leads anywhere else is refused.
fn inside(name: &[u8]) -> Result<PathBuf, Bad> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) if !part.as_bytes().contains(&0) => parts.push(part),
            Component::CurDir => {}
            Component::Normal(_) | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return bad(format!("`{}` leads out of it", path.display()));
            }
        }
    }
    if parts.first().is_none_or(|root| *root != ROOT) || parts.len() > DEEPEST + 6 {
        return bad(format!("`{}` has no place in a bundle", path.display()));
    }
    Ok(parts[1..].iter().collect())
}

fn destination(path: &Path) -> Result<Destination, Bad> {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap_or_default()).collect();
    let is_sweep = |name: &str| !name.is_empty() && !name.starts_with('.');
    let below = || -> PathBuf { path.iter().skip(1).collect() };
    match parts.as_slice() {
        [README] => Ok(Destination::Readme),
        [MANIFEST] => Ok(Destination::Manifest),
        [CLOSING] => Ok(Destination::Closing),
        [LOGS, sweep, SPEC] if is_sweep(sweep) => Ok(Destination::Sweep {
            sweep: (*sweep).to_owned(),
            run: None,
            path: below(),
        }),
        [LOGS, sweep, run, _, ..]
            if is_sweep(sweep) && iteration_of(run).is_some_and(|number| run_name(number) == *run) =>
        {
            Ok(Destination::Sweep {
                sweep: (*sweep).to_owned(),
                run: iteration_of(run).map(Run::Standing),
                path: below(),
            })
        }
        [LOGS, sweep, ATTEMPTS, name, _, ..] if is_sweep(sweep) && iteration_and_number(name).is_some() => {
            Ok(Destination::Sweep {
                sweep: (*sweep).to_owned(),
                run: iteration_and_number(name).map(|(iteration, _)| Run::Replaced((*name).to_owned(), iteration)),
                path: below(),
            })
        }
        _ => bad(format!("`{}` has no place in a bundle", path.display())),
    }
}
