//! How a container ended: the wait for its end, and the engine's own account of it.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerState, EventMessage};
use bollard::query_parameters::WaitContainerOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::backend::docker::engine::{Engine, is_not_found, is_transport};
use crate::backend::docker::gate::EndReport;
use crate::backend::{BackendError, Ended};

/// How long an engine that went away in the middle of a session may take to come back.
const RETURN: Duration = Duration::from_secs(10);

/// How the wait for a container's end came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The container ended. `is_interrupted`: the connection to the engine broke in between.
    Exited { is_interrupted: bool },
    /// The container's process 1 told of the end, and nothing is left to ask the engine.
    Reported,
    /// The container is not there any more.
    Removed,
    /// The engine went away during the session.
    EngineLost(String),
}

/// Waits for the end, over the engine's answer if it comes and by asking again and again if that connection breaks.
pub(super) async fn watch(engine: Arc<Engine>, id: String) -> End {
    let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
    let mut answers = engine.docker.wait_container(&id, Some(options));
    let is_interrupted = match answers.next().await {
        // bollard makes an error of every exit code but 0; here it is only the news that there is one.
        Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => return End::Exited { is_interrupted: false },
        Some(Err(error)) if is_not_found(&error) => return End::Removed,
        // An engine that answers only at the end is too late for the client's limit on answers.
        Some(Err(Error::RequestTimeoutError)) => false,
        Some(Err(_)) | None => true,
    };
    let mut unreachable_since: Option<Instant> = None;
    let mut pause = Duration::from_millis(50);
    let mut is_first = true;
    loop {
        match engine.docker.inspect_container(&id, None).await {
            Ok(found) if found.state.as_ref().is_some_and(is_running) => unreachable_since = None,
            // The container ended while the engine was away: together with the engine, or because of it.
            Ok(_) if is_interrupted && is_first => {
                return End::EngineLost("the engine went away during the session".to_owned());
            }
            Ok(_) => return End::Exited { is_interrupted },
            Err(error) if is_not_found(&error) => return End::Removed,
            Err(error) => {
                let since = *unreachable_since.get_or_insert_with(Instant::now);
                if since.elapsed() > RETURN {
                    return End::EngineLost(engine.explain("ask for the container", &error).to_string());
                }
                // A container that ends from here on has ended out of sight.
                is_first = true;
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        is_first = false;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

pub(super) fn is_running(state: &ContainerState) -> bool {
    state.running == Some(true) || state.paused == Some(true) || state.restarting == Some(true)
}

pub(super) async fn state(engine: &Engine, id: &str) -> Result<ContainerState, BackendError> {
    let since = Instant::now();
    loop {
        match engine.docker.inspect_container(id, None).await {
            Ok(found) => return Ok(found.state.unwrap_or_default()),
            Err(error) if is_not_found(&error) => {
                return Err(BackendError::Lost {
                    cause: "the container was removed by somebody else".to_owned(),
                });
            }
            // An answer that cannot be read is Podman's, in a state between the end and its account of it.
            Err(error)
                if (is_transport(&error) || matches!(error, Error::JsonDataError { .. }))
                    && since.elapsed() < RETURN =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(BackendError::Lost {
                    cause: engine.explain("ask how the container ended", &error).to_string(),
                });
            }
        }
    }
}

/// A signal that came through the engine, but not from us: `docker kill`, `docker stop`, or the engine's own
/// shutdown. A process of the session that kills another leaves no such trace.
pub(super) async fn killed_by_others(engine: &Engine, id: &str, ended: &Ended) -> Option<String> {
    use bollard::query_parameters::EventsOptionsBuilder;
    let since = ended.started_at?.timestamp();
    // By the engine's clock, and a little later: the event may be noted after the end that it brought about.
    let until = ended.finished_at?.timestamp() + 2;
    let filters = std::collections::HashMap::from([
        ("container".to_owned(), vec![id.to_owned()]),
        ("event".to_owned(), vec!["kill".to_owned()]),
    ]);
    let options = EventsOptionsBuilder::default()
        .since(&since.to_string())
        .until(&until.to_string())
        .filters(&filters)
        .build();
    let signal = ended.signal?.to_string();
    let mut events = Box::pin(engine.docker.events(Some(options)));
    let look = async {
        while let Some(event) = events.next().await {
            match event {
                // A signal that the session survived ended nothing.
                Ok(event) if sent(&event).is_some_and(|sent| *sent != signal) => {}
                Ok(_) => return Some("somebody else sent the container a signal through the engine".to_owned()),
                Err(error) if is_transport(&error) => return Some("the engine is shutting down".to_owned()),
                Err(_) => return None,
            }
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(3), look).await.ok().flatten()
}

/// The number of the signal that an event tells of.
fn sent(event: &EventMessage) -> Option<&String> {
    event.actor.as_ref()?.attributes.as_ref()?.get("signal")
}

/// The runtime, and an init process, report the end by a signal as 128 plus its number.
fn signal_of(code: i32) -> Option<i32> {
    (129..=192).contains(&code).then(|| code - 128)
}

/// The engine's account of an end.
pub(super) fn ended(state: &ContainerState) -> Ended {
    let time = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.with_timezone(&Utc))
            // The engine says year 1 for "never".
            .filter(|time| time.timestamp() > 0)
    };
    let (started_at, finished_at) = (time(&state.started_at), time(&state.finished_at));
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    Ended {
        code,
        signal: code.and_then(signal_of),
        oom_killed: state.oom_killed == Some(true),
        error: state.error.clone().filter(|error| !error.is_empty()),
        // The engine notes the start when the runtime has told it of one; a program that ends at once can have
        // ended before that.
        started_at: finished_at.map_or(started_at, |finished| started_at.map(|started| started.min(finished))),
        finished_at,
        ..Ended::default()
    }
}

/// What process 1 of the container tells, over what the engine does. Both count kills of the memory limit: where the
/// container ends with the kill, the engine may hear of the end first, and then never counts the kill.
pub(super) fn told(report: &EndReport, is_signalled: bool, ended: Ended) -> Ended {
    let is_ours = is_signalled || report.oom_kills > 0 || report.is_ended_from_outside();
    Ended {
        signal: report.signal(),
        has_exited: report.signal().is_none(),
        is_own_signal: report.signal().is_some() && !is_ours,
        oom_killed: ended.oom_killed || report.oom_kills > 0,
        started_at: report.started_at,
        finished_at: report.finished_at,
        usage: report.usage,
        ..ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_of_the_memory_limit_that_only_one_of_both_counted_is_one() {
        let oom_killed = |engine: bool, counted: i64| {
            let mut report = EndReport::default();
            report.oom_kills = counted;
            let ended = Ended {
                oom_killed: engine,
                ..Ended::default()
            };
            told(&report, false, ended).oom_killed
        };
        assert!(oom_killed(false, 1) && oom_killed(true, -1) && oom_killed(true, 1));
        assert!(!oom_killed(false, 0) && !oom_killed(false, -1));
    }

    #[test]
    fn a_code_above_128_is_a_signal() {
        let state = |code| ContainerState {
            exit_code: Some(code),
            ..ContainerState::default()
        };
        assert_eq!(ended(&state(134)).signal, Some(6));
        assert_eq!(ended(&state(255)).signal, None);
        assert_eq!(ended(&state(1)).signal, None);
    }
}
