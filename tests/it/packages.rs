//! What is fetched into the tool's cache, and whose cache it may be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::cli::{Place, Ran};
use crate::place::{Need, is_root, skip};

/// Runs one iteration with a cache of its own and an index that is a directory.
fn sweep(place: &Place, cache: &Path, words: &[&str]) -> Ran {
    let mut command = place.command(&[&["--backend", "local", "-e", "1"], words].concat());
    let command = command.env("XDG_CACHE_HOME", cache).env("PIP_NO_INDEX", "1");
    Ran::of(command.env("PIP_FIND_LINKS", place.path("index")).output().unwrap())
}

/// Whether this machine's Python can install anything, and lacks what would be installed.
fn lacks_pytest() -> bool {
    let asked = Command::new("python3")
        .args([
            "-c",
            "import pip, importlib.util as u, sys; sys.exit(u.find_spec('pytest_timeout') is not None)",
        ])
        .output();
    asked.is_ok_and(|asked| asked.status.success())
}

#[test]
fn a_cache_that_somebody_else_can_write_to_is_refused() {
    let place = Place::passing();
    let cache = tempfile::tempdir().unwrap();
    let own = cache.path().join("reproduce-flaky");
    fs::create_dir(&own).unwrap();
    let refused = |words: &str| {
        let err = sweep(&place, cache.path(), &[]).exits(1).err();
        assert!(err.contains("error: the cache `") && err.contains(words), "{err}");
        assert!(
            err.contains("\nhint: set XDG_CACHE_HOME to a directory of your own"),
            "{err}"
        );
        assert!(!place.path("logs").exists());
    };
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    refused("others may write to it (mode 0777)");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        chown(&own, Some(4711), None).unwrap();
        refused("it belongs to another user (uid 4711)");
        // A link of the other user's to a directory that is root's is the other user's word too.
        fs::rename(&own, cache.path().join("real")).unwrap();
        chown(cache.path().join("real"), Some(0), None).unwrap();
        std::os::unix::fs::symlink("real", &own).unwrap();
        std::os::unix::fs::lchown(&own, Some(4711), None).unwrap();
        refused("it belongs to another user (uid 4711)");
    }
}

#[test]
fn only_the_very_wheels_of_the_list_are_installed() {
    if !lacks_pytest() {
        return skip(Need::Fetching, "this machine's Python has pytest itself, or no pip");
    }
    let forge = "import re, sys, zipfile
for line in open(sys.argv[1]):
    match = re.match(r'([\\w-]+)==([\\d.]+)', line)
    if match:
        name, version = match[1].replace('-', '_'), match[2]
        with zipfile.ZipFile(f'{sys.argv[2]}/{name}-{version}-py3-none-any.whl', 'w') as wheel:
            info = f'{name}-{version}.dist-info'
            wheel.writestr(f'{name}.py', 'print(1)')
            wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')
            wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
            wheel.writestr(f'{info}/RECORD', '')
";
    let place = Place::passing();
    fs::create_dir(place.path("index")).unwrap();
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/src/backend/packages.txt");
    let forged = Command::new("python3")
        .args(["-c", forge, list])
        .arg(place.path("index"))
        .status();
    assert!(forged.unwrap().success());
    let cache = tempfile::tempdir().unwrap();
    let err = sweep(&place, cache.path(), &[]).exits(1).err();
    assert!(
        err.contains("failed to fetch pytest") && !place.path("logs").exists(),
        "{err}"
    );
    let kept = fs::read_dir(cache.path().join("reproduce-flaky/python"))
        .unwrap()
        .count();
    assert_eq!(kept, 0, "nothing of it stays");
}

#[test]
fn what_is_no_wheel_does_not_run_its_setup() {
    if !lacks_pytest() {
        return skip(Need::Fetching, "this machine's Python has pytest itself, or no pip");
    }
    let place = Place::passing();
    fs::create_dir_all(place.path("evil-1.0")).unwrap();
    fs::create_dir(place.path("index")).unwrap();
    let mark = place.path("pwned").display().to_string();
    let setup =
        format!("open({mark:?}, 'w').close()\nfrom setuptools import setup\nsetup(name='evil', version='1.0')\n");
    fs::write(place.path("evil-1.0/setup.py"), setup).unwrap();
    fs::write(place.path("requirements.txt"), "evil==1.0\n").unwrap();
    // Modules of the directory under test are not Python's own.
    fs::write(place.path("json.py"), format!("open({mark:?}, 'w').close()\n")).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "index/evil-1.0.tar.gz", "evil-1.0"])
        .current_dir(place.dir.path())
        .status();
    assert!(packed.unwrap().success());
    let cache = tempfile::tempdir().unwrap();
    let err = sweep(&place, cache.path(), &["--host-requirements", "requirements.txt"])
        .exits(1)
        .err();
    assert!(err.contains("failed to fetch") && err.contains("evil"), "{err}");
    assert!(!place.path("pwned").exists());
}
