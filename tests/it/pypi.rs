//! Python programs that tests judge the tool's outputs with, fetched from `PyPI` once and kept below `target/`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cli::search_path;
use crate::place::{Need, skip};

/// The checker of JSON schemas, with the published schemas of CI services and a module that reads YAML.
const CHECKER: &str = "check-jsonschema==0.39.0";

/// Where its modules are; `None` where they cannot be fetched, which is said.
#[track_caller]
pub(crate) fn checker() -> Option<PathBuf> {
    static FETCHED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FETCHED.get_or_init(|| fetched(CHECKER));
    if found.is_none() {
        skip(Need::Pypi, "no check-jsonschema from PyPI");
    }
    found.clone()
}

/// Where a package was unpacked, of a version that is named; `None` where it cannot be fetched.
pub(crate) fn fetched(package: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    if !dir.is_dir() {
        let new = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut fetch = python();
        fetch.args(["-m", "pip", "install", "--quiet", "--target"]);
        let fetched = fetch.arg(new.path()).arg(package).output();
        if !fetched.is_ok_and(|fetched| fetched.status.success()) {
            return None;
        }
        // Another process may have been faster, with the same.
        let _ = fs::rename(new.path(), &dir);
    }
    Some(dir)
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PATH", search_path());
    command
}

/// Fails unless every file is what a schema says: `--schemafile FILE`, or `--builtin-schema NAME` for a published one.
#[track_caller]
pub(crate) fn conforms(checker: &Path, schema: &[&str], files: &[PathBuf]) {
    let checked = python()
        .env("PYTHONPATH", checker)
        .args(["-m", "check_jsonschema"])
        .args(schema)
        .args(files.iter().map(OsString::from))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{schema:?}: {said}");
}
