//! JPEG to the pixels of a window, by turbojpeg: straight into the window's buffer where the size
//! allows it, else by way of a scratch picture and a bilinear scaler; black bars around. The aspect
//! ratio is always kept. Not a checker of streams: a picture that decodes with a warning is shown.

use turbojpeg::{Decompressor, Image, PixelFormat};

use super::layout::{Layout, Rect, blacken_around};
use super::scale::{Part, Scaler};

/// How turbojpeg lays out `u32` pixels of value 0x00RRGGBB.
const FORMAT: PixelFormat = if cfg!(target_endian = "little") {
    PixelFormat::BGRX
} else {
    PixelFormat::XRGB
};

/// Most pixels of a picture that is decoded: 8192 x 8192, twice "8K". The header comes from the
/// network, and memory must stay bounded.
pub(super) const MAX_PIXELS: usize = 1 << 26;

/// Why a frame gave no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// turbojpeg cannot be set up, or the bytes are not a JPEG.
    #[error("the frame is no JPEG that can be decoded: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    /// The header claims an unreasonable size.
    #[error("the frame claims to be {width}x{height}, more than {MAX_PIXELS} pixels")]
    TooLarge {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The caller's buffer does not have the window's size.
    #[error("a buffer of {pixels} pixels is no window of {width}x{height}")]
    Buffer {
        /// Length of the buffer.
        pixels: usize,
        /// Width of the window in pixels.
        width: usize,
        /// Height of the window in pixels.
        height: usize,
    },
}

/// The sizes of a decoded frame, and where it was drawn.
#[derive(Debug)]
pub struct Decoded {
    /// The picture's own width in pixels.
    pub width: usize,
    /// The picture's own height in pixels.
    pub height: usize,
    /// Where in the window it lies.
    pub rect: Rect,
    /// turbojpeg's complaint, if it had one: the picture is there, but part of it may be wrong.
    pub warning: Option<String>,
}

/// Decodes frames; holds turbojpeg's state and the scratch memory.
#[derive(Debug)]
pub struct Decoder {
    turbo: Decompressor,
    scratch: Vec<u32>,
    scaler: Scaler,
}

impl Decoder {
    /// A new decoder.
    pub fn new() -> Result<Decoder, DecodeError> {
        Ok(Decoder {
            turbo: Decompressor::new()?,
            scratch: Vec::new(),
            scaler: Scaler::default(),
        })
    }

    /// Decodes `jpeg` into `window`, a buffer of `size` (width, height) pixels in rows without
    /// gaps: as large as it fits with its aspect ratio kept, black around it. On an error `window`
    /// is as it was.
    pub fn decode(
        &mut self,
        jpeg: &[u8],
        window: &mut [u32],
        size: (usize, usize),
    ) -> Result<Decoded, DecodeError> {
        let (width, height) = size;
        if width.checked_mul(height) != Some(window.len()) || window.is_empty() {
            return Err(DecodeError::Buffer {
                pixels: window.len(),
                width,
                height,
            });
        }
        let picture = self.size(jpeg)?;
        let layout = Layout::new(picture, size);
        let (rect, decoded) = (layout.rect, layout.decoded);
        self.turbo.set_scaling_factor(layout.factor)?;
        blacken_around(window, width, rect);
        let warning = if layout.is_direct() {
            let start = rect.y * width + rect.x;
            decompress(&mut self.turbo, jpeg, &mut window[start..], decoded, width)?
        } else {
            // Grows to the largest picture seen and stays.
            let scratch = room(&mut self.scratch, decoded.0 * decoded.1);
            let warning = decompress(&mut self.turbo, jpeg, scratch, decoded, decoded.0)?;
            let whole = Part {
                pixels: scratch,
                first: 0,
                picture: decoded,
            };
            let to = &mut window[rect.y * width..];
            self.scaler.scale(whole, rect, 0..rect.height, to, width);
            warning
        };
        Ok(Decoded {
            width: picture.0,
            height: picture.1,
            rect,
            warning,
        })
    }

    /// Decodes `jpeg` pixel for pixel into `picture`, which becomes just as large as needed.
    pub fn decode_exact(
        &mut self,
        jpeg: &[u8],
        picture: &mut Vec<u32>,
    ) -> Result<Decoded, DecodeError> {
        let (width, height) = self.size(jpeg)?;
        picture.resize(width * height, 0);
        self.decode(jpeg, picture, (width, height))
    }

    /// Width and height that the header of `jpeg` states, in pixels.
    pub fn size(&mut self, jpeg: &[u8]) -> Result<(usize, usize), DecodeError> {
        let header = self.turbo.read_header(jpeg)?;
        let (width, height) = (header.width, header.height);
        if width * height > MAX_PIXELS {
            return Err(DecodeError::TooLarge { width, height });
        }
        Ok((width, height))
    }
}

