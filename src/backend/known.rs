//! What is known of a Python without asking it: reports of earlier probes, each kept under the digest of all that it
//! depends on.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::toolchain::{self, INSPECT, Toolchain, hex};
use super::{BackendError, packages};
use crate::run::{Cached, PROBES, Stamp};
use crate::spec;

/// Variables beside Python's own by which a Python of this machine is found, and finds its modules.
const VARIABLES: [&str; 4] = ["PATH", "HOME", "VIRTUAL_ENV", "CONDA_PREFIX"];

/// A report, and what it was read from.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Files and directories of this machine that the report depends on; none for one of an image.
    stamps: Vec<Stamp>,
    report: Toolchain,
}

/// The name of a report: a digest of what asked, and of everything that the answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(parts: &[&str]) -> Key {
        let mut digest = Sha256::new();
        for part in [&spec::tool(), INSPECT].into_iter().chain(parts.iter().copied()) {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Key(hex(&digest.finalize()))
    }
}

/// A report that was kept and still holds.
pub(super) fn recall(key: &Key) -> Option<Toolchain> {
    let kept: Kept = probes()?.read(&key.0)?;
    kept.stamps.iter().all(Stamp::holds).then_some(kept.report)
}

/// Keeps a report.
pub(super) fn keep(key: &Key, report: &Toolchain, stamps: Vec<Stamp>) {
    if let Some(probes) = probes() {
        let report = report.clone();
        probes.write(&key.0, &Kept { stamps, report });
    }
}

fn probes() -> Option<Cached> {
    Cached::open(&packages::cache().ok()?, &PROBES)
}

/// As [`toolchain::examine`], unless the same Python was asked before and nothing that its answer depends on has changed
/// since.
pub(super) async fn examine(directory: &Path) -> Result<Toolchain, BackendError> {
    let place = directory.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let python = program("python3")?;
        let key = key_of(&python, &place);
        let known = recall(&key);
        Some((python, key, known))
    });
    let asked = match found.await.ok().flatten() {
        Some((_, _, Some(known))) => return Ok(known),
        Some((python, key, None)) => Some((python, key)),
        None => None,
    };
    let began = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    // The caller's search path for modules is not part of the toolchain, and most of it is not visible inside.
    let report = toolchain::examine(directory, &[("PYTHONPATH".to_owned(), None)]).await?;
    if let Some((python, key)) = asked {
        let (report, place) = (report.clone(), directory.to_owned());
        tokio::task::spawn_blocking(move || {
            let Some(choosing) = choosing(&python, &report.executable, &place) else {
                return;
            };
            let mut stamps = stamps_of(&report);
            stamps.extend(choosing.iter().flat_map(|path| Stamp::of(path)));
            // What changed in the second of the question may have changed after the answer.
            let began = i64::try_from(began).unwrap_or_default();
            if stamps.iter().all(|stamp| stamp.is_older_than(began)) {
                keep(&key, &report, stamps);
            }
        });
    }
    Ok(report)
}

/// The program that a name stands for.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|dir| dir.join(name));
    let is_executable =
        |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    candidates.find(is_executable)
}

/// The files by which a program of this name chooses the Python that it starts: none for a Python itself, those of pyenv,
/// which chooses by directory; `None` for another program that chooses, which may choose otherwise the next time.
fn choosing(program: &Path, chosen: &Path, directory: &Path) -> Option<Vec<PathBuf>> {
    if program == chosen {
        return Some(Vec::new());
    }
    let shims = program.parent()?;
    let root = shims
        .parent()
        .filter(|root| shims.ends_with("shims") && chosen.starts_with(root.join("versions")))?;
    let local = directory.ancestors().map(|above| above.join(".python-version"));
    let own = ["version", "versions", "shims/python3"].map(|name| root.join(name));
    Some(local.chain(own).collect())
}

fn key_of(python: &Path, directory: &Path) -> Key {
    let mut parts = vec![format!("host {} in {}", python.display(), directory.display())];
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| {
            ["PYTHON", "PYENV"].iter().any(|of| name.starts_with(of)) || VARIABLES.contains(&name.as_str())
        })
        .collect();
    variables.sort();
    parts.extend(variables.into_iter().map(|(name, value)| format!("{name}={value}")));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Key::of(&parts)
}

/// What a report of this machine's Python was read from: the program, the settings of its virtual environment, and every
/// directory where modules are looked for, the user's own also where there is none yet.
fn stamps_of(report: &Toolchain) -> Vec<Stamp> {
    let settings = report.prefixes.iter().map(|prefix| prefix.join("pyvenv.cfg"));
    let mut minor = report.version.split('.');
    let python = format!(
        "python{}.{}",
        minor.next().unwrap_or_default(),
        minor.next().unwrap_or_default()
    );
    let users = report
        .user_base
        .iter()
        .map(|base| base.join("lib").join(&python).join("site-packages"));
    let paths = report.hops.iter().chain(&report.search).cloned();
    let mut paths: Vec<PathBuf> = paths.chain(settings).chain(users).collect();
    paths.sort();
    paths.dedup();
    paths.iter().flat_map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_parts_apart() {
        assert_eq!(Key::of(&["a", "b"]), Key::of(&["a", "b"]));
        assert_ne!(Key::of(&["a", "b"]), Key::of(&["ab"]));
        assert_ne!(Key::of(&["a", "b"]), Key::of(&["b", "a"]));
    }

    #[test]
    fn a_package_that_is_installed_or_upgraded_is_noticed() {
        let site = tempfile::tempdir().unwrap();
        let report = Toolchain {
            version: "3.11.2".to_owned(),
            search: vec![site.path().to_owned()],
            user_base: Some(site.path().join("user")),
            ..Toolchain::default()
        };
        let stamps = || stamps_of(&report);
        let holds = |stamps: &[Stamp]| stamps.iter().all(Stamp::holds);
        let before = stamps();
        assert!(holds(&before));
        std::os::unix::fs::symlink("nowhere", site.path().join("pytest-9.0.dist-info")).unwrap();
        assert!(!holds(&before));
        let before = stamps();
        // The user's own packages were not there at all.
        let _ = tempfile::Builder::new()
            .prefix("user")
            .rand_bytes(0)
            .tempdir_in(site.path())
            .unwrap()
            .keep();
        assert!(!holds(&before));
    }
}
