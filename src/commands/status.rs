//! `status`: how far sweeps have come, from any process, by what they leave on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{output, place};
use crate::cli::status::{Args, Format};
use crate::exit_code::ExitCode;
use crate::message::usage;
use crate::model::status::SweepStatus;
use crate::render::paint::Paint;
use crate::render::status;
use crate::reporter::follow;
use crate::store;

mod look;

use look::Watched;

/// Width that is safe on every terminal.
const WIDTH: usize = 80;

/// Prints how far the sweeps have come.
///
/// # Errors
/// A directory that was named and cannot be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.follow {
        return follow(args);
    }
    if let Some(jobs) = args.jobs {
        let [sweep] = args.sweeps.as_slice() else {
            return Err(usage("--jobs is for one sweep", None));
        };
        super::cancel::set_jobs(sweep, jobs)?;
    }
    let sweeps = gather(args, &mut Watched::default())?;
    match args.format {
        Format::Json => output::json(&json!({"format": 1, "sweeps": sweeps}))?,
        Format::Text if sweeps.is_empty() => {
            anstream::eprintln!(
                "no sweep below `{}`, and none runs on this machine",
                args.logs_dir.display()
            );
        }
        Format::Text => output::text(&status::text(&sweeps, WIDTH, Paint::Color))?,
    }
    Ok(ExitCode::Passed)
}

/// All sweeps that are meant, those that run first.
fn gather(args: &Args, watched: &mut Watched) -> anyhow::Result<Vec<SweepStatus>> {
    let dirs = find(args)?;
    watched.keep_only(&dirs);
    let mut sweeps = dirs
        .iter()
        .map(|dir| watched.look(dir))
        .collect::<Result<Vec<_>, _>>()?;
    sweeps.sort_by_key(|sweep: &SweepStatus| !sweep.running);
    Ok(sweeps)
}

/// Shows the status again and again, until the user ends it, which ends nothing else. A terminal that takes keys gets
/// the view, one that does not is redrawn in place, and a pipe gets each state that differs from the one before.
fn follow(args: &Args) -> anyhow::Result<ExitCode> {
    let mut watched = Watched::default();
    let is_terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|name| name != "dumb");
    if args.format == Format::Text && is_terminal && io::stdin().is_terminal() {
        // What was named has to be there before the screen is taken.
        gather(args, &mut watched)?;
        let asked = args.clone();
        follow::run(follow::Sources {
            gather: Box::new(move || gather(&asked, &mut watched)),
            log_of: |dir| store::log_of(Path::new(dir)),
            interval: args.interval,
            is_colored: paint() == Paint::Color,
            is_unicode: place::is_unicode(),
        })?;
        return Ok(ExitCode::Passed);
    }
    let mut shown = String::new();
    loop {
        let sweeps = gather(args, &mut watched)?;
        match args.format {
            Format::Json => {
                let mut line = serde_json::to_vec(&json!({"format": 1, "sweeps": sweeps}))?;
                line.push(b'\n');
                output::bytes(&line)?;
            }
            Format::Text if io::stdout().is_terminal() => {
                let (width, height) = size();
                // Moving the cursor is no color: it is written as it is.
                output::bytes(redraw(&status::text(&sweeps, width, paint()), height).as_bytes())?;
            }
            Format::Text => {
                let text = status::text(&sweeps, WIDTH, Paint::Plain);
                if text != shown {
                    output::text(&text)?;
                    shown = text;
                }
            }
        }
        std::thread::sleep(args.interval);
    }
}

fn paint() -> Paint {
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => Paint::Plain,
        _ => Paint::Color,
    }
}

/// A picture that replaces the one before, line by line, so that nothing flickers; as many lines as there is room for.
fn redraw(text: &str, height: usize) -> String {
    let mut picture = String::from("\u{1b}[H");
    for line in text.lines().take(height.saturating_sub(1)) {
        picture += line;
        picture += "\u{1b}[K\n";
    }
    picture + "\u{1b}[J"
}

/// Columns and lines of the terminal, asked anew each time, since it may be resized.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => (WIDTH, 24),
    }
}

/// The sweeps that are meant, each once, by the shortest name that was found for it.
fn find(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut order = Vec::new();
    let mut add = |dir: PathBuf| {
        let real = fs::canonicalize(&dir).unwrap_or_else(|_| dir.clone());
        if !found.contains_key(&real) {
            found.insert(real.clone(), dir);
            order.push(real);
        }
    };
    if args.sweeps.is_empty() {
        // Neither has to be there: another machine's sweeps, or none yet.
        store::find_sweeps(&args.logs_dir)
            .unwrap_or_default()
            .into_iter()
            .for_each(&mut add);
        store::sweeps_of_this_machine().into_iter().for_each(&mut add);
    }
    for path in &args.sweeps {
        store::find_sweeps(path)?.into_iter().for_each(&mut add);
    }
    Ok(order.into_iter().filter_map(|real| found.remove(&real)).collect())
}
