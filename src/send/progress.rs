//! The line on a terminal that shows how far a file has been sent; nothing if standard error is not
//! a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use super::shared::StreamStats;

/// Draws a line that overwrites itself.
pub(super) struct Progress {
    is_terminal: bool,
    is_drawn: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            is_terminal: io::stderr().is_terminal(),
            is_drawn: false,
        }
    }

    /// Redraws the line, if there is a terminal and a stream of known length.
    pub(super) fn show<'a>(&mut self, streams: impl Iterator<Item = &'a Arc<StreamStats>>) {
        if !self.is_terminal {
            return;
        }
        let parts: Vec<String> = streams.filter_map(|s| part(s)).collect();
        if parts.is_empty() {
            return;
        }
        // Carriage return and "erase to the end of the line"; a failure does no harm.
        let _ = write!(io::stderr(), "\r{}\x1b[K", parts.join("  "));
        self.is_drawn = true;
    }

    /// Removes the line.
    pub(super) fn clear(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.is_drawn = false;
        }
    }
}

fn part(stats: &StreamStats) -> Option<String> {
    let (at, of) = (stats.position.get(), stats.frames_in_all.get());
    (of > 0).then(|| format!("{}: frame {at} of {of} ({} %)", stats.name, at * 100 / of))
}
