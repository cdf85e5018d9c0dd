//! Programs of Debian's packages, fetched and unpacked for the tests alone: nothing is installed on the machine, and
//! no rights are needed.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs2::FileExt;

use crate::cli::search_path;
use crate::place::skip;

/// Where a program is looked for on the machine: its own PATH, and what of it only root has.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];

/// Programs of the machine, or unpacked ones.
pub(crate) struct Programs {
    /// `None` where they are the machine's own.
    root: Option<PathBuf>,
}

impl Programs {
    /// Programs of some packages: the machine's where it has all of them, else unpacked, once, and kept with what Cargo
    /// builds. `None`, with the reason, where there is neither.
    pub(crate) fn of(names: &[&str], packages: &[&str]) -> Option<Programs> {
        if names.iter().all(|name| installed(name).is_some()) {
            return Some(Programs { root: None });
        }
        let root = unpacked(packages)
            .map_err(|cause| {
                let packages = packages.join(" ");
                skip(&format!(
                    "{packages}: neither installed nor to be had from Debian: {cause}"
                ));
            })
            .ok()?;
        Some(Programs { root: Some(root) })
    }

    /// Path of one of them; where others had to be unpacked, one that the machine has may be its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let unpacked = self.root.as_ref().map(|root| root.join("programs").join(name));
        unpacked
            .filter(|path| path.exists())
            .unwrap_or_else(|| installed(name).unwrap())
    }

    /// A directory of what was unpacked, as the packages name it; the machine's own where nothing was.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.as_deref().unwrap_or(Path::new("/")).join(name)
    }

    /// What a process needs in its environment so that it and what it starts find programs and libraries.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let Some(root) = &self.root else { return Vec::new() };
        let own = std::env::split_paths(search_path());
        let path = std::env::join_paths([root.join("programs")].into_iter().chain(own)).unwrap();
        let libraries = fs::read_to_string(root.join("libraries")).unwrap();
        vec![("PATH", path), ("LD_LIBRARY_PATH", libraries.trim().into())]
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&own)
        .chain(PLACES.map(PathBuf::from))
        .map(|place| place.join(name))
        .find(|path| path.is_file())
}

/// Where some packages, with all that they need and this machine has not, are unpacked.
fn unpacked(packages: &[&str]) -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    fs::create_dir_all(&base).unwrap();
    let root = base.join(packages.join("+"));
    let lock = fs::File::create(base.join(".lock")).unwrap();
    lock.lock_exclusive().unwrap();
    if !root.exists() {
        let _ = writeln!(std::io::stderr(), "fetching {} from Debian, once", packages.join(", "));
        let new = tempfile::tempdir_in(&base).unwrap();
        fetch(&base, new.path(), packages)?;
        unpack(new.path(), &root)?;
        fs::rename(new.keep(), &root).unwrap();
    }
    Ok(root)
}

/// Fetches the packages' files into `archives`, with lists of our own where the machine's are missing or too old.
fn fetch(base: &Path, new: &Path, packages: &[&str]) -> Result<(), String> {
    fs::create_dir_all(new.join("archives/partial")).unwrap();
    let archives = format!("Dir::Cache::archives={}", new.join("archives").display());
    let lists = base.join("lists");
    let own_lists = format!("Dir::State::Lists={}", lists.display());
    let apt = |options: &[&str], words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args([
            "-q",
            "-y",
            "-o",
            "Debug::NoLocking=1",
            "-o",
            "Dir::Cache::pkgcache=",
            "-o",
        ]);
        command.arg("Dir::Cache::srcpkgcache=").args(options).args(words);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "--no-install-recommends", "--download-only"][..], packages].concat();
    if apt(&["-o", &archives], &install).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(lists.join("partial")).unwrap();
    apt(&["-o", &own_lists], &["update"])?;
    apt(&["-o", &archives, "-o", &own_lists], &install)
}

/// Unpacks what was fetched; `root` is where it will be found later.
fn unpack(new: &Path, root: &Path) -> Result<(), String> {
    for archive in fs::read_dir(new.join("archives")).unwrap().map(Result::unwrap) {
        if archive.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(archive.path()).arg(new))?;
        }
    }
    fs::remove_dir_all(new.join("archives")).unwrap();
    // Without what an installation would set up, Debian's own endings of alternatives are the only names.
    fs::create_dir_all(new.join("programs")).unwrap();
    for place in ["bin", "sbin", "usr/sbin", "usr/bin"] {
        for program in fs::read_dir(new.join(place)).into_iter().flatten().map(Result::unwrap) {
            let name = program.file_name().into_string().unwrap();
            let name = name.strip_suffix("-wlm").unwrap_or(&name);
            let target = Path::new("..").join(place).join(program.file_name());
            // The first of two with one name, as along PATH.
            let _ = symlink(target, new.join("programs").join(name));
        }
    }
    let mut libraries: Vec<String> = Vec::new();
    for place in ["lib", "usr/lib"] {
        directories_of_libraries(&new.join(place), &mut |found| {
            let below = found.strip_prefix(new).unwrap();
            libraries.push(root.join(below).display().to_string());
        });
    }
    fs::write(new.join("libraries"), libraries.join(":")).unwrap();
    Ok(())
}

fn directories_of_libraries(dir: &Path, take: &mut dyn FnMut(&Path)) {
    let mut has_libraries = false;
    for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            directories_of_libraries(&entry.path(), take);
        } else {
            has_libraries |= entry.file_name().to_string_lossy().contains(".so");
        }
    }
    if has_libraries {
        take(dir);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(words)
}
