//! Dialogues with the server, each answer checked against RFC 2326's text; and hostile bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::message::{MOST_BODY, MOST_HEAD};
use super::response::Status;
use super::server::{Answer, Delivery, MOST_MULTICAST, MOST_UNICAST, Peer, SessionId, TIMEOUT};
use super::{Flow, Incoming, Reader, Request, Response, Server, Stream};
use crate::clock::Mono;
use crate::rtp::rtcp::Description;
use crate::rtp::sdp::StreamDescription;

fn counting() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0xa0b0_c0d0_0000_0001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn streams() -> Vec<Stream> {
    let stream = |name: &str, destination: &str| Stream {
        name: name.to_owned(),
        size: Some((1280, 720)),
        framerate: Some(30.0),
        destination: destination.parse().unwrap(),
        ttl: 1,
        origin: "10.0.0.1".parse().ok(),
    };
    vec![
        stream("porch", "239.1.2.3:5000"),
        stream("barn door", "10.0.0.9:5000"),
        Stream {
            size: Some((3840, 2160)),
            origin: "10.0.0.5".parse().ok(),
            ..stream("roof", "232.1.2.3:6000")
        },
    ]
}

fn read(text: &str) -> Result<Option<Incoming>, super::message::Bad> {
    let mut reader = Reader::default();
    reader.push(text.as_bytes());
    reader.take()
}

fn request(text: &str) -> Request {
    match read(text) {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("{text:?} gave {other:?}"),
    }
}

/// A client of one server, with the number of its last request.
struct Client<'a> {
    server: &'a mut Server,
    peer: Peer,
    now: Mono,
    cseq: u32,
}

impl<'a> Client<'a> {
    fn new(server: &'a mut Server, connection: u64, from: &str) -> Client<'a> {
        Client {
            server,
            peer: Peer {
                connection,
                from: SocketAddr::new(from.parse().unwrap(), 40_000),
                local: "10.0.0.1:8554".parse().unwrap(),
            },
            now: Mono(1_000_000_000_000),
            cseq: 0,
        }
    }

    fn answer(&mut self, method: &str, path: &str, headers: &str) -> Answer {
        self.cseq += 1;
        let text = format!(
            "{method} {} RTSP/1.0\r\nCSeq: {}\r\n{headers}\r\n",
            match path {
                "*" => path.to_owned(),
                _ => format!("rtsp://10.0.0.1:8554{path}"),
            },
            self.cseq
        );
        (self.server).request(self.now, &self.peer, &request(&text), &streams())
    }

    /// The answer; what is to be delivered is forgotten.
    fn ask(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        let response = match self.answer(method, path, headers) {
            Answer::Respond(response) | Answer::End(response, _) | Answer::Play(response, _) => {
                response
            }
            Answer::Pause(response, id) => {
                self.server.paused(id, flow());
                response
            }
            Answer::OpenPorts(setup) => self.server.set_up(*setup, Some(50_000)).0,
        };
        let reply = Reply::of(&response);
        // RFC 2326 §12.17: "the corresponding response ... contains the same number".
        assert_eq!(reply.header("CSeq"), Some(self.cseq.to_string()));
        reply
    }

    /// Sets a session up and returns its header.
    fn set_up(&mut self, path: &str, transport: &str) -> String {
        let reply = self.ask("SETUP", path, &format!("Transport: {transport}\r\n"));
        assert_eq!(reply.status, 200, "{transport}");
        format!("Session: {}\r\n", reply.header("Session").unwrap())
    }
}

fn server() -> Server {
    Server::new(Description::default(), counting)
}

fn flow() -> Flow {
    Flow::new(counting, Description::default())
}

/// An answer as a client reads it.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn of(response: &Response) -> Reply {
        let text = String::from_utf8(response.to_bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut words = head.split(' ');
        // RFC 2326 §7.1: Status-Line.
        assert_eq!(words.next(), Some("RTSP/1.0"));
        let status = words.next().unwrap().parse().unwrap();
        assert_eq!(response.status().code(), status);
        Reply {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().skip(1);
        let line = lines.find(|line| line.starts_with(&format!("{name}: ")))?;
        Some(line[name.len() + 2..].to_owned())
    }
}

const UDP: &str = "RTP/AVP;unicast;client_port=20000-20001";
const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";
const GROUP: &str = "RTP/AVP;multicast";

#[test]
fn a_whole_dialogue() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let options = client.ask("OPTIONS", "/porch", "");
    assert!(options.header("Public").unwrap().contains("GET_PARAMETER"));

