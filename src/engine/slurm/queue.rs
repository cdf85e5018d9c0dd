//! What `squeue` and `scontrol show config` say.

use std::collections::BTreeMap;

use crate::engine::ticket::Ticket;
use crate::engine::{EngineError, TaskState};

/// Reads `squeue -h -r -o '%F|%K|%T|%N|%r'`: array, index, state, node, reason. Lines of no ticket are not ours.
pub(super) fn read(text: &str, tickets: &[Ticket]) -> BTreeMap<u32, TaskState> {
    let mut live = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().splitn(5, '|').collect();
        let [array, index, state, node, reason] = fields[..] else {
            continue;
        };
        let Some(ticket) = tickets.iter().find(|ticket| ticket.id == array) else {
            continue;
        };
        let Ok(index) = index.parse::<u32>() else { continue };
        let where_ = match state {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
                TaskState::Queued(reason.to_owned())
            }
            _ => TaskState::Running(node.to_owned()),
        };
        live.insert(index + ticket.offset, where_);
    }
    live
}

/// The largest index of an array: one less than `MaxArraySize`.
pub(super) fn largest_index(config: &str) -> Result<u32, EngineError> {
    let line = config
        .lines()
        .find(|line| line.trim_start().starts_with("MaxArraySize"));
    let size = line
        .and_then(|line| line.split_once('='))
        .and_then(|(_, size)| size.trim().parse::<u32>().ok());
    size.and_then(|size| size.checked_sub(1))
        .filter(|largest| *largest > 0)
        .ok_or_else(|| EngineError::Unreadable {
            program: "scontrol".to_owned(),
            said: line.unwrap_or("nothing about MaxArraySize").trim().to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: &str, offset: u32) -> Ticket {
        Ticket {
            format: 1,
            engine: "slurm".to_owned(),
            id: id.to_owned(),
            offset,
            iterations: vec![(offset + 1, offset + 10)],
            jobs: 2,
            submitted_at: chrono::DateTime::UNIX_EPOCH,
            cancelled_at: None,
        }
    }

    #[test]
    fn states_are_queued_or_running_and_indexes_become_iterations() {
        let text = "12|3|RUNNING|n1|None\n12|4|PENDING||Resources\n13|1|COMPLETING|n2|None\n\
                    13|N/A|PENDING||Dependency\n99|1|RUNNING|n1|None\nrubbish\n";
        let live = read(text, &[ticket("12", 0), ticket("13", 1000)]);
        assert_eq!(
            live.into_iter().collect::<Vec<_>>(),
            [
                (3, TaskState::Running("n1".to_owned())),
                (4, TaskState::Queued("Resources".to_owned())),
                (1001, TaskState::Running("n2".to_owned())),
            ]
        );
    }

    #[test]
    fn the_largest_index_is_read_from_the_configuration() {
        let config = "MailProg                = /bin/mail\nMaxArraySize            = 1001\nMaxDBDMsgs = 20004\n";
        assert_eq!(largest_index(config), Ok(1000));
        assert!(largest_index("MaxArraySize = 0\n").is_err());
        assert!(largest_index("").is_err());
    }
}
