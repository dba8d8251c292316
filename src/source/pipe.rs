//! Concatenated MJPEG from a pipe: standard input, or a child such as `rpicam-vid`. Frames come as
//! they come, none is passed over silently; with `fps` they are paced, which makes sense for a file
//! that is piped in.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, poll};

use super::child::Child;
use super::pacer::{Pacer, SLICE};
use super::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};
use crate::clock::Mono;
use crate::jpeg::split::{Found, Splitter};

/// A frame that is longer than this is given up.
const MOST_BYTES: usize = 16 << 20;
/// The buffer's first size; it grows when a frame needs it.
const FIRST_BYTES: usize = 512 << 10;
/// The buffer is moved up when less than this is free at its end.
const LEAST_FREE: usize = 64 << 10;
/// What the kernel is asked to hold, so that a whole frame fits and its writer need not wait.
const PIPE_BYTES: i32 = 1 << 20;

/// Cuts a pipe into frames.
pub(super) struct Reader {
    pipe: File,
    buffer: Vec<u8>,
    /// The bytes that have been read and not yet lent.
    filled: Range<usize>,
    splitter: Splitter,
    stop: Arc<AtomicBool>,
    /// When the first byte of what is in the buffer came.
    began: Mono,
    /// Frames given up since the last one that was lent.
    missed: u32,
}

/// A whole frame in a [`Reader`]'s buffer.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    range: Range<usize>,
    /// When its first bytes came.
    pub(super) arrived: Mono,
    /// Frames given up before it.
    pub(super) missed: u32,
}

impl Reader {
    pub(super) fn new(pipe: OwnedFd, stop: Arc<AtomicBool>) -> Reader {
        // Refused for files and by the limits of unprivileged users: the pipe stays as it is.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Reader {
            pipe: pipe.into(),
            buffer: vec![0; FIRST_BYTES],
            filled: 0..0,
            splitter: Splitter::new(),
            stop,
            began: Mono(0),
            missed: 0,
        }
    }

    /// Waits for the next frame; `None` when the pipe was closed.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            match self.splitter.find(&self.buffer[self.filled.clone()]) {
                Found::Frame(range) => return Ok(Some(self.take(range))),
                Found::NeedMore { discard } => {
                    self.filled.start = (self.filled.start + discard).min(self.filled.end);
                }
            }
            self.make_room();
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The bytes of the piece that [`Reader::next`] gave last.
    pub(super) fn bytes(&self, piece: &Piece) -> &[u8] {
        &self.buffer[piece.range.clone()]
    }

    fn take(&mut self, range: Range<usize>) -> Piece {
        let start = self.filled.start;
        self.filled.start += range.end;
        let piece = Piece {
            range: start + range.start..start + range.end,
            arrived: self.began,
            missed: std::mem::take(&mut self.missed),
        };
        // What follows it came with the last read.
        self.began = Mono::now();
        piece
    }

    /// Makes room for a read: empties, moves or enlarges the buffer.
    fn make_room(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        if self.buffer.len() - self.filled.end >= LEAST_FREE {
            return;
        }
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        if self.buffer.len() - self.filled.end >= LEAST_FREE {
            return;
        }
        if self.filled.len() >= MOST_BYTES {
            self.filled = 0..0;
            self.splitter.reset();
            self.missed = self.missed.saturating_add(1);
            tracing::warn!("a frame of more than {MOST_BYTES} bytes in a pipe was given up");
            return;
        }
        let len = (self.buffer.len() * 2).min(MOST_BYTES + LEAST_FREE);
        self.buffer.resize(len, 0);
    }

    /// Reads once, as soon as there is something; 0 at the end.
    fn fill(&mut self) -> Result<usize, SourceError> {
        loop {
            self.wait()?;
            match self.pipe.read(&mut self.buffer[self.filled.end..]) {
                Ok(len) => {
                    if self.filled.is_empty() {
                        self.began = Mono::now();
                    }
                    self.filled.end += len;
                    return Ok(len);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(SourceError::Failed(format!("reading a pipe: {e}"))),
            }
        }
    }

    /// Waits until a read does not block.
    fn wait(&self) -> Result<(), SourceError> {
        let slice = SLICE.as_millis() as u16;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(SourceError::Stopped);
            }
            let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, slice) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(SourceError::Failed(format!("waiting for a pipe: {e}"))),
            }
        }
    }
}

