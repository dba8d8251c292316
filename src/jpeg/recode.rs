//! Entropy coding of sequential Huffman scans, ITU-T T.81 §F.1.2 and §F.2.2: decodes coefficients,
//! and writes them with the tables of Annex K and the MCU layout of RFC 2435. No pixel is computed,
//! so nothing is lost. One row of MCUs is held at a time.

pub mod partial;

use super::Sampling;
use super::header::{Header, marker, next_marker};
use super::tables::{AC_CHROMA, AC_LUMA, DC_CHROMA, DC_LUMA, Huffman};

/// Why a scan cannot be decoded. Offsets count bytes from the scan's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// It ends before the picture is complete.
    #[error("the scan ends at byte {offset} with {mcus} of {total} MCUs decoded")]
    Short {
        /// Where it ends.
        offset: usize,
        /// MCUs decoded.
        mcus: usize,
        /// MCUs of the whole picture.
        total: usize,
    },
    /// It has impossible codes or values.
    #[error("the scan is corrupt at about byte {offset}")]
    Corrupt {
        /// Roughly where.
        offset: usize,
    },
    /// A Huffman table of the header has more codes than bits allow.
    #[error("a Huffman table is impossible")]
    Table,
    /// The samples do not fit RFC 2435's MCUs.
    #[error("the sampling factors have no equivalent in RFC 2435")]
    Layout,
}

/// A broken code or value; the caller knows where.
pub(super) struct Broken;

/// Bytes between the last MCU and a restart marker or the end that are accepted as an encoder's
/// alignment (Logitech's C270, C310 and C910 leave some); if there are more, the decoder is lost.
const SLACK: usize = 64;

/// Codes up to this long are found with one look-up.
const LOOKUP_BITS: u32 = 9;

/// Decoding table for one [`Huffman`]. T.81 §F.2.2.3.
#[derive(Clone)]
struct DecodeTable {
    /// By the next bits: code length << 8 | symbol; 0 where the code is longer.
    lookup: [u16; 1 << LOOKUP_BITS],
    /// The first code after those of each length, left-aligned to 16 bits.
    limit: [u32; 17],
    /// What to add to a code of each length to get its index in `values`.
    offset: [i32; 17],
    values: [u8; 256],
}

impl DecodeTable {
    fn new(table: &Huffman) -> Result<DecodeTable, ScanError> {
        let mut out = DecodeTable {
            lookup: [0; 1 << LOOKUP_BITS],
            limit: [0; 17],
            offset: [0; 17],
            values: [0; 256],
        };
        out.values[..table.values.len()].copy_from_slice(table.values);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(table.counts[length as usize - 1]);
            if code + count > 1 << length {
                return Err(ScanError::Table);
            }
            out.offset[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let spare = LOOKUP_BITS - length;
                    let entry = (length << 8) as u16 | u16::from(out.values[index]);
                    let first = (code << spare) as usize;
                    out.lookup[first..first + (1 << spare)].fill(entry);
                }
                code += 1;
                index += 1;
            }
            out.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(out)
    }
}

/// Reads bits, drops stuffed zeros, stops at a marker. Past the end it returns zeros and notes
/// that.
struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
    acc: u64,
    bits: u32,
    /// Bits of `acc` that are not in the data.
    phantom: u32,
}

impl<'a> BitReader<'a> {
    fn new(data: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader {
            data,
            at,
            acc: 0,
            bits: 0,
            phantom: 0,
        }
    }

    /// Makes at least 32 bits available.
    #[inline]
    fn fill(&mut self) {
        if self.bits >= 32 {
            return;
        }
        if let Some(&four) = self
            .data
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<4>())
        {
            let word = u32::from_be_bytes(four);
            if !has_ff(word) {
                self.acc = (self.acc << 32) | u64::from(word);
                self.bits += 32;
                self.at += 4;
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[cold]
    fn fill_by_bytes(&mut self) {
        while self.bits <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0x00)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.phantom += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.acc = (self.acc << 8) | u64::from(byte);
            self.bits += 8;
        }
        // Bits past the end were never there: keep the count from growing with them.
        self.phantom = self.phantom.min(1 << 16);
    }

