//! Signatures: the rules of `signatures/*.toml`, read strictly, compiled when the first text is searched, which most commands
//! never do.

use std::sync::OnceLock;

use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::signature_file::{Pattern, SignatureError, WireFile, enclosing_id, place, signature};
use crate::spec::words::words;

words! {
    /// Where a signature may match.
    #[derive(Hash)]
    pub enum Scope {
        /// Text of a failure: `E` lines and summary reasons.
        Failure = "failure",
        /// What is printed when a process dies: fatal lines, xdist's, the shell's.
        Crash = "crash",
        /// Per-test logs of tests that the console gives no reason for.
        TestLog = "test-log",
        /// Lines of other programs around the session.
        Console = "console",
        /// How the session ended, in the judge's words.
        Exit = "exit",
    }
}

impl Scope {
    fn index(self) -> usize {
        self as usize
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

words! {
    /// How much a category matters.
    #[derive(Default)]
    pub enum Severity {
        /// Not a bug of what is tested.
        Low = "low",
        /// A failure of what is tested.
        #[default]
        Medium = "medium",
        /// Worse than a failure, short of losing the process.
        High = "high",
        /// A process is lost.
        Critical = "critical",
    }
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
    pub(super) any: Vec<Pattern>,
    pub(super) failure_any: Vec<Pattern>,
    pub(super) log_any: Vec<Pattern>,
    pub(super) last: Vec<Pattern>,
    pub(super) not: Vec<Pattern>,
}

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
    searches: [OnceLock<Search>; Scope::ALL.len()],
}

/// The files of `signatures/`, as they were when this was built.
pub const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/signatures.rs"));

impl SignatureSet {
    /// The taxonomy that ships with the program.
    ///
    /// # Panics
    /// Never in a program whose tests passed: they read the same files.
    pub fn built_in() -> SignatureSet {
        let files: Vec<(String, String)> = BUILT_IN
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        SignatureSet::read(&files).expect("the built-in signatures are valid")
    }

    /// Reads signature files: pairs of a name for messages and the file's text. All patterns are compiled, so that an
    /// invalid one is told.
    pub fn parse(files: &[(String, String)]) -> Result<SignatureSet, SignatureError> {
        let set = SignatureSet::read(files)?;
        set.signatures.iter().try_for_each(Signature::check)?;
        for scope in Scope::ALL.iter().copied() {
            let _ = set.searches[scope.index()].set(search(&set.signatures, scope)?);
        }
        Ok(set)
    }

    /// Compiles all that the first judgement would.
    pub fn compile(&self) {
        for scope in Scope::ALL.iter().copied() {
            self.search(scope);
        }
    }

    fn read(files: &[(String, String)]) -> Result<SignatureSet, SignatureError> {
        let mut signatures: Vec<Signature> = Vec::new();
        for (file, text) in files {
            let wire: WireFile = toml::from_str(text).map_err(|error| {
                let span = error.span().unwrap_or(0..0);
                place(file, text, &span, enclosing_id(text, span.start), error.message())
            })?;
            for wire in wire.signature {
                let signature = signature(file, text, wire)?;
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
        Ok(SignatureSet {
            signatures,
            searches: Default::default(),
        })
    }

    fn search(&self, scope: Scope) -> &Search {
        self.searches[scope.index()].get_or_init(|| {
            search(&self.signatures, scope)
                .expect("patterns are checked when they are read, the built-in ones by a test")
        })
    }

    /// The signature of a category.
    pub fn get(&self, id: &str) -> Option<&Signature> {
        self.signatures.iter().find(|signature| signature.id == id)
    }

    /// All of them in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Signature> {
        self.signatures.iter()
    }

    /// The signature at a place in the set.
    pub fn at(&self, index: usize) -> &Signature {
        &self.signatures[index]
    }

    /// Whether any signature looks in this scope.
    pub fn has(&self, scope: Scope) -> bool {
        let mut signatures = self.signatures.iter();
        signatures.any(|signature| signature.scope.contains(&scope) && !signature.patterns(scope).is_empty())
    }

    /// The signatures that match a text, each once, in file order.
    pub fn find(&self, scope: Scope, is_xdist: bool, text: &str) -> Vec<Hit> {
        let search = self.search(scope);
        let mut hits: Vec<Hit> = Vec::new();
        for pattern in search.set.matches(text) {
            let (index, place) = search.owners[pattern];
            let signature = &self.signatures[index];
            let holds = match signature.mode {
                SessionMode::Any => true,
                SessionMode::Serial => !is_xdist,
                SessionMode::Xdist => is_xdist,
            };
            if !holds || signature.not.iter().any(|not| not.regex().is_match(text)) {
                continue;
            }
            let Some(found) = signature.patterns(scope)[place].regex().find(text) else {
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
    pub fn find_last(&self, line: &str) -> Vec<usize> {
        self.signatures
            .iter()
            .enumerate()
            .filter(|(_, signature)| signature.last.iter().any(|last| last.regex().is_match(line)))
            .map(|(index, _)| index)
            .collect()
    }

    /// Examples that do not behave as their signature says, as sentences.
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
    /// Compiles every pattern.
    fn check(&self) -> Result<(), SignatureError> {
        let patterns = [&self.any, &self.not, &self.failure_any, &self.log_any, &self.last];
        let invalid = |pattern: &Pattern, message: String| SignatureError {
            file: self.file.clone(),
            line: pattern.place.0,
            column: pattern.place.1,
            id: Some(self.id.clone()),
            message,
        };
        for pattern in patterns.into_iter().flatten() {
            pattern.check().map_err(|message| invalid(pattern, message))?;
        }
        let words = "the pattern matches an empty text, so it would match everything";
        let empty = self.any.iter().find(|pattern| pattern.regex().is_match(""));
        empty.map_or(Ok(()), |pattern| Err(invalid(pattern, words.to_owned())))
    }

    fn patterns(&self, scope: Scope) -> &[Pattern] {
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
            patterns.push(&pattern.source);
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
