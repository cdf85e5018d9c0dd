//! `schema`: what the tool writes and prints is what its schemas say.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::amplify;
use crate::cli::Place;
use crate::pypi::{checker, conforms};

/// A schema, written to a file.
fn schema(place: &Place, name: &str) -> String {
    let path = place.path(&format!("{name}.schema.json"));
    fs::write(&path, place.run(&["schema", name]).exits(0).out()).unwrap();
    path.display().to_string()
}

/// What a command prints, each line or the whole of it as a file.
fn printed(place: &Place, words: &[&str], are_lines: bool) -> Vec<PathBuf> {
    let out = place.run(words).out();
    let texts: Vec<&str> = if are_lines { out.lines().collect() } else { vec![&out] };
    assert!(!texts.is_empty() && !texts[0].is_empty(), "{words:?}");
    let name = words.join("_").replace(['/', ' '], "-");
    let write = |(number, text): (usize, &&str)| {
        let path = place.path(&format!("{name}-{number}.json"));
        fs::write(&path, text).unwrap();
        path
    };
    texts.iter().enumerate().map(write).collect()
}

#[test]
fn what_a_sweep_writes_and_what_commands_print_conforms_to_the_schemas() {
    let Some(checker) = checker() else { return };
    let place = Place::endings();
    let words = [
        "--backend",
        "local",
        "-e",
        "12",
        "-j",
        "4",
        "-E",
        "NAME=value",
        "--silence",
        "60s",
        "--progress",
        "jsonl",
    ];
    let events = printed(&place, &words, true);
    place.run(&[
        "--backend",
        "local",
        "-s",
        "3",
        "-e",
        "3",
        "-t",
        "again",
        "--until",
        "failed=1",
        "-q",
    ]);
    let runs = |name: &str| -> Vec<PathBuf> {
        let runs = (1..=12).map(|number| place.path(&format!("logs/serial/run{number:03}/{name}")));
        runs.collect()
    };
    let both = |name: &str| {
        ["logs/serial", "logs/serial_again"]
            .map(|dir| place.path(dir).join(name))
            .to_vec()
    };
    let print = |words: &[&str], are_lines| printed(&place, words, are_lines);
    let last_line = |words: &[&str]| -> PathBuf {
        let out = place.run(words).out();
        let path = place.path(&format!("{}.json", words[0]));
        fs::write(&path, out.lines().last().unwrap()).unwrap();
        path
    };
    let replayed = last_line(&["replay", "serial", "3", "--times", "2", "--format", "json"]);
    let proved = last_line(&[
        "prove",
        "logs/serial",
        "--of",
        "A2",
        "--format",
        "json",
        "--progress",
        "none",
    ]);
    let search = "culprit --of failed --values NAME=1,2 --backend local --max-runs 10 --format json --progress none";
    let searched = last_line(&search.split(' ').collect::<Vec<_>>());
    let mut compared = print(
        &["compare", "logs/serial", "logs/serial_again", "--format", "json"],
        false,
    );
    compared.extend(print(&["compare", "2/75", "0/259", "--format", "json"], false));
    let mut plans = print(&["plan", "logs/serial", "--below", "1%", "--format", "json"], false);
    plans.extend(print(&["plan", "0/50", "--format", "json"], false));
    for (name, files) in [
        ("sweep", both("sweep.json")),
        ("exit", runs("exit.json")),
        ("outcome", runs("outcome.json")),
        ("events", events),
        ("summary", print(&["summary", "logs", "--format", "json"], true)),
        ("compare", compared),
        ("plan", plans),
        ("history", print(&["history", "logs", "--format", "json"], false)),
        ("track", print(&["history", "logs", "--track", "issues.json"], false)),
        ("replay", vec![replayed]),
        ("prove", vec![proved]),
        ("culprit", vec![searched]),
    ] {
        hold(&checker, &place, name, &files);
    }
}

