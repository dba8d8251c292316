//! Any run of multicast DNS datagrams, at any times and from anybody: no panic, a directory within
//! its bounds, and a responder that says little and only what can be read.
//!
//! Input: records of one byte (who sends it, from which port, and the time since the one before),
//! two bytes of length (big endian), the datagram.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lancam::clock::Mono;
use lancam::dns_sd::{Directory, Facts, Link, Responder};
use libfuzzer_sys::fuzz_target;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fuzz_target!(|data: &[u8]| {
    let facts = Facts {
        host: "board".to_owned(),
        rtsp: Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8554)),
        streams: vec!["porch".to_owned(), "Tür 2".to_owned()],
        page: Some(SocketAddr::new(OWN.into(), 8080)),
    };
    let mut responder = Responder::new(&facts, 1);
    let mut directory = Directory::default();
    let mut now = Mono(0);
    let addresses = vec![OWN.into(), "fd00::1".parse().unwrap()];
    responder.set_links(
        now,
        vec![Link {
            index: 1,
            addresses,
        }],
    );
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 3) * 100);
        let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, kind & 3));
        let port = if kind & 4 == 0 { 5353 } else { 40_000 };
        let from = SocketAddr::new(from, port);
        responder.push(now, 1, from, datagram);
        responder.poll(now);
        for outgoing in responder.take() {
            assert!(outgoing.bytes.len() <= 1452);
            assert!(outgoing.to.is_none_or(|to| to == from));
            directory.push(now, SocketAddr::new(OWN.into(), 5353), 1, &outgoing.bytes);
        }
        directory.push(now, from, 1, datagram);
        for question in directory.poll(now) {
            assert!(question.len() <= 1452);
        }
        for service in directory.services() {
            let url = service.url().expect("it has an address");
            assert!(url.bytes().all(|b| b.is_ascii_graphic() && b != b'\''));
            assert!(!service.name.chars().any(char::is_control));
            assert!(service.name.chars().count() <= 128);
        }
    }
    // Of four hosts, 64 each.
    assert!(directory.services().count() <= 64 * 4);
    responder.end_all();
});
