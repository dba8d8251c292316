//! Clips of known pictures, made by libjpeg-turbo's `cjpeg` as cameras make them: standard Huffman
//! tables, 4:2:2 as one row of two samples. Every frame differs from every other. Kept in
//! `.cache/clips` between runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How chroma is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chroma {
    C422,
    C420,
}

/// What a clip is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub width: usize,
    pub height: usize,
    pub chroma: Chroma,
    /// Whether there is a restart marker after every row of blocks.
    pub restarts: bool,
    pub frames: usize,
    /// How much noise is in the picture, 0 to 255: with it the frames grow.
    pub noise: u8,
}

impl Kind {
    pub fn new(width: usize, height: usize, chroma: Chroma) -> Kind {
        Kind {
            width,
            height,
            chroma,
            restarts: false,
            frames: 8,
            noise: 24,
        }
    }

    pub fn with_restarts(self) -> Kind {
        Kind {
            restarts: true,
            ..self
        }
    }
}

/// A clip on disk.
pub struct Clip {
    pub kind: Kind,
    /// The frames, as they are in the files.
    pub frames: Vec<Vec<u8>>,
    folder: PathBuf,
}

impl Clip {
    /// The clip of `kind`, made if it is not there yet.
    pub fn get(kind: Kind) -> Clip {
        let chroma = if kind.chroma == Chroma::C422 {
            "422"
        } else {
            "420"
        };
        let restarts = if kind.restarts { "-dri" } else { "" };
        let name = format!(
            "v1-{}x{}-{chroma}{restarts}-{}-n{}",
            kind.width, kind.height, kind.frames, kind.noise
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".cache/clips")
            .join(name);
        if !folder.is_dir() {
            make(kind, &folder);
        }
        let frames = (0..kind.frames)
            .map(|n| fs::read(picture(&folder, n)).unwrap())
            .collect();
        Clip {
            kind,
            frames,
            folder,
        }
    }

    /// All frames, one after the other.
    pub fn mjpeg(&self) -> PathBuf {
        self.folder.join("clip.mjpeg")
    }

    /// The same in a container that has a frame rate.
    pub fn avi(&self) -> PathBuf {
        self.folder.join("clip.avi")
    }

    /// The pictures as GStreamer and ffmpeg name a series.
    pub fn series(&self) -> PathBuf {
        self.folder.join("%03d.jpg")
    }
}

fn picture(folder: &Path, n: usize) -> PathBuf {
    folder.join(format!("{n:03}.jpg"))
}

/// Frames a second in the container.
pub const FPS: usize = 10;

fn make(kind: Kind, folder: &Path) {
    let parent = folder.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    // Made next to its place and moved there atomically: other tests may want it at the same time.
    let draft = tempfile::tempdir_in(parent).unwrap();
    let mut all = Vec::new();
    for n in 0..kind.frames {
        let jpeg = encode(kind, &paint(kind, n));
        fs::write(picture(draft.path(), n), &jpeg).unwrap();
        all.extend(jpeg);
    }
    let mjpeg = draft.path().join("clip.mjpeg");
    fs::write(&mjpeg, all).unwrap();
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "mjpeg",
            "-framerate",
            &FPS.to_string(),
            "-i",
        ])
        .arg(&mjpeg)
        .args(["-c", "copy"])
        .arg(draft.path().join("clip.avi"))
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("ffmpeg").success());
    if fs::rename(draft.path(), folder).is_ok() {
        // It is no longer there to be removed.
        let _ = draft.keep();
    }
}

/// A gradient that moves, edges, and noise.
fn paint(kind: Kind, n: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_u32.wrapping_mul(n as u32 + 1);
    let mut pixels = Vec::with_capacity(kind.width * kind.height * 3);
    for y in 0..kind.height {
        for x in 0..kind.width {
            // xorshift32
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let noise = (seed >> 24) as u8 as u16 * u16::from(kind.noise) / 255;
            let edge = if (x + 7 * n) / 24 % 2 == y / 24 % 2 {
                60
            } else {
                0
            };
            let red = (x * 160 / kind.width) as u16 + edge + noise;
            let green = (y * 160 / kind.height) as u16 + (n as u16 * 9) % 60 + noise;
            let blue = ((x + y) * 120 / (kind.width + kind.height)) as u16 + edge + noise;
            pixels.extend([red, green, blue].map(|v| v.min(255) as u8));
        }
    }
    pixels
}

fn encode(kind: Kind, rgb: &[u8]) -> Vec<u8> {
    let sampling = if kind.chroma == Chroma::C422 {
        "2x1"
    } else {
        "2x2"
    };
    let mut command = Command::new("cjpeg");
    command.args(["-quality", "85", "-sample", sampling]);
    if kind.restarts {
        command.args(["-restart", "1"]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cjpeg");
    let mut input = child.stdin.take().unwrap();
    let header = format!("P6\n{} {}\n255\n", kind.width, kind.height);
    let rgb = rgb.to_vec();
    let writer = std::thread::spawn(move || {
        input
            .write_all(header.as_bytes())
            .and_then(|()| input.write_all(&rgb))
            .unwrap();
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}
