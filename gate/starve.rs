//! Starvation: process 1 stops one thread of the session, or all threads of one of its processes, for a while, again
//! and again, so that whatever relies on somebody else having come first is seen to.
//!
//! Process 1 traces what it stops (`PTRACE_SEIZE`, `PTRACE_INTERRUPT`), which a parent may do without any capability, and which
//! no parent of a stopped process hears of, as it would of SIGSTOP. Tracees that are let go, or whose tracer ends, run
//! on: none is killed with the tracer. Waiting for children is the main loop's alone: it also takes the news of stops,
//! which say nothing to it, and of tracees that have ended, which the kernel then hands to their own parents.
//!
//! Where tracing is refused, what would be stopped is given what no other thread wants of the CPUs (`SCHED_IDLE`),
//! provided that this can be taken back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use trace::Stopped;

/// Variable with the plan; the session does not get it.
pub(crate) const PLAN: &str = "REPRODUCE_FLAKY_STARVE";

/// The shortest window; the longest is ten octaves above, cut to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(1);
const OCTAVES: u64 = 10;
const LONGEST: Duration = Duration::from_secs(1);
/// How long a thread may take to stop before its window is counted all the same: it stops when it leaves the kernel.
const ARRIVAL: Duration = Duration::from_millis(20);
/// How often what cannot be asked to tell is looked at.
const PAUSE: Duration = Duration::from_micros(200);
/// How long there may be nobody to stop before it is looked again.
const NOBODY: Duration = Duration::from_millis(10);
/// How long what was to be let go, and is in the kernel yet, is waited for before others are told that all is still.
const LETTING_GO: Duration = Duration::from_secs(1);
/// Most threads of one process that are stopped together.
const MOST_THREADS: usize = 4096;
/// Programs that trace others, which they cannot do to what is traced already: nothing is stopped while one of them runs.
const TRACERS: [&str; 6] = ["gdb", "lldb", "strace", "ltrace", "rr", "py-spy"];

/// What is asked for: `SHARE SEED`, and names behind tabs.
pub(crate) struct Plan {
    share: f64,
    seed: u64,
    names: Vec<String>,
}

impl Plan {
    pub(crate) fn parse(text: &str) -> Option<Plan> {
        let mut parts = text.split('\t');
        let (share, seed) = parts.next()?.split_once(' ')?;
        Some(Plan {
            share: share.parse().ok().filter(|share| (0.0..1.0).contains(share))?,
            seed: seed.parse().ok()?,
            names: parts.map(str::to_owned).collect(),
        })
    }
}

/// What the starving thread, whoever listens to the tool, and whoever tells of the end have in common.
struct Shared {
    is_over: bool,
    /// Where windows are told.
    tool: Option<UnixStream>,
    open: Option<Window>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    is_over: false,
    tool: None,
    open: None,
});
static CHANGED: Condvar = Condvar::new();

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn tell(&mut self, line: &str) {
        if let Some(tool) = &mut self.tool {
            let _ = tool.write_all(line.as_bytes());
        }
    }

    /// Tells of the window that was open.
    fn close(&mut self) {
        if let Some(window) = self.open.take() {
            let line = window.line();
            self.tell(&line);
        }
    }
}

/// A stretch of time in which something is stopped.
struct Window {
    at: SystemTime,
    since: Instant,
    pid: i32,
    process: String,
    /// The one thread that is stopped; `None` for all of the process.
    thread: Option<(i32, String)>,
    threads: usize,
}

impl Window {
    fn line(&self) -> String {
        let (tid, thread) = self.thread.as_ref().map_or((0, ""), |(tid, name)| (*tid, name));
        format!(
            "window\t{}\t{}\t{}\t{}\t{tid}\t{thread}\t{}\n",
            super::micros(self.at),
            self.since.elapsed().as_micros(),
            self.pid,
            self.process,
            self.threads,
        )
    }
}

/// Ends all windows, as far as anybody is told of them; the process is about to end, or nobody is left to listen.
pub(crate) fn end() {
    let mut shared = shared();
    shared.is_over = true;
    shared.close();
    shared.tool = None;
    CHANGED.notify_all();
}

