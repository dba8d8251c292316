//! The facts of a JPEG's header: size, components, tables, where the scan starts. [`Header::parse`]
//! validates them once, so that the accessors cannot fail; nothing is copied. ITU-T T.81 §B.

use super::tables::{AC_CHROMA, AC_LUMA, DC_CHROMA, DC_LUMA, Huffman};

/// Marker codes: the byte after 0xFF. T.81 table B.1.
#[allow(missing_docs)]
pub mod marker {
    pub const TEM: u8 = 0x01;
    pub const SOF0: u8 = 0xc0;
    pub const SOF1: u8 = 0xc1;
    pub const SOF2: u8 = 0xc2;
    pub const DHT: u8 = 0xc4;
    pub const JPG: u8 = 0xc8;
    pub const SOF9: u8 = 0xc9;
    pub const SOF10: u8 = 0xca;
    pub const DAC: u8 = 0xcc;
    pub const SOF15: u8 = 0xcf;
    pub const RST0: u8 = 0xd0;
    pub const RST7: u8 = 0xd7;
    pub const SOI: u8 = 0xd8;
    pub const EOI: u8 = 0xd9;
    pub const SOS: u8 = 0xda;
    pub const DQT: u8 = 0xdb;
    pub const DNL: u8 = 0xdc;
    pub const DRI: u8 = 0xdd;
    pub const APP0: u8 = 0xe0;
    pub const APP14: u8 = 0xee;
    pub const APP15: u8 = 0xef;
    pub const COM: u8 = 0xfe;
}

/// Why a header cannot be read. Offsets count bytes from the JPEG's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first two bytes are not an SOI marker.
    #[error("not a JPEG: it does not start with FF D8")]
    NoSoi,
    /// The bytes end before the scan begins.
    #[error("the header is truncated at byte {offset}")]
    Short {
        /// Where the missing bytes would be.
        offset: usize,
    },
    /// An impossible marker segment.
    #[error("bad header at byte {offset}: {what}")]
    Bad {
        /// Where the segment, or what is in its place, begins.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Legal, but of a kind that lancam cannot carry or convert.
    #[error("{what} is not supported")]
    Unsupported {
        /// The kind.
        what: &'static str,
    },
}

/// One component of the frame and the tables it refers to. T.81 §B.2.2, §B.2.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// The name that SOS uses for it.
    pub id: u8,
    /// Horizontal sampling factor, 1 to 4.
    pub h: u8,
    /// Vertical sampling factor, 1 to 4.
    pub v: u8,
    /// Quantisation table, 0 to 3.
    pub quant: u8,
    /// DC Huffman table, 0 to 3.
    pub dc: u8,
    /// AC Huffman table, 0 to 3.
    pub ac: u8,
}

/// A quantisation table in zigzag order. T.81 §B.2.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quant<'a> {
    /// 8-bit values.
    Byte(&'a [u8; 64]),
    /// 16-bit values, big-endian.
    Word(&'a [u8; 128]),
}

impl Quant<'_> {
    /// The table with 8-bit values, if they all fit.
    pub fn narrowed(&self) -> Option<[u8; 64]> {
        match self {
            Quant::Byte(table) => Some(**table),
            Quant::Word(table) => {
                let mut out = [0; 64];
                for (value, pair) in out.iter_mut().zip(table.chunks_exact(2)) {
                    if pair[0] != 0 {
                        return None;
                    }
                    *value = pair[1];
                }
                Some(out)
            }
        }
    }
}

/// The colour space of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One component.
    Grey,
    /// Y, Cb, Cr.
    Yuv,
    /// Red, green, blue.
    Rgb,
    /// Four components: CMYK or YCCK.
    Cmyk,
}

/// How the coefficients are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Sequential Huffman (SOF0, or SOF1 at 8 bits), all components in one scan.
    Sequential,
    /// Sequential Huffman in several scans.
    SeveralScans,
    /// Progressive Huffman (SOF2).
    Progressive,
    /// Arithmetic coding, sequential or progressive (SOF9, SOF10).
    Arithmetic,
}