/// The files are what a schema says, and the schema says something: a field of another kind does not conform.
fn hold(checker: &Path, place: &Place, name: &str, files: &[PathBuf]) {
    let schema = schema(place, name);
    conforms(checker, &["--schemafile", &schema], files);
    let mut wrong: Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    let field = ["format", "event", "elapsed_s"]
        .into_iter()
        .find(|field| wrong.get(field).is_some())
        .unwrap();
    wrong[field] = json!(["wrong"]);
    fs::write(place.path("wrong.json"), wrong.to_string()).unwrap();
    let caught = std::panic::catch_unwind(|| {
        conforms(checker, &["--schemafile", &schema], &[place.path("wrong.json")]);
    });
    assert!(caught.is_err(), "`{name}` takes {wrong}");
}

#[test]
fn what_amplify_prints_conforms_to_its_schema_whether_something_was_shown_or_not() {
    let Some(checker) = checker() else { return };
    let place = Place::new(&[("test_a.py", "")]);
    let whole = amplify::whole();
    let shown = amplify::object(&whole.1);
    assert_eq!(
        (&shown["state"], &shown["amplified"]["failed"]),
        (&json!("shown"), &json!(10))
    );
    // A search whose runs have no tests is left without an answer.
    let own = "amplify --of failed --backend local -j 8 --max-runs 80 --seed 7 --progress none --format json";
    let knobs = [
        "--knob",
        "slow: -E SLOW=1",
        "--knob",
        "b: -E B=1",
        "--knob",
        "c: -E C=1",
    ];
    let words: Vec<&str> = own.split(' ').chain(knobs).chain(["--", "test_none.py"]).collect();
    let open = amplify::object(&place.run(&words).exits(4));
    assert_eq!((&open["state"], &open["factor_low"]), (&json!("open"), &json!(null)));
    let files = [("shown.json", shown), ("open.json", open)].map(|(name, object)| {
        fs::write(place.path(name), object.to_string()).unwrap();
        place.path(name)
    });
    hold(&checker, &place, "amplify", &files);
}

#[test]
fn an_editor_is_told_every_setting_and_which_values_are_wrong() {
    let Some(checker) = checker() else { return };
    let place = Place::passing();
    let schema = schema(&place, "settings");
    let check = |text: &str| {
        let settings: toml::Table = toml::from_str(text).unwrap();
        fs::write(place.path("settings.json"), serde_json::to_string(&settings).unwrap()).unwrap();
        std::panic::catch_unwind(|| conforms(&checker, &["--schemafile", &schema], &[place.path("settings.json")]))
            .is_ok()
    };
    let router = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/router/reproduce-flaky.toml");
    for right in [
        fs::read_to_string(router).unwrap().as_str(),
        "image = \"app:ci\"\njobs = 4\nsilence = \"90s\"\npytest-args = [\"--timeout=90\"]\nbefore = [\"cargo\", \"build\"]\n",
        "env = [\"A=1\", \"B\"]\nno-trail = true\nbackend = \"local\"\ncpus = 0.5\nmemory = \"4g\"\nredact = \"customer-(\\\\w+)\"\n",
    ] {
        assert!(check(right), "{right}");
        // What the schema takes, the tool takes.
        fs::write(place.path("reproduce-flaky.toml"), right).unwrap();
        place
            .run(&[
                "--dry-run",
                "--backend",
                "local",
                "-i",
                "host",
                "--parallelism",
                "serial",
            ])
            .exits(0);
    }
    for wrong in [
        "jobs = \"many\"\n",
        "no-trail = \"maybe\"\n",
        "backend = \"podman\"\n",
        "immage = \"app\"\n",
        "dry-run = true\n",
    ] {
        assert!(!check(wrong), "{wrong}");
        fs::write(place.path("reproduce-flaky.toml"), wrong).unwrap();
        let said = place.run(&["--dry-run"]).err();
        assert!(said.contains("error: invalid setting `"), "{wrong}: {said}");
    }
}