    /// Whether bits past the end were used.
    fn overrun(&self) -> bool {
        self.phantom > self.bits
    }

    #[inline]
    fn peek(&self, n: u32) -> u32 {
        ((self.acc >> (self.bits - n)) & ((1 << n) - 1)) as u32
    }

    /// The next symbol; at least 16 bits are available.
    #[inline]
    fn symbol(&mut self, table: &DecodeTable) -> Result<u8, Broken> {
        let entry = table.lookup[self.peek(LOOKUP_BITS) as usize];
        if entry != 0 {
            self.bits -= u32::from(entry >> 8);
            return Ok(entry as u8);
        }
        let code = self.peek(16);
        for length in LOOKUP_BITS + 1..=16 {
            if code < table.limit[length as usize] {
                self.bits -= length;
                let index = (code >> (16 - length)) as i32 + table.offset[length as usize];
                return table.values.get(index as usize).copied().ok_or(Broken);
            }
        }
        Err(Broken)
    }

    /// The value of the next `size` bits, at most 16 and available. T.81 §F.2.2.1 EXTEND.
    #[inline]
    fn value(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = self.peek(size) as i32;
        self.bits -= size;
        if bits < 1 << (size - 1) {
            bits - (1 << size) + 1
        } else {
            bits
        }
    }

    /// The position of the first unused byte.
    fn position(&self) -> usize {
        let mut at = self.at;
        for _ in 0..self.bits.saturating_sub(self.phantom) / 8 {
            at -= 1;
            if at > 0 && self.data[at] == 0 && self.data[at - 1] == 0xff {
                at -= 1; // a stuffed zero was dropped with its 0xff
            }
        }
        at
    }

    /// Skips the restart marker that must come next. T.81 §F.2.2.4.
    fn restart(&mut self, number: u8) -> Result<(), Broken> {
        let from = self.position();
        let mut at = next_marker(self.data, from).ok_or(Broken)?;
        if at > from + SLACK {
            return Err(Broken);
        }
        while self.data.get(at) == Some(&0xff) {
            at += 1;
        }
        if self.data.get(at) != Some(&(marker::RST0 + number)) {
            return Err(Broken);
        }
        *self = BitReader::new(self.data, at + 1);
        Ok(())
    }
}

#[inline]
fn has_ff(word: u32) -> bool {
    let inverted = !word;
    inverted.wrapping_sub(0x0101_0101) & word & 0x8080_8080 != 0
}

/// 8x8 coefficients in zigzag order; only those with their bit in `mask` are valid. The DC is
/// absolute.
#[derive(Clone, Copy, Debug)]
struct Block {
    dc: i32,
    mask: u64,
    ac: [i16; 64],
}

impl Block {
    const EMPTY: Block = Block {
        dc: 0,
        mask: 0,
        ac: [0; 64],
    };
}

/// The blocks of each component in a few rows of MCUs.
#[derive(Debug, Default)]
struct Rows {
    blocks: [Vec<Block>; 4],
    strides: [usize; 4],
}

impl Rows {
    /// Room for `high` rows of `wide` MCUs.
    fn fit(&mut self, layout: &Layout, wide: usize, high: usize) {
        for i in 0..layout.count {
            let (h, v) = layout.factors[i];
            self.strides[i] = h * wide;
            self.blocks[i].resize(h * wide * v * high, Block::EMPTY);
        }
    }
}

/// Decodes the MCUs of one scan in order.
struct Decoder<'a> {
    reader: BitReader<'a>,
    components: [ScanComponent; 4],
    count: usize,
    tables: Vec<DecodeTable>,
    prediction: [i32; 4],
    restart_interval: usize,
    mcus_wide: usize,
    mcus_high: usize,
    /// MCUs decoded.
    done: usize,
}

#[derive(Clone, Copy, Default)]
struct ScanComponent {
    h: usize,
    v: usize,
    dc: usize,
    ac: usize,
}

