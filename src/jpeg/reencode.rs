//! The last resort: decodes to pixels and encodes again, with turbojpeg, for what cannot be carried
//! otherwise and for the optional downscale. It loses a little quality; the gate counts and logs
//! it.

use turbojpeg::{
    Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp,
    compressed_buf_len,
};

use super::Sampling;

/// More pixels are refused: 8K video, 133 MB at four bytes each.
pub(super) const MAX_PIXELS: usize = 7680 * 4320;

/// A decoder, an encoder, and the buffers between them, reused from frame to frame.
#[derive(Debug)]
pub(super) struct Reencoder {
    decompressor: Decompressor,
    compressor: Compressor,
    decoded: Vec<u8>,
    scaled: Vec<u8>,
    work: Work,
}

/// Memory of [`shrink`].
#[derive(Debug, Default)]
struct Work {
    /// The sums of one new row, not yet narrowed.
    row: Vec<u16>,
    /// How much each new column takes of a row, column after column.
    columns: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    /// Where the source pixel starts in its row.
    at: usize,
    share: u16,
    /// No more of this column follows.
    last: bool,
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
            work: Work::default(),
        })
    }

    /// Decodes `jpeg`, of `size` (width, height) and at most [`MAX_PIXELS`], scales it down to
    /// `target`, and encodes it into the start of `out`. Returns the new JPEG's length, and the
    /// decoder's warning.
    pub(super) fn run(
        &mut self,
        jpeg: &[u8],
        size: (usize, usize),
        target: (usize, usize),
        sampling: Sampling,
        out: &mut Vec<u8>,
    ) -> turbojpeg::Result<(usize, Option<turbojpeg::Error>)> {
        let factor = decoder_scale(size, target);
        let (width, height) = (factor.scale(size.0), factor.scale(size.1));
        let warning = self.decode(jpeg, factor, width, height)?;
        let pixels = if (width, height) == target {
            &self.decoded
        } else {
            shrink(
                &self.decoded,
                (width, height),
                &mut self.scaled,
                target,
                &mut self.work,
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
        let (pitch, format) = (4 * width, PixelFormat::RGBX);
        let image = Image {
            pixels: &pixels[..pitch * height],
            width,
            pitch,
            height,
            format,
        };
        let len = self.compressor.compress_to_slice(image, out)?;
        Ok((len, warning))
    }

    /// Decodes to RGB, four bytes a pixel, into the start of `decoded`. Returns the decoder's
    /// warning.
    fn decode(
        &mut self,
        jpeg: &[u8],
        factor: ScalingFactor,
        width: usize,
        height: usize,
    ) -> turbojpeg::Result<Option<turbojpeg::Error>> {
        let header = self.decompressor.read_header(jpeg)?;
        let cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
        let format = if cmyk {
            PixelFormat::CMYK
        } else {
            PixelFormat::RGBX
        };
        let pitch = width * format.size();
        if self.decoded.len() < pitch * height {
            self.decoded.resize(pitch * height, 0);
        }
        self.decompressor.set_scaling_factor(factor)?;
        let pixels = &mut self.decoded[..pitch * height];
        let image = Image {
            pixels,
            width,
            pitch,
            height,
            format,
        };
        let warning = match self.decompressor.decompress(jpeg, image) {
            Err(error) if !is_warning(&error) => return Err(error),
            result => result.err(),
        };
        if cmyk {
            cmyk_to_rgb(&mut self.decoded[..pitch * height]);
        }
        Ok(warning)
    }
}

/// Whether turbojpeg succeeded nevertheless: the crate returns libjpeg-turbo's warnings (`JWRN_` in
/// its jerror.h) as errors, distinguishable only by their text.
pub(super) fn is_warning(error: &turbojpeg::Error) -> bool {
    const WARNINGS: [&str; 6] = [
        "Corrupt JPEG data",
        "Premature end of JPEG file",
        "Inconsistent progression sequence",
        "Invalid SOS parameters",
        "Unknown Adobe color transform",
        "Warning: unknown JFIF revision",
    ];
    let turbojpeg::Error::TurboJpegError(text) = error else {
        return false;
    };
    WARNINGS.iter().any(|warning| text.starts_with(warning))
}

/// Whether a warning means that part of the picture is missing or wrong.
pub(super) fn is_damage(warning: &turbojpeg::Error) -> bool {
    const DAMAGE: [&str; 4] = [
        "remature end",
        "bad Huffman",
        "bad arithmetic",
        "instead of RST",
    ];
    let text = warning.to_string();
    DAMAGE.iter().any(|damage| text.contains(damage))
}

/// In place. JPEG files contain inverted CMYK, as Adobe first wrote it: 255 is no ink.
fn cmyk_to_rgb(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(4) {
        let key = u32::from(pixel[3]);
        for ink in &mut pixel[..3] {
            *ink = ((u32::from(*ink) * key + 127) / 255) as u8;
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

/// The largest size within `limit` with the proportions of `size`, both sides even; `None` if
/// `size` already fits.
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

/// Scales RGB, four bytes a pixel, down by averaging the area that each new pixel covers.
fn shrink(
    from: &[u8],
    size: (usize, usize),
    to: &mut Vec<u8>,
    target: (usize, usize),
    work: &mut Work,
) {
    let pitch = 4 * size.0;
    to.resize(4 * target.0 * target.1, 0);
    work.columns.clear();
    work.columns.extend((0..target.0).flat_map(|x| {
        let shares = cover(x, size.0, target.0);
        let last = shares.clone().count() - 1;
        let share = move |(i, (source, share))| Share {
            at: 4 * source,
            share,
            last: i == last,
        };
        shares.enumerate().map(share)
    }));
    for (y, line) in to.chunks_exact_mut(4 * target.0).enumerate() {
        work.row.clear();
        work.row.resize(pitch, 0);
        for (source, share) in cover(y, size.1, target.1) {
            let source = &from[source * pitch..(source + 1) * pitch];
            for (sum, &value) in work.row.iter_mut().zip(source) {
                *sum += share * u16::from(value);
            }
        }
        let mut pixels = line.chunks_exact_mut(4);
        let (mut red, mut green, mut blue) = (HALF, HALF, HALF);
        for column in &work.columns {
            let share = u32::from(column.share);
            let source = &work.row[column.at..column.at + 3];
            red += share * u32::from(source[0]);
            green += share * u32::from(source[1]);
            blue += share * u32::from(source[2]);
            if column.last {
                if let Some(pixel) = pixels.next() {
                    pixel[0] = (red >> 16) as u8;
                    pixel[1] = (green >> 16) as u8;
                    pixel[2] = (blue >> 16) as u8;
                }
                (red, green, blue) = (HALF, HALF, HALF);
            }
        }
    }
}

/// Half of a new pixel's unit, so that narrowing rounds. Two shares of 256 make 1 << 16.
const HALF: u32 = 1 << 15;

/// The source positions that new position `i` covers, each with its share; the shares add up to
/// 256.
fn cover(i: usize, size: usize, target: usize) -> impl Iterator<Item = (usize, u16)> + Clone {
    // In units of 1 / target of a source position.
    let (start, end) = (i * size, (i + 1) * size);
    let share_before = move |at: usize| (at.clamp(start, end) - start) * 256 / size;
    (start / target..end.div_ceil(target)).map(move |source| {
        let share = share_before((source + 1) * target) - share_before(source * target);
        (source, share as u16)
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
        let from: Vec<u8> = [[0; 4], [90; 4], [30; 4]].concat();
        let (mut to, mut work) = (Vec::new(), Work::default());
        shrink(&from, (3, 1), &mut to, (2, 1), &mut work);
        assert_eq!(to, [30, 30, 30, 0, 50, 50, 50, 0]);
        let flat = vec![255; 4 * 50 * 40];
        shrink(&flat, (50, 40), &mut to, (31, 23), &mut work);
        assert!(to.chunks(4).all(|pixel| pixel[..3] == [255; 3]));
    }
}