/// Starves the session whose first process this is, until it is told to stop, or the tool is gone.
pub(crate) fn run(plan: &Plan, first: i32, tool: UnixStream) {
    let Ok(listened) = tool.try_clone() else { return };
    {
        let mut shared = shared();
        if shared.is_over {
            return;
        }
        shared.tool = Some(tool);
    }
    thread::spawn(move || listen(listened));
    let means = Means::find(first);
    shared().tell(match means {
        Some(Means::Stop) => "starving stop\n",
        Some(Means::Idle) => "starving idle\n",
        None => "starving no\n",
    });
    if let Some(means) = means {
        starve(plan, means);
    }
    let mut shared = shared();
    while !shared.is_over {
        shared = CHANGED.wait(shared).unwrap_or_else(PoisonError::into_inner);
    }
    shared.tell("still\n");
}

/// Waits for the tool's word that all is to be still, or for its end.
fn listen(mut tool: UnixStream) {
    let mut byte = [0];
    loop {
        match tool.read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    shared().is_over = true;
    CHANGED.notify_all();
}

/// Waits, and says whether starving goes on afterwards.
fn goes_on_after(time: Duration) -> bool {
    let until = Instant::now() + time;
    let mut shared = shared();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if shared.is_over || left.is_zero() {
            return !shared.is_over;
        }
        shared = CHANGED.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn starve(plan: &Plan, means: Means) {
    let mut draw = Draw(plan.seed);
    let began = Instant::now();
    let mut stopped = Duration::ZERO;
    let mut held = Vec::new();
    loop {
        let octave = 2_f64.powf(draw.below(OCTAVES) as f64 + draw.unit());
        let length = SHORTEST.mul_f64(octave).min(LONGEST);
        // What a window takes has been saved up before it begins, so that at no time more was taken than the share.
        let due = (stopped + length).div_f64(plan.share).saturating_sub(length);
        if !goes_on_after((began + due).saturating_duration_since(Instant::now())) {
            break;
        }
        let Some(target) = Target::choose(plan, &mut draw) else {
            if goes_on_after(NOBODY) {
                continue;
            }
            break;
        };
        {
            let mut shared = shared();
            if shared.is_over {
                break;
            }
            // Before the stop: whoever does not read must not keep a thread stopped.
            shared.tell(&format!("stop\t{}\n", length.as_micros()));
        }
        let since = Instant::now();
        let at = SystemTime::now();
        let threads = means.take(&target, &mut held);
        if threads > 0 {
            shared().open = Some(Window {
                at,
                since,
                pid: target.pid,
                process: target.process,
                thread: target.thread,
                threads,
            });
            goes_on_after(length.saturating_sub(since.elapsed()));
        }
        let_go(means, &mut held);
        stopped += since.elapsed();
        let mut shared = shared();
        if shared.open.is_some() {
            shared.close();
        } else {
            shared.tell("none\n");
        }
    }
    let_go(means, &mut held);
}

/// Lets everything go. What is in the kernel cannot be let go before it stops, and is waited for.
fn let_go(means: Means, held: &mut Vec<i32>) {
    let until = Instant::now() + LETTING_GO;
    loop {
        held.retain(|tid| !means.release(*tid));
        if held.is_empty() {
            return;
        }
        // A thread that does not leave the kernel would stop for good when it does: it is waited for as long as that takes,
        // and whoever has ended meanwhile is not held any more.
        thread::sleep(if Instant::now() < until { PAUSE } else { PAUSE * 50 });
        if Instant::now() >= until && shared().is_over {
            // Tracees go with their tracer, this thread, which ends now.
            return;
        }
    }
}

/// How threads are kept from running.
#[derive(Clone, Copy)]
enum Means {
    Stop,
    Idle,
}

impl Means {
    /// What works on the session's first process.
    fn find(first: i32) -> Option<Means> {
        if trace::seize(first) {
            let mut held = vec![first];
            let_go(Means::Stop, &mut held);
            return Some(Means::Stop);
        }
        trace::can_idle_and_return().then_some(Means::Idle)
    }

    /// Keeps the target's threads from running; how many it could.
    fn take(self, target: &Target, held: &mut Vec<i32>) -> usize {
        if let Some((tid, _)) = target.thread {
            return self.take_all(&[tid], held);
        }
        // Threads that are not stopped yet start others.
        let (mut seen, mut taken) = (HashSet::new(), 0);
        for _ in 0..5 {
            let threads = numbers(&format!("/proc/{}/task", target.pid));
            let new: Vec<i32> = threads.into_iter().filter(|tid| seen.insert(*tid)).take(MOST_THREADS).collect();
            if new.is_empty() {
                break;
            }
            taken += self.take_all(&new, held);
        }
        taken
    }

    fn take_all(self, threads: &[i32], held: &mut Vec<i32>) -> usize {
        let before = held.len();
        for tid in threads {
            let is_taken = match self {
                Means::Stop => trace::seize(*tid),
                Means::Idle => trace::idle(*tid),
            };
            if is_taken {
                held.push(*tid);
            }
        }
        if let Means::Stop = self {
            let until = Instant::now() + ARRIVAL;
            let is_running = |tid: &i32| matches!(trace::stopped(*tid), Stopped::NotYet);
            while held[before..].iter().any(is_running) && Instant::now() < until {
                thread::sleep(PAUSE);
            }
        }
        held.len() - before
    }

    /// Lets a thread go; `false` if it cannot be yet.
    fn release(self, tid: i32) -> bool {
        match self {
            Means::Idle => {
                trace::wake(tid);
                true
            }
            Means::Stop => match trace::stopped(tid) {
                Stopped::With(signal) => trace::detach(tid, signal) || !is_ours(tid),
                Stopped::NotYet => !is_ours(tid),
            },
        }
    }
}

/// Whether a thread is there, has not ended, and is traced by this process.
fn is_ours(tid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{tid}/status")) else {
        return false;
    };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let tracer: i64 = field("TracerPid:").parse().unwrap_or(0);
    let has_ended = matches!(field("State:").chars().next(), Some('Z' | 'X') | None);
    tracer != 0 && !has_ended
}

/// What is to be stopped next.
struct Target {
    pid: i32,
    process: String,
    thread: Option<(i32, String)>,
}

/// A process, as the kernel shows it.
struct Process {
    pid: i32,
    parent: i32,
    name: String,
    threads: u64,
    has_ended: bool,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Process {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            name: plain(name),
            threads: fields.get(17)?.parse().ok()?,
            has_ended: matches!(*fields.first()?, "Z" | "X"),
        })
    }
}

