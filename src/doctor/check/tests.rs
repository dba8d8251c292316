//! Facts as they are on real machines, broken one by one. What a network namespace can break is broken for real in
//! `tests/doctor.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::super::facts::{Bridge, Camera, Chosen, Ears, Filter, PortUser, Query, RpFilter, Wire};
use super::super::hearing::{Heard, Sender};
use super::super::report::Status;
use super::*;
use crate::clock::Mono;
use crate::net::host::{BufferLimits, ClockState};
use crate::net::igmp::Member;
use crate::net::{GroupError, Interface, Link};
use crate::rtp::Ssrc;
use crate::rtp::jpeg::Reception;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn wire0() -> Interface {
    Interface {
        name: "wire0".to_owned(),
        index: 2,
        is_up: true,
        is_running: true,
        is_multicast: true,
        is_loopback: false,
        addresses: vec![ip("10.77.0.2")],
        mtu: 1500,
        link: Link::Wired(1000),
    }
}

fn sender(ssrc: u32, first: u64, last: u64) -> Sender {
    Sender {
        ssrc: Ssrc(ssrc),
        from: ip("10.77.0.1"),
        packets: 100,
        first: Mono(first),
        last: Mono(last),
    }
}

/// A machine on which all is well.
fn healthy() -> Facts {
    let heard = Heard {
        packets: 900,
        bytes: 1_200_000,
        largest: 1472,
        payload_types: BTreeSet::from([26]),
        ttl: Some((1, 1)),
        frame_bytes: 100_000,
        senders: vec![sender(7, 0, 3_000_000_000)],
        counters: crate::stats::ViewerSnapshot {
            packets_received: 900,
            ..Default::default()
        },
        reception: Some(Reception {
            ssrc: Ssrc(7),
            highest: 900,
            expected: 900,
            received: 900,
            jitter: 90,
        }),
        whole: 91,
        whole_for: Duration::from_secs(3),
        packets_for: Duration::from_secs(3),
        ..Heard::default()
    };
    Facts {
        group: "224.3.29.71:10000".parse().unwrap(),
        announcement: Announcement::Heard {
            name: "porch".to_owned(),
        },
        chosen: Chosen::User,
        interfaces: vec![wire0()],
        interface: Ok(wire0()),
        route: Some("wire0".to_owned()),
        joined: Ok(()),
        members: vec![Member {
            interface: "wire0".to_owned(),
            group: ip("224.3.29.71"),
            users: 3,
        }],
        port_users: Vec::new(),
        ears: Ears {
            listened: Duration::from_secs(3),
            heard,
            overflowed: 0,
            rtcp: Some(2),
            repair: Some(30),
        },
        wire: Ok(Wire {
            packets: 20,
            bytes: 1_200_000,
            sources: vec![ip("10.77.0.1")],
            queries: vec![Query {
                from: ip("10.77.0.254"),
                version: 3,
            }],
            ..Wire::default()
        }),
        old_querier: None,
        bridge: None,
        limits: Some(BufferLimits {
            receive: 4 << 20,
            send: 4 << 20,
        }),
        rp_filter: Some(RpFilter {
            all: 0,
            interface: 1,
        }),
        ways_back: vec![(ip("10.77.0.1"), Some("wire0".to_owned()))],
        filter: Filter::default(),
        clock: Ok(ClockState {
            is_synchronised: true,
            max_error: Duration::from_micros(1500),
        }),
        cameras: Some(Ok(vec![Camera {
            device: "/dev/video0".to_owned(),
            stable: Some("/dev/v4l/by-id/usb-cam".to_owned()),
            problem: None,
        }])),
    }
}

/// Nothing comes.
fn silent() -> Facts {
    let mut facts = healthy();
    facts.ears.heard = Heard::default();
    facts.ears.rtcp = Some(0);
    facts.ears.repair = Some(0);
    facts.wire = Ok(Wire::default());
    facts
}

/// The check called `id`: its status, and what it says and advises.
fn line(facts: &Facts, id: &str) -> (Status, String) {
    let report = all(facts);
    let check = report.checks.iter().find(|c| c.id == id).unwrap();
    let advised = matches!(check.status, Status::Warn | Status::Fail);
    assert_eq!(check.advice.is_some(), advised, "{check:?}");
    let advice = check.advice.clone().unwrap_or_default();
    (check.status, format!("{} -> {advice}", check.what))
}

#[track_caller]
fn expect(facts: &Facts, id: &str, status: Status, words: &[&str]) {
    let (got, text) = line(facts, id);
    assert_eq!(got, status, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn all_is_well() {
    let report = all(&healthy());
    for check in &report.checks {
        assert_eq!(check.status, Status::Ok, "{check:?}");
    }
    assert!(report.watchable);
    let ids: BTreeSet<_> = report.checks.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), report.checks.len(), "an id stands for one check");
}

