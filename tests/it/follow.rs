//! `status --follow` on a real terminal, which tmux is: what it shows, its keys, and what it leaves behind.

use std::process::{Child, Command, Stdio};

use crate::cli::{Place, until};
use crate::place::{Need, end_processes_of, skip};

/// A terminal with a server of its own, gone when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Starts a command in a place; `None`, said aloud, where there is no tmux.
    fn start(place: &Place, size: (u32, u32), environment: &[&str], words: &[&str]) -> Option<Terminal> {
        if Command::new("tmux")
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            skip(Need::Tmux, "no tmux on this machine");
            return None;
        }
        let socket = place.path("tmux.socket").display().to_string();
        let terminal = Terminal { socket };
        let binary = env!("CARGO_BIN_EXE_reproduce-flaky");
        // The shell stays, so that what is left on the screen can be seen.
        let command = format!(
            "env {} {binary} {}; echo \"left with $?\"; stty -a | grep -o ' icanon'; exec cat",
            environment.join(" "),
            shell_words::join(words)
        );
        let (width, height) = (size.0.to_string(), size.1.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "-c",
            &place.dir.path().display().to_string(),
            &command,
        ]);
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-u")
            .args(["-S", &self.socket])
            .args(words)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits for words on the screen, and returns it.
    #[track_caller]
    fn shows(&self, words: &str) -> String {
        let mut screen = String::new();
        until(words, || {
            screen = self.screen();
            screen.contains(words)
        });
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.socket, "kill-server"])
            .stderr(Stdio::null())
            .status();
    }
}

/// A suite that passes in the first iteration, fails in the second, and else never ends by itself.
fn mixed() -> Place {
    Place::new(&[(
        "test_mixed.py",
        "import os, time\n\
         N = int(os.environ['REPRODUCE_FLAKY_ITERATION'])\n\
         def test_mixed():\n    \
             print('routing', N, flush=True)\n    \
             assert N != 2, 'Router states have different numbers of events'\n    \
             time.sleep(600 if N > 2 else 0)\n",
    )])
}

#[test]
fn the_sweeps_own_display_shows_the_same_facts() {
    let place = mixed();
    let words = [
        "--backend",
        "local",
        "-e",
        "6",
        "-j",
        "2",
        "--cancel-grace",
        "1s",
        "--grace",
        "1s",
        "--",
        "-s",
    ];
    let Some(terminal) = Terminal::start(&place, (80, 24), &["NO_COLOR=1"], &words) else {
        return;
    };
    terminal.shows("routing 3");
    let screen = terminal.shows("routing 4");
    for words in ["1 passed  1 failed  (A2 1)", "failed 1/2, a rate between", "run003"] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
    assert!(
        screen.lines().any(|line| matches!(line.trim(), ".F" | "F.")),
        "{screen}"
    );
    terminal.keys(&["C-c"]);
    terminal.shows("left with 130");
    end_processes_of(place.dir.path());
}

/// A sweep whose first two iterations are done, one of them failed, and whose next two never end by themselves.
fn sweep() -> (Place, Child) {
    let place = mixed();
    let words = ["--backend", "local", "-e", "6", "-j", "2", "--", "-s"];
    let sweep = place
        .command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("two results", || {
        place.path("logs/serial/run002/outcome.json").exists() && place.path("logs/serial/run001/outcome.json").exists()
    });
    (place, sweep)
}

fn end(place: &Place, mut sweep: Child) {
    assert_eq!(sweep.try_wait().unwrap(), None, "the view ends nothing");
    sweep.kill().unwrap();
    sweep.wait().unwrap();
    end_processes_of(place.dir.path());
}

