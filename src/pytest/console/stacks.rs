//! Stacks as they come in: other workers write between their lines.

use super::Reader;
use super::session::Region;
use super::stack::{Stack, StackKind};

impl Reader {
    pub(super) fn timeout_banner(&mut self, number: u64) {
        let stacks = self
            .open
            .last()
            .map_or(&self.console.stacks_before, |session| &session.stacks);
        let is_open = stacks
            .last()
            .is_some_and(|stack| stack.kind == StackKind::Timeout && stack.has_frames && !stack.is_followed);
        if is_open {
            self.stack = false;
            return;
        }
        self.push_stack(StackKind::Timeout, number, "Timeout");
    }

    pub(super) fn push_stack(&mut self, kind: StackKind, number: u64, text: &str) {
        let is_late = self.region() == Region::Closed;
        let running = self
            .open
            .last()
            .filter(|session| !session.is_xdist)
            .and_then(|session| session.running.first().cloned());
        let stacks = match self.open.last_mut() {
            Some(session) => &mut session.stacks,
            None => &mut self.console.stacks_before,
        };
        if stacks.len() >= 128 {
            stacks.remove(64);
        }
        let mut stack = Stack::new(kind, number, text, is_late);
        stack.running = running;
        stacks.push(stack);
        self.stack = true;
        self.stack_misses = 0;
    }

    /// Offers a line to the stack being read; true when it belongs to it.
    pub(super) fn in_stack(&mut self, text: &str) -> bool {
        if !self.stack {
            return false;
        }
        let stacks = match self.open.last_mut() {
            Some(session) => &mut session.stacks,
            None => &mut self.console.stacks_before,
        };
        let Some(stack) = stacks.last_mut() else {
            self.stack = false;
            return false;
        };
        if stack.take(text) {
            return true;
        }
        self.stack_misses += 1;
        if self.stack_misses > 40 {
            self.stack = false;
        }
        false
    }
}

/// Text of a fatal block's head, without what stood on the line before it.
pub(super) fn fatal_text(text: &str) -> &str {
    let at = text
        .find("Fatal Python error:")
        .or_else(|| text.find("Windows fatal exception: "))
        .unwrap_or(0);
    &text[at..]
}
