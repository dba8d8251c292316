//! AVI (Microsoft RIFF, with the OpenDML extensions 1.02): where the frames of its first MJPEG stream
//! lie. By the OpenDML index, else by `idx1`, else by walking the data.

use super::index::{Index, MOST_FRAMES, Span, fourcc, le32, le64};

/// The bits of an OpenDML entry's size that are the size; the highest one says "no key frame".
const SIZE_BITS: u32 = 0x7fff_ffff;

/// What the header list tells.
struct Header<'a> {
    /// Number of the video stream, as its two digits in chunk names.
    stream: [u8; 2],
    /// Frames a second as a fraction (`dwRate` / `dwScale`).
    rate: u32,
    scale: u32,
    /// The stream's `indx` chunk.
    indx: Option<&'a [u8]>,
}

/// The frames of `file`; `None` if it is no AVI with an MJPEG stream that can be followed.
pub(super) fn index(file: &[u8]) -> Option<Index> {
    let mut header = None;
    let mut movi = Vec::new();
    let mut idx1 = None;
    // RIFF 'AVI ', then RIFF 'AVIX' for every further gigabyte (OpenDML §3.0).
    for riff in Chunks::new(file, 0, file.len()) {
        if &riff.name != b"RIFF" {
            break;
        }
        for chunk in Chunks::new(file, riff.start + 4, riff.end) {
            match (&chunk.name, fourcc(file, chunk.start).as_ref()) {
                (b"LIST", Some(b"hdrl")) if header.is_none() => {
                    header = Some(read_header(file, chunk)?);
                }
                (b"LIST", Some(b"movi")) => movi.push(chunk),
                (b"idx1", _) if idx1.is_none() => idx1 = Some(&file[chunk.start..chunk.end]),
                _ => {}
            }
        }
    }
    let header = header?;
    let spans = header
        .indx
        .and_then(|indx| by_opendml(file, indx, header.stream))
        .or_else(|| by_idx1(file, idx1?, movi.first()?.start, header.stream))
        .unwrap_or_else(|| by_walking(file, &movi, header.stream));
    Some(Index::new(
        spans,
        u64::from(header.rate),
        1,
        u64::from(header.scale),
    ))
}

/// A chunk's name and where its data lies: never outside the file.
#[derive(Clone, Copy)]
struct Chunk {
    name: [u8; 4],
    start: usize,
    end: usize,
}

/// Walks the chunks between two offsets. A chunk that claims more than there is, is cut: so a
/// recording that was never finished can be read as far as it goes.
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

/// The first video stream of the header list, if it is MJPEG.
fn read_header(file: &[u8], hdrl: Chunk) -> Option<Header<'_>> {
    let lists = Chunks::new(file, hdrl.start + 4, hdrl.end).filter(|chunk| {
        &chunk.name == b"LIST" && fourcc(file, chunk.start).as_ref() == Some(b"strl")
    });
    for (number, strl) in lists.enumerate().take(100) {
        let (mut strh, mut strf, mut indx) = (None, None, None);
        for chunk in Chunks::new(file, strl.start + 4, strl.end) {
            let data = &file[chunk.start..chunk.end];
            match &chunk.name {
                b"strh" => strh = Some(data),
                b"strf" => strf = Some(data),
                b"indx" => indx = Some(data),
                _ => {}
            }
        }
        let strh = strh?;
        if !strh.starts_with(b"vids") {
            continue;
        }
        // BITMAPINFOHEADER.biCompression
        let codec = fourcc(strf?, 16)?.map(|c| c.to_ascii_uppercase());
        if !matches!(&codec, b"MJPG" | b"JPEG") {
            return None;
        }
        return Some(Header {
            stream: [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8],
            scale: le32(strh, 20)?,
            rate: le32(strh, 24)?,
            indx,
        });
    }
    None
}

/// Whether a chunk's name is that of a picture of the stream: `00dc`, or `00db`.
fn is_picture(name: [u8; 4], stream: [u8; 2]) -> bool {
    name[..2] == stream && (&name[2..] == b"dc" || &name[2..] == b"db")
}

