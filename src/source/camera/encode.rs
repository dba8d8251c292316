//! Encodes uncompressed camera pictures as JPEG, into a reused buffer. If possible turbojpeg reads
//! the planes directly from the camera's buffer. Two pixels share chroma, so the last column or row
//! of an odd width or height (no known camera has one) is left out.

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp, YuvPlanesImage, compressed_buf_len};

use super::format::Pixels;
use super::ring::Format;
use crate::jpeg::Sampling;

/// An encoder for pictures of one format and size.
pub(super) struct Encoder {
    compressor: Compressor,
    pixels: Pixels,
    sampling: Sampling,
    width: usize,
    height: usize,
    stride: usize,
    /// Rows of luma in the buffer, including those left out.
    rows: usize,
    /// Planes that must be separated first.
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    jpeg: Vec<u8>,
}

impl Encoder {
    /// `quality`: 1 to 100. 4:2:0 sources stay 4:2:0 whatever `sampling` says.
    ///
    /// # Errors
    /// What turbojpeg said.
    pub(super) fn new(
        pixels: Pixels,
        format: Format,
        quality: u8,
        sampling: Sampling,
    ) -> Result<Encoder, turbojpeg::Error> {
        let rows = format.size.1 as usize;
        let packed_row = match pixels {
            Pixels::Yuyv => format.size.0.div_ceil(2) as usize * 4,
            Pixels::Rgb3 => format.size.0 as usize * 3,
            _ => format.size.0 as usize,
        };
        let (width, height) = (format.size.0 as usize & !1, rows & !1);
        let sampling = match pixels {
            Pixels::Nv12 | Pixels::Yu12 => Sampling::Yuv420,
            _ => sampling,
        };
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(quality.clamp(1, 100)))?;
        compressor.set_subsamp(subsamp(sampling))?;
        let chroma_rows = match sampling {
            Sampling::Yuv422 => height,
            Sampling::Yuv420 => height / 2,
        };
        let chroma = width / 2 * chroma_rows;
        let (luma, chroma) = match pixels {
            Pixels::Yuyv => (width * height, chroma),
            Pixels::Nv12 => (0, chroma),
            _ => (0, 0),
        };
        Ok(Encoder {
            compressor,
            pixels,
            sampling,
            width,
            height,
            stride: (format.stride as usize).max(packed_row),
            rows,
            y: vec![0; luma],
            u: vec![0; chroma],
            v: vec![0; chroma],
            jpeg: vec![0; compressed_buf_len(width, height, subsamp(sampling))?],
        })
    }

    /// Bytes that a picture needs; its last row need not be padded.
    pub(super) fn least(&self) -> usize {
        let plane = |stride: usize, row: usize, rows: usize| stride * (rows - 1) + row;
        let (width, half) = (self.width, self.height / 2);
        match self.pixels {
            Pixels::Jpeg => 0,
            Pixels::Yuyv => plane(self.stride, width * 2, self.height),
            Pixels::Rgb3 => plane(self.stride, width * 3, self.height),
            Pixels::Nv12 => self.stride * self.rows + plane(self.stride, width, half),
            Pixels::Yu12 => {
                let stride = self.stride.div_ceil(2);
                let second = self.stride * self.rows + stride * self.rows.div_ceil(2);
                second + plane(stride, width / 2, half)
            }
        }
    }

    /// Encodes one picture; `None` if `raw` is too short to be one.
    ///
    /// # Errors
    /// What turbojpeg said.
    pub(super) fn encode(&mut self, raw: &[u8]) -> Result<Option<usize>, turbojpeg::Error> {
        if raw.len() < self.least() {
            return Ok(None);
        }
        let length = match self.pixels {
            Pixels::Jpeg => return Ok(None),
            Pixels::Rgb3 => {
                let image = Image {
                    pixels: raw,
                    width: self.width,
                    pitch: self.stride,
                    height: self.height,
                    format: PixelFormat::RGB,
                };
                self.compressor.compress_to_slice(image, &mut self.jpeg)?
            }
            Pixels::Yuyv => {
                self.part_yuyv(raw);
                self.planes(None, self.width)?
            }
            Pixels::Nv12 => {
                self.part_nv12(raw);
                self.planes(Some(raw), self.stride)?
            }
            Pixels::Yu12 => {
                let stride = self.stride.div_ceil(2);
                let chroma = &raw[self.stride * self.rows..];
                let image = YuvPlanesImage {
                    y_plane: raw,
                    u_plane: chroma,
                    v_plane: &chroma[stride * self.rows.div_ceil(2)..],
                    width: self.width,
                    height: self.height,
                    y_stride: self.stride,
                    u_stride: stride,
                    v_stride: stride,
                    subsamp: Subsamp::Sub2x2,
                };
                self.compressor
                    .compress_yuv_planes_to_slice(&image, &mut self.jpeg)?
            }
        };
        Ok(Some(length))
    }

    /// The JPEG made last.
    pub(super) fn jpeg(&self, length: usize) -> &[u8] {
        &self.jpeg[..length.min(self.jpeg.len())]
    }

    fn planes(&mut self, luma: Option<&[u8]>, y_stride: usize) -> Result<usize, turbojpeg::Error> {
        let image = YuvPlanesImage {
            y_plane: luma.unwrap_or(&self.y),
            u_plane: &self.u,
            v_plane: &self.v,
            width: self.width,
            height: self.height,
            y_stride,
            u_stride: self.width / 2,
            v_stride: self.width / 2,
            subsamp: subsamp(self.sampling),
        };
        self.compressor
            .compress_yuv_planes_to_slice(&image, &mut self.jpeg)
    }

    /// Y U Y V to planes. For 4:2:0 the chroma of two rows is averaged.
    fn part_yuyv(&mut self, raw: &[u8]) {
        let (width, half) = (self.width, self.width / 2);
        for row in 0..self.height {
            let packed = &raw[row * self.stride..][..half * 4];
            let luma = &mut self.y[row * width..][..width];
            for (pair, quad) in luma.chunks_exact_mut(2).zip(packed.chunks_exact(4)) {
                (pair[0], pair[1]) = (quad[0], quad[2]);
            }
            let (at, average) = match self.sampling {
                Sampling::Yuv422 => (row * half, false),
                Sampling::Yuv420 => (row / 2 * half, row % 2 == 1),
            };
            let (u, v) = (&mut self.u[at..][..half], &mut self.v[at..][..half]);
            for ((quad, u), v) in packed.chunks_exact(4).zip(u).zip(v) {
                if average {
                    *u = u.midpoint(quad[1]);
                    *v = v.midpoint(quad[3]);
                } else {
                    *u = quad[1];
                    *v = quad[3];
                }
            }
        }
    }

    /// Splits interleaved chroma into planes; luma stays where it is.
    fn part_nv12(&mut self, raw: &[u8]) {
        let half = self.width / 2;
        let chroma = &raw[self.stride * self.rows..];
        for row in 0..self.height / 2 {
            let packed = &chroma[row * self.stride..][..half * 2];
            let (u, v) = (&mut self.u[row * half..], &mut self.v[row * half..]);
            for ((pair, u), v) in packed.chunks_exact(2).zip(u).zip(v) {
                (*u, *v) = (pair[0], pair[1]);
            }
        }
    }
}

