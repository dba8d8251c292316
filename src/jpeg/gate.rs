//! The gate: turns a source's frame into a [`Picture`] that RFC 2435 can carry, or refuses it with
//! a reason. A good frame is neither copied nor decoded: its header is compared with the last
//! one's, its scan is searched for the EOI marker (4 to 8 µs for 150 KB on a PC) and borrowed.
//! Anything else done to a frame is counted, and logged once.

use std::ops::Range;
use std::sync::Arc;

use turbojpeg::{OutputBuf, Transform, Transformer};

use super::header::{Coding, Color, Header, HeaderError, marker, scan_end, segments};
use super::recode::{Layout, Recoder, ScanError, mcus_before_marker, walk};
use super::reencode::{MAX_PIXELS, Reencoder, fit, is_damage, is_warning};
use super::split::next_jpeg;
use super::tables::{AC_CHROMA, AC_LUMA, DC_CHROMA, DC_LUMA};
use super::{Picture, Sampling, rebuild};
use crate::counters::counters;

/// No JPEG is shorter, in bytes; the smallest header alone is longer.
const SHORTEST: usize = 128;

/// Longer headers, in bytes, are parsed each time rather than kept for comparison.
const LONGEST_KEPT: usize = 1 << 16;

counters! {
    /// What one gate did. A frame that passes may count in several of the rows below the first.
    GateCounters, GateSnapshot {
        /// Frames that passed.
        passed: Counter,
        /// Refused: fewer than 128 bytes.
        too_short: Counter,
        /// Refused: does not start with SOI.
        no_soi: Counter,
        /// Refused: cut short.
        truncated: Counter,
        /// Refused: the scan cannot be decoded, which was necessary.
        corrupt: Counter,
        /// Refused: the header makes no sense.
        bad_header: Counter,
        /// Refused: 12-bit, lossless, hierarchical, without a height, or too large.
        unsupported: Counter,
        /// Refused by the caller: the driver flagged the frame as broken.
        flagged: Counter,
        /// Passed without the bytes after the EOI marker.
        padding_trimmed: Counter,
        /// Passed without an EOI marker: the scan is whole.
        eoi_completed: Counter,
        /// Passed with the standard Huffman tables, which its header left out.
        dht_completed: Counter,
        /// Passed with the restart interval of its scan, which its header lacks.
        dri_corrected: Counter,
        /// Passed after lossless recoding.
        recoded: Counter,
        /// Passed after decoding and encoding again.
        reencoded: Counter,
        /// Passed after scaling down, as configured (counted in `reencoded` too).
        resized: Counter,
    }
}

/// Default quality of what lancam encodes.
pub const DEFAULT_QUALITY: u8 = 80;

/// What the gate does besides checking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateOptions {
    /// Scale frames down to fit into this width and height in pixels, keeping their proportions.
    /// Frames that fit are left alone.
    pub resize: Option<(u32, u32)>,
    /// Quality of what has to be encoded again: libjpeg's scale, 1 to 100.
    pub quality: u8,
}

impl Default for GateOptions {
    fn default() -> Self {
        GateOptions {
            resize: None,
            quality: DEFAULT_QUALITY,
        }
    }
}

/// Why a frame did not pass. Offsets count bytes from the frame's first.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too few bytes for any JPEG.
    #[error("the frame has only {len} bytes")]
    TooShort {
        /// How many.
        len: usize,
    },
    /// The first bytes are not a JPEG's.
    #[error("the frame is not a JPEG: it does not start with FF D8")]
    NoSoi,
    /// The end is missing.
    #[error("the frame is truncated at byte {offset}")]
    Truncated {
        /// Where the scan ends.
        offset: usize,
    },
    /// The scan had to be decoded and cannot be.
    #[error("the frame is corrupt: {0}")]
    Corrupt(#[from] ScanError),
    /// The scan had to be decoded and turbojpeg refused.
    #[error("the frame is corrupt: {0}")]
    Undecodable(#[from] turbojpeg::Error),
    /// The header makes no sense.
    #[error("the frame has a {0}")]
    BadHeader(HeaderError),
    /// A kind of JPEG that can neither be carried nor converted.
    #[error("{what} is not supported: set the source to baseline JPEG")]
    Unsupported {
        /// The kind.
        what: &'static str,
    },
    /// It would have to be encoded again and is too large for that.
    #[error(
        "a JPEG of {width}x{height} is too large to be encoded again: set the source to a smaller size or 4:2:0"
    )]
    TooLarge {
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
    },
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Refusal {
        match error {
            HeaderError::NoSoi => Refusal::NoSoi,
            HeaderError::Short { offset } => Refusal::Truncated { offset },
            HeaderError::Bad { .. } => Refusal::BadHeader(error),
            HeaderError::Unsupported { what } => Refusal::Unsupported { what },
        }
    }
}

/// Why a frame does not pass unchanged; logged once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NoDht,
    NoEoi,
    WrongDri,
    Huffman,
    Layout,
    Grey,
    Progressive,
    SeveralScans,
    Arithmetic,
    Rgb,
    Cmyk,
    Sampling,
    Quant,
    Resize,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Why::NoDht => "without Huffman tables: the standard ones are assumed",
            Why::NoEoi => "without an EOI marker: each one is decoded to see whether it is whole",
            Why::WrongDri => "with a wrong restart interval in the header: the scan's own is taken",
            Why::Huffman => "with Huffman tables of their own: recoded without loss",
            Why::Layout => "with unusual sampling factors: recoded without loss",
            Why::Grey => "in grey: sent as 4:2:0 with neutral chroma, without loss",
            Why::Progressive => "progressive: recoded without loss",
            Why::SeveralScans => "in several scans: recoded without loss",
            Why::Arithmetic => "arithmetic-coded: recoded without loss",
            Why::Rgb => "coded as RGB: decoded and encoded again",
            Why::Cmyk => "coded as CMYK: decoded and encoded again",
            Why::Sampling => {
                "with a chroma sampling other than 4:2:2 and 4:2:0: decoded and encoded again"
            }
            Why::Quant => {
                "with quantisation tables that RTP/JPEG cannot carry: decoded and encoded again"
            }
            Why::Resize => "larger than asked for: scaled down and encoded again",
        }
    }
}

