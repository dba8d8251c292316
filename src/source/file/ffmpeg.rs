//! Any other video, through an `ffmpeg` child: its JPEGs as they are if it has any, else encoded as
//! 4:2:0, because ffmpeg's own 4:2:2 is not RFC 2435's.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::index::CONTAINER_FPS;
use crate::jpeg::header::Header;
use crate::source::child::{self, NoAnswer};
use crate::source::frame::{DEFAULT_FPS, Frame, OpenOptions, Source, SourceError, fps_text};
use crate::source::pacer::Pacer;
use crate::source::pipe::{Piece, Reader};
use crate::source::stop::Stop;
use crate::text::counted;

/// How long ffprobe may look at a file: a slow disk, or one behind a network, takes seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// An ffmpeg that gives no frame for this long is restarted.
const HANGS: Duration = Duration::from_secs(20);

/// How the pictures in a container of JPEGs are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pictures {
    /// One JPEG each.
    Whole,
    /// Two JPEGs each, of every other line.
    Fields,
}

/// A video that ffmpeg reads for us.
pub(super) struct Transcoded {
    path: PathBuf,
    facts: Facts,
    options: OpenOptions,
    pacer: Pacer,
    reader: Reader,
    /// ffmpeg has ended.
    is_over: bool,
    frames: u64,
    last: Option<Piece>,
}

impl Transcoded {
    pub(super) fn open(
        path: &Path,
        pictures: Pictures,
        options: &OpenOptions,
    ) -> Result<Transcoded, SourceError> {
        let mut facts = probe(path, &options.stop)?;
        facts.pictures = pictures;
        let fps = options.fps.or(facts.fps()).unwrap_or(DEFAULT_FPS);
        let reader = start(path, &facts, options)?;
        Ok(Transcoded {
            path: path.to_owned(),
            facts,
            options: options.clone(),
            pacer: Pacer::new(fps, options.stop.clone()),
            reader,
            is_over: false,
            frames: 0,
            last: None,
        })
    }

    /// The next frame; `None` at the end of a video that does not loop.
    fn next_piece(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if self.is_over {
                // A picture: no child was restarted, and it is still in the buffer.
                return Ok(self.last.clone().filter(|_| self.options.looped));
            }
            if let Some(piece) = self.read()? {
                if self.frames == 0 && self.facts.is_field(self.reader.bytes(&piece)) {
                    self.facts.pictures = Pictures::Fields;
                    self.reader = start(&self.path, &self.facts, &self.options)?;
                    continue;
                }
                self.frames += 1;
                self.last = Some(piece.clone());
                return Ok(Some(piece));
            }
            self.finish()?;
            if !self.options.looped {
                self.last = None;
            } else if self.frames > 1 {
                self.reader = start(&self.path, &self.facts, &self.options)?;
                (self.is_over, self.frames) = (false, 0);
            }
        }
    }

    /// The next frame of this run. An ffmpeg that hangs has failed, unlike a command that the user
    /// wrote.
    fn read(&mut self) -> Result<Option<Piece>, SourceError> {
        match self.reader.next() {
            Err(SourceError::NoSignal(why)) if self.reader.silent_for() >= HANGS => {
                Err(SourceError::Failed(why))
            }
            result => result,
        }
    }

    /// Ends a child that has closed its output.
    fn finish(&mut self) -> Result<(), SourceError> {
        self.is_over = true;
        let (status, words) = self.reader.finish();
        let why = if words.is_empty() {
            "no reason was given"
        } else {
            &words
        };
        if self.frames == 0 {
            return Err(SourceError::unusable(
                &self.path,
                format_args!("gave ffmpeg no picture: {why}"),
            ));
        }
        if !status.is_some_and(|status| status.success()) {
            let (path, frames) = (self.path.display(), self.frames);
            return Err(SourceError::Failed(format!(
                "ffmpeg failed on {path} after {}: {why}",
                counted(frames, "frame")
            )));
        }
        Ok(())
    }
}

impl Source for Transcoded {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        // Read before it is due: the child has an interval's time for the next one.
        let Some(piece) = self.next_piece()? else {
            return Ok(None);
        };
        let captured = self.pacer.next()?;
        Ok(Some(self.reader.frame(&piece, captured)))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let (path, codec) = (self.path.display(), &self.facts.codec);
        let how = if self.facts.is_copied() {
            "read"
        } else {
            "transcoded"
        };
        format!(
            "{path} ({codec}, {how} by ffmpeg) at {} fps",
            fps_text(self.pacer.fps())
        )
    }

    fn position(&self) -> Option<(u64, Option<u64>)> {
        Some((self.frames, self.facts.frames))
    }
}

/// What ffprobe reports about the first video stream.
#[derive(Debug, PartialEq)]
struct Facts {
    codec: String,
    /// Frames a second as ffprobe writes it: `30000/1001`.
    rate: String,
    /// In pixels; 0: not reported.
    height: u32,
    frames: Option<u64>,
    pictures: Pictures,
}

