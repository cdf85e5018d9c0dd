//! Takes secrets out of files that are handed to others: values of known variables, tokens of well-known forms, private
//! keys, and what the user adds. Lines keep their numbers, so that evidence still points at them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::Regex;

use crate::spec::EnvVar;

mod patterns;
mod shown;
mod stream;
mod values;

pub use stream::Redacted;

/// Longest secret in bytes that is found whole although it stands in two reads.
const LONGEST: usize = 32 << 10;

/// How many places were redacted, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Places by kind, such as `hf token` or the name of a variable.
    pub kinds: BTreeMap<String, u64>,
}

impl Found {
    pub fn total(&self) -> u64 {
        self.kinds.values().sum()
    }

    pub fn add(&mut self, other: &Found) {
        for (kind, n) in &other.kinds {
            *self.kinds.entry(kind.clone()).or_default() += n;
        }
    }

    /// The redactions that a text already holds.
    pub fn shown(text: &str) -> Found {
        let mut found = Found::default();
        for rest in text.split("[redacted: ").skip(1) {
            if let Some((kind, _)) = rest.split_once(']') {
                *found.kinds.entry(kind.to_owned()).or_default() += 1;
            }
        }
        found
    }

    /// In words: `3 places redacted: 2 hf token, 1 HF_TOKEN`.
    pub fn words(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        match self.total() {
            0 => "no secret found".to_owned(),
            1 => format!("1 place redacted: {}", kinds.join(", ")),
            n => format!("{n} places redacted: {}", kinds.join(", ")),
        }
    }
}

/// A place that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hit<'a> {
    start: usize,
    end: usize,
    kind: &'a str,
}

/// Finds secrets and replaces each with its kind in brackets.
#[derive(Clone, Debug)]
pub struct Redactor {
    values: Option<AhoCorasick>,
    /// The variable of each value looked for.
    names: Vec<String>,
    patterns: Vec<(String, Regex)>,
    /// Variables whose values occur in ordinary text. Their values are not looked for.
    too_common: Vec<String>,
}

impl Redactor {
    /// A redactor for the values of these variables, tokens of well-known forms, and patterns of the user. In a pattern
    /// with a group, the group is the secret.
    ///
    /// # Errors
    /// A pattern of the user is no regular expression, or matches the empty text; the error gives its place in the
    /// list.
    pub fn new(variables: &[EnvVar], added: &[String]) -> Result<Redactor, String> {
        let (known, too_common) = values::known(variables);
        let (names, texts): (Vec<String>, Vec<Vec<u8>>) = known.into_iter().unzip();
        let values = (!texts.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .ascii_case_insensitive(true)
                .build(&texts)
                .expect("a few short texts")
        });
        let mut patterns = patterns::built_in();
        for (index, text) in added.iter().enumerate() {
            patterns.push((format!("--redact {}", index + 1), patterns::added(text)?));
        }
        Ok(Redactor {
            values,
            names,
            patterns,
            too_common,
        })
    }

    /// Variables whose values are too short or too common to be looked for.
    pub fn too_common(&self) -> &[String] {
        &self.too_common
    }

    /// A text without its secrets.
    pub fn text<'a>(&self, text: &'a str, found: &mut Found) -> Cow<'a, str> {
        let hits = self.hits(text.as_bytes());
        if hits.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut bytes = Vec::with_capacity(text.len());
        replace(text.as_bytes(), &hits, &mut bytes, found);
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Takes the secrets out of a text, in place.
    pub fn clean(&self, text: &mut String, found: &mut Found) {
        if let Cow::Owned(clean) = self.text(text, found) {
            *text = clean;
        }
    }

    /// Takes the secrets out of every string of a JSON document; the document stays valid.
    pub fn document(&self, value: &mut serde_json::Value, found: &mut Found) {
        match value {
            serde_json::Value::String(text) => self.clean(text, found),
            serde_json::Value::Array(values) => values.iter_mut().for_each(|value| self.document(value, found)),
            serde_json::Value::Object(fields) => {
                let old = std::mem::take(fields);
                fields.extend(old.into_iter().map(|(name, mut value)| {
                    self.document(&mut value, found);
                    (self.text(&name, found).into_owned(), value)
                }));
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
        }
    }

    /// The secrets of a text in order, without overlaps.
    fn hits(&self, text: &[u8]) -> Vec<Hit<'_>> {
        let mut hits: Vec<Hit<'_>> = Vec::new();
        if let Some(values) = &self.values {
            let joined = values::joined(text);
            hits.extend(values.find_iter(&joined.bytes).map(|found| Hit {
                start: joined.place(found.start()),
                end: joined.place(found.end() - 1) + 1,
                kind: &self.names[found.pattern().as_usize()],
            }));
        }
        for (kind, pattern) in &self.patterns {
            patterns::find(pattern, text, |start, end| {
                hits.push(Hit { start, end, kind });
            });
        }
        patterns::private_keys(text, |start, end| {
            hits.push(Hit {
                start,
                end,
                kind: "private key",
            });
        });
        hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
        let mut apart: Vec<Hit<'_>> = Vec::new();
        for hit in hits {
            match apart.last_mut() {
                Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
                Some(_) | None => apart.push(hit),
            }
        }
        apart
    }
}

/// Writes a text with each secret replaced. Ends of lines inside a secret stay, so that lines keep their numbers.
fn replace(text: &[u8], hits: &[Hit<'_>], to: &mut Vec<u8>, found: &mut Found) {
    let mut at = 0;
    for hit in hits {
        to.extend_from_slice(&text[at..hit.start]);
        to.extend_from_slice(format!("[redacted: {}]", hit.kind).as_bytes());
        to.extend(text[hit.start..hit.end].iter().filter(|byte| **byte == b'\n'));
        *found.kinds.entry(hit.kind.to_owned()).or_default() += 1;
        at = hit.end;
    }
    to.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests;
