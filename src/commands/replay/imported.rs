//! A run that came in with a bundle runs here only if `--allow` says so, and only with what is allowed.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::original::Original;
use super::replays::configuration;
use crate::message::{hinted, tell};
use crate::report::shown::short;
use crate::run;
use crate::spec::BackendKind;
use crate::spec::imported::Allowance;
use crate::sweep::argv::argv;

/// Most characters of a bundle's text that are shown in one place.
const WIDTH: usize = 400;

/// Narrows what the run's sweep asks for to what was allowed; runs of this machine's own sweeps stay as they are.
pub(super) fn admit(original: &mut Original, allowed: &[Allowance]) -> anyhow::Result<()> {
    if !run::is_imported(original.dir(), &original.spec) {
        return Ok(());
    }
    let here = std::env::current_dir().context("failed to find the current directory")?;
    let asked = original.spec.clone();
    original.spec = asked.as_allowed(allowed, &here);
    let held_back: Vec<String> = asked.held_back(allowed).iter().map(|text| short(text, WIDTH)).collect();
    if asked.allowed_backend(allowed).is_some() {
        for text in held_back {
            tell(format_args!("note: not allowed, and left out: {text}"));
        }
        return Ok(());
    }
    let shown = original.shown.display();
    let mut text =
        format!("`{shown}` came in with a bundle, and nothing of it runs here unasked; allowed, it would run");
    let _ = match asked.backend {
        BackendKind::Docker => write!(
            text,
            " in a container of `{}`, with a copy of `{}`:",
            short(&asked.image, WIDTH),
            here.display()
        ),
        BackendKind::Local => write!(text, " on this machine, without isolation, in `{}`:", here.display()),
    };
    let _ = write!(text, "\n  {}", short(&command(original), WIDTH));
    if !held_back.is_empty() {
        text += "\nwithout what the bundle asks for besides:";
    }
    for part in held_back {
        let _ = write!(text, "\n  {part}");
    }
    let hint = match asked.backend {
        BackendKind::Docker => {
            "--allow container runs it so; --allow container,network adds the bundle's network, and so on"
        }
        BackendKind::Local => {
            "--allow container runs it in a container over this machine's Python, --allow local without one"
        }
    };
    Err(hinted(text, hint))
}

/// The session's command without the list of tests.
fn command(original: &Original) -> String {
    shell_words::join(argv(&configuration(original, None)))
}