impl Facts {
    /// Reads `key=value` lines; `None` if there is no video stream.
    fn parse(text: &str) -> Option<Facts> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(str::trim)
        };
        Some(Facts {
            codec: value("codec_name")?.to_owned(),
            rate: value("avg_frame_rate").unwrap_or_default().to_owned(),
            height: value("height").and_then(|n| n.parse().ok()).unwrap_or(0),
            frames: value("nb_frames").and_then(|n| n.parse().ok()),
            pictures: Pictures::Whole,
        })
    }

    fn fps(&self) -> Option<f64> {
        let (n, d) = self.rate.split_once('/')?;
        let fps = n.parse::<f64>().ok()? / d.parse::<f64>().ok()?;
        Some(fps).filter(|fps| CONTAINER_FPS.contains(fps))
    }

    /// Whether its JPEGs are taken as they are.
    fn is_copied(&self) -> bool {
        self.codec == "mjpeg" && self.pictures == Pictures::Whole
    }

    /// Whether a JPEG that was taken as it is holds only half the lines of a picture.
    fn is_field(&self, jpeg: &[u8]) -> bool {
        let half = |header: Header| (2 * u32::from(header.height)).abs_diff(self.height) <= 16;
        self.is_copied() && Header::parse(jpeg).is_ok_and(half)
    }
}

/// A path that ffmpeg takes for a file, whatever is in its name.
fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

fn probe(path: &Path, stop: &Stop) -> Result<Facts, SourceError> {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-select_streams", "v:0"])
        .args([
            "-show_entries",
            "stream=codec_name,height,avg_frame_rate,nb_frames",
        ])
        .args(["-of", "default=noprint_wrappers=1", "-i"])
        .arg(file_url(path));
    let answer = child::ask(&mut command, PROBE_LIMIT, stop).map_err(|e| no_answer(path, &e))?;
    let said = String::from_utf8_lossy(&answer.stderr);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty());
    if !answer.status.success() {
        let said = said.map_or("ffprobe gives no reason", |line| reason(line, path));
        return Err(SourceError::unusable(
            path,
            format_args!("is not a video that ffmpeg can read: {said}"),
        ));
    }
    let facts = Facts::parse(&String::from_utf8_lossy(&answer.output))
        .ok_or_else(|| SourceError::unusable(path, "has no video in it"))?;
    // ffmpeg renders text files as ANSI art.
    if facts.codec == "ansi" {
        return Err(SourceError::unusable(path, "is text, not a video"));
    }
    Ok(facts)
}

fn no_answer(path: &Path, why: &NoAnswer) -> SourceError {
    let what = match why {
        NoAnswer::NotStarted(e) => return not_started(path, e),
        NoAnswer::Stopped => return SourceError::Stopped,
        NoAnswer::TooSlow => format!("gave no answer within {} s", PROBE_LIMIT.as_secs()),
        NoAnswer::TooLong => "does not stop writing".to_owned(),
    };
    SourceError::Failed(format!("ffprobe {what} about {}", path.display()))
}

/// A line of ffmpeg's without its prefixes and the file's name, which we add ourselves.
fn reason<'a>(line: &'a str, path: &Path) -> &'a str {
    let line = match line.split_once("] ") {
        Some((who, what)) if who.starts_with('[') => what,
        _ => line,
    };
    line.strip_prefix(&format!("file:{}: ", path.display()))
        .unwrap_or(line)
}

pub(super) fn not_started(path: &Path, e: &std::io::Error) -> SourceError {
    if e.kind() == ErrorKind::NotFound {
        return SourceError::unusable(
            path,
            "is neither MJPEG, AVI nor MOV with MJPEG: ffmpeg is needed for it and is not \
             installed (apt install ffmpeg)",
        );
    }
    SourceError::unusable(
        path,
        format_args!("needs ffmpeg, which cannot be started: {e}"),
    )
}

fn start(path: &Path, facts: &Facts, options: &OpenOptions) -> Result<Reader, SourceError> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file_url(path));
    command.args(["-map", "0:v:0"]);
    if facts.is_copied() {
        command.args(["-c:v", "copy"]);
    } else {
        // The standard Huffman tables and one quantisation table pair: all that RFC 2435 can carry.
        command.args([
            "-c:v", "mjpeg", "-huffman", "default", "-pix_fmt", "yuvj420p", "-q:v", "3",
        ]);
        if facts.fps().is_some() {
            // A constant rate: the one that the frames are paced by.
            command.args(["-r", &facts.rate]);
        }
    }
    command.args(["-f", "mjpeg", "pipe:1"]);
    Reader::of(command, &format!("ffmpeg ({})", path.display()), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_laid_bare() {
        let path = Path::new("/a b");
        assert_eq!(
            reason("[mov,mp4 @ 0x55] moov atom not found", path),
            "moov atom not found"
        );
        assert_eq!(reason("file:/a b: Invalid data", path), "Invalid data");
        assert_eq!(reason("Out of memory", path), "Out of memory");
    }

    #[test]
    fn facts_are_read() {
        let facts =
            Facts::parse("codec_name=h264\navg_frame_rate=30000/1001\nnb_frames=N/A\n").unwrap();
        assert_eq!((facts.codec.as_str(), facts.frames), ("h264", None));
        assert!((facts.fps().unwrap() - 29.97).abs() < 0.001);
        assert_eq!(Facts::parse(""), None);
        let still = Facts::parse("codec_name=png\navg_frame_rate=0/0").unwrap();
        assert_eq!(still.fps(), None);
    }
}
