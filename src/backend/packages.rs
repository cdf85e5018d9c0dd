//! What this machine's Python lacks, fetched once into the user's cache and never into the user's own environment.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::toolchain::{Toolchain, hex, last_line};
use super::{BackendError, Plugin, Tell};

const FETCH: &str = include_str!("fetch.py");

/// The wheels that are fetched, with versions and digests.
const WHEELS: &str = include_str!("packages.txt");

/// The modules a session needs, and the distributions that bring them.
const NEEDED: [(&str, &str); 3] = [
    ("pytest", "pytest"),
    ("xdist", "pytest-xdist"),
    ("pytest_timeout", "pytest-timeout"),
];

/// What says, in a directory of packages, that pytest has compiled its plugins there, and ours beside it.
const COMPILED: &str = ".compiled";

/// How long that may take.
const COMPILING: Duration = Duration::from_mins(1);

/// Packages that were fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packages {
    /// Directory to put on the search path.
    pub(super) dir: PathBuf,
    /// What the user should know about it.
    pub(super) note: String,
}

/// This tool's directory in the user's cache. What lies there is run by this tool and by sessions, so that it must
/// belong to the caller or root, and nobody else may write to it.
pub(super) fn cache() -> Result<PathBuf, BackendError> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let base = base.ok_or_else(|| BackendError::Unfit {
        what: "failed to find your cache directory".to_owned(),
        hint: Some("set HOME or XDG_CACHE_HOME".to_owned()),
    })?;
    let dir = base.join("reproduce-flaky");
    is_ours(&dir)?;
    Ok(dir)
}

/// Refuses a directory, or a link to one, that somebody else decides about; one that is not there yet is fine.
fn is_ours(dir: &Path) -> Result<(), BackendError> {
    let own = rustix::process::geteuid().as_raw();
    let refused = |cause: String| {
        Err(BackendError::Unfit {
            what: format!("the cache `{}` is not used: {cause}", dir.display()),
            hint: Some("set XDG_CACHE_HOME to a directory of your own, or remove this one".to_owned()),
        })
    };
    for found in [dir.symlink_metadata(), dir.metadata()].into_iter().flatten() {
        if ![own, 0].contains(&found.uid()) {
            return refused(format!("it belongs to another user (uid {})", found.uid()));
        }
        if !found.is_symlink() && found.mode() & 0o022 != 0 {
            return refused(format!("others may write to it (mode {:04o})", found.mode() & 0o7777));
        }
    }
    Ok(())
}

/// Makes a directory of the cache and those above it, none of which anybody else may write to.
fn create_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

/// What has to be fetched for a Python, and where it goes.
#[derive(Clone, Debug)]
struct Wanted {
    packages: Packages,
    /// What to call it.
    what: String,
    /// The distributions to take from the list.
    lacking: Vec<&'static str>,
    /// A file of the user's, absolute.
    requirements: Option<PathBuf>,
    /// Installed versions, as a JSON object.
    pins: String,
}

/// Fetches what is missing, unless that was done before. `None` where nothing is. `plugin` is what sessions load
/// besides.
pub(super) async fn complete(
    report: &Toolchain,
    requirements: Option<&Path>,
    plugin: Option<&Plugin>,
    tell: Tell<'_>,
) -> Result<Option<Packages>, BackendError> {
    let Some(wanted) = wanted(report, requirements)? else {
        return Ok(None);
    };
    let dir = &wanted.packages.dir;
    is_ours(dir)?;
    if !dir.is_dir() {
        tell(&format!("fetching {} from PyPI into your cache", wanted.what));
        fetch(report, &wanted).await?;
    }
    compile(report, dir, plugin).await;
    Ok(Some(wanted.packages))
}

/// What [`complete`] would return, without fetching anything.
pub(super) fn plan(report: &Toolchain, requirements: Option<&Path>) -> Result<Option<Packages>, BackendError> {
    Ok(wanted(report, requirements)?.map(|wanted| wanted.packages))
}

