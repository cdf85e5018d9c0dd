//! How an attempt ended: facts, written once as `exit.json` and never changed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::Limits;
use crate::spec::words::words;

words! {
    /// Who ended the session.
    #[derive(Default)]
    pub enum EndedBy {
        /// The session's own process ended, well or badly.
        #[default]
        Itself = "itself",
        /// We did, when the total deadline passed.
        Deadline = "deadline",
        /// We did, when the log had been quiet for too long.
        Silence = "silence",
        /// We did, because the user asked us to stop.
        Cancel = "cancel",
    }
}

/// What the status of a process that ended says, and a number does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The session ended by itself with its code, which only looks like that of a signal.
    Exited,
    /// Its signal was sent from inside the session, not to it.
    SignalFromInside,
}

/// A container that was left running because its session hung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Its name.
    pub container: String,
    /// When it is removed, or may be.
    pub until: DateTime<Utc>,
    /// The command that opens a shell in it.
    pub enter: String,
}

/// What a session used: its own process and those it has waited for, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// CPU time in its programs, in seconds.
    pub user_s: f64,
    /// CPU time in the kernel for them, in seconds.
    pub system_s: f64,
    /// Most memory that one of the processes had at a time, in bytes.
    pub max_rss_bytes: u64,
}

/// The facts about how one attempt ended. A reader takes any subset of the fields: older trees have fewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exit {
    /// Version of this layout, 1.
    pub format: u32,
    /// Exit code as the engine or the kernel reported it; 128 + signal where a signal ended the process. `None` when it never ran or nobody knows.
    pub code: Option<i32>,
    /// Signal that ended the session's main process, also when it is only known from a code above 128.
    pub signal: Option<i32>,
    /// What the status of the process says beyond its number, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Whether the engine says that the memory limit killed a process of the container.
    pub oom_killed: bool,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Whether nothing but the code is known, as in a tree of the old script: `ended_by` tells nothing then.
    #[serde(skip)]
    pub is_bare: bool,
    /// Why the session could not run, or what the engine said about its end; `None` when there is nothing to say.
    pub error: Option<String>,
    /// Start of the session.
    pub started_at: Option<DateTime<Utc>>,
    /// Wall time from start to end, in seconds.
    pub duration_s: Option<f64>,
    /// Longest time without output, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_s: Option<f64>,
    /// What it used; `None` where nobody counts it: on the local backend, and in containers not started ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Length of the trail, in bytes, when we set out to end the session: what follows is our doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trail_bytes: Option<u64>,
    /// What it had to get by with; `None` where nothing was limited or added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Limits>,
    /// The random word that our own line in the log carries; a line with another word is the session's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Where the session was left running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Bytes of output that are missing in the middle of the log (`--max-log`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_cut: Option<u64>,
    /// `docker` or `local`.
    pub backend: Option<String>,
    /// Name of the machine it ran on.
    pub node: Option<String>,
    /// Name of the attempt that gave the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// Other iterations of the sweep that ran on that machine when the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub co_runners: Option<u32>,
    /// Cores of that machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// That machine's load when the session started: processes that want to run, averaged over a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Iterations that were to be in flight (`--jobs`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// Version of this tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Image as the user named it.
    pub image: Option<String>,
    /// Identity of what was run: the engine's image id, or a digest of the host's toolchain.
    pub image_id: Option<String>,
    /// Command of the session, without a shell.
    pub argv: Vec<String>,
    /// How many attempts it took, 1 when the first gave the answer.
    pub attempts: u32,
}

impl Default for Exit {
    fn default() -> Exit {
        Exit {
            format: 1,
            code: None,
            signal: None,
            ending: None,
            oom_killed: false,
            ended_by: EndedBy::Itself,
            is_bare: false,
            error: None,
            started_at: None,
            duration_s: None,
            quiet_s: None,
            usage: None,
            trail_bytes: None,
            conditions: None,
            nonce: None,
            kept: None,
            log_cut: None,
            backend: None,
            node: None,
            attempt: None,
            co_runners: None,
            cores: None,
            load: None,
            jobs: None,
            tool: None,
            image: None,
            image_id: None,
            argv: Vec::new(),
            attempts: 1,
        }
    }
}

impl Exit {
    /// Wall time of the session, where it is known.
    pub fn duration(&self) -> Option<Duration> {
        self.duration_s
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// When the session ended, where both its start and its time are known.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.started_at?
            .checked_add_signed(TimeDelta::from_std(self.duration()?).ok()?)
    }

    /// Whether we, and not the session, brought about the end because it hung.
    pub fn is_ended_from_outside(&self) -> bool {
        matches!(self.ended_by, EndedBy::Deadline | EndedBy::Silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_any_subset_of_the_fields() {
        let exit: Exit = serde_json::from_str(r#"{"code":134,"ended_by":"silence","unknown":1}"#).unwrap();
        assert_eq!(exit.code, Some(134));
        assert!(exit.is_ended_from_outside());
        assert_eq!(exit.attempts, 1);
    }
}
