//! Makes a whole picture from a frame with gaps: its intact MCUs, and the last frame's in place of
//! the others. Coefficients are copied and no pixel is computed, so intact parts stay exactly as
//! sent; so does the rest if both frames have the same quantisation tables (else it is
//! requantised). What cannot be placed with certainty is not used.

use std::ops::Range;

use super::super::header::{marker, next_marker};
use super::super::tables::{AC_CHROMA, AC_LUMA, DC_CHROMA, DC_LUMA};
use super::{BitReader, Block, Decoder, ENCODE, END_OF_BLOCK, Encoder, Layout, Rows, SLACK};
use super::{DecodeTable, ScanComponent, ScanError};
use crate::jpeg::{MAX_SCAN, Picture, Sampling};

/// Restart markers count from 0 to 7. T.81 §B.1.1.3.
const PHASES: usize = 8;
/// Largest coefficient written when requantising: fits T.81's tables F.1 and F.2, as do the
/// differences of two.
const MOST: i32 = 1023;

/// What arrived of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its facts and its scan, whose gaps may contain anything.
    pub picture: Picture<'a>,
    /// The ranges of the scan that are present, in order.
    pub present: &'a [Range<usize>],
    /// Whether the scan's last byte is the picture's.
    pub has_end: bool,
}

impl<'a> Part<'a> {
    fn layout(&self) -> Layout {
        layout(&self.picture)
    }

    /// MCUs in an interval; all of them where there are no restart markers.
    fn interval(&self) -> usize {
        match self.picture.restart_interval {
            0 => self.layout().mcus(),
            n => usize::from(n),
        }
        .max(1)
    }

    /// The present bytes that can be relied on.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (len, mut end) = (self.picture.scan.len(), 0);
        self.present.iter().filter_map(move |range| {
            let range = range.start.max(end)..range.end.min(len);
            end = end.max(range.end);
            (!range.is_empty()).then_some(range)
        })
    }
}

fn layout(picture: &Picture<'_>) -> Layout {
    Layout::standard(picture.width, picture.height, picture.sampling)
}

/// What two pictures must share for their MCUs to be interchangeable.
fn shape(picture: &Picture<'_>) -> (u16, u16, Sampling) {
    (picture.width, picture.height, picture.sampling)
}

/// The data of an interval, or as much of it as arrived.
#[derive(Clone, Debug)]
struct Interval {
    bytes: Range<usize>,
    /// Whether it reaches the interval's end.
    is_closed: bool,
}

/// Intervals that follow each other without a gap. The markers number them modulo 8; what fits into
/// the gaps around them narrows that down.
#[derive(Debug)]
struct Run {
    intervals: Vec<Interval>,
    /// Number of the first one, modulo 8.
    phase: usize,
    /// Where the marker before the first one is.
    at: usize,
    /// Bounds of the first one's number.
    least: usize,
    most: usize,
}

impl Run {
    fn new(phase: usize, at: usize) -> Run {
        Run {
            intervals: Vec::new(),
            phase,
            at,
            least: 0,
            most: usize::MAX,
        }
    }

    fn len(&self) -> usize {
        self.intervals.len()
    }

    fn push(&mut self, bytes: Range<usize>, is_closed: bool) {
        self.intervals.push(Interval { bytes, is_closed });
    }

    /// Moves the bounds to numbers that the phase allows; `None` if there are none.
    fn tighten(&mut self) -> Option<()> {
        self.least += (self.phase + PHASES - self.least % PHASES) % PHASES;
        let over = (self.most % PHASES + PHASES - self.phase) % PHASES;
        self.most = self.most.checked_sub(over)?;
        (self.least <= self.most).then_some(())
    }
}

/// MCUs that can be decoded.
#[derive(Clone, Debug)]
struct Piece {
    /// Their numbers.
    mcus: Range<usize>,
    /// Where their data starts, and the latest point where it ends.
    bytes: Range<usize>,
}

/// Makes whole pictures of frames with gaps; keeps its memory from frame to frame.
#[derive(Debug, Default)]
pub struct Concealer {
    pieces: Vec<Piece>,
    rows: Rows,
    out: Vec<u8>,
}

