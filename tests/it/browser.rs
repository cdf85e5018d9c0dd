//! A real browser, which `browser.py` drives: the machine's, or Debian's.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::debian::Programs;
use crate::place::Need;

/// Opens a file in a browser and returns what it says; `None`, said aloud, where there is no browser.
pub(crate) fn open(file: &Path, words: &[&str]) -> Option<Value> {
    let (chromium, environment) = browser()?;
    let mut command = Command::new("python3");
    if words.contains(&"--axe") {
        command.env("AXE_PATH", axe());
    }
    let output = command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/browser.py"))
        .args([chromium.as_os_str(), file.as_os_str()])
        .args(words)
        .envs(environment)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The machine's browser, or Debian's, with what it needs in its environment.
fn browser() -> Option<(PathBuf, Vec<(&'static str, OsString)>)> {
    for name in ["chromium", "chromium-browser", "google-chrome"] {
        let mut command = Command::new(name);
        let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok() {
            return Some((name.into(), Vec::new()));
        }
    }
    let debian = Programs::of(Need::Browser, &["chromium"], &["chromium"])?;
    let mut environment = debian.environment();
    // Fonts come along where the machine has none.
    if debian.dir("etc/fonts/fonts.conf").exists() {
        environment.push(("FONTCONFIG_SYSROOT", debian.dir("").into()));
    }
    // `chromium` itself is a script that knows only where it is installed.
    Some((debian.dir("usr/lib/chromium/chromium"), environment))
}

/// Where the accessibility checker is: it is fetched once, in a wheel that holds it, from where Python's packages are.
fn axe() -> OsString {
    static FETCHED: OnceLock<OsString> = OnceLock::new();
    let fetch = || {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe-0.1.8");
        if !dir.is_dir() {
            let new = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let words = "-m pip install --quiet --no-deps --target . axe-playwright-python==0.1.8";
            let _ = Command::new("python3")
                .args(words.split(' '))
                .current_dir(new.path())
                .output();
            if new.path().join("axe_playwright_python").is_dir() {
                // Another process may have been faster, with the same.
                let _ = fs::rename(new.path(), &dir);
            }
        }
        std::env::var_os("AXE_PATH").unwrap_or_else(|| dir.into_os_string())
    };
    FETCHED.get_or_init(fetch).clone()
}
