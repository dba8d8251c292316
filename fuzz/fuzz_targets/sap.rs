//! Any run of announcements, at any times and from anybody: no panic, and a directory within its
//! bounds.
//!
//! Input: records of one byte (who sends it, and the time since the one before), two bytes of
//! length (big endian), the datagram.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lancam::announced::can_show;
use lancam::clock::Mono;
use lancam::rtp::sap::{Directory, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut directory = Directory::default();
    let mut now = Mono(0);
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_secs(u64::from(kind >> 2));
        let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, kind & 3));
        let before = directory.streams().len();
        let changes = directory.push(now, from, "eth0", datagram);
        assert!(changes.len() <= 2 && directory.streams().len() <= before + 1);
        directory.expire(now);
        for heard in directory.streams() {
            let stream = &heard.stream;
            let texts = [&stream.name, &stream.format];
            assert!(texts.iter().all(|t| !t.chars().any(char::is_control)));
            assert!(texts.iter().all(|t| t.chars().count() <= 128));
            if let Err(why) = can_show(stream) {
                assert!(!why.chars().any(char::is_control));
            }
        }
        // Written, it may be longer by its payload type.
        if let Ok(packet) = Packet::parse(&datagram[..len.min(8192)]) {
            let mut written = Vec::new();
            packet.write(&mut written);
            assert_eq!(Packet::parse(&written), Ok(packet));
        }
    }
    // Of four hosts, 64 each.
    assert!(directory.streams().len() <= 64 * 4);
});
