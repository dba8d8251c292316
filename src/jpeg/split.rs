//! Finds where one JPEG ends and the next begins in a stream of them ("concatenated MJPEG", as
//! `rpicam-vid --codec mjpeg -o -` writes it). Marker segments are skipped by their length, so a
//! thumbnail in an APPn segment is not mistaken for a frame; a length is believed only if another
//! marker follows, so a damaged one hides no frame after it. The [gate](crate::jpeg::gate) decides
//! whether a JPEG is good: whatever starts with SOI is passed on, so that losses can be counted.
//! Markers: ITU-T T.81 §B.1.

use std::ops::Range;

use super::header::{marker, next_marker};

/// What [`Splitter::find`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One JPEG, from SOI to EOI inclusive; without an EOI, up to the next SOI or to where its
    /// header breaks off. The caller drops the bytes up to `end` before calling again.
    Frame(Range<usize>),
    /// No JPEG ends in the buffer yet.
    NeedMore {
        /// Leading bytes that belong to no JPEG. The caller drops exactly these before calling
        /// again.
        discard: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Outside a JPEG, looking for an SOI.
    Between,
    /// Between two marker segments.
    Segments,
    /// In entropy-coded data.
    Scan,
}

/// Finds JPEGs in bytes that arrive piece by piece; no byte is searched twice.
///
/// It holds no bytes, so it cannot bound them: a caller whose buffer is full without a frame in it
/// empties the buffer and calls [`reset`](Splitter::reset).
#[derive(Clone, Debug)]
pub struct Splitter {
    phase: Phase,
    /// Where the current JPEG's SOI is in the buffer.
    start: usize,
    /// The next byte to examine; may be past the buffer's end, inside an SOS segment that has not
    /// arrived.
    at: usize,
    /// No more bytes will come.
    is_all: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter::new()
    }
}

impl Splitter {
    /// A splitter before the first byte.
    pub fn new() -> Self {
        Splitter {
            phase: Phase::Between,
            start: 0,
            at: 0,
            is_all: false,
        }
    }

    /// Forgets the JPEG in progress; the next buffer starts from scratch.
    pub fn reset(&mut self) {
        *self = Splitter::new();
    }

    /// Looks for the end of the first JPEG in `buffer`: all bytes that have arrived and were not
    /// dropped.
    pub fn find(&mut self, buffer: &[u8]) -> Found {
        match self.run(buffer) {
            Some(frame) => {
                self.reset();
                Found::Frame(frame)
            }
            None => {
                let discard = match self.phase {
                    Phase::Between => self.at,
                    _ => self.start,
                };
                let discard = discard.min(buffer.len());
                self.start -= discard.min(self.start);
                self.at -= discard;
                Found::NeedMore { discard }
            }
        }
    }

    /// The same when no more bytes will come: a JPEG without its end extends to the end of
    /// `buffer`. `None` if no JPEG is left.
    pub fn finish(&mut self, buffer: &[u8]) -> Option<Range<usize>> {
        self.is_all = true;
        let frame = match self.run(buffer) {
            None if self.phase != Phase::Between => Some(self.start..buffer.len()),
            found => found,
        };
        self.reset();
        frame
    }

    fn run(&mut self, buffer: &[u8]) -> Option<Range<usize>> {
        loop {
            let end = match self.phase {
                Phase::Between => self.seek(buffer)?,
                Phase::Segments => self.segment(buffer)?,
                Phase::Scan => self.scan(buffer)?,
            };
            if let Some(end) = end {
                return Some(self.start..end);
            }
        }
    }

    // The steps below return `None` when they need more bytes, `Some(Some(end))` when the JPEG ends
    // at `end`, and `Some(None)` to go on.

    /// To the next SOI that is followed by another marker.
    fn seek(&mut self, buffer: &[u8]) -> Option<Option<usize>> {
        loop {
            let Some(at) = next_marker(buffer, self.at) else {
                self.at = self
                    .at
                    .max(buffer.len() - usize::from(buffer.ends_with(&[0xff])));
                return None;
            };
            self.at = at;
            if buffer[at + 1] == marker::SOI && *buffer.get(at + 2)? == 0xff {
                self.start = at;
                self.at = at + 2;
                self.phase = Phase::Segments;
                return Some(None);
            }
            self.at += 1;
        }
    }

