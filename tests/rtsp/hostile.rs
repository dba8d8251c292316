//! Clients that mean no good: each is refused, counted and bounded, and another one's picture goes
//! on.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Client;
use super::common::net::{SENDER_IP, VIEWER_IP, can_enter};
use super::common::pixels::Planes;
use super::common::{PATIENCE, number, wait_for};
use super::{Frames, Scene, assert_in_order};

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

fn in_scene(test: &str, work: impl FnOnce(&Scene)) {
    if !can_enter(test) {
        return;
    }
    if let Some(scene) = Scene::usual(test, &[]) {
        work(&scene);
    }
}

/// A client that plays by TCP.
fn playing() -> Client {
    let mut client = Client::connect(Scene::server());
    let setup = client.get("SETUP", "/porch", TCP);
    client.get("PLAY", "/porch", &setup.session());
    client
}

/// The next `count` frames: packets up to each marker.
fn frames(client: &mut Client, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Frames::default();
    while frames.whole.len() < count {
        if let (0, packet) = client.frame() {
            frames.take(&packet);
        }
    }
    frames.whole
}

fn rtsp(status: &Value, key: &str) -> f64 {
    number(&status["rtsp"], key)
}

/// Memory and open descriptors of the sender.
fn cost(scene: &Scene) -> (u64, usize) {
    let process = format!("/proc/{}", scene.sender.pid());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    (
        memory,
        fs::read_dir(format!("{process}/fd")).unwrap().count(),
    )
}

#[test]
fn a_stalled_client_loses_whole_frames_and_costs_nobody_else_any() {
    in_scene(
        "a_stalled_client_loses_whole_frames_and_costs_nobody_else_any",
        |scene| {
            scene.net.viewer.inside(|| {
                let mut stalled = playing();
                let mut good = playing();
                let before = scene.status();
                let received = frames(&mut good, 20);
                assert_in_order("beside a stalled client", &scene.expected, &received);
                // The kernels hold some of the stalled one's frames, then they are left out.
                let mut more = Vec::new();
                wait_for("frames that are left out", || {
                    more = frames(&mut good, 8);
                    let left_out = rtsp(&scene.status(), "frames_skipped");
                    (left_out > rtsp(&before, "frames_skipped") + 5.0).then_some(())
                });
                assert_in_order("beside a stalled client", &scene.expected, &more);
                // What it reads at last are whole frames, in order, with numbers without a gap.
                for jpeg in frames(&mut stalled, 30) {
                    let got = Planes::decode(&jpeg);
                    assert!(scene.expected.contains(&got), "another picture");
                }
            });
        },
    );
}

#[test]
fn who_takes_nothing_is_disconnected() {
    in_scene("who_takes_nothing_is_disconnected", |scene| {
        scene.net.viewer.inside(|| {
            let _stalled = playing();
            wait_for("the end of its session", || {
                (rtsp(&scene.status(), "sessions") == 0.0).then_some(())
            });
        });
    });
}

#[test]
fn the_server_is_no_cannon() {
    in_scene("the_server_is_no_cannon", |scene| {
        scene.net.viewer.inside(|| {
            let mut client = Client::connect(Scene::server());
            for transport in [
                format!("RTP/AVP;unicast;destination={SENDER_IP};client_port=40000-40001"),
                "RTP/AVP;unicast;destination=10.77.0.99;client_port=40000-40001".to_owned(),
                "RTP/AVP;multicast;destination=239.9.9.9;port=40000-40001".to_owned(),
                "RTP/AVP;unicast;client_port=22-23".to_owned(),
                "RTP/AVP;unicast;client_port=0-1".to_owned(),
            ] {
                let header = format!("Transport: {transport}\r\n");
                let reply = client.ask("SETUP", "/porch", &header);
                assert_eq!(
                    (reply.status, reply.has("Session")),
                    (461, false),
                    "{transport}"
                );
            }
            // Its own address is one that it may name.
            let own = format!(
                "Transport: RTP/AVP;unicast;destination={VIEWER_IP};client_port=40000-40001\r\n"
            );
            client.get("SETUP", "/porch", &own);
        });
        assert!(rtsp(&scene.status(), "refused_requests") >= 5.0);
    });
}

#[test]
fn endless_setup_ends() {
    in_scene("endless_setup_ends", |scene| {
        let (memory, descriptors) = cost(scene);
        scene.net.viewer.inside(|| {
            let mut statuses = Vec::new();
            let mut client = Client::connect(Scene::server());
            for n in 0..2000 {
                let transport = match n % 2 {
                    0 => "Transport: RTP/AVP;unicast;client_port=40000-40001\r\n",
                    _ => "Transport: RTP/AVP;multicast\r\n",
                };
                statuses.push(client.ask("SETUP", "/porch", transport).status);
            }
            let count = |status| statuses.iter().filter(|s| **s == status).count();
            assert_eq!(count(200) + count(503), statuses.len());
            assert!(count(200) < 32, "{} sessions", count(200));
        });
        // They have gone with the connection.
        wait_for("no sessions", || {
            let status = scene.status();
            let left = rtsp(&status, "sessions") + rtsp(&status, "multicast_sessions");
            (left == 0.0).then_some(())
        });
        let (after, now_open) = cost(scene);
        assert!(
            after < memory + 4096 && now_open <= descriptors + 2,
            "{after} KB, {now_open}"
        );
    });
}

