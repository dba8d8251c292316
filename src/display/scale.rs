//! Bilinear scaling of pixels 0x00RRGGBB, as far as turbojpeg's factors do not reach. It may be given
//! part of a picture: a row of the result is the same whichever part it is made from.

use std::ops::Range;

use super::layout::Rect;

/// A bilinear scaler that keeps its tables from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Scaler {
    columns: Vec<Tap>,
    /// The widths that `columns` was made for: from, to.
    made_for: (usize, usize),
    /// One row of the result, but still of the source's width.
    row: Vec<u32>,
}

/// Where one pixel comes from: `from` and its next neighbour, which weighs `weight` of 256.
#[derive(Clone, Copy, Debug)]
struct Tap {
    from: u32,
    weight: u32,
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
        weight: (position - 256 * from) as u32,
    }
}

/// `a` and `b` mixed, `b` weighing `weight` of 256; the three colours at once, in 16 bits each.
fn mix(a: u32, b: u32, weight: u32) -> u32 {
    const RED_BLUE: u64 = 0x00ff_00ff;
    const GREEN: u64 = 0x0000_ff00;
    let spread = |p: u32| (u64::from(p) & RED_BLUE) | (u64::from(p) & GREEN) << 24;
    let mixed = spread(a) * u64::from(256 - weight) + spread(b) * u64::from(weight);
    (mixed >> 8 & RED_BLUE | mixed >> 32 & GREEN) as u32
}

/// [`mix`] for whole rows, byte by byte: a form that compilers turn into SIMD.
fn mix_rows(a: &[u32], b: &[u32], weight: u32, to: &mut [u32]) {
    let (a, b): (&[u8], &[u8]) = (bytemuck::cast_slice(a), bytemuck::cast_slice(b));
    let weight = weight as u16;
    for ((to, &a), &b) in bytemuck::cast_slice_mut(to).iter_mut().zip(a).zip(b) {
        *to = ((u16::from(a) * (256 - weight) + u16::from(b) * weight) >> 8) as u8;
    }
}

/// Rows of a picture that may be larger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// Its rows, without gaps.
    pub(super) pixels: &'a [u32],
    /// The picture's number of the first of them.
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
    /// Scales a picture to the size of `rect`, and writes the `rows` of the result. `to` has rows of
    /// `pitch` pixels, the first of which is for the first of `rows`; `part` has all
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
        if self.made_for != (width, rect.width) {
            self.columns.clear();
            self.columns
                .extend((0..rect.width).map(|x| tap(x, rect.width, width)));
            // One more, so that the last pixel has a neighbour too.
            self.row.resize(width + 1, 0);
            self.made_for = (width, rect.width);
        }
        for (y, to) in rows.zip(to.chunks_mut(pitch)) {
            let Tap { from, weight } = tap(y, rect.height, height);
            let upper = &part.pixels[(from as usize - part.first) * width..];
            let lower = &upper[if height > 1 { width } else { 0 }..];
            mix_rows(
                &upper[..width],
                &lower[..width],
                weight,
                &mut self.row[..width],
            );
            scale_row(&self.row, &self.columns, &mut to[rect.x..][..rect.width]);
        }
    }
}

/// Scales `line`, which has a pixel more than the picture is wide, sideways.
fn scale_row(line: &[u32], columns: &[Tap], to: &mut [u32]) {
    for (to, tap) in to.iter_mut().zip(columns) {
        let from = tap.from as usize;
        if let [a, b] = line[from..from + 2] {
            *to = mix(a, b, tap.weight);
        }
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
            let columns: Vec<Tap> = (0..to).map(|x| tap(x, to, from)).collect();
            let mut scaled = vec![0; to];
            scale_row(&[&line[..], &[0]].concat(), &columns, &mut scaled);
            for (x, &value) in scaled.iter().enumerate() {
                let at = ((x as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, from as f64 - 1.0);
                let (i, t) = (at.floor() as usize, at.fract());
                let want = f64::from(line[i]) * (1.0 - t) + f64::from(line[(i + 1).min(from - 1)]) * t;
                prop_assert!((f64::from(value) - want).abs() < 2.1, "{} at {}: {} for {}", from, x, value, want);
            }
        }
    }
}