#[test]
fn the_view_shows_a_sweep_of_another_process_and_opens_what_its_runs_left() {
    let (place, sweep) = sweep();
    let words = ["status", "logs", "--follow", "--interval", "100ms"];
    let Some(terminal) = Terminal::start(&place, (80, 24), &["PAGER=less"], &words) else {
        return end(&place, sweep);
    };
    terminal.shows("routing 3");
    let screen = terminal.shows("routing 4");
    for words in [
        "logs/serial  ━━━━━━━━──────────────── 2/6  running",
        "1 passed  1 failed  0 errored   A2 in 1",
        "1/2 failed: 50 %",
        "  .F  1-2",
        "routing 3",
        "run002  failed A2",
        "leave, nothing is stopped",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    // The log of one that runs, and back.
    terminal.keys(&["Down", "Enter"]);
    let log = terminal.shows("test session starts");
    assert!(!log.contains("nothing is stopped"), "{log}");
    terminal.keys(&["q"]);
    terminal.shows("▶ run003");
    // The evidence of one that failed.
    terminal.keys(&["End", "e"]);
    terminal.shows("logs/serial/run002: failed A2");
    terminal.keys(&["q"]);
    terminal.shows("▶ run002");
    // Smaller and larger while it runs.
    terminal.tmux(&["resize-window", "-x", "50", "-y", "10"]);
    until("the narrow view", || {
        let screen = terminal.screen();
        screen.contains("▶ run002") && screen.lines().all(|line| line.chars().count() <= 50)
    });
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.shows("leave, nothing is stopped");
    terminal.keys(&["q"]);
    let left = terminal.shows("icanon");
    assert!(left.contains("left with 0") && !left.contains("run003"), "{left}");
    end(&place, sweep);
}

#[test]
fn the_view_needs_neither_color_nor_more_than_ascii_and_a_signal_gives_the_terminal_back() {
    let (place, sweep) = sweep();
    let words = ["status", "logs", "--follow", "--interval", "100ms"];
    let Some(terminal) = Terminal::start(&place, (80, 24), &["NO_COLOR=1", "LC_ALL=C"], &words) else {
        return end(&place, sweep);
    };
    terminal.shows("run004");
    terminal.keys(&["j"]);
    let screen = terminal.shows("> run003");
    assert!(
        screen.contains("########----------------") && screen.is_ascii(),
        "{screen}"
    );
    let colored = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let codes: Vec<&str> = colored
        .split("\u{1b}[")
        .skip(1)
        .map(|rest| rest.split('m').next().unwrap())
        .collect();
    assert!(
        codes.iter().all(|code| code
            .split(';')
            .all(|part| !part.starts_with(['3', '4', '9']) || part == "39" || part == "49")),
        "{codes:?}"
    );
    let view = terminal.tmux(&["list-panes", "-F", "#{pane_pid}"]);
    let children = Command::new("pkill")
        .args(["-TERM", "-P", view.trim()])
        .status()
        .unwrap();
    assert!(children.success());
    terminal.shows("icanon");
    end(&place, sweep);
}

#[test]
fn without_a_keyboard_the_view_shows_and_a_signal_gives_the_screen_back() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    let without_input = ["sh", "-c", "'exec \"$@\" < /dev/null'", "sh"];
    let words = ["status", "logs", "--follow"];
    let Some(terminal) = Terminal::start(&place, (80, 24), &without_input, &words) else {
        return;
    };
    let screen = terminal.shows("2/2  not running (complete)");
    assert!(screen.contains("Ctrl-C  leave, nothing is stopped"), "{screen}");
    let view = terminal.tmux(&["list-panes", "-F", "#{pane_pid}"]);
    let ended = Command::new("pkill")
        .args(["-TERM", "-P", view.trim()])
        .status()
        .unwrap();
    assert!(ended.success());
    let left = terminal.shows("left with 0");
    assert!(!left.contains("2/2"), "{left}");
}

#[test]
fn control_c_leaves_the_view() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "2"]).exits(0);
    let Some(terminal) = Terminal::start(&place, (80, 24), &[], &["status", "logs", "--follow"]) else {
        return;
    };
    terminal.shows("2/2  not running (complete)");
    terminal.keys(&["C-c"]);
    terminal.shows("left with 0");
}

#[test]
fn a_view_whose_terminal_is_gone_ends() {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let Some(terminal) = Terminal::start(&place, (80, 24), &[], &["status", "logs", "--follow"]) else {
        return;
    };
    terminal.shows("1/1  not running (complete)");
    let shell = terminal.tmux(&["list-panes", "-F", "#{pane_pid}"]);
    let view = Command::new("pgrep").args(["-P", shell.trim()]).output().unwrap();
    let view = String::from_utf8(view.stdout).unwrap();
    let process = std::path::Path::new("/proc").join(view.trim());
    assert!(process.exists());
    drop(terminal);
    until("the view's end", || !process.exists());
}
