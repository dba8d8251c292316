//! What the tests of sources share: small videos made on the spot, with and without ffmpeg.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::canvas::{Canvas, Colour, Encoder, Rect};
use super::frame::{OpenOptions, Source};
use crate::font::Font;
use crate::jpeg::Sampling;
use crate::skip::have;

/// Options of a source that plays as fast as it may.
pub(super) fn fast(looped: bool) -> OpenOptions {
    OpenOptions {
        name: "test".into(),
        fps: Some(240.0),
        looped,
        stop: Arc::default(),
    }
}

/// `count` different JPEGs of 64 x 48 pixels.
pub(super) fn jpegs(count: usize) -> Vec<Vec<u8>> {
    let mut canvas = Canvas::new(64, 48, Sampling::Yuv422);
    let mut encoder = Encoder::new(80).unwrap();
    let mut make = |n: usize| {
        canvas.fill(
            Rect {
                x: 0,
                y: 0,
                w: 64,
                h: 48,
            },
            Colour::grey((n * 37) as u8),
        );
        canvas.text(
            0,
            12,
            &mut Font::new(24),
            &n.to_string(),
            Colour::rgb(255, (n * 99) as u8, 0),
        );
        encoder.encode(&canvas).unwrap().to_vec()
    };
    (0..count).map(&mut make).collect()
}

/// All frames up to the end, or the first `most`.
pub(super) fn frames(source: &mut dyn Source, most: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while frames.len() < most {
        match source.next().unwrap() {
            Some(frame) => frames.push(frame.data.to_vec()),
            None => break,
        }
    }
    frames
}

/// Runs ffmpeg; `false` where it is not installed.
pub(super) fn ffmpeg(arguments: &[&str], out: &Path) -> bool {
    if !have("a video made by ffmpeg", &["ffmpeg"]) {
        return false;
    }
    let mut command = Command::new("ffmpeg");
    let status = command
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(out)
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {arguments:?}");
    true
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = [name, &(body.len() as u32).to_le_bytes()[..], body].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

fn list(kind: &[u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"LIST", &[kind, &parts.concat()[..]].concat())
}

/// How a test's AVI lists its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AviIndex {
    /// `idx1`, counted from `movi`.
    Old,
    /// `idx1`, counted from the file's start.
    OldAbsolute,
    /// An OpenDML index and no `idx1`.
    OpenDml,
    /// None.
    No,
    /// `idx1` with offsets that are wrong.
    Wrong,
}

