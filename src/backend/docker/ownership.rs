//! Whose the files are that a container leaves: the caller's, also where the container ran as somebody else. None of them
//! runs as its owner any more.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::engine::Engine;
use super::recipe::{Instance, RUN_DIR, Recipe, WORKSPACE};
use super::removal::Remover;
use super::session::launch;
use crate::backend::Session as _;
use crate::backend::host::Bind;
use crate::backend::leftovers;
use crate::run::tree::{self, Level};
use crate::run::{Kind, RunDir, Scratch};

/// Gives each file named in a list, one a NUL-terminated path, to a user and group.
const CHOWN: &str = "import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
for path in open('/reproduce-flaky/paths', 'rb').read().split(b'\\0'):
    try:
        if path: os.lchown(path, uid, gid)
    except OSError:
        pass";

/// The list's name on this machine.
const LIST: &str = "paths";

/// Longest time a hand-over may take; it must not keep the next iteration from starting.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory whose files are to be the caller's.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    /// What one session wrote to, or the workspace of all.
    pub(super) dir: Arc<RunDir>,
    /// Only what was made from then on, as in a workspace; `None` for everything.
    pub(super) since: Option<SystemTime>,
    /// Image that has the Python to do it with.
    pub(super) image: String,
    /// Labels of the helper.
    pub(super) labels: HashMap<String, String>,
    /// Name of the helper.
    pub(super) name: String,
}

impl Ownership {
    /// Hands over what belongs to somebody else. A file that cannot be handed over is no reason to lose the
    /// session's answer, so this does not fail.
    pub(super) async fn restore(self, engine: &Arc<Engine>, remover: &Arc<Remover>) {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let ownership = self.clone();
        let Ok(unchanged) = tokio::task::spawn_blocking(move || ownership.take_back(uid, gid)).await else {
            return;
        };
        if !unchanged.is_empty() {
            let _ = tokio::time::timeout(PATIENCE, self.hand_over(engine, remover, &unchanged, uid, gid)).await;
        }
    }

    /// Where the helper sees the directory.
    fn inside(&self) -> &'static str {
        match self.since {
            None => RUN_DIR,
            Some(_) => WORKSPACE,
        }
    }

    /// An ordinary user cannot give away, nor take, what root made; a container's root can.
    async fn hand_over(
        &self,
        engine: &Arc<Engine>,
        remover: &Arc<Remover>,
        list: &[u8],
        uid: u32,
        gid: u32,
    ) -> Option<()> {
        let place = Scratch::make(&std::env::temp_dir(), leftovers::TEMPORARY).ok()?;
        place
            .dir()
            .new_file(LIST)
            .and_then(|mut file| file.write_all(list))
            .ok()?;
        let binds = vec![
            Bind::writable(self.dir.path(), self.inside()),
            Bind::read_only(&place.path().join(LIST), "/reproduce-flaky/paths"),
        ];
        let recipe = Recipe {
            python: "python3".to_owned(),
            image: self.image.clone(),
            binds,
            user: Some("0:0".to_owned()),
            ..Recipe::default()
        };
        let instance = Instance {
            argv: vec![
                "python3".to_owned(),
                "-c".to_owned(),
                CHOWN.to_owned(),
                uid.to_string(),
                gid.to_string(),
            ],
            labels: self.labels.clone(),
            ..Instance::default()
        };
        let mut helper = Box::new(launch(engine, remover, &recipe, &instance, &self.name).await.ok()?);
        while helper.output().await.ok()?.is_some() {}
        helper.finish().await.ok()?;
        Some(())
    }

    /// Does what this process may do itself, and returns the files that are left, as the helper's list.
    fn take_back(&self, uid: u32, gid: u32) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        // File systems stamp with a clock of a few milliseconds' grain.
        let since = self
            .since
            .map(|since| since.checked_sub(Duration::from_secs(1)).unwrap_or(since));
        let mut unchanged = Vec::new();
        let _ = tree::walk(&self.dir, usize::MAX, |level| {
            // A workspace may hold a hundred thousand files: only those are looked at whose directory has changed.
            let has_changed = since.is_none_or(|since| level.changed_at().is_ok_and(|at| at >= since));
            for entry in &level.entries {
                // A file that was there before may have been made one that runs as its owner.
                if let (Kind::File, Some(since)) = (entry.kind, since) {
                    let _ = disarm(level, Path::new(&entry.name), since);
                }
                if entry.kind != Kind::Dir && !has_changed {
                    continue;
                }
                if since.is_some_and(|since| level.made_at(&entry.name).is_ok_and(|at| at < since)) {
                    continue;
                }
                if take(level, entry.kind, Path::new(&entry.name), uid, gid).is_err() {
                    let path = Path::new(self.inside()).join(level.path).join(&entry.name);
                    unchanged.extend_from_slice(path.as_os_str().as_bytes());
                    unchanged.push(0);
                }
            }
            Ok(())
        });
        unchanged
    }
}

/// Makes a program that has changed since then one that runs as whoever starts it.
fn disarm(level: &Level<'_>, name: &Path, since: SystemTime) -> io::Result<()> {
    let found = level.stat(name.as_os_str())?;
    let seconds = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    if found.st_mode & ARMED != 0 && u64::try_from(found.st_ctime).unwrap_or_default() >= seconds {
        level.set_mode(name.as_os_str(), found.st_mode & !ARMED & 0o7777)?;
    }
    Ok(())
}

/// The bits of a program that runs as its owner, or with its group.
const ARMED: u32 = 0o6000;

/// Makes an entry the caller's, and a program one that runs as whoever starts it.
fn take(level: &Level<'_>, kind: Kind, name: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let found = level.stat(name.as_os_str())?;
    if found.st_uid != uid {
        level.give_to(name.as_os_str(), uid, gid)?;
    }
    if kind == Kind::File && found.st_mode & ARMED != 0 {
        level.set_mode(name.as_os_str(), found.st_mode & !ARMED & 0o7777)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_of_the_users_own_that_did_not_change_keeps_its_bits() {
        let place = tempfile::tempdir().unwrap();
        let tool = place.path().join("tool");
        fs::write(&tool, "").unwrap();
        let bits_after = |since: SystemTime| {
            fs::set_permissions(&tool, Permissions::from_mode(0o4755)).unwrap();
            tree::walk(&RunDir::open(place.path()).unwrap(), 1, |level| {
                disarm(level, Path::new("tool"), since)
            })
            .unwrap();
            fs::metadata(&tool).unwrap().permissions().mode() & 0o7777
        };
        let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
        assert_eq!(bits_after(now + hour), 0o4755);
        assert_eq!(bits_after(now - hour), 0o755);
    }
}
