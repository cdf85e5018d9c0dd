//! `before`, a command of the settings file such as a build, run once before the first iteration; and whether that file
//! still is what the sweep was begun with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;

use super::args::Args;
use super::arms;
use crate::cli::settings::Settings;
use crate::message::{hinted, tell};
use crate::run;
use crate::spec::Spec;

/// Refuses a resume if the settings file runs or opens something else than when the sweep was begun: a test that may
/// write to the directory may have written the file.
pub(in crate::commands) fn is_as_begun(args: &Args, settings: Option<&Settings>, specs: &[Spec]) -> anyhow::Result<()> {
    if args.accept_settings {
        return Ok(());
    }
    let nothing = BTreeMap::new();
    let now = settings.map_or(&nothing, Settings::reach);
    for dir in sweeps(args, settings, specs) {
        // A specification that cannot be read is refused where the sweep is opened.
        let known = run::spec(&dir).unwrap_or_default().and_then(|spec| spec.settings);
        let Some(then) = known.filter(|then| then != now) else {
            continue;
        };
        let names = now.keys().chain(then.keys());
        let mut changed: Vec<String> = names
            .filter(|name| now.get(*name) != then.get(*name))
            .map(|name| format!("`{name}`"))
            .collect();
        changed.sort();
        changed.dedup();
        let changed = changed.join(", ");
        let mut text = match settings {
            Some(settings) => format!("`{}` does not set {changed}", settings.path.display()),
            None => format!("no settings file sets {changed}"),
        };
        let _ = write!(text, " as when `{}` was begun", dir.display());
        if let Some(before) = settings.and_then(|settings| settings.before.as_ref()) {
            let _ = write!(text, "; `before` is now `{}`", shell_words::join(before));
        }
        return Err(hinted(
            text,
            "a test can have written it: look at it, then go on with --accept-settings",
        ));
    }
    Ok(())
}

/// The directories of these sweeps, and of the sweeps that the command line alone would name: a changed file must not
/// turn a resume into a new sweep, which would not be checked.
fn sweeps(args: &Args, settings: Option<&Settings>, specs: &[Spec]) -> Vec<PathBuf> {
    let named = |args: &Args, specs: &[Spec]| specs.iter().map(|spec| args.logs.dir.join(spec.dir_name())).collect();
    let mut dirs: Vec<PathBuf> = named(args, specs);
    if settings.is_some()
        && let Ok(plain) = Args::read(args.said.clone(), None)
        && let Ok(specs) = arms::specs(&plain, None)
    {
        dirs.extend::<Vec<PathBuf>>(named(&plain, &specs));
    }
    dirs
}

/// Runs the command in another directory, its output in a file.
pub(in crate::commands) async fn run_in(command: &[String], directory: &Path, log: File) -> Result<(), String> {
    let shown = shell_words::join(command);
    let output = log.try_clone().map_err(|error| error.to_string())?;
    let status = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("`{shown}`, the command of `before`, cannot be run: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{shown}`, the command of `before`, failed: {status}"))
}

/// Runs the command, its output on stderr.
pub(in crate::commands) async fn run(settings: Option<&Settings>) -> anyhow::Result<()> {
    let Some((settings, command)) = settings.and_then(|settings| Some((settings, settings.before.as_ref()?))) else {
        return Ok(());
    };
    let shown = shell_words::join(command);
    tell(format_args!("before: {shown} (from {})", settings.path.display()));
    let status = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .await
        .with_context(|| format!("failed to run `{shown}`, the command of `before`"))?;
    if status.success() {
        return Ok(());
    }
    Err(hinted(
        format!("`{shown}`, the command of `before`, failed: {status}"),
        "no iteration was started; mend the command and run the sweep again",
    ))
}
