//! Tests that are hostile to the machine they run on: what they leave in their directory is neither followed nor taken
//! for the tool's own, and costs no answer.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::cli::{Place, Ran};
use crate::engine;

/// Where sessions run that can be had here: processes of this machine, and containers.
fn places() -> Vec<&'static [&'static str]> {
    let mut places: Vec<&[&str]> = vec![&["--backend", "local"]];
    if engine::daemon() {
        places.push(&["-i", "host"]);
    }
    places
}

/// A session that hangs after it has put a link to somebody else's file wherever an autopsy would write.
const LINKS: &str = "
import os, time

def test_hang():
    run = os.environ['DYN_TEST_OUTPUT_PATH']
    target = open('outside.txt').read().strip()
    os.mkdir(run + '/t')
    open(run + '/t/a.log', 'w').write('* * * * * root touch /pwned\\n')
    if os.environ['REPRODUCE_FLAKY_ITERATION'] == '1':
        os.mkdir(run + '/autopsy')
        for name in ['logs.txt', 'stacks.txt', 'processes.txt', 'files.txt', 'core-1.txt']:
            os.symlink(target + '/precious', run + '/autopsy/' + name)
    else:
        os.symlink(target, run + '/autopsy')
    for name in ['exit.json', 'outcome.json', '.exit_code', 'run.log', 'lost.txt']:
        os.symlink(target + '/precious', run + '/' + name)
    time.sleep(1000)
";

/// A session that hangs and answers the signal that asks for its stacks in ways of its own: with a link to somebody
/// else's file, a pipe that nobody writes to, or more than anybody wants.
const STACKS: &str = "
import os, signal, time

def test_hang():
    path = os.environ['DYN_TEST_OUTPUT_PATH'] + '/.stacks'
    target = open('outside.txt').read().strip()
    iteration = os.environ['REPRODUCE_FLAKY_ITERATION']

    def answer(*_):
        os.unlink(path)
        if iteration == '1':
            os.symlink(target + '/precious', path)
        elif iteration == '2':
            os.mkfifo(path)
        else:
            with open(path, 'w') as file:
                file.truncate(3 << 30)
        os._exit(0)

    signal.signal(60, answer)
    while True:
        time.sleep(0.05)
";

#[test]
fn what_stands_in_the_place_of_stacks_is_neither_followed_nor_waited_for() {
    for words in places() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "a secret of somebody else's").unwrap();
        let place = Place::new(&[("test_stacks.py", STACKS)]);
        fs::write(place.path("outside.txt"), outside.path().to_str().unwrap()).unwrap();
        let ran = place
            .run(&[words, &["-e", "3", "-j", "3", "--timeout", "4s"]].concat())
            .exits(3);
        let rows = place.rows("logs/serial");
        for iteration in 1..=3 {
            assert_eq!(rows[&iteration]["ended_by"], "deadline", "{words:?} {}", ran.err());
            let stacks = place.path(&format!("logs/serial/run{iteration:03}/autopsy/stacks.txt"));
            let stacks = fs::read_to_string(stacks).unwrap();
            assert!(!stacks.contains("a secret"), "{stacks}");
            assert!(stacks.len() < 1 << 20);
        }
    }
}

#[track_caller]
fn wrote_nothing(ran: &Ran, outside: &Path) {
    let kept = fs::read_to_string(outside.join("precious")).unwrap();
    assert_eq!(kept, "untouched", "{}", ran.err());
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
}

#[test]
fn a_hung_test_writes_no_file_of_this_machine_through_links_where_its_autopsy_goes() {
    for words in places() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "untouched").unwrap();
        let place = Place::new(&[("test_links.py", LINKS)]);
        fs::write(place.path("outside.txt"), outside.path().to_str().unwrap()).unwrap();
        let ran = place
            .run(&[words, &["-e", "2", "-j", "2", "--timeout", "5s"]].concat())
            .exits(3);
        wrote_nothing(&ran, outside.path());
        let rows = place.rows("logs/serial");
        for iteration in [1, 2] {
            assert_eq!(rows[&iteration]["outcome"], "hung", "{words:?}");
            let run = place.path(&format!("logs/serial/run{iteration:03}"));
            let stacks = run.join("autopsy/stacks.txt");
            assert!(fs::symlink_metadata(&stacks).unwrap().is_file(), "{words:?}");
            assert!(
                fs::read_to_string(run.join("autopsy/logs.txt"))
                    .unwrap()
                    .contains("touch /pwned")
            );
            assert!(
                fs::symlink_metadata(run.join("autopsy.from-test-1")).is_ok(),
                "it stays as evidence"
            );
            assert!(
                fs::symlink_metadata(run.join("exit.json")).unwrap().is_file(),
                "{words:?}"
            );
            assert!(
                fs::symlink_metadata(run.join("run.log")).unwrap().is_file(),
                "{words:?}"
            );
        }
    }
}

#[test]
fn attempts_are_closed_to_other_users_and_what_tests_wrote_is_in_the_run() {
    let place = Place::new(&[(
        "test_open.py",
        "import os\ndef test_a():\n    run = os.environ['DYN_TEST_OUTPUT_PATH']\n    \
         os.mkdir(run + '/test_a')\n    open(run + '/test_a/a.log', 'w').write('here')\n    \
         attempts = os.path.join('logs', 'serial', '.attempts')\n    \
         assert os.stat(attempts).st_mode & 0o7777 == 0o700\n",
    )]);
    fs::create_dir_all(place.path("logs/serial/.attempts")).unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.path("logs/serial/.attempts"), open).unwrap();
    place.run(&["--backend", "local", "-e", "1"]).exits(0);
    let run = place.path("logs/serial/run001");
    assert_eq!(fs::read_to_string(run.join("test_a/a.log")).unwrap(), "here");
    assert_eq!(fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(!run.join("session").exists());
    assert_eq!(fs::read_dir(place.path("logs/serial/.attempts")).unwrap().count(), 0);
}

/// A session that is still at work in the workspace when another one has ended, which the third one's start shows.
const AT_WORK: &str = "
import os, time

def test_work():
    run = os.environ['DYN_TEST_OUTPUT_PATH']
    with open(run + '/tool', 'w') as tool: tool.write('#!')
    os.chmod(run + '/tool', 0o6755)
    number = os.environ['REPRODUCE_FLAKY_ITERATION']
    name = 'made-by-' + number
    open(name, 'w').close()
    if number == '2':
        while not os.path.exists('made-by-3'): time.sleep(0.01)
        open(name, 'a').write('more')
";

#[test]
fn a_session_that_ended_takes_no_file_of_the_workspace_from_one_that_runs_and_leaves_no_program_of_roots() {
    if !engine::daemon() {
        return;
    }
    for user in [&["--user", "1234:1234"][..], &[]] {
        let place = Place::new(&[("test_work.py", AT_WORK)]);
        fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        let words = [&["-i", "host", "-e", "3", "-j", "2", "--timeout", "60s"], user].concat();
        let ran = place.run(&words);
        assert_eq!(ran.code(), Some(0), "{}\n{}", ran.out(), ran.err());
        let own = rustix::process::geteuid().as_raw();
        for number in 1..=3 {
            let made = fs::metadata(place.path(&format!("made-by-{number}"))).unwrap();
            assert_eq!(made.uid(), own, "{user:?}");
            let tool = fs::metadata(place.path(&format!("logs/serial/run{number:03}/tool"))).unwrap();
            assert_eq!((tool.uid(), tool.mode() & 0o7777), (own, 0o755), "{user:?}");
        }
    }
}
