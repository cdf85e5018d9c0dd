//! The signature files: their examples hold, their ids are the taxonomy's, and no two rules take each other's examples.

use reproduce_flaky::judge::{BUILT_IN, SignatureSet};

#[test]
fn every_signature_matches_its_examples_and_no_rejected_text() {
    let failing = SignatureSet::built_in().failing_examples();
    assert!(failing.is_empty(), "{}", failing.join("\n"));
}

#[test]
fn every_pattern_of_the_built_in_signatures_is_valid() {
    let files: Vec<(String, String)> = BUILT_IN
        .iter()
        .map(|(name, text)| ((*name).into(), (*text).into()))
        .collect();
    SignatureSet::parse(&files).unwrap();
}

#[test]
fn every_signature_has_examples_of_both_kinds_and_advice() {
    for signature in SignatureSet::built_in().iter() {
        assert!(
            !signature.matches.is_empty() && !signature.rejects.is_empty(),
            "{}",
            signature.id
        );
        assert!(!signature.advice.is_empty(), "{}", signature.id);
    }
}

#[test]
fn categories_come_in_the_order_of_the_taxonomy() {
    let signatures = SignatureSet::built_in();
    let ids: Vec<&str> = signatures.iter().map(|signature| signature.id.as_str()).collect();
    assert_eq!(ids, ["A1", "A2", "A3", "A4", "A5", "B1"]);
}

#[test]
fn an_example_of_one_signature_matches_no_other() {
    let signatures = SignatureSet::built_in();
    for signature in signatures.iter() {
        for example in &signature.matches {
            for (index, other) in signatures.iter().enumerate() {
                let is_other = other.id != signature.id;
                assert!(
                    !(is_other && signatures.example_matches(index, example)),
                    "`{}` also matches `{example}` of `{}`",
                    other.id,
                    signature.id
                );
            }
        }
    }
}
