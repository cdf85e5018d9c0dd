//! The way to an engine: a connection for each request, on which no answer can be larger than answers are. Requests name
//! the version of the API that both sides know, which the client's own leave out.
//!
//! The client takes in an answer whole, and of a session's output each frame, however long the other side says it is.
//! So what comes in is counted here, where it is bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::Place;
use super::ssh::{Login, Said};
use super::tls::Tls;
use crate::backend::BackendError;

/// Longest answer: a list of five thousand containers has ten megabytes.
const ANSWER: u64 = 16 << 20;
/// Longest answer of those that come in lines, each of which is tried at every byte that arrives.
const LINES: u64 = 1 << 20;
/// Longest frame of output; engines send some ten thousand bytes at a time.
const FRAME: u64 = 16 << 20;

/// How an engine is reached.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Socket(PathBuf),
    /// Host and port, and how to speak TLS with it.
    Port(String, Option<Arc<Tls>>),
    Ssh(Arc<Login>),
}

impl Way {
    /// To where an engine was found.
    pub(super) fn to(place: &Place) -> Result<Way, BackendError> {
        let unreachable = |cause: &str| BackendError::Unreachable {
            socket: place.address.clone(),
            cause: cause.to_owned(),
        };
        match place.address.split_once("://") {
            Some(("unix", path)) if Path::new(path).exists() => Ok(Way::Socket(PathBuf::from(path))),
            Some(("unix", _)) => Err(unreachable("no such socket")),
            Some(("tcp" | "http", host)) => {
                let host = host.trim_end_matches('/');
                let tls = place.certificates.as_deref().map(|dir| Tls::of(host, dir));
                Ok(Way::Port(host.to_owned(), tls.transpose()?.map(Arc::new)))
            }
            Some(("ssh", login)) => {
                let login = Login::parse(login).map_err(|cause| unreachable(&cause))?;
                Ok(Way::Ssh(Arc::new(login)))
            }
            _ => Err(unreachable("only unix://, tcp:// and ssh:// are supported")),
        }
    }

    /// Words of the program on the way, if there is one, for a connection that broke.
    async fn connect(&self) -> Result<(Box<dyn Stream>, Option<Said>), Error> {
        Ok(match self {
            Way::Socket(path) => (Box::new(UnixStream::connect(path).await?), None),
            Way::Port(address, tls) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                match tls {
                    Some(tls) => (Box::new(tls.connect(stream).await?), None),
                    None => (Box::new(stream), None),
                }
            }
            Way::Ssh(login) => {
                let (stream, said) = login.connect()?;
                (Box::new(stream), Some(said))
            }
        })
    }
}

/// Sends one request, of a version of the API, and returns the head of the answer.
pub(super) async fn send<B>(
    way: Way,
    version: Option<String>,
    mut request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stream, said) = way.connect().await?;
    let limit = Limit::of(request.method(), request.uri().path());
    let (mut sender, connection) = handshake(TokioIo::new(Bounded { stream, limit })).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    // To the other end of a connection only the path is said.
    if let Some(path) = request.uri().path_and_query() {
        let versioned = version.and_then(|version| format!("/v{version}{path}").parse().ok());
        *request.uri_mut() = versioned.unwrap_or_else(|| path.clone().into());
    }
    request.headers_mut().insert(HOST, HeaderValue::from_static("engine"));
    let error = match sender.send_request(request).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if let Some(words) = said.and_then(Said::last) {
        return Err(io::Error::other(words).into());
    }
    // A connection that broke before it took the request, as where the engine refuses the tool's certificate, knows why.
    if error.is_canceled()
        && let Ok(Err(cause)) = connection.await
    {
        return Err(cause.into());
    }
    Err(error.into())
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that breaks when more comes in than may.
struct Bounded {
    stream: Box<dyn Stream>,
    limit: Limit,
}

/// What may still come in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// A file, which whoever asked for it reads piece by piece.
    Endless,
    /// The head of an answer, kept so far, and then frames of output.
    Head(Vec<u8>),
    /// The beginning of a frame: its stream, and in the last four bytes how long it is.
    Frame(Vec<u8>),
    /// The rest of a frame.
    Payload(u64),
    /// Output without frames, so long since the last end of a line.
    Line(u64),
}

impl Limit {
    fn of(method: &Method, path: &str) -> Limit {
        let ends = |ending: &str| path.ends_with(ending);
        if ends("/attach") || (path.contains("/exec/") && ends("/start")) {
            Limit::Head(Vec::new())
        } else if method == Method::GET && ends("/archive") {
            Limit::Endless
        } else if ["/wait", "/events", "/images/create", "/images/load"]
            .iter()
            .any(|ending| ends(ending))
        {
            Limit::Bytes(LINES)
        } else {
            Limit::Bytes(ANSWER)
        }
    }

