//! `reproduce-flaky.toml`: any flag by its long name, plus `before` and `pytest-args`. Flags and the environment win.
//!
//! The file decides what runs on this machine, so it is obeyed only if nobody but the caller or root can have written
//! it. Its values become the defaults of the command line, which is then read once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::builder::OsStr;
use clap::error::{ContextKind, ContextValue};
use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use crate::spec::SETTINGS_FILE;

mod schema;

pub use schema::schema;

/// Flags that say what to do now; in a file they would make every call do it.
const NEVER_SET: [&str; 6] = ["accept-settings", "dry-run", "retry", "force", "help", "version"];

/// The one list that is no flag of a sweep, and that the command line adds to instead of replacing it: what is secret
/// stays secret whatever else is asked for.
const ADDED: &str = "redact";

/// Settings that run something on this machine, or open something of it to the sessions.
const REACHING: [&str; 17] = [
    "arm",
    "before",
    "cores",
    "docker-host",
    "engine",
    "env",
    "gpus",
    "host-requirements",
    "image-tar",
    "network",
    "output-env",
    "pass-env",
    "sbatch",
    "user",
    "volume",
    "without",
    "workspace",
];

/// A settings file, read and checked for its form.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    /// `before`: a command run once before the first iteration, such as a build.
    pub before: Option<Vec<String>>,
    /// `pytest-args`: handed to pytest in front of what follows `--`.
    pub pytest_args: Vec<String>,
    /// `redact`: patterns that are secret besides those on the command line.
    pub redact: Vec<String>,
    flags: Vec<Flag>,
    reach: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Flag {
    name: String,
    line: usize,
    values: Vec<String>,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("failed to read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("`{}` is not obeyed: {cause}", path.display())]
    Untrusted { path: PathBuf, cause: String, hint: String },
    #[error("failed to read `{}`, line {line}: {cause}", path.display())]
    Syntax { path: PathBuf, line: usize, cause: String },
    #[error("invalid setting `{name}` in `{}`, line {line}: {cause}", path.display())]
    Value {
        path: PathBuf,
        line: usize,
        name: String,
        cause: String,
    },
}

impl SettingsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SettingsError::Untrusted { hint, .. } => Some(hint.clone()),
            SettingsError::Read { .. } | SettingsError::Syntax { .. } | SettingsError::Value { .. } => None,
        }
    }
}

