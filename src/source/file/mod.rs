//! Video and picture files. What a file is, its bytes tell, not its name:
//!
//! | bytes | how it is read |
//! |---|---|
//! | one JPEG, or JPEGs one after the other | mapped and lent |
//! | AVI or MOV/MP4 that holds JPEGs | mapped and lent, by the container's index |
//! | anything else | by an `ffmpeg` child process |
//!
//! A name with a number in it (`shot-%04d.jpg`) stands for a numbered series of JPEGs.

mod avi;
mod ffmpeg;
mod index;
mod mapped;
mod mov;
mod series;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use self::index::Container;
use super::map::MappedFile;
use super::{OpenOptions, Source, SourceError};

/// The rate of files that do not say theirs.
const DEFAULT_FPS: f64 = 30.0;

/// Opens a file or a numbered series.
///
/// # Errors
/// [`SourceError::Unusable`]: no such file, no video, or `ffmpeg` is needed and not installed.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return open_series(path, options),
        Err(e) => return Err(unusable(path, format_args!("cannot be opened: {e}"))),
    };
    let facts = file
        .metadata()
        .map_err(|e| unusable(path, format_args!("{e}")))?;
    if facts.is_dir() {
        return Err(unusable(
            path,
            "is a folder: name a file in it, or a numbered series such as shot-%04d.jpg",
        ));
    }
    if !facts.is_file() {
        return Err(unusable(
            path,
            "is no regular file: read it through standard input (-)",
        ));
    }
    if facts.len() == 0 {
        return Err(unusable(path, "is empty"));
    }
    let map = MappedFile::new(file, path)?;
    match index::recognise(map.bytes()) {
        Container::Jpegs => Ok(Box::new(mapped::Mapped::unsplit(path, map, options))),
        Container::Indexed(index) => {
            Ok(Box::new(mapped::Mapped::indexed(path, map, index, options)))
        }
        Container::Foreign => Ok(Box::new(ffmpeg::Transcoded::open(path, options)?)),
    }
}

/// A path that is no file: perhaps it names a series.
fn open_series(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let Some(name) = series::Numbered::parse(path) else {
        let stars = path.to_string_lossy().contains('*');
        return Err(unusable(
            path,
            if stars {
                "does not exist. A series of pictures is written with the number's place: shot-%04d.jpg"
            } else {
                "does not exist"
            },
        ));
    };
    Ok(Box::new(series::Series::open(name, options)?))
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> SourceError {
    SourceError::Unusable(format!("{} {what}", path.display()))
}
