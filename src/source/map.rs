//! A file as memory, read only: its frames are lent to the kernel without a copy.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Advice, Mmap, MmapOptions, UncheckedAdvice};

use super::frame::SourceError;
use super::guard::Guard;
use crate::kept::Owner;

/// How much of a file may stay resident behind the reader.
const KEEP: usize = 2 << 20;

/// A mapped file. What is truncated while it is mapped reads as zeros.
pub(super) struct MappedFile {
    memory: Arc<Memory>,
    /// Everything before this offset has been released to the page cache.
    released: usize,
}

struct Memory {
    /// Dropped before the map.
    guard: Guard,
    map: Mmap,
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl MappedFile {
    /// Maps the whole of `file`, which is a regular one and not empty.
    pub(super) fn new(file: &File, path: &Path) -> Result<MappedFile, SourceError> {
        let failed =
            |e: std::io::Error| SourceError::unusable(path, format_args!("cannot be mapped: {e}"));
        // SAFETY: The mapping is read only and shared, and lives as long as every slice of it:
        // each borrows it or is kept by an owner of it. Others may change the file meanwhile, so
        // its bytes may differ between two reads. All code that reads them (the splitter, the
        // containers' parsers, the gate, turbojpeg) treats them as hostile anyway and does not rely
        // on reading the same value twice; what goes out is what the kernel copies. Reads past a
        // new end would raise SIGBUS: the guard turns them into zeros.
        let map = unsafe { MmapOptions::new().map(file) }.map_err(failed)?;
        let guard = Guard::new(map.as_ptr(), map.len()).map_err(|e| failed(e.into()))?;
        // Read-ahead is only a hint.
        let _ = map.advise(Advice::Sequential);
        Ok(MappedFile {
            memory: Arc::new(Memory { guard, map }),
            released: 0,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory.map
    }

    /// Nothing is ever written here, so whoever keeps it may.
    pub(super) fn owner(&self) -> Owner {
        Owner::new(Arc::clone(&self.memory))
    }

    /// Whether something read was no longer there.
    pub(super) fn has_lost_bytes(&self) -> bool {
        self.memory.guard.was_hit()
    }

    /// Releases what is before `offset`: a long file must not fill this process's memory with pages
    /// that were already read.
    pub(super) fn passed(&mut self, offset: usize) {
        if offset < self.released {
            self.released = 0; // started again
        }
        if offset - self.released < KEEP {
            return;
        }
        // SAFETY: MADV_DONTNEED on a shared file mapping changes no byte: "subsequent accesses of
        // pages in the range will succeed, [...] repopulating the memory contents from the
        // up-to-date contents of the underlying mapped file" (madvise(2)); pages that the guard has
        // put there are zeros, and stay so. The range is inside the map: `offset` is at most its
        // length, see the caller and the `min` here.
        let advised = unsafe {
            let end = offset.min(self.memory.map.len());
            self.memory.map.unchecked_advise_range(
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
