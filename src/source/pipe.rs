//! Concatenated MJPEG from a pipe: standard input, a named pipe, or a child such as `rpicam-vid`. A
//! camera's frames go out as they come, and none is dropped uncounted. A film's frames, which come
//! as fast as they are read, are paced, and so is everything with `fps`.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, poll};

use super::child::Child;
use super::frame::{Frame, OpenOptions, Source, SourceError, fps_text};
use super::pacer::{Pacer, SLICE};
use super::spec::FPS_RANGE;
use super::stop::Stop;
use crate::clock::Mono;
use crate::jpeg::split::{Found, Splitter};
use crate::text::{counted, without_codes};

/// Longer frames are given up.
const MOST_BYTES: usize = 16 << 20;
/// The buffer's first size; it grows when a frame needs it.
const FIRST_BYTES: usize = 512 << 10;
/// The buffer is moved up when less than this is free at its end.
const LEAST_FREE: usize = 64 << 10;
/// Pipe size to request, so that a whole frame fits and its writer need not wait.
const PIPE_BYTES: i32 = 1 << 20;

/// The rate of a film in a pipe, which states none.
const FILM_FPS: f64 = 25.0;
/// This many frames may come at once without a closer look: a camera program's backlog.
const BURST: u32 = 8;
/// How long that look takes, and how much of it a camera's backlog may take.
const LOOK: Duration = Duration::from_millis(250);
const RUSH: Duration = Duration::from_millis(100);

/// Silence is reported after this long, or this many times the wait for the last frame.
const SILENCE: (Duration, u32) = (Duration::from_secs(5), 3);
/// How often it is reported.
const SILENCE_PERIOD: Duration = Duration::from_secs(1);
/// How long to read a pipe after the child has ended, if somebody else holds it open.
const ORPHANED: Duration = Duration::from_secs(2);

/// Cuts a pipe into frames.
pub(super) struct Reader {
    pipe: File,
    /// For messages.
    name: String,
    /// The child that writes into the pipe, if it was started here.
    child: Option<Child>,
    buffer: Vec<u8>,
    /// Bytes read and not yet lent.
    filled: Range<usize>,
    splitter: Splitter,
    stop: Arc<Stop>,
    /// When the first byte in the buffer came.
    began: Mono,
    /// Frames given up since the last one lent.
    missed: u32,
    silence: Silence,
}

/// How long the next frame is waited for.
#[derive(Default)]
struct Silence {
    /// `None`: not waiting for a frame.
    since: Option<Mono>,
    /// How long the wait for the last one was.
    last: Duration,
    said_at: Option<Mono>,
}

impl Silence {
    fn lasts(&self, now: Mono) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Notes that a frame came; returns after how long, if its absence was reported.
    fn ends(&mut self, now: Mono) -> Option<Duration> {
        self.last = now.since(self.since.take()?);
        self.said_at.take().map(|_| self.last)
    }

