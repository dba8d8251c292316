//! Any run of WS-Discovery datagrams, at any times and from anybody: no panic, and answers only to
//! neighbours, at the address that they ask from, and not too many.
//!
//! Input: records of one byte (who sends it, and the time since the one before), two bytes of
//! length (big endian), the datagram.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::onvif::discovery::Target;
use lancam::onvif::{Network, Uuid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut target = Target::new(Uuid::LANCAM, "board", 8080, 1);
    let here = [Network {
        address: [10, 77, 0, 1].into(),
        prefix: 24,
    }];
    let (mut now, mut answers, mut asked) = (Mono(0), 0, 0);
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 2) * 10);
        // Of the four one is no neighbour.
        let from = SocketAddr::from(([10, 77, kind & 1 & (kind >> 1), kind & 3], 5000));
        target.receive(now, from, 2, &here, datagram);
        asked += 1;
        while let Some(outgoing) = target.poll(now) {
            answers += 1;
            assert!(here[0].contains(outgoing.to.ip()) && outgoing.to.port() == 5000);
            assert!(outgoing.bytes.len() < 4096);
        }
    }
    // 40 in any second that begins with an answer.
    let seconds = now.since(Mono(0)).as_secs() + 1;
    assert!(answers <= asked && answers <= 40 * seconds);
});
