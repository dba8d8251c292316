//! Exact comparison of pictures, in the planes that a decoder makes before it converts colours: at
//! the right and lower edge of a size that is no multiple of a block, colour conversion looks at
//! samples beyond the picture.

use std::path::Path;

/// The three planes of a picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Planes {
    pub width: usize,
    pub height: usize,
    planes: [Plane; 3],
}

#[derive(Clone, PartialEq, Eq)]
struct Plane {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Plane {
    /// From rows `stride` bytes apart.
    fn take(raw: &[u8], width: usize, height: usize, stride: usize) -> Plane {
        let rows = (0..height).flat_map(|y| &raw[y * stride..][..width]);
        Plane {
            width,
            height,
            samples: rows.copied().collect(),
        }
    }

    fn crop(&self, width: usize, height: usize) -> Plane {
        Plane::take(&self.samples, width, height, self.width)
    }
}

/// How raw planes are laid out in a file.
#[derive(Clone, Copy)]
pub enum Layout {
    /// Without gaps: ffmpeg's rawvideo.
    Packed,
    /// GStreamer's I420: rows start at multiples of four.
    Gstreamer,
}

impl Planes {
    /// libjpeg-turbo's decode of a JPEG.
    pub fn decode(jpeg: &[u8]) -> Planes {
        let image = turbojpeg::decompress_to_yuv(jpeg)
            .unwrap_or_else(|e| panic!("{} bytes: {e}", jpeg.len()));
        let chroma_height = match image.subsamp {
            turbojpeg::Subsamp::Sub2x1 => image.height,
            turbojpeg::Subsamp::Sub2x2 => image.height.div_ceil(2),
            other => panic!("sampling {other:?}"),
        };
        let align = |n: usize| n.next_multiple_of(image.align);
        Planes::from_raw(
            &image.pixels,
            (image.width, image.height),
            chroma_height,
            (align(image.width), align(image.width.div_ceil(2))),
        )
    }

    /// Planes of a peer's raw output; `chroma_height` tells 4:2:2 from 4:2:0.
    pub fn from_file(
        raw: &[u8],
        size: (usize, usize),
        chroma_height: usize,
        layout: Layout,
    ) -> Planes {
        let chroma_width = size.0.div_ceil(2);
        let strides = match layout {
            Layout::Packed => (size.0, chroma_width),
            Layout::Gstreamer => (size.0.next_multiple_of(4), chroma_width.next_multiple_of(4)),
        };
        Planes::from_raw(raw, size, chroma_height, strides)
    }

    fn from_raw(
        raw: &[u8],
        (width, height): (usize, usize),
        chroma_height: usize,
        strides: (usize, usize),
    ) -> Planes {
        let chroma_width = width.div_ceil(2);
        // Luma may be padded at the bottom to an even number of rows; chroma planes are at the end.
        let chroma_bytes = strides.1 * chroma_height;
        let chroma = &raw[raw.len() - 2 * chroma_bytes..];
        Planes {
            width,
            height,
            planes: [
                Plane::take(raw, width, height, strides.0),
                Plane::take(chroma, chroma_width, chroma_height, strides.1),
                Plane::take(
                    &chroma[chroma_bytes..],
                    chroma_width,
                    chroma_height,
                    strides.1,
                ),
            ],
        }
    }

    /// Likeness of grey samples, 0 to 255, to the luma of this picture, in decibels.
    pub fn psnr_of_luma(&self, grey: &[u8]) -> f64 {
        let luma = &self.planes[0].samples;
        assert_eq!(grey.len(), luma.len());
        let squares = luma
            .iter()
            .zip(grey)
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum::<f64>();
        10.0 * (255.0 * 255.0 * luma.len() as f64 / squares.max(1.0)).log10()
    }

    /// The upper left part.
    pub fn crop(&self, width: usize, height: usize) -> Planes {
        assert!(
            width <= self.width && height <= self.height,
            "{}x{}",
            self.width,
            self.height
        );
        let [y, u, v] = &self.planes;
        let chroma_width = width.div_ceil(2);
        let chroma_height = if u.height == y.height {
            height
        } else {
            height.div_ceil(2)
        };
        Planes {
            width,
            height,
            planes: [
                y.crop(width, height),
                u.crop(chroma_width, chroma_height),
                v.crop(chroma_width, chroma_height),
            ],
        }
    }
}

/// Asserts that every sample is the same.
///
/// # Panics
/// Naming the first that is not, and how many.
pub fn assert_same(what: &str, got: &Planes, expected: &Planes) {
    assert_eq!(
        (got.width, got.height),
        (expected.width, expected.height),
        "{what}: size"
    );
    for (name, (g, e)) in ["Y", "U", "V"]
        .iter()
        .zip(got.planes.iter().zip(&expected.planes))
    {
        assert_eq!(
            (g.width, g.height),
            (e.width, e.height),
            "{what}: size of {name}"
        );
        let wrong = g
            .samples
            .iter()
            .zip(&e.samples)
            .filter(|(g, e)| g != e)
            .count();
        if let Some(at) = g.samples.iter().zip(&e.samples).position(|(g, e)| g != e) {
            let (x, y) = (at % g.width, at / g.width);
            let (got, expected) = (g.samples[at], e.samples[at]);
            panic!(
                "{what}: {wrong} of {name}'s samples differ, the first at {x},{y}: {got} instead of {expected}"
            );
        }
    }
}

/// The frames of a file of concatenated JPEGs.
pub fn split(mjpeg: &[u8]) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut rest = mjpeg;
    while !rest.is_empty() {
        // Every tool here writes whole JPEGs: SOI follows EOI.
        let end = rest
            .windows(4)
            .position(|w| w == [0xff, 0xd9, 0xff, 0xd8])
            .map_or(rest.len(), |at| at + 2);
        frames.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    frames
}

/// The frames in the files `folder/000.EXTENSION` and on, in order.
pub fn read_series(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    (0..)
        .map(|n| folder.join(format!("{n:03}.{extension}")))
        .map_while(|path| std::fs::read(path).ok())
        .collect()
}
