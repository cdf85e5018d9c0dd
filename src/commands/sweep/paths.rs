//! Paths and node ids that stand before `--`: pytest's own, unless a word is a command that was mistyped.

use std::path::Path;

use crate::commands;
use crate::message::usage;

/// Checks what pytest is to look for, before an iteration is spent on a wrong word.
pub(super) fn check(paths: &[String], directory: &Path) -> anyhow::Result<()> {
    for word in paths {
        let file = word.split("::").next().unwrap_or(word);
        // An image may have absolute paths that this machine has not.
        if file.starts_with('/') || (!file.is_empty() && directory.join(file).exists()) {
            continue;
        }
        if word.contains(['/', '.', ':']) {
            return Err(usage(
                format!("`{file}` is not in `{}`", directory.display()),
                Some("paths are looked for where the sweep is started; what follows `--` goes to pytest as it is"),
            ));
        }
        let hint = nearest(word).map_or_else(
            || "reproduce-flaky --help lists the commands; other arguments of pytest follow `--`".to_owned(),
            |command| format!("reproduce-flaky {command}"),
        );
        return Err(usage(
            format!("`{word}` is neither a command nor a file or directory here"),
            Some(&hint),
        ));
    }
    Ok(())
}

/// The command that a word comes closest to, if it comes close to any.
fn nearest(word: &str) -> Option<String> {
    let command = commands::command();
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let likeness = shown.map(|command| {
        let name = command.get_name().to_owned();
        (strsim::damerau_levenshtein(word, &name), name)
    });
    let (distance, name) = likeness.min()?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_is_told_from_a_path() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for word in [
            "src",
            "src/lib.rs::anything",
            "examples/demo/tests",
            "/workspace/tests/absent.py",
        ] {
            check(&[word.to_owned()], here).unwrap();
        }
        assert_eq!(nearest("histroy").as_deref(), Some("history"));
        assert_eq!(nearest("sumary").as_deref(), Some("summary"));
        assert_eq!(nearest("router"), None);
        let error = check(&["src/absent.py::test_x".to_owned()], here).unwrap_err();
        assert!(error.to_string().starts_with("`src/absent.py` is not in `/"), "{error}");
    }
}
