//! Data on stdout, the same way for every reading command.

use std::io::{self, Write as _};

use anyhow::Context;
use serde::Serialize;

/// Writes text as it is; color, if it has any, is for a terminal only.
pub fn text(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("failed to write the output")
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
