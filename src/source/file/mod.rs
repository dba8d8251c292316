//! Video and picture files. What a file is, its bytes tell, not its name:
//!
//! | bytes | how it is read |
//! |---|---|
//! | one JPEG, or JPEGs one after the other | mapped and lent |
//! | AVI or MOV/MP4 that holds JPEGs | mapped and lent, by the container's index |
//! | anything else | by an `ffmpeg` child process |
//!
//! A name with a number in it (`shot-%04d.jpg`) stands for a numbered series of JPEGs.

mod avi;
mod ffmpeg;
mod index;
mod mapped;
mod mov;
mod series;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use self::index::Container;
use super::map::MappedFile;
use super::{OpenOptions, Source, SourceError};

/// Opens a file or a numbered series.
///
/// # Errors
/// [`SourceError::Unusable`]: no such file, no video, or `ffmpeg` is needed and not installed.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return open_series(path, options),
        Err(e) => return Err(unusable(path, format_args!("cannot be opened: {e}"))),
    };
    let facts = file
        .metadata()
        .map_err(|e| unusable(path, format_args!("{e}")))?;
    if facts.is_dir() {
        return Err(unusable(
            path,
            "is a folder: name a file in it, or a numbered series such as shot-%04d.jpg",
        ));
    }
    if !facts.is_file() {
        return Err(unusable(
            path,
            "is no regular file: read it through standard input (-)",
        ));
    }
    if facts.len() == 0 {
        return Err(unusable(path, "is empty"));
    }
    let map = MappedFile::new(file, path)?;
    match index::recognise(map.bytes()) {
        Container::Jpegs => Ok(Box::new(mapped::Mapped::unsplit(path, map, options))),
        Container::Indexed(index) => {
            Ok(Box::new(mapped::Mapped::indexed(path, map, index, options)))
        }
        Container::Foreign => Ok(Box::new(ffmpeg::Transcoded::open(path, options)?)),
    }
}

/// A path that is no file: perhaps it names a series.
fn open_series(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>, SourceError> {
    let Some(name) = series::Numbered::parse(path) else {
        let stars = path.to_string_lossy().contains('*');
        return Err(unusable(
            path,
            if stars {
                "does not exist. A series of pictures is written with the number's place: shot-%04d.jpg"
            } else {
                "does not exist"
            },
        ));
    };
    Ok(Box::new(series::Series::open(name, options)?))
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> SourceError {
    SourceError::Unusable(format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

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
        assert!(why(Path::new("/dev/null")).contains("is no regular file"));
        let none = why(&at("x-%d.jpg"));
        assert!(none.ends_with("holds no picture such as x-1.jpg"), "{none}");
        write(&folder, "t-1.jpg", b"text");
        assert!(why(&at("t-%d.jpg")).contains("t-1.jpg is no JPEG"));
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
            "IT is no video that can be read: moov atom not found"
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
            // Only mkv needs ffmpeg, and even there nothing is encoded anew.
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

    #[test]
    fn a_file_that_is_cut_while_it_plays_ends_with_an_error() {
        let folder = folder();
        let path = write(&folder, "a", &jpegs(50).concat());
        let mut source = open(&path, &fast(true)).unwrap();
        assert!(source.next().unwrap().is_some());
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(100)
            .unwrap();
        let error = source.next().unwrap_err();
        assert!(matches!(error, SourceError::Failed(_)));
        assert!(error.to_string().contains("was cut from"), "{error}");
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
        options.stop.store(true, Ordering::Relaxed);
        assert!(matches!(source.next(), Err(SourceError::Stopped)));
    }
}
