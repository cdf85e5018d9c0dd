//! What a Python is and what pytest finds in it: asked of the interpreter itself, on this machine or in a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackendError;
use crate::spec::Mode;

/// The program that writes a [`Toolchain`].
pub(super) const INSPECT: &str = include_str!("inspect.py");

/// What an interpreter says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Toolchain {
    /// The interpreter, as it was called.
    pub(super) executable: PathBuf,
    /// Every file that name leads through, the real one last.
    pub(super) hops: Vec<PathBuf>,
    /// `3.11.7`.
    pub(super) version: String,
    /// `cpython-311`.
    pub(super) implementation: String,
    /// `x86_64`.
    pub(super) machine: String,
    /// Where its own files are; two of them in a virtual environment.
    pub(super) prefixes: Vec<PathBuf>,
    /// Where it looks for modules.
    pub(super) search: Vec<PathBuf>,
    /// Base of the user's own packages, if it uses them.
    pub(super) user_base: Option<PathBuf>,
    /// Home of the user it ran as.
    pub(super) home: PathBuf,
    /// Which of the modules that matter to us can be found.
    pub(super) modules: BTreeMap<String, bool>,
    /// pytest's version, if it can be imported.
    pub(super) pytest: Option<String>,
    /// Why pytest, though there, cannot be imported.
    pub(super) pytest_error: Option<String>,
    /// What is installed, by normalized name.
    pub(super) distributions: BTreeMap<String, Distribution>,
}

/// An installed distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Distribution {
    /// Its version.
    pub(super) version: String,
    /// Whether pytest loads a plugin from it.
    pub(super) plugin: bool,
    /// Directory it is in.
    pub(super) location: PathBuf,
}

impl Toolchain {
    /// Finds the report in what [`INSPECT`] printed; other lines are what the interpreter's own start-up says.
    pub(super) fn parse(output: &[u8]) -> Option<Toolchain> {
        String::from_utf8_lossy(output)
            .lines()
            .filter_map(|line| line.strip_prefix("reproduce-flaky "))
            .find_map(|json| serde_json::from_str(json).ok())
    }

    /// Whether a module can be found.
    pub(super) fn has(&self, module: &str) -> bool {
        self.modules.get(module).copied().unwrap_or(false)
    }

    /// `python`, `pytest`, and each distribution that brings a plugin, with versions.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        let mut versions: BTreeMap<String, String> = self
            .distributions
            .iter()
            .filter(|(_, distribution)| distribution.plugin)
            .map(|(name, distribution)| (name.clone(), distribution.version.clone()))
            .collect();
        versions.insert("python".to_owned(), self.version.clone());
        if let Some(pytest) = &self.pytest {
            versions.insert("pytest".to_owned(), pytest.clone());
        }
        versions
    }

    /// Whether sessions can run here; `place` names it in the message.
    pub(super) fn fit(&self, mode: Mode, place: &str, hint: &str) -> Result<(), BackendError> {
        let unfit = |what: String| {
            Err(BackendError::Unfit {
                what,
                hint: Some(hint.to_owned()),
            })
        };
        if !self.has("pytest") {
            return unfit(format!("pytest is not in {place}"));
        }
        if let Some(error) = &self.pytest_error {
            return unfit(format!("pytest cannot be imported in {place}: {error}"));
        }
        if let Mode::Xdist(workers) = mode
            && !self.has("xdist")
        {
            return unfit(format!("pytest-xdist is not in {place}, and -p {workers} needs it"));
        }
        Ok(())
    }

    /// Identity of this machine's toolchain: the interpreter and everything installed for it, but for what lives
    /// in the directory under test, whose version changes with every commit, and for what only installs packages.
    pub(super) fn identity(&self, directory: &Path) -> String {
        let mut digest = Sha256::new();
        let mut line = |text: &str| {
            digest.update(text.as_bytes());
            digest.update(b"\n");
        };
        line(&self.executable.to_string_lossy());
        line(&self.version);
        line(&self.implementation);
        line(&self.machine);
        for (name, distribution) in &self.distributions {
            let is_under_test = distribution.location == directory;
            if !is_under_test && !matches!(name.as_str(), "pip" | "setuptools" | "wheel" | "uv") {
                line(&format!("{name}=={}", distribution.version));
            }
        }
        format!("host-sha256:{}", hex(&digest.finalize()))
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Asks this machine's `python3`, the one the caller would get in `directory` (pyenv chooses by directory),
/// with the caller's variables and `extra` ones on top.
pub(super) async fn examine(directory: &Path, extra: &[(String, Option<String>)]) -> Result<Toolchain, BackendError> {
    let mut command = tokio::process::Command::new("python3");
    command
        .args(["-c", INSPECT])
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, value) in extra {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let hint = Some("install Python 3, or activate the virtual environment that has it".to_owned());
    let output = command.output().await.map_err(|error| BackendError::Unfit {
        what: format!("failed to run `python3` on this machine: {error}"),
        hint: hint.clone(),
    })?;
    Toolchain::parse(&output.stdout).ok_or_else(|| BackendError::Unfit {
        what: format!(
            "`python3` on this machine does not run: {}",
            last_line(&output.stderr).unwrap_or_else(|| output.status.to_string())
        ),
        hint,
    })
}

/// The last line that says something.
pub(super) fn last_line(output: &[u8]) -> Option<String> {
    String::from_utf8_lossy(output)
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Toolchain {
        Toolchain {
            executable: "/usr/bin/python3".into(),
            version: "3.11.2".to_owned(),
            modules: BTreeMap::from([("pytest".to_owned(), true), ("xdist".to_owned(), false)]),
            pytest: Some("8.0.0".to_owned()),
            distributions: BTreeMap::from([
                (
                    "app".to_owned(),
                    Distribution {
                        version: "1".into(),
                        plugin: false,
                        location: "/w".into(),
                    },
                ),
                (
                    "pytest-cov".to_owned(),
                    Distribution {
                        version: "5".into(),
                        plugin: true,
                        location: "/s".into(),
                    },
                ),
            ]),
            ..Toolchain::default()
        }
    }

    #[test]
    fn xdist_is_needed_only_by_the_modes_that_use_it() {
        assert_eq!(report().fit(Mode::Serial, "image `app`", "x"), Ok(()));
        let error = report().fit(Mode::Xdist(4), "image `app`", "install it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "pytest-xdist is not in image `app`, and -p 4 needs it"
        );
        assert_eq!(error.hint().as_deref(), Some("install it"));
    }

    #[test]
    fn identity_follows_what_is_installed_but_not_what_is_under_test() {
        let before = report();
        let mut after = report();
        after.distributions.get_mut("app").unwrap().version = "2".to_owned();
        assert_eq!(before.identity(Path::new("/w")), after.identity(Path::new("/w")));
        after.distributions.get_mut("pytest-cov").unwrap().version = "6".to_owned();
        assert_ne!(before.identity(Path::new("/w")), after.identity(Path::new("/w")));
    }

    #[test]
    fn versions_name_python_pytest_and_plugins() {
        let names: Vec<String> = report().versions().into_keys().collect();
        assert_eq!(names, ["pytest", "pytest-cov", "python"]);
    }
}