    /// Whether to report now that nothing comes, and whether for the first time.
    fn is_due(&mut self, now: Mono) -> Option<bool> {
        let since = *self.since.get_or_insert(now);
        let is_long = now.since(since) >= SILENCE.0.max(self.last * SILENCE.1);
        let is_said = self
            .said_at
            .is_some_and(|at| now.since(at) < SILENCE_PERIOD);
        if !is_long || is_said {
            return None;
        }
        Some(self.said_at.replace(now).is_none())
    }
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
    pub(super) fn new(pipe: OwnedFd, name: &str, stop: Arc<Stop>) -> Reader {
        // Refused for files, and if an unprivileged user's limits are reached: the pipe stays as it
        // is.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Reader {
            pipe: pipe.into(),
            name: name.to_owned(),
            child: None,
            buffer: vec![0; FIRST_BYTES],
            filled: 0..0,
            splitter: Splitter::new(),
            stop,
            began: Mono(0),
            missed: 0,
            silence: Silence::default(),
        }
    }

    /// Starts `command` and reads its output.
    pub(super) fn of(
        command: Command,
        name: &str,
        options: &OpenOptions,
    ) -> Result<Reader, SourceError> {
        let (child, output) = Child::start(command, &options.name)?;
        let mut reader = Reader::new(output, name, options.stop.clone());
        reader.child = Some(child);
        Ok(reader)
    }

    /// The child's exit status and last words, once its output has ended.
    pub(super) fn finish(&mut self) -> (Option<ExitStatus>, String) {
        self.child
            .take()
            .map_or_else(Default::default, Child::finish)
    }

    /// How long the wait for the next frame has been.
    pub(super) fn silent_for(&self) -> Duration {
        self.silence.lasts(Mono::now())
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
            self.check_silence()?;
            if self.fill()? == 0 {
                return Ok(self.last());
            }
        }
    }

    /// What is left at the end: perhaps a frame without its end, or frames given up before; both
    /// are counted where frames are refused.
    fn last(&mut self) -> Option<Piece> {
        if let Some(range) = self.splitter.finish(&self.buffer[self.filled.clone()]) {
            return Some(self.take(range));
        }
        self.missed = self.missed.checked_sub(1)?;
        Some(self.take(0..0))
    }

    /// Reads ahead for a moment, as far as there is room; returns whether more than `most` bytes a
    /// second still come after the initial burst, or the end does. Frames already lent are
    /// discarded.
    fn is_faster_than(&mut self, most: f64) -> Result<bool, SourceError> {
        let start = Mono::now();
        let mut late = 0;
        while self.filled.len() < MOST_BYTES - LEAST_FREE {
            let passed = Mono::now().since(start);
            let left = LOOK.saturating_sub(passed);
            if left.is_zero() {
                return Ok(late as f64 > most * (LOOK - RUSH).as_secs_f64());
            }
            let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, left.as_millis() as u16 + 1) == Ok(0) {
                continue;
            }
            self.make_room();
            match self.fill()? {
                0 => break,
                len if passed > RUSH => late += len,
                _ => {}
            }
        }
        Ok(true)
    }

    fn check_silence(&mut self) -> Result<(), SourceError> {
        let now = Mono::now();
        let Some(is_first) = self.silence.is_due(now) else {
            return Ok(());
        };
        let (name, seconds) = (&self.name, self.silence.lasts(now).as_secs());
        let why = format!("{name} has sent no picture for {seconds} s");
        if is_first {
            tracing::warn!("{why}");
        }
        Err(SourceError::NoSignal(why))
    }

    /// The piece that [`Reader::next`] returned last, as a frame.
    pub(super) fn frame(&self, piece: &Piece, captured: Mono) -> Frame<'_> {
        Frame {
            data: self.bytes(piece),
            captured,
            missed: piece.missed,
            flagged: false,
            is_split: true,
            owner: None,
        }
    }

    /// The bytes of the piece that [`Reader::next`] returned last.
    pub(super) fn bytes(&self, piece: &Piece) -> &[u8] {
        &self.buffer[piece.range.clone()]
    }

    fn take(&mut self, range: Range<usize>) -> Piece {
        if let Some(silence) = self.silence.ends(Mono::now()) {
            let seconds = silence.as_secs();
            tracing::info!("{} sends pictures again after {seconds} s", self.name);
        }
        let start = self.filled.start;
        self.filled.start += range.end;
        let piece = Piece {
            range: start + range.start..start + range.end,
            arrived: self.began,
            missed: std::mem::take(&mut self.missed),
        };
        // What follows it arrived with the last read.
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
            if !self.wait()? {
                return Ok(0);
            }
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

    /// Waits until a read does not block; `false` at the end of a child whose output others hold
    /// open.
    fn wait(&mut self) -> Result<bool, SourceError> {
        let slice = SLICE.as_millis() as u16;
        loop {
            if self.stop.is_raised() {
                return Err(SourceError::Stopped);
            }
            let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, slice) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(e) => return Err(SourceError::Failed(format!("waiting for a pipe: {e}"))),
            }
            let is_orphaned = self.child.as_ref().is_some_and(Child::has_ended);
            if is_orphaned && self.silence.lasts(Mono::now()) >= ORPHANED {
                return Ok(false);
            }
            self.check_silence()?;
        }
    }
}

/// When the frames of a pipe go out: as they come if they are a camera's, at a fixed rate if they
/// are a film's, which come as fast as they are read.
struct Cadence {
    options: OpenOptions,
    pacer: Option<Pacer>,
    /// When the first frame came, how many have come since, and their bytes.
    began: Option<Mono>,
    frames: u32,
    bytes: usize,
    /// Whether the check for a film is done.
    is_known: bool,
}

impl Cadence {
    /// Paced at the rate that the user asks for, else at `fps`, if there is one.
    fn new(fps: Option<f64>, options: &OpenOptions) -> Cadence {
        let fps = options.fps.or(fps);
        Cadence {
            options: options.clone(),
            pacer: fps.map(|fps| Pacer::new(fps, options.stop.clone())),
            began: None,
            frames: 0,
            bytes: 0,
            is_known: false,
        }
    }

