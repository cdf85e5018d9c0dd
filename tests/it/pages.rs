//! README and the pages of docs: what their console blocks show is what happens over `examples/demo`, their links lead
//! somewhere, and the contract of files and JSON names every field.

mod links;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use regex::Regex;
use reproduce_flaky::commands;
use serde_json::Value;

use crate::cli::search_path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of Markdown.
struct Page {
    /// Path from the root of the repository.
    name: String,
    text: String,
}

/// README, CONTRIBUTING and every page of docs.
fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let read = |name: String| Page {
        text: fs::read_to_string(root().join(&name)).unwrap(),
        name,
    };
    names.into_iter().map(read).collect()
}

/// A fenced block of a page.
struct Block {
    /// Line of its first text, from 1.
    line: usize,
    /// What stands behind the fence, such as `console`.
    language: String,
    /// The comment before it that says why its commands are not run.
    not_run: Option<String>,
    lines: Vec<String>,
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let mut found: Vec<Block> = Vec::new();
        let mut open = false;
        let mut before = "";
        for (number, line) in (1..).zip(self.text.lines()) {
            match line.strip_prefix("```") {
                Some(_) if open => open = false,
                Some(language) => {
                    let reason = before.strip_prefix("<!-- not run: ");
                    found.push(Block {
                        line: number + 1,
                        language: language.to_owned(),
                        not_run: reason.and_then(|reason| reason.strip_suffix(" -->")).map(str::to_owned),
                        lines: Vec::new(),
                    });
                    open = true;
                }
                None if open => found.last_mut().unwrap().lines.push(line.to_owned()),
                None => {}
            }
            if !line.is_empty() {
                before = line;
            }
        }
        found
    }
}

/// A command of a block, and what the page says that it prints.
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

impl Block {
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line..).zip(&self.lines) {
            match (text.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    line,
                    command: command.to_owned(),
                    expected: Vec::new(),
                }),
                (None, Some(step)) => step.expected.push(text.clone()),
                (None, None) => {}
            }
        }
        steps
    }
}

/// What differs from one run of the same command to the next, and from containers to this machine, made alike.
fn alike(line: &str) -> String {
    static DIFFERING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?( UTC)?", "TIME"),
            (r"\b\d+(\.\d+)? s\b", "N s"),
            (r"0x[0-9a-f]+", "0xN"),
            (r"\b[0-9a-f]{12,}\b", "HEX"),
            (r"\(\d+ k?B\)", "(N B)"),
            (r"\bbackend local\b", "image host"),
            (r"\s+", " "),
        ]
        .map(|(pattern, word)| (Regex::new(pattern).unwrap(), word))
        .into()
    });
    let mut line = line.to_owned();
    for (pattern, word) in DIFFERING.iter() {
        line = pattern.replace_all(&line, *word).into_owned();
    }
    line.trim().to_owned()
}

/// Whether lines are what a page shows, where `…` alone stands for any number of lines, and at the end of one for its rest.
fn shows(expected: &[String], actual: &[String]) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return actual.is_empty();
    };
    if first.trim() == "…" {
        return (0..=actual.len()).any(|skipped| shows(rest, &actual[skipped..]));
    }
    let Some((line, others)) = actual.split_first() else {
        return false;
    };
    let (first, line) = (alike(first), alike(line));
    let fits = first == line
        || first
            .strip_suffix('…')
            .is_some_and(|start| line.starts_with(start.trim_end()));
    fits && shows(rest, others)
}

#[test]
fn an_ellipsis_stands_for_lines_or_for_the_rest_of_one() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(shows(&lines("a\n…\nd"), &lines("a\nb\nc\nd")));
    assert!(shows(&lines("a in 0.8 s, for …\n…"), &lines("a in 12 s, for b")));
    assert!(!shows(&lines("a\n…\nd"), &lines("a\nb")));
    assert!(!shows(&lines("a"), &lines("a\nb")));
    assert!(!shows(&lines("2/75"), &lines("3/75")));
}

/// What a sweep says of the machine it runs on, which pages leave out.
fn is_of_the_machine(line: &str) -> bool {
    let starts = [
        "note: pytest",
        "note: the engine may not raise",
        "note: removed what a dead sweep left",
        "notice: ",
    ];
    starts.iter().any(|start| line.starts_with(start))
}

/// Runs the blocks of a page in order, in a directory that holds `examples/demo`; what is not as the page says.
fn differences(page: &Page) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    copy(&root().join("examples/demo"), &place.path().join("examples/demo"));
    let mut at = place.path().to_owned();
    let mut found = Vec::new();
    for block in page.blocks() {
        if block.language != "console" || block.not_run.is_some() {
            continue;
        }
        for step in block.steps() {
            if let Some(dir) = step.command.strip_prefix("cd ") {
                // Each page can be read by itself, and may enter the directory once more.
                at = place.path().join(dir);
                continue;
            }
            let (code, lines) = run(&at, &step.command);
            let is_error = step.expected.first().is_some_and(|line| line.starts_with("error: "));
            let works = [0, 3, 4].contains(&code) || is_error;
            if !works || (!step.expected.is_empty() && !shows(&step.expected, &lines)) {
                found.push(format!(
                    "{}:{}: $ {} exits with {code} and prints\n{}\n",
                    page.name,
                    step.line,
                    step.command,
                    lines.join("\n")
                ));
            }
        }
    }
    found
}