    let description = client.ask("DESCRIBE", "/porch", "Accept: application/sdp\r\n");
    assert_eq!(
        description.header("Content-Type").unwrap(),
        "application/sdp"
    );
    let length = description.header("Content-Length").unwrap();
    assert_eq!(length, description.body.len().to_string());
    let base = description.header("Content-Base").unwrap();
    assert_eq!(base, "rtsp://10.0.0.1:8554/porch/");
    let expected = "v=0\r\n\
        o=- 1 1000 IN IP4 10.0.0.1\r\n\
        s=porch\r\n\
        c=IN IP4 0.0.0.0\r\n\
        t=0 0\r\n\
        a=tool:lancam\r\n\
        a=control:*\r\n\
        m=video 0 RTP/AVP 26\r\n\
        a=rtpmap:26 JPEG/90000\r\n\
        a=framerate:30\r\n\
        a=framesize:26 1280-720\r\n\
        a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\n\
        a=extmap:2 urn:x-lancam:picture-size\r\n\
        a=control:trackID=0\r\n";
    assert_eq!(description.body, expected);

    let setup = client.ask(
        "SETUP",
        "/porch/trackID=0",
        &format!("Transport: {UDP}\r\n"),
    );
    let transport = setup.header("Transport").unwrap();
    let (known, ssrc) = transport.rsplit_once(";ssrc=").unwrap();
    assert_eq!(
        known,
        "RTP/AVP;unicast;client_port=20000-20001;server_port=50000-50001"
    );
    assert_eq!(ssrc.len(), 8);
    let (id, timeout) = (setup.header("Session").unwrap().split_once(';'))
        .map(|(id, timeout)| (id.to_owned(), timeout.to_owned()))
        .unwrap();
    // §3.4: "at least 8 octets long".
    assert_eq!((id.len(), timeout.as_str()), (16, "timeout=60"));

    let session = format!("Session: {id}\r\n");
    let Answer::Play(response, play) = client.answer(
        "PLAY",
        "/porch/",
        &format!("{session}Range: npt=0-\r\nScale: 2\r\n"),
    ) else {
        panic!("nothing is played");
    };
    let to = |port| SocketAddr::new("10.0.0.7".parse().unwrap(), port);
    let (rtp, rtcp) = (to(20_000), to(20_001));
    assert_eq!(
        (play.delivery, play.stream.as_str()),
        (Delivery::Udp { rtp, rtcp }, "porch")
    );
    assert_eq!(format!("{:08X}", play.flow.ssrc().0), ssrc);
    let reply = Reply::of(&response);
    assert_eq!(reply.header("Session").unwrap(), id);
    // §12.33, and §12.34: "MUST contain the actual scale value".
    let seq = play.flow.next_seq().0;
    let info = format!("url=rtsp://10.0.0.1:8554/porch/trackID=0;seq={seq}");
    assert_eq!(reply.header("RTP-Info").unwrap(), info);
    assert_eq!(reply.header("Range").unwrap(), "npt=now-");
    assert_eq!(reply.header("Scale").unwrap(), "1");

    let Answer::Pause(_, paused) = client.answer("PAUSE", "/porch/", &session) else {
        panic!("nothing is paused");
    };
    // Between the two nothing can begin.
    assert_eq!(client.ask("PLAY", "/porch/", &session).status, 455);
    client.server.paused(paused, play.flow);
    // §B: sequence numbers go on after a pause.
    let again = client.ask("PLAY", "/porch/", &session);
    assert_eq!(again.header("RTP-Info").unwrap(), info);

    let Answer::End(_, ended) = client.answer("TEARDOWN", "/porch/", &session) else {
        panic!("nothing is ended");
    };
    assert_eq!((ended, ended.to_string()), (paused, id));
    assert_eq!(client.ask("PLAY", "/porch/", &session).status, 454);
    assert_eq!(server.counts(), (0, 0));
}