impl Target {
    /// Draws one: as often a thread as a whole process, if there are both.
    fn choose(plan: &Plan, draw: &mut Draw) -> Option<Target> {
        let processes = below_us();
        if processes.iter().any(|process| TRACERS.contains(&process.name.as_str())) {
            return None;
        }
        let is_named = |name: &str| plan.names.is_empty() || plan.names.iter().any(|known| is_name_of(known, name));
        let is_whole_first = draw.below(2) == 0;
        let at = draw.unit();
        let whole = || {
            let named: Vec<&Process> = processes.iter().filter(|process| is_named(&process.name)).collect();
            let process = named.get((at * named.len() as f64) as usize)?;
            Some(Target {
                pid: process.pid,
                process: process.name.clone(),
                thread: None,
            })
        };
        let thread = || {
            let mut number = (at * processes.iter().map(|process| process.threads).sum::<u64>() as f64) as u64;
            if plan.names.is_empty() {
                let process = processes.iter().find(|process| {
                    let is_it = number < process.threads;
                    number = number.saturating_sub(if is_it { 0 } else { process.threads });
                    is_it
                })?;
                let threads = numbers(&format!("/proc/{}/task", process.pid));
                let tid = *threads.get(usize::try_from(number).ok()?.min(threads.len().checked_sub(1)?))?;
                return Target::thread(process, tid);
            }
            let all = processes.iter().flat_map(|process| {
                let threads = numbers(&format!("/proc/{}/task", process.pid));
                threads.into_iter().filter_map(move |tid| Target::thread(process, tid))
            });
            let mut named: Vec<Target> = all
                .filter(|target| target.thread.as_ref().is_some_and(|(_, name)| is_named(name)))
                .collect();
            let at = (at * named.len() as f64) as usize;
            (at < named.len()).then(|| named.swap_remove(at))
        };
        if is_whole_first {
            whole().or_else(thread)
        } else {
            thread().or_else(whole)
        }
    }

    fn thread(process: &Process, tid: i32) -> Option<Target> {
        let name = fs::read(format!("/proc/{}/task/{tid}/comm", process.pid)).ok()?;
        Some(Target {
            pid: process.pid,
            process: process.name.clone(),
            thread: Some((tid, plain(String::from_utf8_lossy(&name).trim_end_matches('\n')))),
        })
    }
}