    /// Skips one marker segment. If there is none, the JPEG breaks off.
    fn segment(&mut self, buffer: &[u8]) -> Option<Option<usize>> {
        let rest = buffer.get(self.at..)?;
        let (&first, &code) = (rest.first()?, rest.get(1)?);
        match (first, code) {
            (0xff, 0xff) => self.at += 1, // a fill byte, T.81 §B.1.1.2
            (0xff, marker::EOI) => return Some(Some(self.at + 2)),
            (0xff, marker::TEM | marker::RST0..=marker::RST7) => self.at += 2,
            (0xff, 0xc0..) => match self.segment_end(buffer)? {
                Some(end) => {
                    self.at = end;
                    if code == marker::SOS {
                        self.phase = Phase::Scan;
                    }
                }
                None => return Some(Some(self.at)),
            },
            _ => return Some(Some(self.at)),
        }
        Some(None)
    }

    /// Where the segment ends whose marker is at `self.at`: `Some(None)` if its length cannot be
    /// right, `None` if too few bytes have come to tell.
    fn segment_end(&self, buffer: &[u8]) -> Option<Option<usize>> {
        let unknown = self.is_all.then_some(None);
        let rest = &buffer[self.at..];
        let Some(&[_, code, high, low]) = rest.first_chunk() else {
            return unknown;
        };
        let end = 2 + usize::from(u16::from_be_bytes([high, low]));
        if code == marker::SOI || end < 4 {
            return Some(None);
        }
        if code == marker::SOS {
            // T.81 §B.2.3: Ls = 6 + 2 Ns. Entropy-coded data follows, which may begin with
            // anything.
            let Some(&components) = rest.get(4) else {
                return unknown;
            };
            let fits = (1..=4).contains(&components) && end == 8 + 2 * usize::from(components);
            return Some(fits.then_some(self.at + end));
        }
        match rest.get(end..).and_then(<[u8]>::first_chunk) {
            Some(&[0xff, next]) if may_follow(next) => Some(Some(self.at + end)),
            Some(_) => Some(None),
            None => unknown,
        }
    }

    /// To the marker that ends the entropy-coded data. One that cannot be there is damage in it.
    fn scan(&mut self, buffer: &[u8]) -> Option<Option<usize>> {
        loop {
            let Some(at) = next_marker(buffer, self.at) else {
                // The last byte may be the first half of a marker.
                self.at = self.at.max(buffer.len().saturating_sub(1));
                return None;
            };
            self.at = at;
            match buffer[at + 1] {
                0xff => self.at += 1,
                marker::EOI => return Some(Some(at + 2)),
                marker::SOI if *buffer.get(at + 2)? == 0xff => return Some(Some(at)),
                0xc0..=0xcf | marker::SOS.. if self.segment_end(buffer)?.is_some() => {
                    self.phase = Phase::Segments;
                    return Some(None);
                }
                _ => self.at += 2,
            }
        }
    }
}

/// Whether a marker may follow a segment: not SOI, which begins another JPEG, and none that belongs
/// in a scan.
fn may_follow(code: u8) -> bool {
    matches!(code, 0xc0..=0xcf | marker::EOI..)
}

