//! One iteration as a point in time and space.

use chrono::{DateTime, TimeDelta, Utc};

use crate::judge::{OutcomeKind, Record, Verdict};
use crate::stats;

/// One iteration that passed or failed, as far as its place in time and space matters. Errored ones are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    pub iteration: u32,
    pub failed: bool,
    /// Whether it was ended from outside.
    pub hung: bool,
    /// Start of the session; `None` in trees of the script.
    pub started_at: Option<DateTime<Utc>>,
    pub duration_s: Option<f64>,
    pub image_id: Option<String>,
    pub node: Option<String>,
    pub backend: Option<String>,
    pub jobs: Option<String>,
    pub tool: Option<String>,
    /// Load of the machine when it started.
    pub load: Option<f64>,
}

impl Point {
    /// A recorded iteration as a point; `None` for one that errored.
    pub fn of(record: &Record) -> Option<Point> {
        let exit = record.exit.as_ref();
        let failed = match record.outcome.verdict {
            Verdict::Failed => true,
            Verdict::Passed => false,
            Verdict::Errored => return None,
        };
        Some(Point {
            iteration: record.iteration,
            failed,
            hung: record.outcome.outcome == OutcomeKind::Hung,
            started_at: exit.and_then(|exit| exit.started_at),
            duration_s: exit.and_then(|exit| exit.duration_s),
            image_id: exit.and_then(|exit| exit.image_id.clone()),
            node: exit.and_then(|exit| exit.node.clone()),
            backend: exit.and_then(|exit| exit.backend.clone()),
            jobs: exit.and_then(|exit| Some(exit.jobs?.to_string())),
            tool: exit.and_then(|exit| exit.tool.clone()),
            load: exit.and_then(|exit| exit.load),
        })
    }

    /// End of the session, where its start and its wall time are known.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        let millis = stats::rate::whole((self.duration_s? * 1000.0).max(0.0))?;
        self.started_at?
            .checked_add_signed(TimeDelta::try_milliseconds(i64::try_from(millis).ok()?)?)
    }
}
