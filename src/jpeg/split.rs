//! Finding where one JPEG ends and the next begins in a stream of them ("concatenated MJPEG", as
//! `rpicam-vid --codec mjpeg -o -` writes it). Marker segments are stepped over by their length, so a
//! thumbnail in an APPn segment is not taken for a frame. It decides nothing about whether a
//! JPEG is good: that is the [gate](crate::jpeg::gate)'s work. Markers: ITU-T T.81 §B.1.

use std::ops::Range;

use super::header::{marker, next_marker};

/// What [`Splitter::find`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One JPEG, from its SOI up to and with its EOI; without an EOI, up to the next SOI. The caller
    /// drops the bytes up to `end` before it calls again.
    Frame(Range<usize>),
    /// No JPEG ends in the buffer yet.
    NeedMore {
        /// Leading bytes that belong to no JPEG. The caller drops exactly these before it calls again.
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

/// Finds JPEGs in bytes that come piece by piece; no byte is looked at twice.
///
/// It holds no bytes, so it cannot bound them: a caller whose buffer is full without a frame in it
/// empties the buffer and calls [`reset`](Splitter::reset).
#[derive(Clone, Debug)]
pub struct Splitter {
    phase: Phase,
    /// Where the present JPEG's SOI lies in the buffer.
    start: usize,
    /// The next byte to look at; may lie behind the buffer's end, inside a segment that is still to come.
    at: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter::new()
    }
}

impl Splitter {
    /// A splitter that stands before the first byte.
    pub fn new() -> Self {
        Splitter {
            phase: Phase::Between,
            start: 0,
            at: 0,
        }
    }

    /// Forgets the JPEG that was begun; the next buffer starts anew.
    pub fn reset(&mut self) {
        *self = Splitter::new();
    }

    /// Looks for the end of the first JPEG in `buffer`: all bytes that have come and were not dropped.
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

    /// To the next SOI that another marker follows.
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

    /// Over one marker segment.
    fn segment(&mut self, buffer: &[u8]) -> Option<Option<usize>> {
        let rest = buffer.get(self.at..)?;
        let (&first, &code) = (rest.first()?, rest.get(1)?);
        if first != 0xff {
            self.phase = Phase::Between; // garbage: this was no JPEG
            return Some(None);
        }
        match code {
            0xff => self.at += 1, // a fill byte, T.81 §B.1.1.2
            marker::SOI => return Some(Some(self.at)),
            marker::EOI => return Some(Some(self.at + 2)),
            marker::TEM | marker::RST0..=marker::RST7 => self.at += 2,
            0x00..=0xbf => self.phase = Phase::Between, // reserved: no encoder writes them
            _ => {
                let length = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
                if length < 2 {
                    self.phase = Phase::Between;
                    return Some(None);
                }
                self.at += 2 + usize::from(length);
                if code == marker::SOS {
                    self.phase = Phase::Scan;
                }
            }
        }
        Some(None)
    }

    /// To the marker that ends the entropy-coded data.
    fn scan(&mut self, buffer: &[u8]) -> Option<Option<usize>> {
        loop {
            let Some(at) = next_marker(buffer, self.at) else {
                // The last byte may be the first half of a marker.
                self.at = self.at.max(buffer.len().saturating_sub(1));
                return None;
            };
            self.at = at;
            match buffer[at + 1] {
                marker::RST0..=marker::RST7 => self.at += 2,
                0xff => self.at += 1,
                marker::EOI => return Some(Some(at + 2)),
                marker::SOI => return Some(Some(at)),
                _ => {
                    self.phase = Phase::Segments;
                    return Some(None);
                }
            }
        }
    }
}

/// The first JPEG in `data` at or behind `from`; the last one, if it has no end, reaches to the end of `data`.
pub fn next_jpeg(data: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = data.get(from..)?;
    let mut splitter = Splitter::new();
    let found = match splitter.run(rest) {
        Some(found) => found,
        None if splitter.phase != Phase::Between => splitter.start..rest.len(),
        None => return None,
    };
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
        jpeg.extend([0xff, 0xff, 0xda, 0, 4, 1, 1]); // with a fill byte
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
    fn a_segment_with_a_bad_length_is_garbage() {
        let mut bad = jpeg(1);
        bad[5] = 0;
        bad.drain(6..14);
        let a = jpeg(2);
        let data = [&bad[..], &a].concat();
        assert_eq!(next_jpeg(&data, 0), Some(bad.len()..data.len()));
        assert_eq!(next_jpeg(&data, data.len()), None);
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
            let mut whole = split(&data);
            // What is left at the end is a frame for a file, but not for a pipe that may go on.
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
            if whole.len() == got.len() + 1 {
                prop_assert_eq!(whole.pop().unwrap().end, data.len());
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
