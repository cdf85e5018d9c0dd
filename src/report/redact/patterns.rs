//! The well-known forms of secrets. In a pattern with a group, the group is the secret, and the rest is its context.

use regex::bytes::{Regex, RegexBuilder};

use super::LONGEST;

/// Kinds and patterns. Each pattern begins with a fixed text, so that a search for that text skips most of a log.
const BUILT_IN: [(&str, &str); 15] = [
    ("hf token", r"hf_[A-Za-z0-9]{10,}"),
    (
        "github token",
        r"(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})",
    ),
    ("gitlab token", r"glpat-[A-Za-z0-9_-]{16,}"),
    ("aws key", r"(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    ("slack token", r"xox[a-z]-[A-Za-z0-9-]{8,}"),
    ("api key", r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("google key", r"AIza[A-Za-z0-9_-]{30,}"),
    ("pypi token", r"pypi-[A-Za-z0-9_-]{32,}"),
    ("npm token", r"npm_[A-Za-z0-9]{30,}"),
    ("bearer token", r"(?i)\bbearer(?:\s|%20|\+)+([A-Za-z0-9._~+/=-]{6,})"),
    (
        "authorization",
        r#"(?i)\bauthorization["']?\s*[:=]\s*["']?(?:basic|token|digest|apikey)\s+([^\s"',}]{6,})"#,
    ),
    ("jwt", r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"),
    ("url password", r#"://([^\s/@"'<>:]{0,256}:[^\s/@"'<>]{1,1024})@"#),
    // As a dump of the environment prints variables; a value in quotes may have blanks.
    (
        "value of a variable",
        r#"(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_[A-Z0-9_]{0,64})?["']?\s?[=:]\s?(?:"([^"\r\n]{6,})"|'([^'\r\n]{6,})'|([^\s"'\[,;}]{6,}))"#,
    ),
    (
        "value of a field",
        r#"(?i)["'](?:[a-z_-]{0,32}(?:password|passwd|secret|api_?key|(?:access|auth|refresh|id)_token))["']\s*[:=]\s*(?:"([^"\r\n]{4,})"|'([^'\r\n]{4,})')"#,
    ),
];

/// The built-in patterns.
pub(super) fn built_in() -> Vec<(String, Regex)> {
    let compiled = BUILT_IN.iter().map(|(kind, text)| {
        let pattern = RegexBuilder::new(text)
            .unicode(false)
            .build()
            .expect("a constant that is tried");
        ((*kind).to_owned(), pattern)
    });
    compiled.collect()
}

/// A pattern of the user.
pub(super) fn added(text: &str) -> Result<Regex, String> {
    let pattern = RegexBuilder::new(text)
        .multi_line(true)
        .build()
        .map_err(|error| format!("invalid pattern `{text}`: {}", reason(&error)))?;
    if pattern.is_match(b"") {
        return Err(format!("invalid pattern `{text}`: it fits the empty text"));
    }
    Ok(pattern)
}

/// The last line of the parser's message, which is the reason; the lines before it draw the place.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// Calls `found` for each secret that a pattern finds.
pub(super) fn find(pattern: &Regex, text: &[u8], mut each: impl FnMut(usize, usize)) {
    if pattern.captures_len() == 1 {
        for found in pattern.find_iter(text).filter(|found| !found.is_empty()) {
            each(found.start(), found.end());
        }
        return;
    }
    for groups in pattern.captures_iter(text) {
        let is_grouped = groups.iter().skip(1).any(|group| group.is_some());
        let secrets = groups.iter().skip(usize::from(is_grouped)).flatten();
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            each(secret.start(), secret.end());
        }
    }
}

/// Calls `found` for each private key: from its first line to its last, or as far as lines look like those of a key.
pub(super) fn private_keys(text: &[u8], mut each: impl FnMut(usize, usize)) {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let mut done = 0;
    for begin in memchr::memmem::find_iter(text, BEGIN) {
        if begin < done || !is_private(&text[begin + BEGIN.len()..]) {
            continue;
        }
        let rest = &text[begin..text.len().min(begin + LONGEST)];
        let end = memchr::memmem::find(rest, END).map(|end| {
            let closing = memchr::memmem::find(&rest[end + END.len()..], b"-----");
            end + END.len() + closing.map_or(0, |at| at + 5)
        });
        let length = end.unwrap_or_else(|| lines_of_key(rest));
        done = begin + length;
        each(begin, done);
    }
}

/// Whether the words after `BEGIN` are those of a private key, and of no certificate.
fn is_private(text: &[u8]) -> bool {
    let words = &text[..text.len().min(64)];
    let words = memchr::memmem::find(words, b"-----").map_or(words, |end| &words[..end]);
    memchr::memmem::find(words, b"PRIVATE KEY").is_some()
}

/// The length of a key whose last line is missing: all lines that are blank or hold a long word of the key's alphabet.
fn lines_of_key(text: &[u8]) -> usize {
    let mut length = 0;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let longest = line.split(|byte| !is_of_key(byte)).map(<[u8]>::len).max().unwrap_or(0);
        let is_header = line.starts_with(b"Proc-Type:") || line.starts_with(b"DEK-Info:");
        if index > 0 && longest < 32 && !is_header && !line.trim_ascii().is_empty() {
            break;
        }
        length += line.len();
    }
    length
}
