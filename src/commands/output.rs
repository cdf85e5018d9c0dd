//! Data on stdout, the same way for every reading command.

use std::io::{self, Write as _};

use anyhow::Context;
use serde::Serialize;

/// Writes text as it is; color, if it has any, is for a terminal only.
pub fn text(text: &str) -> anyhow::Result<()> {
    // All at once: a stream that takes color out by itself writes each line, and each end of one, by itself.
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        let plain = anstream::adapter::strip_str(text).to_string();
        return bytes(plain.as_bytes());
    }
    bytes(text.as_bytes())
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("failed to write the output")
}

/// Writes one JSON document, indented, with a newline at its end.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).context("failed to make JSON")?;
    bytes.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .context("failed to write the output")
}
