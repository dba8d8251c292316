//! A third host on the LAN that forges packets, goodbyes, reports and announcements: the picture
//! stays the sender's, and nobody pays for what a stranger says.
#![cfg(feature = "send")]

mod attack;
mod common;

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use attack::{Attack, Scene};
use common::net::{Host, INTERFACE, Lan, SENDER_IP};
use common::process::Process;
use lancam::rtp::sap::{Packet, hash};

/// Nearly all frames are shown, and none of the attacker's.
fn the_stream_goes_on(test: &str, attack: Attack) {
    let Some(outcome) = attack::run(test, attack, 0) else {
        return;
    };
    // The last may be under way when the viewer stops.
    assert!(
        outcome.shown >= outcome.sent * 0.95 && outcome.strange == 0,
        "{attack:?}: {outcome:?}"
    );
}

#[test]
fn a_packet_ahead_of_each_frame_changes_nothing() {
    the_stream_goes_on("a_packet_ahead_of_each_frame", Attack::Poison);
}

#[test]
fn a_packet_far_ahead_makes_nothing_late() {
    the_stream_goes_on("a_packet_far_ahead", Attack::Ahead);
}

#[test]
fn packets_that_agree_elsewhere_are_no_restart() {
    the_stream_goes_on("packets_that_agree_elsewhere", Attack::Restart);
}

#[test]
fn a_stream_under_the_same_ssrc_is_not_shown() {
    the_stream_goes_on("a_stream_under_the_same_ssrc", Attack::Replace);
}

#[test]
fn a_forged_goodbye_replaces_nobody() {
    the_stream_goes_on("a_forged_goodbye", Attack::Goodbye);
}

/// One stranger's report of 25 % loss must not cost all others half as much again. Where nothing is
/// lost 2 to 3 % are sent.
#[test]
fn a_strangers_losses_do_not_raise_the_repair_of_all() {
    let share = attack::repair_by_a_stranger("a_strangers_losses");
    assert!(share.is_none_or(|share| share <= 0.12), "{share:?}");
}

/// Once 256 announcements of 4 KB from four addresses: RFC 2974 §3.1 would have the sender wait for
/// half an hour.
#[test]
fn a_flood_of_announcements_silences_nobody() {
    let test = "a_flood_of_announcements";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let _sender = scene.send("");
    next_of_sender(&announcements(&scene.lan.viewers[0]));
    flood(&scene.lan);
    // A socket that has heard nothing of before. The first may have been due before the flood.
    let hears = announcements(&scene.lan.viewers[0]);
    next_of_sender(&hears);
    let list = scene.lan.viewers[0].lancam("list --json --timeout 31");
    let mut list = Process::spawn("lancam list", list);
    let start = Instant::now();
    next_of_sender(&hears);
    let pause = start.elapsed();
    assert!(pause < Duration::from_secs(31), "announced after {pause:?}");
    list.succeed();
    let listed = list.printed().join("\n");
    assert!(listed.contains("\"porch\""), "{listed}");
}

/// RFC 2974 §3: for groups of global scope.
const SAP: (&str, u16) = ("224.2.127.254", 9875);

fn announcements(host: &Host) -> UdpSocket {
    host.inside(|| {
        let group = SAP.0.parse().unwrap();
        let any = (socket2::Domain::IPV4, socket2::Type::DGRAM);
        let socket = socket2::Socket::new(any.0, any.1, None).unwrap();
        // `lancam list` listens there too.
        socket.set_reuse_address(true).unwrap();
        let address: SocketAddr = format!("{}:{}", SAP.0, SAP.1).parse().unwrap();
        socket.bind(&address.into()).unwrap();
        let socket = UdpSocket::from(socket);
        socket
            .join_multicast_v4(&group, &std::net::Ipv4Addr::UNSPECIFIED)
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(45)))
            .unwrap();
        socket
    })
}

/// Waits for the next announcement of the sender's.
fn next_of_sender(hears: &UdpSocket) {
    let mut datagram = [0; 8192];
    loop {
        let heard = hears.recv_from(&mut datagram);
        let (_, from) = heard.expect("an announcement of the sender's");
        if from.ip().to_string() == SENDER_IP {
            return;
        }
    }
}

fn flood(lan: &Lan) {
    let host = &lan.viewers[1];
    for last in 10..14 {
        host.ip(&format!("address add 10.77.0.{last}/24 dev {INTERFACE}"));
    }
    host.inside(|| {
        for n in 0..256_u16 {
            let origin = format!("10.77.0.{}", 10 + n / 64);
            let sdp = format!(
                "v=0\r\no=- 7 1 IN IP4 {origin}\r\ns=x{n}\r\nc=IN IP4 224.9.{}.{}/1\r\nt=0 0\r\n\
                 a=tool:lancam\r\nm=video {} RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\na=z:{}\r\n",
                n / 8,
                n % 250 + 1,
                20_000 + 2 * n,
                "x".repeat(3_700)
            );
            let packet = Packet {
                is_deletion: false,
                hash: hash(sdp.as_bytes()),
                origin: origin.parse().unwrap(),
                sdp: sdp.as_bytes(),
            };
            let mut datagram = Vec::new();
            packet.write(&mut datagram);
            let socket = UdpSocket::bind((origin.as_str(), 0)).unwrap();
            socket.send_to(&datagram, SAP).unwrap();
            // As fast as receive buffers take it.
            thread::sleep(Duration::from_millis(5));
        }
    });
}