/// An AVI of 25 frames a second with a sound stream in front of the pictures; an empty JPEG is
/// a dropped frame.
pub(super) fn avi(jpegs: &[Vec<u8>], index: AviIndex) -> Vec<u8> {
    let mut strh = b"vidsMJPG".to_vec();
    strh.resize(56, 0);
    strh[20..24].copy_from_slice(&2u32.to_le_bytes());
    strh[24..28].copy_from_slice(&50u32.to_le_bytes());
    let mut strf = vec![0; 40];
    strf[0] = 40;
    strf[14] = 24;
    strf[16..20].copy_from_slice(b"MJPG");
    let mut sound = b"auds".to_vec();
    sound.resize(56, 0);
    sound[20] = 1;
    sound[24..28].copy_from_slice(&8000u32.to_le_bytes());
    sound[44] = 1;
    // PCM, one channel, 8 bits.
    let wave = [1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0].to_vec();
    // The OpenDML index is in the header, at a fixed size, and is filled in below.
    let indx = if index == AviIndex::OpenDml {
        chunk(b"indx", &[0; 40])
    } else {
        Vec::new()
    };
    let header = list(
        b"hdrl",
        &[
            chunk(b"avih", &[0; 56]),
            list(b"strl", &[chunk(b"strh", &sound), chunk(b"strf", &wave)]),
            list(
                b"strl",
                &[chunk(b"strh", &strh), chunk(b"strf", &strf), indx],
            ),
        ],
    );
    let movi_data = 12 + header.len() + 8; // of "movi" in the file
    let mut parts = vec![b"movi".to_vec()];
    let mut at = 4;
    let mut places = Vec::new();
    for jpeg in jpegs {
        for (name, body) in [(b"00wb", &b"sound"[..]), (b"01dc", jpeg)] {
            if name == b"01dc" {
                places.push((at, body.len()));
            }
            let chunk = chunk(name, body);
            at += chunk.len();
            parts.push(chunk);
        }
    }
    let mut ix_at = None;
    if index == AviIndex::OpenDml {
        let mut ix = vec![2, 0, 0, 1];
        ix.extend((places.len() as u32).to_le_bytes());
        ix.extend(b"01dc");
        ix.extend((movi_data as u64).to_le_bytes());
        ix.extend([0; 4]);
        for &(at, len) in &places {
            ix.extend((at as u32 + 8).to_le_bytes());
            ix.extend((len as u32 | 1 << 31).to_le_bytes());
        }
        ix_at = Some((movi_data + at) as u64);
        parts.push(chunk(b"ix01", &ix));
    }
    let mut idx1 = Vec::new();
    for &(at, len) in &places {
        let base = match index {
            AviIndex::OldAbsolute => movi_data,
            AviIndex::Wrong => 3,
            _ => 0,
        };
        idx1.extend(b"01dc\x10\0\0\0");
        idx1.extend(((base + at) as u32).to_le_bytes());
        idx1.extend((len as u32).to_le_bytes());
    }
    let mut body = [b"AVI ".to_vec(), header, chunk(b"LIST", &parts.concat())].concat();
    if !matches!(index, AviIndex::No | AviIndex::OpenDml) {
        body.extend(chunk(b"idx1", &idx1));
    }
    let mut file = chunk(b"RIFF", &body);
    if let Some(ix_at) = ix_at {
        let at = file.windows(4).position(|w| w == b"indx").unwrap() + 8;
        file[at] = 4; // longs an entry
        file[at + 4] = 1; // entries
        file[at + 24..at + 32].copy_from_slice(&ix_at.to_le_bytes());
    }
    file
}

fn atom(name: &[u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A MOV of 20 frames a second, three frames to a chunk.
pub(super) fn mov(jpegs: &[Vec<u8>], wide: bool) -> Vec<u8> {
    let media = atom(b"mdat", &[jpegs.concat()]);
    let head = atom(b"ftyp", &[b"qt  \0\0\0\0".to_vec()]);
    let (mut offsets, mut at) = (Vec::new(), head.len() as u32 + 8);
    for chunk in jpegs.chunks(3) {
        offsets.push(at);
        at += chunk.iter().map(|jpeg| jpeg.len() as u32).sum::<u32>();
    }
    let count = jpegs.len() as u32;
    let full = count / 3;
    let mut runs = vec![];
    if full > 0 {
        runs.push([1, 3, 1]);
    }
    if count % 3 > 0 {
        runs.push([full + 1, count % 3, 1]);
    }
    let sizes: Vec<u32> = jpegs.iter().map(|jpeg| jpeg.len() as u32).collect();
    let mut entry = vec![0; 78];
    entry[7] = 1;
    let chunks = if wide {
        let offsets: Vec<u32> = offsets.iter().flat_map(|&at| [0, at]).collect();
        atom(
            b"co64",
            &[words(&[0, offsets.len() as u32 / 2]), words(&offsets)],
        )
    } else {
        atom(
            b"stco",
            &[words(&[0, offsets.len() as u32]), words(&offsets)],
        )
    };
    let table = atom(
        b"stbl",
        &[
            atom(b"stsd", &[words(&[0, 1]), atom(b"jpeg", &[entry])]),
            atom(b"stts", &[words(&[0, 1, count, 30])]),
            atom(
                b"stsc",
                &[words(&[0, runs.len() as u32]), words(&runs.concat())],
            ),
            atom(b"stsz", &[words(&[0, 0, count]), words(&sizes)]),
            chunks,
        ],
    );
    let hdlr = atom(b"hdlr", &[words(&[0, 0]), b"vide".to_vec(), vec![0; 13]]);
    let mdhd = atom(b"mdhd", &[words(&[0, 0, 0, 600, count * 30, 0])]);
    let mdia = atom(b"mdia", &[mdhd, hdlr, atom(b"minf", &[table])]);
    let moov = atom(b"moov", &[atom(b"trak", &[mdia])]);
    [head, media, moov].concat()
}
