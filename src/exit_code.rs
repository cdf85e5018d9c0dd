//! The tool's exit codes, in one place; README's table is checked against it.

/// How the process tells its caller what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Every iteration passed, or a reading command did its work.
    Passed,
    /// The tool itself failed.
    ToolFailed,
    /// The command line is wrong.
    Usage,
    /// A failure was reproduced, or a gate found a regression.
    Reproduced,
    /// Nothing failed, but some iterations say nothing about the tests.
    Errored,
    /// Stopped by a signal.
    Interrupted,
    /// A worker got no answer: the world broke under its attempt.
    NoAnswer,
    /// A worker was told to end before it had an answer.
    CutShort,
}

impl ExitCode {
    /// Every code, in the order of README's table.
    pub const ALL: [ExitCode; 8] = [
        ExitCode::Passed,
        ExitCode::ToolFailed,
        ExitCode::Usage,
        ExitCode::Reproduced,
        ExitCode::Errored,
        ExitCode::Interrupted,
        ExitCode::NoAnswer,
        ExitCode::CutShort,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitCode::Passed => 0,
            ExitCode::ToolFailed => 1,
            ExitCode::Usage => 2,
            ExitCode::Reproduced => 3,
            ExitCode::Errored => 4,
            ExitCode::Interrupted => 130,
            // sysexits.h: a failure that may pass.
            ExitCode::NoAnswer => 75,
            ExitCode::CutShort => 143,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> std::process::ExitCode {
        std::process::ExitCode::from(code.code())
    }
}
