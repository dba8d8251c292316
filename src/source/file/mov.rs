//! MOV and MP4 (ISO/IEC 14496-12): where the frames of the first video track are, if they are
//! JPEGs. Left to ffmpeg: fragments, edit lists that change anything, compact sizes (`stz2`),
//! MJPEG-B.

use super::index::{MOST_FRAMES, Span, be32, be64, fourcc, frame_rate};

/// The frames of a file's first video track, in the order in which they are shown.
#[derive(Debug)]
pub(super) struct Film {
    pub(super) spans: Vec<Span>,
    /// Frames that its tables list but the file does not contain.
    pub(super) lost: usize,
    /// Frames a second, if it states a sane rate.
    pub(super) fps: Option<f64>,
    /// Of the picture, in pixels; 0: not stated.
    pub(super) height: u32,
}

/// The frames of `file`; `None` if it is not a MOV or MP4 with a track of JPEGs.
pub(super) fn open(file: &[u8]) -> Option<Film> {
    let moov = find(file, b"moov")?;
    // §8.8: more samples follow in fragments.
    if find(moov, b"mvex").is_some() || find(file, b"moof").is_some() {
        return None;
    }
    let (track, mdia) =
        Boxes(moov)
            .filter(|(name, _)| name == b"trak")
            .find_map(|(_, track)| {
                let mdia = find(track, b"mdia")?;
                // §8.4.3: version and flags, pre_defined, then the handler's type.
                let is_video = fourcc(find(mdia, b"hdlr")?, 8)? == *b"vide";
                is_video.then_some((track, mdia))
            })?;
    let stbl = find(find(mdia, b"minf")?, b"stbl")?;
    let stsd = find(stbl, b"stsd")?;
    if !is_jpeg(stsd)? || is_edited(track) {
        return None;
    }
    let (spans, lost) = spans(stbl, file.len())?;
    let (frames, ticks) = duration(find(stbl, b"stts")?)?;
    Some(Film {
        spans,
        lost,
        fps: frame_rate(frames, timescale(find(mdia, b"mdhd")?)?, ticks),
        height: height(stsd).unwrap_or(0),
    })
}

/// Walks the boxes (§4.2) in a slice. A box that claims more than there is, is truncated.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let size = be32(self.0, 0)?;
        let name = fourcc(self.0, 4)?;
        let (header, size) = match size {
            0 => (8, self.0.len() as u64),
            1 => (16, be64(self.0, 8)?),
            size => (8, u64::from(size)),
        };
        let end = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        // A box shorter than its own header ends the walk.
        let body = self.0.get(header..end)?;
        self.0 = &self.0[end..];
        Some((name, body))
    }
}

/// The body of the first box of that name.
fn find<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    Boxes(bytes)
        .find(|(name, _)| name == wanted)
        .map(|(_, body)| body)
}

/// Whether the first sample entry (§8.5.2) is of whole JPEGs.
fn is_jpeg(stsd: &[u8]) -> Option<bool> {
    let (name, entry) = Boxes(stsd.get(8..)?).next()?;
    Some(match &name {
        // Photo JPEG; Motion JPEG A with one field a sample is the same.
        b"jpeg" | b"mjpa" => true,
        b"mp4v" => object_type(entry) == Some(OBJECT_TYPE_JPEG),
        _ => false,
    })
}

/// The first sample entry's height (§12.1.3).
fn height(stsd: &[u8]) -> Option<u32> {
    let (_, entry) = Boxes(stsd.get(8..)?).next()?;
    let height = entry.get(26..28)?;
    Some(u32::from(u16::from_be_bytes([height[0], height[1]])))
}

/// Whether an edit list (§8.6.6) shows anything but the track from its first frame on.
fn is_edited(track: &[u8]) -> bool {
    let Some(elst) = find(track, b"edts").and_then(|edts| find(edts, b"elst")) else {
        return false;
    };
    let starts_at = match elst.first() {
        Some(1) => be64(elst, 16),
        _ => be32(elst, 12).map(u64::from),
    };
    be32(elst, 4) != Some(1) || starts_at != Some(0)
}

/// "Visual ISO/IEC 10918-1": JPEG (14496-1 table 5).
const OBJECT_TYPE_JPEG: u8 = 0x6c;

