//! Data on stdout, the same way for every reading command, and what the terminal there can show.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::message::by_line;

/// Writes text as it is; color, if it has any, is for a terminal only.
pub fn text(text: &str) -> anyhow::Result<()> {
    // The color is taken out here and not by anstream's own stream, which makes two writes for every line.
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        let plain = anstream::adapter::strip_str(text).to_string();
        return bytes(plain.as_bytes());
    }
    bytes(text.as_bytes())
}

/// Writes a line; a text of several lines stays several lines.
pub fn line(line: impl std::fmt::Display) -> anyhow::Result<()> {
    words(&format!("{line}\n"))
}

/// Writes a text that has no color, made safe line by line: nothing acts on a terminal or a CI service.
pub fn words(text: &str) -> anyhow::Result<()> {
    bytes(by_line(text).as_bytes())
}

pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("failed to write the output")
}

/// Writes one JSON document, indented, with a newline at its end.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).context("failed to make JSON")?;
    text.push(b'\n');
    bytes(&text)
}

/// Writes one JSON object on a line.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(value).context("failed to make JSON")?;
    text.push(b'\n');
    bytes(&text)
}

/// A path as a word of a shell's line.
pub fn quoted(path: &Path) -> String {
    shell_words::quote(&path.display().to_string()).into_owned()
}

/// Whether the locale is one of UTF-8; a process without a locale is taken to have one.
pub fn is_unicode() -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    named.is_none_or(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}
