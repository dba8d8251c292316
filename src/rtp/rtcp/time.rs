//! Times as RTCP writes them.

use std::time::Duration;

use crate::clock::Ntp;

/// The middle 32 bits of an NTP timestamp: seconds and their fraction, 16 bits each. RFC 3550 §4.
pub(super) fn middle(ntp: Ntp) -> u32 {
    (ntp.0 >> 16) as u32
}

/// A time in units of 1/65536 s, as reports count delays. RFC 3550 §6.4.1.
pub(super) fn in_65536ths(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}
