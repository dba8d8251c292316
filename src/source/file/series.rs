//! A numbered series of pictures: `shot-%04d.jpg`.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::files;
use crate::jpeg::split::next_jpeg;
use crate::kept::Owner;
use crate::source::frame::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};
use crate::source::pacer::Pacer;
use crate::text::{counted, without_codes};

/// A longer picture file is not read.
const MOST_BYTES: u64 = 64 << 20;

/// A path whose file name has a number in it, written as in C: `%d` or `%04d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    folder: PathBuf,
    before: String,
    after: String,
    /// Minimum number of digits; 0: as many as the number has.
    digits: usize,
}

impl Numbered {
    /// Parses the file name; `None` if it has no place for a number.
    pub(super) fn parse(path: &Path) -> Option<Numbered> {
        let name = path.file_name()?.to_str()?;
        let (before, rest) = name.split_once('%')?;
        let (width, after) = rest.split_once('d')?;
        let digits = match width {
            "" => 0,
            // `%4d` too: as ffmpeg reads it, filled with zeros.
            width if width.bytes().all(|byte| byte.is_ascii_digit()) => {
                width.parse().ok().filter(|n| (1..=18).contains(n))?
            }
            _ => return None,
        };
        let folder = match path.parent()? {
            parent if parent.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        Some(Numbered {
            folder: folder.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
            digits,
        })
    }

    fn name(&self, number: u64) -> String {
        format!(
            "{}{number:0width$}{}",
            self.before,
            self.after,
            width = self.digits
        )
    }

    /// The number in a file name of the series.
    fn number(&self, name: &str) -> Option<u64> {
        let number = name
            .strip_prefix(&self.before)?
            .strip_suffix(&self.after)?
            .parse()
            .ok()?;
        (self.name(number) == name).then_some(number)
    }

    /// The numbers that exist, in order.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            numbers.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| self.number(name)),
            );
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// The pictures of a series, one after the other; gaps in the numbers are skipped.
pub(super) struct Series {
    name: Numbered,
    numbers: Vec<u64>,
    next: usize,
    buffer: Arc<Vec<u8>>,
    /// Takes its place while somebody still reads that.
    other: Arc<Vec<u8>>,
    pacer: Pacer,
    looped: bool,
    /// Whether one that is not a picture has been logged.
    logged: bool,
}

impl Series {
    pub(super) fn open(name: Numbered, options: &OpenOptions) -> Result<Series, SourceError> {
        let folder = &name.folder;
        let numbers = name.numbers().map_err(|e| {
            let why = format!("cannot be listed: {}", without_codes(&e));
            SourceError::unusable(folder, why)
        })?;
        let Some(&first) = numbers.first() else {
            let why = format!("holds no picture such as {}", name.name(1));
            return Err(SourceError::unusable(folder, why));
        };
        let mut series = Series {
            numbers,
            next: 0,
            buffer: Arc::default(),
            other: Arc::default(),
            pacer: Pacer::new(options.fps.unwrap_or(DEFAULT_FPS), options.stop.clone()),
            looped: options.looped,
            logged: false,
            name,
        };
        // One readable picture is enough.
        series.read(first).or_else(|error| {
            (1..series.numbers.len())
                .find_map(|at| series.read(series.numbers[at]).ok())
                .ok_or(error)
        })?;
        Ok(series)
    }

    /// Reads a picture into the buffer and returns where it is: the first JPEG, since any others
    /// are previews and the like.
    fn read(&mut self, number: u64) -> Result<Range<usize>, SourceError> {
        let path = self.path(number);
        let failed = |e: io::Error| {
            SourceError::unusable(&path, format_args!("cannot be read: {}", without_codes(&e)))
        };
        if Arc::get_mut(&mut self.buffer).is_none() {
            std::mem::swap(&mut self.buffer, &mut self.other);
        }
        let buffer = Arc::make_mut(&mut self.buffer);
        buffer.clear();
        let file = files::open_regular(&path).map_err(failed)?;
        file.take(MOST_BYTES).read_to_end(buffer).map_err(failed)?;
        next_jpeg(&self.buffer, 0)
            .filter(|found| found.start == 0)
            .ok_or_else(|| {
                SourceError::unusable(&path, "is not a JPEG, as every picture of a series must be")
            })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.name.folder.join(self.name.name(number))
    }
}

impl Source for Series {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if self.next == self.numbers.len() {
            if !self.looped {
                return Ok(None);
            }
            self.next = 0;
        }
        // What is not a picture is passed on all the same, empty, to be counted where frames are
        // refused.
        let picture = self.read(self.numbers[self.next]).unwrap_or_else(|why| {
            if !self.logged {
                self.logged = true;
                tracing::warn!("{why}; it is skipped, and so is any other like it");
            }
            0..0
        });
        self.next += 1;
        let captured = self.pacer.next()?;
        Ok(Some(Frame {
            data: &self.buffer[picture],
            captured,
            missed: 0,
            flagged: false,
            is_split: false,
            owner: Some(Owner::new(Arc::clone(&self.buffer))),
        }))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let pictures = counted(self.numbers.len() as u64, "picture");
        let (path, fps) = (self.path(self.numbers[0]), fps_text(self.pacer.fps()));
        format!("{pictures} from {} at {fps} fps", path.display())
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        Some((self.next as u64, Some(self.numbers.len() as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let name = Numbered::parse(Path::new("a/shot-%04d.jpg")).unwrap();
        assert_eq!(name.name(7), "shot-0007.jpg");
        assert_eq!(name.name(12345), "shot-12345.jpg");
        assert_eq!(name.number("shot-0042.jpg"), Some(42));
        assert_eq!(name.number("shot-42.jpg"), None, "another width");
        assert_eq!(name.number("shot-00042.jpg"), None);
        assert_eq!(name.number("shot-.jpg"), None);
        let spaced = Numbered::parse(Path::new("a/shot-%4d.jpg"));
        assert_eq!(spaced, Some(name));
        let name = Numbered::parse(Path::new("%d")).unwrap();
        assert_eq!(
            (name.folder.as_path(), name.number("5")),
            (Path::new("."), Some(5))
        );
        for bad in ["shot.jpg", "100%.jpg", "%0d.jpg", "%0999d", "%s", "%+4d"] {
            assert_eq!(Numbered::parse(Path::new(bad)), None, "{bad}");
        }
    }
}