#[test]
fn a_group_is_played_without_numbers() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let description = client.ask("DESCRIBE", "/porch/multicast", "");
    let read = StreamDescription::parse(description.body.as_bytes()).unwrap();
    assert_eq!(read.addr, "239.1.2.3:5000".parse().unwrap());
    assert_eq!(
        description.header("Content-Base").unwrap(),
        "rtsp://10.0.0.1:8554/porch/multicast/"
    );
    let setup = client.ask(
        "SETUP",
        "/porch/multicast/trackID=0",
        &format!("Transport: {GROUP}\r\n"),
    );
    assert_eq!(
        setup.header("Transport").unwrap(),
        "RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001;ttl=1"
    );
    let session = format!("Session: {}\r\n", setup.header("Session").unwrap());
    let play = client.ask("PLAY", "/porch/multicast/", &session);
    assert_eq!((play.status, play.header("RTP-Info")), (200, None));
    assert_eq!(
        client.ask("PAUSE", "/porch/multicast/", &session).status,
        200
    );
    assert_eq!(client.ask("PLAY", "*", &session).status, 200);
    assert_eq!(client.server.counts(), (0, 1));
    // What another host sends is said to come from there.
    let reply = client.ask("SETUP", "/roof", &format!("Transport: {GROUP}\r\n"));
    let transport = reply.header("Transport").unwrap();
    assert!(transport.ends_with(";ttl=1;source=10.0.0.5"), "{transport}");
    let description = client.ask("DESCRIBE", "/roof/multicast", "");
    assert!(description.body.contains("a=x-dimensions:3840,2160\r\n"));
    assert!(
        description
            .body
            .contains("a=source-filter: incl IN IP4 232.1.2.3 10.0.0.5\r\n")
    );
}

#[test]
fn the_states_are_those_of_appendix_a() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let session = client.set_up("/porch", TCP);
    let setup = format!("{session}Transport: {UDP}\r\n");
    // Ready: another transport is possible, and nothing is there to pause.
    let reply = client.ask("PAUSE", "/porch", &session);
    // §11.3.5: "The response SHOULD contain an Allow header".
    assert!(reply.status == 455 && reply.header("Allow").is_some());
    let replaced = client.ask("SETUP", "/porch/trackID=0", &setup);
    assert!(
        replaced
            .header("Transport")
            .unwrap()
            .contains("server_port")
    );
    assert_eq!(client.server.counts(), (1, 0));
    // §10.4: one session has one stream.
    let other = client.ask("SETUP", "/barn%20door/trackID=0", &setup);
    assert_eq!(other.status, 459);
    // Playing.
    assert_eq!(client.ask("PLAY", "/porch", &session).status, 200);
    assert_eq!(client.ask("PLAY", "/porch", &session).status, 200);
    assert_eq!(client.ask("SETUP", "/porch/trackID=0", &setup).status, 455);
    assert_eq!(client.ask("PAUSE", "/porch", &session).status, 200);
    assert_eq!(client.ask("PAUSE", "/porch", &session).status, 455);
    // Another stream's address is not this session's.
    assert_eq!(client.ask("PLAY", "/roof", &session).status, 404);
    assert_eq!(client.ask("TEARDOWN", "/a/b", &session).status, 404);
    assert_eq!(client.ask("TEARDOWN", "/", &session).status, 200);
    assert_eq!(client.ask("TEARDOWN", "/", &session).status, 454);
}

