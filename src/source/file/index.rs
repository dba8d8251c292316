//! Where a container's frames are, and the careful reading that both containers share. The bytes
//! may be those of a hostile file: no panic, bounded memory.

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

/// The outcome of one step of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Found(Span),
    /// Nothing yet; the search goes on. The caller checks the stop flag.
    Pending,
    End,
}

/// A search looks at this many bytes in one step, at most.
pub(super) const STEP: usize = 1 << 20;

/// The frame rate of a container in which `ticks` of `scale` a second pass while `frames` are
/// shown; `None` if it is nonsense. Rates beyond what the user may set are played as they are.
pub(super) fn frame_rate(frames: u64, scale: u64, ticks: u64) -> Option<f64> {
    let fps = frames as f64 * scale as f64 / ticks as f64;
    // NaN and infinity are in no range.
    Some(fps).filter(|fps| CONTAINER_FPS.contains(fps))
}

/// A picture every three hours; the fastest cameras' slow motion.
pub(super) const CONTAINER_FPS: std::ops::RangeInclusive<f64> = 0.0001..=1000.0;

/// Four characters at `at`.
pub(super) fn fourcc(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A 32-bit little-endian number at `at`.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    fourcc(bytes, at).map(u32::from_le_bytes)
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
