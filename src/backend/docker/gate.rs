//! The gate of a container that is started ahead of its turn: our end of what `gate/gate.rs` is in the container.
//!
//! Both meet in the directory of the attempt, at a socket and a FIFO, whose names are gone before the gate opens. The
//! socket holds the session back, and tells how it ended, a tenth of a second before the engine does; the FIFO is its
//! stdout and stderr, so that no byte takes the way through the engine.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::BytesMut;
use chrono::{DateTime, Utc};
use futures_util::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::net::{UnixListener, UnixStream};

use super::recipe::RUN_DIR;
use crate::backend::{BackendError, packages};
use crate::model::Usage;

/// Where a container sees the program.
pub(super) const PROGRAM: &str = "/reproduce-flaky/gate";

/// The program; empty where it could not be built.
const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gate"));

const SOCKET: &str = ".gate";
const OUTPUT: &str = ".output";

/// How long a started container may take to reach its gate; it does so before the engine says that it is started.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Room in the FIFO: with the kernel's 64 KiB a session that prints much is stopped at every piece.
const PIPE: usize = 1 << 20;
/// Largest piece of output that is read at once.
const PIECE: usize = 1 << 17;

/// What a container needs to be held.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The program, on this machine.
    pub(super) program: PathBuf,
    /// Directory that the container sees as [`RUN_DIR`].
    pub(super) dir: PathBuf,
}

impl Place {
    /// What is put in front of the session's own command: with `has_init` it is run as the child of an init process.
    pub(super) fn command(has_init: bool) -> [String; 4] {
        let how = if has_init { "hold" } else { "become" };
        [
            PROGRAM.to_owned(),
            how.to_owned(),
            format!("{RUN_DIR}/{SOCKET}"),
            format!("{RUN_DIR}/{OUTPUT}"),
        ]
    }
}

/// The program in the user's cache.
///
/// # Errors
/// It was not built, or cannot be written.
pub(super) fn program() -> Result<PathBuf, String> {
    if BINARY.is_empty() {
        return Err("this build has no program to hold them (it takes 64-bit Linux and a static C library)".to_owned());
    }
    packages::keep_program("gate", BINARY).map_err(|error| error.to_string())
}