#[test]
fn refusals() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let mut refused = |status, method, path, headers: &str| {
        let reply = client.ask(method, path, headers);
        assert_eq!(reply.status, status, "{method} {path} {headers}");
        reply
    };
    for path in [
        "/nowhere",
        "/porch/live",
        "/barn%20door/multicast",
        "/PORCH",
    ] {
        refused(404, "DESCRIBE", path, "");
        refused(404, "SETUP", path, &format!("Transport: {TCP}\r\n"));
    }
    refused(406, "DESCRIBE", "/porch", "Accept: application/rtsl\r\n");
    refused(
        200,
        "DESCRIBE",
        "/porch",
        "Accept: text/html, Application/SDP;q=0.5\r\n",
    );
    for transport in [
        "Transport: RTP/SAVP;unicast;client_port=20000\r\n",
        "Transport: RTP/AVP;unicast;destination=10.0.0.8;client_port=20000\r\n",
        "Transport: RTP/AVP;unicast;client_port=53-54\r\n",
        "",
    ] {
        refused(461, "SETUP", "/porch", transport);
    }
    let group = format!("Transport: {GROUP}\r\n");
    refused(461, "SETUP", "/barn%20door", &group);
    for method in ["PLAY", "PAUSE", "TEARDOWN"] {
        refused(454, method, "/porch", "");
        for session in ["0123456789ABCDEF", "x", "", "+123456789ABCDEF"] {
            refused(454, method, "/porch", &format!("Session: {session}\r\n"));
        }
    }
    let allowed = refused(405, "RECORD", "/porch", "");
    assert!(allowed.header("Allow").is_some());
    refused(405, "ANNOUNCE", "/porch", "");
    refused(501, "FROBNICATE", "/porch", "");
    // Methods are case-sensitive, says §6.1.
    refused(501, "describe", "/porch", "");
    let required = refused(551, "DESCRIBE", "/porch", "Require: implicit-play\r\n");
    assert_eq!(required.header("Unsupported").unwrap(), "implicit-play");
    refused(
        451,
        "GET_PARAMETER",
        "/porch",
        "Content-Length: 8\r\n\r\nposition",
    );
    refused(
        451,
        "SET_PARAMETER",
        "/porch",
        "Content-Length: 4\r\n\r\na: b",
    );
    refused(200, "GET_PARAMETER", "/porch", "");
    refused(200, "GET_PARAMETER", "*", "Content-Length: 2\r\n\r\n\r\n");
}

#[test]
fn a_request_without_a_number_is_refused() {
    let mut server = server();
    let client = Client::new(&mut server, 1, "10.0.0.7");
    for headers in ["", "CSeq: x\r\n", "CSeq: -1\r\n", "CSeq: 4294967296\r\n"] {
        let request = request(&format!("OPTIONS * RTSP/1.0\r\n{headers}\r\n"));
        let answer = client
            .server
            .request(client.now, &client.peer, &request, &streams());
        let Answer::Respond(response) = answer else {
            panic!("{headers}");
        };
        let reply = Reply::of(&response);
        assert_eq!((reply.status, reply.header("CSeq")), (400, None));
    }
}

#[test]
fn nobody_has_anothers_session() {
    let mut server = server();
    let session = Client::new(&mut server, 1, "10.0.0.7").set_up("/porch", UDP);
    let mut stranger = Client::new(&mut server, 2, "10.0.0.8");
    assert_eq!(stranger.ask("PLAY", "/porch", &session).status, 454);
    assert_eq!(stranger.ask("TEARDOWN", "/porch", &session).status, 454);
    let mut owner = Client::new(&mut server, 3, "10.0.0.7");
    assert_eq!(owner.ask("PLAY", "/porch", &session).status, 200);
}

