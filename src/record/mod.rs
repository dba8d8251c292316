//! Recording without re-encoding: each frame's JPEG goes to a file as it came. AVI (RIFF AVI 1.0,
//! with OpenDML 1.02 indexes past the first gigabyte), concatenated MJPEG, or MJPEG on standard
//! output; and single pictures. No thread of its own: the caller waits for the disk.

mod avi;
mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::Mono;
use crate::files;
use avi::AviWriter;
use common::{BUFFER, FLUSH, Rate, WriteError};

pub use common::Recorded;

/// Files of one recording at most: a new one is begun when the size of the pictures changes, …
const MAX_FILES: u32 = 100;
/// … but not sooner than this after the last.
const FILE_LASTS: Duration = Duration::from_secs(10);
/// Names that are tried, `NAME.avi` to `NAME-999.avi`.
const MAX_NAMES: u32 = 999;

/// Why a recording or a picture could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file's name does not say which format is meant.
    #[error(
        "cannot record to {}: the name must end in .avi (plays everywhere), .mjpeg or .mjpg (bare JPEGs), or be - (MJPEG on standard output)",
        .0.display()
    )]
    Extension(PathBuf),
    /// An AVI's headers are completed at its end, which a pipe or device cannot do.
    #[error("cannot record AVI to {}: it is not a regular file; record .mjpeg there", .0.display())]
    NotSeekable(PathBuf),
    /// Creating or writing failed.
    #[error("cannot write {}: {cause}{}", .path.display(), advice(.cause))]
    Io {
        /// The file; `-` for standard output.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// One AVI file has no room left in its index.
    #[error("{} is as long as one AVI file can be: start another recording", .0.display())]
    Full(PathBuf),
    /// A frame does not fit the file format.
    #[error("cannot record a frame of {bytes} bytes and {width}x{height} pixels as AVI")]
    Frame {
        /// Length of the JPEG.
        bytes: usize,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

impl RecordError {
    /// Whether the reader of a pipe went away: the normal end of `lancam view --record - | player`.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, RecordError::Io { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; what was recorded so far is kept",
        io::ErrorKind::NotFound => "; does its folder exist?",
        io::ErrorKind::AlreadyExists => {
            "; so do all numbered names: remove some, or choose another name"
        }
        io::ErrorKind::BrokenPipe => "; the program that read it has ended",
        _ => "",
    }
}

/// A recording in progress. Dropped unfinished, it completes its file as far as it can.
#[derive(Debug)]
pub struct Recorder {
    /// As requested, and the current file.
    wanted: PathBuf,
    path: PathBuf,
    fps_hint: f64,
    sink: Sink,
    /// Of the files finished before the current one.
    before: Recorded,
    files: u32,
    begun: Instant,
    file_lasts: Duration,
    left_out: u64,
}

#[derive(Debug)]
enum Sink {
    /// The file is open, no frame has come.
    AviToBe(File),
    Avi(AviWriter),
    Mjpeg(Mjpeg<File>),
    Stdout(Mjpeg<Stdout>),
    /// Finished, or given up.
    Done,
}

impl Recorder {
    /// Creates the file that `path` names and chooses the format by its extension. An existing file
    /// is never overwritten: `NAME-2.avi` is used then, or the next free name. `fps_hint` is the
    /// frame rate to state until it can be measured.
    pub fn create(path: &Path, fps_hint: f64) -> Result<Recorder, RecordError> {
        let (sink, present) = if path == Path::new("-") {
            let pipe = Mjpeg::new(io::stdout(), Duration::ZERO);
            (Sink::Stdout(pipe), path.to_owned())
        } else {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            match extension.to_ascii_lowercase().as_str() {
                "avi" => {
                    let (file, present) = create_regular(path)?;
                    (Sink::AviToBe(file), present)
                }
                "mjpeg" | "mjpg" => {
                    let (file, present) = create(path)?;
                    (Sink::Mjpeg(Mjpeg::new(file, FLUSH)), present)
                }
                _ => return Err(RecordError::Extension(path.to_owned())),
            }
        };
        Ok(Recorder {
            wanted: path.to_owned(),
            path: present,
            fps_hint: if (0.01..=1000.0).contains(&fps_hint) {
                fps_hint
            } else {
                30.0
            },
            sink,
            before: Recorded::default(),
            files: 1,
            begun: Instant::now(),
            file_lasts: FILE_LASTS,
            left_out: 0,
        })
    }

    /// The file being written; not the requested name if that was taken.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Frames left out because their size changed too often.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Appends one frame of `width` x `height` pixels. `captured` is counted from any fixed start:
    /// the capture time if the stream has it, else the time of arrival. In an AVI a change of size
    /// starts another file, `NAME-2.avi`, at most every ten seconds and a hundred times; otherwise
    /// frames of another size are left out.
    pub fn write(
        &mut self,
        jpeg: &[u8],
        width: u32,
        height: u32,
        captured: Mono,
    ) -> Result<(), RecordError> {
        if matches!(&self.sink, Sink::Avi(avi) if avi.size() != (width, height)) {
            if self.files == MAX_FILES || self.begun.elapsed() < self.file_lasts {
                self.left_out += 1;
                return Ok(());
            }
            self.next_file()?;
        }
        if let Sink::AviToBe(_) = &self.sink {
            self.start_avi(width, height)?;
        }
        let written = match &mut self.sink {
            Sink::Avi(avi) => avi.write(jpeg, captured),
            Sink::Mjpeg(file) => file.write(jpeg, captured),
            Sink::Stdout(pipe) => pipe.write(jpeg, captured),
            Sink::AviToBe(_) | Sink::Done => Ok(()),
        };
        written.map_err(|failed| self.error(failed, jpeg.len(), width, height))
    }

    /// Completes the file: index, sizes, measured frame rate. An AVI without a frame is removed.
    pub fn finish(mut self) -> Result<Recorded, RecordError> {
        self.complete()
    }

    fn start_avi(&mut self, width: u32, height: u32) -> Result<(), RecordError> {
        if width == 0 || height == 0 || width > 0xffff || height > 0xffff {
            return Err(RecordError::Frame {
                bytes: 0,
                width,
                height,
            });
        }
        if let Sink::AviToBe(file) = std::mem::replace(&mut self.sink, Sink::Done) {
            let avi = AviWriter::new(file, (width, height), self.fps_hint);
            self.sink = Sink::Avi(avi.map_err(|cause| self.io(cause))?);
        }
        Ok(())
    }

    fn next_file(&mut self) -> Result<(), RecordError> {
        self.before = self.complete()?;
        self.files += 1;
        self.begun = Instant::now();
        let (file, path) = create_regular(&self.wanted)?;
        (self.sink, self.path) = (Sink::AviToBe(file), path);
        Ok(())
    }

    fn complete(&mut self) -> Result<Recorded, RecordError> {
        let finished = match std::mem::replace(&mut self.sink, Sink::Done) {
            Sink::AviToBe(_) => fs::remove_file(&self.path).map(|()| Recorded::default()),
            Sink::Avi(avi) => avi.finish(),
            Sink::Mjpeg(file) => file.finish(),
            Sink::Stdout(pipe) => pipe.finish(),
            Sink::Done => Ok(Recorded::default()),
        };
        let finished = finished.map_err(|cause| self.io(cause))?;
        Ok(Recorded {
            frames: self.before.frames + finished.frames,
            bytes: self.before.bytes + finished.bytes,
            fps: if finished.fps > 0.0 {
                finished.fps
            } else {
                self.fps_hint
            },
        })
    }

    fn io(&self, cause: io::Error) -> RecordError {
        RecordError::Io {
            path: self.path.clone(),
            cause,
        }
    }

    fn error(&self, failed: WriteError, bytes: usize, width: u32, height: u32) -> RecordError {
        match failed {
            WriteError::Io(cause) => self.io(cause),
            WriteError::Full => RecordError::Full(self.path.clone()),
            WriteError::Frame => RecordError::Frame {
                bytes,
                width,
                height,
            },
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Best effort: callers who need the result call `finish`.
        drop(self.complete());
    }
}

/// Concatenated JPEGs.
#[derive(Debug)]
struct Mjpeg<W: Write> {
    out: BufWriter<W>,
    flush_every: Duration,
    flushed: Mono,
    bytes: u64,
    rate: Rate,
}

impl<W: Write> Mjpeg<W> {
    fn new(out: W, flush_every: Duration) -> Mjpeg<W> {
        Mjpeg {
            out: BufWriter::with_capacity(BUFFER, out),
            flush_every,
            flushed: Mono::default(),
            bytes: 0,
            rate: Rate::default(),
        }
    }

    fn write(&mut self, jpeg: &[u8], captured: Mono) -> Result<(), WriteError> {
        self.out.write_all(jpeg)?;
        self.bytes += jpeg.len() as u64;
        self.rate.add(captured);
        if captured.since(self.flushed) >= self.flush_every {
            self.out.flush()?;
            self.flushed = captured;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Recorded> {
        let flushed = self.out.flush();
        // Its drop must not flush again: after an error that would only fail once more.
        drop(self.out.into_parts());
        flushed?;
        Ok(Recorded {
            frames: self.rate.frames,
            bytes: self.bytes,
            fps: self.rate.interval().map_or(0.0, |i| 1.0 / i.as_secs_f64()),
        })
    }
}

/// Writes one picture to `path` atomically: the file is complete or not there. An existing one is
/// replaced.
pub fn snapshot(path: &Path, jpeg: &[u8]) -> Result<(), RecordError> {
    files::replace(path, jpeg).map_err(|cause| RecordError::Io {
        path: path.to_owned(),
        cause,
    })
}

/// Writes one picture to `folder` as `NAME-YYYYmmdd-HHMMSS-mmm.jpg`, in local time; never
/// overwrites a file. Returns its path.
pub fn save_picture(folder: &Path, name: &str, jpeg: &[u8]) -> Result<PathBuf, RecordError> {
    let stamp = chrono::Local::now().format("%Y%m%d-%H%M%S-%3f");
    let wanted = folder.join(format!("{}-{stamp}.jpg", file_name_of(name)));
    let (mut file, path) = create_free(&wanted)?;
    match file.write_all(jpeg) {
        Ok(()) => Ok(path),
        Err(cause) => {
            drop(fs::remove_file(&path));
            Err(RecordError::Io { path, cause })
        }
    }
}

/// A stream's name as part of a file name. It may come from the network: it must not lead to
/// another folder or hide the file.
fn file_name_of(name: &str) -> String {
    let clean = name.chars().take(64).map(|c| match c {
        c if c.is_alphanumeric() => c,
        '-' | '_' => c,
        _ => '_',
    });
    let clean: String = clean.collect();
    if clean.is_empty() {
        "lancam".to_owned()
    } else {
        clean
    }
}

/// Opens a pipe or device; else creates a file, with this name or the next free one.
fn create(path: &Path) -> Result<(File, PathBuf), RecordError> {
    let special = files::open_special(path).map_err(|cause| RecordError::Io {
        path: path.to_owned(),
        cause,
    })?;
    match special {
        Some(file) => Ok((file, path.to_owned())),
        None => create_free(path),
    }
}

/// Creates a file with this name or, if it exists, the next free `NAME-2.avi`.
fn create_free(path: &Path) -> Result<(File, PathBuf), RecordError> {
    for n in 1..=MAX_NAMES {
        let path = numbered(path, n);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(RecordError::Io { path, cause }),
        }
    }
    Err(RecordError::Io {
        path: path.to_owned(),
        cause: io::ErrorKind::AlreadyExists.into(),
    })
}

/// `NAME.avi`, `NAME-2.avi` and so on.
fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{n}."));
    name.push(path.extension().unwrap_or_default());
    path.with_file_name(name)
}

fn create_regular(path: &Path) -> Result<(File, PathBuf), RecordError> {
    // Checked before opening: opening a pipe for writing waits for its reader.
    if fs::metadata(path).is_ok_and(|facts| !facts.is_file() && !facts.is_dir()) {
        return Err(RecordError::NotSeekable(path.to_owned()));
    }
    create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::{have, skip};
    use std::process::{Command, Stdio};

    /// Programs that play recordings here.
    pub(super) const PLAYERS: [&str; 2] = ["ffmpeg", "gst-launch-1.0"];

    /// Different pictures, of even and odd lengths.
    pub(super) fn jpegs(width: usize, height: usize, count: usize) -> Vec<Vec<u8>> {
        let picture = |n: usize| {
            let byte = |i: usize| ((i % width) * 3 + (i / width / 3) * 5 + n * 17) as u8;
            let pixels: Vec<u8> = (0..width * height * 3).map(byte).collect();
            let image = turbojpeg::Image {
                pixels: &pixels[..],
                width,
                pitch: width * 3,
                height,
                format: turbojpeg::PixelFormat::RGB,
            };
            turbojpeg::compress(image, 60 + (n % 40) as i32, turbojpeg::Subsamp::Sub2x1)
                .expect("compressed")
                .to_vec()
        };
        let jpegs: Vec<Vec<u8>> = (0..count).map(picture).collect();
        assert!(jpegs.iter().any(|j| j.len() % 2 == 1) && jpegs.iter().any(|j| j.len() % 2 == 0));
        jpegs
    }

    fn stdout_of(command: &mut Command) -> Vec<u8> {
        let output = command.output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        output.stdout
    }

    pub(super) fn copied_by_ffmpeg(path: &Path) -> Vec<u8> {
        stdout_of(
            Command::new("ffmpeg")
                .args(["-v", "error", "-i"])
                .arg(path)
                .args(["-c", "copy", "-f", "mjpeg", "-"]),
        )
    }

    pub(super) fn copied_by_gstreamer(path: &Path) -> Vec<u8> {
        let copy = path.with_extension("copy");
        stdout_of(
            Command::new("gst-launch-1.0")
                .args(["-q", "filesrc"])
                .arg(format!("location={}", path.display()))
                .args(["!", "avidemux", "!", "image/jpeg", "!", "filesink"])
                .arg(format!("location={}", copy.display())),
        );
        fs::read(copy).expect("copied")
    }

    /// Frames, frame rate as a fraction, and duration in seconds, as ffprobe sees them.
    pub(super) fn probe(path: &Path) -> (u64, String, f64) {
        let said = stdout_of(
            Command::new("ffprobe")
                .args(["-v", "error", "-count_packets", "-of", "default=nw=1:nk=1"])
                .args([
                    "-show_entries",
                    "stream=r_frame_rate,duration,nb_read_packets",
                ])
                .arg(path),
        );
        let said = String::from_utf8(said).expect("text");
        let mut lines = said.lines();
        let mut next = || lines.next().expect("a value").to_owned();
        let (rate, duration, count) = (next(), next(), next());
        (
            count.parse().expect("a count"),
            rate,
            duration.parse().expect("a duration"),
        )
    }

    fn record(path: &Path, jpegs: &[Vec<u8>], interval: Duration) -> Recorder {
        let mut recorder = Recorder::create(path, 30.0).expect("created");
        let mut at = Mono(5_000_000_000);
        for jpeg in jpegs {
            recorder.write(jpeg, 320, 240, at).expect("written");
            at = at + interval;
        }
        recorder
    }

    #[test]
    fn an_avi_is_read_by_other_programs_frame_for_frame() {
        if !have("recordings", &PLAYERS) {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let jpegs = jpegs(320, 240, 90);
        // Near the hint: the hint; else the measured rate.
        for (micros, rate, seconds) in [(33_340, "30/1", 3.0), (66_666, "500000/33333", 6.0)] {
            let recorder = record(
                &folder.path().join("porch.AVI"),
                &jpegs,
                Duration::from_micros(micros),
            );
            let path = recorder.path().to_owned();
            let recorded = recorder.finish().expect("finished");
            assert_eq!(recorded.frames, 90);
            let (count, probed, duration) = probe(&path);
            assert_eq!((count, probed.as_str()), (90, rate));
            assert!((duration - seconds).abs() < 0.01, "{duration}");
            assert!(copied_by_ffmpeg(&path) == jpegs.concat());
            assert!(copied_by_gstreamer(&path) == jpegs.concat());
        }
    }

    #[test]
    fn a_killed_recording_still_plays() {
        if !have("recordings", &PLAYERS) {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let jpegs = jpegs(320, 240, 170);
        let path = folder.path().join("alive.avi");
        let recorder = record(&path, &jpegs, Duration::from_micros(33_333));
        // What a killed program leaves behind: the file as it is now, without the writer's buffer.
        let killed = folder.path().join("killed.avi");
        fs::copy(&path, &killed).expect("copied");
        drop(recorder);
        let (count, rate, _) = probe(&killed);
        // All but the last two seconds.
        assert!(count >= 110, "{count}");
        assert_eq!(rate, "30/1");
        for copied in [copied_by_ffmpeg(&killed), copied_by_gstreamer(&killed)] {
            assert!(jpegs.concat().starts_with(&copied));
            assert!(copied.len() >= jpegs[..110].concat().len());
        }
        // Dropping it completed the file nevertheless.
        assert_eq!(probe(&path).0, 170);
    }

    #[test]
    fn a_pause_does_not_slow_the_rest_down() {
        let mut rate = Rate::default();
        let mut at = Mono(0);
        for n in 0..101 {
            rate.add(at);
            at = at
                + if n == 50 {
                    Duration::from_secs(600)
                } else {
                    Duration::from_millis(40)
                };
        }
        assert_eq!(rate.interval(), Some(Duration::from_millis(40)));
        // A slow stream is not one long pause.
        let mut slow = Rate::default();
        for n in 0..10 {
            slow.add(Mono(n * 10_000_000_000));
        }
        assert_eq!(slow.interval(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn another_size_goes_to_another_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("porch.avi");
        // The user's own file.
        fs::write(folder.path().join("porch-2.avi"), "holidays").expect("written");
        let mut recorder = Recorder::create(&path, 30.0).expect("created");
        recorder.file_lasts = Duration::ZERO;
        for (n, side) in [(0, 320), (1, 320), (2, 640), (3, 320)] {
            recorder
                .write(b"\xff\xd8\xff\xd9", side, side, Mono(n))
                .expect("written");
        }
        assert_eq!(recorder.finish().expect("finished").frames, 4);
        for name in ["porch.avi", "porch-3.avi", "porch-4.avi"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        let own = fs::read(folder.path().join("porch-2.avi")).expect("there");
        assert_eq!(own, b"holidays");
        // The requested one is not overwritten either.
        let again = Recorder::create(&path, 30.0).expect("created");
        assert_eq!(again.path(), folder.path().join("porch-5.avi"));
        let bare = folder.path().join("porch.mjpeg");
        fs::write(&bare, "holidays").expect("written");
        let again = Recorder::create(&bare, 30.0).expect("created");
        assert_eq!(again.path(), folder.path().join("porch-2.mjpeg"));
    }

    #[test]
    fn sizes_that_change_all_the_time_make_few_files() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("porch.avi");
        let write = |recorder: &mut Recorder, n: u64| {
            let side = [320, 640][n as usize % 2];
            recorder
                .write(b"\xff\xd8\xff\xd9", side, side, Mono(n))
                .expect("written");
        };
        let mut recorder = Recorder::create(&path, 30.0).expect("created");
        (0..100).for_each(|n| write(&mut recorder, n));
        assert_eq!(recorder.left_out(), 50);
        assert_eq!(recorder.finish().expect("finished").frames, 50);
        let mut recorder = Recorder::create(&path, 30.0).expect("created");
        recorder.file_lasts = Duration::ZERO;
        (0..300).for_each(|n| write(&mut recorder, n));
        assert_eq!(recorder.left_out(), 100);
        drop(recorder);
        // And the one of the first recording.
        let files = fs::read_dir(&folder).expect("there").count();
        assert_eq!(files, MAX_FILES as usize + 1);
    }

    #[test]
    fn mjpeg_is_the_frames_one_after_another() {
        let folder = tempfile::tempdir().expect("folder");
        let jpegs = jpegs(320, 240, 20);
        let path = folder.path().join("porch.mjpg");
        let recorded = record(&path, &jpegs, Duration::from_millis(40))
            .finish()
            .expect("finished");
        assert_eq!((recorded.frames, recorded.fps), (20, 25.0));
        assert!(fs::read(&path).expect("there") == jpegs.concat());
    }

    #[test]
    fn mistakes_are_explained() {
        let folder = tempfile::tempdir().expect("folder");
        let said = |name: &str| {
            let failed = Recorder::create(&folder.path().join(name), 30.0);
            failed.expect_err("refused").to_string()
        };
        assert!(said("porch.mp4").contains(".avi"), "{}", said("porch.mp4"));
        assert!(said("porch").contains(".mjpeg"));
        let pipe = folder.path().join("pipe.mjpeg");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(said("pipe.mjpeg").contains("a pipe that nobody reads"));
        fs::remove_file(&pipe).expect("there");
        assert!(said("no/such/folder.avi").contains("does its folder exist?"));
        let device = Recorder::create(Path::new("/dev/null"), 30.0);
        assert!(matches!(device, Err(RecordError::Extension(_))));
        // Nothing was left behind.
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 0);
        // Nothing recorded, no file left.
        let empty = folder.path().join("empty.avi");
        assert_eq!(
            Recorder::create(&empty, 30.0)
                .expect("created")
                .finish()
                .expect("ok")
                .frames,
            0
        );
        assert!(!empty.exists());
    }

    #[test]
    fn a_full_disk_is_an_error_and_keeps_what_was_recorded() {
        if !have("a full disk", &PLAYERS) {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            skip("a full disk", "only root can mount a small one");
            return;
        }
        let jpegs = jpegs(320, 240, 100);
        let path = folder.path().join("porch.avi");
        let mut recorder = Recorder::create(&path, 30.0).expect("created");
        let failed = (0..100).find_map(|n| {
            recorder
                .write(&jpegs[n % 100], 320, 240, Mono(n as u64 * 33_333_333))
                .err()
        });
        let finished = recorder.finish();
        let (count, copied) = (probe(&path).0, copied_by_ffmpeg(&path));
        let unmounted = Command::new("umount").arg(folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
        let failed = failed.expect("100 frames do not fit").to_string();
        assert!(failed.contains("No space left"), "{failed}");
        let recorded = finished.expect("what was there is completed");
        assert!(recorded.frames > 20, "{recorded:?}");
        assert_eq!(count, recorded.frames);
        assert!(copied == jpegs[..count as usize].concat());
    }

    #[test]
    fn snapshots_are_whole_and_replace_what_was_there() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("now.jpg");
        snapshot(&path, b"first").expect("written");
        snapshot(&path, b"second").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
        let lost = snapshot(&folder.path().join("no/now.jpg"), b"x").expect_err("no folder");
        assert!(lost.to_string().contains("no/now.jpg"), "{lost}");
    }

    #[test]
    fn saved_pictures_never_overwrite_and_stay_in_their_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let mut paths = Vec::new();
        for n in 0..20u8 {
            let name = "../../etc/\0evil name";
            paths.push(save_picture(folder.path(), name, &[n]).expect("saved"));
        }
        for (n, path) in paths.iter().enumerate() {
            assert_eq!(path.parent(), Some(folder.path()));
            assert_eq!(fs::read(path).expect("there"), [n as u8]);
        }
        let name = paths[0]
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let stamp = name
            .strip_prefix("______etc__evil_name-")
            .expect("the stream's name");
        let digits: Vec<usize> = stamp
            .trim_end_matches(".jpg")
            .split('-')
            .map(str::len)
            .collect();
        assert_eq!(digits, [8, 6, 3], "{name}");
        assert_eq!(file_name_of(""), "lancam");
    }
}