/// How a frame becomes a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Unchanged.
    Direct,
    /// The same coefficients with other codes.
    Recode(Why),
    /// The same coefficients in one sequential scan first.
    Rewrite(Why),
    /// Other coefficients.
    Reencode(Why),
}

/// What the gate knows of a header; owned, so that it can be kept.
#[derive(Clone, Copy, Debug)]
struct Facts {
    width: u16,
    height: u16,
    form: Form,
    /// Of the resulting picture.
    sampling: Sampling,
    coding: Coding,
    color: Color,
    restart_interval: u16,
    quant: [u8; 128],
    scan_start: usize,
    dht_completed: bool,
    mcus: usize,
    /// No scan of such a picture has fewer bytes.
    least_scan: usize,
}

impl Facts {
    fn of(header: &Header) -> Facts {
        let layout = Layout::of(header);
        let (form, sampling, quant) = form_of(header, &layout);
        // Bits that every block needs: with the standard tables 2 for a DC of 0, and 4 (luma) or 2
        // (chroma) for the end of block; with other tables 1 and 1; in a progressive JPEG only the
        // DC's.
        let bits = match (form, sampling, header.coding) {
            (Form::Direct, Sampling::Yuv422, _) => 20,
            (Form::Direct, Sampling::Yuv420, _) => 32,
            (_, _, Coding::Sequential) => 2 * layout.blocks(),
            _ => 1,
        };
        Facts {
            width: header.width,
            height: header.height,
            form,
            sampling,
            coding: header.coding,
            color: header.color,
            restart_interval: header.restart_interval,
            quant,
            scan_start: header.scan_start,
            dht_completed: header.dht_completed,
            mcus: layout.mcus(),
            least_scan: (layout.mcus() * bits).div_ceil(8),
        }
    }
}

fn form_of(header: &Header, layout: &Layout) -> (Form, Sampling, [u8; 128]) {
    let none = [0; 128];
    match header.color {
        Color::Rgb => return (Form::Reencode(Why::Rgb), Sampling::Yuv422, none),
        Color::Cmyk => return (Form::Reencode(Why::Cmyk), Sampling::Yuv422, none),
        Color::Grey | Color::Yuv => {}
    }
    let Some(sampling) = layout.equivalent() else {
        let components = header.components();
        let tall = components.iter().skip(1).any(|c| c.v < components[0].v);
        let sampling = if tall {
            Sampling::Yuv420
        } else {
            Sampling::Yuv422
        };
        return (Form::Reencode(Why::Sampling), sampling, none);
    };
    let Some(quant) = quant_of(header) else {
        return (Form::Reencode(Why::Quant), sampling, none);
    };
    let form = match header.coding {
        Coding::Progressive => Form::Rewrite(Why::Progressive),
        Coding::SeveralScans => Form::Rewrite(Why::SeveralScans),
        Coding::Arithmetic => Form::Rewrite(Why::Arithmetic),
        Coding::Sequential if header.color == Color::Grey => Form::Recode(Why::Grey),
        Coding::Sequential
            if *layout != Layout::standard(header.width, header.height, sampling) =>
        {
            Form::Recode(Why::Layout)
        }
        Coding::Sequential if !has_standard_huffman(header) => Form::Recode(Why::Huffman),
        Coding::Sequential => Form::Direct,
    };
    (form, sampling, quant)
}

/// The two 8-bit tables of RFC 2435 §3.1.8, if two can replace the header's tables.
fn quant_of(header: &Header) -> Option<[u8; 128]> {
    let luma = header.quant(0)?.narrowed()?;
    let chroma = match (header.quant(1), header.quant(2)) {
        (None, _) => luma, // grey
        (Some(cb), Some(cr)) => {
            let cb = cb.narrowed()?;
            if cb != cr.narrowed()? {
                return None;
            }
            cb
        }
        (Some(_), None) => return None,
    };
    let mut quant = [0; 128];
    quant[..64].copy_from_slice(&luma);
    quant[64..].copy_from_slice(&chroma);
    Some(quant)
}

fn has_standard_huffman(header: &Header) -> bool {
    (0..header.components().len()).all(|i| {
        let (dc, ac) = if i == 0 {
            (DC_LUMA, AC_LUMA)
        } else {
            (DC_CHROMA, AC_CHROMA)
        };
        header.dc_table(i) == Some(dc) && header.ac_table(i) == Some(ac)
    })
}

/// Where a frame's (last) scan ends.
#[derive(Clone, Copy, Debug)]
struct End {
    /// The first byte after it.
    at: usize,
}

/// A picture before its scan is borrowed.
struct Verdict {
    width: u16,
    height: u16,
    sampling: Sampling,
    restart_interval: u16,
    quant: [u8; 128],
    scan: Range<usize>,
    /// The scan is in the gate's own buffer, not in the frame.
    own: bool,
}

/// What was done to a frame; counted once it has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Notes {
    padding: bool,
    no_eoi: bool,
    no_dht: bool,
    wrong_dri: bool,
    recoded: bool,
    reencoded: bool,
    resized: bool,
}

/// What checking one whole scan has proved about frames of this kind.
#[derive(Clone, Copy, Debug)]
struct Vetted {
    width: u16,
    height: u16,
    declared_interval: u16,
    interval: u16,
}

/// Checks and normalises the frames of one source.
#[derive(Debug)]
pub struct Gate {
    options: GateOptions,
    counters: Arc<GateCounters>,
    /// The last header's bytes and what they mean.
    header: Vec<u8>,
    facts: Option<Facts>,
    vetted: Option<Vetted>,
    notes: Notes,
    /// One bit for each [`Why`] that was logged.
    logged: u32,
    recoder: Recoder,
    reencoder: Option<Reencoder>,
    /// The scan or JPEG made last.
    own: Vec<u8>,
    /// A frame made complete for turbojpeg.
    whole: Vec<u8>,
}

impl Gate {
    /// A gate for one source.
    pub fn new(options: GateOptions) -> Gate {
        Gate::with_counters(options, Arc::default())
    }

