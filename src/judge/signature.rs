//! Signatures: the rules of `signatures/*.toml`, read strictly, compiled once, searched many at a time.

use std::fmt;
use std::ops::Range;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use toml::Spanned;

/// Where a signature may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Text of a failure: `E` lines and summary reasons.
    Failure,
    /// What is printed when a process dies: fatal lines, xdist's, the shell's.
    Crash,
    /// Per-test logs of tests that the console gives no reason for.
    TestLog,
    /// Lines of other programs around the session.
    Console,
    /// How the session ended, in the judge's words.
    Exit,
}

impl Scope {
    const ALL: [Scope; 5] = [
        Scope::Failure,
        Scope::Crash,
        Scope::TestLog,
        Scope::Console,
        Scope::Exit,
    ];

    /// The word used in signature files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Failure => "failure",
            Scope::Crash => "crash",
            Scope::TestLog => "test-log",
            Scope::Console => "console",
            Scope::Exit => "exit",
        }
    }

    fn index(self) -> usize {
        match self {
            Scope::Failure => 0,
            Scope::Crash => 1,
            Scope::TestLog => 2,
            Scope::Console => 3,
            Scope::Exit => 4,
        }
    }
}

/// In which sessions a signature holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionMode {
    /// All of them.
    #[default]
    Any,
    /// Those that run in one process.
    Serial,
    /// Those that xdist runs.
    Xdist,
}

/// How much a category matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Not a bug of what is tested.
    Low,
    /// A failure of what is tested.
    #[default]
    Medium,
    /// Worse than a failure, short of losing the process.
    High,
    /// A process is lost.
    Critical,
}

impl Severity {
    /// The word used in signature files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    #[serde(default)]
    signature: Vec<Spanned<WireSignature>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
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

/// One rule; its id is the category.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The category.
    pub id: String,
    /// A few words for tables.
    pub title: String,
    /// Where it may match.
    pub scope: Vec<Scope>,
    /// In which sessions it holds.
    pub mode: SessionMode,
    /// Whether it says nothing about the tests, and so lies outside the failure rate.
    pub infra: bool,
    /// How much it matters.
    pub severity: Severity,
    /// What to look at; empty where nobody wrote any.
    pub advice: String,
    /// Texts that must match.
    pub matches: Vec<String>,
    /// Texts that must not.
    pub rejects: Vec<String>,
    /// File it stands in.
    pub file: String,
    /// Line it begins on, from 1.
    pub line: usize,
    any: Vec<Regex>,
    failure_any: Vec<Regex>,
    log_any: Vec<Regex>,
    last: Vec<Regex>,
    not: Vec<Regex>,
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

impl std::error::Error for SignatureError {}

/// A place where a signature matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Place of the signature in the set.
    pub signature: usize,
    /// Offset of the match in the text.
    pub offset: usize,
}

/// All patterns of one scope, searched at once.
#[derive(Clone, Debug)]
struct Search {
    set: RegexSet,
    /// For each pattern of the set its signature and its place there.
    owners: Vec<(usize, usize)>,
}

/// All signatures, in file order, which is the order of categories.
#[derive(Clone, Debug)]
pub struct SignatureSet {
    signatures: Vec<Signature>,
    searches: Vec<Search>,
}

/// The files of `signatures/`, as they were when this was built.
pub const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/signatures.rs"));

impl SignatureSet {
    /// The taxonomy that ships with the program.
    ///
    /// # Panics
    /// Never in a program whose tests passed: they read the same files.
    #[must_use]
    pub fn built_in() -> SignatureSet {
        let files: Vec<(String, String)> = BUILT_IN
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        SignatureSet::parse(&files).expect("the built-in signatures are valid")
    }

    /// Reads signature files: pairs of a name for messages and the file's text.
    pub fn parse(files: &[(String, String)]) -> Result<SignatureSet, SignatureError> {
        let mut signatures: Vec<Signature> = Vec::new();
        for (file, text) in files {
            let wire: WireFile = toml::from_str(text).map_err(|error| {
                let span = error.span().unwrap_or(0..0);
                place(file, text, &span, enclosing_id(text, span.start), error.message())
            })?;
            for wire in wire.signature {
                let signature = compile(file, text, wire)?;
                if let Some(other) = signatures.iter().find(|other| other.id == signature.id) {
                    let message = format!(
                        "`{}` is already defined in `{}`, line {}",
                        other.id, other.file, other.line
                    );
                    return Err(SignatureError {
                        file: file.clone(),
                        line: signature.line,
                        column: 1,
                        id: Some(signature.id),
                        message,
                    });
                }
                signatures.push(signature);
            }
        }
        let searches = Scope::ALL
            .into_iter()
            .map(|scope| search(&signatures, scope))
            .collect::<Result<_, _>>()?;
        Ok(SignatureSet { signatures, searches })
    }