fn subsamp(sampling: Sampling) -> Subsamp {
    match sampling {
        Sampling::Yuv422 => Subsamp::Sub2x1,
        Sampling::Yuv420 => Subsamp::Sub2x2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::Fourcc;
    use super::*;

    const RED: [u8; 3] = [200, 40, 30];

    /// Red left, green right of the middle, in full-range YCbCr (JFIF).
    fn colour(x: usize, width: usize) -> ([u8; 3], [u8; 3]) {
        let rgb = if x < width / 2 { RED } else { [20, 180, 60] };
        let [r, g, b] = rgb.map(f32::from);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let ycc = [y, 128.0 + (b - y) / 1.772, 128.0 + (r - y) / 1.402];
        (rgb, ycc.map(|v| v.round() as u8))
    }

    /// A picture in `pixels`, rows `stride` bytes apart, and its fewest bytes.
    fn picture(pixels: Pixels, width: usize, height: usize, stride: usize) -> Vec<u8> {
        let mut raw = vec![0u8; stride * height * 2];
        for y in 0..height {
            for x in 0..width {
                let (rgb, ycc) = colour(x, width);
                match pixels {
                    Pixels::Rgb3 => raw[y * stride + 3 * x..][..3].copy_from_slice(&rgb),
                    Pixels::Yuyv => {
                        let at = y * stride + x / 2 * 4;
                        raw[at + x % 2 * 2] = ycc[0];
                        (raw[at + 1], raw[at + 3]) = (ycc[1], ycc[2]);
                    }
                    Pixels::Nv12 => {
                        raw[y * stride + x] = ycc[0];
                        let at = stride * height + y / 2 * stride + x / 2 * 2;
                        (raw[at], raw[at + 1]) = (ycc[1], ycc[2]);
                    }
                    Pixels::Yu12 => {
                        raw[y * stride + x] = ycc[0];
                        let chroma = stride * height;
                        let at = y / 2 * (stride / 2) + x / 2;
                        raw[chroma + at] = ycc[1];
                        raw[chroma + stride / 2 * height.div_ceil(2) + at] = ycc[2];
                    }
                    Pixels::Jpeg => {}
                }
            }
        }
        raw
    }

    #[test]
    fn every_raw_format_becomes_the_same_picture() {
        for (pixels, bytes) in [
            (Pixels::Yuyv, 2),
            (Pixels::Nv12, 1),
            (Pixels::Yu12, 1),
            (Pixels::Rgb3, 3),
        ] {
            for (width, height) in [(64_usize, 48_usize), (62, 34), (63, 35)] {
                for padding in [0, 32] {
                    for sampling in [Sampling::Yuv420, Sampling::Yuv422] {
                        let stride = width.next_multiple_of(2) * bytes + padding;
                        let raw = picture(pixels, width, height, stride);
                        let format = Format {
                            fourcc: Fourcc(*b"----"),
                            size: (width as u32, height as u32),
                            stride: stride as u32,
                            bytes: raw.len() as u32,
                            planes: 1,
                        };
                        let mut encoder = Encoder::new(pixels, format, 95, sampling).unwrap();
                        let least = encoder.least();
                        assert_eq!(encoder.encode(&raw[..least - 1]).unwrap(), None);
                        let length = encoder.encode(&raw[..least]).unwrap().unwrap();
                        let jpeg = encoder.jpeg(length);
                        let back = turbojpeg::decompress(jpeg, PixelFormat::RGB).unwrap();
                        assert_eq!((back.width, back.height), (width & !1, height & !1));
                        for (x, y) in [(4, 4), (width - 5, height - 5), (4, height - 3)] {
                            let got = &back.pixels[y * back.pitch + 3 * x..][..3];
                            let (want, _) = colour(x, width);
                            let off = want.iter().zip(got).map(|(a, b)| a.abs_diff(*b)).max();
                            assert!(off < Some(12), "{pixels:?} {width}x{height} {got:?}");
                        }
                    }
                }
            }
        }
    }
}