/// The processes below this one that have not ended; those that others have brought in from outside are not.
fn below_us() -> Vec<Process> {
    let us = i32::try_from(std::process::id()).unwrap_or(1);
    let all: HashMap<i32, Process> = numbers("/proc")
        .into_iter()
        .filter_map(|pid| Some((pid, Process::read(pid)?)))
        .collect();
    let is_below = |pid: i32| {
        let mut above = pid;
        // A number that is given anew while this is read could make a circle.
        for _ in 0..all.len() {
            match all.get(&above) {
                Some(process) if process.parent == us => return true,
                Some(process) => above = process.parent,
                None => return false,
            }
        }
        false
    };
    let mut found: Vec<i32> = all.keys().copied().filter(|pid| *pid != us && is_below(*pid)).collect();
    found.sort_unstable();
    let mut all = all;
    found
        .into_iter()
        .filter_map(|pid| all.remove(&pid))
        .filter(|process| !process.has_ended)
        .collect()
}

/// The names in a directory that are numbers, in order.
fn numbers(dir: &str) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether a thread or process has the name that was asked for: the kernel keeps fifteen bytes of it, and programs number
/// their threads.
fn is_name_of(asked: &str, name: &str) -> bool {
    name.starts_with(asked.get(..15).unwrap_or(asked))
}

/// A name that can stand in a line of words behind tabs.
fn plain(name: &str) -> String {
    name.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(64).collect()
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The calls by which threads are traced and scheduled.
mod trace {
    use std::ffi::{c_int, c_long, c_void};
    use std::ptr;

    const DETACH: c_int = 17;
    const GETSIGINFO: c_int = 0x4202;
    const SEIZE: c_int = 0x4206;
    const INTERRUPT: c_int = 0x4207;
    /// What an account of a stop has for its cause, above the signal, if a tracer brought it about, or SIGSTOP did.
    const EVENT_STOP: c_int = 128;
    const OTHER: c_int = 0;
    const IDLE: c_int = 5;

    #[repr(C, align(8))]
    struct Siginfo([c_int; 32]);

    unsafe extern "C" {
        fn ptrace(request: c_int, ...) -> c_long;
        fn sched_setscheduler(pid: c_int, policy: c_int, priority: *const c_int) -> c_int;
    }

    /// How a traced thread is.
    #[derive(Clone, Copy)]
    pub(super) enum Stopped {
        /// The thread runs, is in the kernel, or is not there any more.
        NotYet,
        /// The thread has stopped, with a signal that it is to get when it goes on; 0 for none.
        With(c_int),
    }

    /// Begins to trace a thread and asks it to stop; `false` where that is refused, or it is not there.
    pub(super) fn seize(tid: c_int) -> bool {
        let none = ptr::null_mut::<c_void>();
        // SAFETY: without options these two take numbers and read nothing.
        unsafe { ptrace(SEIZE, tid, none, none) == 0 && ptrace(INTERRUPT, tid, none, none) == 0 }
    }

    pub(super) fn stopped(tid: c_int) -> Stopped {
        let mut info = Siginfo([0; 32]);
        // SAFETY: the place for the account is as large as Linux writes, and lives through the call.
        let told = unsafe { ptrace(GETSIGINFO, tid, ptr::null_mut::<c_void>(), &raw mut info) };
        match (told, info.0[2] >> 8) {
            (0, EVENT_STOP) => Stopped::With(0),
            // The thread stopped because a signal came, which it gets now.
            (0, _) => Stopped::With(info.0[0]),
            (_, _) => Stopped::NotYet,
        }
    }

    /// Lets a stopped thread go on, with a signal if one came.
    pub(super) fn detach(tid: c_int, signal: c_int) -> bool {
        let signal = signal as c_long;
        // SAFETY: takes numbers.
        unsafe { ptrace(DETACH, tid, ptr::null_mut::<c_void>(), signal) == 0 }
    }

    /// Gives a thread the CPUs that nobody else wants.
    pub(super) fn idle(tid: c_int) -> bool {
        schedule(tid, IDLE)
    }

    /// Takes that back.
    pub(super) fn wake(tid: c_int) {
        schedule(tid, OTHER);
    }

    /// Whether a thread may do so to itself, and take it back: without the right to, it would be for ever.
    pub(super) fn can_idle_and_return() -> bool {
        // By a thread that ends: one that cannot take it back would come last for good.
        let tried = std::thread::spawn(|| schedule(0, IDLE) && schedule(0, OTHER));
        tried.join().unwrap_or(false)
    }

    fn schedule(tid: c_int, policy: c_int) -> bool {
        let priority = 0;
        // SAFETY: the priority is read during the call.
        unsafe { sched_setscheduler(tid, policy, &raw const priority) == 0 }
    }
}
