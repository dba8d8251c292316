//! Writing a small file so that a reader never sees half of it.

use std::fs;
use std::io;
use std::path::Path;

/// Writes `bytes` to `path` in one step: the file is there whole or not at all. An existing one is replaced.
///
/// # Errors
/// If it cannot be written; no trace of it is left then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // There is nothing to do about a failure to clean up after a failure.
        drop(fs::remove_file(&temporary));
    }
    written
}
