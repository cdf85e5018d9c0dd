use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::beneath::step_by_step;
use super::*;

/// A directory, and another one beside it that nothing in the first may reach.
fn place() -> (tempfile::TempDir, RunDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "untouched").unwrap();
    fs::create_dir(place.path().join("run")).unwrap();
    let dir = RunDir::open(&place.path().join("run")).unwrap();
    (place, dir, outside)
}

fn pipe(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

#[test]
fn nothing_outside_is_read_or_written_through_a_link_of_any_kind() {
    let (_place, dir, outside) = place();
    let secret = outside.join("secret");
    symlink(&secret, dir.path().join("file")).unwrap();
    symlink(&outside, dir.path().join("dir")).unwrap();
    for below in [
        "file",
        "dir/secret",
        "../outside/secret",
        "/etc/passwd",
        "run/../../outside/secret",
    ] {
        assert!(
            dir.read(below, LARGEST).is_err() || dir.read(below, LARGEST).unwrap().is_none(),
            "{below}"
        );
        assert!(dir.file(below).is_err(), "{below}");
        assert!(
            step_by_step(dir.as_fd(), Path::new(below), OFlags::NOFOLLOW, Mode::empty()).is_err(),
            "{below}"
        );
    }
    assert!(dir.dir("dir").is_err() && dir.dir("..").is_err());
    assert!(dir.append("file", b"x\n").is_err());
    assert!(dir.new_file("file").is_err() && dir.make_dir("dir", 0o755).is_err());
    assert!(dir.ensure_dir("dir", 0o755).is_err());
    assert!(dir.lock_file("file").is_err());
    assert!(dir.replace("../outside/secret", b"ours").is_err());
    dir.replace("file", b"ours").unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
    assert_eq!(dir.read("file", LARGEST).unwrap().unwrap(), b"ours");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn pipes_and_directories_are_no_files_and_do_not_block() {
    let (_place, dir, _) = place();
    pipe(&dir.path().join("pipe"));
    fs::create_dir(dir.path().join("sub")).unwrap();
    for name in ["pipe", "sub"] {
        assert!(dir.file(name).is_err() && dir.read(name, LARGEST).is_err(), "{name}");
        assert!(
            dir.append(name, b"x").is_err() && dir.lock_file(name).is_err(),
            "{name}"
        );
    }
    let null = rustix::fs::makedev(1, 3);
    let device = dir.path().join("null");
    if rustix::fs::mknodat(
        CWD,
        &device,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        null,
    )
    .is_ok()
    {
        assert!(dir.file("null").is_err());
    }
}

#[test]
fn the_directory_stays_the_same_when_another_one_takes_its_name() {
    let (place, dir, outside) = place();
    assert!(dir.is_in_place());
    fs::rename(dir.path(), place.path().join("moved")).unwrap();
    assert!(!dir.is_in_place());
    symlink(&outside, dir.path()).unwrap();
    assert!(!dir.is_in_place());
    dir.replace("exit.json", b"{}").unwrap();
    dir.set_mode(0o700).unwrap();
    assert!(place.path().join("moved/exit.json").is_file() && !outside.join("exit.json").exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.path().join("moved")), mode(&outside)), (0o700, 0o755));
}

#[test]
fn a_file_is_read_up_to_a_limit_and_its_end_without_the_rest() {
    let (_place, dir, _) = place();
    dir.replace("log", &[b'x'; 1000]).unwrap();
    assert_eq!(dir.read("log", 1000).unwrap().unwrap().len(), 1000);
    assert_eq!(dir.read("log", 999).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(dir.read("none", 9).unwrap(), None);
    let (end, length) = dir.tail("log", 10).unwrap();
    assert_eq!((end.len(), length), (10, 1000));
}

#[test]
fn only_the_first_creation_counts_and_no_temporary_file_stays() {
    let (_place, dir, _) = place();
    assert!(dir.create("sweep.json", b"1").unwrap());
    assert!(!dir.create("sweep.json", b"2").unwrap());
    assert_eq!(dir.read("sweep.json", 9).unwrap().unwrap(), b"1");
    fs::create_dir(dir.path().join("exit.json")).unwrap();
    dir.replace("exit.json", b"{}").unwrap();
    let names: Vec<_> = dir.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["exit.json", "exit.json.from-test-1", "sweep.json"]);
}
