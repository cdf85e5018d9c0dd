//! The action and the reusable workflow, with GitHub's runner played: their own steps run with their own shell, artifacts
//! are directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Place, rows, search_path};
use crate::pypi::{checker, conforms};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_action_and_the_workflows_are_what_the_published_schemas_say() {
    let Some(checker) = checker() else { return };
    conforms(
        &checker,
        &["--builtin-schema", "vendor.github-actions"],
        &[root().join("action.yml")],
    );
    let workflows = |dir: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries.collect()
    };
    let mut github = workflows(".github/workflows");
    github.extend([
        root().join("examples/ci/github-nightly.yml"),
        root().join("examples/engines/ci-matrix.yml"),
    ]);
    assert!(github.len() >= 5);
    conforms(&checker, &["--builtin-schema", "vendor.github-workflows"], &github);
    let gitlab = [
        root().join("examples/ci/gitlab-nightly.yml"),
        root().join("examples/ci/gitlab-shards.yml"),
    ];
    conforms(&checker, &["--builtin-schema", "vendor.gitlab-ci"], &gitlab);
    let buildkite = [root().join("examples/ci/buildkite-shards.yml")];
    conforms(&checker, &["--builtin-schema", "vendor.buildkite"], &buildkite);
}

/// A repository whose workflow runs, and what GitHub keeps for it.
struct Github {
    /// The checkout, with a suite.
    place: Place,
    /// What the suite writes, the machines' directories and the artifacts of runs.
    kept: TempDir,
    checker: PathBuf,
}

/// What came of an attempt.
struct Attempt {
    /// Jobs by name, `shard/3` for one of a matrix: `success`, `failure`, `cancelled`, `skipped`.
    jobs: BTreeMap<String, String>,
    said: String,
    /// The page of the run.
    page: String,
}

