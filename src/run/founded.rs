//! The directory of a new sweep, made before it is known what the sweep runs, so that an attempt can be made ready meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{ATTEMPTS, CLAIMS};
use super::{StoreError, Sweep};
use crate::spec::Spec;

/// A sweep that nothing has been written down of.
#[derive(Debug)]
pub struct Founded {
    pub sweep: Sweep,
    /// What was made, the innermost directory first.
    made: Vec<PathBuf>,
}

impl Founded {
    /// Makes the directory; `None` where the sweep has one.
    pub fn new(logs_dir: &Path, spec: &Spec) -> Result<Option<Founded>, StoreError> {
        let shown = logs_dir.join(spec.dir_name());
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && dir.symlink_metadata().is_err();
        let mut made: Vec<PathBuf> = [ATTEMPTS, CLAIMS].map(|name| shown.join(name)).into();
        made.extend(shown.ancestors().take_while(is_missing).map(Path::to_owned));
        if made.len() == 2 {
            return Ok(None);
        }
        Ok(Some(Founded {
            sweep: Sweep::make(shown)?,
            made,
        }))
    }

    /// Takes away what was made, as far as nothing is in it.
    pub fn undo(self) {
        for dir in self.made {
            if fs::remove_dir(dir).is_err() {
                return;
            }
        }
    }
}
