//! A mapped file: each frame is lent in place. Others may change the file meanwhile: before
//! each frame a check shows whether the file of this name is still the one that was mapped.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::index::{MOST_FRAMES, Span, Step};
use super::recognise::{Container, Frames, recognise};
use super::search::Search;
use crate::clock::Mono;
use crate::files;
use crate::source::frame::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};
use crate::source::map::MappedFile;
use crate::source::pacer::Pacer;
use crate::source::spec::FPS_RANGE;
use crate::text::{counted, without_codes};

/// How long to reopen a file that changes, at each frame, until it can be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// An opened file.
pub(super) enum Opened {
    /// Lent from here.
    Film(Film),
    /// Lent from here only if there is no ffmpeg to join the fields.
    Fields(Film),
    /// For ffmpeg.
    Foreign,
}

/// A file of JPEGs, with or without a container, as it was when it was opened.
pub(super) struct Film {
    map: MappedFile,
    stamp: Stamp,
    frames: Frames,
    /// Nothing but JPEGs, which are split as they stand.
    is_split: bool,
}

/// What distinguishes one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    written: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::from(&fs::metadata(path)?))
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(facts: &fs::Metadata) -> Stamp {
        Stamp {
            file: (facts.dev(), facts.ino()),
            len: facts.len(),
            written: (facts.mtime(), facts.mtime_nsec()),
        }
    }
}

impl Film {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Opened, SourceError> {
        let failed = |e: io::Error| {
            SourceError::unusable(
                path,
                format_args!("cannot be opened: {}", without_codes(&e)),
            )
        };
        let file = files::open_regular(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if facts.len() == 0 {
            return Err(SourceError::unusable(path, "is empty"));
        }
        let map = MappedFile::new(&file, path)?;
        let container = recognise(map.bytes());
        if map.has_lost_bytes() {
            return Err(SourceError::unusable(path, "cannot be read to its end"));
        }
        let stamp = Stamp::from(&facts);
        let film = |frames: Frames| Film {
            is_split: matches!(frames.search, Search::Jpegs(_)),
            map,
            stamp,
            frames,
        };
        Ok(match container {
            Container::Frames(frames) => Opened::Film(film(frames)),
            Container::Fields(frames) => Opened::Fields(film(frames)),
            Container::Foreign => Opened::Foreign,
        })
    }

    /// Logs which parts of the file are not shown.
    fn tell(&self, path: &Path) {
        let (path, frames) = (path.display(), &self.frames);
        if frames.lost > 0 {
            let all = frames.lost + frames.spans.len();
            tracing::warn!(
                "{path}: {} of {all} frames missing from the file",
                frames.lost
            );
        }
        if frames.left_out > 0 {
            tracing::info!(
                "{path} is a photo: {} behind it (a preview, a gain map) left out",
                counted(frames.left_out as u64, "more JPEG")
            );
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.map.bytes()[span.offset..][..span.len as usize]
    }
}

/// Plays a film.
pub(super) struct Mapped {
    path: PathBuf,
    options: OpenOptions,
    film: Film,
    /// The next frame, and how often the last one is still to be shown.
    next: usize,
    again: u32,
    beat: Beat,
    /// Frames lost since the last one that was lent.
    missed: usize,
    /// Since when the file has been changing without a readable frame.
    unreadable: Option<Mono>,
    /// Whether the change has been logged.
    logged: bool,
}

/// A film's rate; frames that would be shown for longer than the slowest rate allows are lent
/// several times, so that viewers who join need not wait for the next.
struct Beat {
    fps: f64,
    times: u32,
    pacer: Pacer,
}

impl Beat {
    fn new(fps: Option<f64>, options: &OpenOptions) -> Beat {
        let fps = options.fps.or(fps).unwrap_or(DEFAULT_FPS);
        let times = (FPS_RANGE.start() / fps).ceil().max(1.0);
        Beat {
            fps,
            times: times as u32,
            pacer: Pacer::new(fps * times, options.stop.clone()),
        }
    }
}

impl Mapped {
    pub(super) fn new(path: &Path, film: Film, options: &OpenOptions) -> Mapped {
        film.tell(path);
        Mapped {
            path: path.to_owned(),
            options: options.clone(),
            beat: Beat::new(film.frames.fps, options),
            missed: film.frames.lost,
            film,
            next: 0,
            again: 0,
            unreadable: None,
            logged: false,
        }
    }

    /// The next frame's place; `None` at the end of a file that does not loop.
    fn next_span(&mut self) -> Result<Option<Span>, SourceError> {
        if self.again > 0 {
            self.again -= 1;
        } else {
            if self.next == self.film.frames.spans.len() && !self.find_one()? {
                if !self.options.looped {
                    return Ok(None);
                }
                self.next = 0;
            }
            self.next += 1;
            self.again = self.beat.times - 1;
        }
        Ok(self.film.frames.spans.get(self.next - 1).copied())
    }

