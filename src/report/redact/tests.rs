//! What is found, and what is left as it is.

use std::io::{self, Read};

use super::*;

fn redactor() -> Redactor {
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let variables = [
        variable("DB_PASSWORD", "s3cr\"et/value"),
        variable("TOKENIZERS_PARALLELISM", "false"),
        variable("MODE", "router"),
    ];
    Redactor::new(&variables, &["internal-(\\d{6})".to_owned()]).unwrap()
}

fn clean(text: &str) -> (String, Found) {
    let mut found = Found::default();
    let text = redactor().text(text, &mut found).into_owned();
    (text, found)
}

/// Put together here, so that no scanner of sources takes them for real ones.
fn planted() -> Vec<(&'static str, String)> {
    let long = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1";
    vec![
        ("hf token", format!("hf_{long}")),
        ("github token", format!("ghp_{long}")),
        ("github token", format!("github_pat_{long}_{long}")),
        ("gitlab token", format!("glpat-{long}")),
        ("aws key", "AKIA".to_owned() + "ABCDEFGHIJKLMNOP"),
        ("slack token", "xoxb-".to_owned() + "1234-5678-abcdef"),
        ("api key", format!("sk-{long}")),
        ("jwt", format!("eyJ{long}.eyJ{long}.{long}")),
        ("DB_PASSWORD", "s3cr\"et/value".to_owned()),
        ("DB_PASSWORD", "s3cr\\\"et/value".to_owned()),
        ("DB_PASSWORD", "s3cr%22et%2Fvalue".to_owned()),
        ("DB_PASSWORD", "czNjciJldC92YWx1ZQ".to_owned()),
    ]
}

#[test]
fn every_kind_is_found_wherever_it_stands() {
    for (kind, secret) in planted() {
        for text in [
            secret.clone(),
            format!("a {secret} b"),
            format!("x='{secret}'\n"),
            format!("({secret})"),
            format!("é{secret}é"),
        ] {
            let (clean, found) = clean(&text);
            assert!(!clean.contains(&secret), "{kind}: {clean}");
            assert!(clean.contains(&format!("[redacted: {kind}]")), "{kind}: {clean}");
            assert_eq!(found.total(), 1, "{text}: {found:?}");
        }
    }
}

#[test]
fn a_known_value_is_found_in_whatever_form_it_is_printed() {
    let value = "s3cr\"et/value";
    let hex: String = value
        .bytes()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let escaped = value
        .bytes()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    for text in [
        value.to_uppercase(),
        hex.clone(),
        hex.to_uppercase(),
        escaped,
        "s3cr%22et%2fvalue".to_owned(),
        "s3cr%22et/value".to_owned(),
        "s3cr&quot;et/value".to_owned(),
        // `me:` and `user:` before it, encoded together: its own letters begin at another place each time.
        "bWU6czNjciJldC92YWx1ZQ==".to_owned(),
        "dXNlcjpzM2NyImV0L3ZhbHVl".to_owned(),
        "YTpzM2NyImV0L3ZhbHVlOmI=".to_owned(),
        "s3cr\"et\n/value".to_owned(),
        "s3cr\"et\r\n    /value".to_owned(),
        "s3cr\"et\nE     /value".to_owned(),
        "s3cr\u{1b}[31m\"et/v\u{1b}[0malue".to_owned(),
        "\u{1b}]8;;http://x\u{1b}\\s3cr\"et/val\u{1b}[1;32mue".to_owned(),
        "czNjciJldC9\n2YWx1ZQ".to_owned(),
    ] {
        let (clean, found) = clean(&format!("before {text} after\nnext\n"));
        assert_eq!(found.kinds, [("DB_PASSWORD".to_owned(), 1)].into(), "{text}: {clean}");
        assert!(
            clean.starts_with("before ") && clean.ends_with(" after\nnext\n"),
            "{text}: {clean}"
        );
        assert_eq!(
            clean.lines().count(),
            text.lines().count() + 1,
            "lines keep their numbers: {clean}"
        );
        // What is left of it are letters that other bytes decide too.
        let left = clean.replace("[redacted: DB_PASSWORD]", "").len();
        assert!(
            left <= "before  after\nnext\n".len() + "\u{1b}]8;;http://x\u{1b}\\dXNlcj".len(),
            "{clean}"
        );
    }
}

