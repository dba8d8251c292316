//! Filled rectangles and text on a planar YUV picture, and its JPEG: just what pattern and slate
//! need. They draw in the encoder's format, so there is no RGB copy. Not a graphics library.

use turbojpeg::{Compressor, Subsamp, YuvPlanesImage, compressed_buf_len};

use crate::font::Font;
use crate::jpeg::Sampling;

/// A colour as JPEG stores it: full range Y, Cb, Cr (JFIF §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// Luma.
    pub y: u8,
    /// Blue difference.
    pub cb: u8,
    /// Red difference.
    pub cr: u8,
}

impl Colour {
    /// A shade of grey.
    pub const fn grey(y: u8) -> Colour {
        Colour {
            y,
            cb: 128,
            cr: 128,
        }
    }

    /// From full-range RGB (JFIF §7).
    pub fn rgb(r: u8, g: u8, b: u8) -> Colour {
        let (r, g, b) = (f32::from(r), f32::from(g), f32::from(b));
        // `as` saturates, which is what a colour at the edge needs.
        Colour {
            y: (0.299 * r + 0.587 * g + 0.114 * b).round() as u8,
            cb: (128.0 - 0.168_736 * r - 0.331_264 * g + 0.5 * b).round() as u8,
            cr: (128.0 + 0.5 * r - 0.418_688 * g - 0.081_312 * b).round() as u8,
        }
    }
}

/// A rectangle in pixels; anything outside the picture is not drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width.
    pub w: usize,
    /// Height.
    pub h: usize,
}

/// One plane of samples.
struct Plane {
    samples: Vec<u8>,
    width: usize,
    height: usize,
}

impl Plane {
    fn new(width: usize, height: usize, value: u8) -> Plane {
        Plane {
            samples: vec![value; width * height],
            width,
            height,
        }
    }

    /// Fills columns `x0..x1` of rows `y0..y1`, clipped.
    fn fill(&mut self, x0: usize, x1: usize, y0: usize, y1: usize, value: u8) {
        let x1 = x1.min(self.width);
        if x0 >= x1 {
            return;
        }
        let rows = self.samples.chunks_exact_mut(self.width);
        for row in rows.take(y1.min(self.height)).skip(y0) {
            row[x0..x1].fill(value);
        }
    }

    /// Mixes `value` in from column `x` of the picture on, as much as the coverage says; a sample
    /// of this plane is `step` columns wide.
    fn mix(&mut self, x: usize, y: usize, coverage: &[u8], value: u8, step: usize) {
        let Some(row) = self.samples.chunks_exact_mut(self.width).nth(y) else {
            return;
        };
        for (x, &part) in (x..).zip(coverage).filter(|(_, part)| **part > 0) {
            let Some(sample) = row.get_mut(x / step) else {
                return;
            };
            let (old, new, part) = (u32::from(*sample), u32::from(value), u32::from(part));
            *sample = ((old * (255 - part) + new * part + 127) / 255) as u8;
        }
    }
}

/// A picture to draw on.
pub struct Canvas {
    width: usize,
    height: usize,
    sampling: Sampling,
    y: Plane,
    cb: Plane,
    cr: Plane,
}

