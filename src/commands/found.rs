//! Finds the runs below a path: a log alone, a run's directory, a tree of them, a folder of logs; and opens their files.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::judge::RunFiles;
use crate::message;
use crate::model::Exit;

/// Names of the console log in a run's directory, the newer first.
const LOGS: [&str; 2] = ["run.log", "pytest.log"];
/// How deep per-test logs are looked for below a run's directory.
const MAX_DEPTH: usize = 4;

/// One run, as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The log, or the run's directory.
    pub path: PathBuf,
    /// Whether `path` is the directory of a run.
    pub is_dir: bool,
}

/// The runs below a path, in natural order.
///
/// # Errors
/// The path cannot be read, or holds no run.
pub fn find(path: &Path) -> anyhow::Result<Vec<Found>> {
    let metadata = fs::metadata(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![Found {
            path: path.to_owned(),
            is_dir: false,
        }]);
    }
    let mut runs = Vec::new();
    let mut logs = Vec::new();
    walk(path, &mut runs, &mut logs).with_context(|| format!("failed to read `{}`", path.display()))?;
    if runs.is_empty() {
        runs = logs;
    }
    if runs.is_empty() {
        return Err(message::hinted(
            format!("nothing to judge below `{}`", path.display()),
            "a run's directory holds run.log or pytest.log; a folder of logs holds files called *.log",
        ));
    }
    Ok(runs)
}

fn walk(dir: &Path, runs: &mut Vec<Found>, logs: &mut Vec<Found>) -> io::Result<()> {
    if is_run(dir) {
        runs.push(Found {
            path: dir.to_owned(),
            is_dir: true,
        });
        return Ok(());
    }
    let mut entries: Vec<(Vec<Part>, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Claims and attempts are no runs.
        if !name.starts_with('.') {
            entries.push((natural(&name), entry.path()));
        }
    }
    entries.sort();
    for (_, path) in entries {
        if path.is_dir() {
            walk(&path, runs, logs)?;
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(Found { path, is_dir: false });
        }
    }
    Ok(())
}

fn is_run(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_file();
    LOGS.iter().any(|name| has(name)) || has("exit.json") || (iteration(dir).is_some() && has(".exit_code"))
}

/// Number of an iteration's directory: `run007` is 7.
#[must_use]
pub fn iteration(dir: &Path) -> Option<u32> {
    let name = dir.file_name()?.to_str()?;
    name.strip_prefix("run")?.parse().ok()
}

/// A piece of a name: numbers sort by value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

fn natural(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let (number, after) = rest.split_at(digits);
            parts.push(
                number
                    .parse()
                    .map_or_else(|_| Part::Text(number.to_owned()), Part::Number),
            );
            rest = after;
        } else {
            let end = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
            parts.push(Part::Text(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    parts
}

impl Found {
    /// The directory that holds the run's facts. A log called as sweeps call theirs brings its neighbours along.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        if self.is_dir {
            return Some(&self.path);
        }
        let name = self.path.file_name()?.to_str()?;
        let dir = self.path.parent()?;
        let has_facts = ["exit.json", ".exit_code", "tests.jsonl"]
            .iter()
            .any(|fact| dir.join(fact).is_file());
        (LOGS.contains(&name) && has_facts).then_some(dir)
    }

    /// How the run ended, as far as a file says.
    ///
    /// # Errors
    /// A file is there and cannot be read. What cannot be understood in it is left out.
    pub fn exit(&self) -> anyhow::Result<Option<Exit>> {
        let Some(dir) = self.dir() else {
            return Ok(None);
        };
        if let Some(text) = read_optional(&dir.join("exit.json"))?
            && let Some(exit) = lenient(&text)
        {
            return Ok(Some(exit));
        }
        let code = read_optional(&dir.join(".exit_code"))?.and_then(|text| text.trim().parse::<i32>().ok());
        Ok(code.map(|code| Exit {
            code: Some(code),
            ..Exit::default()
        }))
    }
}

fn read_optional(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read `{}`", path.display())),
    }
}

/// Reads exit facts; a field of another shape than ours is left out rather than the rest thrown away.
fn lenient(text: &str) -> Option<Exit> {
    if let Ok(exit) = serde_json::from_str(text) {
        return Some(exit);
    }
    let serde_json::Value::Object(fields) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let kept: serde_json::Map<String, serde_json::Value> = fields
        .into_iter()
        .filter(|(name, value)| {
            let one = serde_json::Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<Exit>(serde_json::Value::Object(one)).is_ok()
        })
        .collect();
    serde_json::from_value(serde_json::Value::Object(kept)).ok()
}

fn buffered(path: &Path) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(BufReader::with_capacity(256 * 1024, File::open(path)?)))
}

fn open_optional(path: &Path) -> io::Result<Option<Box<dyn BufRead>>> {
    match buffered(path) {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl RunFiles for Found {
    fn console(&self) -> io::Result<Option<(String, Box<dyn BufRead + '_>)>> {
        if !self.is_dir {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Some((name, buffered(&self.path)?)));
        }
        for name in LOGS {
            if let Some(reader) = open_optional(&self.path.join(name))? {
                return Ok(Some((name.to_owned(), reader)));
            }
        }
        Ok(None)
    }

    fn trail(&self) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        match self.dir() {
            Some(dir) => Ok(open_optional(&dir.join("tests.jsonl"))?.map(|reader| reader as Box<dyn BufRead>)),
            None => Ok(None),
        }
    }

    fn test_logs(&self) -> io::Result<Vec<String>> {
        let mut paths = Vec::new();
        if let Some(dir) = self.dir() {
            collect(dir, "", 0, &mut paths)?;
        }
        paths.sort();
        Ok(paths)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        let dir = self.dir().ok_or(io::ErrorKind::NotFound)?;
        Ok(buffered(&dir.join(path))? as Box<dyn BufRead>)
    }
}

fn collect(dir: &Path, prefix: &str, depth: usize, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || (depth == 0 && name == "autopsy") {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < MAX_DEPTH {
            collect(&entry.path(), &format!("{path}/"), depth + 1, paths)?;
        } else if kind.is_file() && depth > 0 && (name.ends_with(".txt") || name.ends_with(".log")) {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EndedBy;

    #[test]
    fn numbers_in_names_sort_by_value() {
        let mut names = ["run10", "run9", "run100"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["run9", "run10", "run100"]);
    }

    #[test]
    fn a_field_of_another_shape_does_not_cost_the_others() {
        let exit = lenient(r#"{"code":134,"ended_by":"nobody","oom_killed":null}"#).unwrap();
        assert_eq!(
            (exit.code, exit.ended_by, exit.oom_killed),
            (Some(134), EndedBy::Itself, false)
        );
        assert_eq!(lenient("{"), None);
    }
}
