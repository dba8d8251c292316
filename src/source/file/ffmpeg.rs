//! Any other video, by an `ffmpeg` child: its JPEGs as they are where it holds such, else encoded as
//! 4:2:0, because ffmpeg's own 4:2:2 is not RFC 2435's.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::unusable;
use crate::source::child::Child;
use crate::source::pacer::Pacer;
use crate::source::pipe::{Piece, Reader};
use crate::source::{DEFAULT_FPS, FPS_RANGE, Frame, OpenOptions, Source, SourceError, fps_text};

/// A video that ffmpeg reads for us.
pub(super) struct Transcoded {
    path: PathBuf,
    facts: Facts,
    options: OpenOptions,
    pacer: Pacer,
    reader: Reader,
    /// `None` after its end.
    child: Option<Child>,
    frames: u64,
    last: Option<Piece>,
}

impl Transcoded {
    pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Transcoded, SourceError> {
        let facts = probe(path)?;
        let fps = options.fps.or(facts.fps()).unwrap_or(DEFAULT_FPS);
        let (child, reader) = start(path, &facts, options)?;
        Ok(Transcoded {
            path: path.to_owned(),
            facts,
            options: options.clone(),
            pacer: Pacer::new(fps, options.stop.clone()),
            reader,
            child: Some(child),
            frames: 0,
            last: None,
        })
    }

    /// The next frame; `None` at the end of a video that does not loop.
    fn next_piece(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if self.child.is_none() {
                // A picture: no child was started again, and it still lies in the buffer.
                return Ok(self.last.clone().filter(|_| self.options.looped));
            }
            if let Some(piece) = self.reader.next()? {
                self.frames += 1;
                self.last = Some(piece.clone());
                return Ok(Some(piece));
            }
            self.finish()?;
            if !self.options.looped {
                self.last = None;
            } else if self.frames > 1 {
                let (child, reader) = start(&self.path, &self.facts, &self.options)?;
                (self.child, self.reader, self.frames) = (Some(child), reader, 0);
            }
        }
    }

    /// Takes leave of a child that closed its output.
    fn finish(&mut self) -> Result<(), SourceError> {
        let Some(child) = self.child.take() else {
            return Ok(());
        };
        let (status, words) = child.finish();
        let why = if words.is_empty() {
            "no reason was given"
        } else {
            &words
        };
        if self.frames == 0 {
            return Err(unusable(
                &self.path,
                format_args!("gave ffmpeg no picture: {why}"),
            ));
        }
        if !status.is_some_and(|status| status.success()) {
            let (path, frames) = (self.path.display(), self.frames);
            return Err(SourceError::Failed(format!(
                "ffmpeg failed on {path} after {frames} frames: {why}"
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
        Ok(Some(Frame {
            data: self.reader.bytes(&piece),
            captured,
            missed: piece.missed,
            flagged: false,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.pacer.interval())
    }

    fn describe(&self) -> String {
        let (path, codec) = (self.path.display(), &self.facts.codec);
        let how = if self.facts.is_jpeg() {
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

/// What ffprobe tells about the first video stream.
#[derive(Debug, PartialEq)]
struct Facts {
    codec: String,
    /// Frames a second as ffprobe writes it: `30000/1001`.
    rate: String,
    frames: Option<u64>,
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
            frames: value("nb_frames").and_then(|n| n.parse().ok()),
        })
    }

    fn fps(&self) -> Option<f64> {
        let (n, d) = self.rate.split_once('/')?;
        let fps = n.parse::<f64>().ok()? / d.parse::<f64>().ok()?;
        Some(fps).filter(|fps| FPS_RANGE.contains(fps))
    }

    fn is_jpeg(&self) -> bool {
        self.codec == "mjpeg"
    }
}

/// A path that ffmpeg takes for a file, whatever is in its name.
fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

fn probe(path: &Path) -> Result<Facts, SourceError> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0"])
        .args([
            "-show_entries",
            "stream=codec_name,avg_frame_rate,nb_frames",
        ])
        .args(["-of", "default=noprint_wrappers=1", "-i"])
        .arg(file_url(path))
        .output()
        .map_err(|e| not_started(path, &e))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty());
    if !output.status.success() {
        let said = said.map_or("ffprobe gives no reason", |line| reason(line, path));
        return Err(unusable(
            path,
            format_args!("is no video that can be read: {said}"),
        ));
    }
    let facts = Facts::parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| unusable(path, "has no video in it"))?;
    // ffmpeg draws text files as if they were for a terminal of old.
    if facts.codec == "ansi" {
        return Err(unusable(path, "is text, not a video"));
    }
    Ok(facts)
}

/// What a line of ffmpeg's says, without who says it and about which file: that we say ourselves.
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
        return unusable(
            path,
            "is neither MJPEG, AVI nor MOV with MJPEG: ffmpeg is needed for it and is not \
             installed (apt install ffmpeg)",
        );
    }
    unusable(
        path,
        format_args!("needs ffmpeg, which cannot be started: {e}"),
    )
}

fn start(
    path: &Path,
    facts: &Facts,
    options: &OpenOptions,
) -> Result<(Child, Reader), SourceError> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file_url(path));
    command.args(["-map", "0:v:0"]);
    if facts.is_jpeg() {
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
    let (child, output) = Child::start(command, &options.name)?;
    Ok((child, Reader::new(output, options.stop.clone())))
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
