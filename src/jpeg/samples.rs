//! JPEGs for the tests, made by another codec.

use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp, Transform};

/// A picture with edges, ramps and noise.
pub(crate) fn image(width: usize, height: usize) -> Vec<u8> {
    let mut noise = 1u32;
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let edge = if (x / 23 + y / 17) % 2 == 0 { 60 } else { 0 };
            out.push((x * 255 / width) as u8);
            out.push((y * 195 / height + edge) as u8);
            out.push((noise >> 27) as u8 + if x * height > y * width { 200 } else { 10 });
        }
    }
    out
}

/// A baseline JPEG with standard tables.
pub(crate) fn encode(width: usize, height: usize, subsamp: Subsamp, quality: i32) -> Vec<u8> {
    let pixels = image(width, height);
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(quality).unwrap();
    compressor.set_subsamp(subsamp).unwrap();
    let image = Image {
        pixels: &pixels[..],
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}

/// The same JPEG with other entropy coding.
pub(crate) fn transform(jpeg: &[u8], change: impl FnOnce(&mut Transform)) -> Vec<u8> {
    let mut transform = Transform::default();
    change(&mut transform);
    turbojpeg::transform(&transform, jpeg).unwrap().to_vec()
}

/// Its pixels as RGB. Warnings of the decoder are failures.
pub(crate) fn pixels(jpeg: &[u8]) -> Vec<u8> {
    let mut decompressor = Decompressor::new().unwrap();
    let header = decompressor.read_header(jpeg).unwrap();
    let (width, height) = (header.width, header.height);
    let mut pixels = vec![0; width * height * 3];
    let image = Image {
        pixels: &mut pixels[..],
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    decompressor.decompress(jpeg, image).unwrap();
    pixels
}

/// A file of `tests/data/jpeg`, named after the program that made it.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/jpeg")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
