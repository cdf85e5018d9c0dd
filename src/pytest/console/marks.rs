//! Lines that are not pytest's own and yet say how a session ended: shells, allocators, runtimes, engines, schedulers.
//!
//! One search for literals decides whether a line is looked at closer, so that a log of gigabytes costs little.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use super::clues::{CLUES, Clue};
use super::session::MarkKind;

static SEARCH: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(CLUES.iter().map(|(literal, _)| *literal)).expect("the literals are few"));

/// The shell's word for a job that a signal ended, alone or behind `bash: line 3: 12`, after letters of progress or not.
static SHELL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        (?: ^ | ^[\x20.FEsxXR]+ | \.py(?:::\S+)?\x20[.FEsxXR]* )
        (?: \S{1,200}:\s(?:line\s)?\d+:\s+ (?:\d+\s+)? | \S+:\sline\s\d+:\s+ | \[\d+\][+-]?\s+(?:\d+\s+)? | (?:srun|slurmstepd):\serror:\s\S+\stask\s\S+\s | make(?:\[\d+\])?:\s\*\*\*\s\[.*\]\s )?
        (Aborted|Segmentation\ fault|Bus\ error|Illegal\ instruction|Floating\ point\ exception|Trace/breakpoint\ trap|Killed|Terminated)
        (?: \s*\(core\ dumped\) )? (?: \s* $ | \s{2,}\S.* | \s+\(core\ dumped\).* )",
    )
    .expect("the pattern is valid")
});

/// zsh, fish, GNU time and timeout, qemu.
static OTHER_SHELLS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        ^zsh:\s (?:\d+\s)? (abort|segmentation\ fault|bus\ error|illegal\ hardware\ instruction|killed|terminated)
        | ^fish:\ .* terminated\ by\ signal\ (SIG[A-Z]+)
        | ^Command\ terminated\ by\ signal\ (\d+)
        | ^timeout:\ the\ monitored\ command\ dumped\ core
        | ^qemu:\ uncaught\ target\ signal
        | (?:process|container|command)\ (?:was\ )?(?:killed|terminated)\ (?:by|with)\ signal\ (\S+)",
    )
    .expect("the pattern is valid")
});

/// Exit codes in the words of those who run sessions. Services that tests started end with codes of their own.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?ix)
        ^\W* (?: \#\#\[error\] | error:\s | \[\w+\]\s )? \W*
        (?: process\ completed\ with | job\ failed: | script\ returned | (?:nox\ >\ )?(?:the\ )?command\ (?:".*"\ |\S+\ )?(?:(?:exited|terminated|failed)\ with)? | process\ '.*'\ finished\ with
          | exited\ with\ code | docker(?:\ run)?:?\ (?:exited\ with)? | (?:py)?tests?:?(?:\ (?:run|session|command))?(?:\ (?:exited|finished|failed|ended)(?:\ with)?)? | run\d+:\ \w+ | (?:final|test|pytest)
        )? [\ :(\[]*
        (?: (?:non-zero\ )?exit(?:ed)?[\ _]?(?:code|status|value)? (?:\ with(?:\ code|\ status)?)? | non-zero\ status | status | code | rc | with )
        (?:\ (?:was|is))? [\ :=]+ (?:exit\ status\ )? (\d{1,3}) \b
        | ^\S+:\ exit\ (-?\d{1,3})\ \(\d | InvocationError\ for\ command\ .*\(exited\ with\ code\ (-?\d{1,3})\b
        | ^make(?:\[\d+\])?:\ \*\*\*\ .*\]\ Error\ (\d{1,3})\b"#,
    )
    .expect("the pattern is valid")
});

static ENGINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        ^docker:\ | ^(?:docker:\ )?Error\ response\ from\ daemon | Cannot\ connect\ to\ the\ Docker\ daemon | trying\ to\ connect\ to\ the\ Docker\ daemon
        | Is\ the\ docker\ daemon\ running | ^error\ during\ connect | level=(?:error|fatal).*(?:waiting\ for\ container|daemon)
        | OCI\ runtime\ (?:create|exec|attempted|error) | OCI\ runtime\b.*(?:failed|error) | exec\ user\ process\ caused | ^exec\ .*xec\ format\ error | cannot\ execute\ binary\ file
        | executable\ file\ not\ found | (?:^|\s)\S*:\ (?:line\ )?(?:\d+:\ )?(?:exec:\ )?(?:pytest|py\.test|python[\d.]*|\S*/pytest|\S*/python[\d.]*|timeout|docker|podman|nerdctl|uv|poetry|\S+\.sh):\ (?:command\ )?not\ found
        | (?:^|\s)\S*:\ (?:line\ )?\d*:?\ ?(?:pytest|\S*python[\d.]*|\S+/\S+):\ (?:No\ such\ file\ or\ directory|Permission\ denied)\s*$
        | ^python[\d.]*:\ can't\ open\ file
        | No\ module\ named\ '?pytest'?\s*$ | [Nn]o\ space\ left\ on\ device | ^Unable\ to\ find\ image | unable\ to\ copy\ from\ source | initializing\ source\ docker
        | ^Error:\ .*short-name | No\ such\ container | No\ such\ image | image\ not\ known | toomanyrequests | manifest\ unknown | pull\ access\ denied
        | no\ basic\ auth\ credentials | TLS\ handshake\ timeout | could\ not\ select\ device\ driver | invalid\ reference\ format
        | nvidia-container-cli | ^unknown\ (?:shorthand\ )?flag",
    )
    .expect("the pattern is valid")
});

static USAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        ^(?:collecting\ \.\.\.\ )?ERROR:\ (?:usage:|file\ or\ (?:directory|package)\ not\ found|not\ found:|found\ no\ collectors|Unknown\ |.*(?:pytest\.ini|pyproject\.toml|setup\.cfg|tox\.ini)|Wrong\ expression|module\ or\ package\ not\ found|--|-[a-zA-Z]\ |Missing\ required|unrecognized|invalid)
        | \b(?:pytest|py\.test|__main__\.py|pytest\.py):\ error:\ | ^error:\ unrecognized\ arguments | Error\ importing\ plugin | \bUsageError\b",
    )
    .expect("the pattern is valid")
});

static WATCHDOG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"Timeout \(\d+:\d\d:\d\d(?:\.\d+)?\)!").expect("the pattern is valid"));

/// What a line says about how the session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Head of a fatal block.
    Fatal,
    /// Head of faulthandler's watchdog.
    Watchdog,
    /// Anything else.
    Mark(MarkKind),
}

/// Looks at one line outside of pytest's reports.
pub(super) fn find(text: &str) -> Option<Found> {
    let mut found = None;
    for hit in SEARCH.find_iter(text) {
        let (_, clue) = CLUES[hit.pattern().as_usize()];
        let this = match clue {
            Clue::Fatal => Some(Found::Fatal),
            Clue::Watchdog => WATCHDOG.is_match(text).then_some(Found::Watchdog),
            Clue::Worker => worker(text).map(Found::Mark),
            Clue::Shell => shell(text).map(Found::Mark),
            Clue::Native => Some(Found::Mark(MarkKind::Died)),
            Clue::Outside => is_outside(text).then_some(Found::Mark(MarkKind::EndedOutside)),
            Clue::Code => code(text).map(Found::Mark),
            Clue::Engine => ENGINE.is_match(text).then_some(Found::Mark(MarkKind::Engine)),
            Clue::Usage => USAGE.is_match(text).then_some(Found::Mark(MarkKind::Usage)),
        };
        // A fatal head outweighs what else the line holds.
        if this == Some(Found::Fatal) {
            return this;
        }
        found = found.or(this);
    }
    found
}

fn worker(text: &str) -> Option<MarkKind> {
    if text.contains("node down: Not properly terminated") {
        return Some(MarkKind::WorkerLost);
    }
    (text.contains("aximum crashed workers reached") || text.contains("worker restarting disabled"))
        .then_some(MarkKind::WorkersGivenUp)
}

/// Whether a job that the shell reports on is the session, and not a service that a script ended after it.
fn is_session(command: &str) -> bool {
    const SESSIONS: [&str; 14] = [
        "pytest",
        "py.test",
        "unittest",
        "tox",
        "nox",
        "make",
        "coverage",
        "xvfb-run",
        "docker run",
        "podman run",
        "timeout ",
        "$",
        "test",
        "run.sh",
    ];
    let command = command.trim();
    command.is_empty() || SESSIONS.iter().any(|word| command.contains(word))
}

fn shell(text: &str) -> Option<MarkKind> {
    if let Some(found) = SHELL.captures(text) {
        let end = found.get(1).map_or(text.len(), |word| word.end());
        let command = text[end..].trim_start().trim_start_matches("(core dumped)");
        if !is_session(command) {
            return None;
        }
        return Some(if &found[1] == "Terminated" {
            MarkKind::EndedOutside
        } else {
            MarkKind::Died
        });
    }
    let found = OTHER_SHELLS.captures(text)?;
    let word = found.iter().skip(1).flatten().next().map_or("", |group| group.as_str());
    Some(match word.trim_end_matches(['.', ',', ')']) {
        "terminated" | "SIGTERM" | "15" | "SIGINT" | "2" => MarkKind::EndedOutside,
        _ => MarkKind::Died,
    })
}

