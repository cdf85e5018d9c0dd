//! What was handed to engines, kept beside the runs so that any process can ask for it again.

use std::fs;
use std::io;

use super::claim::SharedLock;
use super::layout::TICKETS;
use super::sweep::json;
use super::{StoreError, Sweep, durable};
use crate::engine::ticket::Ticket;

/// Held while iterations are handed to an engine, so that two processes do not hand over the same ones.
pub struct Submitting {
    _lock: SharedLock,
}

impl Sweep {
    /// Waits until no other process is handing iterations to an engine.
    pub fn submitting(&self) -> Result<Submitting, StoreError> {
        let dir = self.dir.join(TICKETS);
        fs::create_dir_all(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        let lock = SharedLock::take(&dir).map_err(|error| self.in_users_words(error))?;
        Ok(Submitting { _lock: lock })
    }

    /// Writes a ticket down, also one that has changed.
    pub fn keep_ticket(&self, ticket: &Ticket) -> Result<(), StoreError> {
        let dir = self.dir.join(TICKETS);
        fs::create_dir_all(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        durable::replace(&dir, &format!("{}.json", ticket.id), &json(ticket))?;
        durable::sync_dir(&dir)
    }

    /// All tickets, in the order they were given. A ticket that cannot be read is an error: its iterations may still run.
    pub fn tickets(&self) -> Result<Vec<Ticket>, StoreError> {
        let dir = self.dir.join(TICKETS);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(StoreError::io("read", &dir, cause)),
        };
        let mut tickets = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let bytes = durable::read(&path).map_err(|cause| StoreError::io("read", &path, cause))?;
            let ticket: Ticket =
                serde_json::from_slice(&bytes.unwrap_or_default()).map_err(|error| StoreError::Unreadable {
                    path: self.shown.join(TICKETS).join(&name),
                    cause: error.to_string(),
                })?;
            tickets.push(ticket);
        }
        tickets.sort_by(|a, b| (a.submitted_at, &a.id).cmp(&(b.submitted_at, &b.id)));
        Ok(tickets)
    }
}
