//! A numbered series of pictures: `shot-%04d.jpg`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unusable;
use crate::source::pacer::Pacer;
use crate::source::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};

/// A picture file longer than this is not read.
const MOST_BYTES: u64 = 64 << 20;

/// A path whose file name has a number in it, written as in C: `%d` or `%04d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    folder: PathBuf,
    before: String,
    after: String,
    /// Digits at least; 0: as many as the number has.
    digits: usize,
}

impl Numbered {
    /// Takes the file name apart; `None` if it has no number's place.
    pub(super) fn parse(path: &Path) -> Option<Numbered> {
        let name = path.file_name()?.to_str()?;
        let (before, rest) = name.split_once('%')?;
        let (width, after) = rest.split_once('d')?;
        let digits = match width {
            "" => 0,
            width => width
                .strip_prefix('0')?
                .parse()
                .ok()
                .filter(|n| (1..=18).contains(n))?,
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

    /// The number in a file name that belongs to the series.
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

/// The pictures of a series, one after the other; gaps in the numbers are passed over.
pub(super) struct Series {
    name: Numbered,
    numbers: Vec<u64>,
    next: usize,
    buffer: Vec<u8>,
    pacer: Pacer,
    looped: bool,
}

impl Series {
    pub(super) fn open(name: Numbered, options: &OpenOptions) -> Result<Series, SourceError> {
        let folder = &name.folder;
        let numbers = name
            .numbers()
            .map_err(|e| unusable(folder, format_args!("cannot be listed: {e}")))?;
        let Some(&first) = numbers.first() else {
            let example = name.name(1);
            return Err(unusable(
                folder,
                format_args!("holds no picture such as {example}"),
            ));
        };
        let mut series = Series {
            numbers,
            next: 0,
            buffer: Vec::new(),
            pacer: Pacer::new(options.fps.unwrap_or(DEFAULT_FPS), options.stop.clone()),
            looped: options.looped,
            name,
        };
        series.read(first)?;
        if !series.buffer.starts_with(&[0xff, 0xd8]) {
            return Err(unusable(
                &series.name.folder.join(series.name.name(first)),
                "is no JPEG: a series must be made of JPEGs",
            ));
        }
        Ok(series)
    }

    /// Reads one picture into the buffer.
    fn read(&mut self, number: u64) -> Result<(), SourceError> {
        let path = self.name.folder.join(self.name.name(number));
        let failed = |e: io::Error| SourceError::Failed(format!("{}: {e}", path.display()));
        self.buffer.clear();
        let file = fs::File::open(&path).map_err(failed)?;
        file.take(MOST_BYTES)
            .read_to_end(&mut self.buffer)
            .map_err(failed)?;
        Ok(())
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
        self.read(self.numbers[self.next])?;
        self.next += 1;
        let captured = self.pacer.next()?;
        Ok(Some(Frame {
            data: &self.buffer,
            captured,
            missed: 0,
            flagged: false,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let (count, fps) = (self.numbers.len(), fps_text(self.pacer.fps()));
        let path = self.name.folder.join(self.name.name(self.numbers[0]));
        format!("{count} pictures from {} at {fps} fps", path.display())
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
        let name = Numbered::parse(Path::new("%d")).unwrap();
        assert_eq!(
            (name.folder.as_path(), name.number("5")),
            (Path::new("."), Some(5))
        );
        for bad in ["shot.jpg", "100%.jpg", "%4d.jpg", "%0999d", "%s"] {
            assert_eq!(Numbered::parse(Path::new(bad)), None, "{bad}");
        }
    }
}
