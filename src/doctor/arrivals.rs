//! Counts and assembles what arrives at the stream's socket. Bytes and a time in, figures out: no
//! socket, no clock.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Mono;
use crate::rtp::reception::Reception;
use crate::rtp::{Depacketizer, Event, Options, ReceivedFrame, RtpTime, Ssrc, header};
use crate::stats::{ViewerSnapshot, ViewerStats};

/// Sources that are told apart. Packets of further ones are counted, but not by source.
const MAX_SOURCES: usize = 16;

/// A synchronization source (RFC 3550 §3), told apart by SSRC and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) ssrc: Ssrc,
    pub(super) from: IpAddr,
    pub(super) packets: u64,
    pub(super) first: Mono,
    pub(super) last: Mono,
}

/// What arrived of the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Datagrams of any kind.
    pub(super) packets: u64,
    /// Their UDP payload.
    pub(super) bytes: u64,
    /// UDP payload of the largest one.
    pub(super) largest: usize,
    /// Datagrams that were not RTP.
    pub(super) not_rtp: u64,
    /// RTP payload types.
    pub(super) payload_types: BTreeSet<u8>,
    /// Lowest and highest TTL or hop limit.
    pub(super) ttl: Option<(u8, u8)>,
    /// Whether every RTP packet was the last of its frame.
    pub(super) only_last_packets: bool,
    /// Bytes of the largest frame's packets, as far as they arrived.
    pub(super) frame_bytes: usize,
    pub(super) sources: Vec<Source>,
    pub(super) counters: ViewerSnapshot,
    pub(super) reception: Option<Reception>,
    /// Time from the first whole frame to the last, and how many arrived.
    pub(super) whole_for: Duration,
    pub(super) whole: u64,
    /// Time from the first packet to the last.
    pub(super) packets_for: Duration,
}

impl Arrivals {
    /// Whole frames a second; `None` if fewer than two arrived.
    pub(super) fn fps(&self) -> Option<f64> {
        let intervals = self.whole.checked_sub(1).filter(|&n| n > 0)?;
        Some(intervals as f64 / self.whole_for.as_secs_f64().max(1e-3))
    }
}

/// Receives with a viewer's own depacketizer.
#[derive(Debug)]
pub(super) struct Meter {
    depacketizer: Depacketizer,
    stats: Arc<ViewerStats>,
    arrivals: Arrivals,
    first: Option<Mono>,
    last: Mono,
    first_whole: Option<Mono>,
    /// The frame whose packets are arriving, and their bytes so far.
    frame: (Ssrc, RtpTime, usize),
}

impl Meter {
    pub(super) fn new(options: Options) -> Meter {
        let stats = Arc::<ViewerStats>::default();
        Meter {
            depacketizer: Depacketizer::new(options, Arc::clone(&stats)),
            stats,
            arrivals: Arrivals {
                only_last_packets: true,
                ..Arrivals::default()
            },
            first: None,
            last: Mono(0),
            first_whole: None,
            frame: (Ssrc(0), RtpTime(0), 0),
        }
    }

    /// Takes one datagram.
    pub(super) fn push(&mut self, now: Mono, from: IpAddr, ttl: Option<u8>, datagram: &[u8]) {
        self.first.get_or_insert(now);
        self.last = now;
        let arrivals = &mut self.arrivals;
        arrivals.packets += 1;
        arrivals.bytes += datagram.len() as u64;
        arrivals.largest = arrivals.largest.max(datagram.len());
        if let Some(ttl) = ttl {
            let (least, most) = arrivals.ttl.unwrap_or((ttl, ttl));
            arrivals.ttl = Some((least.min(ttl), most.max(ttl)));
        }
        match header::Packet::parse(datagram) {
            Ok(packet) => self.rtp(now, from, &packet, datagram.len()),
            Err(_) => arrivals.not_rtp += 1,
        }
        self.depacketizer.push(now, from, datagram);
        self.poll(now);
    }