#[test]
fn what_tells_the_kind_stays_and_the_secret_goes() {
    for (text, expected) in [
        (
            "Authorization: Bearer abc.def-123",
            "Authorization: Bearer [redacted: bearer token]",
        ),
        (
            "authorization: basic dXNlcjpwYXNz",
            "authorization: basic [redacted: authorization]",
        ),
        (
            "GET https://me:pa55@host/x",
            "GET https://[redacted: url password]@host/x",
        ),
        (
            "MY_API_KEY=abcdef12 next",
            "MY_API_KEY=[redacted: value of a variable] next",
        ),
        (
            "{\"client_secret\": \"abc def\"}",
            "{\"client_secret\": \"[redacted: value of a field]\"}",
        ),
        ("internal-123456 here", "internal-[redacted: --redact 1] here"),
    ] {
        assert_eq!(clean(text).0, expected);
    }
}

#[test]
fn ordinary_text_is_left_as_it_is() {
    for text in [
        "tests/router/test_a.py::test_x[nats_core-tcp] PASSED",
        "TOKENIZERS_PARALLELISM=false MODE=router",
        "http://localhost:8080/v1/chat and git@github.com:x/y and a::b@c",
        "task-12345678901234567890123 hf_cache_dir hf_hub_download",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "KeyError: 'token'  max_tokens=100000  tokens: 123456",
        "1 passed in 0.01s, sha256:0123456789abcdef",
    ] {
        assert_eq!(clean(text), (text.to_owned(), Found::default()));
    }
    assert_eq!(redactor().too_common(), ["TOKENIZERS_PARALLELISM", "MODE"]);
}

#[test]
fn a_private_key_goes_to_its_end_and_lines_keep_their_numbers() {
    let body = "MIIEowIBAAKCAQEAabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOP\n".repeat(3);
    let whole = format!("a\n-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\nb\n");
    let (text, found) = clean(&whole);
    assert_eq!(text, "a\n[redacted: private key]\n\n\n\n\nb\n");
    assert_eq!(found.kinds, [("private key".to_owned(), 1)].into());
    let cut = format!("-----BEGIN PRIVATE KEY-----\n{body}E   AssertionError: 1 is not 2\n");
    assert_eq!(
        clean(&cut).0,
        "[redacted: private key]\n\n\n\nE   AssertionError: 1 is not 2\n"
    );
    let in_json = "{\"k\": \"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n\", \"x\": 1}";
    assert_eq!(clean(in_json).0, "{\"k\": \"[redacted: private key]\\n\", \"x\": 1}");
}

/// Hands out few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn a_secret_is_found_wherever_a_read_or_a_look_ends() {
    let redactor = redactor();
    for (kind, secret) in planted() {
        for offset in [
            0,
            1,
            7,
            8 * LONGEST - secret.len() - 1,
            8 * LONGEST - 9,
            7 * LONGEST - 3,
            7 * LONGEST,
        ] {
            for filler in ["-", "- \n"] {
                let lead = filler.repeat(offset.div_ceil(filler.len()));
                let text = format!("{} {secret} {}", &lead[..offset], " \n".repeat(LONGEST));
                let mut reader = Redacted::new(Slow(text.as_bytes(), 4093), &redactor);
                let mut clean = String::new();
                reader.read_to_string(&mut clean).unwrap();
                let expected = text.replace(&secret, &format!("[redacted: {kind}]"));
                assert!(clean == expected, "{kind} at {offset}");
                assert_eq!(reader.found().total(), 1);
            }
        }
    }
}

#[test]
fn a_secret_longer_than_any_look_goes_whole() {
    let redactor = redactor();
    let text = format!("hf_{}, then \n more", "a".repeat(30 * LONGEST));
    let mut reader = Redacted::new(text.as_bytes(), &redactor);
    let mut clean = String::new();
    reader.read_to_string(&mut clean).unwrap();
    assert_eq!(clean, "[redacted: hf token], then \n more");
    assert!(reader.open.capacity() <= 2 * 8 * LONGEST);
}

#[test]
fn documents_stay_documents() {
    let mut value =
        serde_json::json!({"argv": ["--key", format!("hf_{}", "a1".repeat(12))], "n": 1, "s3cr\"et/value": null});
    let mut found = Found::default();
    redactor().document(&mut value, &mut found);
    assert_eq!(
        value,
        serde_json::json!({"argv": ["--key", "[redacted: hf token]"], "n": 1, "[redacted: DB_PASSWORD]": null})
    );
    assert_eq!(found.total(), 2);
}

#[test]
fn patterns_that_would_fit_anything_are_refused() {
    for (pattern, words) in [("(", "unclosed group"), ("a*", "empty text")] {
        let error = Redactor::new(&[], &[pattern.to_owned()]).unwrap_err();
        assert!(
            error.contains(words) && error.contains(&format!("`{pattern}`")),
            "{error}"
        );
    }
}
