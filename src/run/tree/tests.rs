use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A chain of directories too deep to be named by one path, with a file in the last one.
fn deep(dir: &RunDir, levels: usize) {
    let mut at = dir.make_dir("deep", 0o755).unwrap();
    for _ in 1..levels {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
        at = at.dir("d").unwrap();
    }
    at.new_file("last.log").unwrap();
}

#[test]
fn a_tree_of_twenty_thousand_levels_is_walked_and_removed_on_a_small_stack() {
    // Some disks take a minute for as many directories.
    let place = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let dir = RunDir::open(place.path()).unwrap();
    deep(&dir, 20_000);
    fs::write(place.path().join("other"), "").unwrap();
    std::thread::scope(|scope| {
        let walked = || {
            let mut seen = (0, false);
            walk(&dir, usize::MAX, |level| {
                seen.0 += 1;
                seen.1 |= level.entries.iter().any(|entry| entry.name == "last.log");
                Ok(())
            })
            .unwrap();
            remove(&dir, "deep").unwrap();
            seen
        };
        let small = std::thread::Builder::new().stack_size(64 << 10);
        let seen = small.spawn_scoped(scope, walked).unwrap().join().unwrap();
        assert_eq!(seen, (20_001, true));
    });
    let left: Vec<_> = dir.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(left, ["other"]);
}

#[test]
fn a_walk_enters_no_link_and_no_directory_that_was_taken_out_and_goes_no_deeper_than_asked() {
    let place = tempfile::tempdir().unwrap();
    for path in ["a/b/c", "skipped/x", "z"] {
        fs::create_dir_all(place.path().join(path)).unwrap();
    }
    symlink("/", place.path().join("a/root")).unwrap();
    let dir = RunDir::open(place.path()).unwrap();
    let mut seen = Vec::new();
    walk(&dir, 2, |level| {
        seen.push(level.path.display().to_string());
        level.entries.retain(|entry| entry.name != "skipped");
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["", "a", "a/b", "z"]);
}

#[test]
fn a_copy_has_files_links_and_closed_directories_but_no_pipes_and_nothing_that_runs_as_its_owner() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir_all(from.join("closed/inner")).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("closed/inner/tool"), "#!").unwrap();
    fs::set_permissions(from.join("closed/inner/tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(from.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    fs::write(from.join("left-out"), "").unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, from.join("pipe"), fifo, 0o600.into(), 0).unwrap();
    let (from, target) = (RunDir::open(&from).unwrap(), RunDir::open(&to).unwrap());
    copy(&from, &target, |path| path != "left-out").unwrap();
    let names: Vec<_> = target.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["closed", "link"]);
    let mode = |path: &str| fs::symlink_metadata(to.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("closed"), mode("closed/inner/tool")), (0o555, 0o755));
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    remove(&RunDir::open(place.path()).unwrap(), "to").unwrap();
    remove(&RunDir::open(place.path()).unwrap(), "from").unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn trees_are_the_same_only_where_every_file_and_directory_is() {
    let place = tempfile::tempdir().unwrap();
    let tree = |name: &str, files: &[(&str, &str)]| {
        for (path, text) in files {
            let path = place.path().join(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        RunDir::open(&place.path().join(name)).unwrap()
    };
    let one = tree("one", &[("a/b/c", "text"), ("d", "")]);
    let is_same_as_one = |other: &RunDir| is_same(&one, other, |name| name != "mark").unwrap();
    assert!(is_same_as_one(&one));
    assert!(is_same_as_one(&tree(
        "marked",
        &[("a/b/c", "text"), ("d", ""), ("mark", "x")]
    )));
    for (name, files) in [
        ("text", &[("a/b/c", "Text"), ("d", "")][..]),
        ("length", &[("a/b/c", "text"), ("d", " ")]),
        ("more", &[("a/b/c", "text"), ("a/b/e", ""), ("d", "")]),
        ("fewer", &[("a/b/c", "text")]),
        ("kind", &[("a/b/c", "text"), ("d/e", "")]),
    ] {
        assert!(!is_same_as_one(&tree(name, files)), "{name}");
    }
    // What a link leads to may change.
    let linked = tree("linked", &[("a/b/c", "text")]);
    symlink(place.path().join("one/d"), place.path().join("linked/d")).unwrap();
    assert!(!is_same_as_one(&linked) && !is_same(&linked, &linked, |_| true).unwrap());
}
