//! Proofs in which the base is run again beside the fix, asked for or because its record does not do.

use super::{LOCAL, base, json, prove, recorded};

#[test]
fn the_base_is_run_again_beside_the_fix() {
    let place = base("1,3,5,7,8,9,10");
    let words = ["--control", "-E", "FAILS=", "--format", "json"];
    let ran = prove(&place, &words).exits(0);
    let proved = json(&ran);
    assert_eq!(
        (&proved["state"], &proved["design"], &proved["announced"]),
        (&"fewer".into(), &"control".into(), &20.into()),
        "{proved}"
    );
    assert!((proved["p"].as_f64().unwrap() - 1.0 / 32.0).abs() < 1e-12, "{proved}");
    assert_eq!(proved["base"], serde_json::json!({"failed": 5, "of": 8}));
    assert_eq!(proved["new"], serde_json::json!({"failed": 0, "of": 8}));
    assert_eq!(recorded(&place, "logs/serial_prove_A2-base"), 8);
    let again = prove(&place, &words[..3]).exits(0).out();
    assert!(
        again.starts_with(
            "A2: fewer: 0/8 beside 5/8 of the base run again \
             (p = 0.031; of 8 blocks only the base failed in 5, only the fix in 0)\n"
        ),
        "{again}"
    );
    // The fix fails too.
    let words = ["--control", "-E", "FAILS=2", "-t", "half"];
    let ran = prove(&place, &words).exits(3);
    assert!(
        ran.out()
            .starts_with("A2: not shown: it failed again in run 2 (1/2 beside 1/2 of the base"),
        "{}",
        ran.out()
    );
    // Both would run the same.
    let err = prove(&place, &["--control", "-t", "same"]).exits(1).err();
    assert!(
        err.contains("error: `logs/serial` cannot be run again beside the fix")
            && err.contains("\nhint: name what the fix changes"),
        "{err}"
    );
}

#[test]
fn a_base_that_was_selected_or_ran_otherwise_is_run_again_unless_it_is_trusted() {
    let place = base("1,3,5,7,8,9,10");
    let retried = [&LOCAL[..], &["-e", "6", "-E", "FAILS=5,7,8,9,10", "--retry", "1"]].concat();
    place.run(&retried).exits(3);
    let ran = prove(&place, &["-E", "FAILS=", "--dry-run"]).exits(0);
    let err = ran.err();
    assert!(
        err.contains("note: `logs/serial`: 1 answer was replaced by --retry (1 failed), and every answer counts: the base is run again beside the fix; --trust-base compares"),
        "{err}"
    );
    assert!(
        err.contains("A2: 3/7 before; with the base run again beside the fix: about 12 blocks"),
        "{err}"
    );
    assert!(err.contains("or --trust-base: if it is gone, "), "{err}");
    assert!(!place.path("logs/serial_prove_A2").exists(), "a dry run begins nothing");
    let trusted = prove(&place, &["-E", "FAILS=", "--trust-base", "--dry-run"])
        .exits(0)
        .err();
    assert!(
        trusted.contains("its recorded runs are trusted all the same"),
        "{trusted}"
    );

    let place = base("1,3,5");
    let err = prove(&place, &["-E", "FAILS=", "-p", "2", "--dry-run"]).exits(0).err();
    assert!(
        err.contains("it ran under other conditions: mode `serial` before, `n2` now"),
        "{err}"
    );
}