    /// The signature of a category.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Signature> {
        self.signatures.iter().find(|signature| signature.id == id)
    }

    /// All of them in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Signature> {
        self.signatures.iter()
    }

    /// The signature at a place in the set.
    #[must_use]
    pub fn at(&self, index: usize) -> &Signature {
        &self.signatures[index]
    }

    /// Whether any signature looks in this scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        !self.searches[scope.index()].owners.is_empty()
    }

    /// The signatures that match a text, each once, in file order.
    #[must_use]
    pub fn find(&self, scope: Scope, is_xdist: bool, text: &str) -> Vec<Hit> {
        let search = &self.searches[scope.index()];
        let mut hits: Vec<Hit> = Vec::new();
        for pattern in search.set.matches(text) {
            let (index, place) = search.owners[pattern];
            let signature = &self.signatures[index];
            let holds = match signature.mode {
                SessionMode::Any => true,
                SessionMode::Serial => !is_xdist,
                SessionMode::Xdist => is_xdist,
            };
            if !holds || signature.not.iter().any(|not| not.is_match(text)) {
                continue;
            }
            let Some(found) = signature.patterns(scope)[place].find(text) else {
                continue;
            };
            match hits.iter_mut().find(|hit| hit.signature == index) {
                Some(hit) => hit.offset = hit.offset.min(found.start()),
                None => hits.push(Hit {
                    signature: index,
                    offset: found.start(),
                }),
            }
        }
        hits.sort_by_key(|hit| hit.signature);
        hits
    }

    /// The signatures whose `last` matches the last line of a per-test log.
    #[must_use]
    pub fn find_last(&self, line: &str) -> Vec<usize> {
        self.signatures
            .iter()
            .enumerate()
            .filter(|(_, signature)| signature.last.iter().any(|last| last.is_match(line)))
            .map(|(index, _)| index)
            .collect()
    }

    /// Examples that do not behave as their signature says, as sentences.
    #[must_use]
    pub fn failing_examples(&self) -> Vec<String> {
        let mut failing = Vec::new();
        for (index, signature) in self.signatures.iter().enumerate() {
            for example in &signature.matches {
                if !self.example_matches(index, example) {
                    failing.push(format!(
                        "`{}` in `{}`, line {}: does not match its example `{example}`",
                        signature.id, signature.file, signature.line
                    ));
                }
            }
            for example in &signature.rejects {
                if self.example_matches(index, example) {
                    failing.push(format!(
                        "`{}` in `{}`, line {}: matches `{example}`, which it should reject",
                        signature.id, signature.file, signature.line
                    ));
                }
            }
        }
        failing
    }

    /// Whether a signature matches an example, in any of its scopes.
    #[must_use]
    pub fn example_matches(&self, index: usize, example: &str) -> bool {
        let plain: String = example
            .lines()
            .map(|line| line.strip_prefix("E   ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let signature = &self.signatures[index];
        [false, true].iter().any(|is_xdist| {
            signature.scope.iter().any(|scope| {
                // An example of a failure is no example of a log, whose patterns are looser.
                (*scope != Scope::TestLog || signature.log_any.is_empty())
                    && self
                        .find(*scope, *is_xdist, &plain)
                        .iter()
                        .any(|hit| hit.signature == index)
            })
        })
    }
}

impl Signature {
    fn patterns(&self, scope: Scope) -> &[Regex] {
        match scope {
            Scope::TestLog if !self.log_any.is_empty() => &self.log_any,
            Scope::Failure if !self.failure_any.is_empty() => &self.failure_any,
            _ => &self.any,
        }
    }
}

fn search(signatures: &[Signature], scope: Scope) -> Result<Search, SignatureError> {
    let mut patterns = Vec::new();
    let mut owners = Vec::new();
    for (index, signature) in signatures.iter().enumerate() {
        if !signature.scope.contains(&scope) {
            continue;
        }
        for (place, pattern) in signature.patterns(scope).iter().enumerate() {
            patterns.push(pattern.as_str());
            owners.push((index, place));
        }
    }
    let set = RegexSetBuilder::new(&patterns)
        .multi_line(true)
        .size_limit(64 << 20)
        .build()
        .map_err(|error| SignatureError {
            file: signatures
                .first()
                .map(|signature| signature.file.clone())
                .unwrap_or_default(),
            line: 1,
            column: 1,
            id: None,
            message: format!(
                "the patterns of scope `{}` are too large together: {error}",
                scope.as_str()
            ),
        })?;
    Ok(Search { set, owners })
}

fn compile(file: &str, text: &str, wire: Spanned<WireSignature>) -> Result<Signature, SignatureError> {
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
    let build = |patterns: &[Spanned<String>]| -> Result<Vec<Regex>, SignatureError> {
        patterns
            .iter()
            .map(|pattern| {
                let source = pattern.get_ref();
                let source = if wire.multi_line {
                    format!("(?s){source}")
                } else {
                    source.clone()
                };
                RegexBuilder::new(&source)
                    .multi_line(true)
                    .build()
                    .map_err(|error| place(file, text, &pattern.span(), Some(id.clone()), &regex_message(&error)))
            })
            .collect()
    };
    let (any, not) = (build(&wire.any)?, build(&wire.not)?);
    let (failure_any, log_any, last) = (build(&wire.failure_any)?, build(&wire.log_any)?, build(&wire.last)?);
    for (pattern, compiled) in wire.any.iter().zip(&any) {
        if compiled.is_match("") {
            return fail(
                pattern.span(),
                "the pattern matches an empty text, so it would match everything",
            );
        }
    }
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
        any,
        failure_any,
        log_any,
        last,
        not,
        id,
    })
}

/// The last line of a pattern's error says what is wrong; those before draw it.
fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("invalid pattern").trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn place(file: &str, text: &str, span: &Range<usize>, id: Option<String>, message: &str) -> SignatureError {
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
fn enclosing_id(text: &str, offset: usize) -> Option<String> {
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
