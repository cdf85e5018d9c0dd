//! Process 1 of a container that was started ahead of its turn: it holds the session's program until the gate opens,
//! then runs it, forwards signals, reaps, and tells how it ended.
//!
//! A program of its own, linked statically, because it is mounted into images that may hold neither a shell nor a
//! C library. It uses the standard library alone. The few calls that library does not have (signal masks, waiting for
//! any child, a signal to everybody) are declared here and in `starve.rs`, and are the only `unsafe` code of the project:
//! the package itself forbids it.
//!
//! `gate hold SOCKET RUN PROGRAM [ARGUMENT…]` runs the program as its child, as an init process does;
//! `gate become SOCKET RUN PROGRAM [ARGUMENT…]` replaces itself by it.
//!
//! With a plan for it in its environment it starves the session meanwhile (`starve.rs`).
//!
//! Over the socket it shows the secret that its environment holds, and which directory is mounted at RUN. The answer
//! is one byte, which opens the gate, and with it the descriptor that the session prints to, if it is not to print to
//! what the engine gave.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, exit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

mod groups;
mod starve;

/// How long processes that the session left may take to be gone after a KILL, before the engine is trusted with them.
const GONE: Duration = Duration::from_millis(500);
/// The code for a container whose gate never opened; nobody reads it.
const NEVER_OPENED: i32 = 0;
/// The code for being called in a way that nobody does.
const MISUSED: i32 = 125;
/// Variable with the secret; the session does not get it.
const SECRET: &str = "REPRODUCE_FLAKY_GATE";

/// What is known of the session's program.
#[derive(Default)]
struct Program {
    pid: Option<i32>,
    started: Option<SystemTime>,
    /// Signals that came from outside the container and were passed on: a bit for each, the first for number 1.
    forwarded: u64,
    /// Where the end is told, once the gate has opened.
    report: Option<UnixStream>,
    output: Option<File>,
}

static PROGRAM: Mutex<Option<Program>> = Mutex::new(None);

fn program() -> MutexGuard<'static, Option<Program>> {
    PROGRAM.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() {
    let mut arguments = env::args_os().skip(1);
    let (Some(how), Some(socket), Some(run), Some(name)) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        exit(MISUSED);
    };
    // Before there is a second thread, so that no signal is ever delivered but to the loop below.
    let signals = sys::block_all_signals();
    // The session, though it may be the same user, does not get at the secret and the connection in here.
    sys::close_to_others();
    let (Ok(secret), Ok(run), Ok(gate)) = (env::var(SECRET), fs::metadata(run), UnixStream::connect(socket)) else {
        exit(MISUSED);
    };
    let greeting = format!("{secret} {} {}\n", run.dev(), run.ino());
    let mut command = Command::new(name);
    command.args(arguments).env_remove(SECRET).env_remove(starve::PLAN);
    let plan = env::var(starve::PLAN).ok().and_then(|plan| starve::Plan::parse(&plan));
    *program() = Some(Program::default());
    let becomes = how == "become";
    thread::spawn(move || wait(gate, &greeting, command, becomes, plan.as_ref()));
    loop {
        match signals.next() {
            (sys::CHLD, _) => reap(),
            (signal, is_from_outside) => pass_on(signal, is_from_outside),
        }
    }
}