fn is_outside(text: &str) -> bool {
    if text.contains("sending signal ") {
        return text.contains("timeout: ");
    }
    if text.contains("CANCELLED AT") {
        return text.contains("***") || text.contains("slurm") || text.contains("srun");
    }
    if text.contains("timed out after") && !text.contains("has timed out after") {
        return text.contains("##[error]")
            || text.starts_with("ERROR")
            || text.starts_with("Error")
            || text.starts_with("Build timed out");
    }
    true
}

fn code(text: &str) -> Option<MarkKind> {
    let found = CODE.captures(text)?;
    let code = found.iter().skip(1).flatten().next()?;
    code.as_str().parse().ok().map(MarkKind::Code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<MarkKind> {
        match find(text) {
            Some(Found::Mark(kind)) => Some(kind),
            Some(Found::Fatal | Found::Watchdog) | None => None,
        }
    }

    #[test]
    fn shells_say_that_a_process_died() {
        for text in [
            "Aborted (core dumped)",
            "Aborted",
            "bash: line 1:    12 Aborted                 (core dumped) python3 -m pytest",
            "/entry.sh: line 5:     7 Segmentation fault      (core dumped) pytest tests",
            "/entry.sh: line 5:     7 Killed                  pytest tests",
            "tests/test_a.py ..Killed",
            "tests/test_a.py::test_x bash: line 1:     7 Aborted                 pytest",
            "zsh: abort      python -m pytest",
            "make: *** [Makefile:3: test] Segmentation fault (core dumped)",
            "timeout: the monitored command dumped core",
            "free(): invalid pointer",
            "FATAL: exception not rethrown",
        ] {
            assert_eq!(kind(text), Some(MarkKind::Died), "{text}");
        }
        for text in [
            "Killed the child as expected",
            "test_Aborted",
            "the job was Terminated by us",
            "Aborted by user: x",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }

    #[test]
    fn wrappers_tell_codes_and_ends_from_outside() {
        for (text, code) in [
            ("##[error]Process completed with exit code 134.", 134),
            ("ERROR: Job failed: exit code 1", 1),
            ("make: *** [Makefile:3: test] Error 139", 139),
            ("script returned exit code 137", 137),
            ("exit status 2", 2),
            ("EXIT CODE: 0", 0),
            ("run024: FAILED (exit 1)", 1),
            ("exit code: 0", 0),
            ("pytest exited with code 139", 139),
            ("The command \"pytest\" exited with 139.", 139),
            ("> Process 'command 'bash'' finished with non-zero exit value 139", 139),
            ("Exited with code exit status 134", 134),
            ("command terminated with exit code 137", 137),
            ("Command exited with non-zero status 1", 1),
            ("[exit 134]", 134),
            ("rc=2", 2),
            ("py311: exit -6 (0.42 seconds) /w> pytest pid=1234", -6),
            (
                "ERROR: InvocationError for command /w/.tox/py/bin/pytest (exited with code -11 (SIGSEGV))",
                -11,
            ),
            ("nox > Command pytest failed with exit code 1", 1),
        ] {
            assert_eq!(kind(text), Some(MarkKind::Code(code)), "{text}");
        }
        for text in [
            "nats-1 exited with code 137",
            "mocker worker exited with code 1",
            "child: exit code 3 expected",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
        for text in [
            "timeout: sending signal TERM to command 'docker'",
            "Terminated",
            "##[error]The operation was canceled.",
            "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2024-05-01T12:00:00 DUE TO TIME LIMIT ***",
            "ERROR: Job failed: execution took longer than 1h0m0s seconds",
        ] {
            assert_eq!(kind(text), Some(MarkKind::EndedOutside), "{text}");
        }
    }

    #[test]
    fn engines_and_pytests_command_line_complain() {
        for text in [
            "docker: Error response from daemon: Conflict. The container name \"/x\" is already in use.",
            "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "/usr/bin/python3: No module named pytest",
            "bash: line 1: pytest: command not found",
            "Unable to find image 'app:ci' locally",
        ] {
            assert_eq!(kind(text), Some(MarkKind::Engine), "{text}");
        }
        for text in [
            "ERROR: usage: pytest [options] [file_or_dir] [file_or_dir] [...]",
            "pytest: error: unrecognized arguments: -n",
            "ERROR: file or directory not found: tests/nope.py",
        ] {
            assert_eq!(kind(text), Some(MarkKind::Usage), "{text}");
        }
    }
}
