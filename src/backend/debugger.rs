//! Whatever debugger this machine has, run for the stacks of a process or of a core. The debugger's output is bounded:
//! the process that is looked at can make it long.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Most bytes taken in of a debugger's output.
const MOST: u64 = 4 << 20;

/// gdb with every setting off by which a file that is looked at could make gdb run or fetch anything.
pub(super) fn gdb() -> Command {
    let mut gdb = Command::new("gdb");
    gdb.args(["--nx", "--batch"]);
    gdb.args(["-iex", "set auto-load off", "-iex", "set debuginfod enabled off"]);
    gdb
}

/// The threads and frames as printed by the first of these tools that is installed.
///
/// # Errors
/// Why there are no stacks.
pub(super) async fn stacks(tools: [Command; 2], patience: Duration) -> Result<String, String> {
    for mut tool in tools {
        let name = tool.as_std().get_program().to_string_lossy().into_owned();
        tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A debugger that is killed lets go of the process it looks at.
        let mut child = match tool.kill_on_drop(true).spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| format!("failed to run `{name}`: {error}"))?,
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let said = async { tokio::join!(read(stdout), read(stderr)) };
        let Ok((printed, complained)) = tokio::time::timeout(patience, said).await else {
            return Err(format!("`{name}` took too long"));
        };
        let text = frames(&printed);
        if text.contains('#') {
            return Ok(text);
        }
        let mut lines = complained.lines().map(str::trim);
        let cause = lines
            .clone()
            .find(|line| line.contains("ermitted") || line.contains("denied"))
            .or(lines.next_back());
        return Err(format!("`{name}`: {}", cause.unwrap_or("it found no frames")));
    }
    Err("install gdb or elfutils on this machine for them".to_owned())
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let _ = stream.take(MOST).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Only the threads and their frames of what a debugger prints.
fn frames(output: &str) -> String {
    let is_wanted = |line: &&str| {
        let line = line.trim_start();
        line.starts_with('#') || line.starts_with("Thread ") || line.starts_with("TID ")
    };
    // Arguments of optimized code are mostly not worth their length.
    let lines: Vec<String> = output
        .lines()
        .filter(is_wanted)
        .map(|line| line.chars().take(200).collect())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_of_a_debuggers_output_are_kept() {
        let output = "[New LWP 8]\nwarning: x\n\nThread 1 (Thread 0x7f (LWP 7)):\n#0  poll () from libc.so\n#1  main ()\n[Inferior 1 detached]";
        assert_eq!(
            frames(output),
            "Thread 1 (Thread 0x7f (LWP 7)):\n#0  poll () from libc.so\n#1  main ()"
        );
    }

    #[tokio::test]
    async fn a_debugger_that_prints_without_end_or_none_at_all_is_borne() {
        let flood = || {
            let mut flood = Command::new("sh");
            flood.args(["-c", "yes '#0 flood ()' & yes 1>&2"]);
            flood
        };
        let found = stacks([Command::new("no-such-debugger"), flood()], Duration::from_mins(1)).await;
        assert!(found.unwrap().len() as u64 <= MOST);
        let absent = || Command::new("no-such-debugger");
        let cause = stacks([absent(), absent()], Duration::from_mins(1)).await.unwrap_err();
        assert!(cause.starts_with("install gdb"), "{cause}");
    }
}
