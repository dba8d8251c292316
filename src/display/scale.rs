//! Bilinear scaling of 0x00RRGGBB pixels, for sizes that turbojpeg's factors do not give. It also
//! takes part of a picture: the result's rows are the same whichever part they are made from.

use std::ops::Range;

use super::layout::Rect;

/// A bilinear scaler that keeps its tables and rows from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Scaler {
    /// The widths that the tables were made for: from, to.
    made_for: (usize, usize),
    /// The left one of the two pixels that each pixel of the result is mixed from.
    from: Vec<u32>,
    /// How much the neighbour weighs, for each byte of the result.
    weights: Vec<u16>,
    /// One row of the result, but still of the source's width.
    row: Vec<u32>,
    /// The pixels of `row` that are mixed, and their neighbours.
    left: Vec<u32>,
    right: Vec<u32>,
}

/// Where one pixel comes from: `from` and its next neighbour, which weighs `weight` of 256.
#[derive(Clone, Copy, Debug)]
struct Tap {
    from: u32,
    weight: u16,
}

/// The tap of pixel `to` of `to_size`, in a line of `from_size`; pixel centres are mapped on each
/// other. `from + 1` lies in the line if it has two pixels at all.
fn tap(to: usize, to_size: usize, from_size: usize) -> Tap {
    if from_size < 2 {
        return Tap { from: 0, weight: 0 };
    }
    // ((to + 1/2) * from_size / to_size - 1/2) in 1/256.
    let position = (256 * (2 * to + 1) * from_size / (2 * to_size)).saturating_sub(128);
    let position = position.min(256 * (from_size - 1));
    let from = (position / 256).min(from_size - 2);
    Tap {
        from: from as u32,
        weight: (position - 256 * from) as u16,
    }
}

/// Mixes two rows byte by byte; byte `i` of `b` weighs `weight(i)` of 256. A form that compilers
/// turn into SIMD.
#[inline(always)]
fn mix(a: &[u32], b: &[u32], to: &mut [u32], weight: impl Fn(usize) -> u16) {
    let (a, b): (&[u8], &[u8]) = (bytemuck::cast_slice(a), bytemuck::cast_slice(b));
    let to: &mut [u8] = bytemuck::cast_slice_mut(to);
    let (a, b) = (&a[..to.len()], &b[..to.len()]);
    for i in 0..to.len() {
        let weight = weight(i);
        to[i] = ((u16::from(a[i]) * (256 - weight) + u16::from(b[i]) * weight) >> 8) as u8;
    }
}

/// Rows of a picture, perhaps not all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// Its rows, without gaps.
    pub(super) pixels: &'a [u32],
    /// Which row of the picture the first one is.
    pub(super) first: usize,
    /// Width and height of the picture.
    pub(super) picture: (usize, usize),
}

/// The rows of a picture of `height` rows that are needed for these `rows` of `to_height`.
pub(super) fn rows_needed(rows: &Range<usize>, to_height: usize, height: usize) -> Range<usize> {
    let row = |y| tap(y, to_height, height).from as usize;
    row(rows.start)..(row(rows.end - 1) + 2).min(height)
}

impl Scaler {
    /// Scales a picture to the size of `rect`, and writes the `rows` of the result. `to` has rows
    /// of `pitch` pixels, the first of which is for the first of `rows`; `part` has all
    /// [`rows_needed`].
    pub(super) fn scale(
        &mut self,
        part: Part<'_>,
        rect: Rect,
        rows: Range<usize>,
        to: &mut [u32],
        pitch: usize,
    ) {
        let (width, height) = part.picture;
        self.prepare(width, rect.width);
        for (y, to) in rows.zip(to.chunks_mut(pitch)) {
            let Tap { from, weight } = tap(y, rect.height, height);
            let upper = &part.pixels[(from as usize - part.first) * width..];
            let lower = &upper[if height > 1 { width } else { 0 }..];
            mix(upper, lower, &mut self.row[..width], |_| weight);
            self.scale_row(&mut to[rect.x..][..rect.width]);
        }
    }

    fn prepare(&mut self, from: usize, to: usize) {
        if self.made_for == (from, to) {
            return;
        }
        let taps = (0..to).map(|x| tap(x, to, from));
        self.from.clear();
        self.weights.clear();
        for tap in taps {
            self.from.push(tap.from);
            self.weights.extend([tap.weight; 4]);
        }
        // One more, so that the last pixel has a neighbour too.
        self.row.resize(from + 1, 0);
        self.left.resize(to, 0);
        self.right.resize(to, 0);
        self.made_for = (from, to);
    }

    /// Scales `row` sideways.
    fn scale_row(&mut self, to: &mut [u32]) {
        let gathered = self.left.iter_mut().zip(&mut self.right);
        for ((left, right), &from) in gathered.zip(&self.from) {
            if let [a, b] = self.row[from as usize..][..2] {
                (*left, *right) = (a, b);
            }
        }
        let weights = &self.weights[..4 * to.len()];
        mix(&self.left, &self.right, to, |i| weights[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_scaler_is_close_to_the_formula(from in 1usize..40, to in 1usize..90, seed: u32) {
            let line: Vec<u32> = (0..from as u32).map(|i| i.wrapping_mul(seed | 1) % 256).collect();
            let mut scaler = Scaler::default();
            scaler.prepare(from, to);
            scaler.row[..from].copy_from_slice(&line);
            let mut scaled = vec![0; to];
            scaler.scale_row(&mut scaled);
            for (x, &value) in scaled.iter().enumerate() {
                let at = ((x as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, from as f64 - 1.0);
                let (i, t) = (at.floor() as usize, at.fract());
                let want = f64::from(line[i]) * (1.0 - t) + f64::from(line[(i + 1).min(from - 1)]) * t;
                prop_assert!((f64::from(value) - want).abs() < 2.1, "{} at {}: {} for {}", from, x, value, want);
            }
        }
    }
}