    /// Checks, before a frame is taken, whether frames come faster than any camera's, and keep
    /// doing so: then it is a film. (Programs that read a camera over a network begin with a burst
    /// of stored frames.)
    fn look(&mut self, reader: &mut Reader) -> Result<(), SourceError> {
        let Some(began) = self
            .began
            .filter(|_| self.pacer.is_none() && !self.is_known)
        else {
            return Ok(());
        };
        let possible = Mono::now().since(began).as_secs_f64() * FPS_RANGE.end();
        if self.frames <= BURST + possible as u32 {
            return Ok(());
        }
        self.is_known = true;
        let frame = (self.bytes / self.frames as usize) as f64;
        if !reader.is_faster_than(frame * FPS_RANGE.end())? {
            return Ok(());
        }
        tracing::warn!(
            "the frames of {} come faster than a camera's: taken for a film and sent at {FILM_FPS} fps; \
             fps (--fps) sets another rate",
            reader.name
        );
        self.pacer = Some(Pacer::new(FILM_FPS, self.options.stop.clone()));
        Ok(())
    }

    /// Waits until a frame is due; returns its capture time.
    fn wait(&mut self, piece: &Piece) -> Result<Mono, SourceError> {
        if let Some(pacer) = &mut self.pacer {
            return pacer.next();
        }
        self.began.get_or_insert(piece.arrived);
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(piece.range.len());
        Ok(piece.arrived)
    }

    /// Starts a new run of the same source, counting its frames from zero.
    fn restart(&mut self) {
        (self.began, self.frames, self.bytes) = (None, 0, 0);
    }

    fn interval(&self) -> Option<Duration> {
        self.pacer.as_ref().map(Pacer::interval)
    }

    fn text(&self) -> String {
        self.pacer.as_ref().map_or(String::new(), |pacer| {
            format!(" at {} fps", fps_text(pacer.fps()))
        })
    }
}

/// An existing pipe: standard input, or a named one.
pub struct Pipe {
    /// The path to reopen for the next writer; `None`: standard input.
    path: Option<PathBuf>,
    options: OpenOptions,
    reader: Reader,
    cadence: Cadence,
    frames: u64,
}

impl Pipe {
    /// Takes standard input.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if it is a terminal.
    pub fn stdin(options: &OpenOptions) -> Result<Pipe, SourceError> {
        if io::stdin().is_terminal() {
            return Err(SourceError::Unusable(
                "standard input is a terminal: pipe MJPEG into it, as in \
                 rpicam-vid --codec mjpeg -t 0 -o - | lancam send --source -"
                    .into(),
            ));
        }
        let input = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| SourceError::Unusable(format!("standard input: {}", without_codes(&e))))?;
        Ok(Pipe::new("standard input", None, input, options))
    }

    /// Opens the named pipe at `path`, whether or not somebody writes to it yet.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if it may not be read.
    pub fn fifo(path: &Path, options: &OpenOptions) -> Result<Pipe, SourceError> {
        let input = open_fifo(path)?;
        let name = path.display().to_string();
        Ok(Pipe::new(&name, Some(path.to_owned()), input, options))
    }

    fn new(name: &str, path: Option<PathBuf>, input: OwnedFd, options: &OpenOptions) -> Pipe {
        let input = File::from(input);
        // A file (`lancam send --source - < FILE`) comes as fast as it is read.
        let is_file = input.metadata().is_ok_and(|facts| facts.is_file());
        Pipe {
            path,
            options: options.clone(),
            reader: Reader::new(input.into(), name, options.stop.clone()),
            cadence: Cadence::new(is_file.then_some(FILM_FPS), options),
            frames: 0,
        }
    }

    /// Waits for the next frame. At the end of what one program wrote, a looped named pipe waits
    /// for the next.
    fn next_piece(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            self.cadence.look(&mut self.reader)?;
            if let Some(piece) = self.reader.next()? {
                return Ok(Some(piece));
            }
            let Some(path) = self.path.as_ref().filter(|_| self.options.looped) else {
                return Ok(None);
            };
            let input = open_fifo(path)?;
            self.reader = Reader::new(input, &self.reader.name, self.options.stop.clone());
            self.cadence.restart();
        }
    }
}

/// Does not wait for a writer, only for frames, as everywhere. fifo(7)
fn open_fifo(path: &Path) -> Result<OwnedFd, SourceError> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    file.map(OwnedFd::from).map_err(|e| {
        SourceError::unusable(
            path,
            format_args!("cannot be opened: {}", without_codes(&e)),
        )
    })
}

