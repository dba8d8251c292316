//! Files that the user names: opened without waiting for another program, and small ones written so
//! that a reader never sees half of one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Opens a regular file for reading. Opening a pipe would wait for its writer, perhaps for ever.
///
/// # Errors
/// If it cannot be opened, or is something else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // fifo(7): does not wait for a writer.
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(file),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ => "a device",
    };
    let error = format!("it is {what}; a regular file is needed");
    Err(io::Error::other(error))
}

/// Opens a pipe or device for writing; `None`: `path` is neither.
///
/// # Errors
/// It cannot be opened, or is a pipe that nobody reads: waiting for a reader would block the
/// program.
pub fn open_special(path: &Path) -> io::Result<Option<File>> {
    if !fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path).map_err(|error| {
        // fifo(7)
        match error.raw_os_error() == Some(Errno::ENXIO as i32) {
            true => io::Error::other("it is a pipe that nobody reads: start its reader first"),
            false => error,
        }
    })?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(Some(file))
}

/// Writes `bytes` to `path` atomically: the file is complete or not there. An existing one is
/// replaced.
///
/// # Errors
/// It cannot be written; nothing is left behind.
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn nothing_waits_for_the_other_end_of_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let why = open_regular(&pipe).unwrap_err().to_string();
        assert!(why.contains("it is a pipe"), "{why}");
        let why = open_special(&pipe).unwrap_err().to_string();
        assert!(why.contains("nobody reads"), "{why}");
        let mut options = OpenOptions::new();
        let mut reader = (options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()))
            .open(&pipe)
            .unwrap();
        let mut writer = open_special(&pipe).unwrap().unwrap();
        io::Write::write_all(&mut writer, b"one").unwrap();
        let mut read = [0; 3];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one");
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let why = |path| open_regular(path).unwrap_err().to_string();
        assert!(why(folder.path()).contains("it is a folder"));
        assert!(why(Path::new("/dev/null")).contains("it is a device"));
        let path = folder.path().join("file");
        assert!(open_special(&path).unwrap().is_none());
        fs::write(&path, b"one").unwrap();
        assert!(open_special(&path).unwrap().is_none());
        let mut text = String::new();
        (open_regular(&path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "one");
    }
}