impl Settings {
    /// Finds the file at `start` or above it. `flags` is what it may set.
    ///
    /// # Errors
    /// A file is there, but cannot be used, or may have been written by somebody else.
    pub fn find(start: &Path, flags: &clap::Command) -> Result<Option<Settings>, SettingsError> {
        for dir in start.ancestors() {
            // Above a project stand directories such as /tmp, where anybody may put a file.
            if dir != start && fs::metadata(dir).is_ok_and(|dir| dir.mode() & 0o002 != 0) {
                continue;
            }
            let path = dir.join(SETTINGS_FILE);
            match read_trusted(&path) {
                Ok(text) => return Settings::parse(path, &text, flags).map(Some),
                Err(SettingsError::Read { cause, .. })
                    if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn parse(path: PathBuf, text: &str, flags: &clap::Command) -> Result<Settings, SettingsError> {
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
            redact: Vec::new(),
            flags: Vec::new(),
            reach: BTreeMap::new(),
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
            if REACHING.contains(&name.as_str()) && !values.is_empty() {
                settings.reach.insert(name.clone(), digest(&values));
            }
            match name.as_str() {
                "before" => settings.before = Some(values).filter(|words| !words.is_empty()),
                "pytest-args" => settings.pytest_args = values,
                ADDED => settings.redact = values,
                _ => settings.flags.push(Flag { name, line, values }),
            }
        }
        settings.check(flags)?;
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

    /// Whether every flag is one of a sweep and has a value that it can have.
    fn check(&self, known: &clap::Command) -> Result<(), SettingsError> {
        let mut words = vec![known.get_name().to_owned()];
        for Flag { name, line, values } in &self.flags {
            let arg = known.get_arguments().find(|arg| arg.get_long() == Some(name));
            let Some(arg) = arg.filter(|_| !NEVER_SET.contains(&name.as_str())) else {
                return Err(self.wrong(name, *line, "no flag of a sweep has this name"));
            };
            if arg.get_action().takes_values() {
                words.extend(values.iter().map(|value| format!("--{name}={value}")));
            } else if !matches!(values.as_slice(), [word] if word == "true" || word == "false") {
                return Err(self.wrong(name, *line, "expected true or false"));
            }
        }
        let Err(error) = known.clone().try_get_matches_from(words) else {
            return Ok(());
        };
        let text = error.to_string();
        let cause = text.lines().next().unwrap_or_default();
        let named = error
            .get(ContextKind::InvalidArg)
            .map(ToString::to_string)
            .unwrap_or_default();
        let is_named = |flag: &&Flag| named.trim_start_matches("--").split([' ', '=']).next() == Some(&flag.name);
        let (name, line) = self
            .flags
            .iter()
            .find(is_named)
            .map_or(("", 1), |flag| (&*flag.name, flag.line));
        Err(self.wrong(name, line, cause.trim_start_matches("error: ")))
    }

    /// What of the file runs something on this machine or opens something of it, each setting with a digest.
    pub fn reach(&self) -> &BTreeMap<String, String> {
        &self.reach
    }

    /// The command line with the file's values as the defaults of its flags, and of those that subcommands share.
    pub fn as_defaults(&self, command: clap::Command) -> clap::Command {
        let set = |arg: clap::Arg| match self.flags.iter().find(|flag| arg.get_long() == Some(&flag.name)) {
            Some(flag) => arg.default_values(flag.values.iter().map(OsStr::from)),
            None => arg,
        };
        command
            .mut_args(set)
            .mut_subcommands(|command| match command.get_name() {
                // Its `--jobs` changes a sweep that is running.
                "status" => command.mut_args(|arg| if arg.get_long() == Some("jobs") { arg } else { set(arg) }),
                // `culprit probe` runs sweeps too.
                "culprit" => command.mut_args(set).mut_subcommands(|command| command.mut_args(set)),
                _ => command.mut_args(set),
            })
    }
}

/// The variable that sets a flag.
fn variable(long: &str) -> String {
    format!("REPRODUCE_FLAKY_{}", long.replace('-', "_").to_uppercase())
}

/// An error of the command line that names the variable whose value it is about, where the value is none of the words
/// that were typed.
pub(crate) fn naming_variable(error: clap::Error, argv: &[OsString]) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let (Some(flag), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return error;
    };
    let flag = flag.split([' ', '=']).next().unwrap_or(flag);
    let name = variable(flag.trim_start_matches('-'));
    let is_typed = argv.iter().any(|word| word.to_string_lossy().contains(value));
    if is_typed || std::env::var(&name).as_deref() != Ok(value) {
        return error;
    }
    let cause = std::error::Error::source(&error).map_or_else(|| format!("not a value of {flag}"), ToString::to_string);
    let message = format!("invalid variable `{name}`: `{value}`: {cause}\n\nFor more information, try '--help'.\n");
    clap::Error::raw(error.kind(), message)
}

/// A command line whose flags can also be set by `REPRODUCE_FLAKY_<FLAG>`.
pub fn with_variables(command: clap::Command) -> clap::Command {
    let booleans = clap::builder::BoolishValueParser::new();
    command.mut_args(move |arg| {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
            return arg;
        };
        let name = variable(long);
        let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
        let arg = arg.env(name).hide_env(true);
        if is_switch { arg.value_parser(booleans) } else { arg }
    })
}

/// The text of a file that belongs to the caller or to root, and that nobody else may write.
fn read_trusted(path: &Path) -> Result<String, SettingsError> {
    let failed = |cause| SettingsError::Read {
        path: path.to_owned(),
        cause,
    };
    let untrusted = |cause: String, hint: String| SettingsError::Untrusted {
        path: path.to_owned(),
        cause,
        hint,
    };
    let shown = shell_words::quote(&path.to_string_lossy()).into_owned();
    // Opened without waiting: a pipe of this name must not hold up every command.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let mut file = File::from(opened.map_err(|error| failed(error.into()))?);
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let own = rustix::process::geteuid().as_raw();
    if ![own, 0].contains(&found.uid()) {
        let cause = format!(
            "it belongs to another user (uid {}), who decides what it says",
            found.uid()
        );
        return Err(untrusted(
            cause,
            format!("look at the file, then make it yours: chown {own} {shown}"),
        ));
    }
    if found.mode() & 0o022 != 0 {
        let cause = format!("others may write it (mode {:04o})", found.mode() & 0o7777);
        return Err(untrusted(cause, format!("look at the file, then chmod go-w {shown}")));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn digest(values: &[String]) -> String {
    let mut digest = Sha256::new();
    for value in values {
        digest.update(value.as_bytes());
        digest.update([0]);
    }
    let digits = digest.finalize();
    let digits = digits.iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!("sha256:{digits}")
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
mod tests;