#[test]
fn silence_is_a_failure_and_the_rest_is_skipped() {
    let facts = silent();
    expect(
        &facts,
        "packets",
        Status::Fail,
        &["no packet", "is the sender running"],
    );
    for id in [
        "frames", "loss", "jitter", "ttl", "senders", "mtu", "rmem_max", "wmem_max", "rtcp",
        "repair",
    ] {
        assert_eq!(line(&facts, id).0, Status::Skip, "{id}");
    }
    assert!(!all(&facts).watchable);
}

#[test]
fn buffers_are_measured_by_the_stream_s_frames() {
    let mut facts = healthy();
    // The kernel's default, and 1080p.
    facts.limits = Some(BufferLimits {
        receive: 212_992,
        send: 212_992,
    });
    facts.ears.heard.frame_bytes = 300_000;
    expect(
        &facts,
        "rmem_max",
        Status::Warn,
        &[
            "212992 bytes hold 0.7 frames",
            "sysctl -w net.core.rmem_max=4194304",
        ],
    );
    // Small frames fit.
    facts.ears.heard.frame_bytes = 60_000;
    expect(&facts, "rmem_max", Status::Ok, &["3.5 frames"]);
    facts.ears.overflowed = 12;
    expect(
        &facts,
        "rmem_max",
        Status::Warn,
        &["the socket's buffer was full, 12 packets lost"],
    );
    facts.limits = None;
    expect(&facts, "rmem_max", Status::Skip, &[]);
}

#[test]
fn the_send_buffer_matters_where_this_machine_sends() {
    let mut facts = healthy();
    facts.limits = Some(BufferLimits {
        receive: 4 << 20,
        send: 212_992,
    });
    facts.ears.heard.frame_bytes = 300_000;
    expect(&facts, "wmem_max", Status::Ok, &["another machine"]);
    facts.interfaces[0].addresses.push(ip("10.77.0.1"));
    expect(
        &facts,
        "wmem_max",
        Status::Warn,
        &["sysctl -w net.core.wmem_max=600000"],
    );
}

#[test]
fn a_clock_that_nobody_keeps() {
    let mut facts = healthy();
    expect(&facts, "clock", Status::Ok, &["1.5 ms"]);
    facts.clock = Ok(ClockState {
        is_synchronised: false,
        max_error: Duration::from_secs(16),
    });
    expect(&facts, "clock", Status::Warn, &["relative", "NTP"]);
    facts.clock = Err("Operation not permitted".to_owned());
    expect(&facts, "clock", Status::Skip, &["not permitted"]);
}

#[test]
fn cameras_each_have_a_line() {
    let mut facts = healthy();
    facts.cameras = Some(Ok(vec![Camera {
        device: "/dev/video0".to_owned(),
        ..Camera::default()
    }]));
    expect(
        &facts,
        "camera",
        Status::Warn,
        &["no path in /dev/v4l/by-id"],
    );
    facts.cameras = Some(Ok(vec![Camera {
        problem: Some(
            "/dev/video0 may not be opened: let the user into the video group".to_owned(),
        ),
        ..Camera::default()
    }]));
    expect(
        &facts,
        "camera",
        Status::Fail,
        &["may not be opened -> let the user"],
    );
    facts.cameras = Some(Ok(Vec::new()));
    expect(&facts, "camera", Status::Skip, &["a viewer needs none"]);
    facts.cameras = Some(Err("a camera's driver does not answer".to_owned()));
    expect(&facts, "camera", Status::Skip, &["does not answer"]);
    facts.cameras = None;
    assert!(all(&facts).checks.iter().all(|c| c.id != "camera"));
}

#[test]
fn the_querier_by_all_its_signs() {
    let mut facts = healthy();
    expect(
        &facts,
        "querier",
        Status::Ok,
        &["IGMPv3 queries heard: 1, from 10.77.0.254"],
    );
    facts.wire = Ok(Wire::default());
    expect(
        &facts,
        "querier",
        Status::Warn,
        &["no IGMP query in 3 s", "--wait 130"],
    );
    facts.ears.listened = Duration::from_secs(130);
    let (_, text) = line(&facts, "querier");
    assert!(
        text.contains("there is no querier") && !text.contains("--wait"),
        "{text}"
    );
    facts.bridge = Some(Bridge {
        name: "br0".to_owned(),
        snoops: true,
        queries: false,
    });
    expect(
        &facts,
        "querier",
        Status::Warn,
        &["/sys/class/net/br0/bridge/multicast_querier"],
    );
    facts.bridge.as_mut().unwrap().queries = true;
    expect(&facts, "querier", Status::Ok, &["bridge br0"]);
    facts.bridge = None;
    facts.wire = Err("that needs the right CAP_NET_RAW".to_owned());
    expect(
        &facts,
        "querier",
        Status::Skip,
        &["CAP_NET_RAW", "forgets the group"],
    );
    facts.old_querier = Some(2);
    expect(&facts, "querier", Status::Ok, &["IGMPv2"]);
    facts.interface.as_mut().unwrap().link = Link::Loopback;
    expect(&facts, "querier", Status::Skip, &["loopback"]);
}