impl Canvas {
    /// A black picture of `width` x `height` pixels.
    pub fn new(width: usize, height: usize, sampling: Sampling) -> Canvas {
        let vertical = vertical_factor(sampling);
        // The encoder wants planes that cover whole chroma samples.
        let (full_width, full_height) =
            (width.next_multiple_of(2), height.next_multiple_of(vertical));
        let (half_width, half_height) = (full_width / 2, full_height / vertical);
        Canvas {
            width,
            height,
            sampling,
            y: Plane::new(full_width, full_height, 0),
            cb: Plane::new(half_width, half_height, 128),
            cr: Plane::new(half_width, half_height, 128),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Fills a rectangle. Chroma samples that it partly covers take its colour.
    pub fn fill(&mut self, rect: Rect, colour: Colour) {
        if rect.w == 0 || rect.h == 0 {
            return;
        }
        let (x1, y1) = (rect.x + rect.w, rect.y + rect.h);
        self.y.fill(rect.x, x1, rect.y, y1, colour.y);
        let v = vertical_factor(self.sampling);
        let (cx0, cx1) = (rect.x / 2, x1.div_ceil(2));
        let (cy0, cy1) = (rect.y / v, y1.div_ceil(v));
        self.cb.fill(cx0, cx1, cy0, cy1, colour.cb);
        self.cr.fill(cx0, cx1, cy0, cy1, colour.cr);
    }

    /// Draws one line of text with its top left corner at `x`, `y`. The background stays.
    pub fn text(&mut self, x: usize, y: usize, font: &mut Font, text: &str, colour: Colour) {
        let v = vertical_factor(self.sampling);
        let (luma, cb, cr) = (&mut self.y, &mut self.cb, &mut self.cr);
        font.draw(text, (x, y), |x, y, coverage| {
            luma.mix(x, y, coverage, colour.y, 1);
            cb.mix(x, y / v, coverage, colour.cb, 2);
            cr.mix(x, y / v, coverage, colour.cr, 2);
        });
    }
}

/// Luma rows per chroma row.
fn vertical_factor(sampling: Sampling) -> usize {
    match sampling {
        Sampling::Yuv422 => 1,
        Sampling::Yuv420 => 2,
    }
}

/// Encodes canvases as JPEGs into a buffer of its own that is reused.
pub struct Encoder {
    compressor: Compressor,
    out: Vec<u8>,
}

impl Encoder {
    /// An encoder of the given quality, 1 to 100.
    ///
    /// # Errors
    /// What turbojpeg says; out of memory, in practice.
    pub fn new(quality: i32) -> Result<Encoder, turbojpeg::Error> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(quality)?;
        Ok(Encoder {
            compressor,
            out: Vec::new(),
        })
    }

    /// Encodes `canvas` and lends the JPEG until the next call.
    ///
    /// # Errors
    /// What turbojpeg says; a size that it cannot handle, in practice.
    pub fn encode(&mut self, canvas: &Canvas) -> Result<&[u8], turbojpeg::Error> {
        let subsamp = match canvas.sampling {
            Sampling::Yuv422 => Subsamp::Sub2x1,
            Sampling::Yuv420 => Subsamp::Sub2x2,
        };
        let most = compressed_buf_len(canvas.width, canvas.height, subsamp)?;
        if self.out.len() < most {
            // Zeroed memory straight from the system: pages that no JPEG reaches stay unused.
            self.out = vec![0; most];
        }
        let image = YuvPlanesImage {
            y_plane: &canvas.y.samples[..],
            u_plane: &canvas.cb.samples[..],
            v_plane: &canvas.cr.samples[..],
            width: canvas.width,
            height: canvas.height,
            y_stride: canvas.y.width,
            u_stride: canvas.cb.width,
            v_stride: canvas.cr.width,
            subsamp,
        };
        let len = self
            .compressor
            .compress_yuv_planes_to_slice(&image, &mut self.out)?;
        Ok(&self.out[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(jpeg: &[u8]) -> turbojpeg::Image<Vec<u8>> {
        turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap()
    }

    #[test]
    fn what_is_drawn_comes_out_of_the_jpeg() {
        for sampling in [Sampling::Yuv422, Sampling::Yuv420] {
            for (width, height) in [(64, 48), (33, 17), (17, 33)] {
                let mut canvas = Canvas::new(width, height, sampling);
                canvas.fill(
                    Rect {
                        x: 0,
                        y: 0,
                        w: 999,
                        h: 999,
                    },
                    Colour::rgb(255, 255, 255),
                );
                canvas.fill(
                    Rect {
                        x: 0,
                        y: 0,
                        w: 16,
                        h: 16,
                    },
                    Colour::rgb(255, 0, 0),
                );
                let mut encoder = Encoder::new(95).unwrap();
                let image = decode(encoder.encode(&canvas).unwrap());
                assert_eq!((image.width, image.height), (width, height));
                let pixel = |x: usize, y: usize| &image.pixels[y * image.pitch + x * 3..][..3];
                let (red, white) = (pixel(4, 4), pixel(width - 1, height - 1));
                assert!(red[0] > 240 && red[1] < 15 && red[2] < 15, "{red:?}");
                assert!(white.iter().all(|&c| c > 240), "{white:?}");
            }
        }
    }

    #[test]
    fn drawing_outside_is_clipped() {
        let mut canvas = Canvas::new(16, 16, Sampling::Yuv420);
        canvas.fill(
            Rect {
                x: 100,
                y: 0,
                w: 5,
                h: 5,
            },
            Colour::grey(255),
        );
        canvas.fill(
            Rect {
                x: 0,
                y: 100,
                w: 5,
                h: 5,
            },
            Colour::grey(255),
        );
        canvas.text(
            9,
            12,
            &mut Font::new(20),
            "long text \u{e9}\n",
            Colour::grey(9),
        );
        assert!(canvas.y.samples.iter().all(|&y| y <= 9));
    }

    #[test]
    fn text_has_its_colour() {
        for sampling in [Sampling::Yuv422, Sampling::Yuv420] {
            let mut canvas = Canvas::new(64, 64, sampling);
            let red = Colour::rgb(255, 0, 0);
            canvas.text(2, 2, &mut Font::new(48), "I", red);
            let brightest = canvas.y.samples.iter().max();
            assert_eq!(brightest, Some(&red.y));
            assert!(canvas.cr.samples.iter().any(|&cr| cr > 240));
            assert!(canvas.cb.samples.iter().any(|&cb| cb < 100));
        }
    }
}
