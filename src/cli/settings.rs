//! `reproduce-flaky.toml`: any flag by its long name, plus `before` and `pytest-args`. Flags and the environment win.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml::de::{DeTable, DeValue};

/// Name of the file, looked for from the current directory upwards.
pub const FILE_NAME: &str = "reproduce-flaky.toml";

/// Flags that say what to do now; in a file they would make every call do it.
const NEVER_SET: [&str; 5] = ["dry-run", "retry", "force", "help", "version"];

/// The one list that is no flag of a sweep, and that the command line adds to instead of replacing it: what is secret
/// stays secret whatever else is asked for.
const ADDED: &str = "redact";

/// A settings file, read and checked for its form.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub path: PathBuf,
    /// `before`: a command run once before the first iteration, such as a build.
    pub before: Option<Vec<String>>,
    /// `pytest-args`: handed to pytest in front of what follows `--`.
    pub pytest_args: Vec<String>,
    flags: Vec<Flag>,
}

/// One flag that the file sets.
#[derive(Clone, Debug)]
struct Flag {
    name: String,
    line: usize,
    values: Vec<String>,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("failed to read `{}`: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// It is not TOML.
    #[error("failed to read `{}`, line {line}: {cause}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's words.
        cause: String,
    },
    /// It sets something that cannot be set.
    #[error("invalid setting `{name}` in `{}`, line {line}: {cause}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl Settings {
    /// Finds the file at `start` or above it.
    ///
    /// # Errors
    /// A file is there, but cannot be used.
    pub fn find(start: &Path) -> Result<Option<Settings>, SettingsError> {
        for dir in start.ancestors() {
            let path = dir.join(FILE_NAME);
            match fs::read_to_string(&path) {
                Ok(text) => return Settings::parse(path, &text).map(Some),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(cause) => return Err(SettingsError::Read { path, cause }),
            }
        }
        Ok(None)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Settings, SettingsError> {
        let line_at = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            path: path.clone(),
            line: error.span().map_or(1, |span| line_at(span.start)),
            cause: error.message().to_owned(),
        })?;
        let mut settings = Settings {
            path,
            before: None,
            pytest_args: Vec::new(),
            flags: Vec::new(),
        };
        for (key, value) in table.get_ref() {
            let name = key.get_ref().to_string();
            let line = line_at(key.span().start);
            let values = scalars(value.get_ref()).ok_or_else(|| {
                settings.wrong(
                    &name,
                    line,
                    "expected a text, a number, true, false, or a list of texts",
                )
            })?;
            match name.as_str() {
                "before" => settings.before = Some(values),
                "pytest-args" => settings.pytest_args = values,
                _ => settings.flags.push(Flag { name, line, values }),
            }
        }
        if settings.before.as_ref().is_some_and(Vec::is_empty) {
            settings.before = None;
        }
        Ok(settings)
    }

    fn wrong(&self, name: &str, line: usize, cause: &str) -> SettingsError {
        SettingsError::Value {
            path: self.path.clone(),
            line,
            name: name.to_owned(),
            cause: cause.to_owned(),
        }
    }

    /// The command line with the file's settings added where neither a flag nor the environment says anything.
    ///
    /// # Errors
    /// A setting that is no flag of the sweep.
    ///
    /// # Panics
    /// Never: clap only reports subcommands it knows.
    pub fn complete(&self, argv: &[OsString], matches: &ArgMatches) -> Result<Vec<OsString>, SettingsError> {
        let root = super::command();
        let (command, matches, at) = match matches.subcommand() {
            Some((name, matches)) => {
                let command = root
                    .find_subcommand(name)
                    .expect("clap only reports subcommands it knows");
                (
                    command,
                    matches,
                    argv.iter()
                        .position(|word| word == name)
                        .map_or(argv.len(), |at| at + 1),
                )
            }
            None => (&root, matches, 1),
        };
        let find = |command: &clap::Command, name: &str| {
            command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name))
                .map(|arg| (arg.get_id().to_string(), arg.get_action().takes_values()))
        };
        let mut added: Vec<OsString> = Vec::new();
        for Flag { name, line, values } in &self.flags {
            let is_known = find(&root, name).is_some() || name == ADDED;
            if NEVER_SET.contains(&name.as_str()) || !is_known {
                return Err(self.wrong(name, *line, "no flag of a sweep has this name"));
            }
            let Some((id, takes_values)) = find(command, name) else {
                continue;
            };
            let is_said = matches!(
                matches.value_source(&id),
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            );
            // `jobs` and `chunk-size` exclude each other; a flag beats the file whichever of them it is.
            let is_displaced = name == "jobs"
                && matches
                    .try_get_one::<u32>("chunk_size")
                    .is_ok_and(|size| size.is_some());
            if (is_said && name != ADDED) || is_displaced {
                continue;
            }
            if takes_values {
                added.extend(values.iter().map(|value| OsString::from(format!("--{name}={value}"))));
            } else {
                match values.as_slice() {
                    [word] if word == "true" => added.push(OsString::from(format!("--{name}"))),
                    [word] if word == "false" => {}
                    _ => return Err(self.wrong(name, *line, "expected true or false")),
                }
            }
        }
        let (before, after) = argv.split_at(at.min(argv.len()));
        Ok(before
            .iter()
            .cloned()
            .chain(added)
            .chain(after.iter().cloned())
            .collect())
    }
}

/// A scalar as one text, a list of scalars as several.
fn scalars(value: &DeValue<'_>) -> Option<Vec<String>> {
    let scalar = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    match value {
        DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect(),
        other => scalar(other).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, sweep};

    fn sweep_with(file: &str, words: &[&str]) -> Result<sweep::Args, String> {
        let settings =
            Settings::parse(PathBuf::from("reproduce-flaky.toml"), file).map_err(|error| error.to_string())?;
        let argv = std::iter::once("reproduce-flaky")
            .chain(words.iter().copied())
            .map(OsString::from)
            .collect();
        cli::parse(argv, Some(&settings))
            .map(|cli| cli.sweep)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "image = \"app:ci\"\njobs = 4\nsilence = \"90s\"\nno-trail = true\nenv = [\"A=1\", \"B\"]\n";
        let args = sweep_with(file, &["-j", "2"]).unwrap();
        assert_eq!((args.image.as_str(), args.jobs, args.no_trail), ("app:ci", 2, true));
        assert_eq!(args.env.len(), 2);
        let args = sweep_with(file, &["-e", "50", "--chunk-size", "5"]).unwrap();
        assert_eq!(args.jobs(), 10);
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_line() {
        let error = sweep_with("image = \"a\"\nimagee = \"b\"\n", &[]).unwrap_err();
        assert_eq!(
            error,
            "invalid setting `imagee` in `reproduce-flaky.toml`, line 2: no flag of a sweep has this name"
        );
        let error = sweep_with("image = \"a\"\n\njobs = = 2\n", &[]).unwrap_err();
        assert!(
            error.starts_with("failed to read `reproduce-flaky.toml`, line 3: "),
            "{error}"
        );
        let error = sweep_with("before = { a = 1 }\n", &[]).unwrap_err();
        assert!(error.contains("`before`") && error.contains("line 1"), "{error}");
    }
}