#[test]
fn the_filter_in_force_is_the_greater_one() {
    let mut facts = healthy();
    facts.ways_back[0].1 = Some("eth1".to_owned());
    expect(
        &facts,
        "rp_filter",
        Status::Warn,
        &["strict", "goes by eth1"],
    );
    facts.rp_filter = Some(RpFilter {
        all: 2,
        interface: 1,
    });
    expect(&facts, "rp_filter", Status::Ok, &["loose"]);
    facts.ways_back[0].1 = None;
    expect(&facts, "rp_filter", Status::Warn, &["does not exist"]);
    facts.ears.heard = Heard::default();
    expect(&facts, "rp_filter", Status::Fail, &["dropped"]);
    facts.interface.as_mut().unwrap().name = "eth0.7".to_owned();
    expect(
        &facts,
        "rp_filter",
        Status::Fail,
        &["net.ipv4.conf.eth0/7.rp_filter=0"],
    );
    facts.rp_filter = Some(RpFilter {
        all: 0,
        interface: 0,
    });
    expect(&facts, "rp_filter", Status::Ok, &["off"]);
    facts.rp_filter = None;
    expect(&facts, "rp_filter", Status::Skip, &[]);
}

/// A filter whose input chain drops by default.
fn dropping(tool: &'static str, table: &str, chain: &str, facts: &Facts) -> Filter {
    let text =
        format!("*{table}\n:INPUT ACCEPT\n:{chain} -\n-A INPUT -j {chain}\n-A {chain} -j DROP\n");
    let traffic = super::super::firewall::Traffic {
        to: facts.group,
        interface: "wire0".to_owned(),
        sources: Vec::new(),
    };
    Filter {
        rules: vec![(
            tool,
            super::super::firewall::Rules::from_iptables(&text, &traffic),
        )],
        unread: Vec::new(),
    }
}

#[test]
fn the_firewall_s_own_front_end_is_advised() {
    let mut facts = silent();
    facts.filter = dropping("iptables-save", "filter", "ufw-user-input", &facts);
    expect(
        &facts,
        "firewall",
        Status::Fail,
        &["sudo ufw allow 10000:10004/udp"],
    );
    facts.filter = dropping("iptables-save", "filter", "mine", &facts);
    expect(
        &facts,
        "firewall",
        Status::Fail,
        &["sudo iptables -t filter -I mine"],
    );
}

#[test]
fn packets_that_vanish_without_a_known_rule() {
    let mut facts = silent();
    facts.wire.as_mut().unwrap().packets = 5;
    facts.wire.as_mut().unwrap().sources = vec![ip("10.77.0.1")];
    expect(
        &facts,
        "firewall",
        Status::Fail,
        &[
            "5 packets from 10.77.0.1 reached",
            "something on this machine",
        ],
    );
    expect(
        &facts,
        "packets",
        Status::Fail,
        &["see firewall and rp_filter"],
    );
    facts.wire = Ok(Wire {
        elsewhere: BTreeMap::from([("eth1".to_owned(), 9)]),
        ..Wire::default()
    });
    expect(
        &facts,
        "packets",
        Status::Fail,
        &["they come in by eth1", "--interface eth1"],
    );
}

#[test]
fn rules_that_cannot_be_read() {
    let mut facts = silent();
    facts.filter.unread = vec!["nft needs the right CAP_NET_ADMIN".to_owned()];
    expect(&facts, "firewall", Status::Skip, &["CAP_NET_ADMIN"]);
}

#[test]
fn loss_is_blamed_on_its_place() {
    let mut facts = healthy();
    facts.ears.heard.reception.as_mut().unwrap().received = 810;
    facts.ears.heard.counters.frames_lost = 9;
    expect(
        &facts,
        "loss",
        Status::Warn,
        &[
            "90 of 900 packets lost (10.0 %), 9 frames given up",
            "on the way",
        ],
    );
    facts.interface.as_mut().unwrap().link = Link::Wireless;
    expect(&facts, "loss", Status::Warn, &["--repair 0.3"]);
    facts.wire.as_mut().unwrap().bytes = 1_400_000;
    expect(&facts, "loss", Status::Warn, &["this machine drops them"]);
    expect(
        &facts,
        "firewall",
        Status::Warn,
        &["14 % of what reached the interface"],
    );
    facts.ears.overflowed = 90;
    expect(&facts, "loss", Status::Warn, &["rmem_max"]);
}

