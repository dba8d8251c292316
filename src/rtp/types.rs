//! RTP's numbers: SSRC, sequence number, timestamp.

/// Synchronisation source: names a sender's stream in its packets. RFC 3550 §3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

/// A 16-bit RTP sequence number; compares by RFC 1982 arithmetic through [`SeqNo::distance`]. RFC
/// 3550 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// Signed steps from `earlier` to `self`, correct across the wrap for gaps under 32768.
    pub fn distance(self, earlier: SeqNo) -> i16 {
        self.0.wrapping_sub(earlier.0) as i16
    }

    /// The number `n` packets later.
    pub fn plus(self, n: u16) -> SeqNo {
        SeqNo(self.0.wrapping_add(n))
    }
}

/// An RTP timestamp on the 90 kHz clock of video. RFC 2435 §3, RFC 3550 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Ticks a second.
    pub const RATE: u64 = 90_000;

    /// The timestamp of a moment `nanos` nanoseconds after the one stamped 0.
    pub fn from_nanos(nanos: u64) -> RtpTime {
        // 90,000 / 10^9 = 9 / 100,000, in two steps: nanos * 9 would overflow after 65 years.
        let (whole, rest) = (nanos / 100_000, nanos % 100_000);
        RtpTime((whole * 9 + rest * 9 / 100_000) as u32)
    }

    /// Signed ticks from `earlier` to `self`, correct across the wrap.
    pub fn distance(self, earlier: RtpTime) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(SeqNo(2).distance(SeqNo(65_534)), 4);
        assert_eq!(SeqNo(65_534).distance(SeqNo(2)), -4);
        assert_eq!(SeqNo(65_535).plus(2), SeqNo(1));
    }

    #[test]
    fn a_second_is_90000_ticks() {
        assert_eq!(RtpTime::from_nanos(1_000_000_000), RtpTime(90_000));
        assert_eq!(RtpTime::from_nanos(33_333_333), RtpTime(2_999));
        let years = u64::MAX;
        let exact = (u128::from(years) * 9 / 100_000) as u32;
        assert_eq!(RtpTime::from_nanos(years), RtpTime(exact));
        assert_eq!(RtpTime(5).distance(RtpTime(u32::MAX - 4)), 10);
    }
}
