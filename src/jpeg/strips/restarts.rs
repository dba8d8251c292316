//! Scans with restart markers: cut where an interval and a row of MCUs end together. No code is
//! read.

use std::mem::take;
use std::ops::Range;

use super::codes::Broken;
use super::shape::Shape;
use crate::jpeg::MAX_SCAN;
use crate::jpeg::header::{marker, next_marker};

/// Finds the markers of a scan while it arrives.
#[derive(Debug)]
pub(super) struct Restarts {
    shape: Shape,
    /// Intervals of the picture, and those that end at a cut.
    intervals: usize,
    per_step: usize,
    bytes: Vec<u8>,
    /// How far `bytes` was searched.
    at: usize,
    /// Whole intervals so far.
    done: usize,
    /// Where the bytes of each step of rows end: at a marker, or at the scan's end.
    ends: Vec<usize>,
    has_end: bool,
}

impl Restarts {
    pub(super) fn new(shape: Shape) -> Restarts {
        let interval = usize::from(shape.restart_interval).max(1);
        Restarts {
            shape,
            intervals: (shape.rows() * shape.columns()).div_ceil(interval),
            per_step: shape.step() * shape.columns() / interval,
            bytes: Vec::new(),
            at: 0,
            done: 0,
            ends: Vec::new(),
            has_end: false,
        }
    }

    pub(super) fn reset(&mut self, shape: Shape) {
        let (mut bytes, mut ends) = (take(&mut self.bytes), take(&mut self.ends));
        bytes.clear();
        ends.clear();
        *self = Restarts {
            bytes,
            ends,
            ..Restarts::new(shape)
        };
    }

    pub(super) fn feed(&mut self, more: &[u8]) -> Result<(), Broken> {
        if self.bytes.len() + more.len() > MAX_SCAN {
            return Err(Broken);
        }
        if !self.has_end {
            self.bytes.extend_from_slice(more);
        }
        Ok(())
    }

    pub(super) fn advance(&mut self) -> Result<(), Broken> {
        while !self.has_end {
            let Some(at) = next_marker(&self.bytes, self.at) else {
                // The last byte may be the first half of a marker.
                self.at = self.at.max(self.bytes.len().saturating_sub(1));
                return Ok(());
            };
            self.at = at + 2;
            match self.bytes[at + 1] {
                0xff => self.at = at + 1, // a fill byte, T.81 §B.1.1.2
                marker::EOI => return self.end(at),
                code @ marker::RST0..=marker::RST7 => self.restart(code, at)?,
                _ => return Err(Broken),
            }
        }
        Ok(())
    }

    /// T.81 §B.2.1: markers count from RST0 to RST7 and around, and none follows the last interval.
    fn restart(&mut self, code: u8, at: usize) -> Result<(), Broken> {
        let is_next = usize::from(code - marker::RST0) == self.done % 8;
        if !is_next || self.done + 1 >= self.intervals {
            return Err(Broken);
        }
        self.done += 1;
        if self.done % self.per_step == 0 {
            self.ends.push(at);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        match self.has_end {
            true => Ok(()),
            false => self.end(self.bytes.len()),
        }
    }

    fn end(&mut self, at: usize) -> Result<(), Broken> {
        if self.done + 1 != self.intervals {
            return Err(Broken);
        }
        self.done += 1;
        self.ends.push(at);
        self.has_end = true;
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        (self.ends.len() * self.shape.step()).min(self.shape.rows())
    }

    /// Markers are renumbered from 0: a decoder that finds another number assumes lost data.
    pub(super) fn cut(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<(), Broken> {
        let step = self.shape.step();
        let is_step = |row: usize| row % step == 0 || row == self.shape.rows();
        if rows.is_empty() || rows.end > self.rows() || !is_step(rows.start) || !is_step(rows.end) {
            return Err(Broken);
        }
        let start = match rows.start / step {
            0 => 0,
            n => self.ends[n - 1] + 2,
        };
        let end = self.ends[rows.end.div_ceil(step) - 1];
        let first = out.len();
        out.extend_from_slice(&self.bytes[start..end]);
        renumber(&mut out[first..]);
        Ok(())
    }
}

fn renumber(scan: &mut [u8]) {
    let (mut from, mut number) = (0, 0);
    while let Some(at) = next_marker(scan, from) {
        from = at + 1;
        if scan[from] != 0xff {
            scan[from] = marker::RST0 + number % 8;
            number = (number + 1) % 8;
            from += 1;
        }
    }
}