#[test]
fn endless_setup_comes_to_an_end() {
    let mut server = server();
    let mut connection = 0;
    let mut statuses = |server: &mut Server, from: &str, transport: &str| -> Vec<u16> {
        let setup = format!("Transport: {transport}\r\n");
        let ask = |_| {
            connection += 1;
            let mut client = Client::new(server, connection, from);
            client.ask("SETUP", "/porch", &setup).status
        };
        (0..100).map(ask).collect()
    };
    let counted = |statuses: Vec<u16>| statuses.iter().filter(|s| **s == 200).count();
    assert_eq!(counted(statuses(&mut server, "10.0.0.7", UDP)), 4);
    assert_eq!(counted(statuses(&mut server, "10.0.0.8", TCP)), 4);
    let refused = statuses(&mut server, "10.0.0.9", TCP);
    assert!(refused.iter().all(|s| *s == 503), "{refused:?}");
    for host in 0..4 {
        let got = counted(statuses(&mut server, &format!("10.0.1.{host}"), GROUP));
        assert_eq!(got, 16);
    }
    assert_eq!(counted(statuses(&mut server, "10.0.1.99", GROUP)), 0);
    assert_eq!(server.counts(), (MOST_UNICAST, MOST_MULTICAST));
    // All of it goes with their connections.
    let close_all = |server: &mut Server| (0..2000).for_each(|n| drop(server.closed(n)));
    close_all(&mut server);
    assert_eq!(server.counts(), (0, 0));
    // One host has many addresses by IPv6; its own programs may have all places.
    let mut got = 0;
    for n in 0..9 {
        got += counted(statuses(&mut server, &format!("2001:db8::{n}"), UDP));
    }
    assert_eq!(got, 4);
    assert_eq!(counted(statuses(&mut server, "127.0.0.1", TCP)), 4);
    close_all(&mut server);
    assert_eq!(counted(statuses(&mut server, "::1", TCP)), MOST_UNICAST);
}

#[test]
fn a_player_that_is_killed_again_and_again_finds_room() {
    let mut server = server();
    let mut sessions = Vec::new();
    for connection in 0..20 {
        let mut client = Client::new(&mut server, connection, "10.0.0.7");
        client.now = client.now + Duration::from_secs(connection);
        let session = client.set_up("/porch", UDP);
        client.ask("PLAY", "/porch", &session);
        sessions.push(SessionId::parse(&session["Session: ".len()..]).unwrap());
        assert!(server.closed(connection).is_empty());
    }
    assert_eq!(server.counts(), (4, 0));
    // The oldest have gone, and are reported once.
    assert_eq!(server.expire(Mono(1_000_000_000_000)), sessions[..16]);
    assert!(server.expire(Mono(1_000_000_000_000)).is_empty());
}

#[test]
fn one_connection_interleaves_one_stream() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let session = client.set_up("/porch", TCP);
    let setup = format!("Transport: {TCP}\r\n");
    assert_eq!(client.ask("SETUP", "/porch", &setup).status, 461);
    assert_eq!(client.ask("TEARDOWN", "/porch", &session).status, 200);
    assert_eq!(client.ask("SETUP", "/porch", &setup).status, 200);
}

/// Sessions at 66 s, after one sign of life each at the start.
#[test]
fn sessions_without_a_sign_of_life_are_over() {
    let mut server = server();
    let start = Mono(1_000_000_000_000);
    let later = |seconds| start + Duration::from_secs(seconds);
    let play = |server: &mut Server, connection, transport| -> SessionId {
        let mut client = Client::new(server, connection, "10.0.0.7");
        let session = client.set_up("/porch", transport);
        let answer = client.answer("PLAY", "/porch", &session);
        assert!(matches!(answer, Answer::Play(..) | Answer::Respond(..)));
        SessionId::parse(&session["Session: ".len()..]).unwrap()
    };
    let (udp, tcp, group) = (
        play(&mut server, 1, UDP),
        play(&mut server, 2, TCP),
        play(&mut server, 3, GROUP),
    );
    // RTCP keeps a UDP session, and so do requests.
    server.alive(later(50), udp);
    assert!(server.expire(later(66)).is_empty());
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    client.now = later(100);
    let session = format!("Session: {udp};timeout=60\r\n");
    assert_eq!(client.ask("GET_PARAMETER", "/porch", &session).status, 200);
    assert!(server.expire(later(160)).is_empty());
    assert_eq!(
        server.expire(later(100) + TIMEOUT + Duration::from_secs(6)),
        [udp]
    );
    // Open connections keep the others; without them, time or the end does.
    assert_eq!(server.counts(), (1, 1));
    assert_eq!(server.closed(2), [tcp]);
    assert!(server.closed(3).is_empty());
    assert_eq!(server.expire(later(200)), [group]);
}

#[test]
fn a_ready_session_ends_with_its_connection() {
    let mut server = server();
    for (connection, transport) in [(1, UDP), (2, GROUP), (3, TCP)] {
        Client::new(&mut server, connection, "10.0.0.7").set_up("/porch", transport);
        assert_eq!(server.closed(connection).len(), 1);
    }
    assert_eq!(server.counts(), (0, 0));
}

