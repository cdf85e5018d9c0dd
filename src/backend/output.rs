//! What a session prints, as it comes.

use std::io::{self, PipeReader};
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Largest piece of output that is read at once.
const PIECE: usize = 1 << 17;

/// What a session prints; an error is why there is no more.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// What comes through a pipe.
pub(super) fn of_pipe(reader: PipeReader) -> io::Result<Output> {
    let receiver = Receiver::from_owned_fd(reader.into())?;
    let pieces = stream::unfold((receiver, BytesMut::new()), |(mut receiver, mut buffer)| async {
        buffer.reserve(PIECE);
        match receiver.read_buf(&mut buffer).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(buffer.split().freeze()), (receiver, buffer))),
            Err(error) => Some((Err(format!("failed to read the output: {error}")), (receiver, buffer))),
        }
    });
    Ok(pieces.boxed())
}
