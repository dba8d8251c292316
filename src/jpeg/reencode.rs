//! The last resort: decode to pixels and encode again, with turbojpeg, for what cannot be carried
//! otherwise and for the optional downscale. Loses a little; the gate counts and says it.

use turbojpeg::{
    Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp,
    compressed_buf_len,
};

use super::Sampling;

/// More pixels are refused: 8K video, 100 MB of RGB.
pub(super) const MAX_PIXELS: usize = 7680 * 4320;

/// A decoder, an encoder, and the buffers between them, reused from frame to frame.
#[derive(Debug)]
pub(super) struct Reencoder {
    decompressor: Decompressor,
    compressor: Compressor,
    decoded: Vec<u8>,
    scaled: Vec<u8>,
    row: Vec<f32>,
}

impl Reencoder {
    /// `quality` is libjpeg's, 1 to 100.
    pub(super) fn new(quality: u8) -> turbojpeg::Result<Reencoder> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(quality.clamp(1, 100)))?;
        Ok(Reencoder {
            decompressor: Decompressor::new()?,
            compressor,
            decoded: Vec::new(),
            scaled: Vec::new(),
            row: Vec::new(),
        })
    }

    /// Decodes `jpeg`, of `size` (width, height) and at most [`MAX_PIXELS`], scales it down to `target`, and
    /// encodes it into the front of `out`. Returns the new JPEG's length.
    pub(super) fn run(
        &mut self,
        jpeg: &[u8],
        size: (usize, usize),
        target: (usize, usize),
        sampling: Sampling,
        out: &mut Vec<u8>,
    ) -> turbojpeg::Result<usize> {
        let factor = decoder_scale(size, target);
        let (width, height) = (factor.scale(size.0), factor.scale(size.1));
        self.decode(jpeg, factor, width, height)?;
        let pixels = if (width, height) == target {
            &self.decoded
        } else {
            shrink(
                &self.decoded,
                (width, height),
                &mut self.scaled,
                target,
                &mut self.row,
            );
            &self.scaled
        };
        let subsamp = match sampling {
            Sampling::Yuv422 => Subsamp::Sub2x1,
            Sampling::Yuv420 => Subsamp::Sub2x2,
        };
        self.compressor.set_subsamp(subsamp)?;
        let (width, height) = target;
        let room = compressed_buf_len(width, height, subsamp)?;
        if out.len() < room {
            *out = vec![0; room];
        }
        let (pitch, format) = (3 * width, PixelFormat::RGB);
        let image = Image {
            pixels: &pixels[..pitch * height],
            width,
            pitch,
            height,
            format,
        };
        self.compressor.compress_to_slice(image, out)
    }

    /// To RGB in the front of `decoded`.
    fn decode(
        &mut self,
        jpeg: &[u8],
        factor: ScalingFactor,
        width: usize,
        height: usize,
    ) -> turbojpeg::Result<()> {
        let header = self.decompressor.read_header(jpeg)?;
        let cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
        let format = if cmyk {
            PixelFormat::CMYK
        } else {
            PixelFormat::RGB
        };
        let pitch = width * format.size();
        if self.decoded.len() < pitch * height {
            self.decoded.resize(pitch * height, 0);
        }
        self.decompressor.set_scaling_factor(factor)?;
        let pixels = &mut self.decoded[..pitch * height];
        self.decompressor.decompress(
            jpeg,
            Image {
                pixels,
                width,
                pitch,
                height,
                format,
            },
        )?;
        if cmyk {
            cmyk_to_rgb(&mut self.decoded, width * height);
        }
        Ok(())
    }
}

/// In place. JPEG files hold CMYK inverted, as Adobe wrote it first: 255 is no ink.
fn cmyk_to_rgb(pixels: &mut [u8], count: usize) {
    for i in 0..count {
        let key = u32::from(pixels[4 * i + 3]);
        for c in 0..3 {
            pixels[3 * i + c] = ((u32::from(pixels[4 * i + c]) * key + 127) / 255) as u8;
        }
    }
}

/// The smallest scale of the decoder, in eighths, that still covers `target`.
fn decoder_scale(size: (usize, usize), target: (usize, usize)) -> ScalingFactor {
    (1..8)
        .map(|eighths| ScalingFactor::new(eighths, 8))
        .find(|factor| factor.scale(size.0) >= target.0 && factor.scale(size.1) >= target.1)
        .unwrap_or(ScalingFactor::ONE)
}