impl<'a> Decoder<'a> {
    fn new(
        header: &Header,
        restart_interval: u16,
        scan: &'a [u8],
    ) -> Result<Decoder<'a>, ScanError> {
        let layout = Layout::of(header);
        let mut components = [ScanComponent::default(); 4];
        let mut tables = Vec::with_capacity(8);
        for (i, component) in components.iter_mut().enumerate().take(layout.count) {
            let (Some(dc), Some(ac)) = (header.dc_table(i), header.ac_table(i)) else {
                return Err(ScanError::Table);
            };
            (component.h, component.v) = layout.factors[i];
            component.dc = tables.len();
            component.ac = tables.len() + 1;
            tables.push(DecodeTable::new(&dc)?);
            tables.push(DecodeTable::new(&ac)?);
        }
        Ok(Decoder::at_start(
            scan,
            &layout,
            components,
            tables,
            restart_interval,
        ))
    }

    /// Before the first MCU of `scan`.
    fn at_start(
        scan: &'a [u8],
        layout: &Layout,
        components: [ScanComponent; 4],
        tables: Vec<DecodeTable>,
        restart_interval: u16,
    ) -> Decoder<'a> {
        Decoder {
            reader: BitReader::new(scan, 0),
            components,
            count: layout.count,
            tables,
            prediction: [0; 4],
            restart_interval: usize::from(restart_interval),
            mcus_wide: layout.mcus_wide,
            mcus_high: layout.mcus_high,
            done: 0,
        }
    }

    fn total(&self) -> usize {
        self.mcus_wide * self.mcus_high
    }

    fn corrupt(&self) -> ScanError {
        ScanError::Corrupt {
            offset: self.reader.position(),
        }
    }

    fn short(&self) -> ScanError {
        ScanError::Short {
            offset: self.reader.at,
            mcus: self.done,
            total: self.total(),
        }
    }

    /// Decodes the next MCU to MCU `column` in row `row` of `rows`.
    fn mcu(&mut self, rows: &mut Rows, column: usize, row: usize) -> Result<(), ScanError> {
        if self.restart_interval != 0 && self.done != 0 && self.done % self.restart_interval == 0 {
            let number = (self.done / self.restart_interval - 1) % 8;
            if self.reader.restart(number as u8).is_err() {
                let at_end = self.reader.position() >= self.reader.data.len();
                return Err(if at_end { self.short() } else { self.corrupt() });
            }
            self.prediction = [0; 4];
        }
        for i in 0..self.count {
            let component = self.components[i];
            let (dc, ac) = (&self.tables[component.dc], &self.tables[component.ac]);
            let stride = rows.strides[i];
            for y in 0..component.v {
                let first = (row * component.v + y) * stride + column * component.h;
                for block in &mut rows.blocks[i][first..first + component.h] {
                    if decode_block(&mut self.reader, dc, ac, &mut self.prediction[i], block)
                        .is_err()
                    {
                        // Zeros read past the end may not form a code: that is the end, not
                        // corruption.
                        return Err(if self.reader.phantom > 0 {
                            self.short()
                        } else {
                            self.corrupt()
                        });
                    }
                }
            }
        }
        if self.reader.overrun() {
            return Err(self.short());
        }
        self.done += 1;
        Ok(())
    }
}

#[inline]
fn decode_block(
    reader: &mut BitReader,
    dc: &DecodeTable,
    ac: &DecodeTable,
    prediction: &mut i32,
    block: &mut Block,
) -> Result<(), Broken> {
    reader.fill();
    let size = reader.symbol(dc)?;
    if size > 11 {
        return Err(Broken);
    }
    *prediction += reader.value(u32::from(size));
    // More than 8-bit samples can produce, and far from an overflow.
    if prediction.unsigned_abs() > 1 << 14 {
        return Err(Broken);
    }
    block.dc = *prediction;
    block.mask = 0;
    let mut k = 1usize;
    while k < 64 {
        reader.fill();
        let symbol = reader.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 0xf));
        if size == 0 {
            if run != 15 {
                break; // end of block
            }
            k += 16;
            continue;
        }
        k += run;
        if k > 63 || size > 10 {
            return Err(Broken);
        }
        block.ac[k] = reader.value(size) as i16;
        block.mask |= 1 << k;
        k += 1;
    }
    Ok(())
}

