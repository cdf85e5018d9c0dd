//! The way to an engine over ssh, as `docker` takes it: `docker system dial-stdio` on the other machine, over the user's
//! own `ssh` with what that is configured to do.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Bytes of what `ssh` said that are looked at.
const WORDS: u64 = 64 << 10;

/// Where to log in, of `ssh://[USER@]HOST[:PORT][/SOCKET]`.
#[derive(Debug)]
pub(super) struct Login {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The engine's socket there, if it is not the one that `docker` there takes.
    socket: Option<String>,
    /// Directory of the socket over which logins share a connection; ssh allows it few bytes.
    shared: Option<TempDir>,
}

impl Login {
    pub(super) fn parse(text: &str) -> Result<Login, String> {
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("a password has no place in an address".to_owned());
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
                (host, Some(port))
            }
            _ => (place, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("no host is named".to_owned());
        }
        Ok(Login {
            user,
            host,
            port,
            socket: Some(path).filter(|path| path.len() > 1).map(str::to_owned),
            shared: tempfile::Builder::new().prefix("rf-").tempdir_in("/tmp").ok(),
        })
    }

    /// The words of `ssh`, as `docker` puts them, but that logins share a connection: each request is one.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["-o".to_owned(), "ConnectTimeout=30".to_owned(), "-T".to_owned()];
        if let Some(shared) = &self.shared {
            for option in [
                "ControlMaster=auto".to_owned(),
                format!("ControlPath={}/%C", shared.path().display()),
                "ControlPersist=60".to_owned(),
            ] {
                words.extend(["-o".to_owned(), option]);
            }
        }
        words.extend(self.user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]));
        words.extend(self.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        words.extend(["--".to_owned(), self.host.clone(), "docker".to_owned()]);
        if let Some(socket) = &self.socket {
            let address = format!("unix://{socket}");
            // A shell of the other machine reads it.
            words.extend(["--host".to_owned(), shell_words::quote(&address).into_owned()]);
        }
        words.extend(["system".to_owned(), "dial-stdio".to_owned()]);
        words
    }

    /// A connection, and what `ssh` says meanwhile.
    pub(super) fn connect(&self) -> io::Result<(Dialled, Said)> {
        let said = tempfile::tempfile()?;
        let mut child = Command::new("ssh")
            .args(self.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A file: the connection that is shared keeps it open.
            .stderr(said.try_clone()?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("failed to run `ssh`: {error}")))?;
        let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let pipes = tokio::io::join(stdout, stdin);
        Ok((Dialled { pipes, _child: child }, Said(said)))
    }
}

/// What `ssh` said on its way.
pub(super) struct Said(File);

impl Said {
    /// Its last line.
    pub(super) fn last(mut self) -> Option<String> {
        let mut text = Vec::new();
        self.0.rewind().ok()?;
        self.0.take(WORDS).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rfind(|line| !line.trim().is_empty())?;
        Some(format!("ssh says: {}", last.trim()))
    }
}

/// A connection through a program's input and output.
pub(super) struct Dialled {
    pipes: Join<ChildStdout, ChildStdin>,
    _child: Child,
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipes).poll_read(context, buffer)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipes).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipes).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(address: &str) -> String {
        let words = Login::parse(address).unwrap().words();
        let shown: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .filter(|word| !word.starts_with("Control"))
            .collect();
        shown.join(" ").replace("-o -o -o ", "")
    }

    #[test]
    fn an_address_is_taken_apart_as_docker_does() {
        let before = "-o ConnectTimeout=30 -T";
        let after = "docker system dial-stdio";
        assert_eq!(words("desk"), format!("{before} -- desk {after}"));
        assert_eq!(
            words("me@desk:2222/"),
            format!("{before} -l me -p 2222 -- desk {after}")
        );
        assert_eq!(words("[::1]:22"), format!("{before} -p 22 -- ::1 {after}"));
        assert_eq!(words("[::1]"), format!("{before} -- ::1 {after}"));
        let socket = "docker --host 'unix:///run/my engine.sock' system dial-stdio";
        assert_eq!(words("desk/run/my engine.sock"), format!("{before} -- desk {socket}"));
        for (address, cause) in [
            ("me:word@desk", "a password has no place in an address"),
            ("desk:port", "`port` is no port"),
            ("me@", "no host is named"),
        ] {
            assert_eq!(Login::parse(address).unwrap_err(), cause);
        }
    }
}
