//! Finding the frames of a file while it plays, so that the first need not wait for a scan of the
//! whole file.

use super::avi::Walk;
use super::index::{STEP, Span, Step};
use crate::jpeg::split::{Found, Splitter};

/// Where to look for further frames.
#[derive(Clone, Debug)]
pub(super) enum Search {
    /// All are known.
    Over,
    /// JPEGs one after the other.
    Jpegs(Jpegs),
    /// The chunks of an AVI.
    Avi(Walk),
}

impl Search {
    /// Searches on, but not for long.
    pub(super) fn step(&mut self, file: &[u8]) -> Step {
        let step = match self {
            Search::Over => Step::End,
            Search::Jpegs(jpegs) => jpegs.step(file),
            Search::Avi(walk) => walk.step(file),
        };
        if step == Step::End {
            *self = Search::Over;
        }
        step
    }
}

/// Splits JPEGs.
#[derive(Clone, Debug, Default)]
pub(super) struct Jpegs {
    splitter: Splitter,
    /// Everything before this is found, or belongs to no JPEG.
    base: usize,
    /// Everything before this has been searched.
    seen: usize,
}

impl Jpegs {
    fn step(&mut self, file: &[u8]) -> Step {
        let end = (self.seen.max(self.base) + STEP).min(file.len());
        let window = &file[self.base..end];
        let found = if end < file.len() {
            self.splitter.find(window)
        } else {
            match self.splitter.finish(window) {
                Some(frame) => Found::Frame(frame),
                None => return Step::End,
            }
        };
        match found {
            Found::Frame(range) => {
                let offset = (self.base + range.start) as u64;
                self.base += range.end;
                self.seen = self.base;
                let len = u32::try_from(range.len()).ok();
                len.and_then(|len| Span::inside(offset, len, file.len()))
                    .map_or(Step::Pending, Step::Found)
            }
            Found::NeedMore { discard } => {
                self.base += discard;
                self.seen = end;
                Step::Pending
            }
        }
    }
}