impl Source for Pipe {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let Some(piece) = self.next_piece()? else {
            if self.frames == 0 {
                let name = &self.reader.name;
                return Err(SourceError::Unusable(format!(
                    "{name} ended without a JPEG in it"
                )));
            }
            return Ok(None);
        };
        let captured = self.cadence.wait(&piece)?;
        self.frames += 1;
        Ok(Some(self.reader.frame(&piece, captured)))
    }

    fn interval(&self) -> Option<Duration> {
        self.cadence.interval()
    }

    fn describe(&self) -> String {
        format!("{}{}", self.reader.name, self.cadence.text())
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        Some((self.frames, None))
    }
}

/// A child process.
pub struct Exec {
    command: String,
    options: OpenOptions,
    /// The child's output; `None` after its end.
    reader: Option<Reader>,
    cadence: Cadence,
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
            reader: None,
            cadence: Cadence::new(None, options),
            frames: 0,
        };
        exec.start()?;
        Ok(exec)
    }

    fn start(&mut self) -> Result<(), SourceError> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&self.command);
        let name = format!("exec:{}", self.command);
        self.reader = Some(Reader::of(shell, &name, &self.options)?);
        self.cadence.restart();
        self.frames = 0;
        Ok(())
    }

    /// Waits for the next frame. At the end of a run that went well, a looped source starts again.
    fn next_piece(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            self.cadence.look(reader)?;
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

    /// Ends a child that has closed its output.
    fn finish(&mut self) -> Result<(), SourceError> {
        let Some(mut reader) = self.reader.take() else {
            return Ok(());
        };
        let (status, words) = reader.finish();
        let command = &self.command;
        let how = match status {
            Some(status) if status.success() && self.frames > 0 => return Ok(()),
            Some(status) if status.success() => "ended without a JPEG".to_owned(),
            Some(status) => format!(
                "ended with {status} after {}",
                counted(self.frames, "frame")
            ),
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
        let captured = self.cadence.wait(&piece)?;
        let reader = self.reader.as_ref();
        Ok(reader.map(|reader| reader.frame(&piece, captured)))
    }

    fn interval(&self) -> Option<Duration> {
        self.cadence.interval()
    }

    fn describe(&self) -> String {
        format!("exec:{}{}", self.command, self.cadence.text())
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

    fn pipe(input: OwnedFd, options: &OpenOptions) -> Pipe {
        Pipe::new("standard input", None, input, options)
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
            let mut stdin = pipe(piped(want.concat(), piece), &fast(false));
            assert!(frames(&mut stdin, 99) == want, "pieces of {piece}");
            assert_eq!(stdin.position(), Some((40, None)));
        }
    }

    #[test]
    fn the_last_frame_without_its_end_is_lent_too() {
        let jpegs = jpegs(2);
        let cut = &jpegs[1][..jpegs[1].len() - 50];
        let stream = [&jpegs[0], cut].concat();
        let mut stdin = pipe(piped(stream, 999), &live());
        assert_eq!(frames(&mut stdin, 9), [&jpegs[0][..], cut]);
    }

    #[test]
    fn a_film_in_a_pipe_is_paced_and_a_burst_is_not() {
        let film: Vec<_> = jpegs(4).into_iter().cycle().take(1000).collect();
        let mut stdin = pipe(piped(film.concat(), 1 << 20), &live());
        let mut shown = 0;
        while stdin.interval().is_none() {
            assert_eq!(stdin.next().unwrap().unwrap().data, film[shown]);
            shown += 1;
        }
        assert_eq!(stdin.describe(), "standard input at 25 fps");
        let mut last = stdin.next().unwrap().unwrap().captured;
        for want in &film[shown + 1..][..5] {
            let frame = stdin.next().unwrap().unwrap();
            assert_eq!(frame.data, want);
            assert!(frame.captured.since(last) >= Duration::from_millis(40));
            last = frame.captured;
        }

        // As many as a pipe takes at once, of a camera that goes on.
        let film = &film[..30];
        let (input, output) = nix::unistd::pipe().unwrap();
        let mut output = File::from(output);
        output.write_all(&film.concat()).unwrap();
        let mut stdin = pipe(input, &live());
        assert_eq!(frames(&mut stdin, 30), film);
        output.write_all(&film[0]).unwrap();
        assert_eq!(stdin.next().unwrap().unwrap().data, film[0]);
        assert_eq!(stdin.describe(), "standard input");
    }

    #[test]
    fn a_named_pipe_waits_for_its_writer_and_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let want = jpegs(3);
        let write = |bytes: Vec<u8>| {
            let path = path.clone();
            thread::spawn(move || fs::write(path, bytes).unwrap())
        };
        // Nobody writes: opening does not wait, and waiting ends when it is stopped.
        let options = live();
        let mut silent = Pipe::fifo(&path, &options).unwrap();
        options.stop.raise();
        assert!(matches!(silent.next(), Err(SourceError::Stopped)));
        drop(silent);

        let mut once = Pipe::fifo(&path, &live()).unwrap();
        let writer = write(want.concat());
        assert_eq!(frames(&mut once, 9), want);
        writer.join().unwrap();

        let looped = OpenOptions {
            looped: true,
            ..live()
        };
        let mut looped = Pipe::fifo(&path, &looped).unwrap();
        for _ in 0..2 {
            let writer = write(want.concat());
            assert_eq!(frames(&mut looped, 3), want);
            writer.join().unwrap();
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
        let mut stdin = pipe(piped(stream, 1 << 20), &live());
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
        let mut stdin = pipe(piped(jpegs(4).concat(), 1 << 20), &options);
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
        let mut stdin = pipe(File::open(file.path()).unwrap().into(), &live());
        assert_eq!(stdin.describe(), "standard input at 25 fps");
        assert_eq!(frames(&mut stdin, 9), jpegs(2));
    }

    #[test]
    fn a_pipe_without_a_jpeg_is_told() {
        let mut stdin = pipe(piped(b"no jpeg".to_vec(), 9), &live());
        assert!(matches!(stdin.next(), Err(SourceError::Unusable(_))));
    }

    #[test]
    fn a_silent_pipe_is_left_when_stopped() {
        let (input, _writer) = nix::unistd::pipe().unwrap();
        let options = live();
        let mut stdin = pipe(input, &options);
        let waiter = thread::spawn(move || stdin.next().map(|_| ()));
        options.stop.raise();
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
        assert_eq!(error, "exec:true ended without a JPEG");
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
        let leader = exec.reader.as_ref().unwrap().child.as_ref().unwrap().id();
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
    fn a_silent_pipe_is_told_and_goes_on() {
        let want = jpegs(1);
        let (input, output) = nix::unistd::pipe().unwrap();
        let mut stdin = pipe(input, &live());
        let start = Mono::now();
        for seconds in [5, 6] {
            match stdin.next() {
                Err(SourceError::NoSignal(why)) => {
                    assert_eq!(
                        why,
                        format!("standard input has sent no picture for {seconds} s")
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(Mono::now().since(start) < Duration::from_secs(8));
        // What is no picture breaks no silence.
        let mut output = File::from(output);
        output.write_all(b"no jpeg").unwrap();
        assert!(matches!(stdin.next(), Err(SourceError::NoSignal(_))));
        output.write_all(&want[0]).unwrap();
        drop(output);
        assert_eq!(frames(&mut stdin, 9), want);
    }

    /// A frame a minute is no silence, once it is known.
    #[test]
    fn silence_is_measured_by_the_last_one() {
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        let mut silence = Silence::default();
        assert_eq!(silence.is_due(at(0)), None);
        assert_eq!(silence.is_due(at(4)), None);
        assert_eq!(silence.is_due(at(60)), Some(true));
        assert_eq!(silence.is_due(at(60)), None, "a second has not passed");
        assert_eq!(silence.is_due(at(61)), Some(false));
        assert_eq!(silence.ends(at(62)), Some(Duration::from_secs(62)));
        assert_eq!(silence.is_due(at(100)), None);
        assert_eq!(silence.is_due(at(100 + 3 * 62 - 1)), None);
        assert_eq!(silence.is_due(at(100 + 3 * 62)), Some(true));
    }

    #[test]
    fn a_command_whose_output_others_keep_has_ended() {
        let start = Mono::now();
        let mut exec = Exec::open("setsid sleep 60 & exit 3", &live()).unwrap();
        let error = exec.next().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(Mono::now().since(start) < Duration::from_secs(30));
    }

    #[test]
    fn a_command_that_closes_its_output_and_goes_on_is_ended() {
        let mut exec = Exec::open("exec >&-; sleep 1000", &live()).unwrap();
        let error = exec.next().unwrap_err().to_string();
        assert!(error.contains("signal: 15"), "{error}");
    }
}