    /// Finds one more frame.
    fn find_one(&mut self) -> Result<bool, SourceError> {
        let Film { map, frames, .. } = &mut self.film;
        if frames.spans.len() >= MOST_FRAMES {
            frames.search = Search::Over;
        }
        loop {
            if self.options.stop.is_raised() {
                return Err(SourceError::Stopped);
            }
            match frames.search.step(map.bytes()) {
                Step::Found(span) => {
                    frames.spans.push(span);
                    return Ok(true);
                }
                Step::Pending => {}
                Step::End => return Ok(false),
            }
        }
    }

    /// Whether the file is no longer what it was when it was opened: another file, or one whose
    /// frame at `span` is gone. One that only grows is still being written, and is read again when
    /// it starts over.
    fn has_changed(&self, span: Span) -> bool {
        let now = Stamp::of(&self.path);
        let was = self.film.stamp;
        let is_first = self.next <= 1;
        self.is_spoilt(&now, span)
            || now.is_ok_and(|now| now.file != was.file || is_first && now != was)
    }

    /// Whether the mapped file was truncated, or overwritten where a frame was.
    fn is_spoilt(&self, now: &io::Result<Stamp>, span: Span) -> bool {
        let (film, was) = (&self.film, self.film.stamp);
        let is_there = || span.len == 0 || film.bytes(span).starts_with(&[0xff, 0xd8]);
        let is_written =
            |now: &Stamp| now.file == was.file && (now.len < was.len || *now != was && !is_there());
        // Deleted: the open file stays.
        film.map.has_lost_bytes() || now.as_ref().is_ok_and(is_written)
    }

    /// Whether a film has grown past its former end.
    fn is_spoilt_at_the_end(&self) -> bool {
        let last = self.film.frames.spans.last();
        last.is_some_and(|&last| self.is_spoilt(&Stamp::of(&self.path), last))
    }

    /// Reopens the file and returns its first frame; `None` while it cannot be read.
    fn reopen(&mut self) -> Result<Option<Span>, SourceError> {
        if !self.logged {
            self.logged = true;
            tracing::info!("{} has changed and is read again", self.path.display());
        }
        if self.next > 1 {
            self.missed += 1; // one of a film; a picture is only replaced
        }
        let now = Mono::now();
        let since = *self.unreadable.get_or_insert(now);
        match Film::open(&self.path) {
            Ok(Opened::Film(film)) => {
                film.tell(&self.path);
                if film.frames.fps != self.film.frames.fps {
                    self.beat = Beat::new(film.frames.fps, &self.options);
                }
                self.missed += film.frames.lost;
                self.film = film;
                (self.next, self.again) = (0, 0);
                self.next_span()
            }
            Ok(Opened::Fields(_) | Opened::Foreign) => {
                let what = "has become a film that ffmpeg must read";
                Err(SourceError::Failed(format!(
                    "{} {what}",
                    self.path.display()
                )))
            }
            Err(error) if now.since(since) > PATIENCE => {
                Err(SourceError::Failed(error.to_string()))
            }
            // Its writer may be in the middle of writing.
            Err(_) => {
                self.again += 1; // this frame's place once more
                Ok(None)
            }
        }
    }
}

impl Source for Mapped {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        loop {
            let mut span = self.next_span()?;
            if span.is_none() && !self.is_spoilt_at_the_end() {
                if self.film.frames.spans.is_empty() {
                    return Err(SourceError::unusable(&self.path, "holds no JPEG"));
                }
                return Ok(None);
            }
            let captured = self.beat.pacer.next()?;
            if span.is_none_or(|span| self.has_changed(span)) {
                span = self.reopen()?;
            }
            let Some(span) = span else {
                continue;
            };
            self.film.map.passed(span.offset);
            if span.len == 0 {
                continue; // a dropped frame: its time has passed
            }
            self.unreadable = None;
            return Ok(Some(Frame {
                data: self.film.bytes(span),
                captured,
                missed: std::mem::take(&mut self.missed)
                    .try_into()
                    .unwrap_or(u32::MAX),
                flagged: false,
                is_split: self.film.is_split,
                owner: Some(self.film.map.owner()),
            }));
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.beat.pacer.interval())
    }

    fn describe(&self) -> String {
        let looped = if self.options.looped { ", looped" } else { "" };
        let (path, fps) = (self.path.display(), fps_text(self.beat.fps));
        format!("{path} at {fps} fps{looped}")
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        let frames = &self.film.frames;
        let is_all = matches!(frames.search, Search::Over);
        let all = is_all.then_some(frames.spans.len() as u64);
        Some((self.next as u64, all))
    }
}
