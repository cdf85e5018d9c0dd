//! The line written into a log before we end a session: what follows it is our doing, and no signature reads it.

use std::time::Duration;

/// How the line begins.
pub const PREFIX: &str = "=== reproduce-flaky: ";

/// The line for a total deadline.
#[must_use]
pub fn deadline(total: Duration) -> String {
    line(&format!("deadline of {} passed", humantime::format_duration(total)))
}

/// The line for a log that was quiet for too long.
#[must_use]
pub fn silence(quiet: Duration) -> String {
    line(&format!("silent for {}", humantime::format_duration(quiet)))
}

/// The line for a user who asked to stop.
#[must_use]
pub fn cancel() -> String {
    line("interrupted by the user")
}

/// The line that says where it is written down what the session was doing.
#[must_use]
pub fn autopsy(file: &str) -> String {
    format!("{PREFIX}what it was doing is in {file} ===\n")
}

/// The line that says where the session goes on.
#[must_use]
pub fn kept(enter: &str) -> String {
    format!("{PREFIX}it goes on; look into it with: {enter} ===\n")
}

/// The line that says why it does not go on although it should.
#[must_use]
pub fn not_kept(cause: &str) -> String {
    format!("{PREFIX}it could not be kept running: {cause} ===\n")
}

/// It begins on a line of its own, whatever the session printed last.
fn line(reason: &str) -> String {
    format!("\n{PREFIX}{reason}; ending the session ===\n")
}