/// Paces a piece where a rate is set; gives its capture time.
pub(super) fn pace(pacer: &mut Option<Pacer>, piece: &Piece) -> Result<Mono, SourceError> {
    pacer.as_mut().map_or(Ok(piece.arrived), Pacer::next)
}

fn pacer(options: &OpenOptions) -> Option<Pacer> {
    options.fps.map(|fps| Pacer::new(fps, options.stop.clone()))
}

fn paced_text(pacer: &Option<Pacer>) -> String {
    pacer.as_ref().map_or(String::new(), |pacer| {
        format!(" at {} fps", fps_text(pacer.fps()))
    })
}

/// Standard input.
pub struct Stdin {
    reader: Reader,
    pacer: Option<Pacer>,
    frames: u64,
}

impl Stdin {
    /// Takes standard input.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if it is a terminal.
    pub fn open(options: &OpenOptions) -> Result<Stdin, SourceError> {
        if io::stdin().is_terminal() {
            return Err(SourceError::Unusable(
                "standard input is a terminal: pipe MJPEG into it, as in \
                 rpicam-vid --codec mjpeg -t 0 -o - | lancam send -"
                    .into(),
            ));
        }
        let input = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| SourceError::Unusable(format!("standard input: {e}")))?;
        Ok(Stdin::from_pipe(input, options))
    }

    /// Reads `input` as if it were standard input.
    fn from_pipe(input: OwnedFd, options: &OpenOptions) -> Stdin {
        let input = File::from(input);
        // A file (`lancam send - < FILE`) would come as fast as it can be read.
        let is_file = input.metadata().is_ok_and(|facts| facts.is_file());
        let fps = options.fps.or(is_file.then_some(DEFAULT_FPS));
        Stdin {
            reader: Reader::new(input.into(), options.stop.clone()),
            pacer: fps.map(|fps| Pacer::new(fps, options.stop.clone())),
            frames: 0,
        }
    }
}

impl Source for Stdin {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let Some(piece) = self.reader.next()? else {
            if self.frames == 0 {
                return Err(SourceError::Unusable(
                    "standard input ended without a whole JPEG in it".into(),
                ));
            }
            return Ok(None);
        };
        let captured = pace(&mut self.pacer, &piece)?;
        self.frames += 1;
        Ok(Some(Frame {
            data: self.reader.bytes(&piece),
            captured,
            missed: piece.missed,
            flagged: false,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        self.pacer.as_ref().map(Pacer::interval)
    }

    fn describe(&self) -> String {
        format!("standard input{}", paced_text(&self.pacer))
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        Some((self.frames, None))
    }
}

/// A child process.
pub struct Exec {
    command: String,
    options: OpenOptions,
    /// The child and its output; `None` after its end.
    running: Option<(Child, Reader)>,
    pacer: Option<Pacer>,
    /// Frames of the present run.
    frames: u64,
}

impl Exec {
    /// Starts `sh -c command`.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if there is no shell.
    pub fn open(command: &str, options: &OpenOptions) -> Result<Exec, SourceError> {
        let mut exec = Exec {
            command: command.to_owned(),
            options: options.clone(),
            running: None,
            pacer: pacer(options),
            frames: 0,
        };
        exec.start()?;
        Ok(exec)
    }

    fn start(&mut self) -> Result<(), SourceError> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&self.command);
        let (child, output) = Child::start(shell, &self.options.name)?;
        self.running = Some((child, Reader::new(output, self.options.stop.clone())));
        self.frames = 0;
        Ok(())
    }