/// The facts of a header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Width in pixels, never 0.
    pub width: u16,
    /// Height in pixels, never 0.
    pub height: u16,
    /// How the coefficients are coded.
    pub coding: Coding,
    /// The colour space of the components.
    pub color: Color,
    /// MCUs between restart markers; 0: none.
    pub restart_interval: u16,
    /// Where the first scan's entropy-coded data begins.
    pub scan_start: usize,
    components: [Component; 4],
    component_count: u8,
    quant: [Option<Quant<'a>>; 4],
    dc: [Option<Huffman<'a>>; 4],
    ac: [Option<Huffman<'a>>; 4],
    /// A table that a component needs is missing from the header and assumed to be the standard
    /// one.
    pub dht_completed: bool,
}

/// What has been read of a header so far.
#[derive(Default)]
struct Parser<'a> {
    sof: Option<(u8, usize)>,
    width: u16,
    height: u16,
    components: [Component; 4],
    component_count: u8,
    restart_interval: u16,
    quant: [Option<Quant<'a>>; 4],
    dc: [Option<Huffman<'a>>; 4],
    ac: [Option<Huffman<'a>>; 4],
    jfif: bool,
    adobe: Option<u8>,
}

impl<'a> Header<'a> {
    /// Parses the header at the start of `jpeg`, up to its first scan.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(jpeg: &'a [u8]) -> Result<Header<'a>, HeaderError> {
        if !jpeg.starts_with(&[0xff, marker::SOI]) {
            return Err(HeaderError::NoSoi);
        }
        let mut parser = Parser::default();
        let mut at = 2;
        loop {
            let code = match jpeg.get(at..at + 2) {
                Some(&[0xff, 0xff]) => {
                    at += 1; // a fill byte, T.81 §B.1.1.2
                    continue;
                }
                Some(&[0xff, code]) => code,
                Some(_) => return Err(bad(at, "no marker where one must be")),
                None => return Err(HeaderError::Short { offset: jpeg.len() }),
            };
            let body = match code {
                marker::TEM => {
                    at += 2;
                    continue;
                }
                marker::SOI => return Err(bad(at, "a second SOI")),
                marker::EOI => return Err(bad(at, "EOI before any scan")),
                0x00..=0xbf | marker::RST0..=marker::RST7 => {
                    return Err(bad(at, "a marker that cannot be in a header"));
                }
                _ => segment(jpeg, at)?,
            };
            let next = at + 4 + body.len();
            if code == marker::SOS {
                return parser.finish(body, at, next);
            }
            parser.take(code, body, at)?;
            at = next;
        }
    }

    /// The components, in the order of the frame header; 1, 3 or 4.
    pub fn components(&self) -> &[Component] {
        &self.components[..usize::from(self.component_count)]
    }

    /// The quantisation table of component `i`; `None` if there is no such component.
    pub fn quant(&self, i: usize) -> Option<Quant<'a>> {
        self.quant[usize::from(self.components().get(i)?.quant)]
    }

    /// The DC Huffman table of component `i`; `None` if there is no such component, or for a
    /// progressive or several-scan JPEG, where tables may still follow.
    pub fn dc_table(&self, i: usize) -> Option<Huffman<'a>> {
        self.dc[usize::from(self.components().get(i)?.dc)]
    }

    /// The AC Huffman table of component `i`, as [`dc_table`](Header::dc_table).
    pub fn ac_table(&self, i: usize) -> Option<Huffman<'a>> {
        self.ac[usize::from(self.components().get(i)?.ac)]
    }
}

fn bad(offset: usize, what: &'static str) -> HeaderError {
    HeaderError::Bad { offset, what }
}

/// The segments of a header that [`Header::parse`] has read, with their markers.
pub fn segments(header: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        while matches!(*header.get(at..at + 2)?, [0xff, 0xff | marker::TEM]) {
            at += if header[at + 1] == marker::TEM { 2 } else { 1 };
        }
        let start = at;
        at += 4 + segment(header, start).ok()?.len();
        Some((header[start + 1], &header[start..at]))
    })
}

/// The content of the marker segment at `at`: what follows its length.
fn segment(jpeg: &[u8], at: usize) -> Result<&[u8], HeaderError> {
    let short = HeaderError::Short { offset: jpeg.len() };
    let length = jpeg.get(at + 2..at + 4).ok_or(short)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length < 2 {
        return Err(bad(at, "a segment shorter than its own length field"));
    }
    jpeg.get(at + 4..at + 2 + length).ok_or(short)
}

