//! The rules of the house: which room may import what, and who may touch the disk.

mod documents;
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use imports::imports;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A Rust file of the project.
struct File {
    /// Path from the root of the repository.
    name: String,
    text: String,
}

impl File {
    /// Every Rust file below a directory, by name.
    fn below(dir: &str) -> Vec<File> {
        let mut found = Vec::new();
        let mut open = vec![root().join(dir)];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root()).unwrap().display().to_string();
                    let text = fs::read_to_string(&path).unwrap();
                    found.push(File { name, text });
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(!found.is_empty(), "no Rust file below {dir}");
        found
    }

    /// The first part of the path below `src/`: `judge` for `src/judge.rs` and for `src/judge/exit.rs`.
    fn room(&self) -> &str {
        let below = self.name.strip_prefix("src/").unwrap();
        below.split(['/', '.']).next().unwrap()
    }

    fn is_in(&self, place: &str) -> bool {
        let rest = self.name.strip_prefix(&format!("src/{place}"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    }

    /// Lines of code with their numbers, without comments and without the unit tests at the foot: prose and tests may
    /// name what code may not use.
    fn code(&self) -> Vec<(usize, &str)> {
        if self.name.ends_with("/tests.rs") {
            return Vec::new();
        }
        let code = self
            .text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or(&self.text);
        let lines = code.lines().map(|line| line.split("//").next().unwrap_or(""));
        (1..).zip(lines).collect()
    }
}

/// What a file does against a rule.
#[derive(Clone)]
struct Violation {
    rule: Rule,
    file: String,
    line: usize,
    /// The word or room that has no place there.
    what: String,
}

impl Violation {
    fn is_excepted(&self) -> bool {
        EXCEPTIONS.lines().any(|line| self.is_excepted_by(line))
    }

    fn is_excepted_by(&self, exception: &str) -> bool {
        let mut words = exception.splitn(4, ' ');
        let (rule, file, what) = (words.next(), words.next(), words.next());
        rule == Some(self.rule.0) && file == Some(&self.file) && [Some("*"), Some(self.what.as_str())].contains(&what)
    }
}

/// Fails with a line for each violation that is no exception: file, line, rule, and what has no place there.
#[track_caller]
fn hold(found: Vec<Violation>) {
    let lines: Vec<String> = found
        .into_iter()
        .filter(|violation| !violation.is_excepted())
        .map(|Violation { rule, file, line, what }| format!("{file}:{line}: {}: {what}", rule.1))
        .collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

/// Uses of words in files where they have no place.
fn uses(rule: Rule, words: &[&str], is_forbidden_in: impl Fn(&File) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in File::below("src").into_iter().filter(is_forbidden_in) {
        for (line, text) in file.code() {
            for word in words.iter().filter(|word| text.contains(**word)) {
                found.push(Violation {
                    rule,
                    file: file.name.clone(),
                    line,
                    what: (*word).to_owned(),
                });
            }
        }
    }
    found
}

/// A rule: the word for it in the list of exceptions, and the sentence.
type Rule = (&'static str, &'static str);

const PURE: Rule = ("pure", "judge, stats and report touch nothing outside");
const HOMES: Rule = ("homes", "each outside crate has one home");
const DISK: Rule = ("disk", "what is on disk is touched in run/ alone");
const NAMES: Rule = ("names", "names of files are known in run/ alone");
const FLOORS: Rule = ("floors", "a room imports only rooms below it");
const LENGTH: Rule = ("length", "a file has at most 400 lines");

/// What is not so yet, or is meant to be otherwise, a line each: rule, file, word (`*`: any), reason.
const EXCEPTIONS: &str = "
disk src/commands/demo.rs * the suite of the demonstration
disk src/commands/signatures.rs * signature files of the user
disk src/commands/summary.rs * the file that --output names
disk src/backend/packages.rs * the tool's cache
disk src/backend/host.rs * this machine's system directories
disk src/backend/docker/address.rs * Docker's own settings
disk src/backend/docker/images.rs * the archive that --image-tar names
disk src/proc.rs * /proc
disk src/backend/docker/gate.rs File::open the kernel's random bytes
disk src/backend/docker/ownership.rs chown( the program that a container's root runs
";

fn impure() -> Vec<Violation> {
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "tokio",
        "bollard",
        "indicatif",
        "clap",
        "Utc::now",
        "Local::now",
        "Instant",
        "SystemTime",
        "async fn",
        "stdout()",
        "stderr()",
        "rayon",
        "tempfile",
        "fs2",
        "rustix",
    ];
    uses(PURE, &words, |file| ["judge", "stats", "report"].contains(&file.room()))
}

#[test]
fn the_pure_rooms_touch_nothing_outside() {
    hold(impure());
}

fn strayed() -> Vec<Violation> {
    let in_docker = |file: &File| file.name.starts_with("src/backend/docker");
    let mut found = uses(HOMES, &["bollard"], |file| !in_docker(file));
    // A flag whose value is recorded with the sweep is declared on the field that is recorded.
    found.extend(uses(HOMES, &["clap::", "clap_"], |file| {
        !["cli", "commands", "main", "spec"].contains(&file.room())
    }));
    found.extend(uses(HOMES, &["indicatif"], |file| {
        !file.is_in("sweep/display/progress")
    }));
    found.extend(uses(HOMES, &["ratatui"], |file| !file.is_in("sweep/display/follow")));
    found.extend(uses(HOMES, &["fs2"], |file| file.room() != "run"));
    found.extend(uses(HOMES, &["println!", "print!("], |file| {
        !(["main", "commands"].contains(&file.room()) || file.is_in("sweep/display"))
    }));
    found
}

#[test]
fn each_outside_crate_has_one_home() {
    hold(strayed());
}

/// A session is hostile and owns what lies in its directory while it lives. Opening by path follows whatever link lies
/// there, so that everything about a run goes through the one directory descriptor of `run/`.
fn touching_the_disk() -> Vec<Violation> {
    let words = [
        "fs::write",
        "fs::copy",
        "fs::read(",
        "fs::read_to_string",
        "fs::read_dir",
        "fs::rename",
        "fs::remove",
        "fs::set_permissions",
        "File::create",
        "File::open",
        "create_dir",
        "OpenOptions",
        "DirBuilder",
        "chown(",
    ];
    uses(DISK, &words, |file| file.room() != "run")
}

#[test]
fn what_is_on_disk_is_touched_in_one_room() {
    hold(touching_the_disk());
}

fn naming_files() -> Vec<Violation> {
    let names = [
        "sweep.json",
        "exit.json",
        "outcome.json",
        "results.txt",
        "results.csv",
        "events.jsonl",
        "summary.txt",
        "pytest.log",
        ".exit_code",
        ".attempts",
        ".claims",
        ".lock",
        ".replays",
        "autopsy",
        "lost.txt",
    ];
    let words: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    uses(NAMES, &words, |file| file.room() != "run")
}

#[test]
fn names_of_files_are_known_in_one_room() {
    hold(naming_files());
}

/// Rooms by floor, the lowest first. Rooms of one floor do not know each other either.
const ROOMS: [&[&str]; 10] = [
    &["spec", "exit_code", "failpoint", "proc", "timings"],
    &["judge", "engine", "cli"],
    &["stats"],
    &["report"],
    &["run"],
    // What is taken from a session lands in the run's directory, which is the room below.
    &["backend"],
    &["sweep"],
    &["message"],
    &["commands"],
    &["main", "lib"],
];

fn floor(room: &str) -> usize {
    let floor = ROOMS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("`{room}` is on no floor of the house: name it in ROOMS"))
}

fn importing_upwards() -> Vec<Violation> {
    let mut found = Vec::new();
    for file in File::below("src") {
        let lines: Vec<&str> = file.code().into_iter().map(|(_, text)| text).collect();
        for (line, room) in imports(&lines.join("\n")) {
            if room != file.room() && floor(&room) >= floor(file.room()) {
                found.push(Violation {
                    rule: FLOORS,
                    file: file.name.clone(),
                    line,
                    what: room,
                });
            }
        }
    }
    found
}

#[test]
fn rooms_import_only_downwards() {
    hold(importing_upwards());
}

fn too_long() -> Vec<Violation> {
    let mut found = Vec::new();
    for file in File::below("src") {
        // Unit tests stand at the foot and are read apart.
        let lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > 400 {
            found.push(Violation {
                rule: LENGTH,
                line: 401,
                what: format!("{lines}"),
                file: file.name,
            });
        }
    }
    found
}

#[test]
fn files_are_named_for_what_they_own_and_are_no_longer_than_can_be_read() {
    for file in File::below("src") {
        let stem = Path::new(&file.name).file_stem().unwrap().to_str().unwrap();
        let is_named = !["util", "utils", "helpers", "common", "types", "manager", "misc"].contains(&stem);
        assert!(is_named, "{}", file.name);
    }
    hold(too_long());
}

#[test]
fn every_exception_is_still_needed() {
    let found = [
        impure(),
        strayed(),
        touching_the_disk(),
        naming_files(),
        importing_upwards(),
        too_long(),
    ]
    .concat();
    let stale: Vec<&str> = EXCEPTIONS
        .lines()
        .filter(|line| !line.is_empty() && found.iter().all(|violation| !violation.is_excepted_by(line)))
        .collect();
    assert!(stale.is_empty(), "needed no more:\n{}", stale.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    // Put together here so that this file does not find itself.
    let words = ["todo!", "unimplemented!", "TODO", "FIXME", "#[ignore", "#[allow("].map(str::to_owned);
    for File { name, text } in File::below("src").into_iter().chain(File::below("tests")) {
        if name == "tests/it/tidy.rs" {
            continue;
        }
        for word in &words {
            assert!(!text.contains(word), "{name} has `{word}`");
        }
    }
}
