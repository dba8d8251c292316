//! What a file is, by its bytes.

use super::index::{Span, Step};
use super::search::{Jpegs, Search};
use super::{avi, mov};
use crate::jpeg::header::{Header, marker, segments};
use crate::jpeg::split::next_jpeg;

/// How to read a file.
#[derive(Debug)]
pub(super) enum Container {
    /// JPEGs, with or without a container around them.
    Frames(Frames),
    /// A container of JPEGs that are fields, every other line of a picture: ffmpeg joins them.
    Fields(Frames),
    /// Something else: for ffmpeg to find out.
    Foreign,
}

/// Where the frames of a file are.
#[derive(Debug)]
pub(super) struct Frames {
    /// The known ones, in display order.
    pub(super) spans: Vec<Span>,
    /// How to find the rest.
    pub(super) search: Search,
    /// Frames a second, if the container states a sane rate.
    pub(super) fps: Option<f64>,
    /// Frames that its tables list but the file does not contain.
    pub(super) lost: usize,
    /// JPEGs after a photo that belong to it: a preview, a gain map.
    pub(super) left_out: usize,
}

/// Recognises a file by its bytes.
pub(super) fn recognise(bytes: &[u8]) -> Container {
    // SOI and the first byte of the next marker (T.81 §B.1.1.3).
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return Container::Frames(photo(bytes).unwrap_or_else(|| Frames {
            spans: Vec::new(),
            search: Search::Jpegs(Jpegs::default()),
            fps: None,
            lost: 0,
            left_out: 0,
        }));
    }
    let (frames, height) = match (avi::open(bytes), mov::open(bytes)) {
        (Some(film), _) => {
            let mut search = Search::Avi(film.walk);
            let spans = first_picture(bytes, &mut search);
            let fps = film.fps;
            let (lost, left_out) = (0, 0);
            (
                Frames {
                    spans,
                    search,
                    fps,
                    lost,
                    left_out,
                },
                film.height,
            )
        }
        (None, Some(film)) => {
            let frames = Frames {
                spans: film.spans,
                search: Search::Over,
                fps: film.fps,
                lost: film.lost,
                left_out: 0,
            };
            (frames, film.height)
        }
        (None, None) => return Container::Foreign,
    };
    let Some(first) = frames.spans.iter().find(|span| span.len > 0) else {
        return Container::Foreign;
    };
    match is_field(&bytes[first.offset..][..first.len as usize], height) {
        true => Container::Fields(frames),
        false => Container::Frames(frames),
    }
}

/// The frames up to the first that is a picture; none if there is none.
fn first_picture(bytes: &[u8], search: &mut Search) -> Vec<Span> {
    /// In steps of a search, most of which are one chunk.
    const PATIENCE: usize = 1000;
    let mut spans = Vec::new();
    for _ in 0..PATIENCE {
        match search.step(bytes) {
            Step::Found(span) => spans.push(span),
            Step::Pending => continue,
            Step::End => break,
        }
        if spans.last().is_some_and(|span| span.len > 0) {
            break;
        }
    }
    spans
}

/// Whether a frame is one field of a picture of `height` lines: half as high, and marked as such
/// (APP0 `AVI1`, polarity 1 or 2), or followed by the other field.
fn is_field(frame: &[u8], height: u32) -> bool {
    let Ok(header) = Header::parse(frame) else {
        return false;
    };
    if (2 * u32::from(header.height)).abs_diff(height) > 16 {
        return false;
    }
    let is_marked = segments(&frame[..header.scan_start]).any(|(code, segment)| {
        code == marker::APP0
            && segment[4..].starts_with(b"AVI1")
            && matches!(segment.get(8), Some(1 | 2))
    });
    let second = || {
        let first = next_jpeg(frame, 0)?;
        let second = next_jpeg(frame, first.end)?;
        Header::parse(&frame[second]).ok()
    };
    is_marked || second().is_some_and(|second| second.height == header.height)
}

