use super::*;

#[test]
fn reasons_are_added_and_a_stop_rule_among_them_stays() {
    let old = Spec {
        ended: Some("until A4=1".to_owned()),
        ..Spec::default()
    };
    let spec = old.with_end("broken: no container 3f2a").with_end("complete");
    assert_eq!(spec.ended.as_deref(), Some("complete"));
    let reasons: Vec<&str> = spec.reasons.iter().map(String::as_str).collect();
    assert_eq!(reasons, ["broken", "complete", "until A4=1"]);
    assert_eq!(spec.stop_rule(), Some("until A4=1"));
    assert_eq!(Spec::default().with_end("interrupted").stop_rule(), None);
}