#[test]
fn uneven_pictures() {
    let mut facts = healthy();
    facts.ears.heard.reception.as_mut().unwrap().jitter = 90 * 50;
    expect(
        &facts,
        "jitter",
        Status::Warn,
        &["50.0 ms, more than a frame lasts (33.3 ms)"],
    );
}

#[test]
fn senders_one_after_the_other() {
    let mut facts = healthy();
    facts.ears.heard.senders = vec![sender(8, 600, 900), sender(7, 0, 500)];
    expect(&facts, "senders", Status::Ok, &["one after the other"]);
    facts.ears.heard.senders[1].last = Mono(700);
    expect(
        &facts,
        "senders",
        Status::Warn,
        &["2 at a time", "00000007", "--group"],
    );
}

#[test]
fn how_far_the_stream_goes() {
    let mut facts = healthy();
    expect(&facts, "ttl", Status::Ok, &["TTL 1 on arrival: no router"]);
    facts.ears.heard.ttl = Some((2, 5));
    expect(&facts, "ttl", Status::Ok, &["TTL 2 to 5", "would pass"]);
    facts.ears.heard.ttl = None;
    expect(&facts, "ttl", Status::Skip, &[]);
}

#[test]
fn sizes() {
    let mut facts = healthy();
    facts.ears.heard.largest = 4000;
    expect(
        &facts,
        "mtu",
        Status::Warn,
        &["4028 bytes come cut into pieces", "--mtu 1500"],
    );
    facts.ears.heard.largest = 500;
    facts.ears.heard.whole = 0;
    facts.ears.heard.only_last_packets = true;
    facts.ears.heard.reception.as_mut().unwrap().received = 90;
    facts.interface.as_mut().unwrap().mtu = 1400;
    expect(
        &facts,
        "mtu",
        Status::Fail,
        &["only the last", "--mtu 1400"],
    );
}

#[test]
fn who_has_the_port() {
    let mut facts = healthy();
    facts.port_users = vec![PortUser {
        address: "0.0.0.0:10000".parse().unwrap(),
        process: Some(("vlc".to_owned(), 12)),
    }];
    expect(&facts, "port", Status::Ok, &["shared with vlc (process 12"]);
    facts.group = "10.77.0.2:10000".parse().unwrap();
    expect(&facts, "port", Status::Warn, &["only one of them"]);
    facts.joined = Err(GroupError::PortInUse { group: facts.group });
    expect(
        &facts,
        "port",
        Status::Fail,
        &["taken by vlc", "stop that program"],
    );
    facts.port_users[0].process = None;
    expect(&facts, "port", Status::Fail, &["another user"]);
    facts.joined = Err(GroupError::NotAllowed {
        what: "listen on",
        group: facts.group,
        cause: io::Error::from(io::ErrorKind::PermissionDenied),
    });
    expect(&facts, "port", Status::Fail, &["above 1023"]);
}

#[test]
fn one_machine_s_address_is_no_group() {
    let mut facts = healthy();
    facts.group = "10.77.0.2:10000".parse().unwrap();
    for id in ["multicast", "membership", "querier"] {
        expect(&facts, id, Status::Skip, &["is no group"]);
    }
    facts.route = None;
    expect(&facts, "route", Status::Fail, &["no route to 10.77.0.2"]);
}

#[test]
fn what_is_announced() {
    let mut facts = healthy();
    expect(
        &facts,
        "announced",
        Status::Ok,
        &["\"porch\", in 224.3.29.71:10000"],
    );
    facts.announcement = Announcement::Nothing;
    expect(&facts, "announced", Status::Skip, &["packets come"]);
    facts.ears.heard.packets = 0;
    expect(
        &facts,
        "announced",
        Status::Skip,
        &["no stream is announced"],
    );
    facts.ears.heard.packets = 900;
    facts.announcement = Announcement::Missing {
        name: "garden".to_owned(),
        waited: Duration::from_secs(6),
    };
    expect(
        &facts,
        "announced",
        Status::Fail,
        &["no stream called \"garden\" in 6 s", "lancam list"],
    );
    // What comes to the default group is another stream.
    assert!(!all(&facts).watchable);
    facts.announcement = Announcement::NotAsked;
    assert!(all(&facts).checks.iter().all(|c| c.id != "announced"));
}