    /// The same with an earlier gate's counters.
    pub fn with_counters(options: GateOptions, counters: Arc<GateCounters>) -> Gate {
        Gate {
            options,
            counters,
            header: Vec::new(),
            facts: None,
            vetted: None,
            notes: Notes::default(),
            logged: 0,
            recoder: Recoder::default(),
            reencoder: None,
            own: Vec::new(),
            whole: Vec::new(),
        }
    }

    /// This gate's counters; shared, so that others can read them while the gate works.
    pub fn counters(&self) -> Arc<GateCounters> {
        Arc::clone(&self.counters)
    }

    /// Makes a picture of one frame. The scan is borrowed from the frame if nothing had to be done
    /// to it.
    ///
    /// # Errors
    /// Why the frame cannot be sent; already counted.
    pub fn pass<'a>(&'a mut self, jpeg: &'a [u8]) -> Result<Picture<'a>, Refusal> {
        self.check(jpeg, false)
    }

    /// The same for a frame that ends where [`next_jpeg`] ends it: its EOI, if it has one, is not
    /// searched for again.
    ///
    /// # Errors
    /// As in [`Gate::pass`].
    pub fn pass_split<'a>(&'a mut self, jpeg: &'a [u8]) -> Result<Picture<'a>, Refusal> {
        self.check(jpeg, true)
    }

    fn check<'a>(&'a mut self, jpeg: &'a [u8], is_split: bool) -> Result<Picture<'a>, Refusal> {
        self.notes = Notes::default();
        let verdict = match self.judge(jpeg, is_split) {
            Ok(verdict) => verdict,
            Err(refusal) => {
                self.count(&refusal);
                return Err(refusal);
            }
        };
        self.count_passed();
        let bytes = if verdict.own { &self.own } else { jpeg };
        Ok(Picture {
            width: verdict.width,
            height: verdict.height,
            sampling: verdict.sampling,
            restart_interval: verdict.restart_interval,
            quant: verdict.quant,
            scan: &bytes[verdict.scan],
        })
    }

    fn count_passed(&mut self) {
        let notes = self.notes;
        self.counters.passed.add(1);
        if notes == Notes::default() {
            return;
        }
        let counters = &self.counters;
        let causes = [
            (notes.padding, &counters.padding_trimmed),
            (notes.no_eoi, &counters.eoi_completed),
            (notes.no_dht, &counters.dht_completed),
            (notes.wrong_dri, &counters.dri_corrected),
            (notes.recoded, &counters.recoded),
            (notes.reencoded, &counters.reencoded),
            (notes.resized, &counters.resized),
        ];
        for (_, counter) in causes.into_iter().filter(|(done, _)| *done) {
            counter.add(1);
        }
        for (done, why) in [
            (notes.no_eoi, Why::NoEoi),
            (notes.no_dht, Why::NoDht),
            (notes.wrong_dri, Why::WrongDri),
        ] {
            if done {
                self.tell(why);
            }
        }
    }

    fn count(&self, refusal: &Refusal) {
        let counters = &self.counters;
        let counter = match refusal {
            Refusal::TooShort { .. } => &counters.too_short,
            Refusal::NoSoi => &counters.no_soi,
            Refusal::Truncated { .. } => &counters.truncated,
            Refusal::Corrupt(_) | Refusal::Undecodable(_) => &counters.corrupt,
            Refusal::BadHeader(_) => &counters.bad_header,
            Refusal::Unsupported { .. } | Refusal::TooLarge { .. } => &counters.unsupported,
        };
        counter.add(1);
    }

    fn tell(&mut self, why: Why) {
        let bit = 1 << why as u32;
        if self.logged & bit == 0 {
            self.logged |= bit;
            tracing::info!("the source's frames come {}", why.text());
        }
    }

    fn judge(&mut self, jpeg: &[u8], is_split: bool) -> Result<Verdict, Refusal> {
        if jpeg.len() < SHORTEST {
            return Err(Refusal::TooShort { len: jpeg.len() });
        }
        let facts = self.read_header(jpeg)?;
        let end = self.find_end(jpeg, &facts, is_split)?;
        if end.at < facts.scan_start + facts.least_scan {
            return Err(Refusal::Truncated { offset: end.at });
        }
        let interval = self.vet(jpeg, &facts, end)?;
        self.notes.no_dht = facts.dht_completed;
        self.notes.wrong_dri = interval != facts.restart_interval;
        if let Some(target) = self
            .options
            .resize
            .and_then(|limit| fit((facts.width, facts.height), limit))
        {
            self.tell(Why::Resize);
            self.notes.resized = true;
            return self.reencode(jpeg, &facts, end, interval, target);
        }
        match facts.form {
            Form::Direct => Ok(Verdict {
                width: facts.width,
                height: facts.height,
                sampling: facts.sampling,
                restart_interval: interval,
                quant: facts.quant,
                scan: facts.scan_start..behind_eoi(jpeg, end.at),
                own: false,
            }),
            Form::Recode(why) => {
                self.tell(why);
                let header = Header::parse(jpeg)?;
                self.recode(&header, &facts, interval, &jpeg[facts.scan_start..end.at])
            }
            Form::Rewrite(why) => {
                self.tell(why);
                self.rewrite(jpeg, &facts, end)
            }
            Form::Reencode(why) => {
                self.tell(why);
                let size = (usize::from(facts.width), usize::from(facts.height));
                self.reencode(jpeg, &facts, end, interval, size)
            }
        }
    }

    /// The facts of the frame's header: the last ones if no byte has changed.
    fn read_header(&mut self, jpeg: &[u8]) -> Result<Facts, Refusal> {
        if let Some(facts) = self.facts {
            if jpeg.starts_with(&self.header) {
                return Ok(facts);
            }
        }
        let facts = Facts::of(&Header::parse(jpeg)?);
        self.facts = None;
        if facts.scan_start <= LONGEST_KEPT {
            self.header.clear();
            self.header.extend_from_slice(&jpeg[..facts.scan_start]);
            self.facts = Some(facts);
        }
        Ok(facts)
    }

