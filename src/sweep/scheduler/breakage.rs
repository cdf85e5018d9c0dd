//! Attempts that the world broke one after the other, and when going on is pointless.

use tokio::time::Instant;

use crate::backend::BackendError;

/// Lost attempts in a row, of one kind, after which going on is pointless.
const LIMIT: u32 = 3;

#[derive(Default)]
pub(super) struct Breakage {
    kind: String,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Breakage {
    /// Counts an attempt that began at `since`. Those that were in flight together count once: a daemon that is
    /// restarted takes them all at once, and that is one misfortune.
    pub(super) fn add(&mut self, kind: &str, since: Option<Instant>) {
        let is_same_misfortune = since.zip(self.last).is_some_and(|(since, last)| since <= last);
        if self.kind != kind {
            self.in_a_row = 0;
            kind.clone_into(&mut self.kind);
        }
        if self.in_a_row == 0 || !is_same_misfortune {
            self.in_a_row += 1;
            self.last = Some(Instant::now());
        }
    }

    /// Whether the same has happened too often in a row.
    pub(super) fn is_hopeless(&self) -> bool {
        self.in_a_row >= LIMIT
    }
}

/// In which way the world broke: the same word however the engine tells it, and whichever container it names.
pub(super) fn kind(error: &BackendError) -> String {
    match error {
        BackendError::Unreachable { .. } => "unreachable".to_owned(),
        BackendError::Forbidden { .. } => "forbidden".to_owned(),
        BackendError::ImageMissing { .. } => "image missing".to_owned(),
        BackendError::ProgramMissing { .. } => "program missing".to_owned(),
        BackendError::Unfit { .. } => "unfit".to_owned(),
        BackendError::DiskFull { .. } => "disk full".to_owned(),
        BackendError::Lost { .. } => "lost".to_owned(),
        BackendError::Refused { verb, .. } => format!("refused to {verb}"),
    }
}

/// The same for a reason that another machine has written down: its words without those that name something, such as
/// a container, a process or a port.
pub(super) fn kind_of_words(reason: &str) -> String {
    let is_name = |word: &&str| word.contains(|c: char| c.is_ascii_digit() || c == '`' || c == '/');
    let words: Vec<&str> = reason.split_whitespace().filter(|word| !is_name(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_breakage_is_of_one_kind_whatever_it_names() {
        let refused = |cause: &str| BackendError::Refused {
            verb: "create the container".to_owned(),
            cause: cause.to_owned(),
        };
        assert_eq!(
            kind(&refused("the name deadbeef is taken")),
            kind(&refused("no address for cafe"))
        );
        let said = |id: &str| kind_of_words(&format!("lost the session: container {id} of `run003` is gone"));
        assert_eq!(said("3f2a"), said("77bc0"));
        assert_ne!(said("3f2a"), kind_of_words("no container engine answers"));
    }
}