/// A photo followed by a few JPEGs that belong to it, up to the end of the file, and either listed
/// in a Multi-Picture segment (CIPA DC-007: APP2 `MPF`) or all smaller than the first, which is the
/// picture. `None`: a film.
fn photo(bytes: &[u8]) -> Option<Frames> {
    const LONGEST: usize = 64 << 20;
    const MOST: usize = 4;
    if bytes.len() > LONGEST {
        return None;
    }
    let first = next_jpeg(bytes, 0)?;
    let header = Header::parse(&bytes[first.clone()]).ok()?;
    let pixels = |header: &Header| u32::from(header.width) * u32::from(header.height);
    let is_multi_picture = segments(&bytes[..header.scan_start])
        .any(|(code, segment)| code == 0xe2 && segment[4..].starts_with(b"MPF\0"));
    let (mut at, mut left_out) = (first.end, 0);
    while let Some(next) = next_jpeg(bytes, at) {
        at = next.end;
        left_out += 1;
        let is_smaller =
            Header::parse(&bytes[next]).is_ok_and(|next| pixels(&next) < pixels(&header));
        if left_out > MOST || !is_smaller && !is_multi_picture {
            return None;
        }
    }
    Some(Frames {
        spans: vec![Span::inside(
            first.start as u64,
            first.len() as u32,
            bytes.len(),
        )?],
        search: Search::Over,
        fps: None,
        lost: 0,
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::file::frame_ranges;
    use crate::source::file::index::be32;
    use crate::source::test_video::{AviIndex, avi, jpegs, mov};

    fn found(file: &[u8]) -> Frames {
        match recognise(file) {
            Container::Frames(frames) => frames,
            other => panic!("{other:?}"),
        }
    }

    fn frames(file: &[u8]) -> Vec<Vec<u8>> {
        found(file); // not for ffmpeg
        let ranges = frame_ranges(file);
        ranges
            .into_iter()
            .map(|range| file[range].to_vec())
            .collect()
    }

    const AVI_INDEXES: [AviIndex; 5] = [
        AviIndex::Old,
        AviIndex::OldAbsolute,
        AviIndex::OpenDml,
        AviIndex::No,
        AviIndex::Wrong,
    ];

    #[test]
    fn avi_frames_are_found_by_every_index_and_without() {
        let mut want = jpegs(7);
        want[3].clear(); // a dropped frame
        for index in AVI_INDEXES {
            let file = avi(&want, index);
            assert_eq!(frames(&file), want, "{index:?}");
            assert_eq!(found(&file).fps, Some(25.0));
        }
    }

    #[test]
    fn what_ffmpeg_writes_is_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/video");
        let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
        for name in ["ffmpeg.avi", "ffmpeg.mov"] {
            let file = file(name);
            assert_eq!(found(&file).fps, Some(25.0), "{name}");
            let frames = frames(&file);
            assert_eq!(frames.len(), 4, "{name}");
            for frame in frames {
                let header = Header::parse(&frame).unwrap();
                assert_eq!((header.width, header.height), (48, 32));
                assert!(frame.ends_with(&[0xff, 0xd9]), "{name}");
            }
        }
        assert!(matches!(
            recognise(&file("ffmpeg-fragments.mp4")),
            Container::Foreign
        ));
    }

    #[test]
    fn an_avi_that_was_never_finished_gives_what_is_there() {
        let want = jpegs(5);
        let mut file = avi(&want, AviIndex::No);
        // As a recorder leaves it: no lengths yet.
        file[4..8].fill(0);
        let movi = file.windows(4).position(|w| w == b"movi").unwrap();
        file[movi - 4..movi].fill(0);
        assert_eq!(frames(&file), want);
        file.truncate(file.len() - want[4].len() / 2);
        let cut = frames(&file);
        assert_eq!(cut[..4], want[..4]);
        assert!(cut.len() == 5 && cut[4].len() < want[4].len());
    }

    /// An AVI without an index, its pictures with something in front of each.
    fn avi_with(jpegs: &[Vec<u8>], before: impl Fn(usize) -> Vec<u8>, pad: bool) -> Vec<u8> {
        let mut file = avi(&[], AviIndex::No);
        for (n, jpeg) in jpegs.iter().enumerate() {
            file.extend(before(n));
            file.extend(b"01dc");
            file.extend((jpeg.len() as u32).to_le_bytes());
            file.extend(jpeg);
            file.resize(file.len() + usize::from(pad && jpeg.len() % 2 == 1), 0);
        }
        file
    }

    #[test]
    fn a_damaged_avi_gives_all_its_frames() {
        let mut want = jpegs(7);
        want.iter_mut()
            .for_each(|jpeg| jpeg.resize(jpeg.len() | 1, 0));
        let at_third =
            |what: &'static [u8]| move |n| if n == 3 { what.to_vec() } else { Vec::new() };
        // The lists' lengths are those of an early flush: only the header's are there.
        assert_eq!(frames(&avi_with(&want, |_| Vec::new(), true)), want);
        // Chunks at odd offsets.
        assert_eq!(frames(&avi_with(&want, |_| Vec::new(), false)), want);
        for garbage in [
            &b"\x07\x01garbage!!\xff\xee"[..],
            b"text that looks like chunks",
            &[0; 5000],
            b"JUNK\xff\xff\xff\x7f",
            b"JUNK\x10\0\0\0short",
            b"RIFF\xff\xff\xff\x7fAVIXLIST\x04\0\0\0movi",
            b"RIFF\0\0\0\0AVIXLIST\0\0\0\0movi",
            b"ix01\x04\0\0\0abcd",
        ] {
            let got = frames(&avi_with(&want, at_third(garbage), true));
            assert_eq!(got.len(), want.len(), "{garbage:?}");
            for (got, want) in got.iter().zip(&want) {
                assert!(got.starts_with(&want[..want.len() - 1]), "{garbage:?}");
            }
        }
        // Pictures whose lengths are wrong.
        for wrong in [0, 1, 500, 3000, u32::MAX] {
            let mut file = avi_with(&want, |_| Vec::new(), true);
            let second = file
                .windows(want[1].len())
                .position(|w| w == want[1])
                .unwrap();
            file[second - 4..second].copy_from_slice(&wrong.to_le_bytes());
            let got = frames(&file);
            assert_eq!(got.len(), want.len(), "{wrong}");
            assert!(got[1].starts_with(&want[1]) && got[2] == want[2], "{wrong}");
        }
    }

    #[test]
    fn a_mov_with_some_frames_missing_gives_the_others_and_counts() {
        let want = jpegs(7);
        let mut file = mov(&want, false);
        let stco = file.windows(4).position(|w| w == b"stco").unwrap();
        file[stco + 12..stco + 16].fill(0xff); // three frames in the first of three chunks
        assert_eq!(frames(&file), want[3..]);
        assert_eq!(found(&file).lost, 3);
        file[stco + 11] = 2; // and the last chunk is not listed
        assert_eq!(frames(&file), want[3..6]);
        assert_eq!(found(&file).lost, 4);
    }

    #[test]
    fn what_a_mov_keeps_elsewhere_is_for_ffmpeg() {
        let want = jpegs(2);
        let plain = mov(&want, false);
        let moof = [&plain[..], b"\0\0\0\x08moof"].concat();
        assert!(matches!(recognise(&moof), Container::Foreign));
        // An edit list of one edit that begins at `time`.
        let edited = |time: u8| {
            let edts = [
                &b"\0\0\0\x24edts\0\0\0\x1celst\0\0\0\0\0\0\0\x01\0\0\0\x3c\0\0\0"[..],
                &[time, 0, 1, 0, 0],
            ]
            .concat();
            let mut file = plain.clone();
            let trak = file.windows(4).position(|w| w == b"trak").unwrap();
            for outer in [trak, trak - 8] {
                let len = be32(&file, outer - 4).unwrap() + edts.len() as u32;
                file[outer - 4..outer].copy_from_slice(&len.to_be_bytes());
            }
            file.splice(trak + 4..trak + 4, edts);
            file
        };
        assert_eq!(frames(&edited(0)), want);
        assert!(matches!(recognise(&edited(30)), Container::Foreign));
    }

    #[test]
    fn rates_beyond_what_users_may_ask_for_are_kept() {
        let with_rate = |rate: u32, scale: u32| {
            let mut file = avi(&jpegs(1), AviIndex::No);
            let strh = file.windows(8).position(|w| w == b"vidsMJPG").unwrap();
            file[strh + 20..strh + 24].copy_from_slice(&scale.to_le_bytes());
            file[strh + 24..strh + 28].copy_from_slice(&rate.to_le_bytes());
            found(&file).fps
        };
        assert_eq!(with_rate(1, 20), Some(0.05));
        assert_eq!(with_rate(300, 1), Some(300.0));
        assert_eq!(with_rate(0, 0), None);
        assert_eq!(with_rate(1, 0), None);
        assert_eq!(with_rate(1_000_000, 1), None);
    }

    /// A JPEG of another size.
    fn jpeg(width: usize, height: usize) -> Vec<u8> {
        let pixels = vec![90; width * height];
        let image = turbojpeg::Image {
            pixels: &pixels[..],
            width,
            pitch: width,
            height,
            format: turbojpeg::PixelFormat::GRAY,
        };
        turbojpeg::compress(image, 80, turbojpeg::Subsamp::Gray)
            .unwrap()
            .to_vec()
    }

    #[test]
    fn of_a_photo_only_the_first_picture_is_shown() {
        let (photo, other) = (jpegs(1).remove(0), jpegs(2).remove(1));
        let extra = jpeg(32, 24);
        let shown = |file: &[u8]| frames(file).len();
        assert_eq!(frames(&[&photo[..], &extra].concat()), [&photo[..]]);
        assert_eq!(found(&[&photo[..], &extra, &extra].concat()).left_out, 2);
        // Films: pictures of one size, or one that grows, or many.
        assert_eq!(shown(&[&photo[..], &other].concat()), 2);
        assert_eq!(shown(&[&extra[..], &photo].concat()), 2);
        assert_eq!(shown(&[&photo[..], &extra.repeat(5)].concat()), 6);
        // Multi-Picture: a stereo pair, and a preview.
        let mpf = [&photo[..2], b"\xff\xe2\0\x0aMPF\0abcd", &photo[2..]].concat();
        assert_eq!(frames(&[&mpf[..], &other, &extra].concat()), [mpf]);
    }

    #[test]
    fn fields_are_for_ffmpeg() {
        let field = |polarity: u8| {
            let jpeg = jpeg(64, 24);
            let app0 = [&b"\xff\xe0\0\x0aAVI1"[..], &[polarity, 0, 0, 0]].concat();
            [&jpeg[..2], &app0, &jpeg[2..]].concat()
        };
        let with_height = |frame: Vec<u8>, height: i32| {
            let mut file = avi(&[frame], AviIndex::No);
            let strf = file.windows(4).rposition(|w| w == b"strf").unwrap();
            file[strf + 16..strf + 20].copy_from_slice(&height.to_le_bytes());
            recognise(&file)
        };
        let both = [field(1), field(2)].concat();
        let plain = jpeg(64, 24);
        for height in [48, -48] {
            assert!(matches!(
                with_height(both.clone(), height),
                Container::Fields(_)
            ));
            assert!(matches!(
                with_height(field(1), height),
                Container::Fields(_)
            ));
            assert!(matches!(
                with_height(plain.repeat(2), height),
                Container::Fields(_)
            ));
            assert!(matches!(
                with_height(plain.clone(), height),
                Container::Frames(_)
            ));
        }
        assert!(matches!(with_height(both, 24), Container::Frames(_)));
    }

    #[test]
    fn mov_frames_are_found() {
        for count in [1, 3, 7, 9] {
            let want = jpegs(count);
            for wide in [false, true] {
                let file = mov(&want, wide);
                assert_eq!(frames(&file), want, "{count} {wide}");
                assert_eq!(found(&file).fps, Some(20.0));
            }
        }
    }

    #[test]
    fn other_codecs_are_left_to_ffmpeg() {
        let replace = |mut file: Vec<u8>, from: &[u8; 4], to: &[u8; 4]| {
            while let Some(at) = file.windows(4).position(|w| w == from) {
                file[at..at + 4].copy_from_slice(to);
            }
            file
        };
        let jpegs = jpegs(2);
        for file in [
            replace(avi(&jpegs, AviIndex::Old), b"MJPG", b"H264"),
            replace(mov(&jpegs, false), b"jpeg", b"avc1"),
            replace(mov(&jpegs, false), b"jpeg", b"mjpb"),
            b"RIFF\x04\0\0\0WAVE".to_vec(),
            b"no video".to_vec(),
            Vec::new(),
        ] {
            assert!(matches!(recognise(&file), Container::Foreign));
        }
    }

    /// Whatever the bytes, every frame is inside the file.
    fn hostile(file: &[u8]) {
        for range in frame_ranges(file) {
            assert!(range.end <= file.len());
        }
    }

    #[test]
    fn cut_files_do_no_harm() {
        let jpegs = jpegs(3);
        let mut files = AVI_INDEXES.map(|index| avi(&jpegs, index)).to_vec();
        files.push(mov(&jpegs, false));
        files.push(mov(&jpegs, true));
        for file in files {
            for len in 0..file.len() {
                hostile(&file[..len]);
            }
        }
    }

    #[test]
    fn claims_of_four_billion_frames_are_bounded() {
        let mut file = mov(&jpegs(3), false);
        let stco = file.windows(4).position(|w| w == b"stco").unwrap();
        let stsz = file.windows(4).position(|w| w == b"stsz").unwrap();
        // One byte a frame, as many frames as a number can say.
        file[stsz + 8..stsz + 12].copy_from_slice(&1u32.to_be_bytes());
        file[stsz + 12..stsz + 16].fill(0xff);
        let stsc = file.windows(4).position(|w| w == b"stsc").unwrap();
        file[stsc + 16..stsc + 20].fill(0xff);
        let found = found(&file);
        assert!(found.spans.len() < file.len(), "one a byte, at most");
        assert_eq!(found.lost + found.spans.len(), u32::MAX as usize);
        // The same, all of them behind the end.
        file[stco + 12..stco + 16].fill(0xff);
        assert!(matches!(recognise(&file), Container::Foreign));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn mutated_files_do_no_harm(
            which in 0usize..7,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 1usize..=4), 1..12),
        ) {
            let tiny = vec![vec![0xff, 0xd8, 0xff, 0xd9]; 4];
            let mut file = match which {
                0..5 => avi(&tiny, AVI_INDEXES[which]),
                _ => mov(&tiny, which == 6),
            };
            for (at, value, len) in changes {
                let at = at.index(file.len() - 4);
                // Small numbers and ones near the top are the interesting ones.
                let value = match value % 4 { 0 => value >> 24, 1 => !0 - (value >> 24), _ => value };
                file[at..at + len].copy_from_slice(&value.to_be_bytes()[..len]);
            }
            hostile(&file);
        }
    }
}