/// Waits at the gate, and starts the program when it opens.
fn wait(
    mut gate: UnixStream,
    greeting: &str,
    mut command: Command,
    becomes: bool,
    plan: Option<&starve::Plan>,
) {
    // The end of the connection is the end of whoever would have opened it.
    if gate.write_all(greeting.as_bytes()).is_err() {
        exit(NEVER_OPENED);
    }
    let Some(output) = sys::receive(&gate) else {
        exit(NEVER_OPENED);
    };
    if let Some(output) = &output {
        let (Ok(stdout), Ok(stderr)) = (output.try_clone(), output.try_clone()) else {
            exit(MISUSED);
        };
        command.stdout(stdout).stderr(stderr);
    }
    // The program must not inherit that they are blocked here.
    sys::unblock_all_signals_of(&mut command);
    if becomes {
        let error = command.exec();
        exit(fail(output, &command, &error));
    }
    // As an init process does it: a group of its own, so that what it sends its group does not come back to us.
    command.process_group(0);
    // Held until the pid is known, so that the loop does not reap a stranger.
    let mut known = program();
    let started = SystemTime::now();
    let tool = plan.and_then(|_| gate.try_clone().ok());
    let first;
    match command.spawn() {
        Ok(child) => {
            first = i32::try_from(child.id()).ok();
            *known = Some(Program {
                pid: first,
                started: Some(started),
                forwarded: 0,
                report: Some(gate),
                output,
            });
        }
        Err(error) => {
            let code = fail(output, &command, &error);
            end(
                gate,
                ExitStatus::from_raw(code << 8),
                started,
                0,
                &sys::Usage::default(),
            );
        }
    }
    drop(known);
    // A child that ended before its pid was known has sent its signal already.
    reap();
    if let (Some(plan), Some(first), Some(tool)) = (plan, first, tool) {
        starve::run(plan, first, tool);
    }
}

