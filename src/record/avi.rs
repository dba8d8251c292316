//! AVI with MJPEG video: RIFF AVI 1.0 (its `idx1` index covers the first RIFF chunk), continued in
//! `AVIX` chunks with OpenDML 1.02 indexes beyond a gigabyte. The sizes in the headers are updated
//! every few seconds, so that a file whose writer was killed still plays; it lacks only the
//! indexes, which players rebuild.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::common::{BUFFER, FLUSH, Rate, Recorded, WriteError};
use crate::clock::Mono;

/// OpenDML 1.02, "RIFF chunks": the first one should be at most 1 GB, for old readers.
const SEGMENT_BYTES: u64 = 1 << 30;
/// Frames in a segment at most, so that its index in memory stays below 2 MB.
const SEGMENT_FRAMES: usize = 1 << 17;
/// Entries of the super index, one per segment: room for a terabyte.
const SEGMENTS: usize = 1024;
/// `AVIIF_KEYFRAME`, `AVIF_HASINDEX | AVIF_ISINTERLEAVED` of the AVI RIFF File Reference.
const KEYFRAME: u32 = 0x10;
const HAS_INDEX: u32 = 0x10;
const INTERLEAVED: u32 = 0x100;
/// Bytes of one frame's chunk header.
const CHUNK_HEADER: u64 = 8;

#[derive(Debug)]
pub(super) struct AviWriter {
    out: BufWriter<File>,
    size: (u32, u32),
    fps_hint: f64,
    segment_bytes: u64,
    rate: Rate,
    /// Position of the next chunk: bytes written so far, buffered ones included.
    end: u64,
    longest: u32,
    segment: Segment,
    /// The closed segments.
    closed: Vec<Closed>,
    /// Frames of the first segment, once it is closed.
    first_frames: Option<usize>,
    headers_at: Option<Mono>,
    failed: bool,
}

/// The RIFF chunk being written.
#[derive(Debug, Default)]
struct Segment {
    /// Position of its RIFF header; 0 for the first one.
    start: u64,
    /// Position of its movi list's type, after LIST and size.
    movi: u64,
    /// Position and length of each frame's data; the position is relative to `movi`.
    frames: Vec<(u32, u32)>,
}

/// An entry of the super index.
#[derive(Clone, Copy, Debug)]
struct Closed {
    index_at: u64,
    index_bytes: u32,
    frames: u32,
}

impl AviWriter {
    pub(super) fn new(file: File, size: (u32, u32), fps_hint: f64) -> io::Result<AviWriter> {
        AviWriter::with_segments(file, size, fps_hint, SEGMENT_BYTES)
    }

    fn with_segments(
        file: File,
        size: (u32, u32),
        fps_hint: f64,
        segment_bytes: u64,
    ) -> io::Result<AviWriter> {
        let mut avi = AviWriter {
            out: BufWriter::with_capacity(BUFFER, file),
            size,
            fps_hint,
            segment_bytes,
            rate: Rate::default(),
            end: 0,
            longest: 0,
            segment: Segment::default(),
            closed: Vec::new(),
            first_frames: None,
            headers_at: None,
            failed: false,
        };
        let header = avi.header();
        avi.append(&header)?;
        avi.segment.movi = avi.end - 4;
        Ok(avi)
    }

    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    pub(super) fn write(&mut self, jpeg: &[u8], captured: Mono) -> Result<(), WriteError> {
        let length = u32::try_from(jpeg.len()).map_err(|_| WriteError::Frame)?;
        if u64::from(length) > self.segment_bytes / 2 {
            return Err(WriteError::Frame);
        }
        let written = self.write_frame(jpeg, length, captured);
        self.failed |= matches!(written, Err(WriteError::Io(_)));
        written
    }

    fn write_frame(&mut self, jpeg: &[u8], length: u32, captured: Mono) -> Result<(), WriteError> {
        if self.is_segment_full(length) {
            // The current segment needs an entry too.
            if self.closed.len() + 2 > SEGMENTS {
                return Err(WriteError::Full);
            }
            self.close_segment()?;
            self.open_segment()?;
        }
        let at = self.end + CHUNK_HEADER - self.segment.movi;
        self.append(b"00dc")?;
        self.append(&length.to_le_bytes())?;
        self.append(jpeg)?;
        if length % 2 == 1 {
            self.append(&[0])?;
        }
        // Below the segment's limit of a gigabyte.
        self.segment.frames.push((at as u32, length));
        self.longest = self.longest.max(length);
        self.rate.add(captured);
        let since = captured.since(*self.headers_at.get_or_insert(captured));
        if since >= FLUSH {
            self.out.flush()?;
            self.write_headers()?;
            self.headers_at = Some(captured);
        }
        Ok(())
    }