/// The layout of a scan's blocks: a scan of one component has one block per MCU, whatever its
/// sampling factors. T.81 §A.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    factors: [(usize, usize); 4],
    count: usize,
    mcus_wide: usize,
    mcus_high: usize,
}

impl Layout {
    pub(super) fn of(header: &Header) -> Layout {
        let mut factors = [(1, 1); 4];
        let components = header.components();
        if components.len() > 1 {
            for (factor, component) in factors.iter_mut().zip(components) {
                *factor = (usize::from(component.h), usize::from(component.v));
            }
        }
        Layout::new(header.width, header.height, factors, components.len())
    }

    pub(super) fn standard(width: u16, height: u16, sampling: Sampling) -> Layout {
        let luma = match sampling {
            Sampling::Yuv422 => (2, 1),
            Sampling::Yuv420 => (2, 2),
        };
        Layout::new(width, height, [luma, (1, 1), (1, 1), (1, 1)], 3)
    }

    fn new(width: u16, height: u16, factors: [(usize, usize); 4], count: usize) -> Layout {
        let h = factors[..count].iter().map(|f| f.0).max().unwrap_or(1);
        let v = factors[..count].iter().map(|f| f.1).max().unwrap_or(1);
        Layout {
            factors,
            count,
            mcus_wide: usize::from(width).div_ceil(8 * h),
            mcus_high: usize::from(height).div_ceil(8 * v),
        }
    }

    pub(super) fn mcus(&self) -> usize {
        self.mcus_wide * self.mcus_high
    }

    /// Blocks in one MCU; T.81 §B.2.3 allows 10.
    pub(super) fn blocks(&self) -> usize {
        self.factors[..self.count].iter().map(|f| f.0 * f.1).sum()
    }

    /// RFC 2435's layout of the same samples in other MCUs, if there is one; grey gets neutral
    /// chroma.
    pub(super) fn equivalent(&self) -> Option<Sampling> {
        let [luma, cb, cr, _] = self.factors;
        if self.count == 1 {
            return Some(Sampling::Yuv420);
        }
        if self.count != 3 || cb != cr || luma.0 != 2 * cb.0 || self.blocks() > 10 {
            return None;
        }
        if luma.1 == cb.1 {
            Some(Sampling::Yuv422)
        } else if luma.1 == 2 * cb.1 {
            Some(Sampling::Yuv420)
        } else {
            None
        }
    }
}

/// Decodes the whole scan of a sequential JPEG and returns where it ends, ignoring bytes after it.
/// Nothing is kept: this only proves that the scan is whole.
///
/// # Errors
/// Where and why it is not.
pub fn walk(header: &Header, restart_interval: u16, scan: &[u8]) -> Result<usize, ScanError> {
    let mut decoder = Decoder::new(header, restart_interval, scan)?;
    let mut one = Rows::default();
    one.fit(&Layout::of(header), 1, 1);
    while decoder.done < decoder.total() {
        decoder.mcu(&mut one, 0, 0)?;
    }
    Ok(decoder.reader.position())
}

/// How many MCUs precede the scan's first marker: the restart interval, if the header lacks it.
///
/// # Errors
/// The scan is corrupt before its first marker.
pub fn mcus_before_marker(header: &Header, scan: &[u8]) -> Result<usize, ScanError> {
    let first = next_marker(scan, 0);
    let scan = &scan[..first.unwrap_or(scan.len())];
    let mut decoder = Decoder::new(header, 0, scan)?;
    let mut one = Rows::default();
    one.fit(&Layout::of(header), 1, 1);
    while decoder.done < decoder.total() && decoder.reader.position() < scan.len() {
        decoder.mcu(&mut one, 0, 0)?;
    }
    Ok(decoder.done)
}

/// Codes of one standard table: by symbol, its code and length.
pub(super) struct EncodeTable {
    code: [u16; 256],
    length: [u8; 256],
}