/// By the OpenDML index (§5.0): an `indx` of pointers to `ix##` chunks, or of frames itself.
fn by_opendml(file: &[u8], indx: &[u8], stream: [u8; 2]) -> Option<Vec<Span>> {
    const INDEX_OF_INDEXES: u8 = 0;
    let mut spans = Vec::new();
    if *indx.get(3)? != INDEX_OF_INDEXES {
        standard_index(file, indx, stream, &mut spans)?;
        return checked(file, spans, stream);
    }
    let entries = le32(indx, 4)? as usize;
    for entry in indx.get(24..)?.chunks_exact(16).take(entries) {
        let at = usize::try_from(le64(entry, 0)?).ok()?;
        let chunk = Chunks::new(file, at, file.len()).next()?;
        standard_index(file, &file[chunk.start..chunk.end], stream, &mut spans)?;
    }
    checked(file, spans, stream)
}

/// One `ix##` chunk (OpenDML §5.0, "standard index").
fn standard_index(file: &[u8], ix: &[u8], stream: [u8; 2], spans: &mut Vec<Span>) -> Option<()> {
    const INDEX_OF_CHUNKS: u8 = 1;
    // Two longs an entry; field indexes (sub type 1) have three.
    let (longs, sub_type, kind) = (*ix.first()?, *ix.get(2)?, *ix.get(3)?);
    if longs != 2 || sub_type != 0 || kind != INDEX_OF_CHUNKS {
        return None;
    }
    if !is_picture(fourcc(ix, 8)?, stream) {
        return None;
    }
    let entries = le32(ix, 4)? as usize;
    let base = le64(ix, 12)?;
    for entry in ix.get(24..)?.chunks_exact(8).take(entries) {
        let offset = base.checked_add(u64::from(le32(entry, 0)?))?;
        let span = Span::inside(offset, le32(entry, 4)? & SIZE_BITS, file.len())?;
        if spans.len() == MOST_FRAMES {
            return None;
        }
        spans.push(span);
    }
    Some(())
}

/// By the old index. Its offsets count from the `movi` name, or, in files of some writers, from the
/// file's start: the first entry tells.
fn by_idx1(file: &[u8], idx1: &[u8], movi: usize, stream: [u8; 2]) -> Option<Vec<Span>> {
    let entries = || {
        idx1.chunks_exact(16).filter_map(|entry| {
            let wanted = is_picture(fourcc(entry, 0)?, stream);
            wanted.then_some((le32(entry, 8)? as usize, le32(entry, 12)?))
        })
    };
    let (first, _) = entries().next()?;
    let is_there = |base: usize| {
        fourcc(file, base.checked_add(first)?).filter(|&name| is_picture(name, stream))
    };
    let base = [movi, 0]
        .into_iter()
        .find(|&base| is_there(base).is_some())?;
    let spans: Option<Vec<Span>> = entries()
        .take(MOST_FRAMES)
        .map(|(offset, len)| Span::inside((base + offset) as u64 + 8, len, file.len()))
        .collect();
    checked(file, spans?, stream)
}

/// The index, if some of its entries point at chunks of their own length; sampled, because each look
/// reads a page of the file.
fn checked(file: &[u8], spans: Vec<Span>, stream: [u8; 2]) -> Option<Vec<Span>> {
    let step = (spans.len() / 16).max(1);
    let fits = |span: &Span| {
        let header = span.offset.checked_sub(8)?;
        let name = fourcc(file, header).filter(|&name| is_picture(name, stream))?;
        le32(file, header + 4)
            .filter(|&len| len == span.len)
            .map(|_| name)
    };
    let sound = spans
        .iter()
        .step_by(step)
        .chain(spans.last())
        .all(|span| fits(span).is_some());
    (sound && !spans.is_empty()).then_some(spans)
}

/// Without an index: chunk by chunk through the data, `rec ` lists included.
fn by_walking(file: &[u8], movi: &[Chunk], stream: [u8; 2]) -> Vec<Span> {
    let mut spans = Vec::new();
    for list in movi {
        for chunk in Chunks::new(file, list.start + 4, list.end) {
            if &chunk.name == b"LIST" && fourcc(file, chunk.start).as_ref() == Some(b"rec ") {
                for inner in Chunks::new(file, chunk.start + 4, chunk.end) {
                    take(inner, stream, &mut spans);
                }
            }
            take(chunk, stream, &mut spans);
            if spans.len() >= MOST_FRAMES {
                return spans;
            }
        }
    }
    spans
}

fn take(chunk: Chunk, stream: [u8; 2], spans: &mut Vec<Span>) {
    if is_picture(chunk.name, stream) {
        // Lengths in the file have 32 bits, so the cut ones fit too.
        let len = (chunk.end - chunk.start) as u32;
        spans.push(Span {
            offset: chunk.start,
            len,
        });
    }
}
