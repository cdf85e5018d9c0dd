//! Who is there: one file for each worker, written when it listens and removed when it leaves.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::Target;
use crate::{Result, failed};

/// A worker that takes requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub worker_id: u64,
    /// Its data-parallel ranks.
    pub dp_size: u32,
    /// Where it listens for requests over TCP.
    pub address: String,
}

impl Instance {
    /// The ranks as targets.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        (0..self.dp_size).map(|dp_rank| Target {
            worker_id: self.worker_id,
            dp_rank,
        })
    }
}

/// A directory that workers register in and routers read.
#[derive(Clone, Debug)]
pub struct Discovery {
    dir: PathBuf,
}

impl Discovery {
    /// The registry below `root`.
    pub fn new(root: &Path) -> Result<Discovery> {
        let dir = root.join("instances");
        fs::create_dir_all(&dir).map_err(|cause| failed("make the registry of workers")(&cause))?;
        Ok(Discovery { dir })
    }

    /// Writes a worker down, whole or not at all.
    pub fn register(&self, instance: &Instance) -> Result<()> {
        let text = serde_json::to_vec(instance).map_err(|cause| failed("describe a worker")(&cause))?;
        let draft = self.dir.join(format!(".{}", instance.worker_id));
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, self.path(instance.worker_id)))
            .map_err(|cause| failed("register a worker")(&cause))
    }

    /// Strikes a worker off; one that is not there is no error.
    pub fn leave(&self, worker_id: u64) {
        let _ = fs::remove_file(self.path(worker_id));
    }

    /// Every worker that is there now.
    pub fn instances(&self) -> Vec<Instance> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut instances: Vec<Instance> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
            .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
            .collect();
        instances.sort_by_key(|instance| instance.worker_id);
        instances
    }

    fn path(&self, worker_id: u64) -> PathBuf {
        self.dir.join(format!("{worker_id}.json"))
    }
}
