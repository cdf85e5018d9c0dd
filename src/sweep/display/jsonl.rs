//! The event stream on stdout, one JSON object a line, for programs.

use std::io::{self, Write};

use super::Reporter;
use crate::sweep::Event;

pub(super) struct Stream;

impl Reporter for Stream {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    }
}
