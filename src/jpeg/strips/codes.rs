//! The Huffman codes of ITU-T T.81 Annex K, for skipping: how many bits and how many coefficients,
//! but not which.

use std::sync::LazyLock;

use crate::jpeg::recode::{ENCODE, EncodeTable};

/// The scan cannot be cut into strips: an impossible code or value, a misplaced marker, an early
/// end, or more bytes than a frame may have. The frame may still be shown as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scan cannot be cut into strips")]
pub struct Broken;

/// Bits that one look-up of AC codes examines: two tables of 8 KiB, which stay in the L1 cache.
pub(super) const SEEN: u32 = 12;
/// The longest DC code.
pub(super) const DC_BITS: u32 = 11;
/// Added to an entry's steps if the block ends with it (EOB).
pub(super) const END: u32 = 128;

/// AC codes. An entry's low byte: bits, including those of the values. High byte: coefficients that
/// they stand for, and [`END`].
pub(super) struct AcTable {
    /// By the next [`SEEN`] bits: as many whole symbols as they contain; an EOB is always the last.
    /// No bits and 255 steps if the first code is longer.
    pub(super) many: [u16; 1 << SEEN],
    /// By the next 16 bits: the first symbol alone; 0: there is no such code.
    pub(super) one: Box<[u16; 1 << 16]>,
}

pub(super) struct DcTable {
    /// By the next [`DC_BITS`] bits. Low byte: bits of code and difference; high byte: of the
    /// difference. 0: there is no such code.
    pub(super) lookup: [u16; 1 << DC_BITS],
    pub(super) codes: &'static EncodeTable,
}

/// By class: luma, chroma.
pub(super) static DC: LazyLock<[DcTable; 2]> =
    LazyLock::new(|| [0, 1].map(|class| DcTable::new(&ENCODE[class].0)));
pub(super) static AC: LazyLock<[AcTable; 2]> =
    LazyLock::new(|| [0, 1].map(|class| AcTable::new(&ENCODE[class].1)));

impl DcTable {
    fn new(codes: &'static EncodeTable) -> DcTable {
        let by_bits = by_bits(codes);
        DcTable {
            lookup: std::array::from_fn(|bits| match by_bits[bits << (16 - DC_BITS)] {
                (0, _) => 0,
                (length, size) => u16::from(size) << 8 | u16::from(length + size),
            }),
            codes,
        }
    }
}

impl AcTable {
    fn new(codes: &EncodeTable) -> AcTable {
        let lengths = by_bits(codes);
        let one: Vec<u16> = lengths.iter().copied().map(entry).collect();
        AcTable {
            many: std::array::from_fn(|bits| many(bits << (16 - SEEN), &lengths, &one)),
            one: one.try_into().expect("an entry for each 16 bits"),
        }
    }
}

/// Code length and symbol by the next 16 bits; no length: there is no such code.
fn by_bits(codes: &EncodeTable) -> Vec<(u8, u8)> {
    let mut out = vec![(0, 0); 1 << 16];
    for symbol in 0..=255u8 {
        let (code, length) = codes.code(symbol);
        if length > 0 {
            let spare = 16 - length;
            let first = usize::from(code) << spare;
            out[first..first + (1 << spare)].fill((length, symbol));
        }
    }
    out
}

/// T.81 §F.1.2.2.1: a symbol is a run of zeros and the size of the value after them.
fn entry((length, symbol): (u8, u8)) -> u16 {
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    let steps = match (run, size) {
        _ if length == 0 => return 0,
        (15, 0) => 16,
        (_, 0) => END,
        _ => run + 1,
    };
    ((steps << 8) | (u32::from(length) + size)) as u16
}

fn many(bits: usize, codes: &[(u8, u8)], one: &[u16]) -> u16 {
    let (mut at, mut steps) = (0, 0);
    while at < SEEN && steps < END {
        // Bits beyond those seen read as zeros; a code counts only if it is seen completely.
        let rest = (bits << at) & 0xffff;
        let (length, entry) = (u32::from(codes[rest].0), u32::from(one[rest]));
        if entry == 0 || at + length > SEEN {
            break;
        }
        at += entry & 0xff;
        steps += entry >> 8;
    }
    match at {
        0 => 255 << 8,
        _ => (steps << 8 | at) as u16,
    }
}
