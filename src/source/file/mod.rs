//! Video and picture files. A file's bytes decide how it is read, not its name:
//!
//! | bytes | how it is read |
//! |---|---|
//! | one JPEG, or JPEGs one after the other | mapped and lent |
//! | AVI or MOV/MP4 that holds JPEGs | mapped and lent from where they are |
//! | anything else | by an `ffmpeg` child process |
//!
//! A name with a number in it (`shot-%04d.jpg`) stands for a numbered series of JPEGs; a named pipe
//! is read as standard input is.
//!
//! A file that is replaced (by rename) or truncated, and a single picture that is written to, is
//! read again at the next frame; a film that grows, when it starts over. Nothing that happens to a
//! file ends the process.

mod avi;
mod ffmpeg;
mod index;
mod mapped;
mod mov;
mod recognise;
mod search;
mod series;

use std::fs::{self, FileType};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use self::ffmpeg::{Pictures, Transcoded};
use self::index::{Span, Step};
use self::mapped::{Film, Mapped, Opened};
use self::recognise::{Container, recognise};
use super::frame::{OpenOptions, Source, SourceError};
use super::pipe;
use super::spec::SpecError;
use crate::text::without_codes;

/// Opens a file, a named pipe or a numbered series.
///
/// # Errors
/// [`SourceError::Unusable`]: no such file, no video, or `ffmpeg` is needed and not installed.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let kind = match fs::metadata(path) {
        Ok(facts) => facts.file_type(),
        Err(e) if e.kind() == ErrorKind::NotFound => return open_series(path, options),
        Err(e) => {
            return Err(SourceError::unusable(
                path,
                format_args!("cannot be opened: {}", without_codes(&e)),
            ));
        }
    };
    if kind.is_fifo() {
        return Ok(Box::new(pipe::Pipe::fifo(path, options)?));
    }
    if !kind.is_file() {
        return Err(SourceError::unusable(path, what_it_is(kind)));
    }
    match Film::open(path)? {
        Opened::Film(film) => Ok(Box::new(Mapped::new(path, film, options))),
        Opened::Foreign => Ok(Box::new(Transcoded::open(path, Pictures::Whole, options)?)),
        Opened::Fields(film) => match Transcoded::open(path, Pictures::Fields, options) {
            Ok(source) => Ok(Box::new(source)),
            Err(error) => {
                let path_text = path.display();
                tracing::warn!(
                    "{path_text}: each picture is two fields; only one is sent, half as high, since ffmpeg cannot join them: {error}"
                );
                Ok(Box::new(Mapped::new(path, film, options)))
            }
        },
    }
}

/// Where the frames of a file with these bytes are; none if it is for ffmpeg. For fuzzing.
#[doc(hidden)]
pub fn frame_ranges(bytes: &[u8]) -> Vec<Range<usize>> {
    let (Container::Frames(mut frames) | Container::Fields(mut frames)) = recognise(bytes) else {
        return Vec::new();
    };
    loop {
        match frames.search.step(bytes) {
            Step::Found(span) => frames.spans.push(span),
            Step::Pending => {}
            Step::End => break,
        }
    }
    let range = |span: &Span| span.offset..span.offset + span.len as usize;
    frames.spans.iter().map(range).collect()
}

fn what_it_is(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "is a folder: name a file in it, or a numbered series such as shot-%04d.jpg"
    } else if kind.is_char_device() {
        "is a device, not a file: a camera is Camera(...) in a configuration, standard input is -"
    } else if kind.is_socket() {
        "is a socket: read it with a command, as in 'exec:socat -u UNIX-CONNECT:PATH -'"
    } else {
        "is not a file that can be read: give a video, a picture or a named pipe"
    }
}

