//! Values that are known: of variables whose names say that they are secret, and of those a sweep was given.

use super::super::spec::EnvVar;

/// Shortest value that is looked for: a shorter one is found in ordinary text.
const SHORTEST: usize = 6;

/// Whether a variable's name says that its value is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "KEY",
        "CREDENTIAL",
        "DSN",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// What to look for, each text with the name of its variable, and the names of those that are not looked for.
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

/// The value as it stands in a text, in JSON, in a URL and in base64; of several lines also each long one.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_owned()];
    if let Ok(quoted) = serde_json::to_string(value) {
        forms.push(quoted[1..quoted.len() - 1].to_owned());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let in_url = value.bytes().map(|byte| {
        if is_plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    forms.push(in_url.collect());
    if value.len() >= 8 {
        use base64::Engine as _;
        forms.push(base64::engine::general_purpose::STANDARD_NO_PAD.encode(value));
    }
    if value.contains('\n') {
        forms.extend(
            value
                .lines()
                .map(str::trim)
                .filter(|line| line.len() >= 16)
                .map(str::to_owned),
        );
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().map(String::into_bytes).collect()
}
