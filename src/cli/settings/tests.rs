use super::*;
use crate::commands::sweep::args::{self, Args};

fn settings(file: &str) -> Result<Settings, SettingsError> {
    Settings::parse(PathBuf::from(SETTINGS_FILE), file, &args::command())
}

fn sweep_with(file: &str, words: &[&str]) -> Result<Args, String> {
    let settings = settings(file).map_err(|error| error.to_string())?;
    let words = ["reproduce-flaky"].iter().chain(words);
    Args::read(words.map(OsString::from).collect(), Some(&settings)).map_err(|error| error.to_string())
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "image = \"app:ci\"\njobs = 4\nsilence = \"90s\"\nno-trail = true\nenv = [\"A=1\", \"B\"]\n";
    let args = sweep_with(file, &["-j", "2"]).unwrap();
    assert_eq!((args.image.as_str(), args.jobs, args.no_trail), ("app:ci", 2, true));
    assert_eq!(args.env.len(), 2);
    assert_eq!(sweep_with(file, &["-E", "C"]).unwrap().env.len(), 1);
    let args = sweep_with(file, &["-e", "50", "--chunk-size", "5"]).unwrap();
    assert_eq!(args.jobs(), 10);
    let chunks = "chunk-size = 5\n";
    assert_eq!(sweep_with(chunks, &["-e", "50"]).unwrap().jobs(), 10);
    assert_eq!(sweep_with(chunks, &["-e", "50", "-j", "2"]).unwrap().jobs(), 2);
}

#[test]
fn a_wrong_setting_is_named_with_its_line() {
    for (file, words) in [
        (
            "image = \"a\"\nimagee = \"b\"\n",
            "invalid setting `imagee` in `reproduce-flaky.toml`, line 2: no flag of a sweep has this name",
        ),
        (
            "image = \"a\"\n\njobs = = 2\n",
            "failed to read `reproduce-flaky.toml`, line 3: ",
        ),
        (
            "before = { a = 1 }\n",
            "invalid setting `before` in `reproduce-flaky.toml`, line 1: ",
        ),
        (
            "image = \"a\"\njobs = \"many\"\n",
            "invalid setting `jobs` in `reproduce-flaky.toml`, line 2: invalid value 'many' for '--jobs <JOBS>'",
        ),
        (
            "no-trail = \"perhaps\"\n",
            "invalid setting `no-trail` in `reproduce-flaky.toml`, line 1: ",
        ),
        ("accept-settings = true\n", "no flag of a sweep has this name"),
    ] {
        let error = sweep_with(file, &[]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_reaches_out_of_the_sessions_is_told_by_its_digest() {
    let reach = |file: &str| settings(file).unwrap().reach().clone();
    assert_eq!(reach("jobs = 4\nbefore = []\n"), BTreeMap::new());
    let made = reach("before = [\"make\"]\nvolume = \"/:/x\"\n");
    assert_eq!(made.keys().collect::<Vec<_>>(), ["before", "volume"]);
    assert_ne!(made["before"], reach("before = [\"make\", \"all\"]\n")["before"]);
}