    /// Waits for the next frame. At the end of a run that went well, a looped source starts again.
    fn next_piece(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            let Some((_, reader)) = &mut self.running else {
                return Ok(None);
            };
            if let Some(piece) = reader.next()? {
                self.frames += 1;
                return Ok(Some(piece));
            }
            self.finish()?;
            if !self.options.looped {
                return Ok(None);
            }
            self.start()?;
        }
    }

    /// Takes leave of a child that closed its output.
    fn finish(&mut self) -> Result<(), SourceError> {
        let Some((child, _)) = self.running.take() else {
            return Ok(());
        };
        let (status, words) = child.finish();
        let command = &self.command;
        let how = match status {
            Some(status) if status.success() && self.frames > 0 => return Ok(()),
            Some(status) if status.success() => "ended without a whole JPEG".to_owned(),
            Some(status) => format!("ended with {status} after {} frames", self.frames),
            None => "was lost".to_owned(),
        };
        let words = if words.is_empty() {
            words
        } else {
            format!(": {words}")
        };
        Err(SourceError::Failed(format!("exec:{command} {how}{words}")))
    }
}

impl Source for Exec {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let Some(piece) = self.next_piece()? else {
            return Ok(None);
        };
        let captured = pace(&mut self.pacer, &piece)?;
        let Some((_, reader)) = &self.running else {
            return Ok(None);
        };
        Ok(Some(Frame {
            data: reader.bytes(&piece),
            captured,
            missed: piece.missed,
            flagged: false,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        self.pacer.as_ref().map(Pacer::interval)
    }

    fn describe(&self) -> String {
        format!("exec:{}{}", self.command, paced_text(&self.pacer))
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        Some((self.frames, None))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;
    use crate::source::test_video::{fast, frames, jpegs};

    /// Options of a live source.
    fn live() -> OpenOptions {
        OpenOptions {
            fps: None,
            ..fast(false)
        }
    }

    fn piped(bytes: Vec<u8>, piece: usize) -> OwnedFd {
        let (input, output) = nix::unistd::pipe().unwrap();
        thread::spawn(move || {
            let mut output = File::from(output);
            for piece in bytes.chunks(piece) {
                // The reader may have gone.
                let _ = output.write_all(piece);
            }
        });
        input
    }

    #[test]
    fn a_pipe_is_cut_into_frames_however_it_is_filled() {
        let mut want = jpegs(40);
        // A frame that does not fit the first buffer.
        let comment = [&[0xff, 0xfe, 0xff, 0xff][..], &[b'c'; 65_533]].concat();
        let large = [&want[3][..2], &comment.repeat(24), &want[3][2..]].concat();
        want[3] = large;
        for piece in [777, 100_000, 1 << 20] {
            let mut stdin = Stdin::from_pipe(piped(want.concat(), piece), &live());
            assert!(frames(&mut stdin, 99) == want, "pieces of {piece}");
            assert_eq!(stdin.position(), Some((40, None)));
            assert_eq!(stdin.interval(), None);
        }
    }

    #[test]
    fn a_frame_without_end_is_given_up_and_counted() {
        let want = jpegs(2);
        let endless = [
            &want[0][..want[0].len() - 2],
            &vec![1; MOST_BYTES + 999_999],
        ]
        .concat();
        let stream = [&want[0][..], &endless, &[0xff, 0xd9], &want[1]].concat();
        let mut stdin = Stdin::from_pipe(piped(stream, 1 << 20), &live());
        assert_eq!(stdin.next().unwrap().unwrap().data, want[0]);
        let frame = stdin.next().unwrap().unwrap();
        assert_eq!((frame.data, frame.missed), (&want[1][..], 1));
        assert!(stdin.next().unwrap().is_none());
        assert!(stdin.reader.buffer.len() <= MOST_BYTES + LEAST_FREE);
    }

    #[test]
    fn a_pipe_with_a_rate_is_paced() {
        let options = OpenOptions {
            fps: Some(100.0),
            ..fast(false)
        };
        let mut stdin = Stdin::from_pipe(piped(jpegs(4).concat(), 1 << 20), &options);
        let due: Vec<_> = (0..4)
            .map(|_| stdin.next().unwrap().unwrap().captured)
            .collect();
        let early = |pair: &[Mono]| pair[1].since(pair[0]) < Duration::from_millis(10);
        assert!(!due.windows(2).any(early), "{due:?}");
    }

    #[test]
    fn a_file_on_standard_input_is_paced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), jpegs(2).concat()).unwrap();
        let mut stdin = Stdin::from_pipe(File::open(file.path()).unwrap().into(), &live());
        assert_eq!(stdin.describe(), "standard input at 30 fps");
        assert_eq!(frames(&mut stdin, 9), jpegs(2));
    }

