//! AVI (Microsoft RIFF, with the OpenDML extensions 1.02): where the frames of its first MJPEG
//! stream are, found by walking its chunks as it plays. The indexes are not read: they add nothing,
//! and are often wrong after a recorder died or a program cut and joined files. List lengths are
//! not used either; a chunk's length is believed if another chunk follows.

use super::index::{STEP, Span, Step, fourcc, frame_rate, le32};

/// An AVI's first MJPEG stream.
#[derive(Debug)]
pub(super) struct Film {
    pub(super) walk: Walk,
    /// Frames a second, if it states a sane rate.
    pub(super) fps: Option<f64>,
    /// Of the picture, in pixels; 0: not stated.
    pub(super) height: u32,
}

/// Reads the header of `file`; `None` if it is not an AVI whose first stream is MJPEG.
pub(super) fn open(file: &[u8]) -> Option<Film> {
    const FIRST_CHUNK: usize = 12;
    if !file.starts_with(b"RIFF") {
        return None;
    }
    let is_header =
        |chunk: &Chunk| &chunk.name == b"LIST" && fourcc(file, chunk.start) == Some(*b"hdrl");
    let hdrl = Chunks::new(file, FIRST_CHUNK, file.len())
        .take(16)
        .find(is_header)?;
    let lists = Chunks::new(file, hdrl.start + 4, hdrl.end)
        .filter(|chunk| &chunk.name == b"LIST" && fourcc(file, chunk.start) == Some(*b"strl"));
    for (number, strl) in lists.enumerate().take(100) {
        let (mut strh, mut strf) = (None, None);
        for chunk in Chunks::new(file, strl.start + 4, strl.end) {
            let data = &file[chunk.start..chunk.end];
            match &chunk.name {
                b"strh" => strh = Some(data),
                b"strf" => strf = Some(data),
                _ => {}
            }
        }
        let (strh, strf) = (strh?, strf?);
        if !strh.starts_with(b"vids") {
            continue;
        }
        // BITMAPINFOHEADER.biCompression
        let codec = fourcc(strf, 16)?.map(|c| c.to_ascii_uppercase());
        if !matches!(&codec, b"MJPG" | b"JPEG") {
            return None;
        }
        let (scale, rate) = (le32(strh, 20)?, le32(strh, 24)?);
        return Some(Film {
            walk: Walk {
                stream: [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8],
                at: FIRST_CHUNK,
                lost: None,
            },
            fps: frame_rate(rate.into(), 1, scale.into()),
            // BITMAPINFOHEADER.biHeight, negative for pictures that begin at the top.
            height: (le32(strf, 8)? as i32).unsigned_abs(),
        });
    }
    None
}

/// A walk over all chunks, including lists.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Number of the video stream, as its two digits in chunk names.
    stream: [u8; 2],
    /// Where the next chunk should be.
    at: usize,
    lost: Option<Lost>,
}

/// There is no chunk where one should be: search for the next picture byte by byte.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// A picture whose length cannot be right: where its data begins, and where it claims to end.
    picture: Option<(usize, usize)>,
}

impl Walk {
    /// One chunk on, or one step of a search.
    pub(super) fn step(&mut self, file: &[u8]) -> Step {
        if let Some(lost) = self.lost {
            return self.find_picture(file, lost);
        }
        let (Some(name), Some(len)) = (fourcc(file, self.at), le32(file, self.at + 4)) else {
            return Step::End;
        };
        if matches!(&name, b"RIFF" | b"LIST") {
            self.at += 12; // and on inside
            return Step::Pending;
        }
        let start = self.at + 8;
        let is_picture = is_picture(name, self.stream);
        let end = start.saturating_add(len as usize);
        let Some(next) = self.next_chunk(file, end) else {
            let picture = is_picture.then_some((start, end));
            self.lost = Some(Lost { picture });
            self.at = if is_picture { start } else { self.at + 1 };
            return Step::Pending;
        };
        self.at = next;
        match is_picture {
            true => Step::Found(Span { offset: start, len }),
            false => Step::Pending,
        }
    }

    /// Where the next chunk begins, if the one before ends at `end`: at an even offset, but some
    /// writers forget that.
    fn next_chunk(&self, file: &[u8], end: usize) -> Option<usize> {
        if end <= file.len() && end.next_multiple_of(2) >= file.len() {
            return Some(file.len());
        }
        [end.next_multiple_of(2), end]
            .into_iter()
            .find(|&at| self.is_chunk(file, at))
    }

    fn is_chunk(&self, file: &[u8], at: usize) -> bool {
        let (Some(name), Some(len)) = (
            fourcc(file, at),
            at.checked_add(4).and_then(|at| le32(file, at)),
        ) else {
            return false;
        };
        let fits = len as usize <= file.len() - (at + 8);
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_');
        matches!(&name, b"RIFF" | b"LIST")
            || is_picture(name, self.stream)
            || fits && name.iter().all(is_name)
    }

    /// The next chunk with a JPEG in it. A picture that was open ends before it, at the latest.
    fn find_picture(&mut self, file: &[u8], lost: Lost) -> Step {
        const HEAD: usize = 10; // name, length and SOI
        let end = (self.at + STEP).min(file.len());
        let window = &file[self.at..(end + HEAD - 1).min(file.len())];
        let found = window.windows(HEAD).position(|head| {
            let name = [head[0], head[1], head[2], head[3]];
            head[8..] == [0xff, 0xd8] && is_picture(name, self.stream)
        });
        self.at = found.map_or(end, |skip| self.at + skip);
        if found.is_none() && end < file.len() {
            return Step::Pending;
        }
        self.lost = None;
        let picture = lost.picture.and_then(|(start, claimed)| {
            // Its length may be right, with garbage after it.
            let is_whole =
                |&end: &usize| end <= self.at && file[start..end].ends_with(&[0xff, 0xd9]);
            let end = Some(claimed).filter(is_whole).unwrap_or(self.at);
            Span::inside(start as u64, u32::try_from(end - start).ok()?, file.len())
        });
        picture.map_or(Step::Pending, Step::Found)
    }
}

/// Whether a chunk's name is that of a picture of the stream: `00dc`, `00db`, or whatever some
/// writers use, but not one for sound, subtitles or palettes.
fn is_picture(name: [u8; 4], stream: [u8; 2]) -> bool {
    name[..2] == stream
        && name[2..].iter().all(u8::is_ascii_alphabetic)
        && !matches!(&name[2..], b"wb" | b"tx" | b"sb" | b"pc")
}

/// A chunk's name and where its data is: never outside the file.
#[derive(Clone, Copy)]
struct Chunk {
    name: [u8; 4],
    start: usize,
    end: usize,
}

/// Walks the chunks between two offsets. A chunk that claims more than there is, is truncated, so
/// that an unfinished recording can be read as far as it goes.
struct Chunks<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Chunks<'a> {
    fn new(file: &'a [u8], at: usize, end: usize) -> Chunks<'a> {
        Chunks { file, at, end }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let start = self.at.checked_add(8).filter(|&start| start <= self.end)?;
        let name = fourcc(self.file, self.at)?;
        let len = le32(self.file, self.at + 4)? as usize;
        // A RIFF that was being written when its recorder died has length 0.
        let unfinished = len == 0 && (&name == b"RIFF" || &name == b"LIST");
        let end = if unfinished {
            self.end
        } else {
            start.saturating_add(len).min(self.end)
        };
        // Chunks begin at even offsets.
        self.at = end.saturating_add(end & 1);
        Some(Chunk { name, start, end })
    }
}