impl Github {
    /// A suite whose named iterations fail, and whose iteration 5 hangs the first time if asked to.
    fn with(failing: &[u32], hangs: bool) -> Option<Github> {
        let kept = tempfile::tempdir().unwrap();
        let suite = format!(
            "import os, pathlib, time
KEPT = pathlib.Path({kept:?})
NUMBER = int(os.environ['REPRODUCE_FLAKY_ITERATION'])

def test_one():
    with open(KEPT / 'ran', 'a') as ran:
        ran.write(f'{{NUMBER}}\\n')
    if {hangs} and NUMBER == 5 and not (KEPT / 'reached').exists():
        (KEPT / 'reached').touch()
        time.sleep(600)
    assert NUMBER not in {failing:?}, 'one of them'
",
            kept = kept.path().display().to_string(),
            hangs = if hangs { "True" } else { "False" },
        );
        Some(Github {
            place: Place::new(&[("tests/test_one.py", &suite)]),
            kept,
            checker: checker()?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// Artifacts of a run.
    fn artifacts(&self, run: &str) -> PathBuf {
        self.path("runs").join(run)
    }

    /// Plays an attempt of a run; what `more` has is added to the call.
    fn play(&self, file: &str, run: &str, attempt: u32, more: &Value) -> Attempt {
        for dir in [self.artifacts(run), self.path("temp")] {
            fs::create_dir_all(dir).unwrap();
        }
        let _ = fs::remove_file(self.path("temp/summary.md"));
        let mut call = json!({
            "file": root().join(file),
            "root": root(),
            "workspace": self.place.dir.path(),
            "temp": self.path("temp"),
            "artifacts": self.artifacts(run),
            "state": self.path(&format!("state-{run}.json")),
            "inputs": { "arguments": "--backend local -j 3 -- tests" },
            "github": {
                "run_attempt": attempt,
                "run_id": run,
                "repository": "owner/app",
                "workflow_ref": "owner/app/.github/workflows/flaky.yml@refs/heads/main",
                "token": "none",
                "event_name": "schedule",
                "event": { "repository": { "default_branch": "" } },
            },
        });
        for (key, value) in more.as_object().unwrap() {
            match value.as_object().filter(|_| key == "inputs") {
                Some(inputs) => call["inputs"].as_object_mut().unwrap().extend(inputs.clone()),
                None => call[key] = value.clone(),
            }
        }
        fs::write(self.path("call.json"), call.to_string()).unwrap();
        let programs = [
            Path::new(env!("CARGO_BIN_EXE_reproduce-flaky"))
                .parent()
                .unwrap()
                .to_owned(),
            root().join("tests/fixtures/ci"),
        ];
        let path = programs.into_iter().chain(std::env::split_paths(search_path()));
        let output = Command::new("python3")
            .arg(root().join("tests/it/runner.py"))
            .arg(self.path("call.json"))
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("PYTHONPATH", &self.checker)
            .env("RUNS", self.path("runs"))
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let last = said.lines().last().unwrap();
        Attempt {
            jobs: serde_json::from_str(last).unwrap(),
            page: fs::read_to_string(self.path("temp/summary.md")).unwrap_or_default(),
            said: said + &String::from_utf8_lossy(&output.stderr),
        }
    }

    /// The verdicts of the merged sweep that an attempt has kept, by iteration.
    fn verdicts(&self, artifact: &Path) -> BTreeMap<u32, String> {
        let to = tempfile::tempdir_in(self.kept.path()).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xzf")
            .arg(artifact.join("sweeps.tar.gz"))
            .arg("-C")
            .arg(to.path())
            .status();
        assert!(unpacked.unwrap().success());
        let rows = rows(&to.path().join("serial"));
        rows.into_iter()
            .map(|(number, row)| (number, row["verdict"].clone()))
            .collect()
    }

    /// How often each iteration's session was started.
    fn ran(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(self.path("ran")).unwrap().lines() {
            *counts.entry(line.parse().unwrap()).or_default() += 1;
        }
        counts
    }
}

const WORKFLOW: &str = ".github/workflows/flaky-sweep.yml";

#[test]
fn a_cancelled_shard_a_job_run_again_and_a_duplicate_lose_nothing_and_double_nothing() {
    let Some(github) = Github::with(&[8], true) else { return };
    let inputs = json!({ "arguments": "--backend local -- tests", "iterations": 9, "shards": 3, "canary": false });
    let nine: Vec<u32> = (1..=9).collect();

    // The second shard is cancelled in the middle of its second iteration.
    let first = github.play(
        WORKFLOW,
        "100",
        1,
        &json!({ "inputs": inputs, "cancel": { "shard/2": github.path("reached") } }),
    );
    assert_eq!(first.jobs["shard/2"], "cancelled", "{}", first.said);
    assert_eq!(first.jobs["shard/3"], "success", "{}", first.said);
    assert_eq!(first.jobs["report"], "success", "{}", first.said);
    let partial = github.artifacts("100").join("flaky-partial-attempt-1");
    let kept: Vec<u32> = github.verdicts(&partial).into_keys().collect();
    assert_eq!(kept, [1, 2, 3, 4, 7, 8, 9], "{}", first.said);
    assert!(first.page.contains("7 of 9 iterations"), "{}", first.page);

    // That job alone is run again: it goes on where it was.
    let again = json!({ "inputs": inputs, "jobs": ["shard/2", "report"] });
    let second = github.play(WORKFLOW, "100", 2, &again);
    assert_eq!(second.jobs["report"], "success", "{}", second.said);
    let whole = github.verdicts(&github.artifacts("100").join("flaky-sweep-attempt-2"));
    assert_eq!(whole.keys().copied().collect::<Vec<_>>(), nine);
    let failed: Vec<&u32> = whole
        .iter()
        .filter(|(_, verdict)| *verdict == "failed")
        .map(|(number, _)| number)
        .collect();
    assert_eq!(failed, [&8]);
    let ran = github.ran();
    let started: Vec<usize> = nine.iter().map(|number| ran[number]).collect();
    assert_eq!(started, [1, 1, 1, 1, 2, 1, 1, 1, 1]);
    assert!(
        second.page.contains("9 of 9 iterations") && second.page.contains("1/9"),
        "{}",
        second.page
    );

    // The third shard runs as if it had never run: its answers are there twice, and the first ones stay.
    let (there, aside) = (
        github.artifacts("100").join("flaky-shard-3-of-3-attempt-1"),
        github.path("aside"),
    );
    fs::rename(&there, &aside).unwrap();
    let third = github.play(WORKFLOW, "100", 3, &json!({ "inputs": inputs, "jobs": ["shard/3"] }));
    assert_eq!(third.jobs["shard/3"], "success", "{}", third.said);
    assert_eq!(github.ran()[&7], 2);
    fs::rename(&aside, &there).unwrap();
    let third = github.play(WORKFLOW, "100", 3, &json!({ "inputs": inputs, "jobs": ["report"] }));
    assert!(
        third.said.contains("3 left out for an earlier answer"),
        "{}",
        third.said
    );
    assert_eq!(
        github.verdicts(&github.artifacts("100").join("flaky-sweep-attempt-3")),
        whole
    );

    // A shard whose artifact is gone is said, in the page and beside the code.
    fs::remove_dir_all(github.artifacts("100").join("flaky-shard-1-of-3-attempt-1")).unwrap();
    let fourth = github.play(WORKFLOW, "100", 4, &json!({ "inputs": inputs, "jobs": ["report"] }));
    let missing = "shard 1 of 3 is missing: nothing of iterations 1 to 3";
    assert!(fourth.page.contains(missing), "{}", fourth.page);
    assert!(
        fourth.said.contains(&format!("::warning title=flaky::{missing}")),
        "{}",
        fourth.said
    );
    assert!(github.artifacts("100").join("flaky-partial-attempt-4").is_dir());
}

#[test]
fn a_run_that_fails_more_than_the_last_good_one_closes_the_gate_and_leaves_its_evidence() {
    let Some(github) = Github::with(&[], false) else { return };
    let inputs = json!({ "inputs": { "iterations": "6", "canary": "false" } });
    let good = github.play("action.yml", "100", 1, &inputs);
    assert_eq!(good.jobs["action"], "success", "{}", good.said);
    assert!(
        good.said.contains("no run of main has flaky-sweep yet"),
        "{}",
        good.said
    );
    let failing: Vec<u32> = (1..=6).collect();
    let worse = Github::with(&failing, false).unwrap();
    fs::create_dir_all(worse.path("runs")).unwrap();
    fs::rename(github.artifacts("100"), worse.artifacts("100")).unwrap();
    let bad = worse.play("action.yml", "101", 1, &inputs);
    assert_eq!(bad.jobs["action"], "failure", "{}", bad.said);
    assert!(bad.said.contains("-- the step ended with 3"), "{}", bad.said);
    assert!(
        bad.page.contains("Compared with run 100") && bad.page.contains("6/6"),
        "{}",
        bad.page
    );
    assert!(bad.said.contains("::warning title=any fails more::"), "{}", bad.said);
    let report = worse.artifacts("101").join("flaky-report-attempt-1");
    for name in ["report.html", "junit.xml", "failures.tar.zst"] {
        assert!(fs::metadata(report.join(name)).unwrap().len() > 0, "{name}");
    }
}

#[test]
fn a_cause_gets_one_issue_over_the_runs_also_where_the_state_is_lost() {
    let Some(github) = Github::with(&[2], false) else {
        return;
    };
    let inputs = json!({ "inputs": { "iterations": 2, "shards": 1, "canary": false, "track": true } });
    let log = || fs::read_to_string(github.path("runs.issues/log")).unwrap();
    let first = github.play(WORKFLOW, "100", 1, &inputs);
    assert_eq!(first.jobs["report"], "success", "{}", first.said);
    assert!(
        log().starts_with("create 1 flaky: unknown failure U-") && log().ends_with(" in `test_one`\n"),
        "{}",
        log()
    );
    let body = fs::read_to_string(github.path("runs.issues/1.body")).unwrap();
    assert!(
        body.contains("1/2 failed") && body.contains("<!-- flaky-cause-"),
        "{body}"
    );
    github.play(WORKFLOW, "101", 1, &inputs);
    assert_eq!(log().lines().count(), 1);
    let state = |run: &str| github.artifacts(run).join("flaky-track-attempt-1/issues.json");
    let nights: Value = serde_json::from_slice(&fs::read(state("101")).unwrap()).unwrap();
    assert_eq!(nights["nights"].as_array().unwrap().len(), 2);
    for run in ["100", "101"] {
        fs::remove_dir_all(state(run).parent().unwrap()).unwrap();
    }
    github.play(WORKFLOW, "102", 1, &inputs);
    assert!(
        log().ends_with("\ncomment 1\nreopen 1\n") && log().lines().count() == 3,
        "{}",
        log()
    );
}

#[test]
fn there_are_never_more_jobs_than_a_matrix_may_have() {
    let output = tempfile::NamedTempFile::new().unwrap();
    let step = |word: &str, settings: &[(&str, &str)]| {
        let ran = Command::new(root().join("action/step"))
            .arg(word)
            .env("GITHUB_OUTPUT", output.path())
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr),
        )
    };
    let (code, said) = step("plan", &[("FLAKY_ITERATIONS", "2000"), ("FLAKY_SHARDS", "1000")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("256 shards instead of 1000"), "{said}");
    let written = fs::read_to_string(output.path()).unwrap();
    assert!(
        written.contains("count=256\n") && written.contains(",255,256]\n"),
        "{written}"
    );
    let (_, said) = step("plan", &[("FLAKY_ITERATIONS", "3"), ("FLAKY_SHARDS", "20")]);
    assert!(said.contains("3 shards instead of 20"), "{said}");
    for wrong in ["0", "-1", "many", "3; touch x"] {
        let (code, said) = step("plan", &[("FLAKY_ITERATIONS", "9"), ("FLAKY_SHARDS", wrong)]);
        assert_eq!(code, Some(1), "{wrong}: {said}");
        assert!(said.contains("error: `shards` is"), "{said}");
    }
    let (code, said) = step("nonsense", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("error: `nonsense` is no step"), "{said}");
}