/// Runs a command line in a shell, on this machine instead of in containers; its exit code and what it prints.
fn run(at: &Path, command: &str) -> (i32, Vec<String>) {
    let tool = Path::new(env!("CARGO_BIN_EXE_reproduce-flaky")).parent().unwrap();
    let path = std::env::join_paths(
        [tool.to_owned()]
            .into_iter()
            .chain(std::env::split_paths(search_path())),
    );
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(at)
        .stdin(Stdio::null())
        .env("PATH", path.unwrap())
        .env("REPRODUCE_FLAKY_BACKEND", "local")
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !is_of_the_machine(line)).map(str::to_owned);
    (output.status.code().unwrap_or(-1), lines.collect())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_a_page_shows_is_what_happens() {
    let pages = pages();
    // Two at a time: a machine on which many sessions start at once makes each of them silent for long.
    let queue = Mutex::new(pages.iter());
    let read = || {
        let mut found = Vec::new();
        while let Some(page) = { queue.lock().unwrap().next() } {
            found.extend(differences(page));
        }
        found
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let run = pages.iter().flat_map(Page::blocks);
    let n_run = run.filter(|block| block.language == "console" && block.not_run.is_none());
    assert!(n_run.count() >= 10, "hardly any block of the pages is run");
}

#[test]
fn commands_that_a_page_does_not_run_are_understood() {
    let mut n_calls = 0;
    for page in pages() {
        for block in page.blocks() {
            if block.language != "console" {
                let command = block
                    .lines
                    .iter()
                    .find(|line| line.starts_with("$ ") || line.starts_with("reproduce-flaky "));
                assert!(
                    command.is_none(),
                    "{}:{}: a block of commands is no `console` block",
                    page.name,
                    block.line
                );
                continue;
            }
            for step in block.steps() {
                // Of another program's words only a shell knows where a command ends.
                if !step.command.starts_with("reproduce-flaky ") {
                    continue;
                }
                let command = step.command.replace(" 2>", " >");
                let call = command.split([';', '|', '>']).next().unwrap();
                let call = call.split(" #").next().unwrap();
                let words = shell_words::split(call).unwrap();
                if call.contains('…') {
                    continue;
                }
                let argv = words.into_iter().map(OsString::from).collect();
                let parsed = commands::parse(argv, None);
                assert!(
                    parsed.is_ok(),
                    "{}:{}: {call}: {}",
                    page.name,
                    step.line,
                    parsed.unwrap_err()
                );
                n_calls += 1;
            }
        }
    }
    assert!(n_calls >= 30, "only {n_calls} calls were found");
}

#[test]
fn readme_can_be_read_in_five_minutes() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 130, "README has {lines} lines");
}

/// Adds the keys of an object and of all objects in it; those of maps are data.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    const MAPS: [&str; 7] = [
        "tests",
        "outcomes",
        "rates",
        "by_category",
        "versions",
        "settings",
        "redacted",
    ];
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if !(MAPS.contains(&key.as_str()) && value.is_object()) {
                    keys(value, found);
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                keys(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_contract_names_every_field() {
    let place = tempfile::tempdir().unwrap();
    copy(&root().join("examples/demo"), place.path());
    let at: PathBuf = place.path().to_owned();
    let sweep = "reproduce-flaky -i host -e 5 -q -E A=1 -- tests";
    assert_eq!(run(&at, sweep).0, 3);
    let mut found = BTreeSet::new();
    let mut read = |text: &str| {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let values: Vec<Value> = values.map(Result::unwrap).collect();
        assert!(!values.is_empty());
        for value in &values {
            keys(value, &mut found);
        }
    };
    for file in [
        "sweep.json",
        "events.jsonl",
        "run005/exit.json",
        "run005/outcome.json",
        "run002/tests.jsonl",
    ] {
        read(&fs::read_to_string(at.join("logs/serial").join(file)).unwrap());
    }
    for command in [
        "summary logs/serial",
        "compare logs/serial 0/5",
        "plan 2/75 --below 3%",
        "history logs",
        "status",
        "show serial 2",
        "classify logs/serial",
        "signatures check",
        "export logs/serial -o b.tar.zst",
        "import b.tar.zst --logs-dir other",
    ] {
        let (_, lines) = run(&at, &format!("reproduce-flaky {command} --format json"));
        read(&lines.join("\n"));
    }
    let page = fs::read_to_string(root().join("docs/format.md")).unwrap();
    let missing: Vec<&String> = found.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/format.md does not name {missing:?}");
}