    #[test]
    fn a_pipe_without_a_jpeg_is_told() {
        let mut stdin = Stdin::from_pipe(piped(b"no jpeg".to_vec(), 9), &live());
        assert!(matches!(stdin.next(), Err(SourceError::Unusable(_))));
    }

    #[test]
    fn a_silent_pipe_is_left_when_stopped() {
        let (input, _writer) = nix::unistd::pipe().unwrap();
        let options = live();
        let mut stdin = Stdin::from_pipe(input, &options);
        let waiter = thread::spawn(move || stdin.next().map(|_| ()));
        options.stop.store(true, Ordering::Relaxed);
        assert!(matches!(waiter.join().unwrap(), Err(SourceError::Stopped)));
    }

    #[test]
    fn a_command_gives_frames_and_ends_or_starts_again() {
        let want = jpegs(3);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), want.concat()).unwrap();
        let command = format!("cat {}", file.path().display());
        let mut exec = Exec::open(&command, &live()).unwrap();
        assert_eq!(frames(&mut exec, 99), want);
        assert!(exec.next().unwrap().is_none(), "the end stays the end");
        let looped = OpenOptions {
            looped: true,
            ..live()
        };
        let mut exec = Exec::open(&command, &looped).unwrap();
        assert_eq!(
            frames(&mut exec, 7),
            [&want[..], &want, &want[..1]].concat()
        );
    }

    #[test]
    fn a_command_that_fails_says_how_and_why() {
        let mut exec = Exec::open("echo no camera >&2; exit 3", &live()).unwrap();
        let error = exec.next().unwrap_err();
        assert!(matches!(error, SourceError::Failed(_)));
        assert_eq!(
            error.to_string(),
            "exec:echo no camera >&2; exit 3 ended with exit status: 3 after 0 frames: no camera"
        );
        let error = Exec::open("true", &live())
            .unwrap()
            .next()
            .unwrap_err()
            .to_string();
        assert_eq!(error, "exec:true ended without a whole JPEG");
    }

    /// Whether a process lives (a zombie does not).
    fn lives(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
    }

    #[test]
    fn a_dropped_command_is_ended_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        // A shell that does not listen, and a grandchild: both tell their numbers.
        let command = format!("trap '' TERM; sleep 1000 & echo $! $$ > {path}; wait; sleep 1000");
        let exec = Exec::open(&command, &live()).unwrap();
        let told = || std::fs::read_to_string(file.path()).unwrap();
        while !told().ends_with('\n') {
            thread::yield_now();
        }
        let pids: Vec<i32> = told()
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert!(pids.len() == 2 && pids.iter().all(|&pid| lives(pid)));
        let leader = exec.running.as_ref().unwrap().0.id();
        assert_eq!(leader as i32, pids[1]);
        drop(exec);
        // Signals were sent; the last breath of an orphan takes a moment.
        while pids.iter().any(|&pid| lives(pid)) {
            thread::yield_now();
        }
        assert!(
            kill(Pid::from_raw(pids[1]), None).is_err(),
            "a zombie is left"
        );
    }

    #[test]
    fn a_command_that_closes_its_output_and_goes_on_is_ended() {
        let mut exec = Exec::open("exec >&-; sleep 1000", &live()).unwrap();
        let error = exec.next().unwrap_err().to_string();
        assert!(error.contains("signal: 15"), "{error}");
    }
}
