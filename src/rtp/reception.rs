//! What arrived and what did not, by sequence number: extended numbers (RFC 3550 §A.1), loss (§A.3)
//! and interarrival jitter (§A.8). Reordering and duplicates never count as loss.

use std::net::IpAddr;

use super::types::{RtpTime, SeqNo, Ssrc};
use crate::clock::Mono;

/// How many sequence numbers back the tracker remembers.
const WINDOW: u64 = 1 << 15;

/// Reception of one source since its first packet, as receiver reports need it. RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// The source.
    pub ssrc: Ssrc,
    /// Its address.
    pub address: IpAddr,
    /// Highest sequence number, with the count of wraps in the upper half.
    pub highest: u32,
    /// Packets that it has sent, as far as sequence numbers show.
    pub expected: u64,
    /// Packets received, without duplicates and without those that repair rebuilt.
    pub received: u64,
    /// Interarrival jitter in RTP ticks (90 kHz).
    pub jitter: u32,
}

impl Reception {
    /// Packets lost so far.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }
}

/// Counts the packets of one source.
#[derive(Debug)]
pub(super) struct Tracker {
    /// Extended number of the oldest packet. The count of wraps starts at one, so that what comes
    /// before the first packet has a number too.
    base: u64,
    highest: u64,
    received: u64,
    /// Missing packets have been counted as lost up to here.
    settled: u64,
    /// Jitter times 16, and the last packet's transit time. RFC 3550 §A.8.
    jitter: u32,
    transit: Option<u32>,
    /// One bit a number, for the last [`WINDOW`].
    seen: Box<[u64; (WINDOW / 64) as usize]>,
}

impl Tracker {
    /// Starts at a source's first packet, which is still to be recorded.
    pub(super) fn new(first: SeqNo) -> Tracker {
        let base = (1 << 16) | u64::from(first.0);
        Tracker {
            base,
            highest: base - 1,
            received: 0,
            settled: base - 1,
            jitter: 0,
            transit: None,
            seen: Box::new([0; (WINDOW / 64) as usize]),
        }
    }

    /// The extended number of the oldest packet that came.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The extended number of the newest packet that came.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// The extended number nearest to the newest one.
    pub(super) fn extend(&self, seq: SeqNo) -> u64 {
        let distance = seq.distance(SeqNo(self.highest as u16));
        self.highest.saturating_add_signed(i64::from(distance))
    }

    /// Records a packet; false if it came before, or is too old to tell.
    pub(super) fn record(&mut self, ext: u64) -> bool {
        if ext > self.highest {
            let skipped = (ext - self.highest - 1).min(WINDOW);
            for missing in ext - skipped..ext {
                *self.word(missing) &= !bit(missing);
            }
            self.highest = ext;
        } else if self.highest - ext >= WINDOW || *self.word(ext) & bit(ext) != 0 {
            return false;
        }
        *self.word(ext) |= bit(ext);
        self.base = self.base.min(ext);
        self.received += 1;
        true
    }

    /// Updates the jitter with the time of a packet. RFC 3550 §A.8.
    pub(super) fn clock(&mut self, now: Mono, time: RtpTime) {
        let arrival = RtpTime::from_nanos(now.0).0;
        let transit = arrival.wrapping_sub(time.0);
        if let Some(last) = self.transit.replace(transit) {
            let d = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // The RFC's own rounding; a hostile timestamp must not overflow it.
            self.jitter = self.jitter.saturating_add(d) - ((self.jitter.saturating_add(8)) >> 4);
        }
    }

    /// Counts what is missing up to `end` as lost; returns how many were added.
    pub(super) fn settle(&mut self, end: u64) -> u64 {
        let end = end.min(self.highest);
        let start = (self.settled + 1).max(self.highest.saturating_sub(WINDOW - 1));
        let mut lost = 0;
        for ext in start..=end {
            lost += u64::from(*self.word(ext) & bit(ext) == 0);
        }
        self.settled = self.settled.max(end);
        lost
    }

    pub(super) fn reception(&self, ssrc: Ssrc, address: IpAddr) -> Reception {
        Reception {
            ssrc,
            address,
            highest: self.highest.wrapping_sub(1 << 16) as u32,
            expected: self.highest + 1 - self.base,
            received: self.received,
            jitter: self.jitter >> 4,
        }
    }

    fn word(&mut self, ext: u64) -> &mut u64 {
        &mut self.seen[(ext % WINDOW / 64) as usize]
    }
}

fn bit(ext: u64) -> u64 {
    1 << (ext % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn record(tracker: &mut Tracker, seq: u16) -> bool {
        let ext = tracker.extend(SeqNo(seq));
        tracker.record(ext)
    }

    #[test]
    fn only_what_never_came_is_lost() {
        let mut tracker = Tracker::new(SeqNo(65_534));
        for seq in [65_534, 0, 65_535, 0, 3, 3, 1] {
            record(&mut tracker, seq);
        }
        let r = tracker.reception(Ssrc(1), HERE);
        assert_eq!((r.expected, r.received, r.lost()), (6, 5, 1));
        assert_eq!(r.highest, (1 << 16) | 3);
        assert_eq!(tracker.settle(u64::MAX), 1);
        assert_eq!(tracker.settle(u64::MAX), 0);
    }

    #[test]
    fn a_packet_from_before_the_first_moves_the_start() {
        let mut tracker = Tracker::new(SeqNo(0));
        assert!(record(&mut tracker, 0));
        assert!(record(&mut tracker, 65_535));
        let r = tracker.reception(Ssrc(1), HERE);
        assert_eq!((r.expected, r.lost()), (2, 0));
    }

    #[test]
    fn the_window_is_wiped_as_it_moves() {
        let mut tracker = Tracker::new(SeqNo(0));
        let mut ext = tracker.extend(SeqNo(0));
        for _ in 0..10 {
            assert!(tracker.record(ext));
            assert!(!tracker.record(ext));
            ext += WINDOW / 3;
            assert!(tracker.record(ext - 1));
        }
        assert!(!tracker.record(ext - 2 * WINDOW));
        assert_eq!(tracker.reception(Ssrc(1), HERE).received, 20);
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut tracker = Tracker::new(SeqNo(0));
        let tick = |n: u64| Mono(n * 100_000 / 9 + 1);
        tracker.clock(tick(900), RtpTime(0));
        tracker.clock(tick(1_900), RtpTime(1_000));
        assert_eq!(tracker.reception(Ssrc(1), HERE).jitter, 0);
        // 160 ticks late: 160 / 16.
        tracker.clock(tick(3_060), RtpTime(2_000));
        assert_eq!(tracker.reception(Ssrc(1), HERE).jitter, 10);
        for i in 0..100 {
            tracker.clock(Mono(0), RtpTime(0x7FFF_FFFFu32.wrapping_mul(i)));
        }
    }
}