fn wanted(report: &Toolchain, requirements: Option<&Path>) -> Result<Option<Wanted>, BackendError> {
    let lacking: Vec<&str> = NEEDED
        .iter()
        .filter(|(module, _)| !report.has(module))
        .map(|(_, distribution)| *distribution)
        .collect();
    if lacking.is_empty() && requirements.is_none() {
        return Ok(None);
    }
    let what = match requirements {
        Some(path) if lacking.is_empty() => format!("the packages of `{}`", path.display()),
        Some(path) => format!("{} and the packages of `{}`", list(&lacking), path.display()),
        None => list(&lacking),
    };
    let pins: BTreeMap<&str, &str> = report
        .distributions
        .iter()
        .map(|(name, distribution)| (name.as_str(), distribution.version.as_str()))
        .collect();
    let pins = serde_json::to_string(&pins).expect("a map of strings is JSON");
    let mut digest = Sha256::new();
    for part in [
        &report.version,
        &report.implementation,
        &report.machine,
        &pins,
        &lacking.join(" "),
        WHEELS,
    ] {
        digest.update(part.as_bytes());
        digest.update(b"\n");
    }
    if let Some(path) = requirements {
        digest.update(read_requirements(path)?.as_bytes());
    }
    let name = format!("{}-{}", report.implementation, &hex(&digest.finalize())[..16]);
    let dir = cache()?.join("python").join(name);
    let note = format!(
        "{what} came from PyPI, kept in {}; your Python itself is unchanged",
        dir.display()
    );
    Ok(Some(Wanted {
        packages: Packages { dir, note },
        what,
        lacking,
        requirements: requirements.and_then(|path| std::path::absolute(path).ok()),
        pins,
    }))
}

fn read_requirements(path: &Path) -> Result<String, BackendError> {
    std::fs::read_to_string(path).map_err(|error| BackendError::Unfit {
        what: format!("failed to read `{}`: {error}", path.display()),
        hint: None,
    })
}

/// Fetches into a directory of this process, which then becomes the one that everybody uses: processes that do so
/// at the same time each have a whole one, and the first is kept.
async fn fetch(report: &Toolchain, wanted: &Wanted) -> Result<(), BackendError> {
    let dir = &wanted.packages.dir;
    let home = dir.parent().unwrap_or(dir);
    let failed = |verb: &str, error: &io::Error| BackendError::Unfit {
        what: format!("failed to {verb} `{}`: {error}", home.display()),
        hint: Some("set XDG_CACHE_HOME to a directory you can write to".to_owned()),
    };
    create_dir(home).map_err(|error| failed("create", &error))?;
    let temporary = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(home)
        .map_err(|error| failed("write into", &error))?;
    let target = temporary.path().join("packages");
    let mut installer = tokio::process::Command::new(&report.executable);
    installer.args(["-c", FETCH]).arg(&target).arg(&wanted.pins).arg(WHEELS);
    installer.arg(wanted.lacking.join(" "));
    if let Some(requirements) = &wanted.requirements {
        installer
            .arg(requirements)
            .arg(std::env::current_dir().unwrap_or_default());
    }
    let output = installer
        // Python looks for modules where it is started, and a session may have put some of its own there.
        .current_dir(temporary.path())
        .env_remove("PYTHONPATH")
        .env_remove("PIP_PREFIX")
        .env_remove("PIP_TARGET")
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| BackendError::Unfit {
            what: format!("failed to run `{}`: {error}", report.executable.display()),
            hint: None,
        })?;
    if !output.status.success() {
        let cause = last_line(&output.stderr).unwrap_or_else(|| output.status.to_string());
        return Err(BackendError::Unfit {
            what: format!("failed to fetch {}: {cause}", wanted.what),
            hint: Some(if output.status.code() == Some(4) {
                "install pip or uv (apt-get install python3-pip), or pytest itself, or use an image".to_owned()
            } else {
                "connect to a package index once, or install pytest in this Python, or use an image that has it"
                    .to_owned()
            }),
        });
    }
    match std::fs::rename(&target, dir) {
        Ok(()) => Ok(()),
        Err(_) if dir.is_dir() => Ok(()),
        Err(error) => Err(failed("write into", &error)),
    }
}