/// A path that does not exist: perhaps it names a series.
fn open_series(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    if let Some(name) = series::Numbered::parse(path) {
        return Ok(Box::new(series::Series::open(name, options)?));
    }
    let text = path.to_string_lossy();
    if let Some(advice) = SpecError::of_address(&text) {
        return Err(SourceError::Unusable(advice.to_string()));
    }
    let what = if text.contains(['*', '?', '%']) {
        "does not exist. A series of pictures is written with the number's place: shot-%04d.jpg"
    } else {
        "does not exist"
    };
    Err(SourceError::unusable(path, what))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::jpeg::split::next_jpeg;
    use crate::source::test_video::{self, AviIndex, avi, fast, frames, jpegs, mov};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn split(stream: &[u8]) -> Vec<Vec<u8>> {
        let mut at = 0;
        let next = || {
            let range = next_jpeg(stream, at)?;
            at = range.end;
            Some(stream[range].to_vec())
        };
        std::iter::from_fn(next).collect()
    }

    fn why(path: &Path) -> String {
        let error = match open(path, &fast(false)) {
            Err(error) => error,
            Ok(mut source) => source.next().unwrap_err(),
        };
        assert!(matches!(error, SourceError::Unusable(_)), "{error}");
        error.to_string().replace(&path.display().to_string(), "IT")
    }

    #[test]
    fn mjpeg_is_lent_as_it_is_and_looped() {
        let (folder, want) = (folder(), jpegs(5));
        // The name says nothing: the bytes do.
        let path = write(&folder, "video.mpeg", &want.concat());
        let mut source = open(&path, &fast(false)).unwrap();
        assert_eq!(source.position(), Some((0, None)));
        assert_eq!(frames(&mut *source, 99), want);
        assert_eq!(source.position(), Some((5, Some(5))));

        let mut source = open(&path, &fast(true)).unwrap();
        let looped = frames(&mut *source, 12);
        assert_eq!(looped[..5], want);
        assert_eq!(looped[5..10], want);
        assert_eq!(looped[10..], want[..2]);
        assert_eq!(source.position(), Some((2, Some(5))));
    }

    #[test]
    fn one_jpeg_is_sent_once_or_again_and_again() {
        let (folder, want) = (folder(), jpegs(1));
        let path = write(&folder, "a.jpg", &want[0]);
        assert_eq!(frames(&mut *open(&path, &fast(false)).unwrap(), 9), want);
        let looped = frames(&mut *open(&path, &fast(true)).unwrap(), 9);
        assert_eq!(looped, vec![want[0].clone(); 9]);
    }

    #[test]
    fn containers_are_lent_by_their_index_at_their_own_rate() {
        let (folder, mut want) = (folder(), jpegs(6));
        want[2].clear();
        let shown: Vec<_> = want
            .iter()
            .filter(|jpeg| !jpeg.is_empty())
            .cloned()
            .collect();
        let path = write(&folder, "a", &avi(&want, AviIndex::Old));
        let mut options = fast(false);
        assert_eq!(frames(&mut *open(&path, &options).unwrap(), 99), shown);
        options.fps = None;
        let mut source = open(&path, &options).unwrap();
        assert_eq!(source.interval(), Some(Duration::from_millis(40)));
        assert!(
            source.describe().ends_with("a at 25 fps"),
            "{}",
            source.describe()
        );
        let mut due = Vec::new();
        while let Some(frame) = source.next().unwrap() {
            due.push(frame.captured);
        }
        // The dropped frame's time passes too.
        let gaps: Vec<_> = due.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        let least = [40, 80, 40, 40].map(Duration::from_millis);
        assert!(
            gaps.iter().zip(least).all(|(gap, least)| *gap >= least),
            "{gaps:?}"
        );
        assert_eq!(gaps.len(), 4);

        let want = jpegs(4);
        let path = write(&folder, "b", &mov(&want, false));
        let mut source = open(&path, &fast(false)).unwrap();
        assert_eq!(frames(&mut *source, 99), want);
        assert_eq!(source.position(), Some((4, Some(4))));
    }

    #[test]
    fn a_series_is_played_in_order() {
        let (folder, want) = (folder(), jpegs(4));
        for (number, jpeg) in [(10, 1), (2, 0), (11, 2), (300, 3)] {
            write(&folder, &format!("shot-{number:03}.jpg"), &want[jpeg]);
        }
        write(&folder, "shot-7.jpg", b"of another series");
        let path = folder.path().join("shot-%03d.jpg");
        let mut source = open(&path, &fast(true)).unwrap();
        let looped = frames(&mut *source, 5);
        assert_eq!(looped[..4], want);
        assert_eq!(looped[4], want[0]);
        assert_eq!(source.position(), Some((1, Some(4))));
        assert_eq!(frames(&mut *open(&path, &fast(false)).unwrap(), 99), want);
    }

    #[test]
    fn what_cannot_be_played_is_told() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(why(&at("none.avi")), "IT does not exist");
        assert!(why(&at("*.jpg")).contains("shot-%04d.jpg"));
        assert!(why(folder.path()).contains("is a folder"));
        assert_eq!(why(&write(&folder, "empty", b"")), "IT is empty");
        assert!(why(Path::new("/dev/null")).contains("is a device, not a file"));
        assert!(why(&at("x-%s.jpg")).contains("shot-%04d.jpg"));
        assert!(why(Path::new("rtsp://cam/1")).contains("'exec:ffmpeg "));
        let none = why(&at("x-%d.jpg"));
        assert!(none.ends_with("holds no picture such as x-1.jpg"), "{none}");
        write(&folder, "t-1.jpg", b"text");
        write(&folder, "t-2.jpg", b"text");
        assert!(why(&at("t-%d.jpg")).contains("t-1.jpg is not a JPEG"));
        // As if ffmpeg were not there.
        let missing = ffmpeg::not_started(Path::new("a.mp4"), &ErrorKind::NotFound.into());
        assert!(
            missing.to_string().contains("apt install ffmpeg"),
            "{missing}"
        );
    }

    #[test]
    fn ffmpeg_tells_why_a_file_is_no_video() {
        let folder = folder();
        if !test_video::ffmpeg(
            &["-f", "lavfi", "-i", "sine=d=0.1"],
            &folder.path().join("sound.wav"),
        ) {
            return;
        }
        let noise: Vec<u8> = (0..9999u32).map(|n| ((n * n) >> 3) as u8).collect();
        let noise = why(&write(&folder, "noise.mp4", &noise));
        assert_eq!(
            noise,
            "IT is not a video that ffmpeg can read: moov atom not found"
        );
        assert_eq!(
            why(&folder.path().join("sound.wav")),
            "IT has no video in it"
        );
        assert_eq!(
            why(&write(&folder, "a.txt", &b"hello\n".repeat(99))),
            "IT is text, not a video"
        );
    }

    #[test]
    fn ffmpegs_own_containers_are_read_byte_for_byte() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        let test = "testsrc=s=160x120:r=24:d=1";
        let encode = ["-f", "lavfi", "-i", test, "-f", "lavfi", "-i", "sine=d=1"];
        for name in ["a.avi", "a.mov", "a.mp4", "a.mkv"] {
            let codec = ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"];
            if !test_video::ffmpeg(&[&encode[..], &codec].concat(), &at(name)) {
                return;
            }
            let file = at(name).display().to_string();
            test_video::ffmpeg(
                &["-i", &file, "-an", "-c:v", "copy", "-f", "mjpeg"],
                &at("want"),
            );
            let want = split(&fs::read(at("want")).unwrap());
            assert_eq!(want.len(), 24);
            let options = crate::source::OpenOptions {
                fps: None,
                ..fast(false)
            };
            let mut source = open(&at(name), &options).unwrap();
            assert_eq!(source.interval().unwrap().as_micros(), 41_666, "{name}");
            // Only mkv needs ffmpeg, and even there nothing is encoded again.
            let through_ffmpeg = source.describe().contains("read by ffmpeg");
            assert_eq!(through_ffmpeg, name == "a.mkv", "{}", source.describe());
            assert_eq!(frames(&mut *source, 99), want, "{name}");
        }
    }

    #[test]
    fn any_other_video_comes_through_ffmpeg() {
        let folder = folder();
        for (name, codec) in [
            ("a.mp4", "libx264"),
            ("a.mkv", "mpeg4"),
            ("a.mpeg", "mpeg1video"),
        ] {
            // A name that ffmpeg would misread as a protocol and an option.
            let path = folder.path().join(format!("-x:{name}"));
            let test = "testsrc=s=160x120:r=25:d=1";
            if !test_video::ffmpeg(
                &["-f", "lavfi", "-i", test, "-c:v", codec, "-bf", "0"],
                &folder.path().join(name),
            ) {
                return;
            }
            symlink(folder.path().join(name), &path).unwrap();
            let mut source = open(&path, &fast(true)).unwrap();
            assert!(
                source.describe().contains("transcoded by ffmpeg"),
                "{}",
                source.describe()
            );
            let pictures = frames(&mut *source, 60);
            for jpeg in &pictures {
                let header = turbojpeg::read_header(jpeg).unwrap();
                assert_eq!((header.width, header.height), (160, 120));
                assert_eq!(header.subsamp, turbojpeg::Subsamp::Sub2x2);
            }
            // The second run begins where the first did.
            assert_eq!(pictures[25], pictures[0], "{name}");
            assert_eq!(pictures.len(), 60);
        }
    }

    #[test]
    fn a_picture_that_is_no_jpeg_is_held() {
        let folder = folder();
        let path = folder.path().join("a.png");
        if !test_video::ffmpeg(
            &["-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1"],
            &path,
        ) {
            return;
        }
        let held = frames(&mut *open(&path, &fast(true)).unwrap(), 5);
        assert_eq!(held, vec![held[0].clone(); 5]);
        assert_eq!(frames(&mut *open(&path, &fast(false)).unwrap(), 5).len(), 1);
    }

    /// Writes in place, as a program does that opens a file to rewrite it.
    fn rewrite(path: &Path, bytes: &[u8]) {
        // A time of its own, whatever the file system's clock.
        static TICKS: AtomicU64 = AtomicU64::new(0);
        fs::write(path, bytes).unwrap();
        let tick = Duration::from_secs(TICKS.fetch_add(1, Ordering::Relaxed));
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + tick).unwrap();
    }

    fn cut(path: &Path, len: u64) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(len).unwrap();
    }

    #[test]
    fn a_picture_that_is_rewritten_is_shown_again() {
        let (folder, want) = (folder(), jpegs(4));
        let path = write(&folder, "a.jpg", &want[0]);
        let mut source = open(&path, &fast(true)).unwrap();
        let mut shown = || {
            let frame = source.next().unwrap().unwrap();
            (frame.data.to_vec(), frame.missed)
        };
        assert_eq!(shown().0, want[0]);
        for jpeg in &want[1..] {
            rewrite(&path, jpeg);
            assert_eq!(shown(), (jpeg.clone(), 0));
        }
        // By rename, too; and deleted, it stays.
        fs::rename(write(&folder, "b.jpg", &want[0]), &path).unwrap();
        assert_eq!(shown().0, want[0]);
        fs::remove_file(&path).unwrap();
        assert_eq!(shown().0, want[0]);
        assert_eq!(shown().0, want[0]);
    }

    #[test]
    fn a_picture_that_is_empty_for_a_moment_is_waited_for() {
        let (folder, want) = (folder(), jpegs(2));
        let path = write(&folder, "a.jpg", &want[0]);
        let mut source = open(&path, &fast(true)).unwrap();
        assert_eq!(source.next().unwrap().unwrap().data, want[0]);
        cut(&path, 0);
        let later = path.clone();
        let jpeg = want[1].clone();
        let writer = std::thread::spawn(move || rewrite(&later, &jpeg));
        assert_eq!(source.next().unwrap().unwrap().data, want[1]);
        writer.join().unwrap();
        cut(&path, 0);
        let error = source.next().unwrap_err();
        assert!(matches!(error, SourceError::Failed(_)));
        assert!(error.to_string().ends_with("a.jpg is empty"), "{error}");
    }

    #[test]
    fn a_film_that_is_cut_or_replaced_while_it_plays_starts_again() {
        let (folder, want) = (folder(), jpegs(50));
        let (other, all) = (jpegs(60).split_off(55), want.concat());
        for kind in ["cut", "replaced", "written over"] {
            let path = write(&folder, "a", &all);
            let mut source = open(&path, &fast(false)).unwrap();
            assert_eq!(frames(&mut *source, 20), want[..20]);
            let want = match kind {
                "cut" => {
                    cut(&path, (want[0].len() + want[1].len()) as u64);
                    &want[..2]
                }
                "replaced" => {
                    fs::rename(write(&folder, "b", &other.concat()), &path).unwrap();
                    &other
                }
                _ => {
                    // Not shorter, but nothing is where it was.
                    rewrite(&path, &[&other.concat()[..], &[0; 1 << 20]].concat());
                    &other
                }
            };
            let frame = source.next().unwrap().unwrap();
            assert_eq!((frame.data, frame.missed), (&want[0][..], 1), "{kind}");
            assert_eq!(frames(&mut *source, 99), want[1..], "{kind}");
        }
    }

    #[test]
    fn a_film_that_grows_goes_on_and_is_read_anew_when_it_loops() {
        let (folder, want) = (folder(), jpegs(6));
        let path = write(&folder, "a", &want[..4].concat());
        let mut source = open(&path, &fast(true)).unwrap();
        assert_eq!(frames(&mut *source, 2), want[..2]);
        rewrite(&path, &want.concat());
        assert_eq!(frames(&mut *source, 2), want[2..4]);
        assert_eq!(frames(&mut *source, 7)[..6], want);
    }

    #[test]
    fn slow_films_show_each_picture_more_than_once() {
        let (folder, want) = (folder(), jpegs(2));
        let mut file = avi(&want, AviIndex::No);
        let strh = file.windows(8).position(|w| w == b"vidsMJPG").unwrap();
        file[strh + 20..strh + 24].copy_from_slice(&20u32.to_le_bytes());
        file[strh + 24..strh + 28].copy_from_slice(&1u32.to_le_bytes());
        let path = write(&folder, "a.avi", &file);
        let slow = crate::source::OpenOptions {
            fps: None,
            ..fast(false)
        };
        let source = open(&path, &slow).unwrap();
        assert!(source.describe().ends_with("a.avi at 0.05 fps"));
        assert_eq!(source.interval(), Some(Duration::from_secs(10)));
        // As fast as the user wants, each is shown once.
        assert_eq!(frames(&mut *open(&path, &fast(false)).unwrap(), 9), want);
    }

    #[test]
    fn fields_are_joined() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        // Light and dark lines take turns: each field is of one shade.
        let picture = "color=white:s=64x64:r=25:d=0.2,geq=lum='if(mod(Y,2),200,60)':cb=128:cr=128";
        for (name, lines) in [("top", "0"), ("bottom", "1")] {
            let field = format!("{picture},field=type={name}");
            let encode = [
                "-f", "lavfi", "-i", &field, "-c:v", "mjpeg", "-huffman", "default",
            ];
            if !test_video::ffmpeg(
                &[
                    &encode[..],
                    &["-pix_fmt", "yuvj420p", "-q:v", "2", "-f", "mjpeg"],
                ]
                .concat(),
                &at(lines),
            ) {
                return;
            }
        }
        let fields = ["0", "1"].map(|name| split(&fs::read(at(name)).unwrap()));
        assert_eq!(fields[0].len(), 5);
        let marked = |jpeg: &[u8], polarity: u8| {
            let app0 = [&b"\xff\xe0\0\x10AVI1"[..], &[polarity], &[0; 9]].concat();
            [&jpeg[..2], &app0, &jpeg[2..]].concat()
        };
        let pairs: Vec<Vec<u8>> = fields[0]
            .iter()
            .zip(&fields[1])
            .map(|(top, bottom)| [marked(top, 1), marked(bottom, 2)].concat())
            .collect();
        let mut file = avi(&pairs, AviIndex::Old);
        let strf = file.windows(4).rposition(|w| w == b"strf").unwrap();
        file[strf + 12..strf + 16].copy_from_slice(&64u32.to_le_bytes());
        file[strf + 16..strf + 20].copy_from_slice(&64u32.to_le_bytes());
        let path = write(&folder, "fields.avi", &file);
        let mut source = open(&path, &fast(false)).unwrap();
        let what = source.describe();
        assert!(what.contains("transcoded by ffmpeg"), "{what}");
        let frames = frames(&mut *source, 99);
        assert_eq!(frames.len(), 5);
        let image = turbojpeg::decompress(&frames[4], turbojpeg::PixelFormat::GRAY).unwrap();
        assert_eq!((image.width, image.height), (64, 64));
        let line = |y: usize| i32::from(image.pixels[y * image.pitch + 32]);
        // Which of the two is on top is ffmpeg's word.
        let shades = [line(0).min(line(1)), line(0).max(line(1))];
        assert!(
            (shades[0] - 60).abs() < 30 && (shades[1] - 200).abs() < 30,
            "{shades:?}"
        );
        for y in 0..62 {
            assert!((line(y) - line(y + 2)).abs() < 30, "line {y}");
        }
    }

    #[test]
    fn fragments_are_all_played() {
        let folder = folder();
        let test = "testsrc=s=160x120:r=25:d=1";
        for name in ["a.mp4", "a.mov"] {
            let path = folder.path().join(name);
            let encode = [
                "-f", "lavfi", "-i", test, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p",
            ];
            let fragments = ["-movflags", "frag_keyframe", "-frag_duration", "100000"];
            if !test_video::ffmpeg(&[&encode[..], &fragments].concat(), &path) {
                return;
            }
            assert_eq!(
                frames(&mut *open(&path, &fast(false)).unwrap(), 99).len(),
                25
            );
        }
    }

    #[test]
    fn a_bad_picture_does_not_end_a_series() {
        let (folder, want) = (folder(), jpegs(3));
        let at = |n: usize| folder.path().join(format!("p-{n}.jpg"));
        fs::write(at(1), b"no picture").unwrap();
        fs::write(at(2), &want[0]).unwrap();
        fs::create_dir(at(3)).unwrap();
        // A photo with its gain map.
        fs::write(at(4), [&want[1][..], &want[2]].concat()).unwrap();
        let path = folder.path().join("p-%d.jpg");
        let mut source = open(&path, &fast(false)).unwrap();
        // The bad ones are handed on empty, to be counted.
        let none = Vec::new();
        let shown = frames(&mut *source, 9);
        assert_eq!(
            shown,
            [none.clone(), want[0].clone(), none, want[1].clone()]
        );
    }

    #[test]
    fn a_long_file_does_not_stay_in_memory() {
        let (folder, jpeg) = (folder(), jpegs(1).remove(0));
        // Frames of 1 MB: a JPEG and padding.
        let mut frame = jpeg.clone();
        frame.resize(1 << 20, 0);
        let path = write(&folder, "a", &frame.repeat(64));
        let mut source = open(&path, &fast(false)).unwrap();
        let mapped = || -> u64 {
            let maps = fs::read_to_string("/proc/self/smaps").unwrap();
            let name = path.display().to_string();
            let rest = &maps[maps.find(&name).unwrap()..];
            let line = rest.lines().find(|line| line.starts_with("Rss:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        for _ in 0..64 {
            assert_eq!(source.next().unwrap().unwrap().data, jpeg);
            assert!(mapped() < 5 << 10, "{} kB", mapped());
        }
        assert!(source.next().unwrap().is_none());
    }

    #[test]
    fn a_stopped_file_says_so() {
        let folder = folder();
        let options = fast(true);
        let path = write(&folder, "a", &jpegs(2).concat());
        let mut source = open(&path, &options).unwrap();
        options.stop.raise();
        assert!(matches!(source.next(), Err(SourceError::Stopped)));
    }
}