/// The first JPEG in `data` at or after `from`; the last one, if it has no end, extends to the end
/// of `data`.
pub fn next_jpeg(data: &[u8], from: usize) -> Option<Range<usize>> {
    let found = Splitter::new().finish(data.get(from..)?)?;
    Some(from + found.start..from + found.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SOI, an APP1 with a thumbnail in it, SOS, a scan with stuffing and restart markers, EOI.
    fn jpeg(fill: u8) -> Vec<u8> {
        let mut jpeg = vec![
            0xff, 0xd8, 0xff, 0xe1, 0, 10, 0xff, 0xd8, 0xff, 0xda, 0xff, 0xd9, 0, 0,
        ];
        // With a fill byte.
        jpeg.extend([0xff, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
        jpeg.extend([fill, 0xff, 0x00, fill, 0xff, 0xd0, fill, fill, 0xff, 0xd9]);
        jpeg
    }

    fn split(data: &[u8]) -> Vec<Range<usize>> {
        let mut frames = Vec::new();
        let mut from = 0;
        while let Some(frame) = next_jpeg(data, from) {
            from = frame.end;
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn thumbnails_are_no_frames() {
        let (a, b) = (jpeg(1), jpeg(2));
        let data = [&a[..], &b[..]].concat();
        assert_eq!(split(&data), [0..a.len(), a.len()..data.len()]);
    }

    #[test]
    fn garbage_and_padding_between_frames_are_skipped() {
        let a = jpeg(1);
        let data = [&[7, 0xff, 0xd8, 3][..], &a, &[0; 100], &a, &[0xff]].concat();
        assert_eq!(
            split(&data),
            [4..4 + a.len(), 104 + a.len()..104 + 2 * a.len()]
        );
    }

    #[test]
    fn a_frame_without_its_end_stops_at_the_next_start() {
        let a = jpeg(1);
        let cut = a.len() - 2;
        let data = [&a[..cut], &a[..], &a[..cut]].concat();
        assert_eq!(
            split(&data),
            [0..cut, cut..cut + a.len(), cut + a.len()..data.len()]
        );
    }

    #[test]
    fn a_damaged_header_hides_no_frame_behind_it() {
        let (mut bad, a) = (jpeg(1), jpeg(2));
        for length in [0, 1, 9, 0xffff, a.len() as u16 + 16] {
            bad[4..6].copy_from_slice(&length.to_be_bytes());
            for tail in [&a.repeat(3)[..], &a.repeat(5000)] {
                let data = [&bad[..], tail].concat();
                let frames = split(&data);
                // Passed on as far as it goes, so that it is counted.
                assert_eq!(frames[0], 0..2, "{length}");
                let good = frames.iter().filter(|f| data[(*f).clone()] == a);
                assert_eq!(good.count(), tail.len() / a.len(), "{length}");
            }
        }
    }

    #[test]
    fn a_damaged_scan_hides_no_frame_behind_it() {
        let (a, b) = (jpeg(1), jpeg(2));
        let scan = a.len() - 10;
        for damage in [
            [0xff, 0xe1, 0xff, 0xff],
            [0xff, 0xe1, 0, 40],
            [0xff, 0xc4, 0, 8],
            [0xff, 0xda, 0, 12],
            [0xff, 0xd8, 1, 1],
            [0xff, 0x01, 0xff, 0xbf],
            [0xff, 0xdd, 0, 0],
        ] {
            let mut bad = a.clone();
            bad.splice(scan..scan, damage);
            let data = [&bad[..], &b, &b].concat();
            let (first, second) = (bad.len(), bad.len() + b.len());
            assert_eq!(
                split(&data),
                [0..first, first..second, second..data.len()],
                "{damage:x?}"
            );
        }
    }

    #[test]
    fn segments_between_scans_are_stepped_over() {
        let a = jpeg(1);
        // DHT with an EOI in it, a second scan, a comment with an SOI in it, a third one.
        let mut several = a[..a.len() - 2].to_vec();
        several.extend([
            0xff, 0xc4, 0, 5, 0xff, 0xd9, 7, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0,
        ]);
        several.extend([9, 9, 0xff, 0xfe, 0, 6, 0xff, 0xd8, 0xff, 0xda]);
        several.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 5, 0xff, 0xd9]);
        let data = [&several[..], &a].concat();
        assert_eq!(split(&data), [0..several.len(), several.len()..data.len()]);
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_frames_as_the_whole(
            parts in prop::collection::vec(prop_oneof![
                (0u8..255).prop_map(jpeg),
                prop::collection::vec(any::<u8>(), 0..20),
                prop::collection::vec(prop_oneof![Just(0xffu8), Just(0xd8), Just(0xd9), Just(0xda), Just(0)], 0..12),
            ], 0..8),
            sizes in prop::collection::vec(1usize..40, 1..20),
        ) {
            let data = parts.concat();
            let whole = split(&data);
            let mut splitter = Splitter::new();
            let mut buffer = Vec::new();
            let (mut base, mut fed, mut got) = (0, 0, Vec::new());
            let mut sizes = sizes.iter().cycle();
            while fed < data.len() {
                let n = (*sizes.next().unwrap()).min(data.len() - fed);
                buffer.extend_from_slice(&data[fed..fed + n]);
                fed += n;
                loop {
                    match splitter.find(&buffer) {
                        Found::Frame(range) => {
                            got.push(base + range.start..base + range.end);
                            base += range.end;
                            buffer.drain(..range.end);
                        }
                        Found::NeedMore { discard } => {
                            base += discard;
                            buffer.drain(..discard);
                            break;
                        }
                    }
                }
            }
            while let Some(range) = splitter.finish(&buffer) {
                got.push(base + range.start..base + range.end);
                base += range.end;
                buffer.drain(..range.end);
            }
            prop_assert_eq!(got, whole);
        }

        #[test]
        fn any_bytes_end(data in prop::collection::vec(any::<u8>(), 0..400), from in 0usize..500) {
            if let Some(frame) = next_jpeg(&data, from) {
                prop_assert!(frame.start >= from && frame.end <= data.len() && !frame.is_empty());
            }
        }
    }
}
