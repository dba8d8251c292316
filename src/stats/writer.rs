//! The JSON lines of `--stats`. It does not know their content.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::files;

/// Where `--stats` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsTo {
    /// Standard output.
    Stdout,
    /// A file, created or emptied; or a pipe.
    File(PathBuf),
}

/// Writes statistics, one JSON object a line.
#[derive(Debug)]
pub struct StatsWriter {
    out: Out,
}

#[derive(Debug)]
enum Out {
    Stdout,
    File(File),
}

impl StatsWriter {
    /// Opens `to`; an existing file is emptied.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn open(to: &StatsTo) -> anyhow::Result<StatsWriter> {
        let out = match to {
            StatsTo::Stdout => Out::Stdout,
            StatsTo::File(path) => {
                let out = create(path).with_context(|| {
                    format!("statistics cannot be written to {}", path.display())
                })?;
                Out::File(out)
            }
        };
        Ok(StatsWriter { out })
    }

    /// Writes one object and a newline in one call, so that a reader never sees half a line.
    pub fn write(&mut self, value: &impl Serialize) {
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        let written = match &mut self.out {
            Out::Stdout => io::stdout()
                .write_all(&line)
                .and_then(|()| io::stdout().flush()),
            Out::File(file) => file.write_all(&line),
        };
        if let Err(error) = written {
            // The stream matters more than its statistics.
            tracing::debug!("statistics not written: {error}");
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    match files::open_special(path)? {
        Some(file) => Ok(file),
        None => File::create(path),
    }
}
