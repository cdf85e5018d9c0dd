//! Whose the files are that a container leaves: the caller's, also where the container ran as somebody else.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::engine::Engine;
use super::recipe::{Instance, RUN_DIR, Recipe, WORKSPACE};
use super::removal::Remover;
use super::session::launch;
use crate::backend::Session as _;
use crate::backend::host::Bind;

/// Gives each file named in a list, one a NUL-terminated path, to a user and group.
const CHOWN: &str = "import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
for path in open('/reproduce-flaky/paths', 'rb').read().split(b'\\0'):
    try:
        if path: os.lchown(path, uid, gid)
    except OSError:
        pass";

/// Longest time a hand-over may take; it must not keep the next iteration from starting.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is to be handed over when a session has ended.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    /// Directory of the attempt: everything in it is the caller's.
    pub(super) run_dir: PathBuf,
    /// The sweep's directory, where the session can write to it: only what the session made there.
    pub(super) workspace: Option<PathBuf>,
    /// When the session started.
    pub(super) since: SystemTime,
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
        let Ok(found) = tokio::task::spawn_blocking(move || ownership.foreign(uid)).await else {
            return;
        };
        let unchanged: Vec<&Found> = found
            .iter()
            .filter(|found| lchown(&found.path, Some(uid), Some(gid)).is_err())
            .collect();
        if !unchanged.is_empty() {
            let list: Vec<u8> = unchanged
                .iter()
                .flat_map(|found| found.inside.bytes().chain([0]))
                .collect();
            let _ = tokio::time::timeout(PATIENCE, self.hand_over(engine, remover, &list, uid, gid)).await;
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
        let file = tempfile::NamedTempFile::new().ok()?;
        std::fs::write(file.path(), list).ok()?;
        let mut binds = vec![
            Bind::writable(&self.run_dir, RUN_DIR),
            Bind::read_only(file.path(), "/reproduce-flaky/paths"),
        ];
        binds.extend(
            self.workspace
                .iter()
                .map(|workspace| Bind::writable(workspace, WORKSPACE)),
        );
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

    fn foreign(&self, uid: u32) -> Vec<Found> {
        let mut found = Vec::new();
        walk(&self.run_dir, &self.run_dir, RUN_DIR, None, uid, &mut found);
        if let Some(workspace) = &self.workspace {
            // File systems stamp with a clock of a few milliseconds' grain.
            let since = self.since.checked_sub(Duration::from_secs(1)).unwrap_or(self.since);
            walk(workspace, workspace, WORKSPACE, Some(since), uid, &mut found);
        }
        found
    }
}

/// A file of somebody else's.
struct Found {
    path: PathBuf,
    /// Its path in the container.
    inside: String,
}

/// Collects what is not `uid`'s; with `since` only what was made from then on, looking at single files only where
/// their directory has changed, since a workspace may hold a hundred thousand of them.
fn walk(root: &Path, dir: &Path, inside: &str, since: Option<SystemTime>, uid: u32, found: &mut Vec<Found>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let has_changed = since.is_none_or(|since| {
        dir.symlink_metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified >= since)
    });
    for entry in entries.flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir && !has_changed {
            continue;
        }
        let path = entry.path();
        if let Ok(metadata) = path.symlink_metadata()
            && metadata.uid() != uid
            && since.is_none_or(|since| is_made_since(&metadata, since))
            && let Ok(below) = path.strip_prefix(root)
        {
            found.push(Found {
                inside: format!("{inside}/{}", below.display()),
                path: path.clone(),
            });
        }
        if is_dir {
            walk(root, &path, inside, since, uid, found);
        }
    }
}

fn is_made_since(metadata: &Metadata, since: SystemTime) -> bool {
    let changed = || {
        u64::try_from(metadata.ctime())
            .ok()
            .map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s + 1))
    };
    metadata
        .created()
        .ok()
        .or_else(changed)
        .is_some_and(|made| made >= since)
}
