//! `status --follow` on a terminal: all sweeps as they go, drawn anew as they change, and keys to look into a run.
//!
//! The view only reads. Leaving it, by a key or by a signal, ends no sweep and leaves the terminal as it was found.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{EnterAlternateScreen, disable_raw_mode};

use crate::sweep::status::SweepStatus;

mod state;
mod view;

use state::State;
use view::Look;

/// How soon a key or a newly gathered state is seen.
const BEAT: Duration = Duration::from_millis(100);
/// How often elapsed times are drawn anew.
const SECOND: Duration = Duration::from_secs(1);

/// How long the view may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(1);

/// The exit codes by which shells tell of an end by a hangup, by Ctrl-C and by TERM.
const HANGUP: i32 = 129;
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// What the view reads and may use.
pub struct Sources {
    /// Reads how far the sweeps have come; called again and again in a thread of its own.
    pub gather: Box<dyn FnMut() -> anyhow::Result<Vec<SweepStatus>> + Send>,
    /// The log in a run's or an attempt's directory.
    pub log_of: fn(&str) -> Option<PathBuf>,
    /// Time between two looks.
    pub interval: Duration,
    /// Whether color may be used.
    pub is_colored: bool,
    /// Whether more than ASCII may be used.
    pub is_unicode: bool,
    /// Whether the terminal's keys are ours to read; without them the view only shows.
    pub has_keys: bool,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Shows the sweeps until the user has seen enough.
pub fn run(sources: Sources) -> anyhow::Result<()> {
    let Sources {
        gather,
        log_of,
        interval,
        is_colored,
        is_unicode,
        has_keys,
    } = sources;
    let look = Look {
        is_colored,
        is_unicode,
        has_keys,
    };
    let ending = watch_signals(has_keys)?;
    watch_terminal(has_keys);
    let news = begin(gather, interval);
    let mut state = State::default();
    let mut terminal = if has_keys { ratatui::try_init()? } else { screen()? };
    let seen = follow(&mut terminal, &mut state, look, &news, &ending, log_of);
    ratatui::restore();
    seen
}

/// The screen without the keyboard: keys go to whoever would get them without the view.
fn screen() -> io::Result<DefaultTerminal> {
    ratatui::crossterm::execute!(io::stdout(), EnterAlternateScreen)?;
    DefaultTerminal::new(CrosstermBackend::new(io::stdout()))
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
    ending: &Ending,
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
        if ending.is_asked.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !look.has_keys {
            std::thread::sleep(BEAT);
            continue;
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
            Action::Log => open(terminal, state, ending, |dir| {
                let log = log_of(dir).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                pager(Input::File(log))
            })?,
            Action::Evidence => open(terminal, state, ending, |dir| pager(Input::Evidence(dir)))?,
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
    ending: &Ending,
    show: impl FnOnce(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let Some(run) = state.selected().cloned() else {
        state.say("nothing is selected: use the arrow keys".to_owned());
        return Ok(());
    };
    ratatui::restore();
    ending.is_away.store(true, Ordering::Relaxed);
    let shown = show(&run.dir);
    ending.is_away.store(false, Ordering::Relaxed);
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
        // A pager that was left early closes its input.
        let _ = source.kill();
        source.wait()?;
    }
    ended?;
    if words[0].rsplit('/').next() != Some("less") {
        // Other pagers end with their text, which would be gone before it is read.
        let mut out = io::stdout().lock();
        out.write_all(b"\n[Enter goes back]").and_then(|()| out.flush())?;
        io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

/// What ends the view from outside, as the view and the thread that hears of it see it.
#[derive(Debug, Default)]
struct Ending {
    /// The view is to end.
    is_asked: AtomicBool,
    /// A pager has the terminal: whoever reads in it is not cut off.
    is_away: AtomicBool,
}

/// Hears of the signals that end a program, so that the terminal is given back first. With keys, Ctrl-C is a key like
/// others, and in a pager the pager's. A view that does not answer is ended here: it may be drawing on a terminal that
/// takes nothing any more.
fn watch_signals(has_keys: bool) -> anyhow::Result<Arc<Ending>> {
    use tokio::signal::unix::{SignalKind, signal};
    let ending = Arc::new(Ending::default());
    let told = Arc::clone(&ending);
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
        let code = runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {
                        if !has_keys {
                            break INTERRUPTED;
                        }
                    }
                    _ = terminate.recv() => break TERMINATED,
                    // The terminal is gone, and a thread that waits for its keys would wait forever.
                    _ = hangup.recv() => std::process::exit(HANGUP),
                }
            }
        });
        told.is_asked.store(true, Ordering::Relaxed);
        while told.is_away.load(Ordering::Relaxed) {
            std::thread::sleep(BEAT);
        }
        std::thread::sleep(PATIENCE);
        // Nothing is written any more; that could wait for the same terminal.
        let _ = disable_raw_mode();
        std::process::exit(code);
    });
    Ok(ending)
}

/// Ends the process when its terminal has hung up. Where that is not the controlling one no signal tells of it, and
/// reading from it ends at once, again and again.
fn watch_terminal(has_keys: bool) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    std::thread::spawn(move || {
        let (input, output) = (io::stdin(), io::stdout());
        // Nothing is asked for: a hangup is told all the same.
        let mut ends = vec![PollFd::new(&output, PollFlags::empty())];
        if has_keys {
            ends.push(PollFd::new(&input, PollFlags::empty()));
        }
        loop {
            match poll(&mut ends, None) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => std::process::exit(HANGUP),
                Err(_) => return,
            }
        }
    });
}
