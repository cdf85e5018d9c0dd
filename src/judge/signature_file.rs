//! Signature files as they are written: every field known, every error with file, line and column.

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::signature::{Scope, SessionMode, Severity, Signature};

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "invalid signature `{id}` in")?,
            None => write!(f, "invalid signature file")?,
        }
        let SignatureError {
            file,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, " `{file}`, line {line}, column {column}: {message}")
    }
}

/// Why a signature file is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The signature, where the error lies inside one.
    pub id: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl std::error::Error for SignatureError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireSignature {
    id: Spanned<String>,
    title: String,
    scope: Spanned<Vec<Scope>>,
    #[serde(default)]
    mode: SessionMode,
    #[serde(default)]
    any: Vec<Spanned<String>>,
    #[serde(default)]
    not: Vec<Spanned<String>>,
    #[serde(default)]
    failure_any: Vec<Spanned<String>>,
    #[serde(default)]
    log_any: Vec<Spanned<String>>,
    #[serde(default)]
    last: Vec<Spanned<String>>,
    #[serde(default)]
    multi_line: bool,
    #[serde(default)]
    infra: bool,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    advice: String,
    #[serde(default)]
    matches: Vec<String>,
    #[serde(default)]
    rejects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireFile {
    #[serde(default)]
    pub(super) signature: Vec<Spanned<WireSignature>>,
}

/// A pattern, compiled when it is first searched for.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) source: String,
    /// Line and column in its file, from 1.
    pub(super) place: (usize, usize),
    compiled: OnceLock<Regex>,
}

impl Pattern {
    fn build(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.source).multi_line(true).build()
    }

    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let compiled = self.build().map_err(|error| regex_message(&error))?;
        let _ = self.compiled.set(compiled);
        Ok(())
    }

    pub(super) fn regex(&self) -> &Regex {
        let compiled = || {
            self.build()
                .expect("patterns are checked when they are read, the built-in ones by a test")
        };
        self.compiled.get_or_init(compiled)
    }
}

pub(super) fn signature(file: &str, text: &str, wire: Spanned<WireSignature>) -> Result<Signature, SignatureError> {
    let (line, _) = position(text, wire.span().start);
    let wire = wire.into_inner();
    let id = wire.id.get_ref().clone();
    let fail = |span: Range<usize>, message: &str| Err(place(file, text, &span, Some(id.clone()), message));
    if id.is_empty()
        || !id
            .chars()
            .all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.'))
    {
        return fail(wire.id.span(), "an id is made of letters, digits, `_`, `-` and `.`");
    }
    if id == super::UNKNOWN {
        return fail(wire.id.span(), "`UNKNOWN` is the category of what no signature covers");
    }
    if wire.scope.get_ref().is_empty() {
        return fail(wire.scope.span(), "`scope` is empty, so it could never match");
    }
    if wire.any.is_empty() && wire.last.is_empty() && wire.log_any.is_empty() && wire.failure_any.is_empty() {
        return fail(wire.id.span(), "`any` is empty, so it could never match");
    }
    let patterns = |written: Vec<Spanned<String>>| -> Vec<Pattern> {
        let pattern = |written: Spanned<String>| Pattern {
            place: position(text, written.span().start),
            source: if wire.multi_line {
                format!("(?s){}", written.get_ref())
            } else {
                written.into_inner()
            },
            compiled: OnceLock::new(),
        };
        written.into_iter().map(pattern).collect()
    };
    Ok(Signature {
        title: wire.title,
        scope: wire.scope.into_inner(),
        mode: wire.mode,
        infra: wire.infra,
        severity: wire.severity,
        advice: wire.advice,
        matches: wire.matches,
        rejects: wire.rejects,
        file: file.to_owned(),
        line,
        any: patterns(wire.any),
        failure_any: patterns(wire.failure_any),
        log_any: patterns(wire.log_any),
        last: patterns(wire.last),
        not: patterns(wire.not),
        id,
    })
}

/// The last line of a pattern's error says what is wrong; those before draw it.
fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("invalid pattern").trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

pub(super) fn place(file: &str, text: &str, span: &Range<usize>, id: Option<String>, message: &str) -> SignatureError {
    let (line, column) = position(text, span.start);
    SignatureError {
        file: file.to_owned(),
        line,
        column,
        id,
        message: message.lines().collect::<Vec<_>>().join("; "),
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The id of the signature that an offset lies in, as far as the text alone shows it.
pub(super) fn enclosing_id(text: &str, offset: usize) -> Option<String> {
    let start = text.get(..offset)?.rfind("[[signature]]")?;
    let end = text[start + 2..]
        .find("[[signature]]")
        .map_or(text.len(), |at| start + 2 + at);
    text[start..end].lines().find_map(|line| {
        let value = line.trim().strip_prefix("id")?.trim_start().strip_prefix('=')?.trim();
        let value = value.trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::SignatureSet;

    fn parse(text: &str) -> Result<SignatureSet, SignatureError> {
        SignatureSet::parse(&[("signatures/x.toml".to_owned(), text.to_owned())])
    }

    #[test]
    fn errors_name_signature_file_line_and_column() {
        let error = parse("[[signature]]\nid = \"A3\"\ntitle = \"x\"\nscope = [\"failure\"]\nany = ['(']\n")
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "invalid signature `A3` in `signatures/x.toml`, line 5, column 8: unclosed group"
        );
        let error =
            parse("[[signature]]\nid = \"A3\"\ntitle = \"x\"\nscope = [\"failure\"]\nany = ['x']\nsurprise = 1\n")
                .err()
                .unwrap();
        assert_eq!((error.line, error.column, error.id.as_deref()), (6, 1, Some("A3")));
        assert!(error.message.contains("surprise"), "{error}");
        let error = parse("[[signature]\n").err().unwrap();
        assert_eq!(error.line, 1);
    }

    #[test]
    fn a_rule_that_matches_everything_or_nothing_is_refused() {
        for rule in ["any = ['x*']", "any = []", "any = ['x']\nscope = []"] {
            let scope = if rule.contains("scope") {
                ""
            } else {
                "scope = [\"failure\"]\n"
            };
            let text = format!("[[signature]]\nid = \"A\"\ntitle = \"x\"\n{scope}{rule}\n");
            assert!(parse(&text).is_err(), "{rule}");
        }
    }

    #[test]
    fn modes_and_exclusions_hold() {
        let set = parse(
            "[[signature]]\nid = \"A\"\ntitle = \"x\"\nscope = [\"failure\"]\nmode = \"xdist\"\nany = ['^boom']\nnot = ['expected']\n",
        )
        .unwrap();
        assert_eq!(set.find(Scope::Failure, true, "a\nboom").len(), 1);
        assert!(set.find(Scope::Failure, false, "boom").is_empty());
        assert!(set.find(Scope::Failure, true, "boom, as expected").is_empty());
        assert!(set.find(Scope::Crash, true, "boom").is_empty());
    }
}
