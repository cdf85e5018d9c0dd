//! `status --follow` on a terminal: all sweeps as they go, drawn anew as they change, and keys to look into a run.
//!
//! It only looks. Leaving it, by a key or by a signal, ends nothing and leaves the terminal as it was found.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::model::status::SweepStatus;

mod state;
mod view;

use state::State;
use view::Look;

/// How soon a key is seen, and something new that was gathered.
const BEAT: Duration = Duration::from_millis(100);
/// How soon elapsed times go on where nothing else is new.
const SECOND: Duration = Duration::from_secs(1);

/// What the view is made from.
pub struct Sources {
    /// Says how far the sweeps have come; called again and again, apart from the view, which does not wait for it.
    pub gather: Box<dyn FnMut() -> anyhow::Result<Vec<SweepStatus>> + Send>,
    /// The log in a run's or an attempt's directory.
    pub log_of: fn(&str) -> Option<PathBuf>,
    /// Time between two looks.
    pub interval: Duration,
    /// Whether color may be used.
    pub is_colored: bool,
    /// Whether more than ASCII may be used.
    pub is_unicode: bool,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Shows the sweeps until the user has seen enough.
///
/// # Errors
/// The terminal cannot be used.
pub fn run(sources: Sources) -> anyhow::Result<()> {
    let Sources {
        gather,
        log_of,
        interval,
        is_colored,
        is_unicode,
    } = sources;
    let look = Look { is_colored, is_unicode };
    let ended = watch_signals()?;
    let news = begin(gather, interval);
    let mut state = State::default();
    let mut terminal = ratatui::try_init()?;
    let seen = follow(&mut terminal, &mut state, look, &news, &ended, log_of);
    ratatui::restore();
    seen
}

/// Gathers in a thread of its own: a slow file system must not make keys slow.
fn begin(
    mut gather: Box<dyn FnMut() -> anyhow::Result<Vec<SweepStatus>> + Send>,
    interval: Duration,
) -> Receiver<anyhow::Result<Vec<SweepStatus>>> {
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while send.send(gather()).is_ok() {
            std::thread::sleep(interval);
        }
    });
    receive
}

fn follow(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    look: Look,
    news: &Receiver<anyhow::Result<Vec<SweepStatus>>>,
    ended: &AtomicBool,
    log_of: fn(&str) -> Option<PathBuf>,
) -> anyhow::Result<()> {
    let mut drawn = Instant::now();
    let mut is_stale = true;
    loop {
        match news.try_recv() {
            Ok(Ok(sweeps)) => {
                state.show(sweeps);
                is_stale = true;
            }
            Ok(Err(error)) => {
                state.say(format!("{error:#}"));
                is_stale = true;
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        if is_stale || drawn.elapsed() >= SECOND {
            terminal.draw(|frame| view::draw(frame, state, look))?;
            drawn = Instant::now();
            is_stale = false;
        }
        if ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !event::poll(BEAT)? {
            continue;
        }
        is_stale = true;
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match action(key) {
            Action::Quit => return Ok(()),
            Action::Move(by) => state.step(by),
            Action::Log => open(terminal, state, |dir| {
                let log = log_of(dir).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                pager(Input::File(log))
            })?,
            Action::Evidence => open(terminal, state, |dir| pager(Input::Evidence(dir)))?,
            Action::None => {}
        }
    }
}

/// What a key asks for.
enum Action {
    Quit,
    Move(isize),
    Log,
    Evidence,
    None,
}

fn action(key: KeyEvent) -> Action {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if is_control => Action::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => Action::Move(1),
        KeyCode::Up | KeyCode::Char('k') | KeyCode::BackTab => Action::Move(-1),
        KeyCode::PageDown => Action::Move(10),
        KeyCode::PageUp => Action::Move(-10),
        KeyCode::Home | KeyCode::Char('g') => Action::Move(isize::MIN / 2),
        KeyCode::End | KeyCode::Char('G') => Action::Move(isize::MAX / 2),
        KeyCode::Enter | KeyCode::Char('l') => Action::Log,
        KeyCode::Char('e') => Action::Evidence,
        _ => Action::None,
    }
}

/// Hands the terminal over to a program that shows something of the selected run, and takes it back.
fn open(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    show: impl FnOnce(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let Some(run) = state.selected().cloned() else {
        state.say("nothing is selected: use the arrow keys".to_owned());
        return Ok(());
    };
    ratatui::restore();
    let shown = show(&run.dir);
    *terminal = ratatui::try_init()?;
    terminal.clear()?;
    if let Err(error) = shown {
        state.say(format!("cannot show `{}`: {error}", run.dir));
    }
    Ok(())
}

/// What a pager is given.
enum Input<'a> {
    File(PathBuf),
    /// What `show` says of this directory.
    Evidence(&'a str),
}

/// Runs the user's pager, or one that is there.
fn pager(input: Input<'_>) -> io::Result<()> {
    let chosen = std::env::var("PAGER").unwrap_or_default();
    let words = shell_words::split(&chosen).unwrap_or_default();
    let words = if words.is_empty() {
        vec!["less".to_owned(), "-R".to_owned()]
    } else {
        words
    };
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let mut source = None;
    match input {
        Input::File(log) => {
            command.arg(log);
        }
        Input::Evidence(dir) => {
            let mut show = Command::new(std::env::current_exe()?);
            let mut show = show
                .args(["show", "--", dir])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            command.stdin(show.stdout.take().map_or_else(Stdio::null, Stdio::from));
            source = Some(show);
        }
    }
    let ended = command.status();
    if let Some(mut source) = source {
        // A pager that was left early has seen enough.
        let _ = source.kill();
        source.wait()?;
    }
    ended?;
    if words[0].rsplit('/').next() != Some("less") {
        // Others end with their text, which would be gone before it is read.
        let mut out = io::stdout().lock();
        out.write_all(b"\n[Enter goes back]").and_then(|()| out.flush())?;
        io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

/// Hears of the signals that end a program, so that the terminal is given back first. Ctrl-C in a pager is the pager's.
fn watch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => break,
                    _ = hangup.recv() => break,
                }
            }
        });
        flag.store(true, Ordering::Relaxed);
    });
    Ok(ended)
}
