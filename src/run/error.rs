//! Why the store could not do its work, and what the user can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::spec::Difference;

/// What keeps a sweep from being opened, read or recorded.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory holds a sweep of something else.
    #[error("`{}` holds {}", dir.display(), in_words(differences))]
    Differs {
        /// Directory of the sweep, as the user would type it.
        dir: PathBuf,
        /// In what respects; at least one.
        differences: Vec<Difference>,
    },
    /// A file of ours does not read as one.
    #[error("failed to read `{}`: {cause}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What is wrong with it, with line and column.
        cause: String,
    },
    /// A later version of the tool wrote it.
    #[error("`{}` has format {format}, which this version does not know", path.display())]
    Newer { path: PathBuf, format: u64 },
    /// Something that is not a run stands where one belongs.
    #[error("`{}` is in the way: it is not a directory", path.display())]
    InTheWay {
        /// Where the run should go.
        path: PathBuf,
    },
    /// A file that is to be made is there.
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    /// A file is no bundle, or one that cannot be trusted.
    #[error("failed to import `{}`: {cause}", path.display())]
    NotImported { path: PathBuf, cause: String },
    /// Another run or sweep stands where one of a bundle belongs.
    #[error("`{}` is there already, and is another one", path.display())]
    Taken { path: PathBuf },
    /// Another process keeps the lock of the shared files.
    #[error("waited {seconds} s for the lock on `{}`", path.display())]
    Locked { path: PathBuf, seconds: u64 },
    /// The operating system said no.
    #[error("failed to {verb} `{}`: {}", path.display(), words(cause))]
    Io {
        /// What was tried, such as `write`.
        verb: String,
        path: PathBuf,
        cause: io::Error,
    },
}

impl StoreError {
    /// An error of the operating system, with what was tried on which file.
    pub fn io(verb: &str, path: &Path, cause: io::Error) -> StoreError {
        StoreError::Io {
            verb: verb.to_owned(),
            path: path.to_owned(),
            cause,
        }
    }

    /// What the user can do, where we know.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            StoreError::Differs { .. } => "name the new one with --tag",
            StoreError::Unreadable { .. } => {
                "move it aside to go on with what is asked for now; results that are recorded stay"
            }
            StoreError::Newer { .. } => "use the version of the tool that wrote it",
            StoreError::InTheWay { .. } => "move it away and run the same command again: it resumes",
            StoreError::Exists { .. } => "name another file with --output",
            StoreError::NotImported { .. } => return None,
            StoreError::Taken { .. } => "nothing was imported; choose another place with --logs-dir",
            StoreError::Locked { .. } => {
                "is another process stopped while it was publishing there? end it or let it go on"
            }
            StoreError::Io { cause, .. } => match cause.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a place that can be written to with --logs-dir"
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "choose another place with --logs-dir",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space there and run the same command again: it resumes"
                }
                _ => return None,
            },
        };
        Some(hint.to_owned())
    }
}

/// What a sweep holds and what was asked for instead, in words.
fn in_words(differences: &[Difference]) -> String {
    let parts = differences.iter().map(|difference| {
        let Difference { what, recorded, asked } = difference;
        let shown = |text: &str| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                format!("`{text}`")
            }
        };
        let (recorded, asked) = (shown(recorded), shown(asked));
        if *what == "image" {
            format!("a sweep of {recorded}, not {asked}")
        } else {
            format!("a sweep with {what} {recorded}, not {asked}")
        }
    });
    parts.collect::<Vec<_>>().join(", and ")
}

/// The system's words without its number, lowercase as all messages are.
pub(super) fn words(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_directory_and_both_values() {
        let error = StoreError::Differs {
            dir: PathBuf::from("logs/serial"),
            differences: vec![Difference {
                what: "image",
                recorded: "app:1".to_owned(),
                asked: "app:2".to_owned(),
            }],
        };
        assert_eq!(error.to_string(), "`logs/serial` holds a sweep of `app:1`, not `app:2`");
        assert_eq!(error.hint().as_deref(), Some("name the new one with --tag"));
    }

    #[test]
    fn what_the_system_says_is_worded_as_all_messages_are() {
        let cause = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let error = StoreError::io("write", Path::new("logs/n4/run.log"), cause);
        assert_eq!(
            error.to_string(),
            "failed to write `logs/n4/run.log`: no space left on device"
        );
        assert!(error.hint().unwrap().contains("resumes"));
    }
}
