//! No input makes the console reader panic, hang, or grow: random bytes, and real logs that were cut and mixed.

use std::fs;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use reproduce_flaky::judge::pytest::{console, trail};

static REAL_LOGS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(real_logs);

fn real_logs() -> Vec<Vec<u8>> {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs");
    let mut paths: Vec<_> = fs::read_dir(logs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.iter().step_by(5).map(|path| fs::read(path).unwrap()).collect()
}

/// Pieces that mean something to the reader.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            "============ test session starts ============\n",
            "=== FAILURES ===\n",
            "__________ test_x[é] __________\n",
            "---- Captured stdout call ----\n",
            "E   Failed: Timeout (>1.0s) from pytest-timeout.\n",
            "tests/a.py::test_x[a ",
            "b] PASSED [ 50%]\n",
            "[gw0] [ 50%] FAILED tests/a.py::test_x\n",
            "[gw0] node down: Not properly terminated\n",
            "tests/a.py ..F",
            "Fatal Python error: Aborted\n",
            "  File \"a.py\", line 1 in test_x\n",
            "+++++ Timeout +++++\n",
            "=== short test summary info ===\n",
            "FAILED tests/a.py::test_x[ - é\n",
            "!!! KeyboardInterrupt !!!\n",
            "=== 1 failed in 0.1s ===\n",
            "2 passed in 0.1s\n",
            "\u{1b}[31m",
            "\u{1b}]",
            "[0m",
            "\r",
            "2024-05-01T12:34:56Z ",
            "INTERNALERROR> x\n",
            "Timeout (0:00:01)!\n",
            "worker 'gw0' crashed while running '",
            "\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_pieces_is_read(pieces in prop::collection::vec(piece(), 0..60)) {
        let log = pieces.concat();
        let read = console::read(log.as_slice(), None).unwrap();
        prop_assert!(read.lines <= memchr::memchr_iter(b'\n', &log).count() as u64 + 1);
        trail::read(log.as_slice()).unwrap();
    }

    #[test]
    fn real_logs_are_read_wherever_they_are_cut(seed in any::<prop::sample::Index>(), from in 0.0..1.0_f64, to in 0.0..1.0_f64) {
        let logs = &*REAL_LOGS;
        let log = &logs[seed.index(logs.len())];
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a length")]
        let at = |part: f64| (log.len() as f64 * part) as usize;
        let (from, to) = (at(from.min(to)), at(from.max(to)));
        console::read(&log[from..to], None).unwrap();
    }
}

/// Repeats one text without ever holding it more than once.
struct Repeat {
    text: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Repeat {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.text.len() && self.left > 0 {
            self.left -= 1;
            self.at = 0;
        }
        Ok(&self.text[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

#[test]
fn what_is_kept_of_a_log_does_not_grow_with_it() {
    for text in [
        "tests/a.py::test_x some output of a test\n",
        "=== FAILURES ===\n___ test_x ___\nE   AssertionError: x\n",
        "no newline at all ",
        "============ test session starts ============\n",
        "[gw0] node down: Not properly terminated\n",
        "Fatal Python error: Aborted\n",
        "Aborted\n",
    ] {
        let log = Repeat {
            text: text.as_bytes().to_vec(),
            at: 0,
            left: 30_000,
        };
        let read = console::read(log, None).unwrap();
        assert!(read.sessions.len() <= 300, "{text}");
        for session in &read.sessions {
            assert!(session.marks.len() <= 600 && session.stacks.len() <= 200, "{text}");
            assert!(
                session.sections.len() <= 20_000 && session.running.len() <= 20_000,
                "{text}"
            );
        }
    }
}
