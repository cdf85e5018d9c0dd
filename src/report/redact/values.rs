//! Secrets whose values are known: variables whose names say that they are secret, and variables given to a sweep.

use crate::spec::{EnvVar, is_secret_name};

/// Shortest value that is looked for: a shorter value would be found in ordinary text.
const SHORTEST: usize = 6;

/// The texts to look for, each with the name of its variable, and the names of the variables that are not looked for.
pub(super) fn known(variables: &[EnvVar]) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let (mut known, mut too_common): (Vec<(String, Vec<u8>)>, Vec<String>) = (Vec::new(), Vec::new());
    for variable in variables {
        let Some(value) = variable
            .value
            .as_deref()
            .map(str::trim)
            .filter(|value| !value.is_empty())
        else {
            continue;
        };
        if is_common(&variable.name, value) {
            if !too_common.contains(&variable.name) {
                too_common.push(variable.name.clone());
            }
            continue;
        }
        for text in forms(value) {
            if !known.iter().any(|(_, other)| *other == text) {
                known.push((variable.name.clone(), text));
            }
        }
    }
    (known, too_common)
}

/// Whether a value is found in ordinary text: too short, or a word, a number or a path of a variable that nobody calls
/// secret.
fn is_common(name: &str, value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if value.len() < SHORTEST || ["disabled", "enabled", "default"].contains(&lower.as_str()) {
        return true;
    }
    let is_word = value
        .chars()
        .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '/' | '.'));
    let is_number = value.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
    !is_secret_name(name) && value.len() < 16 && (is_word || is_number)
}

/// The forms of a value: as it is, in JSON, in HTML, in a URL, in hexadecimal digits, and in base64 at each offset of
/// the encoded bytes; of a value with several lines also each long line. Case, ends of lines and colors do not matter:
/// the forms and the searched text are both [`joined`].
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_owned()];
    if let Ok(quoted) = serde_json::to_string(value) {
        let quoted = &quoted[1..quoted.len() - 1];
        // As Python's `json` writes the value.
        forms.push(quoted.chars().fold(String::new(), |mut text, c| {
            let mut units = [0; 2];
            if c.is_ascii() {
                text.push(c);
            } else {
                text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            text
        }));
        forms.push(quoted.to_owned());
    }
    let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    forms.push(html.replace('"', "&quot;"));
    forms.push(html.replace('"', "&quot;").replace('\'', "&#x27;"));
    forms.push(html);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let in_url = |is_kept: &dyn Fn(u8) -> bool| -> String {
        let letter = |byte: u8| {
            if is_kept(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        };
        value.bytes().map(letter).collect()
    };
    forms.push(in_url(&is_plain));
    forms.push(in_url(&|byte| is_plain(byte) || byte == b'/'));
    forms.push(in_url(&|byte| is_plain(byte) || byte == b' ').replace(' ', "+"));
    forms.push(in_url(&|_| false));
    forms.push(in_hex(value));
    forms.extend((0..3).flat_map(|offset| in_base64(value, offset)));
    if value.contains('\n') {
        let lines = value.lines().map(str::trim);
        forms.extend(lines.filter(|line| line.len() >= 16).map(str::to_owned));
    }
    let mut forms: Vec<Vec<u8>> = forms.iter().map(|form| joined(form.as_bytes()).bytes).collect();
    forms.retain(|form| form.len() >= SHORTEST);
    forms.sort();
    forms.dedup();
    forms
}

/// The value in both alphabets of base64, behind so many bytes: the letters that the value alone decides. Behind no
/// byte, also the whole encoding.
fn in_base64(value: &str, offset: usize) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let bytes = [&vec![0; offset][..], value.as_bytes()].concat();
    let (start, end) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    let texts = [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)];
    let parts = texts.iter().map(|text| text[start..end].to_owned());
    let whole = texts.iter().filter(|_| offset == 0).cloned();
    parts.chain(whole).collect()
}

/// A text without colors and ends of lines, which may stand in the middle of a value.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// Where each part begins: its offset in the joined text, and in the original bytes.
    parts: Vec<(usize, usize)>,
}

impl Joined {
    /// The offset in the original bytes of an offset in the joined text.
    pub(super) fn place(&self, at: usize) -> usize {
        let part = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        self.parts.get(part).map_or(at, |(start, place)| place + (at - start))
    }
}

/// Leaves out terminal sequences, ends of lines, and the indent of each following line, pytest's `E` included.
pub(super) fn joined(text: &[u8]) -> Joined {
    let mut joined = Joined {
        bytes: Vec::with_capacity(text.len()),
        parts: Vec::new(),
    };
    let mut at = 0;
    while at < text.len() {
        let end = memchr::memchr2(0x1b, b'\n', &text[at..]).map_or(text.len(), |end| at + end);
        joined.parts.push((joined.bytes.len(), at));
        joined.bytes.extend_from_slice(&text[at..end]);
        at = match text.get(end) {
            None => end,
            Some(0x1b) => end + sequence(&text[end..]),
            Some(_) => {
                if joined.bytes.last() == Some(&b'\r') {
                    joined.bytes.pop();
                }
                let blanks = |at: usize| at + text[at..].iter().take_while(|byte| b" \t".contains(byte)).count();
                let at = blanks(end + 1);
                if text[at..].starts_with(b"E ") {
                    blanks(at + 1)
                } else {
                    at
                }
            }
        };
    }
    joined
}

/// Length of the terminal sequence that a text begins with.
fn sequence(text: &[u8]) -> usize {
    /// Longest sequence in bytes; a longer one is taken for text.
    const LONGEST: usize = 4096;
    let body = &text[..text.len().min(LONGEST)];
    let after = |from: usize, is_end: fn(u8) -> bool| {
        let rest = body.get(from..).unwrap_or_default();
        rest.iter()
            .position(|byte| is_end(*byte))
            .map_or(body.len(), |end| from + end + 1)
    };
    match text.get(1) {
        Some(b'[') => after(2, |byte| (0x40..=0x7e).contains(&byte)),
        Some(b']') => after(2, |byte| byte == 7 || byte == b'\\'),
        Some(_) => 2,
        None => 1,
    }
}

fn in_hex(value: &str) -> String {
    value
        .bytes()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
