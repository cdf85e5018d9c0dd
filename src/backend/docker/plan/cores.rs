//! Where the cores of sessions in containers are on this machine.

use std::path::{Path, PathBuf};

use super::{Image, Plan};
use crate::backend::Attempt;
use crate::backend::cores::{Cores, Pattern, Place, View};
use crate::backend::docker::recipe::{RUN_DIR, WORKSPACE};
use crate::model::Workspace;

impl Plan {
    /// Where a session leaves its cores, and whether the files that its processes map are this machine's. `None` where
    /// they are not asked for, or out of reach.
    pub(in crate::backend::docker) fn cores(&self, attempt: &Attempt) -> Option<(Cores, bool)> {
        if !self.spec.container.cores {
            return None;
        }
        let cores = Cores {
            place: self.core_place(&attempt.dir).ok()?,
            mark: attempt.name.clone(),
            dir: attempt.dir.clone(),
        };
        Some((cores, matches!(self.image, Image::Host { .. })))
    }

    /// Why there will be none although they are asked for.
    pub(in crate::backend::docker) fn no_cores(&self) -> Option<String> {
        let cause = self.core_place(Path::new("/")).err()?;
        (self.spec.container.cores).then(|| format!("cores are not collected: {cause}"))
    }

    fn core_place(&self, run_dir: &Path) -> Result<Place, String> {
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
        Pattern::current().place(&View {
            works_in,
            mounts: &mounts,
        })
    }
}