impl Concealer {
    /// The scan of a picture with `part`'s facts: its intact MCUs, and `last`'s in place of the
    /// others. `None` if that is impossible: nothing is intact, or `last` is broken or differs in
    /// size or sampling.
    pub fn conceal(&mut self, part: &Part<'_>, last: &Picture<'_>) -> Option<&[u8]> {
        let layout = part.layout();
        if shape(&part.picture) != shape(last) {
            return None;
        }
        self.find(part);
        if self.pieces.is_empty() {
            return None;
        }
        let mut new = standard(&layout, 0, part.picture.scan).ok()?;
        let mut old = standard(&layout, last.restart_interval, last.scan).ok()?;
        let requantise = last.quant != part.picture.quant;
        self.rows.fit(&layout, layout.mcus_wide, 1);
        self.out.clear();
        let luma_high = layout.factors[0].1;
        let mut encoder = Encoder::new(layout, part.picture.restart_interval, &mut self.out);
        let mut pieces = self.pieces.iter().peekable();
        for row in 0..layout.mcus_high {
            for column in 0..layout.mcus_wide {
                old.mcu(&mut self.rows, column, 0).ok()?;
            }
            if requantise {
                self.rows.requantise(&last.quant, &part.picture.quant);
            }
            for column in 0..layout.mcus_wide {
                let number = row * layout.mcus_wide + column;
                let Some(piece) = pieces.peek().filter(|p| p.mcus.contains(&number)) else {
                    continue;
                };
                if number == piece.mcus.start {
                    seek(&mut new, part.picture.scan, &piece.bytes);
                }
                new.mcu(&mut self.rows, column, 0).ok()?;
                if number + 1 == piece.mcus.end {
                    pieces.next();
                }
            }
            encoder.band(&self.rows, layout.count, luma_high).ok()?;
            if encoder.writer.out.len() > MAX_SCAN {
                return None;
            }
        }
        encoder.writer.align();
        Some(&self.out)
    }

    /// The numbers of the MCUs that are intact, in order, rows from left to right.
    pub fn intact(&mut self, part: &Part<'_>) -> impl Iterator<Item = Range<usize>> {
        self.find(part);
        self.pieces.iter().map(|piece| piece.mcus.clone())
    }

    fn find(&mut self, part: &Part<'_>) {
        self.pieces.clear();
        let layout = part.layout();
        let (Some(runs), Ok(mut decoder)) = (locate(part), standard(&layout, 0, part.picture.scan))
        else {
            return;
        };
        let mut one = Rows::default();
        one.fit(&layout, 1, 1);
        for run in runs.iter().filter(|run| run.least == run.most) {
            for (number, interval) in (run.least..).zip(&run.intervals) {
                let first = number * part.interval();
                let most = part.interval().min(layout.mcus() - first);
                seek(&mut decoder, part.picture.scan, &interval.bytes);
                let count = decodable(&mut decoder, &mut one, most, interval);
                if count > 0 {
                    self.pieces.push(Piece {
                        mcus: first..first + count,
                        bytes: interval.bytes.clone(),
                    });
                }
            }
        }
    }
}

/// How many of an interval's `most` MCUs are there; 0 if the data is not what it should be.
fn decodable(decoder: &mut Decoder<'_>, one: &mut Rows, most: usize, interval: &Interval) -> usize {
    for count in 0..most {
        match decoder.mcu(one, 0, 0) {
            Ok(()) => {}
            // Truncated, but whole up to there.
            Err(ScanError::Short { .. }) if !interval.is_closed => return count,
            Err(_) => return 0,
        }
    }
    match decoder.reader.position() + SLACK < interval.bytes.end {
        true => 0,
        false => most,
    }
}

/// Which intervals have arrived; `None` if the markers contradict each other or the picture's size.
fn locate(part: &Part<'_>) -> Option<Vec<Run>> {
    let mut runs = runs(part)?;
    let total = part.layout().mcus().div_ceil(part.interval());
    let shortest = shortest_interval(&part.layout(), part.interval());
    let (first, rest) = runs.split_first_mut()?;
    (first.least, first.most) = (0, 0);
    total.checked_sub(first.len())?;
    // Forward: each run follows the one before it, no further than the gap allows.
    let mut before = (0, first.len() - 1, first.intervals.last()?.bytes.start);
    let mut before_most = 0;
    let mut hidden = Vec::with_capacity(rest.len());
    for run in rest.iter_mut() {
        let (least, steps, start) = before;
        let room = most_steps(start, run.at, shortest);
        hidden.push(room);
        run.least = least + steps + 1;
        run.most = (before_most + steps + room).min(total.checked_sub(run.len())?);
        if run.intervals.last()?.is_closed {
            run.least = run.least.max(total - run.len());
        }
        run.tighten()?;
        before = (run.least, run.len() - 1, run.intervals.last()?.bytes.start);
        before_most = run.most;
    }
    // Backward: the same from the end.
    for index in (1..runs.len()).rev() {
        let (front, back) = runs.split_at_mut(index);
        let (run, next) = (front.last_mut()?, back.first()?);
        let steps = run.len() - 1;
        run.most = run.most.min(next.most.checked_sub(steps + 1)?);
        let least = next.least.saturating_sub(steps + hidden[index - 1]);
        run.least = run.least.max(least);
        run.tighten()?;
    }
    Some(runs)
}