    /// The scan's end: the first EOI marker. The last bytes of a frame that was not split may be
    /// those of an older one.
    fn find_end(&mut self, jpeg: &[u8], facts: &Facts, is_split: bool) -> Result<End, Refusal> {
        let at = match facts.coding {
            _ if is_split && jpeg.ends_with(&rebuild::EOI) => Some(jpeg.len() - 2),
            Coding::Sequential => find_eoi(jpeg, facts.scan_start),
            _ => next_jpeg(jpeg, 0)
                .filter(|found| jpeg[found.clone()].ends_with(&rebuild::EOI))
                .map(|found| found.end - 2),
        };
        match at {
            Some(at) => {
                self.notes.padding = at + 2 < jpeg.len();
                Ok(End { at })
            }
            None => self.find_end_by_decoding(jpeg, facts),
        }
    }

    /// A frame without an EOI marker is whole if its scan decodes to the last MCU.
    fn find_end_by_decoding(&mut self, jpeg: &[u8], facts: &Facts) -> Result<End, Refusal> {
        let filled = without_zeros(jpeg);
        let truncated = Refusal::Truncated { offset: filled };
        if facts.coding != Coding::Sequential {
            return Err(truncated);
        }
        let header = Header::parse(jpeg)?;
        // A scan may end with a few zeros; more of them would decode to blocks that never existed.
        let behind = jpeg.len().min(filled.max(facts.scan_start) + 2);
        let scan = &jpeg[facts.scan_start..behind];
        let len = walk(&header, facts.restart_interval, scan).map_err(|_| truncated)?;
        self.notes.no_eoi = true;
        Ok(End {
            at: facts.scan_start + len,
        })
    }

    /// Checks the whole scan of the first frame of its kind: does it contain a marker, and the
    /// restart markers that its header promises? Returns its actual restart interval.
    fn vet(&mut self, jpeg: &[u8], facts: &Facts, end: End) -> Result<u16, Refusal> {
        if facts.coding != Coding::Sequential {
            return Ok(facts.restart_interval);
        }
        if let Some(vetted) = self.vetted {
            let same = (vetted.width, vetted.height, vetted.declared_interval)
                == (facts.width, facts.height, facts.restart_interval);
            if same {
                return Ok(vetted.interval);
            }
        }
        let found = scan_end(&jpeg[..end.at], facts.scan_start);
        if found.marker.is_some() {
            let offset = found.at - facts.scan_start;
            return Err(ScanError::Corrupt { offset }.into());
        }
        let interval = check_restarts(jpeg, facts, end, found.restarts)?;
        self.vetted = Some(Vetted {
            width: facts.width,
            height: facts.height,
            declared_interval: facts.restart_interval,
            interval,
        });
        Ok(interval)
    }

    fn recode(
        &mut self,
        header: &Header,
        facts: &Facts,
        interval: u16,
        scan: &[u8],
    ) -> Result<Verdict, Refusal> {
        let (sampling, restart_interval) =
            self.recoder.recode(header, interval, scan, &mut self.own)?;
        self.own.extend_from_slice(&rebuild::EOI);
        self.notes.recoded = true;
        Ok(Verdict {
            width: facts.width,
            height: facts.height,
            sampling,
            restart_interval,
            quant: facts.quant,
            scan: 0..self.own.len(),
            own: true,
        })
    }

    /// Progressive, in several scans, or arithmetic-coded: turbojpeg puts the coefficients into one
    /// Huffman-coded scan.
    fn rewrite(&mut self, jpeg: &[u8], facts: &Facts, end: End) -> Result<Verdict, Refusal> {
        check_size(facts)?;
        tidy(&mut self.whole, jpeg, facts, end, facts.restart_interval);
        // A transformer cannot move between threads, so none is kept.
        let mut sequential = OutputBuf::new_owned();
        match Transformer::new()?.transform(&Transform::default(), &self.whole, &mut sequential) {
            Err(error) if !is_warning(&error) || is_damage(&error) => return Err(error.into()),
            _ => {}
        }
        let header = Header::parse(&sequential)?;
        let facts = Facts {
            quant: facts.quant,
            ..Facts::of(&header)
        };
        if facts.coding != Coding::Sequential {
            return Err(Refusal::Unsupported {
                what: "this kind of JPEG",
            });
        }
        let end = scan_end(&sequential, facts.scan_start).at;
        self.recode(
            &header,
            &facts,
            header.restart_interval,
            &sequential[facts.scan_start..end],
        )
    }

    fn reencode(
        &mut self,
        jpeg: &[u8],
        facts: &Facts,
        end: End,
        interval: u16,
        target: (usize, usize),
    ) -> Result<Verdict, Refusal> {
        check_size(facts)?;
        tidy(&mut self.whole, jpeg, facts, end, interval);
        let reencoder = match &mut self.reencoder {
            Some(reencoder) => reencoder,
            none => none.insert(Reencoder::new(self.options.quality)?),
        };
        let size = (usize::from(facts.width), usize::from(facts.height));
        let (len, warning) =
            reencoder.run(&self.whole, size, target, facts.sampling, &mut self.own)?;
        // A warning about a whole picture does not matter.
        match warning {
            Some(_) if facts.coding == Coding::Sequential => {
                let scan = &jpeg[facts.scan_start..end.at];
                walk(&Header::parse(jpeg)?, interval, scan)?;
            }
            Some(warning) if is_damage(&warning) => return Err(warning.into()),
            _ => {}
        }
        let facts = Facts::of(&Header::parse(&self.own[..len])?);
        self.notes.reencoded = true;
        Ok(Verdict {
            width: facts.width,
            height: facts.height,
            sampling: facts.sampling,
            restart_interval: facts.restart_interval,
            quant: facts.quant,
            scan: facts.scan_start..len,
            own: true,
        })
    }
}

/// Bounds memory by what a decoder may be asked for.
fn check_size(facts: &Facts) -> Result<(), Refusal> {
    let (width, height) = (facts.width, facts.height);
    if usize::from(width) * usize::from(height) > MAX_PIXELS {
        return Err(Refusal::TooLarge { width, height });
    }
    Ok(())
}

/// The length without trailing zeros.
fn without_zeros(bytes: &[u8]) -> usize {
    let mut len = bytes.len();
    while let Some(sixteen) = bytes[..len].last_chunk::<16>() {
        if u128::from_ne_bytes(*sixteen) != 0 {
            break;
        }
        len -= 16;
    }
    while len > 0 && bytes[len - 1] == 0 {
        len -= 1;
    }
    len
}