/// Runs one test, once, so that pytest keeps its own compiled form of its plugins and of ours beside them. Sessions see
/// the directories without being able to write there, and would compile them again each time. Where it does not work,
/// they do.
async fn compile(report: &Toolchain, dir: &Path, plugin: Option<&Plugin>) {
    let ours = plugin.and_then(|plugin| keep_plugin(plugin).ok());
    let version = ours.as_deref().and_then(Path::file_name).unwrap_or_default();
    let done = dir.join(format!("{COMPILED}-{}", version.to_string_lossy()));
    // Once, whoever comes first and whatever comes of it; not where nothing can be kept.
    if std::fs::File::create_new(done).is_err() {
        return;
    }
    let Ok(place) = tempfile::tempdir() else { return };
    if std::fs::write(place.path().join("test_one.py"), "def test_one():\n    pass\n").is_err() {
        return;
    }
    let mut session = tokio::process::Command::new(&report.executable);
    let Ok(search) = std::env::join_paths(std::iter::once(dir).chain(ours.as_deref())) else {
        return;
    };
    session
        .args([
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "xdist",
            "-p",
            "pytest_timeout",
            "-n",
            "1",
        ])
        .args(plugin.into_iter().flat_map(|plugin| ["-p", plugin.module.as_str()]))
        .current_dir(place.path())
        .env("PYTHONPATH", search)
        .env("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        .env_remove("PYTEST_ADDOPTS")
        .env_remove("PYTEST_PLUGINS")
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env_remove("PYTHONPYCACHEPREFIX")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let _ = tokio::time::timeout(COMPILING, session.status()).await;
}

fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Puts a plugin's file into the cache, under a name that follows its content, and returns its directory.
pub(super) fn keep_plugin(plugin: &Plugin) -> Result<PathBuf, BackendError> {
    keep(
        "plugin",
        &format!("{}.py", plugin.module),
        plugin.source.as_bytes(),
        0o644,
    )
}

/// Puts a program of ours into the cache and returns where it is.
pub(super) fn keep_program(name: &str, bytes: &[u8]) -> Result<PathBuf, BackendError> {
    Ok(keep(name, name, bytes, 0o755)?.join(name))
}

/// Writes a file below the directory of its kind, in one named after its content, and returns that directory.
fn keep(kind: &str, name: &str, bytes: &[u8], mode: u32) -> Result<PathBuf, BackendError> {
    let digest = hex(&Sha256::digest(bytes));
    let dir = cache()?.join(kind).join(&digest[..16]);
    let file = dir.join(name);
    let failed = |error: io::Error| BackendError::Unfit {
        what: format!("failed to write `{}`: {error}", file.display()),
        hint: Some("set XDG_CACHE_HOME to a directory you can write to, or use --no-trail".to_owned()),
    };
    if std::fs::read(&file).is_ok_and(|there| there == bytes) {
        return Ok(dir);
    }
    create_dir(&dir).map_err(failed)?;
    is_ours(&dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(&dir).map_err(failed)?;
    io::Write::write_all(&mut temporary, bytes).map_err(failed)?;
    // A container's user, who may be another, must be able to read it.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    temporary.as_file().set_permissions(mode).map_err(failed)?;
    temporary.persist(&file).map_err(|error| failed(error.error))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_as_one_says_them() {
        let names = ["a", "b", "c"];
        assert_eq!(list(&names[..1]), "a");
        assert_eq!(list(&names[..2]), "a and b");
        assert_eq!(list(&names), "a, b and c");
    }
}
