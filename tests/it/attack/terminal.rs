//! Terminals that go away or stand still under `status --follow`.

use std::process::Command;

use crate::cli::{Place, search_path};

/// Runs a command on a terminal that is nobody's controlling one, waits until it has drawn, does to the terminal what is
/// asked, and prints how the command ended.
const TERMINAL: &str = "
import fcntl, os, pty, signal, struct, subprocess, sys, termios
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
tool = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, start_new_session=True)
try:
    seen = b''
    while b'serial' not in seen:
        seen += os.read(master, 4096)
    if sys.argv[1] == 'gone':
        os.close(slave)
        os.close(master)
    else:
        termios.tcflow(slave, termios.TCOOFF)
        tool.send_signal(signal.SIGTERM)
    print(tool.wait(timeout=60))
finally:
    tool.kill()
";

#[track_caller]
fn followed_on_a_terminal_that(what: &str) -> String {
    let place = Place::passing();
    place.run(&["--backend", "local", "-e", "1", "-q"]).exits(0);
    let out = Command::new("python3")
        .args(["-c", TERMINAL, what, env!("CARGO_BIN_EXE_reproduce-flaky")])
        .args(["status", "--follow", "logs/serial"])
        .current_dir(place.dir.path())
        .env("PATH", search_path())
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{err}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn a_terminal_that_goes_away_ends_the_view() {
    assert_eq!(followed_on_a_terminal_that("gone"), "129");
}

#[test]
fn a_view_that_cannot_draw_is_ended_by_the_signal_that_asks_it_to() {
    assert_eq!(followed_on_a_terminal_that("stopped"), "143");
}
