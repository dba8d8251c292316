//! Clips as a camera would make them: 4:2:2, standard tables, frames of a wanted size that all
//! differ. Each frame carries its number in its upper left corner, where it can be read in the
//! decoded picture.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lancam::clock::Mono;
use lancam::record::Recorder;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// Frames a second in the container.
pub(crate) const FPS: u32 = 30;
/// Time from one frame to the next.
pub(crate) const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FPS as u64);
/// Frames that differ; then they start again.
pub(crate) const DIFFERENT: usize = 60;
/// Frames in the container: longer than any measurement that it serves.
pub(crate) const FRAMES: usize = 10 * FPS as usize;
/// Bits of a frame's number, and the pixels of each one's square.
pub(crate) const BITS: usize = 6;
pub(crate) const CELL: usize = 32;

/// A clip on disk and in memory.
pub(crate) struct Clip {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// The frames that differ.
    pub(crate) frames: Vec<Vec<u8>>,
    folder: PathBuf,
}

impl Clip {
    /// The clip with frames of about `bytes`, made if it is not there yet.
    pub(crate) fn get(width: usize, height: usize, bytes: usize) -> Clip {
        let name = format!("bench1-{width}x{height}-{bytes}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".cache/clips")
            .join(name);
        if !folder.is_dir() {
            eprintln!("making {}", folder.display());
            make(width, height, bytes, &folder);
        }
        Clip::load(&folder)
    }

    /// The clip in a folder that [`Clip::get`] has made.
    pub(crate) fn load(folder: &Path) -> Clip {
        let frames: Vec<_> = (0..DIFFERENT)
            .map(|n| fs::read(folder.join(format!("{n:03}.jpg"))).expect("a frame of the clip"))
            .collect();
        let header = turbojpeg::read_header(&frames[0]).expect("a JPEG");
        Clip {
            width: header.width,
            height: header.height,
            frames,
            folder: folder.to_owned(),
        }
    }

    /// [`FRAMES`] of them in a container.
    pub(crate) fn avi(&self) -> PathBuf {
        self.folder.join("clip.avi")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Mean size in bytes.
    pub(crate) fn mean_size(&self) -> usize {
        self.frames.iter().map(Vec::len).sum::<usize>() / self.frames.len()
    }

    /// For a table: `1280x720`.
    pub(crate) fn size(&self) -> String {
        format!("{}x{}", self.width, self.height)
    }
}

/// The number that a frame carries, from the brightness of its pixels: `luma(x, y)`.
pub(crate) fn number(luma: impl Fn(usize, usize) -> u8) -> usize {
    (0..BITS)
        .filter(|bit| luma(bit * CELL + CELL / 2, CELL / 2) > 127)
        .map(|bit| 1 << bit)
        .sum()
}

fn make(width: usize, height: usize, bytes: usize, folder: &Path) {
    let parent = folder.parent().expect("a parent");
    fs::create_dir_all(parent).expect("the cache's folder");
    let draft = tempfile::tempdir_in(parent).expect("a folder for the clip");
    let pictures: Vec<_> = (0..DIFFERENT).map(|n| paint(width, height, n)).collect();
    let quality = (30..=95)
        .find(|&quality| encode(width, height, quality, &pictures[0]).len() >= bytes)
        .expect("a quality that gives the size");
    let frames: Vec<_> = pictures
        .iter()
        .map(|picture| encode(width, height, quality, picture))
        .collect();
    for (n, frame) in frames.iter().enumerate() {
        fs::write(draft.path().join(format!("{n:03}.jpg")), frame).expect("a frame");
    }
    let avi = draft.path().join("clip.avi");
    let mut recorder = Recorder::create(&avi, f64::from(FPS)).expect("an AVI");
    for n in 0..FRAMES {
        let captured = Mono((INTERVAL * n as u32).as_nanos() as u64);
        recorder
            .write(
                &frames[n % DIFFERENT],
                width as u32,
                height as u32,
                captured,
            )
            .expect("a frame of the AVI");
    }
    recorder.finish().expect("the AVI's end");
    fs::rename(draft.keep(), folder).expect("the clip's place");
}

/// Gradients, edges that move, noise, and the number.
fn paint(width: usize, height: usize, n: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_u32.wrapping_mul(n as u32 + 1);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            // xorshift32
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let noise = seed >> 27;
            if y < CELL && x < BITS * CELL {
                pixels.extend([if n >> (x / CELL) & 1 == 1 { 235 } else { 16 }; 3]);
                continue;
            }
            let edge = if (x + 7 * n) / 48 % 2 == y / 48 % 2 {
                40
            } else {
                0
            };
            let red = x * 180 / width + edge;
            let green = y * 180 / height + n * 9 % 30;
            let blue = (x + y) * 180 / (width + height) + edge;
            pixels.extend([red, green, blue].map(|v| (v as u32 + noise).min(255) as u8));
        }
    }
    pixels
}

fn encode(width: usize, height: usize, quality: i32, rgb: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new().expect("turbojpeg");
    compressor.set_subsamp(Subsamp::Sub2x1).expect("4:2:2");
    compressor.set_quality(quality).expect("a quality");
    let image = Image {
        pixels: rgb,
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).expect("a JPEG")
}
