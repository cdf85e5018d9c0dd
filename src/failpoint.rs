//! Places where a test can have this process killed, as a power cut would: `RF_FAIL_AT` names one. Only in debug
//! builds; in others nothing is left of it.

/// A step of an iteration after which there is something that must not be lost, doubled or half read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An iteration is claimed, and nothing of it is there.
    Claimed,
    /// The directory of its attempt is there.
    Attempt,
    /// Its container stands by, if it has one.
    Ready,
    /// Its session runs.
    Started,
    /// Some of its output is in the log.
    Output,
    /// Its session has ended.
    Ended,
    /// It is judged, and nothing of that is written.
    Judged,
    /// Facts and judgement are written, where nobody takes them for an answer.
    Written,
    /// It is recorded, and in no list yet.
    Published,
    /// It is in all lists, and nobody was told.
    Listed,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Step; 10] = [
        Step::Claimed,
        Step::Attempt,
        Step::Ready,
        Step::Started,
        Step::Output,
        Step::Ended,
        Step::Judged,
        Step::Written,
        Step::Published,
        Step::Listed,
    ];
}

/// Kills this process, if it is to die here.
pub(crate) fn here(step: Step) {
    if cfg!(debug_assertions) && std::env::var("RF_FAIL_AT").is_ok_and(|wanted| wanted == format!("{step:?}")) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