/// The scan's actual restart interval, given the markers found in it.
fn check_restarts(jpeg: &[u8], facts: &Facts, end: End, found: usize) -> Result<u16, Refusal> {
    let declared = facts.restart_interval;
    let expected = match declared {
        0 => 0,
        n => (facts.mcus - 1) / usize::from(n),
    };
    if found == expected {
        return Ok(declared);
    }
    let header = Header::parse(jpeg)?;
    let scan = &jpeg[facts.scan_start..end.at];
    let interval = match (declared, found) {
        (0, _) => mcus_before_marker(&header, scan)?,
        (_, 0) => 0,
        (n, _) => usize::from(n),
    };
    let bad = HeaderError::Bad {
        offset: facts.scan_start,
        what: "restart markers that no interval explains",
    };
    let interval = u16::try_from(interval).map_err(|_| bad)?;
    if found > 0 && interval == 0 {
        return Err(bad.into());
    }
    walk(&header, interval, scan)?;
    Ok(interval)
}

/// The first EOI marker at or after `from`. Other markers before it are damage, which [`Gate::vet`]
/// handles.
fn find_eoi(jpeg: &[u8], from: usize) -> Option<usize> {
    let mut end = scan_end(jpeg, from);
    while end.marker? != marker::EOI {
        end = scan_end(jpeg, end.at + 2);
    }
    Some(end.at)
}

/// The offset after the EOI marker at `at`, or `at` if there is none.
fn behind_eoi(jpeg: &[u8], at: usize) -> usize {
    match jpeg[at..].starts_with(&rebuild::EOI) {
        true => at + rebuild::EOI.len(),
        false => at,
    }
}

