//! Where the cores of sessions in containers are on this machine.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Image, Plan};
use crate::backend::Attempt;
use crate::backend::cores::{CoreDir, Cores, Pattern, View};
use crate::backend::docker::recipe::{RUN_DIR, WORKSPACE};
use crate::spec::Workspace;

impl Plan {
    /// Where a session leaves its cores. `None` where they are not asked for, or out of reach.
    pub(in crate::backend::docker) fn cores(&self, attempt: &Attempt) -> Option<Cores> {
        if !self.spec.container.cores {
            return None;
        }
        // The directories of this machine are taken only where the workspace cannot reach them.
        let directory = &self.spec.directory;
        let is_apart = |dir: &PathBuf| !dir.starts_with(directory) && !directory.starts_with(dir);
        let unchanged = match &self.image {
            Image::Named { .. } => Vec::new(),
            Image::Host { .. } => {
                let own = self.recipe.binds.iter().filter(|bind| !bind.is_writable);
                let same = own.filter(|bind| Path::new(&bind.target) == bind.source);
                same.map(|bind| bind.source.clone()).filter(is_apart).collect()
            }
        };
        let secrets = self.secrets();
        Some(Cores {
            dir: self.core_dir(&attempt.dir).ok()?,
            mark: attempt.name.clone(),
            dirs: attempt.dirs.clone()?,
            since: SystemTime::now(),
            secrets: self.environment.values(secrets.iter().map(String::as_str)),
            unchanged,
        })
    }

    /// Why there will be none although they are asked for.
    pub(in crate::backend::docker) fn no_cores(&self) -> Option<String> {
        let cause = self.core_dir(Path::new("/")).err()?;
        (self.spec.container.cores).then(|| format!("cores are not collected: {cause}"))
    }

    fn core_dir(&self, run_dir: &Path) -> Result<CoreDir, String> {
        if !self.is_here {
            return Err("they stay on the engine's machine".to_owned());
        }
        let directory = self.spec.directory.as_path();
        let works_in = (self.spec.container.workspace == Workspace::Rw).then_some(directory);
        let mut mounts = vec![(run_dir.to_owned(), RUN_DIR.to_owned())];
        mounts.extend(works_in.map(|directory| (directory.to_owned(), WORKSPACE.to_owned())));
        for volume in &self.recipe.volumes {
            let mut parts = volume.split(':');
            if let (Some(source), Some(target)) = (parts.next(), parts.next())
                && source.starts_with('/')
            {
                mounts.push((PathBuf::from(source), target.to_owned()));
            }
        }
        Pattern::current().dir(&View {
            works_in,
            mounts: &mounts,
        })
    }
}