    /// Writes the indexes and the final headers. After a failed write, drops what did not reach the
    /// file and completes the rest as far as the disk allows.
    pub(super) fn finish(mut self) -> io::Result<Recorded> {
        if !self.failed {
            self.failed = self.out.flush().is_err();
        }
        if self.failed {
            self.keep_what_is_there()?;
        }
        let is_open = self.closed.is_empty() || !self.segment.frames.is_empty();
        if is_open && self.close_segment().is_err() {
            // No room for the index: the file is whole without it.
            self.keep_what_is_there()?;
        }
        self.write_headers()?;
        let frames = self.frames() as u64;
        let (scale, rate) = self.time_base();
        // Its drop must not flush again.
        drop(self.out.into_parts());
        Ok(Recorded {
            frames,
            bytes: self.end,
            fps: f64::from(rate) / f64::from(scale),
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// All frames of the file.
    fn frames(&self) -> usize {
        let closed: usize = self.closed.iter().map(|c| c.frames as usize).sum();
        closed + self.segment.frames.len()
    }

    fn is_segment_full(&self, length: u32) -> bool {
        let frames = self.segment.frames.len();
        // The frame, and an entry for it in both indexes.
        let indexes = (frames as u64 + 1) * (8 + 16) + 64;
        let bytes = self.end - self.segment.start + u64::from(length) + CHUNK_HEADER + 1 + indexes;
        frames > 0 && (bytes > self.segment_bytes || frames >= SEGMENT_FRAMES)
    }

    /// Writes the segment's indexes: OpenDML's standard index inside the movi list and, in the
    /// first segment, AVI 1.0's after it; then its sizes.
    fn close_segment(&mut self) -> io::Result<()> {
        let frames = std::mem::take(&mut self.segment.frames);
        let index_at = self.end;
        let index = standard_index(&frames, self.segment.movi);
        let is_first = self.segment.start == 0;
        let mut tail = index.clone();
        let mut old_index = Vec::new();
        if is_first {
            old_index = idx1(&frames);
            tail.extend(&old_index);
        }
        let written = self.append(&tail).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.segment.frames = frames;
            return Err(error);
        }
        self.closed.push(Closed {
            index_at,
            index_bytes: index.len() as u32,
            frames: frames.len() as u32,
        });
        if is_first {
            self.first_frames = Some(frames.len());
        }
        let movi_end = self.end - old_index.len() as u64;
        self.write_sizes(movi_end)
    }

    fn open_segment(&mut self) -> io::Result<()> {
        self.segment.start = self.end;
        self.append(b"RIFF\0\0\0\0AVIXLIST\0\0\0\0movi")?;
        self.segment.movi = self.end - 4;
        Ok(())
    }

    /// Cuts the file after the last frame that reached it; the buffer's content is dropped.
    fn keep_what_is_there(&mut self) -> io::Result<()> {
        let file = self.out.get_ref().try_clone()?;
        let there = file.metadata()?.len();
        let Segment { start, movi, .. } = self.segment;
        let end_of = |&(at, length): &(u32, u32)| movi + u64::from(at) + u64::from(length);
        self.segment.frames.retain(|frame| end_of(frame) <= there);
        // A segment without a frame is removed, but not the first one's headers.
        let nothing = if start == 0 { movi + 4 } else { start };
        let end = self.segment.frames.last().map_or(nothing, end_of);
        if end > there {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.set_len(end)?;
        let mut file = file;
        io::Seek::seek(&mut file, io::SeekFrom::Start(end))?;
        let spent = std::mem::replace(&mut self.out, BufWriter::with_capacity(BUFFER, file));
        drop(spent.into_parts());
        self.end = end;
        if end % 2 == 1 {
            // RIFF chunks are padded to even length; players accept it if a full disk prevents
            // that.
            drop(self.append(&[0]).and_then(|()| self.out.flush()));
        }
        Ok(())
    }

    /// Updates the headers for what has been flushed.
    fn write_headers(&mut self) -> io::Result<()> {
        let is_open = self.closed.is_empty() || !self.segment.frames.is_empty();
        if is_open {
            self.write_sizes(self.end)?;
        }
        // Between the RIFF size and the movi list's, which are written above.
        let header = self.header();
        let file = self.out.get_ref();
        file.write_all_at(&header[8..header.len() - 8], 8)
    }

    /// The sizes of the current segment's RIFF chunk and movi list.
    fn write_sizes(&self, movi_end: u64) -> io::Result<()> {
        let Segment { start, movi, .. } = self.segment;
        // Both below a gigabyte and a frame.
        let riff = (self.end - start - 8) as u32;
        let list = (movi_end - movi) as u32;
        let file = self.out.get_ref();
        file.write_all_at(&riff.to_le_bytes(), start + 4)?;
        file.write_all_at(&list.to_le_bytes(), movi - 4)
    }

    /// `dwScale` and `dwRate`: the hint, if a player that trusts it ends within a frame of the
    /// measured time; else the measured interval.
    fn time_base(&self) -> (u32, u32) {
        let hint = 1.0 / self.fps_hint;
        let measured = self.rate.interval().map_or(hint, |i| i.as_secs_f64());
        let drift = (measured - hint).abs() * self.rate.intervals as f64;
        if drift < hint {
            // 29.97 becomes 2997/100, whole rates n/1.
            let (scale, rate) = match self.fps_hint.round() {
                whole if (self.fps_hint - whole).abs() < 1e-6 => (1.0, whole),
                _ => (1000.0, (self.fps_hint * 1000.0).round()),
            };
            return (scale as u32, rate as u32);
        }
        let micros = Duration::from_secs_f64(measured).as_micros();
        (u32::try_from(micros).unwrap_or(u32::MAX).max(1), 1_000_000)
    }

    /// The file from its start to the end of the first movi list's type. Its length is fixed; sizes
    /// that are written separately are zero.
    fn header(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let (scale, rate) = self.time_base();
        let frames = self.frames() as u32;
        let first = self.first_frames.unwrap_or(self.segment.frames.len()) as u32;
        let micros = (u64::from(scale) * 1_000_000 / u64::from(rate.max(1))) as u32;
        let bytes_per_s = (u64::from(self.longest) * u64::from(rate) / u64::from(scale))
            .min(u64::from(u32::MAX)) as u32;

        // AVIMAINHEADER
        let mut avih = Vec::new();
        for field in [
            micros,
            bytes_per_s,
            0,
            HAS_INDEX | INTERLEAVED,
            first,
            0,
            1,
            self.longest,
            width,
            height,
        ] {
            avih.extend(field.to_le_bytes());
        }
        avih.extend([0; 16]);

        // AVISTREAMHEADER
        let mut strh = Vec::from(*b"vidsMJPG");
        for field in [0, 0, 0, scale, rate, 0, frames, self.longest, u32::MAX, 0] {
            strh.extend(field.to_le_bytes());
        }
        for side in [0, 0, width, height] {
            // At most 65535: the recorder checks it.
            strh.extend((side as u16).to_le_bytes());
        }

        // BITMAPINFOHEADER
        let mut strf = Vec::new();
        for field in [40, width, height, 1 | 24 << 16] {
            strf.extend(field.to_le_bytes());
        }
        strf.extend(b"MJPG");
        for field in [
            (u64::from(width) * u64::from(height) * 3).min(u64::from(u32::MAX)) as u32,
            0,
            0,
            0,
            0,
        ] {
            strf.extend(field.to_le_bytes());
        }

        // OpenDML 1.02: the total number of frames, and where the segments' indexes are.
        let mut dmlh = frames.to_le_bytes().to_vec();
        dmlh.resize(248, 0);

        let mut strl = Vec::from(*b"strl");
        chunk(&mut strl, b"strh", &strh);
        chunk(&mut strl, b"strf", &strf);
        chunk(&mut strl, b"indx", &super_index(&self.closed));
        let mut odml = Vec::from(*b"odml");
        chunk(&mut odml, b"dmlh", &dmlh);
        let mut hdrl = Vec::from(*b"hdrl");
        chunk(&mut hdrl, b"avih", &avih);
        chunk(&mut hdrl, b"LIST", &strl);
        chunk(&mut hdrl, b"LIST", &odml);

        let mut header = Vec::from(*b"RIFF\0\0\0\0AVI ");
        chunk(&mut header, b"LIST", &hdrl);
        header.extend(b"LIST\0\0\0\0movi");
        header
    }
}

fn chunk(to: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    to.extend(name);
    to.extend((content.len() as u32).to_le_bytes());
    to.extend(content);
}

/// OpenDML's `indx` of the type AVI_INDEX_OF_INDEXES, with room for all segments.
fn super_index(closed: &[Closed]) -> Vec<u8> {
    let mut indx = vec![4, 0, 0, 0];
    indx.extend((closed.len() as u32).to_le_bytes());
    indx.extend(b"00dc");
    indx.extend([0; 12]);
    for segment in closed {
        indx.extend(segment.index_at.to_le_bytes());
        indx.extend(segment.index_bytes.to_le_bytes());
        indx.extend(segment.frames.to_le_bytes());
    }
    indx.resize(24 + 16 * SEGMENTS, 0);
    indx
}

/// OpenDML's `ix00` of the type AVI_INDEX_OF_CHUNKS: offsets from `base` to each frame's data.
fn standard_index(frames: &[(u32, u32)], base: u64) -> Vec<u8> {
    let mut content = vec![2, 0, 0, 1];
    content.extend((frames.len() as u32).to_le_bytes());
    content.extend(b"00dc");
    content.extend(base.to_le_bytes());
    content.extend([0; 4]);
    for (at, length) in frames {
        content.extend(at.to_le_bytes());
        // Bit 31 clear: a key frame, as every JPEG is.
        content.extend(length.to_le_bytes());
    }
    let mut index = Vec::with_capacity(content.len() + 8);
    chunk(&mut index, b"ix00", &content);
    index
}

/// AVI 1.0's index: offsets from the movi list's type to each frame's chunk header.
fn idx1(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut content = Vec::with_capacity(frames.len() * 16);
    for (at, length) in frames {
        content.extend(b"00dc");
        content.extend(KEYFRAME.to_le_bytes());
        content.extend((at - CHUNK_HEADER as u32).to_le_bytes());
        content.extend(length.to_le_bytes());
    }
    let mut index = Vec::with_capacity(content.len() + 8);
    chunk(&mut index, b"idx1", &content);
    index
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAYERS, copied_by_ffmpeg, copied_by_gstreamer, jpegs, probe};
    use super::*;
    use crate::skip::have;

    fn write(path: &std::path::Path, frames: &[Vec<u8>], segment_bytes: u64) -> AviWriter {
        let file = File::create(path).expect("created");
        let mut avi =
            AviWriter::with_segments(file, (160, 120), 25.0, segment_bytes).expect("started");
        for (n, jpeg) in frames.iter().enumerate() {
            avi.write(jpeg, Mono(n as u64 * 40_000_000))
                .expect("written");
        }
        avi
    }

    #[test]
    fn many_segments_are_read_to_the_end_by_other_programs() {
        if !have("long recordings", &PLAYERS) {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("long.avi");
        let frames = jpegs(160, 120, 100);
        let total: usize = frames.iter().map(Vec::len).sum();
        let avi = write(&path, &frames, total as u64 / 7);
        assert!(avi.closed.len() >= 6, "{} segments", avi.closed.len());
        let recorded = avi.finish().expect("finished");
        assert_eq!(recorded.frames, 100);
        assert_eq!(
            recorded.bytes,
            std::fs::metadata(&path).expect("there").len()
        );
        let (count, rate, duration) = probe(&path);
        assert_eq!((count, rate.as_str()), (100, "25/1"));
        assert!((duration - 4.0).abs() < 0.001, "{duration}");
        assert!(copied_by_ffmpeg(&path) == frames.concat());
        assert!(copied_by_gstreamer(&path) == frames.concat());
    }

    #[test]
    fn a_full_index_is_said_and_the_file_stays_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("full.avi");
        let file = File::create(&path).expect("created");
        let mut avi = AviWriter::with_segments(file, (16, 16), 25.0, 64).expect("started");
        let full = (0..2000).find(|&n| {
            let written = avi.write(&[0xff; 20], Mono(n));
            matches!(written, Err(WriteError::Full))
        });
        assert_eq!(full, Some(SEGMENTS as u64));
        let recorded = avi.finish().expect("finished");
        assert_eq!(recorded.frames, SEGMENTS as u64);
    }
}