/// Says that there is no such program, where its output would have gone; the codes are the shell's.
fn fail(output: Option<File>, command: &Command, error: &io::Error) -> i32 {
    let words = format!("failed to run `{}`: {error}\n", command.get_program().to_string_lossy());
    let _ = match output {
        Some(mut output) => output.write_all(words.as_bytes()),
        None => io::stderr().write_all(words.as_bytes()),
    };
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// Passes a signal on to the program; before there is one it ends the container.
fn pass_on(signal: i32, is_from_outside: bool) {
    let mut known = program();
    match known.as_mut() {
        Some(Program {
            pid: Some(pid),
            forwarded,
            ..
        }) => {
            // Those are about ourselves, or the terminal's: an init process keeps them too.
            if !sys::is_own(signal) {
                if is_from_outside {
                    *forwarded |= sys::bit(signal);
                }
                sys::kill(*pid, signal);
            }
        }
        _ if sys::asks_to_end(signal) => exit(128 + signal),
        _ => {}
    }
}

/// Reaps whatever has ended; the end of the program is the end of the container.
fn reap() {
    let mut known = program();
    let Some(pid) = known.as_ref().and_then(|program| program.pid) else {
        // Nothing was started yet, or its pid is not known yet: then this is called again.
        return;
    };
    while let Some((ended, status, usage)) = sys::reap_one() {
        if ended != pid {
            continue;
        }
        let Some(Program {
            started: Some(started),
            forwarded,
            report: Some(report),
            output,
            ..
        }) = known.take()
        else {
            exit(MISUSED);
        };
        drop(output);
        end(report, status, started, forwarded, &usage);
    }
}

/// Ends what is left, tells how the program ended, and ends with its code.
fn end(mut report: UnixStream, status: ExitStatus, started: SystemTime, forwarded: u64, usage: &sys::Usage) -> ! {
    let finished = SystemTime::now();
    starve::end();
    let is_gone = end_the_rest();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let _ = writeln!(
        report,
        "code={code} signal={} forwarded={forwarded} gone={} oom={} started_us={} finished_us={} user_us={} \
         system_us={} max_rss_kb={}",
        status.signal().unwrap_or(0),
        i32::from(is_gone),
        groups::oom_kills(Path::new("/")),
        micros(started),
        micros(finished),
        usage.user_us,
        usage.system_us,
        usage.max_rss_kb,
    );
    exit(code);
}

/// Kills every process of the container but this one. `false` if some may still be there: then the engine's word is
/// waited for, whose kernel ends them with process 1.
fn end_the_rest() -> bool {
    if std::process::id() != 1 {
        // Without a pid namespace of its own "everybody" would be the machine.
        return false;
    }
    let until = Instant::now() + GONE;
    while sys::kill(-1, sys::KILL) {
        while sys::reap_one().is_some() {}
        if Instant::now() >= until {
            return false;
        }
        sys::wait_for_child(Duration::from_millis(5));
    }
    true
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

/// The calls that the standard library does not have, as Linux on 64-bit machines declares them.
mod sys {
    use std::ffi::{c_int, c_long, c_ulong, c_void};
    use std::fs::File;
    use std::io::{Error, ErrorKind};
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, ExitStatus};
    use std::ptr;
    use std::time::Duration;

    pub(super) const KILL: c_int = 9;
    pub(super) const CHLD: c_int = 17;
    const SETMASK: c_int = 2;
    const NOHANG: c_int = 1;
    /// What the low byte of the status says of one that has stopped.
    const STOPPED: c_int = 0x7f;
    const SET_DUMPABLE: c_int = 4;
    const CLOSE_ON_EXEC: c_int = 0x4000_0000;
    /// Level and kind of a message that carries descriptors: `SOL_SOCKET`, `SCM_RIGHTS`.
    const DESCRIPTORS: [c_int; 2] = [1, 1];

    /// Room for either C library's set of signals.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct Signals([u64; 16]);

    #[repr(C, align(8))]
    struct Siginfo([c_int; 32]);

    #[repr(C)]
    struct Timespec {
        seconds: c_long,
        nanos: c_long,
    }

    #[repr(C)]
    #[derive(Default)]
    struct Rusage {
        user: [c_long; 2],
        system: [c_long; 2],
        max_rss: c_long,
        rest: [c_long; 13],
    }

    #[repr(C)]
    struct Piece {
        start: *mut u8,
        length: usize,
    }

    /// As both C libraries have it on little-endian machines, one of them with shorter lengths and padding.
    #[repr(C)]
    struct Message {
        name: *mut c_void,
        name_length: u64,
        pieces: *mut Piece,
        pieces_length: u64,
        control: *mut Control,
        control_length: u64,
        flags: c_int,
    }

    /// Room for one descriptor beside a message.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Control {
        length: u64,
        kind: [c_int; 2],
        descriptor: c_int,
        padding: c_int,
    }

    /// What a process used.
    #[derive(Default)]
    pub(super) struct Usage {
        pub(super) user_us: i64,
        pub(super) system_us: i64,
        pub(super) max_rss_kb: i64,
    }

    unsafe extern "C" {
        fn sigemptyset(set: *mut Signals) -> c_int;
        fn sigfillset(set: *mut Signals) -> c_int;
        fn sigaddset(set: *mut Signals, signal: c_int) -> c_int;
        fn pthread_sigmask(how: c_int, set: *const Signals, old: *mut Signals) -> c_int;
        fn sigwaitinfo(set: *const Signals, info: *mut Siginfo) -> c_int;
        fn sigtimedwait(set: *const Signals, info: *mut u8, timeout: *const Timespec) -> c_int;
        fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut Rusage) -> c_int;
        fn prctl(option: c_int, value: c_ulong, ...) -> c_int;
        fn recvmsg(socket: c_int, message: *mut Message, flags: c_int) -> isize;
        #[link_name = "kill"]
        fn send(pid: c_int, signal: c_int) -> c_int;
    }

    /// Keeps other processes, of the same user too, from tracing this one and from reading what `/proc` has of it.
    pub(super) fn close_to_others() {
        // SAFETY: takes and returns numbers.
        unsafe { prctl(SET_DUMPABLE, 0) };
    }

    /// Waits for one byte; `None` if the connection ends instead. With it, the descriptor that came beside it.
    pub(super) fn receive(gate: &UnixStream) -> Option<Option<File>> {
        let (mut byte, mut control) = (0_u8, Control::default());
        let mut piece = Piece {
            start: &raw mut byte,
            length: 1,
        };
        let mut message = Message {
            name: ptr::null_mut(),
            name_length: 0,
            pieces: &raw mut piece,
            pieces_length: 1,
            control: &raw mut control,
            control_length: size_of::<Control>() as u64,
            flags: 0,
        };
        loop {
            // SAFETY: all that the message points to is ours, as long as it says, and lives through the call.
            match unsafe { recvmsg(gate.as_raw_fd(), &raw mut message, CLOSE_ON_EXEC) } {
                1 => break,
                -1 if Error::last_os_error().kind() == ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
        // Shorter by the padding than the room for it.
        let has_one = message.control_length >= 20 && control.length == 20 && control.kind == DESCRIPTORS;
        // SAFETY: the kernel has just made the descriptor for us.
        Some(has_one.then(|| unsafe { File::from_raw_fd(control.descriptor) }))
    }

    /// The bit of a signal in a set of them.
    pub(super) fn bit(signal: c_int) -> u64 {
        u32::try_from(signal - 1)
            .ok()
            .and_then(|place| 1_u64.checked_shl(place))
            .unwrap_or(0)
    }

    /// Blocks every signal for this thread and those it starts; they are then waited for.
    pub(super) fn block_all_signals() -> Signals {
        let mut all = Signals([0; 16]);
        // SAFETY: the set is larger than any C library's, and lives through the calls.
        unsafe {
            sigfillset(&raw mut all);
            pthread_sigmask(SETMASK, &raw const all, ptr::null_mut());
        }
        all
    }

    pub(super) fn unblock_all_signals_of(command: &mut Command) {
        let unblock = || {
            let mut none = Signals([0; 16]);
            // SAFETY: as above.
            unsafe {
                sigemptyset(&raw mut none);
                pthread_sigmask(SETMASK, &raw const none, ptr::null_mut());
            }
            Ok(())
        };
        // SAFETY: both calls may be made between fork and exec, and nothing else is done there.
        unsafe { command.pre_exec(unblock) };
    }

    impl Signals {
        /// Waits for the next one of them. Also says whether it came from outside the container, whose processes have
        /// no number in here.
        pub(super) fn next(&self) -> (c_int, bool) {
            let mut info = Siginfo([0; 32]);
            loop {
                // SAFETY: the set was filled by the C library; the place for the account is as large as Linux writes.
                let signal = unsafe { sigwaitinfo(&raw const *self, &raw mut info) };
                // A tracer, or a stop and its end, interrupt the wait, and there was no signal.
                if signal > 0 {
                    // Three numbers and a gap come before the sender's on 64-bit machines.
                    return (signal, info.0[4] == 0);
                }
            }
        }
    }

    /// Sends a signal to a process, or with -1 to all that may be sent to. `false` if there is none.
    pub(super) fn kill(pid: c_int, signal: c_int) -> bool {
        // SAFETY: takes and returns numbers.
        unsafe { send(pid, signal) == 0 }
    }

    /// Reaps one child that has ended, if one has.
    pub(super) fn reap_one() -> Option<(c_int, ExitStatus, Usage)> {
        let (mut status, mut usage) = (0, Rusage::default());
        let mut pid;
        loop {
            // SAFETY: both places are ours and as large as 64-bit Linux writes.
            pid = unsafe { wait4(-1, &raw mut status, NOHANG, &raw mut usage) };
            // A tracee that stops is news too, and no end.
            if pid <= 0 || status & 0xff != STOPPED {
                break;
            }
        }
        let micros = |[seconds, micros]: [c_long; 2]| seconds * 1_000_000 + micros;
        (pid > 0).then(|| {
            let usage = Usage {
                user_us: micros(usage.user),
                system_us: micros(usage.system),
                max_rss_kb: usage.max_rss,
            };
            (pid, ExitStatus::from_raw(status), usage)
        })
    }

    /// Waits until a child ends, or for so long.
    pub(super) fn wait_for_child(patience: Duration) {
        let timeout = Timespec {
            seconds: 0,
            nanos: c_long::from(patience.subsec_nanos()),
        };
        let mut child = Signals([0; 16]);
        // SAFETY: the set and the time are ours and live through the calls; no information is asked for.
        unsafe {
            sigemptyset(&raw mut child);
            sigaddset(&raw mut child, CHLD);
            sigtimedwait(&raw const child, ptr::null_mut(), &raw const timeout);
        }
    }

    /// Signals that an init process does not pass on: faults of its own, and a background process's of the terminal.
    pub(super) fn is_own(signal: c_int) -> bool {
        matches!(signal, 4 | 5 | 6 | 7 | 8 | 11 | 21 | 22 | 31)
    }

    /// HUP, INT, QUIT, TERM.
    pub(super) fn asks_to_end(signal: c_int) -> bool {
        matches!(signal, 1 | 2 | 3 | 15)
    }
}