/// The first `pixels` of `memory`, which grows where it must.
pub(super) fn room(memory: &mut Vec<u32>, pixels: usize) -> &mut [u32] {
    if memory.len() < pixels {
        memory.resize(pixels, 0);
    }
    &mut memory[..pixels]
}

/// Decodes to `size` pixels in rows of `pitch` pixels. A complaint of turbojpeg is returned, not an
/// error: its warnings (a scan that ends early, a stray marker) come as errors too, and leave a
/// usable picture.
pub(super) fn decompress(
    turbo: &mut Decompressor,
    jpeg: &[u8],
    pixels: &mut [u32],
    size: (usize, usize),
    pitch: usize,
) -> Result<Option<String>, DecodeError> {
    let output = Image {
        pixels: bytemuck::cast_slice_mut(pixels),
        width: size.0,
        pitch: pitch * FORMAT.size(),
        height: size.1,
        format: FORMAT,
    };
    match turbo.decompress(jpeg, output) {
        Ok(()) => Ok(None),
        Err(turbojpeg::Error::TurboJpegError(complaint)) => Ok(Some(complaint)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::layout::fit;
    use proptest::prelude::*;
    use turbojpeg::{Compressor, ScalingFactor, Subsamp};

    fn jpeg(width: usize, height: usize, subsamp: Subsamp) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                pixels.extend([
                    (x * 255 / width) as u8,
                    (y * 255 / height) as u8,
                    ((x / 8 + y / 8) % 2 * 200) as u8,
                ]);
            }
        }
        let image = Image {
            pixels: &pixels[..],
            width,
            pitch: width * 3,
            height,
            format: PixelFormat::RGB,
        };
        let mut compressor = Compressor::new().expect("turbojpeg");
        compressor.set_subsamp(subsamp).expect("subsampling");
        compressor.set_quality(90).expect("quality");
        compressor.compress_to_vec(image).expect("compressed")
    }

    fn plain(jpeg: &[u8], factor: ScalingFactor) -> (Vec<u32>, usize, usize) {
        let mut turbo = Decompressor::new().expect("turbojpeg");
        turbo.set_scaling_factor(factor).expect("factor");
        let header = turbo.read_header(jpeg).expect("header").scaled(factor);
        let (width, height) = (header.width, header.height);
        let mut rgb = vec![0; width * height * 3];
        let image = Image {
            pixels: &mut rgb[..],
            width,
            pitch: width * 3,
            height,
            format: PixelFormat::RGB,
        };
        turbo.decompress(jpeg, image).expect("decoded");
        let pixels = rgb
            .chunks_exact(3)
            .map(|p| u32::from(p[0]) << 16 | u32::from(p[1]) << 8 | u32::from(p[2]));
        (pixels.collect(), width, height)
    }

    fn rgb(pixels: &[u32]) -> Vec<u32> {
        pixels.iter().map(|p| p & 0x00ff_ffff).collect()
    }

    #[test]
    fn exact_size_is_what_turbojpeg_says() {
        let mut decoder = Decoder::new().expect("decoder");
        for subsamp in [
            Subsamp::Sub2x1,
            Subsamp::Sub2x2,
            Subsamp::None,
            Subsamp::Gray,
        ] {
            for (width, height) in [(1, 1), (17, 9), (322, 242), (640, 480)] {
                let jpeg = jpeg(width, height, subsamp);
                let mut picture = Vec::new();
                let decoded = decoder.decode_exact(&jpeg, &mut picture).expect("decoded");
                assert_eq!((decoded.width, decoded.height), (width, height));
                assert_eq!(decoded.warning, None);
                assert_eq!(rgb(&picture), plain(&jpeg, ScalingFactor::ONE).0);
            }
        }
    }

    #[test]
    fn exact_fractions_go_straight_into_the_windows_rectangle() {
        let mut decoder = Decoder::new().expect("decoder");
        let jpeg = jpeg(640, 480, Subsamp::Sub2x1);
        for factor in [
            ScalingFactor::ONE,
            ScalingFactor::ONE_HALF,
            ScalingFactor::ONE_QUARTER,
        ] {
            let (want, width, height) = plain(&jpeg, factor);
            // Bars left and right.
            let window = (width + 31, height);
            let mut pixels = vec![0x00c0_ffee; window.0 * window.1];
            let decoded = decoder.decode(&jpeg, &mut pixels, window).expect("decoded");
            assert_eq!(
                decoded.rect,
                Rect {
                    x: 15,
                    y: 0,
                    width,
                    height
                }
            );
            let cut: Vec<u32> = pixels
                .chunks_exact(window.0)
                .flat_map(|row| row[15..15 + width].to_vec())
                .collect();
            assert_eq!(rgb(&cut), want);
            assert!(
                pixels
                    .chunks_exact(window.0)
                    .all(|row| { row[..15].iter().chain(&row[15 + width..]).all(|&p| p == 0) })
            );
        }
    }

    #[test]
    fn scaling_keeps_colours_where_they_are() {
        // Left half red, right half blue, upper quarter white.
        let (width, height) = (320, 240);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                pixels.extend(match (x, y) {
                    (_, 0..60) => [255, 255, 255],
                    (0..160, _) => [255, 0, 0],
                    _ => [0, 0, 255u8],
                });
            }
        }
        let image = Image {
            pixels: &pixels[..],
            width,
            pitch: width * 3,
            height,
            format: PixelFormat::RGB,
        };
        let jpeg = turbojpeg::compress(image, 95, Subsamp::None).expect("compressed");
        let mut decoder = Decoder::new().expect("decoder");
        for window in [
            (200, 151),
            (333, 250),
            (801, 600),
            (1000, 700),
            (97, 300),
            (30, 20),
        ] {
            let mut pixels = vec![1; window.0 * window.1];
            let rect = decoder
                .decode(&jpeg, &mut pixels, window)
                .expect("decoded")
                .rect;
            let at = |x: usize, y: usize| {
                pixels[(rect.y + y * rect.height / 16) * window.0 + rect.x + x * rect.width / 16]
            };
            let near = |p: u32, want: u32| {
                [0, 8, 16]
                    .iter()
                    .all(|&s| (p >> s & 255).abs_diff(want >> s & 255) < 16)
            };
            for (x, y, want) in [
                (3, 1, 0x00ff_ffff),
                (13, 1, 0x00ff_ffff),
                (4, 10, 0x00ff_0000),
                (12, 10, 0xff),
            ] {
                assert!(near(at(x, y), want), "{window:?} {x},{y}: {:06x}", at(x, y));
            }
        }
    }

    #[test]
    fn half_a_jpeg_is_half_a_picture_and_a_warning() {
        let jpeg = jpeg(640, 480, Subsamp::Sub2x1);
        let mut decoder = Decoder::new().expect("decoder");
        let mut whole = Vec::new();
        decoder.decode_exact(&jpeg, &mut whole).expect("decoded");
        let mut half = vec![0; 640 * 480];
        let decoded = decoder
            .decode(&jpeg[..jpeg.len() / 2], &mut half, (640, 480))
            .expect("a usable picture");
        assert!(decoded.warning.is_some());
        assert_eq!(half[..640 * 160], whole[..640 * 160]);
    }

    #[test]
    fn rubbish_is_refused_and_leaves_the_window_alone() {
        let mut decoder = Decoder::new().expect("decoder");
        let mut window = vec![5; 12];
        for bytes in [&b""[..], b"\xff\xd8", b"no JPEG at all", &[0; 500]] {
            assert!(decoder.decode(bytes, &mut window, (4, 3)).is_err());
        }
        // A size beyond reason: the height and width in SOF0.
        let mut huge = jpeg(16, 16, Subsamp::Sub2x2);
        let sof = huge
            .windows(2)
            .position(|m| m == [0xff, 0xc0])
            .expect("SOF0");
        huge[sof + 5..sof + 9].fill(0x7f);
        assert!(matches!(
            decoder.decode(&huge, &mut window, (4, 3)),
            Err(DecodeError::TooLarge {
                width: 0x7f7f,
                height: 0x7f7f
            })
        ));
        assert!(matches!(
            decoder.decode(&jpeg(8, 8, Subsamp::Gray), &mut window, (5, 3)),
            Err(DecodeError::Buffer { .. })
        ));
        assert_eq!(window, [5; 12]);
    }

    proptest! {
        #[test]
        fn any_picture_fills_its_rectangle_in_any_window(
            pw in 1usize..90, ph in 1usize..90, ww in 1usize..130, wh in 1usize..130,
        ) {
            // White, so that black is where the picture is not.
            let white = vec![255u8; pw * ph];
            let image = Image { pixels: &white[..], width: pw, pitch: pw, height: ph, format: PixelFormat::GRAY };
            let jpeg = turbojpeg::compress(image, 90, Subsamp::Gray).expect("compressed");
            let mut window = vec![0x0012_3456; ww * wh];
            let decoded = Decoder::new().expect("decoder").decode(&jpeg, &mut window, (ww, wh)).expect("decoded");
            prop_assert_eq!(decoded.rect, fit((pw, ph), (ww, wh)));
            let r = decoded.rect;
            for (i, p) in window.iter().enumerate() {
                let (x, y) = (i % ww, i / ww);
                let inside = x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height;
                prop_assert_eq!(p & 0x00ff_ffff, if inside { 0x00ff_ffff } else { 0 });
            }
        }

    }
}
