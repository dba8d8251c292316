//! Where a picture may be cut, as known before its scan: rows of MCUs, their pixels, and the seams
//! between strips.

use std::ops::Range;

use crate::jpeg::Sampling;

/// What is known of a picture before its scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) sampling: Sampling,
    pub(super) restart_interval: u16,
}

/// What must be decoded again between two strips of a 4:2:0 picture at full size.
///
/// turbojpeg's smooth upsampling mixes a pixel row's chroma with that of the chroma row above or
/// below. At a seam a strip lacks that row, so the last pixel row above it and the first one below
/// differ from the whole picture's. In a picture of the MCU rows on both sides they are correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seam {
    /// The MCU rows to decode.
    pub rows: Range<usize>,
    /// Pixel rows of what is decoded: the fewest that all these MCU rows allow.
    pub height: usize,
    /// The two of its pixel rows that are wanted.
    pub from: Range<usize>,
    /// Their place in the picture.
    pub to: Range<usize>,
}

impl Shape {
    /// `restart_interval`: MCUs between restart markers; 0: the scan has none.
    pub fn new(width: u16, height: u16, sampling: Sampling, restart_interval: u16) -> Shape {
        Shape {
            width,
            height,
            sampling,
            restart_interval,
        }
    }

    /// MCUs in a row.
    pub(super) fn columns(&self) -> usize {
        usize::from(self.width).div_ceil(16)
    }

    /// Rows of MCUs; the last one may have fewer pixel rows than the others.
    pub fn rows(&self) -> usize {
        usize::from(self.height).div_ceil(self.mcu_height())
    }

    pub(super) fn mcu_height(&self) -> usize {
        match self.sampling {
            Sampling::Yuv422 => 8,
            Sampling::Yuv420 => 16,
        }
    }

    /// The picture can be cut after every this many rows of MCUs. Without restart markers 1; with
    /// them, where an interval ends at the end of a row, which may be only after the picture's last
    /// row.
    pub fn step(&self) -> usize {
        match usize::from(self.restart_interval) {
            0 => 1,
            interval => interval / gcd(self.columns(), interval),
        }
    }

    /// Up to `count` strips, as equal as possible, which together are the picture.
    pub fn strips(&self, count: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.rows(), self.step());
        let steps = rows.div_ceil(step);
        let count = count.clamp(1, steps.max(1));
        let end = move |i: usize| (steps * i / count * step).min(rows);
        (0..count).map(move |i| end(i)..end(i + 1))
    }

    /// The pixel rows of some rows of MCUs.
    pub fn pixels(&self, rows: &Range<usize>) -> Range<usize> {
        let pixel = |row: usize| (row * self.mcu_height()).min(usize::from(self.height));
        pixel(rows.start)..pixel(rows.end)
    }

    /// Whether pixels of a row depend on the MCUs of the row above or below, at full size.
    pub fn mixes_rows(&self) -> bool {
        self.sampling == Sampling::Yuv420
    }

    /// The rows of MCUs that must be decoded together for these pixel rows to be the whole
    /// picture's. `is_full`: at full size; scaled by 1/2, 1/4 or 1/8 a row needs no neighbours.
    pub fn covering(&self, pixels: &Range<usize>, is_full: bool) -> Range<usize> {
        let (high, step) = (self.mcu_height(), self.step());
        // See `Seam`.
        let margin = usize::from(is_full && self.mixes_rows());
        let start = pixels.start.saturating_sub(margin) / high;
        let end = (pixels.end + margin).div_ceil(high);
        start / step * step..end.next_multiple_of(step).min(self.rows())
    }

    /// The seam above a strip; `None` for the first one. Only for decoding at full size: scaled by
    /// 1/2, 1/4 or 1/8 the strips match the picture, as they always do with 4:2:2.
    pub fn seam(&self, strip: &Range<usize>) -> Option<Seam> {
        let row = strip.start;
        if !self.mixes_rows() || row == 0 || row >= self.rows() {
            return None;
        }
        let (high, step) = (self.mcu_height(), self.step());
        let rows = row.saturating_sub(step)..(row + step).min(self.rows());
        let (from, to) = ((row - rows.start) * high, row * high);
        Some(Seam {
            height: (rows.len() - 1) * high + 1,
            from: from - 1..from + 1,
            to: to - 1..to + 1,
            rows,
        })
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
