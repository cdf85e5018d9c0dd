//! Since when sessions write to the workspace, kept beside the attempts until what they made there is handed over: of a
//! sweep that was killed the next start knows it, and hands over what that one could not.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::claim::{Lock, lock_once};
use super::sweep::host;
use super::{RunDir, attempt};

/// How the names of such files begin; what follows says which process it was.
const PREFIX: &str = "workspace.";

/// What this process has to hand over in the end. Its files stay until [`Handover::done`].
#[derive(Debug)]
pub struct Handover {
    attempts: RunDir,
    since: SystemTime,
    /// Its own file, and those of processes that are gone, locked.
    held: Vec<(String, File)>,
}

impl Handover {
    /// Begins one, and takes over what processes of this sweep that are gone have left to do.
    pub fn begin(sweep: &Path) -> io::Result<Handover> {
        let attempts = attempt::attempts(sweep)?;
        let own = format!("{PREFIX}{}-{}", host(), std::process::id());
        attempts.lock_file(&own)?;
        let (mut since, mut held) = (SystemTime::now(), Vec::new());
        for entry in attempts.entries()? {
            let Some(name) = entry.name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let file = attempts.lock_file(name)?;
            let lock = lock_once(&file)?;
            // Where there are no locks, each process hands over its own.
            if matches!(lock, Lock::Taken) || name == own {
                since = since.min(file.metadata()?.modified()?);
                held.push((name.to_owned(), file));
            }
        }
        Ok(Handover { attempts, since, held })
    }

    /// Since when files are to be handed over.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Everything is handed over.
    pub fn done(&self) {
        for (name, _) in &self.held {
            let _ = self.attempts.remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_process_that_is_gone_had_to_hand_over_is_the_next_ones_and_what_another_does_is_not() {
        let sweep = tempfile::tempdir().unwrap();
        let attempts = attempt::attempts(sweep.path()).unwrap();
        let now = SystemTime::now();
        let ago = |minutes: u64| now - Duration::from_mins(minutes);
        let file = |name: &str, at: SystemTime| {
            let file = attempts.lock_file(name).unwrap();
            file.set_modified(at).unwrap();
            file
        };
        file("workspace.elsewhere-1", ago(10));
        let other = file("workspace.elsewhere-2", ago(20));
        assert!(matches!(lock_once(&other), Ok(Lock::Taken)));
        let handover = Handover::begin(sweep.path()).unwrap();
        assert_eq!(handover.since(), ago(10));
        handover.done();
        let names: Vec<_> = attempts
            .entries()
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["workspace.elsewhere-2"]);
        let alone = Handover::begin(sweep.path()).unwrap();
        assert!(alone.since() >= ago(1));
    }
}
