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
