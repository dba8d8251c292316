//! A file as memory, read only: its frames are lent to the kernel without a copy.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

use super::SourceError;

/// So much of a file may stay mapped in behind the reader before it is given back.
const KEEP: usize = 2 << 20;

/// A mapped file.
pub(super) struct MappedFile {
    path: PathBuf,
    file: File,
    map: Mmap,
    /// Everything before this offset was given back to the page cache.
    released: usize,
}

impl MappedFile {
    /// Maps the whole of `file`, which is a regular one and not empty.
    pub(super) fn new(file: File, path: &Path) -> Result<MappedFile, SourceError> {
        // SAFETY: The mapping is read only and shared, and lives as long as every slice of it, since
        // `bytes` borrows `self`. What the type system cannot promise is that nobody else changes
        // the file meanwhile. Changed bytes are harmless in practice: everything that reads them
        // (the splitter, the containers' parsers, the gate) treats them as hostile and never reads
        // a value twice to rely on both being equal; the kernel copies them out on send. A file that
        // is cut short would raise SIGBUS on a read behind its new end: `check` is asked before
        // each frame and refuses it. A cut in the microseconds between that and the frame's last
        // read ends the process, which its supervisor starts again: the price of not copying.
        let map = unsafe { MmapOptions::new().map(&file) };
        let map = map.map_err(|e| {
            SourceError::Unusable(format!("{} cannot be mapped: {e}", path.display()))
        })?;
        // Reading ahead is only a wish.
        let _ = map.advise(Advice::Sequential);
        Ok(MappedFile {
            path: path.to_owned(),
            file,
            map,
            released: 0,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Fails when the file has become shorter than it was mapped.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let path = self.path.display();
        match self.file.metadata() {
            Ok(now) if now.len() >= self.map.len() as u64 => Ok(()),
            Ok(now) => Err(SourceError::Failed(format!(
                "{path} was cut from {} to {} bytes while it was being sent",
                self.map.len(),
                now.len()
            ))),
            Err(e) => Err(SourceError::Failed(format!("{path}: {e}"))),
        }
    }

    /// Tells that nothing before `offset` is needed soon: a long file must not fill this process's
    /// memory with pages that it has passed.
    pub(super) fn passed(&mut self, offset: usize) {
        if offset < self.released {
            self.released = 0; // started again
        }
        if offset - self.released < KEEP {
            return;
        }
        // SAFETY: MADV_DONTNEED on a shared file mapping changes no byte: "subsequent accesses of
        // pages in the range will succeed, [...] repopulating the memory contents from the
        // up-to-date contents of the underlying mapped file" (madvise(2)). The range lies inside
        // the map: `offset` is at most its length, see the caller and the `min` here.
        let advised = unsafe {
            let end = offset.min(self.map.len());
            self.map.unchecked_advise_range(
                UncheckedAdvice::DontNeed,
                self.released,
                end - self.released,
            )
        };
        // Refused: the pages stay. Nothing else depends on it.
        let _ = advised;
        self.released = offset;
    }
}
