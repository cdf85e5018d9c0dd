//! Which lines of an autopsy's stacks matter: the Python and native frames of the thread that hangs.
//!
//! The text is that of `autopsy/stacks.txt`: Python stacks as faulthandler prints them, by process, then native stacks
//! as gdb prints them. Both name a thread by the same number, which is how the two are joined.

/// Most frames, and most of them that are Python's.
const MOST_FRAMES: usize = 10;
const MOST_PYTHON: usize = 5;
/// Most bytes of the text that are looked at.
const MOST_BYTES: usize = 4 << 20;

/// Parts of paths of those who run tests; what is above the test in a stack is theirs.
const RUNNERS: [&str; 5] = ["/_pytest/", "/pluggy/", "/xdist/", "/execnet/", "/pytest/"];
/// Native functions of the interpreter: what called them is told by the Python frames.
const INTERPRETER: [&str; 8] = [
    "_PyEval",
    "PyEval",
    "_PyFunction",
    "_PyObject",
    "PyObject",
    "cfunction_",
    "method_vectorcall",
    "_start",
];
/// Native functions in which a thread stays for ever because the interpreter shuts down: `PyO3`'s and `CPython`'s own. Such
/// a thread waits for nothing, and nobody waits for it by mistake; who hangs is another one.
const PARKED: [&str; 2] = ["HangThread", "PyThread_hang_thread"];

/// One thread of a process.
struct Thread<'a> {
    /// Number by which both kinds of stacks know it.
    id: Option<u64>,
    process: &'a str,
    /// Its heading.
    head: &'a str,
    frames: Vec<&'a str>,
}

/// The lines that matter, at most ten frames and their headings: innermost frame first. Empty where nothing tells a thread
/// that hangs from the others.
pub fn that_matter(text: &str, test: Option<&str>) -> Vec<String> {
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (python, native) = threads(&text[..end]);
    let is_parked = |thread: &Thread<'_>| {
        let mut frames = thread.frames.iter();
        frames.any(|frame| PARKED.iter().any(|name| frame.contains(name)))
    };
    let parked: Vec<u64> = native
        .iter()
        .filter(|thread| is_parked(thread))
        .filter_map(|thread| thread.id)
        .collect();
    let mut candidates = python
        .iter()
        .filter(|thread| thread.id.is_none_or(|id| !parked.contains(&id)));
    let function = test.map(function_of);
    let is_in = |thread: &&Thread<'_>| {
        let mut frames = thread.frames.iter();
        function.is_some_and(|function| frames.any(|frame| frame.ends_with(&format!(" in {function}"))))
    };
    let is_runners = |thread: &&Thread<'_>| thread.frames.iter().any(|frame| is_of_runner(frame));
    let chosen = candidates
        .clone()
        .find(is_in)
        .or_else(|| candidates.clone().find(is_runners))
        .or_else(|| candidates.next());
    let mut lines = Vec::new();
    if let Some(thread) = chosen {
        lines.push(format!(
            "Python, process {}, {}",
            number_of(thread.process),
            thread.head.trim_end_matches(':')
        ));
        let own = thread.frames.iter().take_while(|frame| !is_of_runner(frame));
        lines.extend(own.take(MOST_PYTHON).map(|frame| format!("  {}", frame.trim())));
    }
    let of_chosen = |thread: &&Thread<'_>| chosen.is_some_and(|chosen| chosen.id.is_some() && chosen.id == thread.id);
    // Without Python frames, as at the interpreter's end: the main thread, unless it is parked.
    let is_main = |thread: &&Thread<'_>| chosen.is_none() && !is_parked(thread);
    let found = native.iter().find(of_chosen).or_else(|| native.iter().rfind(is_main));
    if let Some(thread) = found {
        lines.push(format!(
            "native, process {}, {}",
            number_of(thread.process),
            thread.head.trim_end_matches(':')
        ));
        let own = thread.frames.iter().take_while(|frame| !is_interpreters(frame));
        let rest = MOST_FRAMES - lines.len().saturating_sub(1);
        lines.extend(own.take(rest).map(|frame| format!("  {}", frame.trim())));
    }
    lines
}

