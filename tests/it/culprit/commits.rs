//! Searches among the commits of a repository.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{LOCAL, json, recorded};
use crate::cli::{Place, Ran, search_path};

/// Fails from a commit on in 30 % of the runs, drawn by commit and iteration; at one commit always otherwise.
const SUITE: &str = r#"import os, random, pathlib

COMMIT = int(pathlib.Path("COMMIT").read_text())

def test_pool():
    if COMMIT == 21:
        assert 1 == 2
    drawn = random.Random(f"{os.environ['SEED']}/{COMMIT}/{os.environ['REPRODUCE_FLAKY_ITERATION']}").random()
    if COMMIT >= int(os.environ["FROM"]) and drawn < 0.3:
        raise AssertionError("Router 1 has 78 events, Standalone A has 71 events")
"#;

const BUILD: &str = "import os, pathlib, sys
if 'BUILDS' in os.environ:
    with open(os.environ['BUILDS'], 'a') as builds:
        builds.write(pathlib.Path('COMMIT').read_text() + ' ')
if pathlib.Path('COMMIT').read_text() == '11':
    sys.exit('pool.c:7: error: expected an expression')
pathlib.Path('built').write_text('')
";

fn git(place: &Place, words: &[&str]) -> String {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(words)
        .current_dir(place.dir.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A repository whose first commit is followed by so many more, each with its number in a file and a tag `c7`.
fn repository(n: u32) -> Place {
    repository_of(n, SUITE)
}

fn repository_of(n: u32, suite: &str) -> Place {
    let place = Place::new(&[
        ("test_pool.py", suite),
        ("build.py", BUILD),
        ("reproduce-flaky.toml", "before = [\"python3\", \"build.py\"]\n"),
        (".gitignore", "logs\nbuilt\n__pycache__\n"),
        ("docs/page", ""),
    ]);
    git(&place, &["init", "-q"]);
    for commit in 0..=n {
        fs::write(place.path("COMMIT"), commit.to_string()).unwrap();
        git(&place, &["add", "-A"]);
        git(&place, &["commit", "-q", "-m", &format!("pool: step {commit}")]);
        git(&place, &["tag", &format!("c{commit}")]);
    }
    place
}

fn search(place: &Place, seed: u64, from: u32, more: &[&str]) -> Ran {
    let (seed, from) = (format!("SEED={seed}"), format!("FROM={from}"));
    let own = ["-E", &seed, "-E", &from, "test_pool.py"];
    place.run(&[&["culprit", "--of", "A2"], &LOCAL[..], &own, &["--commits"], more].concat())
}

fn name(place: &Place, revision: &str) -> String {
    git(place, &["rev-parse", "--short=12", revision])
}

/// Runs after which each seed named the commit, where it was found; its confirmation comes on top.
fn found_by(seeds: impl Iterator<Item = u64>) -> Vec<Option<u64>> {
    let place = repository(32);
    let of_seed = |seed| {
        // Never the commit that fails always otherwise: nothing tells it from the next one.
        let from = u32::try_from(3 + 3 * seed % 29 + u64::from(seed == 6)).unwrap();
        let tag = format!("seed{seed}");
        let ran = search(&place, seed, from, &["c0..c32", "-t", &tag, "--format", "json"]);
        let found = json(&ran);
        let left_out = found["candidates"].as_array().unwrap().iter();
        for one in left_out.filter(|one| one["left_out"].is_string()) {
            let title = one["title"].as_str().unwrap();
            assert!(["pool: step 11", "pool: step 21"].contains(&title), "{found}");
        }
        let search = place.path(&format!("logs/culprit_seed{seed}"));
        assert_eq!(
            usize::try_from(found["runs"].as_u64().unwrap()).unwrap(),
            recorded(&search)
        );
        fs::remove_dir_all(search).unwrap();
        let confirmed = 2 * found["confirmation"]["blocks"].as_u64().unwrap_or(0);
        let runs = found["runs"].as_u64().unwrap() - confirmed;
        (found["culprit"] == name(&place, &format!("c{from}"))).then_some(runs)
    };
    seeds.map(of_seed).collect()
}

#[test]
fn among_32_commits_the_one_is_found_with_which_the_suite_began_to_fail_in_30_percent() {
    let found = found_by([1].into_iter());
    assert!(
        found.iter().all(|runs| runs.is_some_and(|runs| runs <= 120)),
        "{found:?}"
    );
}

#[test]
fn it_is_found_in_120_runs_by_nine_seeds_of_ten() {
    if !crate::place::night() {
        return;
    }
    let found = found_by(1..=10);
    let good = found.iter().flatten().filter(|runs| **runs <= 120).count();
    assert!(good >= 9, "{found:?}");
}

#[test]
fn each_commit_is_built_once_in_a_worktree_of_its_own_and_one_that_does_not_build_is_named() {
    let place = repository(12);
    // Every run of 11 and 12 fails in A2 or does not build.
    let suite = SUITE.replace("< 0.3", "< 1");
    fs::write(place.path("test_pool.py"), suite).unwrap();
    git(&place, &["commit", "-qam", "pool: fails always"]);
    let ran = search(&place, 1, 0, &["c9..", "--format", "json"]).exits(0);
    let found = json(&ran);
    let last = name(&place, "HEAD");
    let candidates = found["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 5, "{found}");
    assert_eq!(found["culprit"], last.as_str(), "{found}");
    let eleventh = candidates.iter().find(|one| one["title"] == "pool: step 11").unwrap();
    let why = eleventh["left_out"]
        .as_str()
        .unwrap_or("does not build, and was not visited: error: expected an expression");
    assert!(
        why.contains("does not build") && why.contains("error: expected an expression"),
        "{why}"
    );
    let trees = place.path("logs/culprit_A2/.worktrees");
    assert!(trees.join(&last).join("built").is_file() && !place.path("built").exists());
    assert_eq!(
        git(
            &place,
            &[
                "-C",
                trees.join(&last).to_str().unwrap(),
                "rev-parse",
                "--short=12",
                "HEAD"
            ]
        ),
        last
    );
    // What is built is not built again, also for a search that goes on.
    fs::remove_file(trees.join(&last).join("built")).unwrap();
    let words = search(&place, 1, 0, &["c9.."]).exits(0).out();
    let sentence = format!("A2 came with {last} \"pool: fails always\" (");
    assert!(
        words.starts_with(&sentence) && words.contains(" up to its parent, "),
        "{words}"
    );
    assert!(words.contains(&format!("git show {last}")), "{words}");
    assert!(!trees.join(&last).join("built").exists());
}

#[test]
fn two_processes_share_one_search_build_no_commit_twice_and_run_no_block_twice() {
    let place = repository_of(8, &SUITE.replace("< 0.3", "< 0.8"));
    let words = [
        &[
            "culprit",
            "--of",
            "A2",
            "--commits",
            "c0..c8",
            "--format",
            "json",
            "-E",
            "SEED=1",
            "-E",
            "FROM=5",
        ],
        &LOCAL[..],
        &["test_pool.py"],
    ]
    .concat();
    let builds = place.dir.path().with_extension("builds");
    let both = [(); 2].map(|()| {
        let mut command = place.command(&words);
        command
            .env("BUILDS", &builds)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    let found = both.map(|child| json(&Ran::of(child.wait_with_output().unwrap()).exits(0)));
    let built = fs::read_to_string(&builds).unwrap();
    fs::remove_file(&builds).unwrap();
    let mut built: Vec<&str> = built.split_whitespace().collect();
    let all = built.len();
    built.sort_unstable();
    built.dedup();
    assert!(built.len() == all && all > 2, "{built:?} of {all}");
    let fifth = name(&place, "c5");
    for one in &found {
        assert_eq!(one["culprit"], fifth.as_str(), "{one}");
    }
    let mut sides = Vec::new();
    let search = place.path("logs/culprit_A2");
    for run in fs::read_dir(&search)
        .unwrap()
        .flatten()
        .flat_map(|sweep| fs::read_dir(sweep.path()).into_iter().flatten())
    {
        let Ok(exit) = fs::read(run.unwrap().path().join("exit.json")) else {
            continue;
        };
        let exit: Value = serde_json::from_slice(&exit).unwrap();
        let part = &exit["conditions"]["culprit"];
        if part["stage"] == "confirm" {
            sides.push(part.to_string());
        }
    }
    let all = sides.len();
    sides.sort();
    sides.dedup();
    assert!(sides.len() == all && all >= 10, "{sides:?} of {all}");
}

#[test]
fn git_bisect_run_finds_the_commit_and_skips_one_that_does_not_build() {
    let place = repository_of(16, &SUITE.replace("< 0.3", "< 1"));
    git(&place, &["bisect", "start", "c16", "c6"]);
    let tool = env!("CARGO_BIN_EXE_reproduce-flaky");
    let probe = ["culprit", "probe", "--of", "A2", "--times", "2"];
    let more = ["-E", "SEED=1", "-E", "FROM=14", "test_pool.py"];
    let mut command = Command::new("git");
    command.args(["bisect", "run", tool]).args(probe).args(LOCAL).args(more);
    let ran = command
        .current_dir(place.dir.path())
        .env("PATH", search_path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let ran = Ran::of(ran).exits(0);
    assert_eq!(
        git(&place, &["rev-parse", "bisect/bad"]),
        git(&place, &["rev-parse", "c14"])
    );
    let log = git(&place, &["bisect", "log"]);
    assert!(log.contains("] pool: step 11") && log.contains("# skip: ["), "{log}");
    let said = ran.out() + &ran.err();
    for words in [
        "note: a commit that fails in 3 % of the runs passes 2 runs by luck in 94.1 % of cases, and git believes it",
        "the command of `before`, failed: exit status: 1",
        "bad: ",
        ", none failed in A2",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_probe_never_takes_its_own_trouble_for_the_commits() {
    let probe = |place: &Place, more: &[&str]| {
        place.run(&[&["culprit", "probe", "--of", "A2", "--backend", "local"], more].concat())
    };
    let place = repository(1);
    for (words, code, said) in [
        (&["--nope"][..], 128, "unexpected argument"),
        (&["--until", "A2"], 128, "error: --until has no place here"),
        (&["-t", "a/b", "test_pool.py"], 128, "error: invalid"),
        (&["absent.py::test_a"], 125, "it has no `absent.py::test_a`"),
    ] {
        let err = probe(&place, words).exits(code).err();
        assert!(err.contains(said), "{words:?}: {err}");
    }
    let bare = Place::new(&[("test_pool.py", SUITE)]);
    let err = probe(&bare, &["test_pool.py"]).exits(128).err();
    assert!(err.contains("not a git repository"), "{err}");
}

#[test]
fn only_commits_that_touch_the_paths_are_candidates() {
    let place = repository(3);
    fs::write(place.path("docs/page"), "words").unwrap();
    git(&place, &["commit", "-qam", "docs: words"]);
    let listed = |more: &[&str]| -> Vec<String> {
        let words = [
            &["culprit", "--of", "A2", "--dry-run", "--backend", "local", "--commits"],
            more,
        ]
        .concat();
        let err = place.run(&words).exits(0).err();
        let all = err
            .lines()
            .filter_map(|line| line.split_once("  pool: ").or(line.split_once("  docs: ")));
        all.map(|(_, subject)| subject.to_owned()).collect()
    };
    assert_eq!(listed(&["c1..HEAD"]), ["step 1", "step 2", "step 3", "words"]);
    assert_eq!(
        listed(&["c1..HEAD", "--paths", "--", "COMMIT"]),
        ["step 1", "step 2", "step 3"]
    );
    assert_eq!(listed(&["c1..HEAD", "--paths", "--", "docs"]), ["step 1", "words"]);
}

#[test]
fn a_range_that_is_none_is_refused_in_words() {
    let place = repository(2);
    git(&place, &["checkout", "-q", "-b", "side", "c1"]);
    git(&place, &["commit", "-q", "--allow-empty", "-m", "side"]);
    fs::write(place.path("COMMIT"), "5").unwrap();
    for (words, said) in [
        (
            &["c2..c2"][..],
            "error: no commit lies between `c2` and `c2`: they are the same one",
        ),
        (
            &["c2..c0"],
            "error: `c2` comes after `c0`\nhint: the good end stands first: --commits c0..c2",
        ),
        (&["side..c2"], "error: `side` is no ancestor of `c2`"),
        (&["c0..nosuch"], "error: git knows no commit `nosuch` here"),
        (&["--upload-pack=x..c2"], "unexpected argument"),
        (&["..c2"], "error: invalid range `..c2`"),
        (&["c0..c2", "--paths"], "error: --paths names none"),
        (
            &["c0..c2", "--paths", "--", "absent"],
            "error: no commit of `c0..c2` touches absent",
        ),
    ] {
        let err = search(&place, 1, 1, words).exits(2).err();
        assert!(err.contains(said), "{words:?}: {err}");
    }
    let ran = search(&place, 1, 1, &["c0..c2", "--dry-run"]).exits(0);
    assert!(
        ran.err()
            .contains("note: changes here that are not committed are in none of the candidates"),
        "{}",
        ran.err()
    );
    assert!(!place.path("logs").exists());
}
