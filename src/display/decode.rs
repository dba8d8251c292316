//! JPEG to the pixels of a window, by turbojpeg: straight into the window's buffer where the size
//! allows it, else by way of a scratch picture and a bilinear scaler; black bars around. The aspect
//! ratio is always kept. Not a checker of streams: a picture that decodes with a warning is shown.

use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

/// How turbojpeg lays out `u32` pixels of value 0x00RRGGBB.
const FORMAT: PixelFormat = if cfg!(target_endian = "little") {
    PixelFormat::BGRX
} else {
    PixelFormat::XRGB
};

/// Most pixels of a picture that is decoded: 8192 x 8192, twice "8K". A header is the network's
/// word, and memory must stay bounded.
const MAX_PIXELS: usize = 1 << 26;

/// The turbojpeg scaling factors in use, in eighths. The others exist too, but only these have SIMD
/// inverse DCTs; decoding to one of these and scaling the rest of the way is faster.
const EIGHTHS: [usize; 4] = [1, 2, 4, 8];

/// Why a frame gave no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// turbojpeg cannot be set up, or the bytes are no JPEG.
    #[error("the frame is no JPEG that can be decoded: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    /// The header claims a size beyond reason.
    #[error("the frame claims to be {width}x{height}, more than {MAX_PIXELS} pixels")]
    TooLarge {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The caller's buffer is no whole window.
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

/// A rectangle in a window, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

/// What a decoded frame was and where it went.
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

/// The largest centred rectangle in `window` with the aspect ratio of `picture` (width, height); at
/// least one pixel each way, empty only if the window or the picture is.
pub fn fit(picture: (usize, usize), window: (usize, usize)) -> Rect {
    let ((pw, ph), (ww, wh)) = (picture, window);
    if pw == 0 || ph == 0 || ww == 0 || wh == 0 {
        return Rect {
            x: 0,
            y: 0,
            width: 0,
            height: 0,
        };
    }
    let scaled = |side: usize, num: usize, den: usize| (side * num + den / 2) / den;
    let (width, height) = if ww * ph <= wh * pw {
        (ww, scaled(ph, ww, pw).clamp(1, wh))
    } else {
        (scaled(pw, wh, ph).clamp(1, ww), wh)
    };
    Rect {
        x: (ww - width) / 2,
        y: (wh - height) / 2,
        width,
        height,
    }
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

    /// Decodes `jpeg` into `window`, a buffer of `size` (width, height) pixels in rows without gaps:
    /// as large as it fits with its aspect ratio kept, black around it. On an error `window` is as it was.
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
        let rect = fit(picture, size);
        let factor = factor_for(picture, rect);
        self.turbo.set_scaling_factor(factor)?;
        let scaled = (factor.scale(picture.0), factor.scale(picture.1));
        blacken_around(window, width, rect);
        let warning = if scaled == (rect.width, rect.height) {
            let start = rect.y * width + rect.x;
            decompress(&mut self.turbo, jpeg, &mut window[start..], scaled, width)?
        } else {
            // Grows to the largest picture seen and stays.
            let needed = scaled.0 * scaled.1;
            if self.scratch.len() < needed {
                self.scratch.resize(needed, 0);
            }
            let scratch = &mut self.scratch[..needed];
            let warning = decompress(&mut self.turbo, jpeg, scratch, scaled, scaled.0)?;
            self.scaler.scale(scratch, scaled, window, width, rect);
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

/// The smallest factor whose result covers `rect`; 1 if even that does not.
fn factor_for(picture: (usize, usize), rect: Rect) -> ScalingFactor {
    EIGHTHS
        .iter()
        .map(|&eighths| ScalingFactor::new(eighths, 8))
        .find(|factor| {
            factor.scale(picture.0) >= rect.width && factor.scale(picture.1) >= rect.height
        })
        .unwrap_or(ScalingFactor::ONE)
}

/// Decodes to `size` pixels in rows of `pitch` pixels. A complaint of turbojpeg is returned, not an
/// error: its warnings (a scan that ends early, a stray marker) come as errors too, and leave a
/// usable picture.
fn decompress(
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

/// Fills all of a window of the given width but `rect` with black.
fn blacken_around(window: &mut [u32], width: usize, rect: Rect) {
    for (y, row) in window.chunks_exact_mut(width).enumerate() {
        if y < rect.y || y >= rect.y + rect.height {
            row.fill(0);
        } else {
            row[..rect.x].fill(0);
            row[rect.x + rect.width..].fill(0);
        }
    }
}

/// A bilinear scaler that keeps its tables from frame to frame.
#[derive(Debug, Default)]
struct Scaler {
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

impl Scaler {
    /// Scales `picture`, of `size`, into `rect` of a window with rows of `pitch` pixels.
    fn scale(
        &mut self,
        picture: &[u32],
        size: (usize, usize),
        window: &mut [u32],
        pitch: usize,
        rect: Rect,
    ) {
        let (width, height) = size;
        if self.made_for != (width, rect.width) {
            self.columns.clear();
            self.columns
                .extend((0..rect.width).map(|x| tap(x, rect.width, width)));
            // One more, so that the last pixel has a neighbour too.
            self.row.resize(width + 1, 0);
            self.made_for = (width, rect.width);
        }
        for y in 0..rect.height {
            let Tap { from, weight } = tap(y, rect.height, height);
            let upper = &picture[from as usize * width..];
            let lower = &upper[if height > 1 { width } else { 0 }..];
            mix_rows(
                &upper[..width],
                &lower[..width],
                weight,
                &mut self.row[..width],
            );
            let to = &mut window[(rect.y + y) * pitch + rect.x..][..rect.width];
            scale_row(&self.row, &self.columns, to);
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
    use turbojpeg::{Compressor, Subsamp};

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
        fn the_aspect_ratio_is_kept(pw in 1usize..5000, ph in 1usize..5000, ww in 1usize..5000, wh in 1usize..5000) {
            let rect = fit((pw, ph), (ww, wh));
            prop_assert!(rect.width >= 1 && rect.height >= 1);
            prop_assert!(rect.x + rect.width <= ww && rect.y + rect.height <= wh);
            prop_assert!(rect.width == ww || rect.height == wh);
            // Centred to the pixel, and true to half a pixel on the shorter way.
            prop_assert!((ww - rect.width).abs_diff(2 * rect.x) <= 1);
            prop_assert!((wh - rect.height).abs_diff(2 * rect.y) <= 1);
            if rect.width == ww {
                let ideal = (ww * ph) as f64 / pw as f64;
                prop_assert!(rect.height == 1 || (rect.height as f64 - ideal).abs() <= 0.5001);
            } else {
                let ideal = (wh * pw) as f64 / ph as f64;
                prop_assert!(rect.width == 1 || (rect.width as f64 - ideal).abs() <= 0.5001);
            }
        }

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
