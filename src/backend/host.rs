//! `--image host`: what an empty container must be given of this machine so that its Python runs in there.
//!
//! Everything is read-only, and of `/etc` only what programs look up; the caller's files stay outside.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::toolchain::{Toolchain, hex};

/// A directory or file of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    /// Path on this machine.
    pub(super) source: PathBuf,
    /// Path in the container.
    pub(super) target: String,
    /// Whether it can be written to.
    pub(super) is_writable: bool,
}

impl Bind {
    /// The same path inside as outside, read-only.
    fn same(path: &Path) -> Bind {
        Bind::read_only(path, &path.to_string_lossy())
    }

    /// A path at another place, read-only.
    pub(super) fn read_only(source: &Path, target: &str) -> Bind {
        Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            is_writable: false,
        }
    }

    /// A path at another place, to be written to.
    pub(super) fn writable(source: &Path, target: &str) -> Bind {
        Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            is_writable: true,
        }
    }
}

/// A container root made of this machine's own directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostRoot {
    /// What is mounted.
    pub(super) binds: Vec<Bind>,
    /// Symbolic links of the root directory, such as `bin` to `usr/bin`.
    pub(super) links: Vec<(String, PathBuf)>,
    /// Search path for programs.
    pub(super) path: String,
}

/// Directories of the root that programs expect, and whether everybody may write there.
const EMPTY: [(&str, bool); 16] = [
    ("dev", false),
    ("etc", false),
    ("home", false),
    ("media", false),
    ("mnt", false),
    ("opt", false),
    ("proc", false),
    ("root", false),
    ("run", false),
    ("sbin", false),
    ("srv", false),
    ("sys", false),
    ("tmp", true),
    ("usr", false),
    ("var", false),
    ("workspace", false),
];

/// What programs look up in `/etc`: the linker, names of users and services, certificates, alternatives, local time.
/// Keys, such as those in `/etc/ssl/private`, are not among it.
const ETC: [&str; 24] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "gai.conf",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
];

/// Plans the root for an interpreter. `search` is the caller's own search path for programs; what of it cannot be
/// seen inside is left out.
pub(super) fn plan(report: &Toolchain, search: &str) -> HostRoot {
    let mut links = Vec::new();
    let mut dirs: Vec<PathBuf> = Vec::new();
    for name in ["usr", "bin", "lib", "lib32", "lib64", "libx32", "opt", "nix"] {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => links.push((name.to_owned(), target.strip_prefix("/").unwrap_or(&target).to_owned())),
            Err(_) if path.is_dir() => dirs.push(path),
            Err(_) => {}
        }
    }
    links.extend(programs_of_sbin());
    let is_linked = |path: &Path| {
        links
            .iter()
            .any(|(name, _)| path.starts_with(Path::new("/").join(name)))
    };
    let parents = report.hops.iter().filter_map(|hop| hop.parent()).map(Path::to_owned);
    let python: BTreeSet<PathBuf> = report
        .prefixes
        .iter()
        .chain(&report.search)
        .cloned()
        .chain(parents)
        .filter(|path| path.exists() && !is_linked(path) && is_specific(path))
        .collect();
    // Shorter paths sort before what is below them.
    for path in python {
        if !dirs.iter().any(|dir| path.starts_with(dir)) {
            dirs.push(path);
        }
    }
    let etc = ETC
        .iter()
        .map(|name| Path::new("/etc").join(name))
        .chain(versioned_etc(&report.version))
        .filter(|path| path.exists());
    let is_visible = |dir: &Path| is_linked(dir) || dirs.iter().any(|bound| dir.starts_with(bound));
    let own = report.executable.parent().map(|dir| dir.to_string_lossy().into_owned());
    let mut path: Vec<String> = Vec::new();
    for dir in own
        .into_iter()
        .chain(
            search
                .split(':')
                .filter(|dir| is_visible(Path::new(dir)))
                .map(str::to_owned),
        )
        .chain(["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned))
    {
        if !path.contains(&dir) {
            path.push(dir);
        }
    }
    HostRoot {
        binds: dirs
            .iter()
            .map(|dir| Bind::same(dir))
            .chain(etc.map(|path| Bind::same(&path)))
            .collect(),
        links,
        path: path.join(":"),
    }
}

/// The engine puts its init process into `/sbin`, so that must be a directory of the root, and one that can be
/// written to; programs such as `/sbin/ldconfig`, which `ctypes` calls by that name, are linked into it one by one.
fn programs_of_sbin() -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir("/usr/sbin") else {
        return Vec::new();
    };
    let mut links: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| (format!("sbin/{name}"), Path::new("../usr/sbin").join(name)))
        .collect();
    links.sort();
    links
}