#[test]
fn no_ports_are_no_session() {
    let mut server = server();
    let mut client = Client::new(&mut server, 1, "10.0.0.7");
    let answer = client.answer("SETUP", "/porch", &format!("Transport: {UDP}\r\n"));
    let Answer::OpenPorts(setup) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(server.set_up(*setup, None).0.status(), Status::Unavailable);
    assert_eq!(server.counts(), (0, 0));
}

#[test]
fn requests_and_frames_come_in_any_pieces() {
    let text = "\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc\
        $\x01\x00\x05RTCP!$\x00\x00\x00\r\nPLAY rtsp://h/ RTSP/1.0\r\ncseq:2\r\n\r\n";
    let expected = ["OPTIONS 1", "channel 1", "channel 0", "PLAY 2"];
    for piece in 1..text.len() {
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            reader.push(bytes);
            while let Some(incoming) = reader.take().unwrap() {
                got.push(match incoming {
                    Incoming::Request(r) => format!("{} {}", r.method_name(), r.cseq().unwrap()),
                    Incoming::Interleaved { channel } => format!("channel {channel}"),
                });
            }
        }
        assert_eq!(got, expected, "in pieces of {piece}");
        assert!(!reader.is_within());
    }
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let refused = |text: &str, status: u16, cseq: Option<&str>| {
        let reply = Reply::of(&read(text).unwrap_err().response());
        assert_eq!(reply.status, status, "{text:?}");
        assert_eq!(reply.header("CSeq").as_deref(), cseq);
        assert_eq!(reply.header("Connection").as_deref(), Some("close"));
    };
    refused("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, None);
    refused("OPTIONS * RTSP/2.0\r\nCSeq: 7\r\n\r\n", 505, Some("7"));
    refused("OPTIONS * RTSP/1.1\r\nCSeq: 7\r\n\r\n", 505, Some("7"));
    refused("RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n", 400, Some("7"));
    refused("OPTIONS /porch RTSP/1.0\r\nCSeq: 7\r\n\r\n", 400, Some("7"));
    refused("OPTIONS * RTSP/1.0\r\nCSeq 7\r\n\r\n", 400, None);
    refused(
        "X * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: -1\r\n\r\n",
        400,
        Some("7"),
    );
    let long = format!(
        "X * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: {}\r\n\r\n",
        MOST_BODY + 1
    );
    refused(&long, 413, Some("7"));
    refused(&"A".repeat(MOST_HEAD), 400, None);
    refused(
        &format!("X * RTSP/1.0\r\n{}\r\n", "a: b\r\n".repeat(100)),
        400,
        None,
    );
    refused("\0\u{1}\u{2}\r\n\r\n", 400, None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(pieces in prop::collection::vec("[$\r\n -~]{0,40}", 0..9)) {
        let mut reader = Reader::default();
        for piece in &pieces {
            reader.push(piece.as_bytes());
            while let Ok(Some(_)) = reader.take() {}
        }
    }

    #[test]
    fn any_headers_are_answered(
        method in "(OPTIONS|DESCRIBE|SETUP|PLAY|PAUSE|TEARDOWN|GET_PARAMETER)",
        path in "[!-~]{0,20}",
        headers in prop::collection::vec("(Transport|Session|Accept|Require): [ -~]{0,60}\r\n", 0..4),
    ) {
        let text = format!("{method} rtsp://h/{path} RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", headers.concat());
        let Ok(Some(Incoming::Request(request))) = read(&text) else {
            return Ok(());
        };
        let mut server = server();
        let client = Client::new(&mut server, 1, "10.0.0.7");
        let answer = client.server.request(client.now, &client.peer, &request, &streams());
        let response = match answer {
            Answer::OpenPorts(setup) => server.set_up(*setup, Some(9)).0,
            Answer::Respond(response) | Answer::Play(response, _) => response,
            Answer::Pause(response, _) | Answer::End(response, _) => response,
        };
        let reply = Reply::of(&response);
        prop_assert!(reply.head.lines().all(|line| !line.contains(char::is_control)));
    }
}
