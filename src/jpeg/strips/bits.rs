//! Bits of a scan without its stuffed zeros: reading them, and copying them elsewhere.

use std::ops::Range;

use super::codes::{AcTable, Broken, DC_BITS, DcTable, END, SEEN};
use crate::jpeg::recode::BitWriter;

/// Bytes that must be readable after a scan's last; their values do not matter.
pub(super) const SLACK: usize = 16;

/// Reads bits; zeros after the end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bits, highest first; `left` of them are valid.
    ahead: u64,
    left: u32,
    /// The first byte that is not in `ahead`.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], bit: usize) -> Bits<'a> {
        let mut bits = Bits {
            bytes,
            ahead: 0,
            left: 0,
            at: bit / 8,
        };
        bits.refill();
        bits.skip((bit % 8) as u32);
        bits
    }

    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let rest = self.bytes.get(self.at..);
        if let Some(eight) = rest.and_then(|rest| rest.first_chunk()) {
            self.ahead |= u64::from_be_bytes(*eight) >> self.left;
        }
        self.at += (63 - self.left as usize) / 8;
        self.left |= 56;
    }

    #[inline(always)]
    fn skip(&mut self, n: u32) {
        self.ahead <<= n;
        self.left -= n;
    }

    /// The position of the next bit.
    #[inline(always)]
    pub(super) fn bit(&self) -> usize {
        self.at * 8 - self.left as usize
    }

    /// A DC difference, which takes at most 20 bits; they are available.
    #[inline(always)]
    pub(super) fn dc(&mut self, table: &DcTable) -> Result<i32, Broken> {
        let entry = u32::from(table.lookup[(self.ahead >> (64 - DC_BITS)) as usize]);
        let (total, size) = (entry & 0xff, entry >> 8);
        if total == 0 {
            return Err(Broken);
        }
        let value = self.ahead << (total - size);
        let sign = value as i64 >> 63;
        self.skip(total);
        // T.81 §F.2.2.1 EXTEND: what starts with a 0 is negative.
        Ok((value >> 1 >> (63 - size)) as i32 + (!sign as i32 & (1 - (1 << size))))
    }

    /// Skips a block's AC coefficients. 36 bits are available, and are again when it returns.
    #[inline(always)]
    pub(super) fn skip_ac(&mut self, table: &AcTable) -> Result<(), Broken> {
        let mut k = 1;
        loop {
            // Each look-up takes at most 21 bits, so one refill is enough for two.
            let mut before = (self.ahead, self.left, k);
            k += self.many(table);
            if k < 64 {
                self.refill();
                before = (self.ahead, self.left, k);
                k += self.many(table);
                if k < 64 {
                    continue;
                }
            }
            if k.wrapping_sub(END) < 64 {
                return Ok(());
            }
            // The block ended before the last of these symbols, or the code is a long one.
            (self.ahead, self.left, k) = before;
            self.refill();
            let entry = u32::from(table.one[(self.ahead >> 48) as usize]);
            if entry == 0 {
                return Err(Broken);
            }
            self.skip(entry & 0xff);
            k += entry >> 8;
            self.refill();
            match k {
                0..64 => {}
                64 | END.. => return Ok(()),
                _ => return Err(Broken),
            }
        }
    }

    /// Skips several symbols at once; returns the number of coefficients.
    #[inline(always)]
    fn many(&mut self, table: &AcTable) -> u32 {
        let entry = u32::from(table.many[(self.ahead >> (64 - SEEN)) as usize]);
        self.skip(entry & 0xff);
        entry >> 8
    }
}

/// Writes these bits of `bytes`, which must be followed by [`SLACK`] bytes.
pub(super) fn copy(writer: &mut BitWriter<'_>, bytes: &[u8], range: Range<usize>) {
    for at in range.clone().step_by(32) {
        let n = (range.end - at).min(32);
        writer.put((peek(bytes, at) >> (64 - n)) as u32, n as u32);
    }
}

/// The 64 bits from `bit` on.
#[inline]
fn peek(bytes: &[u8], bit: usize) -> u64 {
    let rest = bytes.get(bit / 8..);
    let Some(&[ref eight @ .., last]) = rest.and_then(|rest| rest.first_chunk::<9>()) else {
        return 0; // behind the slack: never reached
    };
    let shift = bit % 8;
    u64::from_be_bytes(*eight) << shift | u64::from(last) >> (8 - shift)
}
