//! `before`: a command of the settings file, such as a build, run once before the first iteration.

use std::process::Stdio;

use anyhow::Context as _;

use crate::message::hinted;

/// Runs it, its output on stderr.
pub(super) async fn run(command: &[String]) -> anyhow::Result<()> {
    let shown = shell_words::join(command);
    anstream::eprintln!("before: {shown}");
    let status = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .await
        .with_context(|| format!("failed to run `{shown}`, the command of `before`"))?;
    if status.success() {
        return Ok(());
    }
    Err(hinted(
        format!("`{shown}`, the command of `before`, failed: {status}"),
        "no iteration was started; mend the command and run the sweep again",
    ))
}
