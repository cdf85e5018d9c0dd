//! Bundles that somebody has made or cut by hand, and what is never let in.

use std::fs;
use std::path::Path;

use super::unpacked;
use crate::cli::Place;

/// A bundle with these entries: kind, path, link or text.
fn forged(path: &Path, entries: &[(tar::EntryType, &str, &str)]) {
    let encoder = zstd::Encoder::new(fs::File::create(path).unwrap(), 1).unwrap();
    let mut archive = tar::Builder::new(encoder);
    for (kind, name, text) in entries {
        let mut header = tar::Header::new_gnu();
        // Set by hand: the builder itself would refuse what is to be refused here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        let is_link = kind.is_symlink() || kind.is_hard_link();
        header.set_size(if is_link { 0 } else { text.len() as u64 });
        if is_link {
            header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        archive
            .append(&header, if is_link { &b""[..] } else { text.as_bytes() })
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}

const MANIFEST: &str = r#"{"format":1,"tool":"x","made_at":"2026-01-01T00:00:00Z","sweeps":[],"signatures":[]}"#;
const CLOSING: &str = r#"{"format":1,"files":1,"redacted":{},"not_looked_for":[],"left_out":[]}"#;
const ROOT: &str = "reproduce-flaky-bundle";

#[test]
fn nothing_but_plain_files_in_their_places_is_let_in() {
    use tar::EntryType as Kind;
    let place = Place::passing();
    let (manifest, closing) = (format!("{ROOT}/manifest.json"), format!("{ROOT}/redacted.json"));
    let run = |rest: &str| format!("{ROOT}/logs/n4/run001/{rest}");
    let check = |words: &str, middle: &[(Kind, &str, &str)], more: &[&str]| {
        let first = (Kind::Regular, manifest.as_str(), MANIFEST);
        let good_name = run("run.log");
        let good = (Kind::Regular, good_name.as_str(), "1 passed");
        let last = (Kind::Regular, closing.as_str(), CLOSING);
        forged(&place.path("x.tar.zst"), &[&[first, good], middle, &[last]].concat());
        let ran = place.run(&[&["import", "x.tar.zst", "--logs-dir", "in"], more].concat());
        let (code, err) = if words.is_empty() {
            (0, ran.exits(0).err())
        } else {
            (1, ran.exits(1).err())
        };
        assert!(err.contains(words), "{words}: {err}");
        if code == 1 {
            assert!(err.starts_with("error: failed to import `x.tar.zst`: "), "{err}");
            let left: Vec<_> = fs::read_dir(place.path("in"))
                .map(|dir| dir.flatten().collect())
                .unwrap_or_default();
            assert!(left.is_empty(), "{words}: {left:?}");
        }
    };
    let up = format!("{ROOT}/logs/n4/run001/../../../../escaped");
    check("leads out of it", &[(Kind::Regular, &up, "x")], &[]);
    check("leads out of it", &[(Kind::Regular, "/escaped", "x")], &[]);
    check("leads out of it", &[(Kind::Regular, "../escaped", "x")], &[]);
    for kind in [
        Kind::Symlink,
        Kind::Link,
        Kind::Char,
        Kind::Block,
        Kind::Fifo,
        Kind::GNUSparse,
        Kind::XGlobalHeader,
    ] {
        check("is no plain file", &[(kind, &run("link"), "/etc/passwd")], &[]);
    }
    check("has no place in a bundle", &[(Kind::Regular, "elsewhere/x", "x")], &[]);
    for stray in [
        "logs/n4/evil.sh",
        "logs/.hidden/run001/run.log",
        "logs/n4/run1/run.log",
        "logs/n4/.claims/1.lock",
        "logs/n4/.attempts/run001.x-1/run.log",
        "logs/n4/.attempts/run001.retried-01/run.log",
        "logs/n4/.attempts/run001.retried-1",
        "bin/x",
    ] {
        check(
            "has no place in a bundle",
            &[(Kind::Regular, &format!("{ROOT}/{stray}"), "x")],
            &[],
        );
    }
    check(
        "a file in it has two names",
        &[(Kind::GNULongName, "a", &run("x")), (Kind::GNULongName, "b", &run("y"))],
        &[],
    );
    let empty = run("empty/");
    check(
        "more than 100000 directories",
        &vec![(Kind::Directory, empty.as_str(), ""); 100_001],
        &[],
    );
    check("stands there twice", &[(Kind::Regular, &run("run.log"), "x")], &[]);
    check("stands there twice", &[(Kind::Regular, &run("run.log/x"), "x")], &[]);
    let large = "x".repeat(3 << 20);
    check(
        "larger than the 1 MiB that are allowed",
        &[(Kind::Regular, &run("large"), &large)],
        &["--max-size", "1m"],
    );
    check("", &[(Kind::Directory, &run("empty/"), "")], &[]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(place.path("in/n4/run001/run.log")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o7133, 0, "{mode:o}");
    assert!(!place.path("escaped").exists() && !place.path("in/escaped").exists());
}

#[test]
fn what_fills_the_last_block_of_an_archive_is_nothing_but_zeros() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    place.run(&["export", "logs", "-o", "good.tar.zst"]).exits(0);
    let tar = unpacked(&place.path("good.tar.zst"));
    let import = |padding: &[u8]| {
        let bytes = zstd::encode_all(&[&tar[..], padding].concat()[..], 1).unwrap();
        fs::write(place.path("bad"), bytes).unwrap();
        place.run(&["import", "bad", "--logs-dir", "in"])
    };
    for padding in [b"payload".to_vec(), vec![0; (1 << 20) + 1]] {
        let err = import(&padding).exits(1).err();
        assert!(err.contains("something follows its end"), "{err}");
    }
    import(&[0; 9216]).exits(0);
}

#[test]
fn what_is_no_bundle_or_only_a_part_of_one_is_said_to_be() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    place.run(&["export", "logs", "-o", "good.tar.zst"]).exits(0);
    let good = fs::read(place.path("good.tar.zst")).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let newer = MANIFEST.replace("\"format\":1", "\"format\":2");
    for (bytes, words) in [
        (b"nonsense".to_vec(), "failed to import `bad`: "),
        (Vec::new(), "failed to import `bad`: "),
        (good[..good.len() / 2].to_vec(), "failed to import `bad`: "),
        (flipped, "failed to import `bad`: "),
        // What no checksum of the bundle covers: another frame, one that is to be skipped, bytes.
        ([&good[..], &good[..]].concat(), "something follows its end"),
        (
            [&good[..], &zstd::encode_all(&b"more"[..], 1).unwrap()].concat(),
            "something follows its end",
        ),
        (
            [&good[..], &b"\x50\x2a\x4d\x18\x01\0\0\0x"[..]].concat(),
            "something follows its end",
        ),
        ([&good[..], &b"x"[..]].concat(), "something follows its end"),
    ] {
        fs::write(place.path("bad"), bytes).unwrap();
        let err = place.run(&["import", "bad", "--logs-dir", "in"]).exits(1).err();
        assert!(err.contains(words), "{err}");
    }
    let manifest = format!("{ROOT}/manifest.json");
    let log = format!("{ROOT}/logs/n4/run001/run.log");
    let file = tar::EntryType::Regular;
    for (entries, words) in [
        (vec![(file, log.as_str(), "x")], "does not begin with its manifest.json"),
        (
            vec![(file, manifest.as_str(), newer.as_str())],
            "it has format 2, which this version does not know",
        ),
        (
            vec![(file, manifest.as_str(), "[]")],
            "its manifest.json does not read as one",
        ),
        (
            vec![(file, manifest.as_str(), MANIFEST), (file, log.as_str(), "x")],
            "it is cut short",
        ),
    ] {
        forged(&place.path("bad"), &entries);
        let err = place.run(&["import", "bad", "--logs-dir", "in"]).exits(1).err();
        assert!(err.contains(words), "{words}: {err}");
    }
    place.run(&["import", ".", "--logs-dir", "in"]).exits(1);
    place.run(&["import", "absent", "--logs-dir", "in"]).exits(1);
    let left: Vec<_> = fs::read_dir(place.path("in"))
        .map(|dir| dir.flatten().collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}
