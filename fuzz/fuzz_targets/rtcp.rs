//! Any run of datagrams on the RTCP ports of a sender and a viewer: no panic, no endless work.
//!
//! Input: records of one byte (the time since the one before), two bytes of length (big endian),
//! the datagram.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use lancam::clock::{Mono, Ntp};
use lancam::rtp::Ssrc;
use lancam::rtp::rtcp::sender::Sent;
use lancam::rtp::rtcp::{Description, SenderSide, ViewerSide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let from = SocketAddr::from(([10, 0, 0, 2], 10_001));
    let mut now = Mono(1_000_000_000);
    let mut sender = SenderSide::new(Ssrc(1), 7, Description::default(), 1, now);
    let mut viewer = ViewerSide::new(Ssrc(2), Description::default(), 2, now);
    let mut rest = data;
    while let [pause, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(*pause) * 40);
        let _ = sender.receive(now, Sent::default(), from, datagram, |_| {});
        let _ = viewer.receive(now, from, datagram, None, |_| {});
        sender.tick(now, Sent::default(), |_| {});
        while sender.poll(now, Ntp(now.0), Sent::default()).is_some() {}
        while viewer.poll(now).is_some() {}
        let _ = sender.reports(now);
        assert!(sender.deadline() > now || sender.poll(now, Ntp(0), Sent::default()).is_none());
    }
});