/// How many intervals at most separate the one after the marker at `at` from the one that starts at
/// `start`. All in between are complete.
fn most_steps(start: usize, at: usize, shortest: usize) -> usize {
    ((at.saturating_sub(start) + 2) / (shortest + 2)).max(1)
}

/// Bytes of an interval in which all blocks are empty, without its marker.
fn shortest_interval(layout: &Layout, mcus: usize) -> usize {
    let [luma, chroma] = [&ENCODE[0], &ENCODE[1]]
        .map(|(dc, ac)| usize::from(dc.length[0]) + usize::from(ac.length[END_OF_BLOCK]));
    let bits = (layout.blocks() - 2) * luma + 2 * chroma;
    (mcus * bits).div_ceil(8)
}

/// The intervals that have arrived. The first run starts with interval 0, which has no data if the
/// scan's start is missing. `None` if the markers are not in order.
fn runs(part: &Part<'_>) -> Option<Vec<Run>> {
    let scan = part.picture.scan;
    let mut runs = vec![Run::new(0, 0)];
    for range in part.ranges() {
        let is_first = range.start == 0;
        let mut run = if is_first { runs.pop() } else { None };
        let mut start = range.start;
        let markers = match part.picture.restart_interval {
            0 => Vec::new(),
            _ => restarts(&scan[..range.end], range.start)?,
        };
        for (at, number) in markers {
            let phase = (number + 1) % PHASES;
            let run = run.get_or_insert_with(|| Run::new(phase, at));
            if is_first || run.at != at {
                run.push(start..at, true);
            }
            if phase != (run.phase + run.len()) % PHASES {
                return None;
            }
            start = at + 2;
        }
        if let Some(mut run) = run {
            run.push(start..range.end, part.has_end && range.end == scan.len());
            runs.push(run);
        }
    }
    if runs[0].intervals.is_empty() {
        runs[0].push(0..0, false);
    }
    Some(runs)
}

/// Where the restart markers in `data` from `from` on are, and their numbers; `None` if there are
/// others.
fn restarts(data: &[u8], mut from: usize) -> Option<Vec<(usize, usize)>> {
    let mut markers = Vec::new();
    while let Some(at) = next_marker(data, from) {
        let code = *data.get(at + 1)?;
        if code == 0xff {
            from = at + 1; // a fill byte, T.81 §B.1.1.2
            continue;
        }
        let number = usize::from(code.checked_sub(marker::RST0)?);
        if number >= PHASES {
            return None;
        }
        markers.push((at, number));
        from = at + 2;
    }
    Some(markers)
}

/// A decoder for a scan in RFC 2435's form.
fn standard<'a>(
    layout: &Layout,
    restart_interval: u16,
    scan: &'a [u8],
) -> Result<Decoder<'a>, ScanError> {
    let mut components = [ScanComponent::default(); 4];
    for (i, component) in components.iter_mut().enumerate().take(layout.count) {
        let (h, v) = layout.factors[i];
        let table = if i == 0 { 0 } else { 2 };
        *component = ScanComponent {
            h,
            v,
            dc: table,
            ac: table + 1,
        };
    }
    let tables = [&DC_LUMA, &AC_LUMA, &DC_CHROMA, &AC_CHROMA]
        .into_iter()
        .map(DecodeTable::new)
        .collect::<Result<_, _>>()?;
    Ok(Decoder::at_start(
        scan,
        layout,
        components,
        tables,
        restart_interval,
    ))
}

/// Moves to the start of the interval in `bytes`.
fn seek<'a>(decoder: &mut Decoder<'a>, scan: &'a [u8], bytes: &Range<usize>) {
    decoder.reader = BitReader::new(&scan[..bytes.end], bytes.start);
    decoder.prediction = [0; 4];
}

impl Rows {
    /// Converts coefficients quantised with `from` into those for the same picture quantised with
    /// `to`.
    fn requantise(&mut self, from: &[u8; 128], to: &[u8; 128]) {
        for (i, blocks) in self.blocks.iter_mut().enumerate() {
            let half = if i == 0 { 0..64 } else { 64..128 };
            let (from, to) = (&from[half.clone()], &to[half]);
            blocks
                .iter_mut()
                .for_each(|block| block.requantise(from, to));
        }
    }
}

impl Block {
    fn requantise(&mut self, from: &[u8], to: &[u8]) {
        let scale = |value: i32, k: usize| {
            let (value, to) = (value * i32::from(from[k]), i32::from(to[k]).max(1));
            ((value + value.signum() * to / 2) / to).clamp(-MOST, MOST)
        };
        self.dc = scale(self.dc, 0);
        let mut mask = self.mask;
        while mask != 0 {
            let k = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            self.ac[k] = scale(i32::from(self.ac[k]), k) as i16; // at most MOST
            if self.ac[k] == 0 {
                self.mask &= !(1 << k);
            }
        }
    }
}

#[cfg(test)]
mod tests;
