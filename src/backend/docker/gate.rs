//! The gate of a container: our end of what `gate/gate.rs` is in the container.
//!
//! Both meet at a socket in a directory of its own, which this user alone can enter and the container sees as a mount.
//! Who comes to it must be process 1 of that container, must know the secret that the container was given, and must
//! see the very directory that was made for the attempt. After that the socket has no name any more. It holds the
//! session back, hands over the pipe that the session prints to, so that no byte takes the way through the engine, and
//! tells how the session ended, a tenth of a second before the engine does.

use std::fs::File;
use std::io::{self, IoSlice, PipeWriter, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::backend::output::{self, Output};
use crate::backend::toolchain::hex;
use crate::backend::{leftovers, packages};
use crate::proc;
use crate::run::{Identity, Scratch};

mod account;
mod starvation;

pub(super) use account::{Account, EndReport};
pub(super) use starvation::{PLAN, Starvation, plan};

/// Where a container sees the program.
pub(super) const PROGRAM: &str = "/reproduce-flaky/gate";
/// Where a container sees the directory of the socket.
pub(super) const DOOR: &str = "/reproduce-flaky/door";
/// Variable with the secret; the program knows it by the same name.
pub(super) const SECRET: &str = "REPRODUCE_FLAKY_GATE";

/// The program; empty where it could not be built.
const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gate"));

const SOCKET: &str = "socket";

/// How long a started container may take to reach its gate. It does so before the engine says that it is started, but on
/// a machine with many times more to do than it can; without a gate, less would be known of the session's end.
const ARRIVAL: Duration = Duration::from_mins(1);
/// How long one that comes to the gate may take to say who it is.
const GREETING: Duration = Duration::from_secs(2);
/// Room in the pipe: with the kernel's 64 KiB a session that prints much is stopped at every piece.
const PIPE: usize = 1 << 20;
/// How long process 1 may take to let everything go that it stops.
const STILL: Duration = Duration::from_secs(2);
/// Longest line that comes over the socket.
const LINE: usize = 4 << 10;

/// What a container needs to be held.
#[derive(Clone, Debug)]
pub(super) struct GateMount {
    /// The program, on this machine.
    pub(super) program: PathBuf,
    /// Directory of the socket, on this machine.
    pub(super) door: PathBuf,
    /// What the program has to say.
    pub(super) secret: String,
}

impl GateMount {
    /// What is put in front of the session's own command: with `has_init` it is run as the child of an init process.
    /// `shown` is the mounted directory that the program tells us of.
    pub(super) fn command(has_init: bool, shown: &str) -> [String; 4] {
        let how = if has_init { "hold" } else { "become" };
        [
            PROGRAM.to_owned(),
            how.to_owned(),
            format!("{DOOR}/{SOCKET}"),
            shown.to_owned(),
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

/// A gate that nobody has come to yet.
pub(super) struct Gate {
    mount: GateMount,
    listener: UnixListener,
    /// What the program has to see as the mounted directory.
    seen: Identity,
    /// Removed with everything in it once nobody needs to find it any more.
    _dir: Scratch,
}

impl Gate {
    /// Makes one below the user's cache, where the engine finds the program too. `run` is the directory that the
    /// container must turn out to have; without one, the door itself stands for it.
    pub(super) fn make(program: PathBuf, run: Option<Identity>) -> io::Result<Gate> {
        let cache = packages::cache().map_err(io::Error::other)?;
        let dir = Scratch::make(&cache, leftovers::GATE)?;
        // The gate connects as the container's user, whoever that is.
        let door = dir.dir().make_dir("door", 0o755)?;
        let seen = run.unwrap_or(door.identity());
        // A socket's path may be 107 bytes long, which that of a cache easily is not.
        let short = PathBuf::from(format!("/proc/self/fd/{}", door.as_fd().as_raw_fd()));
        let listener = UnixListener::bind(short.join(SOCKET))?;
        door.set_mode_of(SOCKET, 0o666)?;
        Ok(Gate {
            mount: GateMount {
                program,
                door: door.path().to_owned(),
                secret: secret()?,
            },
            listener,
            seen,
            _dir: dir,
        })
    }

    pub(super) fn mount(&self) -> &GateMount {
        &self.mount
    }

    /// Waits until the container is at the gate whose process 1 is `first`, by the engine's count; others are sent away.
    pub(super) async fn arrival(self, first: Option<i32>) -> Result<Held, String> {
        let until = tokio::time::Instant::now() + ARRIVAL;
        loop {
            let connection = match tokio::time::timeout_at(until, self.listener.accept()).await {
                Ok(accepted) => accepted.map_err(|error| error.to_string())?.0,
                Err(_) => return Err(format!("it was not there within {} s", ARRIVAL.as_secs())),
            };
            if !is_process_one(&connection, first) {
                continue;
            }
            let mut held = Held {
                connection,
                said: BytesMut::new(),
                pipe: None,
                starvation: Starvation::default(),
            };
            let Ok(Some(greeting)) = tokio::time::timeout(GREETING, held.line()).await else {
                continue;
            };
            let Some(seen) = greeting.strip_prefix(&self.mount.secret) else {
                continue;
            };
            if seen.trim() != format!("{} {}", self.seen.device, self.seen.inode) {
                return Err("its directory is not the one that was made for it".to_owned());
            }
            return Ok(held);
        }
    }
}

/// What nobody can guess.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Whether the other end is process 1 of the container. Where this process cannot see it, only the secret tells.
fn is_process_one(connection: &UnixStream, first: Option<i32>) -> bool {
    let peer = connection.peer_cred().ok().and_then(|peer| peer.pid());
    match (peer, first) {
        (Some(0) | None, _) | (_, None) => true,
        (Some(peer), Some(first)) if peer == first => true,
        // The engine may count in a namespace of its own, between ours and the container's.
        (Some(peer), Some(first)) => proc::numbers(peer).contains(&first),
    }
}

#[cfg(target_os = "linux")]
fn widen(output: &PipeWriter) {
    // More than an ordinary user may have is no reason to have none.
    let _ = rustix::pipe::fcntl_setpipe_size(output, PIPE);
}

#[cfg(not(target_os = "linux"))]
fn widen(_: &PipeWriter) {}

/// A container that waits at its gate, or, once that is open, one that will tell how it ended.
pub(super) struct Held {
    connection: UnixStream,
    said: BytesMut,
    /// The pipe that the session is to print to, until it is handed over.
    pipe: Option<PipeWriter>,
    /// What was told of threads that were stopped.
    starvation: Starvation,
}

impl Held {
    /// Makes the pipe that the session prints to, and returns our end of it.
    pub(super) fn pipe(&mut self) -> io::Result<Output> {
        let (reader, writer) = io::pipe()?;
        widen(&writer);
        self.pipe = Some(writer);
        output::of_pipe(reader)
    }

    /// Lets the session run. `false` if it is not there any more.
    pub(super) async fn open(&mut self) -> bool {
        let is_gone =
            !matches!(self.connection.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // Ours goes with it: what is left of the pipe is the session's.
        let pipe = self.pipe.take();
        !is_gone && self.hand_over(pipe.as_ref()).await.is_ok()
    }

    async fn hand_over(&self, pipe: Option<&PipeWriter>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = pipe.iter().map(|pipe| pipe.as_fd()).collect();
        loop {
            self.connection.writable().await?;
            let sent = self.connection.try_io(Interest::WRITABLE, || {
                let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut beside = SendAncillaryBuffer::new(&mut room);
                if !descriptors.is_empty() {
                    beside.push(SendAncillaryMessage::ScmRights(&descriptors));
                }
                Ok(sendmsg(
                    &self.connection,
                    &[IoSlice::new(b"g")],
                    &mut beside,
                    SendFlags::NOSIGNAL,
                )?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map(|_| ()),
            }
        }
    }

    /// Waits for the account of the end; `None` if there will be none. May be dropped and called again.
    pub(super) async fn report(&mut self) -> Option<EndReport> {
        loop {
            let line = self.line().await?;
            if !self.starvation.take(&line) {
                return EndReport::parse(&line);
            }
        }
    }

    /// What was told so far of threads that were stopped.
    pub(super) fn starvation(&self) -> &Starvation {
        &self.starvation
    }

    /// Has no thread stopped any more, from here on. The session's end, if it comes meanwhile, is returned.
    pub(super) async fn hold_still(&mut self) -> Option<EndReport> {
        if !self.starvation.means.is_had() || self.starvation.is_still {
            return None;
        }
        let told = async {
            self.connection.writable().await.ok()?;
            let _ = self.connection.try_write(b"p");
            while !self.starvation.is_still {
                let line = self.line().await?;
                if !self.starvation.take(&line) {
                    return EndReport::parse(&line);
                }
            }
            None
        };
        tokio::time::timeout(STILL, told).await.ok().flatten()
    }

    /// The next line that comes over the connection; `None` if that ends, or the line does not. May be dropped and
    /// called again.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                return Some(String::from_utf8_lossy(&self.said.split_to(end + 1)).into_owned());
            }
            match self.connection.read_buf(&mut self.said).await {
                Ok(read) if read > 0 && self.said.len() <= LINE => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }
}
