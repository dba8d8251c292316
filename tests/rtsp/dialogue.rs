//! Dialogues by RFC 2326, with what is played in them: numbers, reports, pauses, the end.

use std::io::ErrorKind;
use std::net::UdpSocket;

use lancam::rtp::rtcp::{Item, parse};
use nix::sys::signal::Signal;
use rtp_types::RtpPacket;

use super::client::{Client, Reply};
use super::common::net::can_enter;
use super::common::{PATIENCE, wait_for};
use super::{Frames, Scene, assert_in_order};

/// Puts packets together to frames, and checks their numbers.
struct Receiver {
    ssrc: u32,
    next: Option<u16>,
    time: Option<u32>,
    frames: Frames,
}

impl Receiver {
    /// By the answers to SETUP and PLAY.
    fn new(setup: &Reply, play: &Reply) -> Receiver {
        Receiver {
            ssrc: u32::from_str_radix(setup.transport("ssrc"), 16).unwrap(),
            next: Some(first_seq(play)),
            time: None,
            frames: Frames::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let packet = RtpPacket::parse(bytes).unwrap();
        assert_eq!((packet.ssrc(), packet.payload_type()), (self.ssrc, 26));
        // RFC 2326 §12.33: seq is the first packet's number; nothing is lost on this wire, and a
        // frame that is left out has no numbers.
        let expected = self.next.unwrap_or(packet.sequence_number());
        assert_eq!(packet.sequence_number(), expected);
        self.next = Some(expected.wrapping_add(1));
        if let Some(time) = self.time.replace(packet.timestamp()) {
            let step = packet.timestamp().wrapping_sub(time);
            assert!(step < 90_000, "a step of {step}");
        }
        self.frames.take(bytes);
    }
}

fn first_seq(play: &Reply) -> u16 {
    let info = play.header("RTP-Info");
    let seq = info.split(';').find_map(|part| part.strip_prefix("seq="));
    seq.unwrap_or_else(|| panic!("{info}")).parse().unwrap()
}

fn in_scene(test: &str, work: impl FnOnce(&mut Scene)) {
    if !can_enter(test) {
        return;
    }
    if let Some(mut scene) = Scene::usual(test, &[]) {
        work(&mut scene);
    }
}

/// The sender report among these packets: wall clock and timestamp.
fn sender_info(packet: &[u8]) -> Option<(u64, u32, u32)> {
    let items = parse(packet).unwrap();
    items.iter().find_map(|item| match item {
        Item::Sender { info, .. } => Some((info.ntp.0, info.time.0, info.packets)),
        _ => None,
    })
}

#[test]
fn interleaved_by_the_rfc() {
    in_scene("interleaved_by_the_rfc", |scene| {
        let expected = &scene.expected;
        scene.net.viewer.inside(|| {
            let mut client = Client::connect(Scene::server());
            let options = client.get("OPTIONS", "/porch", "");
            for method in ["DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"] {
                assert!(options.header("Public").contains(method), "{options:?}");
            }
            let description = client.get("DESCRIBE", "/porch", "Accept: application/sdp\r\n");
            assert_eq!(description.header("Content-Base"), client.url("/porch/"));
            let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=6-7\r\n";
            let setup = client.get("SETUP", "/porch/trackID=0", transport);
            assert_eq!(setup.transport("interleaved"), "6-7");
            let session = setup.session();
            let play = client.get("PLAY", "/porch/", &session);
            let mut receiver = Receiver::new(&setup, &play);
            let mut report = None;
            while receiver.frames.whole.len() < 16 {
                match client.frame() {
                    (6, packet) => receiver.take(&packet),
                    (7, packet) => report = sender_info(&packet),
                    (channel, _) => panic!("channel {channel}"),
                }
            }
            assert_in_order("interleaved", expected, &receiver.frames.whole);
            // RFC 3550 §6.4.1: the report is about this clock.
            let (_, time, packets) = report.expect("a sender report");
            let distance = time.wrapping_sub(receiver.time.unwrap()) as i32;
            assert!(distance.abs() < 3 * 90_000, "{distance}");
            assert!(packets > 0);
            // A sign of life, as live555 sends it, is no request.
            client.send(b"$\x07\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x01");
            client.get("GET_PARAMETER", "/porch/", &session);

            // What came before the answer is a whole number of frames; nothing comes behind it.
            client.get("PAUSE", "/porch/", &session);
            while client.kept() > 0 {
                if let (6, packet) = client.frame() {
                    receiver.take(&packet);
                }
            }
            let whole = receiver.frames.whole.len();
            client.get("OPTIONS", "/porch/", &session);
            assert_eq!(client.kept(), 0);
            // RFC 2326 §B: numbers go on.
            let again = client.get("PLAY", "/porch/", &session);
            assert_eq!(Some(first_seq(&again)), receiver.next);
            receiver.time = None;
            while receiver.frames.whole.len() < whole + 8 {
                if let (6, packet) = client.frame() {
                    receiver.take(&packet);
                }
            }
            client.get("TEARDOWN", "/porch/", &session);
            assert_eq!(client.ask("PLAY", "/porch/", &session).status, 454);
        });
    });
}

#[test]
fn udp_by_the_rfc() {
    in_scene("udp_by_the_rfc", |scene| {
        let expected = &scene.expected;
        scene.net.viewer.inside(|| {
            let mut client = Client::connect(Scene::server());
            let bind = |port| UdpSocket::bind((client.local().ip(), port)).unwrap();
            let (rtp, rtcp) = (bind(0), bind(0));
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            let ports = [&rtp, &rtcp].map(|socket| socket.local_addr().unwrap().port());
            let transport = format!(
                "Transport: RTP/AVP;unicast;client_port={}-{}\r\n",
                ports[0], ports[1]
            );
            let setup = client.get("SETUP", "/porch/trackID=0", &transport);
            let (first, second) = setup.transport("server_port").split_once('-').unwrap();
            let server: [u16; 2] = [first, second].map(|port| port.parse().unwrap());
            // RFC 3550 §11: an even port and the next one.
            assert_eq!((server[0] % 2, server[1]), (0, server[0] + 1));
            let session = setup.session();
            let play = client.get("PLAY", "/porch/", &session);
            let mut receiver = Receiver::new(&setup, &play);
            let mut buffer = vec![0; 65_536];
            let mut next = |socket: &UdpSocket, port| {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(from, (Scene::server().ip(), port).into());
                buffer[..len].to_vec()
            };
            while receiver.frames.whole.len() < 16 {
                receiver.take(&next(&rtp, server[0]));
            }
            assert_in_order("UDP", expected, &receiver.frames.whole);
            assert!(sender_info(&next(&rtcp, server[1])).is_some());

            // Once the pause is answered, nothing is sent. Two dialogues later the kernel of a veth
            // pair has delivered all that was.
            client.get("PAUSE", "/porch/", &session);
            rtp.set_nonblocking(true).unwrap();
            let mut left = [0; 2048];
            while rtp.recv(&mut left).is_ok() {}
            client.get("OPTIONS", "/porch/", "");
            client.get("OPTIONS", "/porch/", "");
            assert_eq!(
                rtp.recv(&mut left).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
            client.get("PLAY", "/porch/", &session);
            rtp.set_nonblocking(false).unwrap();
            next(&rtp, server[0]);
            client.get("TEARDOWN", "/porch/", &session);
        });
        let status = scene.status();
        assert_eq!(status["rtsp"]["sessions"], 0, "{status}");
    });
}

#[test]
fn a_server_that_ends_says_goodbye() {
    in_scene("a_server_that_ends_says_goodbye", |scene| {
        let (rtcp, _client) = scene.net.viewer.inside(|| {
            let mut client = Client::connect(Scene::server());
            let rtcp = UdpSocket::bind((client.local().ip(), 40_001)).unwrap();
            rtcp.set_read_timeout(Some(PATIENCE)).unwrap();
            let transport = "Transport: RTP/AVP;unicast;client_port=40000-40001\r\n";
            let setup = client.get("SETUP", "/", transport);
            client.get("PLAY", "/", &setup.session());
            (rtcp, client)
        });
        scene.sender.stop(Signal::SIGTERM);
        let mut buffer = [0; 2048];
        loop {
            let len = rtcp.recv(&mut buffer).expect("no goodbye");
            let items = parse(&buffer[..len]).unwrap();
            if items.iter().any(|item| matches!(item, Item::Bye { .. })) {
                return;
            }
        }
    });
}

#[test]
fn a_session_outlives_its_connection_and_a_relay_keeps_it() {
    in_scene(
        "a_session_outlives_its_connection_and_a_relay_keeps_it",
        |scene| {
            scene.net.viewer.inside(|| {
                let mut first = Client::connect(Scene::server());
                let transport = "Transport: RTP/AVP;multicast\r\n";
                let setup = first.get("SETUP", "/porch", transport);
                let session = setup.session();
                first.get("PLAY", "/porch", &session);
                drop(first);
                let mut second = Client::connect(Scene::server());
                second.get("GET_PARAMETER", "/porch", &session);
                second.get("TEARDOWN", "/porch", &session);
            });
            wait_for("no session", || {
                (scene.status()["rtsp"]["multicast_sessions"] == 0).then_some(())
            });
        },
    );
}