/// A directory for a container that has none of an attempt, below the cache, where the engine finds the program too.
pub(super) fn try_dir(cache: &Path) -> Result<tempfile::TempDir, BackendError> {
    let made = tempfile::Builder::new()
        .prefix("gate-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(cache);
    made.map_err(|error| BackendError::Unfit {
        what: format!("failed to make a directory in `{}`: {error}", cache.display()),
        hint: None,
    })
}

/// A gate that nobody has come to yet.
pub(super) struct Gate {
    names: Names,
    listener: UnixListener,
    output: Receiver,
}

/// The names of socket and FIFO in a directory, until nobody needs to find them any more.
struct Names(PathBuf);

impl Drop for Names {
    fn drop(&mut self) {
        for name in [SOCKET, OUTPUT] {
            let _ = fs::remove_file(self.0.join(name));
        }
    }
}

impl Gate {
    pub(super) fn make(dir: &Path) -> io::Result<Gate> {
        let names = Names(dir.to_owned());
        let fifo = dir.join(OUTPUT);
        make_fifo(&fifo)?;
        // Whoever the container's user is; the umask has taken that away.
        fs::set_permissions(&fifo, Permissions::from_mode(0o666))?;
        let output = OpenOptions::new().open_receiver(&fifo)?;
        widen(&output);
        // A socket's path may be 107 bytes long, which that of an attempt easily is not.
        let opened = File::open(dir)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(SOCKET);
        let listener = UnixListener::bind(short)?;
        fs::set_permissions(dir.join(SOCKET), Permissions::from_mode(0o666))?;
        Ok(Gate {
            names,
            listener,
            output,
        })
    }

    /// Waits until the container is at the gate.
    pub(super) async fn arrival(self) -> Result<Held, String> {
        let arrived = tokio::time::timeout(ARRIVAL, async {
            let (mut connection, _) = self.listener.accept().await?;
            let mut word = [0; 6];
            connection.read_exact(&mut word).await?;
            io::Result::Ok(connection)
        });
        match arrived.await {
            Ok(Ok(connection)) => {
                // Nobody else is to find them, least of all the session.
                drop(self.names);
                Ok(Held {
                    connection,
                    output: Some(self.output),
                    said: BytesMut::new(),
                })
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it was not there within {} s", ARRIVAL.as_secs())),
        }
    }
}

#[cfg(target_os = "linux")]
fn make_fifo(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?)
}

/// Elsewhere the program at the gate cannot be built, and nothing comes this far.
#[cfg(not(target_os = "linux"))]
fn make_fifo(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn widen(output: &Receiver) {
    // More than an ordinary user may have is no reason to have none.
    let _ = rustix::pipe::fcntl_setpipe_size(output, PIPE);
}

#[cfg(not(target_os = "linux"))]
fn widen(_: &Receiver) {}

/// A container that waits at its gate, or, once that is open, one that will tell how it ended.
pub(super) struct Held {
    connection: UnixStream,
    output: Option<Receiver>,
    said: BytesMut,
}

impl Held {
    /// What the session prints.
    pub(super) fn output(&mut self) -> Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>> {
        let Some(output) = self.output.take() else {
            return Box::pin(futures_util::stream::empty());
        };
        let pieces = futures_util::stream::unfold((output, BytesMut::new()), |(mut output, mut buffer)| async {
            buffer.reserve(PIECE);
            match output.read_buf(&mut buffer).await {
                Ok(0) => None,
                Ok(_) => {
                    let message = buffer.split().freeze();
                    Some((Ok(LogOutput::StdOut { message }), (output, buffer)))
                }
                Err(err) => Some((Err(Error::IOError { err }), (output, buffer))),
            }
        });
        Box::pin(pieces)
    }

    /// Lets the session run. `false` if it is not there any more.
    pub(super) async fn open(&mut self) -> bool {
        let is_gone =
            !matches!(self.connection.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        !is_gone && self.connection.write_all(b"g").await.is_ok()
    }

    /// Waits for the account of the end; `None` if there will be none. May be dropped and called again.
    pub(super) async fn report(&mut self) -> Option<Report> {
        while !self.said.ends_with(b"\n") {
            match self.connection.read_buf(&mut self.said).await {
                Ok(read) if read > 0 => {}
                Ok(_) | Err(_) => return None,
            }
        }
        Report::parse(&String::from_utf8_lossy(&self.said))
    }
}

/// What process 1 of a container has to say of the session's end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Account {
    /// Nothing: it is not ours, or has become the session.
    NotKept,
    /// Nothing yet.
    Awaited,
    /// It is gone without a word: somebody outside killed it, or the memory limit did.
    Missing,
    /// This.
    Given(Report),
}

impl Account {
    /// Of a container with a gate: with an init process, the gate's program stays.
    pub(super) fn of(has_gate: bool, has_init: bool) -> Account {
        if has_gate && has_init {
            Account::Awaited
        } else {
            Account::NotKept
        }
    }

    /// Takes in what came over the connection before it ended.
    pub(super) fn take(&mut self, report: Option<Report>) {
        if *self == Account::Awaited {
            *self = report.map_or(Account::Missing, Account::Given);
        }
    }

    /// What was told.
    pub(super) fn report(&self) -> Option<&Report> {
        match self {
            Account::Given(report) => Some(report),
            Account::NotKept | Account::Awaited | Account::Missing => None,
        }
    }

    /// Whether the session's end was brought about from outside of its container.
    pub(super) fn is_interfered_with(&self) -> bool {
        match self {
            Account::Given(report) => report.forwarded != 0,
            Account::Missing => true,
            Account::NotKept | Account::Awaited => false,
        }
    }
}

/// How a session ended, as process 1 of its container tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// Exit code; 128 + signal where a signal ended it.
    pub(super) code: i32,
    signal: i32,
    /// The last signal that came from outside, 0 if none did.
    forwarded: i32,
    /// Whether no process of the container is left.
    is_gone: bool,
    /// Processes that the memory limit killed; -1 where that cannot be known from inside.
    pub(super) oom_kills: i64,
    /// When the program was started, by the gate.
    pub(super) started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub(super) finished_at: Option<DateTime<Utc>>,
    /// What it used.
    pub(super) usage: Option<Usage>,
}

impl Report {
    fn parse(line: &str) -> Option<Report> {
        let mut report = Report::default();
        let mut usage = Usage::default();
        let seconds = |micros: i64| micros as f64 / 1e6;
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=')?;
            let number: i64 = value.parse().ok()?;
            let time = || DateTime::from_timestamp_micros(number);
            match name {
                "code" => report.code = i32::try_from(number).ok()?,
                "signal" => report.signal = i32::try_from(number).ok()?,
                "forwarded" => report.forwarded = i32::try_from(number).ok()?,
                "gone" => report.is_gone = number == 1,
                "oom" => report.oom_kills = number,
                "started_us" => report.started_at = time(),
                "finished_us" => report.finished_at = time(),
                "user_us" => usage.user_s = seconds(number),
                "system_us" => usage.system_s = seconds(number),
                "max_rss_kb" => usage.max_rss_bytes = u64::try_from(number).ok()? * 1024,
                _ => {}
            }
        }
        // Nothing that runs Python does so without memory.
        report.usage = (usage.max_rss_bytes > 0).then_some(usage);
        report.finished_at.is_some().then_some(report)
    }

    /// Whether nobody but us, if we did, asked the program to end: then its end is an answer even if the engine is gone.
    pub(super) fn is_own_end(&self, is_signalled: bool) -> bool {
        self.forwarded == 0 || is_signalled
    }

    /// Whether the engine could add nothing: the program ended by itself with a code, nothing is left of it, nobody
    /// interfered from outside and no limit did.
    pub(super) fn is_whole(&self, has_memory_limit: bool) -> bool {
        let has_no_kills = self.oom_kills == 0 || (self.oom_kills < 0 && !has_memory_limit);
        self.signal == 0 && self.forwarded == 0 && self.is_gone && has_no_kills
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "code=0 signal=0 forwarded=0 gone=1 oom=0 started_us=1000000 finished_us=2000000 user_us=250000 \
                        system_us=50000 max_rss_kb=2048\n";

    #[test]
    fn an_account_that_leaves_questions_is_left_to_the_engine() {
        let is_whole = |line: &str, limit: bool| Report::parse(line).unwrap().is_whole(limit);
        assert!(is_whole(LINE, true));
        assert!(is_whole(&LINE.replace("code=0", "code=137"), true));
        for (from, to) in [
            ("signal=0", "signal=9"),
            ("forwarded=0", "forwarded=15"),
            ("gone=1", "gone=0"),
            ("oom=0", "oom=1"),
        ] {
            assert!(!is_whole(&LINE.replace(from, to), false), "{to}");
        }
        assert!(is_whole(&LINE.replace("oom=0", "oom=-1"), false));
        assert!(!is_whole(&LINE.replace("oom=0", "oom=-1"), true));
    }

    #[test]
    fn what_is_cut_short_is_no_account() {
        let report = Report::parse(LINE).unwrap();
        assert_eq!(
            (
                report.started_at.unwrap().timestamp(),
                report.finished_at.unwrap().timestamp()
            ),
            (1, 2)
        );
        let usage = report.usage.unwrap();
        assert_eq!(
            (usage.user_s, usage.system_s, usage.max_rss_bytes),
            (0.25, 0.05, 2 << 20)
        );
        assert_eq!(Report::parse("code=0 signal=0 forwarded"), None);
        assert_eq!(Report::parse("code=0"), None);
        assert_eq!(Report::parse("code=99999999999999999999"), None);
    }
}