    /// Takes in what came. `None` if that was too much.
    fn take(mut self, mut came: &[u8]) -> Option<Limit> {
        while let Some((first, rest)) = came.split_first() {
            let length = came.len() as u64;
            self = match self {
                Limit::Endless => return Some(Limit::Endless),
                Limit::Bytes(left) => return left.checked_sub(length).map(Limit::Bytes),
                Limit::Head(mut head) => {
                    head.push(*first);
                    came = rest;
                    if head.ends_with(b"\r\n\r\n") {
                        let status = head.get(9..12).unwrap_or_default();
                        if [&b"101"[..], b"200"].contains(&status) {
                            Limit::Frame(Vec::new())
                        } else {
                            Limit::Bytes(ANSWER)
                        }
                    } else if head.len() as u64 > LINES {
                        return None;
                    } else {
                        Limit::Head(head)
                    }
                }
                Limit::Frame(head) if head.is_empty() && *first > 2 => Limit::Line(0),
                Limit::Frame(mut head) => {
                    head.push(*first);
                    came = rest;
                    match head.as_slice() {
                        [_, _, _, _, length @ ..] if length.len() == 4 => {
                            let length = length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                            Limit::Payload(Some(length).filter(|length| *length <= FRAME)?)
                        }
                        _ => Limit::Frame(head),
                    }
                }
                Limit::Payload(0) => Limit::Frame(Vec::new()),
                Limit::Payload(left) => {
                    let here = left.min(length);
                    came = came.get(usize::try_from(here).ok()?..).unwrap_or_default();
                    Limit::Payload(left - here)
                }
                Limit::Line(so_far) => {
                    let end = came.iter().rposition(|byte| *byte == b'\n');
                    let so_far = end.map_or(so_far + length, |end| length - 1 - end as u64);
                    return (so_far <= FRAME).then_some(Limit::Line(so_far));
                }
            }
        }
        Some(self)
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let limit = std::mem::replace(&mut self.limit, Limit::Bytes(0));
        Poll::Ready(match limit.take(&buffer.filled()[before..]) {
            Some(limit) => {
                self.limit = limit;
                Ok(())
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it answers more than an engine would",
            )),
        })
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32) -> Vec<u8> {
        let mut frame = vec![1, 0, 0, 0];
        frame.extend_from_slice(&length.to_be_bytes());
        frame
    }

    #[test]
    fn frames_may_go_on_for_ever_but_none_may_be_endless() {
        let head = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n".to_vec();
        let stream = [
            head.clone(),
            frame(3),
            b"abc".to_vec(),
            frame(0),
            frame(70_000),
            vec![b'x'; 70_000],
        ]
        .concat();
        // However the bytes are cut.
        for piece in [1, 7, 100_000] {
            let mut limit = Some(Limit::Head(Vec::new()));
            for came in stream.chunks(piece) {
                limit = limit.unwrap().take(came);
            }
            assert!(matches!(limit, Some(Limit::Payload(0))), "{limit:?}");
        }
        let endless = [head.clone(), frame(u32::MAX)].concat();
        assert_eq!(Limit::Head(Vec::new()).take(&endless), None);
        // Without frames it is the line that may not be endless.
        let raw = [head, b"no frames\n".to_vec(), vec![b'x'; 100]].concat();
        assert_eq!(Limit::Head(Vec::new()).take(&raw), Some(Limit::Line(100)));
        assert_eq!(Limit::Line(FRAME).take(b"x"), None);
        assert_eq!(Limit::Head(Vec::new()).take(&vec![b'x'; 2 << 20]), None);
    }

    #[test]
    fn answers_end_somewhere_and_files_do_not() {
        let of = |method: Method, path: &str| Limit::of(&method, path);
        assert_eq!(
            of(Method::GET, "/v1.41/info").take(&[0; 100]),
            Some(Limit::Bytes(ANSWER - 100))
        );
        assert_eq!(of(Method::POST, "/v1.41/containers/x/wait"), Limit::Bytes(LINES));
        assert_eq!(Limit::Bytes(5).take(b"123456"), None);
        assert_eq!(
            of(Method::GET, "/v1.41/containers/x/archive").take(b"123456"),
            Some(Limit::Endless)
        );
        assert_eq!(of(Method::PUT, "/v1.41/containers/x/archive"), Limit::Bytes(ANSWER));
        assert_eq!(of(Method::POST, "/v1.41/exec/x/start"), Limit::Head(Vec::new()));
        let refused = b"HTTP/1.1 404 Not Found\r\n\r\n{}";
        assert_eq!(Limit::Head(Vec::new()).take(refused), Some(Limit::Bytes(ANSWER - 2)));
    }
}
