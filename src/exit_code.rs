//! The tool's exit codes, in one place; the table in docs/ci.md is checked against it.

/// How the process tells its caller what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Every iteration passed whenever it ran, or a reading command did its work.
    Passed,
    /// The tool itself failed.
    ToolFailed,
    /// The command line is wrong.
    Usage,
    /// A failure was reproduced, in whichever answer of an iteration, or a gate found a regression.
    Reproduced,
    /// Nothing failed, but some iterations say nothing about the tests.
    Errored,
    /// Stopped by a signal.
    Interrupted,
    /// A worker got no answer: the world broke under its attempt.
    NoAnswer,
    /// A worker was told to end before it had an answer.
    CutShort,
    /// For `git bisect run`: the commit is bad.
    Bad,
    /// For `git bisect run`: nothing can be said of the commit.
    Skipped,
    /// For `git bisect run`: the tool failed, and nothing is to be concluded.
    Aborted,
}

impl ExitCode {
    /// Every code, in the order of the table in docs/ci.md.
    pub const ALL: [ExitCode; 11] = [
        ExitCode::Passed,
        ExitCode::ToolFailed,
        ExitCode::Usage,
        ExitCode::Reproduced,
        ExitCode::Errored,
        ExitCode::Interrupted,
        ExitCode::NoAnswer,
        ExitCode::CutShort,
        ExitCode::Bad,
        ExitCode::Skipped,
        ExitCode::Aborted,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            ExitCode::Passed => 0,
            // 1 for a bad commit is git-bisect(1)'s, as are 125 and 128.
            ExitCode::ToolFailed | ExitCode::Bad => 1,
            ExitCode::Usage => 2,
            ExitCode::Reproduced => 3,
            ExitCode::Errored => 4,
            ExitCode::Interrupted => 130,
            // sysexits.h: a failure that may pass.
            ExitCode::NoAnswer => 75,
            ExitCode::CutShort => 143,
            ExitCode::Skipped => 125,
            ExitCode::Aborted => 128,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> std::process::ExitCode {
        std::process::ExitCode::from(code.code())
    }
}
