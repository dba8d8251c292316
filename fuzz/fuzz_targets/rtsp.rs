//! Any bytes on the connections of an RTSP server: no panic, no endless work, no session too many,
//! and nothing is sent to another host or to a port of the system.
//!
//! Input: records of one byte (connection in the lowest two bits, seconds since the one before in
//! the rest), two bytes of length (big endian), what came.
#![no_main]

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use lancam::clock::{Mono, Ntp};
use lancam::rtp::rtcp::Description;
use lancam::rtsp::server::{Answer, Delivery, MOST_MULTICAST, MOST_UNICAST, Peer};
use lancam::rtsp::{Incoming, Reader, Response, Server, Stream};
use libfuzzer_sys::fuzz_target;

thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });

/// Known numbers, so that the input can name sessions.
fn counted() -> u64 {
    NEXT.with(|next| {
        next.set(next.get() + 1);
        next.get()
    })
}

fuzz_target!(|data: &[u8]| {
    NEXT.with(|next| next.set(0));
    let stream = |name: &str, destination| Stream {
        name: name.to_owned(),
        size: Some((3840, 2160)),
        framerate: Some(30.0),
        destination: SocketAddr::from((destination, 5000)),
        ttl: 1,
        origin: Some([10, 0, 0, 9].into()),
    };
    let streams = [
        stream("porch", [239, 1, 2, 3]),
        stream("barn door", [10, 0, 0, 3]),
    ];
    let mut server = Server::new(Description::default(), counted);
    let mut readers = [(); 4].map(|()| Reader::default());
    let mut now = Mono(1_000_000_000);
    let mut rest = data;
    while let [first, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (bytes, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_secs(u64::from(first >> 2));
        let number = usize::from(first & 3);
        let peer = Peer {
            connection: number as u64,
            // Two connections of one host.
            from: SocketAddr::from(([10, 0, 0, 2 + first % 4 / 2], 40_000)),
            local: SocketAddr::from(([10, 0, 0, 1], 8554)),
        };
        let reader = &mut readers[number];
        reader.push(bytes);
        loop {
            match reader.take() {
                Ok(Some(Incoming::Request(request))) => {
                    let answer = server.request(now, &peer, &request, &streams);
                    check(&finish(&mut server, answer, &peer));
                }
                Ok(Some(Incoming::Interleaved { .. })) => {}
                Ok(None) => break,
                Err(bad) => {
                    check(&bad.response());
                    server.closed(peer.connection);
                    *reader = Reader::default();
                    break;
                }
            }
        }
        server.expire(now);
        let (unicast, multicast) = server.counts();
        assert!(unicast <= MOST_UNICAST && multicast <= MOST_MULTICAST);
    }
});

/// Does what the answer asks for.
fn finish(server: &mut Server, answer: Answer, peer: &Peer) -> Response {
    match answer {
        Answer::Respond(response) | Answer::End(response, _) | Answer::Pause(response, _) => {
            response
        }
        Answer::Play(response, mut play) => {
            assert!(play.flow.report(Mono(1), Ntp(1)).is_some());
            if let Delivery::Udp { rtp, rtcp } = play.delivery {
                assert!(
                    [rtp, rtcp]
                        .iter()
                        .all(|to| to.ip() == peer.from.ip() && to.port() >= 1024)
                );
            }
            // Given back at once: so that a pause and another start are possible.
            server.paused(play.session, play.flow);
            response
        }
        Answer::OpenPorts(setup) => server.set_up(*setup, Some(50_000)).0,
    }
}

fn check(response: &Response) {
    let bytes = response.to_bytes();
    let text = std::str::from_utf8(&bytes).expect("an answer is text");
    let (head, _) = text.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(
        head.split("\r\n")
            .all(|line| !line.contains(char::is_control))
    );
}