/// The threads of the two kinds of stacks.
fn threads(text: &str) -> (Vec<Thread<'_>>, Vec<Thread<'_>>) {
    let (mut python, mut native) = (Vec::new(), Vec::new());
    let mut section = "";
    let mut process = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            (section, process) = (title, "");
            continue;
        }
        if let Some(name) = line.strip_prefix("--- process ") {
            process = name;
            continue;
        }
        let list: &mut Vec<Thread<'_>> = if section.starts_with("Python") || section.starts_with("Printed") {
            &mut python
        } else if section.starts_with("Native") {
            &mut native
        } else {
            continue;
        };
        let head = line
            .strip_prefix("Current thread ")
            .or_else(|| line.strip_prefix("Thread "));
        if head.is_some() {
            list.push(Thread {
                id: line.find("0x").and_then(|at| hexadecimal(&line[at + 2..])),
                process,
                head: line,
                frames: Vec::new(),
            });
        } else if let Some(thread) = list.last_mut()
            && (line.trim_start().starts_with("File \"") || line.starts_with('#'))
        {
            thread.frames.push(line);
        }
    }
    (python, native)
}

fn hexadecimal(text: &str) -> Option<u64> {
    let end = text.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(text.len());
    u64::from_str_radix(&text[..end], 16).ok()
}

/// The number that a process's heading begins with.
fn number_of(process: &str) -> &str {
    process.split(' ').next().unwrap_or(process)
}

fn is_of_runner(frame: &str) -> bool {
    RUNNERS.iter().any(|part| frame.contains(part))
}

/// Whether a native frame is the interpreter's own.
fn is_interpreters(frame: &str) -> bool {
    let name = frame.split_once(" in ").map_or(frame, |(_, rest)| rest);
    let name = name.trim_start_matches(|char: char| char == '#' || char.is_ascii_digit() || char == ' ');
    INTERPRETER.iter().any(|known| name.starts_with(known))
}

/// The function of a test, as a frame names it.
fn function_of(id: &str) -> &str {
    super::pytest::nodeid::name(id).split('[').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACKS: &str = "\
What the session was doing when it was ended from outside.

=== Python stacks, most recent call first

--- process 7 python3 -m pytest
Thread 0x00007f0000000002 (most recent call first):
  File \"/usr/lib/python3.11/selectors.py\", line 468 in select
  File \"/w/tests/nats.py\", line 12 in serve

Thread 0x00007f0000000001 (most recent call first):
  File \"/w/tests/router.py\", line 12 in start
  File \"/w/tests/test_a.py\", line 40 in test_second
  File \"/v/_pytest/python.py\", line 159 in pytest_pyfunc_call

=== Native stacks

--- process 7
Thread 2 (Thread 0x7f0000000002 (LWP 9) \"worker\"):
#0  0x00007f01 in epoll_wait () from libc.so.6

Thread 1 (Thread 0x7f0000000001 (LWP 7) \"python3\"):
#0  0x00007f02 in __futex_abstimed_wait () from libc.so.6
#1  0x00007f03 in std::sync::Once::call () from router.so
#2  0x00005501 in _PyEval_EvalFrameDefault ()
#3  0x00005502 in main ()
";

    #[test]
    fn the_thread_of_the_hung_test_is_shown_with_its_native_frames() {
        assert_eq!(
            that_matter(STACKS, Some("tests/test_a.py::test_second[tcp]")),
            [
                "Python, process 7, Thread 0x00007f0000000001 (most recent call first)",
                "  File \"/w/tests/router.py\", line 12 in start",
                "  File \"/w/tests/test_a.py\", line 40 in test_second",
                "native, process 7, Thread 1 (Thread 0x7f0000000001 (LWP 7) \"python3\")",
                "  #0  0x00007f02 in __futex_abstimed_wait () from libc.so.6",
                "  #1  0x00007f03 in std::sync::Once::call () from router.so",
            ]
        );
        // Without a name it is the thread that runs pytest.
        assert!(that_matter(STACKS, None)[2].ends_with("in test_second"));
    }

    #[test]
    fn a_thread_parked_at_the_interpreters_end_is_not_shown() {
        let parked = STACKS.replace("in epoll_wait ()", "in pyo3::HangThread::drop ()");
        let only_native = parked
            .split("=== Native")
            .nth(1)
            .map(|rest| format!("=== Native{rest}"))
            .unwrap();
        let lines = that_matter(&only_native, None);
        assert!(lines[0].contains("LWP 7") && lines.len() == 3, "{lines:?}");
        let all = only_native.replace("in __futex_abstimed_wait ()", "in PyThread_hang_thread ()");
        assert!(that_matter(&all, None).is_empty());
        assert!(that_matter("", None).is_empty());
    }
}