impl EncodeTable {
    const fn new(table: &Huffman) -> EncodeTable {
        let mut out = EncodeTable {
            code: [0; 256],
            length: [0; 256],
        };
        let (mut code, mut index, mut length) = (0u16, 0usize, 1usize);
        while length <= 16 {
            let mut i = 0;
            while i < table.counts[length - 1] {
                let symbol = table.values[index] as usize;
                out.code[symbol] = code;
                out.length[symbol] = length as u8;
                code += 1;
                index += 1;
                i += 1;
            }
            code <<= 1;
            length += 1;
        }
        out
    }

    /// A symbol's code and its number of bits; 0: the table lacks the symbol.
    pub(super) fn code(&self, symbol: u8) -> (u16, u8) {
        let symbol = usize::from(symbol);
        (self.code[symbol], self.length[symbol])
    }
}

pub(super) static ENCODE: [(EncodeTable, EncodeTable); 2] = [
    (EncodeTable::new(&DC_LUMA), EncodeTable::new(&AC_LUMA)),
    (EncodeTable::new(&DC_CHROMA), EncodeTable::new(&AC_CHROMA)),
];

const END_OF_BLOCK: usize = 0x00;
const ZERO_RUN_16: usize = 0xf0;

/// Appends bits with stuffed zeros.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    acc: u64,
    bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter {
            out,
            acc: 0,
            bits: 0,
        }
    }

    /// The low `n` bits of `value`, at most 32; the others are 0.
    #[inline]
    pub(super) fn put(&mut self, value: u32, n: u32) {
        self.acc = (self.acc << n) | u64::from(value);
        self.bits += n;
        if self.bits >= 32 {
            self.bits -= 32;
            let word = (self.acc >> self.bits) as u32;
            if has_ff(word) {
                word.to_be_bytes()
                    .into_iter()
                    .for_each(|byte| self.byte(byte));
            } else {
                self.out.extend_from_slice(&word.to_be_bytes());
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
        if byte == 0xff {
            self.out.push(0);
        }
    }

    /// Pads to the next byte with ones. T.81 §F.1.2.3.
    pub(super) fn align(&mut self) {
        let pad = (8 - self.bits % 8) % 8;
        self.put((1 << pad) - 1, pad);
        while self.bits > 0 {
            self.bits -= 8;
            self.byte((self.acc >> self.bits) as u8);
        }
    }

    /// A symbol and the bits of its value. T.81 §F.1.2.1.
    #[inline]
    pub(super) fn value(
        &mut self,
        table: &EncodeTable,
        run: usize,
        value: i32,
    ) -> Result<(), Broken> {
        let size = 32 - value.unsigned_abs().leading_zeros();
        let symbol = (run << 4) | size as usize;
        let length = match table.length.get(symbol) {
            Some(&length) if length != 0 => u32::from(length),
            _ => return Err(Broken),
        };
        let bits = if value < 0 {
            (value - 1) as u32
        } else {
            value as u32
        } & ((1 << size) - 1);
        self.put(
            (u32::from(table.code[symbol]) << size) | bits,
            length + size,
        );
        Ok(())
    }

    #[inline]
    fn symbol(&mut self, table: &EncodeTable, symbol: usize) {
        self.put(
            u32::from(table.code[symbol]),
            u32::from(table.length[symbol]),
        );
    }

    #[inline]
    fn block(
        &mut self,
        tables: &(EncodeTable, EncodeTable),
        prediction: &mut i32,
        block: &Block,
    ) -> Result<(), Broken> {
        let (dc, ac) = tables;
        self.value(dc, 0, block.dc - *prediction)?;
        *prediction = block.dc;
        let mut last = 0;
        let mut mask = block.mask;
        while mask != 0 {
            let k = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let mut run = k - last - 1;
            while run > 15 {
                self.symbol(ac, ZERO_RUN_16);
                run -= 16;
            }
            self.value(ac, run, i32::from(block.ac[k]))?;
            last = k;
        }
        if last < 63 {
            self.symbol(ac, END_OF_BLOCK);
        }
        Ok(())
    }

    /// Writes a block that no sample of the picture needs.
    fn padding(&mut self, tables: &(EncodeTable, EncodeTable)) {
        self.symbol(&tables.0, 0);
        self.symbol(&tables.1, END_OF_BLOCK);
    }
}

/// Rewrites scans in RFC 2435's form; keeps its memory from frame to frame.
#[derive(Debug, Default)]
pub struct Recoder {
    /// One row of source MCUs; two for grey, whose MCUs are half as high as the target's.
    rows: Rows,
}

impl Recoder {
    /// Writes the coefficients of `scan` to `out`, replacing its contents, with the standard
    /// Huffman tables, in RFC 2435's MCUs for the same samples. Grey gets neutral chroma. Returns
    /// the sampling and the new scan's restart interval: the old one if the MCUs are the same, else
    /// one row of MCUs if there were restart markers, else 0.
    ///
    /// # Errors
    /// The scan is short or corrupt, or RFC 2435 has no MCUs for its samples.
    pub fn recode(
        &mut self,
        header: &Header,
        restart_interval: u16,
        scan: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(Sampling, u16), ScanError> {
        let source = Layout::of(header);
        let sampling = source.equivalent().ok_or(ScanError::Layout)?;
        let target = Layout::standard(header.width, header.height, sampling);
        let interval = match restart_interval {
            0 => 0,
            n if source == target => n,
            _ => target.mcus_wide as u16, // at most 4096
        };
        let band = if source.count == 1 { 2 } else { 1 };
        self.rows.fit(&source, source.mcus_wide, band);
        let mut decoder = Decoder::new(header, restart_interval, scan)?;
        out.clear();
        let mut encoder = Encoder::new(target, interval, out);
        for first in (0..source.mcus_high).step_by(band) {
            let high = band.min(source.mcus_high - first);
            for row in 0..high {
                for column in 0..source.mcus_wide {
                    decoder.mcu(&mut self.rows, column, row)?;
                }
            }
            let luma_high = high * source.factors[0].1;
            encoder
                .band(&self.rows, source.count, luma_high)
                .map_err(|Broken| decoder.corrupt())?;
        }
        encoder.writer.align();
        if decoder.reader.position() + SLACK < scan.len() {
            return Err(decoder.corrupt());
        }
        Ok((sampling, interval))
    }
}

/// Writes blocks in the MCUs of a standard layout.
struct Encoder<'a> {
    layout: Layout,
    interval: usize,
    writer: BitWriter<'a>,
    prediction: [i32; 3],
    /// MCUs written.
    done: usize,
}

impl<'a> Encoder<'a> {
    fn new(layout: Layout, interval: u16, out: &'a mut Vec<u8>) -> Encoder<'a> {
        let writer = BitWriter::new(out);
        Encoder {
            layout,
            interval: usize::from(interval),
            writer,
            prediction: [0; 3],
            done: 0,
        }
    }

    /// The rows of MCUs for `luma_high` rows of luma blocks. What the source has below the
    /// picture's edge is left out; what it lacks there is padded.
    fn band(&mut self, rows: &Rows, components: usize, luma_high: usize) -> Result<(), Broken> {
        let v = self.layout.factors[0].1;
        for row in 0..luma_high.div_ceil(v) {
            if self.done == self.layout.mcus() {
                break;
            }
            for column in 0..self.layout.mcus_wide {
                self.restart();
                for y in row * v..(row + 1) * v {
                    for x in 2 * column..2 * column + 2 {
                        if x < rows.strides[0] && y < luma_high {
                            let block = &rows.blocks[0][y * rows.strides[0] + x];
                            self.writer
                                .block(&ENCODE[0], &mut self.prediction[0], block)?;
                        } else {
                            self.writer.padding(&ENCODE[0]);
                        }
                    }
                }
                for i in 1..3 {
                    if components == 1 {
                        self.writer.padding(&ENCODE[1]); // all coefficients 0: neutral chroma
                    } else {
                        let block = &rows.blocks[i][row * rows.strides[i] + column];
                        self.writer
                            .block(&ENCODE[1], &mut self.prediction[i], block)?;
                    }
                }
                self.done += 1;
            }
        }
        Ok(())
    }

    /// A restart marker, if one is due. T.81 §F.1.1.5.2.
    fn restart(&mut self) {
        if self.interval == 0 || self.done == 0 || self.done % self.interval != 0 {
            return;
        }
        let number = (self.done / self.interval - 1) % 8;
        self.writer.align();
        self.writer
            .out
            .extend_from_slice(&[0xff, marker::RST0 + number as u8]);
        self.prediction = [0; 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::Picture;
    use crate::jpeg::rebuild::write_jpeg;
    use crate::jpeg::samples::{encode, pixels, transform};
    use turbojpeg::Subsamp;

    /// Recodes and returns the whole new JPEG.
    fn recoded(jpeg: &[u8]) -> Vec<u8> {
        let header = Header::parse(jpeg).unwrap();
        let mut scan = Vec::new();
        let behind = &jpeg[header.scan_start..];
        let (sampling, restart_interval) = Recoder::default()
            .recode(&header, header.restart_interval, behind, &mut scan)
            .unwrap();
        let mut quant = [0; 128];
        quant[..64].copy_from_slice(&header.quant(0).unwrap().narrowed().unwrap());
        let chroma = header.quant(1).or(header.quant(0)).unwrap();
        quant[64..].copy_from_slice(&chroma.narrowed().unwrap());
        let (width, height) = (header.width, header.height);
        let mut out = Vec::new();
        write_jpeg(
            &mut out,
            &Picture {
                width,
                height,
                sampling,
                restart_interval,
                quant,
                scan: &scan,
            },
        );
        out
    }

    const SIZES: [(usize, usize); 6] = [(1, 1), (8, 8), (17, 9), (322, 242), (320, 240), (41, 600)];

    #[test]
    fn optimised_tables_become_standard_and_pixels_stay() {
        for subsamp in [Subsamp::Sub2x1, Subsamp::Sub2x2] {
            for (width, height) in SIZES {
                for quality in [5, 75, 100] {
                    let jpeg = encode(width, height, subsamp, quality);
                    let optimised = transform(&jpeg, |t| t.optimize = true);
                    let new = recoded(&optimised);
                    assert_eq!(
                        pixels(&new),
                        pixels(&jpeg),
                        "{width}x{height} {subsamp:?} {quality}"
                    );
                    // The same coefficients with the same tables: the identical scan.
                    let at = Header::parse(&jpeg).unwrap().scan_start;
                    let new_at = Header::parse(&new).unwrap().scan_start;
                    assert_eq!(new[new_at..], jpeg[at..]);
                }
            }
        }
    }

    #[test]
    fn grey_gets_neutral_chroma() {
        for (width, height) in SIZES {
            let jpeg = encode(width, height, Subsamp::Gray, 80);
            assert_eq!(pixels(&recoded(&jpeg)), pixels(&jpeg), "{width}x{height}");
        }
    }

    #[test]
    fn other_samplings_have_no_equivalent() {
        for subsamp in [
            Subsamp::None,
            Subsamp::Sub1x2,
            Subsamp::Sub4x1,
            Subsamp::Sub1x4,
        ] {
            let jpeg = encode(32, 32, subsamp, 80);
            assert_eq!(
                Layout::of(&Header::parse(&jpeg).unwrap()).equivalent(),
                None
            );
        }
    }

    #[test]
    fn a_walk_ends_where_the_scan_ends() {
        for quality in 1..100 {
            let jpeg = encode(67, 35, Subsamp::Sub2x2, quality);
            let header = Header::parse(&jpeg).unwrap();
            let scan = &jpeg[header.scan_start..];
            assert_eq!(walk(&header, 0, scan), Ok(scan.len() - 2));
            let bare = &scan[..scan.len() - 2];
            assert_eq!(walk(&header, 0, bare), Ok(bare.len()));
            let padded = [bare, &[0; 50]].concat();
            assert_eq!(walk(&header, 0, &padded), Ok(bare.len()));
            let half = &scan[..scan.len() / 2];
            assert!(matches!(
                walk(&header, 0, half),
                Err(ScanError::Short { .. })
            ));
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        let counts = &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(
            DecodeTable::new(&Huffman {
                counts,
                values: &[1, 2, 3]
            })
            .is_err()
        );
    }
}
