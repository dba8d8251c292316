//! Where the frames of a container lie, and the careful reading that both containers share.
//! Everything here takes the bytes of a file that may be hostile: no panic, bounded memory.

use super::{avi, mov};
use crate::source::FPS_RANGE;

/// More frames than this (37 hours at 30 a second) are not taken from one file: 64 MB of index.
pub(super) const MOST_FRAMES: usize = 4_000_000;

/// One frame in the file. A length of 0 is a frame that was dropped when the file was made: its
/// time passes without a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: usize,
    pub(super) len: u32,
}

impl Span {
    /// A frame of `len` bytes at `offset`, if it lies in a file of `size` bytes.
    pub(super) fn inside(offset: u64, len: u32, size: usize) -> Option<Span> {
        let end = offset.checked_add(u64::from(len))?;
        let offset = usize::try_from(offset).ok()?;
        (end <= size as u64).then_some(Span { offset, len })
    }
}

/// The frames of a file in the order in which they are shown.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) spans: Vec<Span>,
    /// Frames a second, where the container tells a sane one.
    pub(super) fps: Option<f64>,
}

impl Index {
    /// `ticks` of `scale` a second pass while `frames` are shown.
    pub(super) fn new(spans: Vec<Span>, frames: u64, scale: u64, ticks: u64) -> Index {
        let fps = frames as f64 * scale as f64 / ticks as f64;
        // NaN and infinity are in no range.
        Index {
            spans,
            fps: Some(fps).filter(|fps| FPS_RANGE.contains(fps)),
        }
    }
}

/// What a file is, as far as reading it here is concerned.
#[derive(Debug)]
pub(super) enum Container {
    /// One JPEG or several, one after the other.
    Jpegs,
    /// A container with JPEGs in it.
    Indexed(Index),
    /// Something else: for ffmpeg to find out.
    Foreign,
}

/// Recognises a file by its bytes.
pub(super) fn recognise(bytes: &[u8]) -> Container {
    // SOI and the first byte of the next marker (T.81 §B.1.1.3).
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return Container::Jpegs;
    }
    let index = if bytes.starts_with(b"RIFF") {
        avi::index(bytes)
    } else {
        mov::index(bytes)
    };
    match index {
        Some(index) if index.spans.iter().any(|span| span.len > 0) => Container::Indexed(index),
        _ => Container::Foreign,
    }
}

/// Four characters at `at`.
pub(super) fn fourcc(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A 32-bit little-endian number at `at`.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    fourcc(bytes, at).map(u32::from_le_bytes)
}

/// A 64-bit little-endian number at `at`.
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

/// A 32-bit big-endian number at `at`.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    fourcc(bytes, at).map(u32::from_be_bytes)
}

/// A 64-bit big-endian number at `at`.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::test_video::{AviIndex, avi, jpegs, mov};

    fn indexed(file: &[u8]) -> Index {
        match recognise(file) {
            Container::Indexed(index) => index,
            other => panic!("{other:?}"),
        }
    }

    fn frames(file: &[u8]) -> Vec<Vec<u8>> {
        let spans = indexed(file).spans;
        spans
            .iter()
            .map(|span| file[span.offset..][..span.len as usize].to_vec())
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
            assert_eq!(indexed(&file).fps, Some(25.0));
        }
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

    #[test]
    fn mov_frames_are_found() {
        for count in [1, 3, 7, 9] {
            let want = jpegs(count);
            for wide in [false, true] {
                let file = mov(&want, wide);
                assert_eq!(frames(&file), want, "{count} {wide}");
                assert_eq!(indexed(&file).fps, Some(20.0));
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

    /// Whatever the bytes, every frame lies in the file.
    fn hostile(file: &[u8]) {
        if let Container::Indexed(index) = recognise(file) {
            assert!(index.spans.len() <= MOST_FRAMES);
            for span in index.spans {
                assert!(span.offset + span.len as usize <= file.len());
            }
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
        let stsz = file.windows(4).position(|w| w == b"stsz").unwrap();
        // One byte a frame, as many frames as a number can say.
        file[stsz + 8..stsz + 12].copy_from_slice(&1u32.to_be_bytes());
        file[stsz + 12..stsz + 16].fill(0xff);
        let stsc = file.windows(4).position(|w| w == b"stsc").unwrap();
        file[stsc + 16..stsc + 20].fill(0xff);
        hostile(&file);
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