/// What an `mp4v` entry holds, from its elementary stream descriptor (14496-1 §7.2.6).
fn object_type(entry: &[u8]) -> Option<u8> {
    // The visual sample entry has 78 bytes before its boxes (14496-12 §12.1.3).
    let esds = find(entry.get(78..)?, b"esds")?;
    let es = descriptor(esds.get(4..)?, 3)?;
    // ES_ID, then flags for what precedes the next descriptor.
    let flags = *es.get(2)?;
    let depends = if flags & 0x80 != 0 { 2 } else { 0 };
    let url = if flags & 0x40 != 0 {
        1 + usize::from(*es.get(3 + depends)?)
    } else {
        0
    };
    let clock = if flags & 0x20 != 0 { 2 } else { 0 };
    descriptor(es.get(3 + depends + url + clock..)?, 4)?
        .first()
        .copied()
}

/// The body of a descriptor with this tag; its length has seven bits a byte (14496-1 §8.3.3).
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    if *bytes.first()? != tag {
        return None;
    }
    let last = bytes
        .get(1..)?
        .iter()
        .take(4)
        .position(|byte| byte & 0x80 == 0)?;
    bytes.get(last + 2..)
}

/// Ticks a second (§8.4.2).
fn timescale(mdhd: &[u8]) -> Option<u64> {
    let at = if *mdhd.first()? == 1 { 20 } else { 12 };
    be32(mdhd, at).map(u64::from)
}

/// Frames, and the ticks that they take together (§8.6.1.2).
fn duration(stts: &[u8]) -> Option<(u64, u64)> {
    let (mut frames, mut ticks) = (0u64, 0u64);
    for entry in stts.get(8..)?.chunks_exact(8).take(be32(stts, 4)? as usize) {
        let (count, delta) = (u64::from(be32(entry, 0)?), u64::from(be32(entry, 4)?));
        frames = frames.saturating_add(count);
        ticks = ticks.saturating_add(count.saturating_mul(delta));
    }
    Some((frames, ticks))
}

/// Joins the tables of chunks, samples per chunk and sizes (§8.7): the frames that are in the file,
/// and the number of those that are not.
fn spans(stbl: &[u8], file_len: usize) -> Option<(Vec<Span>, usize)> {
    let sizes = Sizes::new(find(stbl, b"stsz")?)?;
    let chunks = ChunkOffsets::new(stbl)?;
    let stsc = find(stbl, b"stsc")?;
    let mut runs = stsc
        .get(8..)?
        .chunks_exact(12)
        .take(be32(stsc, 4)? as usize)
        .peekable();

    let (mut spans, mut lost) = (Vec::new(), 0);
    let mut per_chunk = 0;
    for number in 0.. {
        // §8.7.4: a run's first chunk is counted from 1.
        while let Some(run) = runs.next_if(|run| be32(run, 0).is_some_and(|n| n <= number + 1)) {
            per_chunk = be32(run, 4)?;
        }
        let Some(mut offset) = chunks.get(number as usize) else {
            break;
        };
        for _ in 0..per_chunk {
            let known = spans.len() + lost;
            let Some(len) = sizes.get(known).filter(|_| known < MOST_FRAMES) else {
                return Some((spans, lost + sizes.count.saturating_sub(known)));
            };
            match Span::inside(offset, len, file_len) {
                Some(span) => spans.push(span),
                None => lost += 1,
            }
            offset = offset.saturating_add(u64::from(len));
        }
    }
    let known = spans.len() + lost;
    Some((spans, lost + sizes.count.saturating_sub(known)))
}

/// Sample sizes (§8.7.3.2).
struct Sizes<'a> {
    /// One size for all, or 0.
    equal: u32,
    count: usize,
    table: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn new(stsz: &'a [u8]) -> Option<Sizes<'a>> {
        let (equal, count) = (be32(stsz, 4)?, be32(stsz, 8)? as usize);
        Some(Sizes {
            equal,
            count,
            table: &stsz[12..],
        })
    }

    fn get(&self, n: usize) -> Option<u32> {
        if n >= self.count {
            return None;
        }
        if self.equal > 0 {
            Some(self.equal)
        } else {
            be32(self.table, n * 4)
        }
    }
}

/// Chunk offsets (§8.7.5), of 32 or 64 bits.
struct ChunkOffsets<'a> {
    table: &'a [u8],
    wide: bool,
    count: usize,
}

impl<'a> ChunkOffsets<'a> {
    fn new(stbl: &'a [u8]) -> Option<ChunkOffsets<'a>> {
        let (body, wide) = match find(stbl, b"stco") {
            Some(body) => (body, false),
            None => (find(stbl, b"co64")?, true),
        };
        Some(ChunkOffsets {
            count: be32(body, 4)? as usize,
            table: &body[8..],
            wide,
        })
    }

    fn get(&self, n: usize) -> Option<u64> {
        if n >= self.count {
            return None;
        }
        if self.wide {
            be64(self.table, n * 8)
        } else {
            be32(self.table, n * 4).map(u64::from)
        }
    }
}