/// The largest size within `limit` with the proportions of `size`, even where it shrinks; `None` if
/// `size` fits already.
pub(super) fn fit(size: (u16, u16), limit: (u32, u32)) -> Option<(usize, usize)> {
    let (width, height) = (u64::from(size.0), u64::from(size.1));
    let (most_wide, most_high) = (u64::from(limit.0.max(2)), u64::from(limit.1.max(2)));
    if width <= most_wide && height <= most_high {
        return None;
    }
    let (w, h) = if width * most_high >= height * most_wide {
        (most_wide, (height * most_wide + width / 2) / width)
    } else {
        ((width * most_high + height / 2) / height, most_high)
    };
    let even = |n: u64, source: u64| (n & !1).max(2).min(source) as usize;
    Some((even(w, width), even(h, height)))
}

/// Scales RGB down by averaging the area that each new pixel covers.
fn shrink(
    from: &[u8],
    size: (usize, usize),
    to: &mut Vec<u8>,
    target: (usize, usize),
    row: &mut Vec<f32>,
) {
    let pitch = 3 * size.0;
    to.resize(3 * target.0 * target.1, 0);
    for (y, line) in to.chunks_exact_mut(3 * target.0).enumerate() {
        row.clear();
        row.resize(pitch, 0.0);
        for (source, weight) in cover(y, size.1, target.1) {
            let source = &from[source * pitch..(source + 1) * pitch];
            for (sum, &value) in row.iter_mut().zip(source) {
                *sum += weight * f32::from(value);
            }
        }
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let mut sum = [0.0f32; 3];
            for (source, weight) in cover(x, size.0, target.0) {
                for (s, value) in sum.iter_mut().zip(&row[3 * source..3 * source + 3]) {
                    *s += weight * value;
                }
            }
            pixel
                .iter_mut()
                .zip(sum)
                .for_each(|(p, s)| *p = (s + 0.5) as u8);
        }
    }
}

/// The source positions that new position `i` covers, each with its share; the shares add up to 1.
fn cover(i: usize, size: usize, target: usize) -> impl Iterator<Item = (usize, f32)> {
    // In units of 1 / target of a source position.
    let (start, end) = (i * size, (i + 1) * size);
    (start / target..end.div_ceil(target)).map(move |source| {
        let covered = end.min((source + 1) * target) - start.max(source * target);
        (source, covered as f32 / size as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_proportions_and_never_grow() {
        assert_eq!(fit((1280, 720), (1280, 720)), None);
        assert_eq!(fit((640, 480), (1280, 720)), None);
        assert_eq!(fit((1920, 1080), (1280, 720)), Some((1280, 720)));
        assert_eq!(fit((1920, 1080), (641, 9999)), Some((640, 360)));
        assert_eq!(fit((1080, 1920), (1280, 720)), Some((404, 720)));
        assert_eq!(fit((65535, 1), (100, 100)), Some((100, 1)));
        assert_eq!(fit((4, 4), (0, 0)), Some((2, 2)));
    }

    #[test]
    fn the_decoder_scales_no_further_than_the_target() {
        assert_eq!(
            decoder_scale((1920, 1080), (960, 540)),
            ScalingFactor::new(1, 2)
        );
        assert_eq!(
            decoder_scale((1920, 1080), (1280, 720)),
            ScalingFactor::new(6, 8)
        );
        assert_eq!(
            decoder_scale((1920, 1080), (100, 56)),
            ScalingFactor::new(1, 8)
        );
        assert_eq!(
            decoder_scale((1920, 1080), (1900, 1068)),
            ScalingFactor::ONE
        );
    }

    #[test]
    fn areas_are_averaged() {
        let from: Vec<u8> = [[0; 3], [90; 3], [30; 3]].concat();
        let (mut to, mut row) = (Vec::new(), Vec::new());
        shrink(&from, (3, 1), &mut to, (2, 1), &mut row);
        assert_eq!(to, [30, 30, 30, 50, 50, 50]);
        let flat = vec![255; 3 * 50 * 40];
        shrink(&flat, (50, 40), &mut to, (31, 23), &mut row);
        assert!(to.iter().all(|&p| p == 255));
    }
}