    fn rtp(&mut self, now: Mono, from: IpAddr, packet: &header::Packet<'_>, len: usize) {
        let arrivals = &mut self.arrivals;
        arrivals.payload_types.insert(packet.payload_type());
        arrivals.only_last_packets &= packet.marker();
        let (ssrc, time) = (packet.ssrc(), packet.time());
        if (self.frame.0, self.frame.1) != (ssrc, time) {
            self.frame = (ssrc, time, 0);
        }
        self.frame.2 += len;
        arrivals.frame_bytes = arrivals.frame_bytes.max(self.frame.2);
        let known = arrivals
            .sources
            .iter_mut()
            .find(|s| s.ssrc == ssrc && s.from == from);
        if let Some(source) = known {
            source.packets += 1;
            source.last = now;
        } else if arrivals.sources.len() < MAX_SOURCES {
            arrivals.sources.push(Source {
                ssrc,
                from,
                packets: 1,
                first: now,
                last: now,
            });
        }
    }

    /// Advances time.
    pub(super) fn poll(&mut self, now: Mono) {
        while let Some(event) = self.depacketizer.poll(now) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                let first = *self.first_whole.get_or_insert(now);
                self.arrivals.whole += 1;
                self.arrivals.whole_for = now.since(first);
                self.depacketizer.recycle(frame);
            }
        }
    }

    /// What arrived.
    pub(super) fn finish(mut self, now: Mono) -> Arrivals {
        self.poll(now);
        Arrivals {
            counters: self.stats.snapshot(),
            reception: self.depacketizer.reception(),
            packets_for: self
                .first
                .map_or(Duration::ZERO, |first| self.last.since(first)),
            ..self.arrivals
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::SeqNo;

    fn rtp(ssrc: u32, seq: u16, time: u32, marker: bool, payload_type: u8, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        header::Header {
            extension: false,
            marker,
            payload_type,
            seq: SeqNo(seq),
            time: RtpTime(time),
            ssrc: Ssrc(ssrc),
        }
        .write(&mut bytes);
        bytes.resize(len, 0);
        bytes
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn sources_sizes_and_ttl_are_told_apart() {
        let mut meter = Meter::new(Options::default());
        let at = |ms: u64| Mono(1_000_000_000 + ms * 1_000_000);
        meter.push(at(0), ip(1), Some(1), &rtp(7, 1, 90, false, 26, 1472));
        meter.push(at(1), ip(1), Some(1), &rtp(7, 2, 90, true, 26, 500));
        meter.push(at(2), ip(2), Some(4), &rtp(8, 9, 90, true, 96, 100));
        meter.push(at(10), ip(3), None, b"hello");
        let arrivals = meter.finish(at(20));
        assert_eq!(
            (arrivals.packets, arrivals.largest, arrivals.not_rtp),
            (4, 1472, 1)
        );
        assert_eq!(arrivals.frame_bytes, 1972);
        assert_eq!(arrivals.ttl, Some((1, 4)));
        assert!(!arrivals.only_last_packets);
        assert_eq!(arrivals.payload_types, BTreeSet::from([26, 96]));
        let sources: Vec<_> = arrivals
            .sources
            .iter()
            .map(|s| (s.ssrc.0, s.packets))
            .collect();
        assert_eq!(sources, [(7, 2), (8, 1)]);
        assert_eq!(arrivals.packets_for, Duration::from_millis(10));
        assert_eq!((arrivals.whole, arrivals.fps()), (0, None));
    }

    #[test]
    fn a_crowd_of_sources_takes_no_more_memory() {
        let mut meter = Meter::new(Options::default());
        for n in 0..1000 {
            meter.push(Mono(n), ip(1), None, &rtp(n as u32, 1, 0, true, 26, 40));
        }
        let arrivals = meter.finish(Mono(2000));
        assert_eq!(arrivals.sources.len(), MAX_SOURCES);
        assert!(arrivals.only_last_packets);
    }
}