/// Assembles a JPEG whose headers turbojpeg accepts without a warning: complete, with
/// the true restart interval, and without what pixels do not need (an ICC profile that is cut short
/// spoils the whole picture).
fn tidy(out: &mut Vec<u8>, jpeg: &[u8], facts: &Facts, end: End, interval: u16) {
    let [high, low] = interval.to_be_bytes();
    out.clear();
    out.extend_from_slice(&jpeg[..2]);
    if facts.color == Color::Yuv {
        out.extend_from_slice(b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    }
    for (code, segment) in segments(&jpeg[..facts.scan_start]) {
        match code {
            marker::SOS => {
                out.extend_from_slice(&[0xff, marker::DRI, 0, 4, high, low]);
                out.extend_from_slice(segment);
            }
            marker::DRI | marker::COM => {}
            marker::APP14 if facts.color != Color::Yuv => out.extend_from_slice(segment),
            marker::APP0..=marker::APP15 => {}
            _ => out.extend_from_slice(segment),
        }
    }
    out.extend_from_slice(&jpeg[facts.scan_start..end.at]);
    out.extend_from_slice(&rebuild::EOI);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::rebuild::write_jpeg;
    use crate::jpeg::samples::{encode, file, pixels, transform};
    use proptest::prelude::*;
    use turbojpeg::Subsamp;

    fn gate() -> Gate {
        Gate::new(GateOptions::default())
    }

    fn whole(picture: &Picture) -> Vec<u8> {
        let mut out = Vec::new();
        write_jpeg(&mut out, picture);
        out
    }

    /// The JPEG that a viewer would rebuild.
    fn passed(gate: &mut Gate, jpeg: &[u8]) -> Vec<u8> {
        whole(&gate.pass(jpeg).unwrap())
    }

    /// Peak signal-to-noise ratio in dB.
    fn psnr(a: &[u8], b: &[u8]) -> f64 {
        assert_eq!(a.len(), b.len());
        let sum: f64 = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
            .sum();
        10.0 * (255.0 * 255.0 * a.len() as f64 / sum).log10()
    }

    fn without_dht(jpeg: &[u8]) -> Vec<u8> {
        let mut out = jpeg.to_vec();
        while let Some(at) = out.windows(2).position(|w| w == [0xff, marker::DHT]) {
            let length = usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
            out.drain(at..at + 2 + length);
        }
        out
    }

    /// Inserts a segment after SOI.
    fn with_segment(jpeg: &[u8], segment: &[u8]) -> Vec<u8> {
        [&jpeg[..2], segment, &jpeg[2..]].concat()
    }

    fn without_segment(jpeg: &[u8], code: u8) -> Vec<u8> {
        let at = jpeg.windows(2).position(|w| w == [0xff, code]).unwrap();
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        [&jpeg[..at], &jpeg[at + 2 + length..]].concat()
    }

    #[test]
    fn a_good_frame_is_borrowed() {
        for (subsamp, sampling) in [
            (Subsamp::Sub2x1, Sampling::Yuv422),
            (Subsamp::Sub2x2, Sampling::Yuv420),
        ] {
            let jpeg = encode(322, 242, subsamp, 80);
            let mut gate = gate();
            for _ in 0..2 {
                let picture = gate.pass(&jpeg).unwrap();
                assert_eq!(
                    (picture.width, picture.height, picture.sampling),
                    (322, 242, sampling)
                );
                // With its EOI marker.
                let scan = Header::parse(&jpeg).unwrap().scan_start;
                assert_eq!(picture.scan.as_ptr_range(), jpeg[scan..].as_ptr_range());
                assert_eq!(pixels(&whole(&picture)), pixels(&jpeg));
            }
            let counts = gate.counters().snapshot();
            assert_eq!(
                counts,
                GateSnapshot {
                    passed: 2,
                    ..GateSnapshot::default()
                }
            );
        }
    }

    #[test]
    fn a_split_frame_needs_no_search_and_gives_the_same_picture() {
        for jpeg in samples() {
            let split = &jpeg[next_jpeg(&jpeg, 0).unwrap()];
            let searched = gate().pass(split).map(|picture| whole(&picture)).ok();
            let given = gate().pass_split(split).map(|picture| whole(&picture)).ok();
            assert_eq!(given, searched);
        }
        // Without an EOI it is searched for all the same.
        let jpeg = samples().swap_remove(0);
        let stump = &jpeg[..jpeg.len() / 2];
        assert!(gate().pass_split(stump).is_err());
    }

    #[test]
    fn padding_and_junk_are_trimmed() {
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let junk: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8 | 1).collect();
        for tail in [
            &[0][..],
            &[0; 5000],
            &junk,
            &[0xff],
            &[0xff, 0xd8, 0xff],
            &[&[0; 50][..], &junk].concat(),
        ] {
            let mut gate = gate();
            let padded = [&jpeg, tail].concat();
            assert_eq!(passed(&mut gate, &padded), passed(&mut self::gate(), &jpeg));
            assert_eq!(gate.counters().padding_trimmed.get(), 1);
        }
    }

    #[test]
    fn the_end_of_an_older_frame_in_the_junk_is_not_taken() {
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let stale = [&jpeg, &jpeg[jpeg.len() - 3000..]].concat();
        let mut gate = gate();
        for i in 1..3 {
            assert_eq!(passed(&mut gate, &stale), passed(&mut self::gate(), &jpeg));
            assert_eq!(gate.counters().padding_trimmed.get(), i);
        }
    }

    #[test]
    fn the_end_of_an_older_frame_is_not_taken_in_later_frames_either() {
        for name in ["ffmpeg-422.jpg", "cjpeg-422-restart.jpg", "ffmpeg-444.jpg"] {
            let jpeg = file(name);
            let stale = [&jpeg, &jpeg[jpeg.len() - 3000..]].concat();
            let mut gate = gate();
            let want = passed(&mut gate, &jpeg);
            assert_eq!(passed(&mut gate, &stale), want, "{name}");
            assert_eq!(gate.counters().padding_trimmed.get(), 1);
        }
    }

    /// Puts stray bytes before restart markers and EOI, as Logitech's C270 does.
    fn with_stray_bytes(jpeg: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, &byte) in jpeg.iter().enumerate() {
            let next = jpeg.get(at + 1).copied();
            if byte == 0xff && matches!(next, Some(marker::RST0..=marker::RST7 | marker::EOI)) {
                out.extend([0x12, 0x34, 0xff, 0, 0x56]);
            }
            out.push(byte);
        }
        out
    }

    /// An ICC profile with only the first of its two parts.
    fn with_half_a_profile(jpeg: &[u8]) -> Vec<u8> {
        let profile = [&b"ICC_PROFILE\0\x01\x02"[..], &[7; 100]].concat();
        let length = (profile.len() as u16 + 2).to_be_bytes();
        with_segment(
            jpeg,
            &[&[0xff, 0xe2, length[0], length[1]][..], &profile].concat(),
        )
    }

    #[test]
    fn what_turbojpeg_only_warns_of_passes_everywhere() {
        let restarts = |name: &str| {
            let jpeg = file(name);
            assert!(
                jpeg.windows(2).any(|w| w == [0xff, marker::RST0 + 3]),
                "{name}"
            );
            jpeg
        };
        let samples = [
            restarts("cjpeg-422-restart.jpg"),
            restarts("cjpeg-422-optimised-restart.jpg"),
            restarts("cjpeg-grey-restart.jpg"),
            restarts("cjpeg-444-restart.jpg"),
            restarts("cjpeg-420-progressive-restart.jpg"),
            file("cjpeg-rgb.jpg"),
            file("ffmpeg-444.jpg"),
        ];
        for resize in [None, Some((100, 100))] {
            let options = GateOptions {
                resize,
                ..GateOptions::default()
            };
            for (n, jpeg) in samples.iter().enumerate() {
                let mut gate = Gate::new(options);
                let want = passed(&mut gate, jpeg);
                assert_eq!(gate.counters().dri_corrected.get(), 0, "sample {n}");
                for odd in [with_stray_bytes(jpeg), with_half_a_profile(jpeg)] {
                    let got = passed(&mut gate, &odd);
                    let [got, want] = [&got, &want].map(|jpeg| {
                        let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB);
                        image.map(|image| image.pixels)
                    });
                    // Unchanged, the stray bytes go out too, and a decoder warns about them.
                    if let (Ok(got), Ok(want)) = (&got, &want) {
                        assert!(got == want, "sample {n}, resize {resize:?}");
                    } else {
                        assert!(n == 0 && resize.is_none(), "sample {n}, resize {resize:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_damaged_scan_that_must_be_decoded_is_refused() {
        let mut jpeg = file("ffmpeg-444.jpg");
        let at = jpeg.len() / 2;
        jpeg.drain(at..at + 2000);
        assert!(matches!(gate().pass(&jpeg), Err(Refusal::Corrupt(_))));
    }

    #[test]
    fn cut_frames_are_refused_wherever_they_are_cut() {
        for name in [
            "ffmpeg-422.jpg",
            "cjpeg-422-restart.jpg",
            "cjpeg-420-progressive.jpg",
            "cjpeg-three-scans.jpg",
        ] {
            let jpeg = file(name);
            let mut gate = gate();
            let cuts = (1..20).map(|i| jpeg.len() * i / 20).chain([
                SHORTEST,
                jpeg.len() - 4,
                jpeg.len() - 20,
            ]);
            for cut in cuts {
                let refusal = gate.pass(&jpeg[..cut]).unwrap_err();
                assert!(
                    matches!(refusal, Refusal::Truncated { .. }),
                    "{name} {cut}: {refusal}"
                );
                // USB loss often replaces the rest with zeros.
                let zeroed = [&jpeg[..cut], &vec![0; jpeg.len() * 4]].concat();
                let refusal = gate.pass(&zeroed).unwrap_err();
                let in_header = matches!(refusal, Refusal::BadHeader(_)) && cut < 700;
                assert!(
                    in_header || matches!(refusal, Refusal::Truncated { .. }),
                    "{name} {cut}: {refusal}"
                );
            }
            assert!(gate.counters().truncated.get() >= 36, "{name}");
        }
    }

    #[test]
    fn a_stale_end_does_not_make_a_stump_whole() {
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let start = Header::parse(&jpeg).unwrap().scan_start;
        let stump = [&jpeg[..start + 500], &rebuild::EOI].concat();
        assert!(matches!(
            gate().pass(&stump),
            Err(Refusal::Truncated { .. })
        ));
    }

    #[test]
    fn a_whole_frame_without_eoi_passes() {
        for quality in 1..60 {
            let jpeg = encode(67, 35, Subsamp::Sub2x2, quality);
            let bare = &jpeg[..jpeg.len() - 2];
            let padded = [bare, &[0; 100]].concat();
            let mut gate = gate();
            assert_eq!(passed(&mut gate, bare), passed(&mut self::gate(), &jpeg));
            assert_eq!(
                passed(&mut gate, &padded),
                passed(&mut self::gate(), &jpeg),
                "{quality}"
            );
            assert_eq!(gate.counters().eoi_completed.get(), 2);
        }
    }

    #[test]
    fn missing_huffman_tables_are_completed() {
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let bare = without_dht(&jpeg);
        let mut gate = gate();
        assert_eq!(pixels(&passed(&mut gate, &bare)), pixels(&jpeg));
        assert_eq!(gate.counters().dht_completed.get(), 1);
    }

    #[test]
    fn restart_intervals_are_read_and_put_right() {
        for name in ["cjpeg-422-restart.jpg", "cjpeg-420-restart-blocks.jpg"] {
            let jpeg = file(name);
            let mut gate = gate();
            let interval = gate.pass(&jpeg).unwrap().restart_interval;
            assert_eq!(interval, if name.contains("blocks") { 3 } else { 11 });
            assert_eq!(pixels(&passed(&mut gate, &jpeg)), pixels(&jpeg));
            let denied = without_segment(&jpeg, marker::DRI);
            for i in 1..3 {
                assert_eq!(pixels(&passed(&mut gate, &denied)), pixels(&jpeg));
                assert_eq!(gate.counters().dri_corrected.get(), i);
            }
        }
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let boasted = with_segment(&jpeg, &[0xff, marker::DRI, 0, 4, 0, 5]);
        let mut gate = gate();
        assert_eq!(gate.pass(&boasted).unwrap().restart_interval, 0);
        assert_eq!(pixels(&passed(&mut gate, &boasted)), pixels(&jpeg));
    }

    #[test]
    fn lossless_paths_keep_every_pixel() {
        let mut samples: Vec<(String, Vec<u8>)> = [
            "ffmpeg-422.jpg",
            "ffmpeg-422-default-huffman.jpg",
            "ffmpeg-420.jpg",
            "cjpeg-420-progressive.jpg",
            "cjpeg-422-optimised-restart.jpg",
            "cjpeg-4x1-2x1.jpg",
            "cjpeg-2x2-1x2-restart.jpg",
            "cjpeg-grey-restart.jpg",
            "cjpeg-three-scans.jpg",
            "cjpeg-arithmetic.jpg",
        ]
        .iter()
        .map(|name| (name.to_string(), file(name)))
        .collect();
        for (width, height) in [(16, 16), (33, 17), (322, 242), (640, 90)] {
            for subsamp in [Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Gray] {
                let jpeg = encode(width, height, subsamp, 80);
                let name = format!("{width}x{height} {subsamp:?}");
                samples.push((
                    format!("{name} progressive"),
                    transform(&jpeg, |t| t.progressive = true),
                ));
                samples.push((
                    format!("{name} optimised"),
                    transform(&jpeg, |t| t.optimize = true),
                ));
            }
        }
        for (name, jpeg) in samples {
            let mut gate = gate();
            for _ in 0..2 {
                assert_eq!(pixels(&passed(&mut gate, &jpeg)), pixels(&jpeg), "{name}");
            }
            let counts = gate.counters().snapshot();
            assert_eq!(
                (counts.passed, counts.recoded, counts.reencoded),
                (2, 2, 0),
                "{name}"
            );
        }
    }

    #[test]
    fn restart_markers_survive_recoding() {
        let mut gate = gate();
        assert_eq!(
            gate.pass(&file("cjpeg-422-optimised-restart.jpg"))
                .unwrap()
                .restart_interval,
            11
        );
        assert_eq!(
            gate.pass(&file("cjpeg-2x2-1x2-restart.jpg"))
                .unwrap()
                .restart_interval,
            11
        );
    }

    #[test]
    fn what_cannot_be_carried_is_encoded_again() {
        let mut samples: Vec<(String, Vec<u8>)> =
            ["ffmpeg-444.jpg", "cjpeg-rgb.jpg", "cjpeg-411.jpg"]
                .iter()
                .map(|n| (n.to_string(), file(n)))
                .collect();
        let subsamps = [
            Subsamp::None,
            Subsamp::Sub1x2,
            Subsamp::Sub4x1,
            Subsamp::Sub1x4,
        ];
        for subsamp in subsamps {
            let jpeg = encode(322, 242, subsamp, 90);
            samples.push((
                format!("progressive {subsamp:?}"),
                transform(&jpeg, |t| t.progressive = true),
            ));
            samples.push((format!("{subsamp:?}"), jpeg));
        }
        samples.push((
            "three tables".into(),
            three_tables(&encode(322, 242, Subsamp::Sub2x1, 90)),
        ));
        for (name, jpeg) in samples {
            let mut gate = Gate::new(GateOptions {
                quality: 95,
                ..GateOptions::default()
            });
            for _ in 0..2 {
                let psnr = psnr(&pixels(&passed(&mut gate, &jpeg)), &pixels(&jpeg));
                // The subsampling alone costs sharp coloured edges something.
                assert!(psnr > 21.0, "{name}: {psnr}");
            }
            assert_eq!(gate.counters().reencoded.get(), 2, "{name}");
        }
    }

    /// Gives the third component a quantisation table of its own.
    fn three_tables(jpeg: &[u8]) -> Vec<u8> {
        let dqt = [&[0xff, marker::DQT, 0, 67, 2][..], &[5; 64]].concat();
        let mut out = with_segment(jpeg, &dqt);
        let sof = out
            .windows(2)
            .position(|w| w == [0xff, marker::SOF0])
            .unwrap();
        out[sof + 18] = 2;
        out
    }

    #[test]
    fn cmyk_becomes_rgb() {
        use turbojpeg::{Compressor, Image, PixelFormat};
        // Half ink of the first kind and a little black, as Adobe writes it: inverted.
        let cmyk = [128, 255, 200, 250].repeat(64 * 48);
        let image = Image {
            pixels: &cmyk[..],
            width: 64,
            pitch: 256,
            height: 48,
            format: PixelFormat::CMYK,
        };
        let mut compressor = Compressor::new().unwrap();
        compressor.set_subsamp(Subsamp::None).unwrap();
        let jpeg = compressor.compress_to_vec(image).unwrap();
        let pixels = pixels(&passed(&mut gate(), &jpeg));
        for (got, want) in pixels[..3].iter().zip([125i32, 250, 196]) {
            assert!((i32::from(*got) - want).abs() <= 3, "{:?}", &pixels[..3]);
        }
    }

    #[test]
    fn frames_are_scaled_down_when_asked() {
        let options = GateOptions {
            resize: Some((200, 200)),
            quality: 90,
        };
        for name in [
            "ffmpeg-422.jpg",
            "cjpeg-rgb.jpg",
            "cjpeg-420-progressive.jpg",
        ] {
            let jpeg = file(name);
            let mut gate = Gate::new(options);
            let before = Header::parse(&jpeg).unwrap();
            let shrinks = before.width > 200;
            for _ in 0..2 {
                let picture = gate.pass(&jpeg).unwrap();
                let want = if shrinks {
                    (200, 150)
                } else {
                    (before.width, before.height)
                };
                assert_eq!((picture.width, picture.height), want, "{name}");
                pixels(&whole(&picture));
            }
            assert_eq!(gate.counters().resized.get(), if shrinks { 2 } else { 0 });
        }
        // A frame that must be completed first: no tables, no EOI.
        let jpeg = without_dht(&encode(640, 480, Subsamp::Sub2x2, 80));
        let mut gate = Gate::new(options);
        let small = passed(&mut gate, &jpeg[..jpeg.len() - 2]);
        let mut full = Gate::new(options);
        assert_eq!(small, passed(&mut full, &jpeg));
    }

    #[test]
    fn refusals_have_their_counters() {
        let jpeg = encode(322, 242, Subsamp::Sub2x2, 80);
        let mut gate = gate();
        assert!(matches!(gate.pass(&[]), Err(Refusal::TooShort { len: 0 })));
        assert!(matches!(
            gate.pass(&jpeg[..127]),
            Err(Refusal::TooShort { len: 127 })
        ));
        assert!(matches!(gate.pass(&jpeg[1..]), Err(Refusal::NoSoi)));
        assert!(matches!(
            gate.pass(&jpeg[..300]),
            Err(Refusal::Truncated { offset: 300 })
        ));
        let mut bad = jpeg.clone();
        bad[2] = 0;
        assert!(matches!(gate.pass(&bad), Err(Refusal::BadHeader(_))));
        let mut lossless = jpeg.clone();
        let sof = lossless
            .windows(2)
            .position(|w| w == [0xff, marker::SOF0])
            .unwrap();
        lossless[sof + 1] = 0xc3;
        assert_eq!(
            gate.pass(&lossless).unwrap_err().to_string(),
            "lossless JPEG is not supported: set the source to baseline JPEG"
        );
        let mut broken = file("ffmpeg-422.jpg");
        let at = broken.len() / 2;
        broken.drain(at..at + 2000);
        assert!(gate.pass(&broken).is_err());
        let counts = gate.counters().snapshot();
        let want = GateSnapshot {
            too_short: 2,
            no_soi: 1,
            truncated: 1,
            bad_header: 1,
            unsupported: 1,
            corrupt: 1,
            ..GateSnapshot::default()
        };
        assert_eq!(counts, want);
        assert!(gate.pass(&jpeg).is_ok(), "a refusal leaves nothing behind");
    }

    #[test]
    fn a_huge_size_costs_no_memory() {
        for jpeg in [
            encode(64, 64, Subsamp::None, 80),
            transform(&encode(64, 64, Subsamp::Sub2x2, 80), |t| {
                t.progressive = true
            }),
        ] {
            let mut huge = jpeg;
            let sof = huge
                .windows(2)
                .position(|w| matches!(w, [0xff, 0xc0 | 0xc2]))
                .unwrap();
            huge[sof + 5..sof + 9].fill(0xff);
            assert!(gate().pass(&huge).is_err());
        }
    }

    #[test]
    fn a_changed_header_is_seen() {
        let mut gate = gate();
        for quality in [50, 51, 50] {
            let jpeg = encode(64, 64, Subsamp::Sub2x2, quality);
            let quant = crate::jpeg::tables::quant_for_q(quality as u8).unwrap();
            assert_eq!(gate.pass(&jpeg).unwrap().quant, quant);
        }
    }

    #[test]
    fn gates_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Gate>();
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut samples: Vec<_> = [
            "ffmpeg-422.jpg",
            "ffmpeg-444.jpg",
            "cjpeg-422-restart.jpg",
            "cjpeg-420-progressive.jpg",
            "cjpeg-2x2-1x2-restart.jpg",
            "cjpeg-grey-restart.jpg",
            "cjpeg-three-scans.jpg",
            "cjpeg-rgb.jpg",
        ]
        .iter()
        .map(|name| file(name))
        .collect();
        samples.push(without_dht(&encode(32, 32, Subsamp::Sub2x2, 50)));
        samples
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn mutated_frames_never_panic(
            which in 0usize..9,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            resize in any::<bool>(),
        ) {
            let mut jpeg = samples()[which].clone();
            for (at, byte, in_header) in changes {
                let len = if in_header { jpeg.len().min(700) } else { jpeg.len() };
                jpeg[at.index(len)] = byte;
            }
            if let Some(cut) = cut {
                jpeg.truncate(cut.index(jpeg.len()));
            }
            let mut gate = Gate::new(GateOptions { resize: resize.then_some((100, 50)), quality: 50 });
            for _ in 0..2 {
                if let Ok(picture) = gate.pass(&jpeg) {
                    prop_assert!(picture.width > 0 && picture.height > 0 && !picture.scan.is_empty());
                    // Whatever passed is a JPEG whose header agrees with the picture.
                    let whole = whole(&picture);
                    let header = Header::parse(&whole).unwrap();
                    prop_assert_eq!(Facts::of(&header).form, Form::Direct);
                    prop_assert_eq!((header.width, header.height), (picture.width, picture.height));
                }
            }
        }

        #[test]
        fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = gate().pass(&bytes);
            if bytes.len() > 2 {
                bytes[..2].copy_from_slice(&[0xff, 0xd8]);
            }
            let _ = gate().pass(&bytes);
        }
    }
}