impl<'a> Parser<'a> {
    fn take(&mut self, code: u8, body: &'a [u8], at: usize) -> Result<(), HeaderError> {
        match code {
            marker::DQT => self.take_quant(body, at),
            marker::DHT => self.take_huffman(body, at),
            marker::DRI => match *body {
                [high, low] => {
                    self.restart_interval = u16::from_be_bytes([high, low]);
                    Ok(())
                }
                _ => Err(bad(at, "a DRI segment of the wrong length")),
            },
            marker::DAC => Ok(()), // arithmetic conditioning: the decoder's business
            marker::JPG => Err(HeaderError::Unsupported {
                what: "JPEG with extensions",
            }),
            marker::SOF0..=marker::SOF15 => self.take_frame(code, body, at),
            marker::DNL => Err(bad(at, "DNL before any scan")),
            marker::APP0 => {
                self.jfif |= body.starts_with(b"JFIF\0");
                Ok(())
            }
            marker::APP14 => {
                if body.len() >= 12 && body.starts_with(b"Adobe") {
                    self.adobe = Some(body[11]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// T.81 §B.2.4.1; one segment may hold several tables.
    fn take_quant(&mut self, mut body: &'a [u8], at: usize) -> Result<(), HeaderError> {
        while let Some((&head, rest)) = body.split_first() {
            let slot = self.quant.get_mut(usize::from(head & 0xf));
            let slot = slot.ok_or(bad(at, "a DQT table number over 3"))?;
            let short = bad(at, "a DQT segment that ends inside a table");
            body = match head >> 4 {
                0 => {
                    let (table, rest) = rest.split_first_chunk().ok_or(short)?;
                    *slot = Some(Quant::Byte(table));
                    rest
                }
                1 => {
                    let (table, rest) = rest.split_first_chunk().ok_or(short)?;
                    *slot = Some(Quant::Word(table));
                    rest
                }
                _ => return Err(bad(at, "a DQT table of unknown precision")),
            };
        }
        Ok(())
    }

    /// T.81 §B.2.4.2; one segment may hold several tables.
    fn take_huffman(&mut self, mut body: &'a [u8], at: usize) -> Result<(), HeaderError> {
        while let Some((&head, rest)) = body.split_first() {
            let tables = match head >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(bad(at, "a DHT table of unknown class")),
            };
            let slot = tables.get_mut(usize::from(head & 0xf));
            let slot = slot.ok_or(bad(at, "a DHT table number over 3"))?;
            let short = bad(at, "a DHT segment that ends inside a table");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            if total > 256 {
                return Err(bad(at, "a DHT table with more than 256 codes"));
            }
            let (values, rest) = rest.split_at_checked(total).ok_or(short)?;
            *slot = Some(Huffman { counts, values });
            body = rest;
        }
        Ok(())
    }

    /// T.81 §B.2.2.
    fn take_frame(&mut self, code: u8, body: &[u8], at: usize) -> Result<(), HeaderError> {
        let unsupported = |what| Err(HeaderError::Unsupported { what });
        match code {
            marker::SOF0..=marker::SOF2 | marker::SOF9 | marker::SOF10 => {}
            0xc3 | 0xcb => return unsupported("lossless JPEG"),
            _ => return unsupported("hierarchical JPEG"),
        }
        if self.sof.is_some() {
            return Err(bad(at, "a second SOF segment"));
        }
        let &[precision, h1, h0, w1, w0, count, ref list @ ..] = body else {
            return Err(bad(at, "a SOF segment that is too short"));
        };
        if list.len() != 3 * usize::from(count) {
            return Err(bad(
                at,
                "a SOF segment whose length and component count differ",
            ));
        }
        if precision != 8 {
            return unsupported("12-bit JPEG");
        }
        if !matches!(count, 1 | 3 | 4) {
            return unsupported("JPEG with 2 components, or more than 4,");
        }
        self.width = u16::from_be_bytes([w1, w0]);
        self.height = u16::from_be_bytes([h1, h0]);
        if self.width == 0 {
            return Err(bad(at, "a width of 0"));
        }
        if self.height == 0 {
            return unsupported("JPEG that states its height only after the picture (DNL)");
        }
        for (component, bytes) in self.components.iter_mut().zip(list.chunks_exact(3)) {
            let (h, v) = (bytes[1] >> 4, bytes[1] & 0xf);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || bytes[2] > 3 {
                return Err(bad(at, "a component's sampling factors or table number"));
            }
            *component = Component {
                id: bytes[0],
                h,
                v,
                quant: bytes[2],
                ..Component::default()
            };
        }
        self.component_count = count;
        self.sof = Some((code, at));
        Ok(())
    }

    /// The SOS segment at `at` with its body: T.81 §B.2.3.
    fn finish(
        mut self,
        body: &[u8],
        at: usize,
        scan_start: usize,
    ) -> Result<Header<'a>, HeaderError> {
        let Some((sof, _)) = self.sof else {
            return Err(bad(at, "SOS before SOF"));
        };
        let (&in_scan, rest) = body.split_first().ok_or(bad(at, "an empty SOS segment"))?;
        if rest.len() != 2 * usize::from(in_scan) + 3
            || in_scan == 0
            || in_scan > self.component_count
        {
            return Err(bad(
                at,
                "a SOS segment whose length and component count differ",
            ));
        }
        let coding = if sof == marker::SOF2 {
            Coding::Progressive
        } else if sof >= marker::SOF9 {
            Coding::Arithmetic
        } else if in_scan < self.component_count {
            Coding::SeveralScans
        } else {
            Coding::Sequential
        };
        let mut dht_completed = false;
        if coding == Coding::Sequential {
            self.take_selectors(&rest[..2 * usize::from(in_scan)], at)?;
            dht_completed = self.complete_huffman(at)?;
        }
        let count = usize::from(self.component_count);
        for component in &self.components[..count] {
            // Tables may still follow if several scans do, but nobody writes such files.
            if self.quant[usize::from(component.quant)].is_none() {
                return Err(bad(at, "a component without a quantisation table"));
            }
        }
        Ok(Header {
            width: self.width,
            height: self.height,
            coding,
            color: self.color(),
            restart_interval: self.restart_interval,
            scan_start,
            components: self.components,
            component_count: self.component_count,
            quant: self.quant,
            dc: self.dc,
            ac: self.ac,
            dht_completed,
        })
    }

    fn take_selectors(&mut self, list: &[u8], at: usize) -> Result<(), HeaderError> {
        for (component, pair) in self.components.iter_mut().zip(list.chunks_exact(2)) {
            // T.81 §B.2.3: the order of SOS follows that of SOF.
            if component.id != pair[0] {
                return Err(bad(at, "a SOS segment with other components than SOF's"));
            }
            (component.dc, component.ac) = (pair[1] >> 4, pair[1] & 0xf);
            if component.dc > 3 || component.ac > 3 {
                return Err(bad(at, "a Huffman table number over 3"));
            }
        }
        Ok(())
    }

    /// Motion JPEG may omit the tables of Annex K: 0 stands for luma, 1 for chroma.
    fn complete_huffman(&mut self, at: usize) -> Result<bool, HeaderError> {
        let standard = [(DC_LUMA, AC_LUMA), (DC_CHROMA, AC_CHROMA)];
        let mut completed = false;
        for component in &self.components[..usize::from(self.component_count)] {
            let (dc, ac) = (usize::from(component.dc), usize::from(component.ac));
            if self.dc[dc].is_none() {
                self.dc[dc] = standard.get(dc).map(|pair| pair.0);
                completed = true;
            }
            if self.ac[ac].is_none() {
                self.ac[ac] = standard.get(ac).map(|pair| pair.1);
                completed = true;
            }
            if self.dc[dc].is_none() || self.ac[ac].is_none() {
                return Err(bad(at, "a component without a Huffman table"));
            }
        }
        Ok(completed)
    }

    /// The rules that decoders share: JFIF means YCbCr, Adobe's segment names the colour space,
    /// else the component names decide.
    fn color(&self) -> Color {
        let ids = [
            self.components[0].id,
            self.components[1].id,
            self.components[2].id,
        ];
        match self.component_count {
            1 => Color::Grey,
            4 => Color::Cmyk,
            _ if self.jfif => Color::Yuv,
            _ if self.adobe.is_some() => {
                if self.adobe == Some(0) {
                    Color::Rgb
                } else {
                    Color::Yuv
                }
            }
            _ if ids == *b"RGB" => Color::Rgb,
            _ => Color::Yuv,
        }
    }
}

/// What [`scan_end`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEnd {
    /// The first byte after the entropy-coded data.
    pub at: usize,
    /// The marker found there; `None`: the bytes end.
    pub marker: Option<u8>,
    /// Restart markers passed.
    pub restarts: usize,
}

/// The first 0xFF at or after `from` that is followed by a byte other than 0: a marker, or a fill
/// byte before one. Stuffed zeros, after about one in 256 bytes of a scan, cost nothing extra; a
/// search for 0xFF alone would stop at each.
pub(super) fn next_marker(data: &[u8], from: usize) -> Option<usize> {
    const STEP: usize = 64;
    let mut at = from;
    while let Some(behind) = data.get(at + 1..at + 1 + STEP) {
        let here = &data[at..at + STEP];
        // Without an early exit, so that it compiles to vector instructions.
        let mut hits = 0;
        for i in 0..STEP {
            hits |= u8::from(here[i] == 0xff) & u8::from(behind[i] != 0);
        }
        if hits != 0 {
            break;
        }
        at += STEP;
    }
    let rest = data.get(at..)?;
    rest.windows(2)
        .position(|pair| pair[0] == 0xff && pair[1] != 0)
        .map(|skip| at + skip)
}

/// Walks entropy-coded data from `from` to the first marker that is not a restart marker. T.81
/// §B.1.1.5.
pub fn scan_end(jpeg: &[u8], from: usize) -> ScanEnd {
    let mut at = from;
    let mut restarts = 0;
    while let Some(marker) = next_marker(jpeg, at) {
        at = marker;
        match jpeg[at + 1] {
            0xff => at += 1,
            marker::RST0..=marker::RST7 => {
                restarts += 1;
                at += 2;
            }
            code => {
                return ScanEnd {
                    at,
                    marker: Some(code),
                    restarts,
                };
            }
        }
    }
    ScanEnd {
        at: jpeg.len().max(from),
        marker: None,
        restarts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::samples::encode;
    use proptest::prelude::*;
    use turbojpeg::Subsamp;

    /// A header made from segments; the scan is a few bytes.
    fn jpeg(segments: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0xff, 0xd8];
        for segment in segments {
            let length = (segment.len() as u16 + 1).to_be_bytes();
            out.extend([0xff, segment[0], length[0], length[1]]);
            out.extend_from_slice(&segment[1..]);
        }
        out.extend([1, 2, 3, 0xff, 0xd9]);
        out
    }

    fn dqt(id: u8, value: u8) -> Vec<u8> {
        [&[marker::DQT, id][..], &[value; 64]].concat()
    }

    const SOF: &[u8] = &[0xc0, 8, 0, 16, 0, 32, 3, 1, 0x21, 0, 2, 0x11, 2, 3, 0x11, 2];
    const SOS: &[u8] = &[0xda, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0];

    #[test]
    fn facts_of_a_real_header() {
        let jpeg = encode(322, 242, Subsamp::Sub2x1, 80);
        let header = Header::parse(&jpeg).unwrap();
        assert_eq!((header.width, header.height), (322, 242));
        assert_eq!(
            (header.coding, header.color),
            (Coding::Sequential, Color::Yuv)
        );
        assert_eq!(header.restart_interval, 0);
        assert_eq!(
            header
                .components()
                .iter()
                .map(|c| (c.h, c.v))
                .collect::<Vec<_>>(),
            [(2, 1), (1, 1), (1, 1)]
        );
        assert!(!header.dht_completed);
        let end = scan_end(&jpeg, header.scan_start);
        assert_eq!((end.at, end.marker), (jpeg.len() - 2, Some(marker::EOI)));
    }

    #[test]
    fn a_third_quantisation_table_does_not_confuse() {
        let (a, b, c) = (dqt(0, 10), dqt(1, 20), dqt(2, 30));
        let dri = [marker::DRI, 0, 7];
        let data = jpeg(&[&a, &b, &c, SOF, &dri, SOS]);
        let header = Header::parse(&data).unwrap();
        assert_eq!(header.quant(0), Some(Quant::Byte(&[10; 64])));
        assert_eq!(header.quant(1), Some(Quant::Byte(&[30; 64])));
        assert_eq!(header.restart_interval, 7);
        assert!(header.dht_completed);
        assert_eq!(header.ac_table(2), Some(AC_CHROMA));
    }

    #[test]
    fn several_tables_in_a_segment_and_fill_bytes() {
        let mut both = dqt(0, 10);
        both.extend([0x12]);
        both.extend([0, 30].repeat(64));
        let mut data = jpeg(&[&both, &[marker::APP14], &[0xfe, 1], SOF, SOS]);
        data.splice(2..2, [0xff, 0xff, 0xff]);
        let header = Header::parse(&data).unwrap();
        assert_eq!(header.quant(2).unwrap().narrowed(), Some([30; 64]));
        assert_eq!(data[header.scan_start..], [1, 2, 3, 0xff, 0xd9]);
    }

    #[test]
    fn wide_values_do_not_narrow() {
        let mut wide = vec![marker::DQT, 0x10];
        wide.extend([1, 0].repeat(64));
        let b = dqt(2, 1);
        let data = jpeg(&[&wide, &b, SOF, SOS]);
        assert_eq!(
            Header::parse(&data).unwrap().quant(0).unwrap().narrowed(),
            None
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (a, b) = (dqt(0, 1), dqt(2, 1));
        let parse = |segments: &[&[u8]]| Header::parse(&jpeg(segments)).map(|_| ()).unwrap_err();
        assert!(
            matches!(parse(&[&a, SOF, SOS]), HeaderError::Bad { what, .. } if what.contains("quantisation"))
        );
        assert!(matches!(parse(&[&a, &b, SOS]), HeaderError::Bad { .. }));
        let mut sof = SOF.to_vec();
        sof[0] = 0xc3;
        assert_eq!(
            parse(&[&a, &b, &sof, SOS]),
            HeaderError::Unsupported {
                what: "lossless JPEG"
            }
        );
        sof[0] = 0xc0;
        sof[2..4].fill(0);
        assert_eq!(
            parse(&[&a, &b, &sof, SOS]).to_string(),
            "JPEG that states its height only after the picture (DNL) is not supported"
        );
        sof[3] = 16;
        sof[0] = 0xc1;
        sof[1] = 12;
        assert_eq!(
            parse(&[&a, &b, &sof, SOS]),
            HeaderError::Unsupported {
                what: "12-bit JPEG"
            }
        );
        assert_eq!(Header::parse(b"hello").unwrap_err(), HeaderError::NoSoi);
        assert_eq!(
            Header::parse(&[0xff, 0xd8, 0xff, 0xdb, 0, 67]).unwrap_err(),
            HeaderError::Short { offset: 6 }
        );
    }

    proptest! {
        #[test]
        fn markers_are_found_where_they_are(
            data in prop::collection::vec(prop_oneof![Just(0xffu8), Just(0), Just(7), Just(7), Just(7)], 0..300),
            from in 0usize..310,
        ) {
            let slow = (from..data.len().saturating_sub(1)).find(|&i| data[i] == 0xff && data[i + 1] != 0);
            prop_assert_eq!(next_marker(&data, from), slow);
        }

        #[test]
        fn a_lonely_marker_is_found(at in 0usize..400, from in 0usize..400) {
            let mut data = vec![0; 402];
            data[at] = 0xff;
            data[at + 1] = 0xd9;
            prop_assert_eq!(next_marker(&data, from), (at >= from).then_some(at));
        }

        #[test]
        fn no_bytes_panic(at in 0usize..700, bytes in prop::collection::vec(any::<u8>(), 0..8), cut in 0usize..800) {
            let mut jpeg = encode(32, 32, Subsamp::Sub2x2, 50);
            let at = at.min(jpeg.len());
            let end = (at + bytes.len()).min(jpeg.len());
            jpeg.splice(at..end, bytes);
            jpeg.truncate(cut);
            let _ = Header::parse(&jpeg);
            let end = scan_end(&jpeg, cut);
            prop_assert!(end.at >= cut);
        }
    }
}
