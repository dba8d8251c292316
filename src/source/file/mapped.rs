//! A mapped file: each frame is lent where it lies.

use std::path::Path;
use std::time::Duration;

use super::index::{Index, MOST_FRAMES, Span};
use crate::jpeg::split::next_jpeg;
use crate::source::map::MappedFile;
use crate::source::pacer::Pacer;
use crate::source::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};

/// A file of JPEGs, with or without a container.
pub(super) struct Mapped {
    name: String,
    map: MappedFile,
    /// The frames known so far, and which of them comes next.
    spans: Vec<Span>,
    next: usize,
    /// Where the search for further frames goes on; `None` when all are known.
    unsplit: Option<usize>,
    pacer: Pacer,
    looped: bool,
}

impl Mapped {
    /// JPEGs one after the other, found as they are played.
    pub(super) fn unsplit(path: &Path, map: MappedFile, options: &OpenOptions) -> Mapped {
        let index = Index {
            spans: Vec::new(),
            fps: None,
        };
        let mut mapped = Mapped::indexed(path, map, index, options);
        mapped.unsplit = Some(0);
        mapped
    }

    /// The frames of a container.
    pub(super) fn indexed(
        path: &Path,
        map: MappedFile,
        index: Index,
        options: &OpenOptions,
    ) -> Mapped {
        let fps = options.fps.or(index.fps).unwrap_or(DEFAULT_FPS);
        Mapped {
            name: path.display().to_string(),
            map,
            spans: index.spans,
            next: 0,
            unsplit: None,
            pacer: Pacer::new(fps, options.stop.clone()),
            looped: options.looped,
        }
    }

    /// The next frame's place; `None` at the end of a file that does not loop.
    fn next_span(&mut self) -> Option<Span> {
        if self.next == self.spans.len() && !self.split_one() {
            if !self.looped || self.spans.is_empty() {
                return None;
            }
            self.next = 0;
        }
        let span = self.spans[self.next];
        self.next += 1;
        Some(span)
    }

    /// Finds one more frame.
    fn split_one(&mut self) -> bool {
        let Some(from) = self.unsplit else {
            return false;
        };
        let found = next_jpeg(self.map.bytes(), from);
        let span = found.and_then(|range| {
            Span::inside(
                range.start as u64,
                u32::try_from(range.len()).ok()?,
                self.map.bytes().len(),
            )
        });
        self.unsplit = span
            .map(|span| span.offset + span.len as usize)
            .filter(|_| self.spans.len() < MOST_FRAMES);
        self.spans.extend(span);
        span.is_some()
    }
}

impl Source for Mapped {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        loop {
            // Before anything reads the map.
            self.map.check()?;
            let Some(span) = self.next_span() else {
                if self.spans.is_empty() {
                    let name = &self.name;
                    return Err(SourceError::Unusable(format!("{name} holds no whole JPEG")));
                }
                return Ok(None);
            };
            self.map.passed(span.offset);
            let captured = self.pacer.next()?;
            if span.len == 0 {
                continue; // a dropped frame: its time has passed
            }
            let data = &self.map.bytes()[span.offset..][..span.len as usize];
            return Ok(Some(Frame {
                data,
                captured,
                missed: 0,
                flagged: false,
            }));
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let looped = if self.looped { ", looped" } else { "" };
        format!(
            "{} at {} fps{looped}",
            self.name,
            fps_text(self.pacer.fps())
        )
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        let all = self.unsplit.is_none().then_some(self.spans.len() as u64);
        Some((self.next as u64, all))
    }
}