#[test]
fn ten_thousand_connections() {
    in_scene("ten_thousand_connections", |scene| {
        let (memory, descriptors) = cost(scene);
        scene.net.viewer.inside(|| {
            let watching = Arc::new(AtomicBool::new(true));
            let (mut good, goes_on) = (playing(), Arc::clone(&watching));
            let watcher = thread::spawn(move || {
                let mut received = Vec::new();
                while goes_on.load(Ordering::Relaxed) || received.len() < 16 {
                    received.extend(frames(&mut good, 8));
                }
                received
            });
            let mut open = Vec::new();
            for n in 0..10_000 {
                let mut socket = TcpStream::connect(Scene::server()).unwrap();
                if n % 3 == 0 {
                    let _ = socket.write_all(b"OPTIONS * RTSP/1.0\r\n");
                }
                open.push(socket);
                if open.len() == 500 {
                    open.clear();
                }
                if n % 1000 == 0 {
                    let (_, now_open) = cost(scene);
                    assert!(now_open < descriptors + 110, "{now_open} descriptors");
                }
            }
            watching.store(false, Ordering::Relaxed);
            let received = watcher.join().unwrap();
            assert_in_order("beside a flood", &scene.expected, &received);
            drop(open);
            // There is room again.
            wait_for("room", || {
                let mut client = Client::connect(Scene::server());
                client.send(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
                client.reply().filter(|reply| reply.status == 200)
            });
        });
        assert!(rtsp(&scene.status(), "refused_connections") > 5000.0);
        let (after, _) = cost(scene);
        assert!(after < memory + 8192, "{after} KB, before {memory}");
    });
}

#[test]
fn a_request_must_come_to_its_end() {
    in_scene("a_request_must_come_to_its_end", |scene| {
        scene.net.viewer.inside(|| {
            let start = Instant::now();
            let mut slow = TcpStream::connect(Scene::server()).unwrap();
            slow.set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let mut byte = [0];
            // A byte now and then: each is a sign of life, and none of a request.
            let ended = wait_for("the end of a slow client", || {
                let _ = slow.write_all(b"A");
                match slow.read(&mut byte) {
                    Ok(0) => Some(start.elapsed()),
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                        Some(start.elapsed())
                    }
                    _ => None,
                }
            });
            assert!(ended > Duration::from_secs(4), "after {ended:?}");
        });
        assert_eq!(rtsp(&scene.status(), "refused_requests"), 1.0);
    });
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    in_scene("garbage_ends_the_connection_and_nothing_else", |scene| {
        scene.net.viewer.inside(|| {
            let mut good = playing();
            let long = "A".repeat(20_000);
            let body = "X * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n";
            for (garbage, status) in [
                ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
                ("OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505),
                ("\u{0}\u{1}\u{2}\r\n\r\n", 400),
                (&long, 400),
                (body, 400),
            ] {
                let mut client = Client::connect(Scene::server());
                client.send(garbage.as_bytes());
                assert_eq!(client.reply().map(|reply| reply.status), Some(status));
                client.assert_over();
            }
            // Without a number: refused, and the connection goes on.
            let mut client = Client::connect(Scene::server());
            client.send(b"OPTIONS * RTSP/1.0\r\n\r\n");
            assert_eq!(client.reply().unwrap().status, 400);
            client.get("OPTIONS", "/porch", "");
            // Frames that nobody asked for are skipped, the longest ones too.
            for len in [0_u16, 1, u16::MAX] {
                let mut frame = vec![b'$', 9];
                frame.extend(len.to_be_bytes());
                frame.resize(4 + usize::from(len), b'R');
                client.send(&frame);
            }
            client.get("OPTIONS", "/porch", "");
            assert_in_order("beside garbage", &scene.expected, &frames(&mut good, 8));
        });
    });
}

/// Reports keep a UDP session from their own host alone, and junk on that port does no harm.
#[test]
fn junk_on_the_report_port_does_no_harm() {
    in_scene("junk_on_the_report_port_does_no_harm", |scene| {
        scene.net.viewer.inside(|| {
            let mut client = Client::connect(Scene::server());
            let rtp = UdpSocket::bind((VIEWER_IP, 40_000)).unwrap();
            rtp.set_read_timeout(Some(PATIENCE)).unwrap();
            let transport = "Transport: RTP/AVP;unicast;client_port=40000-40001\r\n";
            let setup = client.get("SETUP", "/porch", transport);
            client.get("PLAY", "/porch", &setup.session());
            let (_, port) = setup.transport("server_port").split_once('-').unwrap();
            let junk = vec![0x81; 1400];
            for _ in 0..5000 {
                rtp.send_to(&junk, (SENDER_IP, port.parse().unwrap()))
                    .unwrap();
            }
            let mut buffer = [0; 2048];
            for _ in 0..50 {
                rtp.recv(&mut buffer).unwrap();
            }
            client.get("TEARDOWN", "/porch", &setup.session());
        });
    });
}
