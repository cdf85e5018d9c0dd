//! Which sweep a word names: a directory, one below `--logs-dir`, or the one there that has this tag.

use std::path::{Path, PathBuf};

use crate::message::usage;
use crate::run;
use crate::spec::Mode;

/// The places to look for a sweep in, the likeliest first: as it is typed, below `logs_dir`, and there by its tag alone.
pub(super) fn places(word: &Path, logs_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut places = vec![word.to_owned(), logs_dir.join(word)];
    if places.iter().any(|place| place.exists()) {
        return Ok(places);
    }
    let tagged = tagged(word, logs_dir);
    if tagged.len() > 1 {
        let names: Vec<String> = tagged.iter().map(|sweep| sweep.display().to_string()).collect();
        return Err(usage(
            format!("several sweeps have the tag `{}`", word.display()),
            Some(&format!("name one: {}", names.join(", "))),
        ));
    }
    places.extend(tagged);
    Ok(places)
}

fn tagged(word: &Path, logs_dir: &Path) -> Vec<PathBuf> {
    let is_tagged = |sweep: &PathBuf| {
        let name = sweep.file_name().and_then(|name| name.to_str());
        let tag = name.and_then(|name| Mode::of_dir(name).1);
        tag.is_some_and(|tag| Path::new(&tag) == word)
    };
    let known = run::find_sweeps(logs_dir).unwrap_or_default();
    known.into_iter().filter(is_tagged).collect()
}