/// Debian's Python reads its site customization from here, through a link in `/usr/lib`.
fn versioned_etc(version: &str) -> Option<PathBuf> {
    let mut parts = version.split('.');
    Some(Path::new("/etc").join(format!("python{}.{}", parts.next()?, parts.next()?)))
}

/// Whether a path names something of a toolchain rather than a whole disk or everybody's homes.
fn is_specific(path: &Path) -> bool {
    let depth = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .count();
    depth >= 2 || path.is_file()
}

impl HostRoot {
    /// The container's root as a tar stream: directories to mount on and the links, nothing else.
    pub(super) fn archive(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |header: &mut tar::Header, path: &str, link: Option<&Path>| {
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            match link {
                Some(target) => archive.append_link(header, path, target),
                None => archive.append_data(header, path, std::io::empty()),
            }
            .expect("writing to memory does not fail, and these names are short");
        };
        for (name, is_shared) in EMPTY {
            if self.links.iter().all(|(linked, _)| linked != name) {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                header.set_mode(if is_shared { 0o1777 } else { 0o755 });
                add(&mut header, &format!("{name}/"), None);
            }
        }
        for (name, target) in &self.links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            add(&mut header, name, Some(target));
        }
        archive.into_inner().expect("writing to memory does not fail")
    }

    /// Tag that follows the content of [`HostRoot::archive`].
    pub(super) fn tag(&self) -> String {
        hex(&Sha256::digest(self.archive()))[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Toolchain {
        Toolchain {
            executable: "/usr/bin/python3".into(),
            hops: vec!["/usr/bin/python3".into()],
            version: "3.11.2".to_owned(),
            prefixes: vec!["/usr".into()],
            search: vec!["/usr/lib".into(), "/".into()],
            ..Toolchain::default()
        }
    }

    #[test]
    fn neither_the_whole_of_etc_nor_keys_nor_homes_are_mounted() {
        let root = plan(&report(), "/usr/bin:/home/someone/bin");
        let targets: Vec<&str> = root.binds.iter().map(|bind| bind.target.as_str()).collect();
        assert!(targets.contains(&"/usr"), "{targets:?}");
        for forbidden in ["/", "/etc", "/etc/ssl", "/etc/shadow", "/home", "/root", "/var"] {
            assert!(!targets.contains(&forbidden), "{forbidden}");
        }
        assert!(root.binds.iter().all(|bind| !bind.is_writable));
        assert_eq!(root.path, "/usr/bin:/usr/local/bin:/bin");
    }

    #[test]
    fn the_archive_is_the_same_every_time() {
        let root = plan(&report(), "");
        assert_eq!(root.archive(), root.archive());
        assert_eq!(root.tag().len(), 16);
    }

    #[test]
    fn a_virtual_environment_and_the_python_behind_it_are_both_mounted() {
        let base = tempfile::tempdir().unwrap();
        let (venv, python) = (base.path().join("venv"), base.path().join("python"));
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        std::fs::create_dir_all(python.join("bin")).unwrap();
        let report = Toolchain {
            executable: venv.join("bin/python3"),
            hops: vec![venv.join("bin/python3"), python.join("bin/python3.12")],
            prefixes: vec![venv.clone(), python.clone()],
            ..report()
        };
        let root = plan(&report, "/usr/bin");
        let sources: Vec<&Path> = root.binds.iter().map(|bind| bind.source.as_path()).collect();
        assert!(sources.contains(&venv.as_path()) && sources.contains(&python.as_path()));
        assert!(
            !sources.contains(&venv.join("bin").as_path()),
            "what is mounted already is not mounted twice"
        );
        assert!(root.path.starts_with(&venv.join("bin").to_string_lossy().into_owned()));
    }
}
