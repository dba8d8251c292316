//! Scans without restart markers: walks over their Huffman codes, and cuts where it has been.

use std::mem::{replace, take};
use std::ops::Range;

use super::bits::{Bits, SLACK, copy};
use super::codes::{AC, AcTable, Broken, DC, DcTable};
use super::shape::Shape;
use crate::jpeg::header::marker;
use crate::jpeg::recode::BitWriter;
use crate::jpeg::{MAX_SCAN, Sampling};

/// The component of each block of an MCU. T.81 §A.2.3.
const BLOCKS_422: [usize; 4] = [0, 0, 1, 2];
const BLOCKS_420: [usize; 6] = [0, 0, 0, 0, 1, 2];
/// Differences have at most 11 bits, so this is the largest value that can be written against a
/// prediction of 0. 8-bit samples give half of it.
const MAX_DC: i32 = 2047;

/// Where an MCU starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// Without counting stuffed zeros.
    bit: usize,
    /// The DC predictions there, by component.
    dc: [i32; 3],
}

/// Walks through a scan while it arrives.
#[derive(Debug)]
pub(super) struct Walk {
    shape: Shape,
    /// The scan without stuffed zeros, as far as it came, and [`SLACK`] zeros.
    bytes: Vec<u8>,
    /// The last byte was a 0xff, which is not in `bytes` yet.
    after_ff: bool,
    has_end: bool,
    /// The next MCU, and its column.
    next: Mark,
    column: usize,
    /// The first MCU of each row reached; one more at the end.
    marks: Vec<Mark>,
}

impl Walk {
    pub(super) fn new(shape: Shape) -> Walk {
        Walk::with(shape, Vec::new(), Vec::new())
    }

    pub(super) fn reset(&mut self, shape: Shape) {
        *self = Walk::with(shape, take(&mut self.bytes), take(&mut self.marks));
    }

    /// Reuses memory.
    fn with(shape: Shape, mut bytes: Vec<u8>, mut marks: Vec<Mark>) -> Walk {
        bytes.clear();
        bytes.resize(SLACK, 0);
        marks.clear();
        marks.push(Mark::default());
        Walk {
            shape,
            bytes,
            after_ff: false,
            has_end: false,
            next: Mark::default(),
            column: 0,
            marks,
        }
    }

    /// Bytes without stuffed zeros.
    fn len(&self) -> usize {
        self.bytes.len() - SLACK
    }

    pub(super) fn feed(&mut self, more: &[u8]) -> Result<(), Broken> {
        let len = self.len();
        if len + more.len() > MAX_SCAN {
            return Err(Broken);
        }
        self.bytes.truncate(len);
        let result = self.push(more);
        self.bytes.extend_from_slice(&[0; SLACK]);
        result
    }

    /// T.81 §F.1.2.3: a zero after a 0xff is stuffed; §B.1.1.2: more 0xff may precede a marker.
    fn push(&mut self, mut more: &[u8]) -> Result<(), Broken> {
        while !more.is_empty() && !self.has_end {
            if take(&mut self.after_ff) {
                match more[0] {
                    0 => self.bytes.push(0xff),
                    0xff => self.after_ff = true,
                    marker::EOI => self.has_end = true,
                    _ => return Err(Broken),
                }
                more = &more[1..];
                continue;
            }
            let (plain, rest) = more.split_at(memchr::memchr(0xff, more).unwrap_or(more.len()));
            self.bytes.extend_from_slice(plain);
            self.after_ff = !rest.is_empty();
            more = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        self.has_end = true;
    }

    pub(super) fn advance(&mut self) -> Result<(), Broken> {
        match self.shape.sampling {
            Sampling::Yuv422 => self.advance_by(&BLOCKS_422)?,
            Sampling::Yuv420 => self.advance_by(&BLOCKS_420)?,
        }
        let is_short = self.has_end && self.rows() < self.shape.rows();
        if is_short { Err(Broken) } else { Ok(()) }
    }

    /// Proceeds to the last MCU that is complete.
    fn advance_by<const N: usize>(&mut self, blocks: &[usize; N]) -> Result<(), Broken> {
        let (dc, ac) = (&*DC, &*AC);
        let (rows, columns, end) = (self.shape.rows(), self.shape.columns(), self.len() * 8);
        let mut bits = Bits::new(&self.bytes, self.next.bit);
        while self.marks.len() <= rows {
            let mut predictions = self.next.dc;
            let result = skip_mcu(&mut bits, blocks, dc, ac, &mut predictions);
            let at = bits.bit();
            match result {
                // Zeros after the end may look like codes, or like none: the next bytes will tell.
                _ if at > end => return Ok(()),
                Err(Broken) if at + 64 > end => return Ok(()),
                Err(Broken) => return Err(Broken),
                Ok(()) => {}
            }
            self.next = Mark {
                bit: at,
                dc: predictions,
            };
            self.column += 1;
            if self.column == columns {
                self.column = 0;
                self.marks.push(self.next);
            }
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.marks.len() - 1
    }

    /// Only each component's first difference is predicted from outside the strip: it is rewritten
    /// against a prediction of 0 (T.81 §F.1.1.5.1). All other bits are shifted.
    pub(super) fn cut(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<(), Broken> {
        let end = self.marks.get(rows.end).ok_or(Broken)?.bit;
        let start = self.marks[..rows.end].get(rows.start).ok_or(Broken)?;
        let blocks: &[usize] = match self.shape.sampling {
            Sampling::Yuv422 => &BLOCKS_422,
            Sampling::Yuv420 => &BLOCKS_420,
        };
        let mut bits = Bits::new(&self.bytes, start.bit);
        let mut writer = BitWriter::new(out);
        let mut copied = start.bit;
        let mut is_written = [false; 3];
        for &component in blocks {
            let class = usize::from(component > 0);
            bits.refill();
            let at = bits.bit();
            let difference = bits.dc(&DC[class])?;
            if !replace(&mut is_written[component], true) {
                copy(&mut writer, &self.bytes, copied..at);
                let value = start.dc[component] + difference;
                let written = writer.value(DC[class].codes, 0, value);
                written.map_err(|_| Broken)?;
                copied = bits.bit();
            }
            bits.skip_ac(&AC[class])?;
        }
        copy(&mut writer, &self.bytes, copied..end);
        writer.align();
        Ok(())
    }
}

#[inline(always)]
fn skip_mcu<const N: usize>(
    bits: &mut Bits<'_>,
    blocks: &[usize; N],
    dc: &[DcTable; 2],
    ac: &[AcTable; 2],
    predictions: &mut [i32; 3],
) -> Result<(), Broken> {
    let mut is_far = false;
    for &component in blocks {
        let class = usize::from(component > 0);
        bits.refill();
        predictions[component] += bits.dc(&dc[class])?;
        is_far |= (predictions[component] + MAX_DC) as u32 > 2 * MAX_DC as u32;
        bits.skip_ac(&ac[class])?;
    }
    if is_far { Err(Broken) } else { Ok(()) }
}
