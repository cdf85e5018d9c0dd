//! How errors and warnings are worded on stderr: the thing, the cause after a colon, what to do on a `hint:` line.

use std::fmt::Write as _;
use std::io;

use crate::backend::BackendError;
use crate::cli::settings::SettingsError;
use crate::engine::EngineError;
use crate::report::shown::shown;
use crate::run::StoreError;

/// An error of the tool's own words, with what the user can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Hinted {
    message: String,
    hint: String,
}

/// An error with a hint.
pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted {
        message: message.into(),
        hint: hint.into(),
    })
}

/// A mistake on the command line that clap cannot see; ends with the code for usage.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Usage {
    message: String,
    hint: Option<String>,
}

/// A usage error, with a hint where there is one to give.
pub fn usage(message: impl Into<String>, hint: Option<&str>) -> anyhow::Error {
    anyhow::Error::new(Usage {
        message: message.into(),
        hint: hint.map(str::to_owned),
    })
}

/// Whether the error is a mistake on the command line.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.is::<Usage>() || cause.is::<SettingsError>())
}

/// Whether the reader of our output went away, which is no failure of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        // JSON that could not be written does not name the error of the stream as its cause.
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Says something on stderr. Nobody has to be there to read it: a pipe that was closed ends no sweep.
/// Names of tests, files and sweeps may be in it, and act on no terminal and no CI service.
pub fn tell(text: impl std::fmt::Display) {
    let text = by_line(&text.to_string());
    let _ = io::Write::write_fmt(&mut anstream::stderr().lock(), format_args!("{text}\n"));
}

/// A text of several lines, each of which is [`shown`].
pub fn by_line(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(shown).collect();
    lines.join("\n")
}

/// The lines that stderr gets for an error.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error:#}");
    if let Some(hint) = error.chain().find_map(hint_of) {
        let _ = write!(text, "\nhint: {hint}");
    }
    text
}

fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<Hinted>() {
        return Some(error.hint.clone());
    }
    if let Some(error) = cause.downcast_ref::<Usage>() {
        return error.hint.clone();
    }
    if let Some(error) = cause.downcast_ref::<SettingsError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<BackendError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<EngineError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return error.hint();
    }
    None
}
