//! Findings as they are on real machines, broken one by one. What a network namespace can break is
//! broken for real in `tests/doctor.rs`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::super::arrivals::{Arrivals, Source};
use super::super::findings::{
    Bridge, Camera, Chosen, Filter, PortUser, Query, Received, RpFilter, Wire,
};
use super::super::firewall::Ruleset;
use super::super::report::Outcome;
use super::*;
use crate::clock::Mono;
use crate::net::Member;
use crate::net::host::{BufferLimits, ClockState};
use crate::net::{GroupError, Interface, Link};
use crate::rtp::Ssrc;
use crate::rtp::reception::Reception;

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
        is_point_to_point: false,
        is_physical: true,
        hardware: None,
        addresses: vec![ip("10.77.0.2")],
        prefixes: vec![24],
        mtu: 1500,
        link: Link::Wired(1000),
    }
}

fn source(ssrc: u32, first: u64, last: u64) -> Source {
    Source {
        ssrc: Ssrc(ssrc),
        from: ip("10.77.0.1"),
        packets: 100,
        first: Mono(first),
        last: Mono(last),
    }
}

/// A machine on which all is well.
fn healthy() -> Findings {
    let arrivals = Arrivals {
        packets: 900,
        bytes: 1_200_000,
        largest: 1472,
        payload_types: BTreeSet::from([26]),
        ttl: Some((1, 1)),
        frame_bytes: 100_000,
        sources: vec![source(7, 0, 3_000_000_000)],
        counters: crate::stats::ViewerSnapshot {
            packets_received: 900,
            ..Default::default()
        },
        reception: Some(Reception {
            address: IpAddr::from([10, 0, 0, 1]),
            ssrc: Ssrc(7),
            highest: 900,
            expected: 900,
            received: 900,
            jitter: 90,
        }),
        whole: 91,
        whole_for: Duration::from_secs(3),
        packets_for: Duration::from_secs(3),
        ..Arrivals::default()
    };
    Findings {
        group: "224.3.29.71:10000".parse().unwrap(),
        lookup: Lookup::Found {
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
        received: Received {
            listened: Duration::from_secs(3),
            arrivals,
            overflowed: 0,
            rtcp: Some(2),
            repair: Some(30),
            queries: Some(1),
            elsewhere: None,
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
        filter: Filter {
            ruleset: Ok(Ruleset::default()),
            has_legacy: false,
            has_config: true,
        },
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
fn silent() -> Findings {
    let mut findings = healthy();
    findings.received.arrivals = Arrivals::default();
    findings.received.rtcp = Some(0);
    findings.received.repair = Some(0);
    findings.wire = Ok(Wire::default());
    findings
}

/// The check called `id`: its status, and what it says and advises.
fn line(findings: &Findings, id: &str) -> (Outcome, String) {
    let report = all(findings);
    let check = report.checks.iter().find(|c| c.id == id).unwrap();
    let advised = matches!(check.status, Outcome::Warn | Outcome::Fail);
    assert_eq!(check.advice.is_some(), advised, "{check:?}");
    let advice = check.advice.clone().unwrap_or_default();
    (check.status, format!("{} -> {advice}", check.what))
}

#[track_caller]
fn expect(findings: &Findings, id: &str, status: Outcome, words: &[&str]) {
    let (got, text) = line(findings, id);
    assert_eq!(got, status, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn all_is_well() {
    let report = all(&healthy());
    for check in &report.checks {
        assert_eq!(check.status, Outcome::Ok, "{check:?}");
    }
    assert!(report.watchable);
    let ids: BTreeSet<_> = report.checks.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), report.checks.len(), "an id stands for one check");
}

#[test]
fn silence_is_a_failure_and_the_rest_is_skipped() {
    let findings = silent();
    expect(
        &findings,
        "packets",
        Outcome::Fail,
        &["no packet", "is the sender running"],
    );
    for id in [
        "frames", "loss", "jitter", "ttl", "senders", "mtu", "rmem_max", "wmem_max", "rtcp",
        "repair",
    ] {
        assert_eq!(line(&findings, id).0, Outcome::Skip, "{id}");
    }
    assert!(!all(&findings).watchable);
}

#[test]
fn buffers_are_measured_by_the_stream_s_frames() {
    let mut findings = healthy();
    // The kernel's default, and 1080p.
    findings.limits = Some(BufferLimits {
        receive: 212_992,
        send: 212_992,
    });
    findings.received.arrivals.frame_bytes = 300_000;
    expect(
        &findings,
        "rmem_max",
        Outcome::Warn,
        &[
            "the receive buffer holds 0.7 frames",
            "sysctl -w net.core.rmem_max=4194304",
        ],
    );
    // Small frames fit.
    findings.received.arrivals.frame_bytes = 60_000;
    expect(&findings, "rmem_max", Outcome::Ok, &["3.5 frames"]);
    findings.received.overflowed = 12;
    expect(
        &findings,
        "rmem_max",
        Outcome::Warn,
        &["12 packets lost because the receive buffer was full"],
    );
    findings.limits = None;
    expect(&findings, "rmem_max", Outcome::Skip, &[]);
}

#[test]
fn the_send_buffer_matters_where_this_machine_sends() {
    let mut findings = healthy();
    findings.limits = Some(BufferLimits {
        receive: 4 << 20,
        send: 212_992,
    });
    findings.received.arrivals.frame_bytes = 300_000;
    expect(&findings, "wmem_max", Outcome::Ok, &["another machine"]);
    findings.interfaces[0].addresses.push(ip("10.77.0.1"));
    expect(
        &findings,
        "wmem_max",
        Outcome::Warn,
        &["sysctl -w net.core.wmem_max=600000"],
    );
}

#[test]
fn a_clock_that_nobody_keeps() {
    let mut findings = healthy();
    expect(&findings, "clock", Outcome::Ok, &["1.5 ms"]);
    findings.clock = Ok(ClockState {
        is_synchronised: false,
        max_error: Duration::from_secs(16),
    });
    expect(
        &findings,
        "clock",
        Outcome::Warn,
        &["no time service", "NTP"],
    );
    findings.clock = Err("Operation not permitted".to_owned());
    expect(&findings, "clock", Outcome::Skip, &["not permitted"]);
}

#[test]
fn cameras_each_have_a_line() {
    let mut findings = healthy();
    findings.cameras = Some(Ok(vec![Camera {
        device: "/dev/video0".to_owned(),
        ..Camera::default()
    }]));
    expect(
        &findings,
        "camera",
        Outcome::Warn,
        &["no path in /dev/v4l/by-id"],
    );
    findings.cameras = Some(Ok(vec![Camera {
        problem: Some("/dev/video0 cannot be opened: add the user to the video group".to_owned()),
        ..Camera::default()
    }]));
    expect(
        &findings,
        "camera",
        Outcome::Fail,
        &["cannot be opened -> add the user"],
    );
    findings.cameras = Some(Ok(Vec::new()));
    expect(&findings, "camera", Outcome::Skip, &["a viewer needs none"]);
    findings.cameras = Some(Err("a camera's driver does not answer".to_owned()));
    expect(&findings, "camera", Outcome::Skip, &["does not answer"]);
    findings.cameras = None;
    assert!(all(&findings).checks.iter().all(|c| c.id != "camera"));
}

#[test]
fn the_querier_by_all_its_signs() {
    let mut findings = healthy();
    expect(
        &findings,
        "querier",
        Outcome::Ok,
        &["asks who watches", "IGMPv3 queries: 1, from 10.77.0.254"],
    );
    findings.wire = Ok(Wire::default());
    findings.received.queries = Some(0);
    // Three seconds say nothing.
    expect(
        &findings,
        "querier",
        Outcome::Skip,
        &["no IGMP query in 3 s", "too short to tell", "--wait 130"],
    );
    findings.received.listened = Duration::from_secs(130);
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &[
            "no router or switch asks who watches (no IGMP query in 130 s)",
            "switch on the IGMP querier",
        ],
    );
    // This one is known without waiting.
    findings.received.listened = Duration::from_secs(3);
    findings.bridge = Some(Bridge {
        name: "br0".to_owned(),
        snoops: true,
        queries: false,
    });
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["/sys/class/net/br0/bridge/multicast_querier"],
    );
    findings.bridge.as_mut().unwrap().queries = true;
    expect(&findings, "querier", Outcome::Ok, &["bridge br0"]);
    findings.bridge = None;
    findings.wire = Err(Unseen::NeedsRoot);
    expect(&findings, "querier", Outcome::Skip, &["only root"]);
    findings.old_querier = Some(2);
    expect(&findings, "querier", Outcome::Ok, &["IGMPv2"]);
    findings.interface.as_mut().unwrap().link = Link::Loopback;
    expect(&findings, "querier", Outcome::Skip, &["loopback"]);
}

#[test]
fn queries_that_this_machine_drops() {
    let mut findings = healthy();
    findings.received.queries = Some(0);
    // Something drops them that nftables does not know.
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &[
            "1 question who watches reached this machine, and its firewall dropped them (IGMP)",
            "stops the stream after some minutes",
            "nft list ruleset",
        ],
    );
    let udp_only = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, {"accept": null}"#;
    findings.filter = filter("inet t", "input", "drop", &[udp_only]);
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &[
            "\"policy drop\" in chain input of table inet t",
            "sudo nft 'insert rule inet t input meta l4proto igmp accept'",
            "write `meta l4proto igmp accept` first into that chain in /etc/nftables.conf",
        ],
    );
    assert_eq!(line(&findings, "firewall").0, Outcome::Ok);
    // Nobody asked while we listened, or this user cannot see it: the rule says enough.
    findings.wire = Ok(Wire::default());
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["firewall drops IGMP"],
    );
    // Answers that do not leave are as good as none.
    findings.filter = filter("inet t", "output", "drop", &[]);
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["chain output of table inet t"],
    );
    findings.group = "[ff15::1]:10000".parse().unwrap();
    findings.filter = filter("ip6 t", "input", "drop", &[udp_only]);
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &[
            "firewall drops MLD",
            "insert rule ip6 t input meta l4proto ipv6-icmp accept",
        ],
    );
}

#[test]
fn a_user_who_sees_less_is_told_so_first() {
    let mut findings = healthy();
    assert_eq!(all(&findings).hint, None);
    findings.wire = Err(Unseen::NeedsRoot);
    findings.filter.ruleset = Err(Unseen::NeedsRoot);
    let text = all(&findings).to_text(false);
    assert!(text.starts_with("run with sudo to see more: "), "{text}");
    assert!(
        text.lines()
            .next()
            .unwrap()
            .ends_with("; the firewall's rules"),
        "{text}"
    );
    // Root would know no more.
    findings.wire = Err(Unseen::Other("no interface".to_owned()));
    findings.filter.ruleset = Err(Unseen::Other("nft is not installed".to_owned()));
    assert_eq!(all(&findings).hint, None);
}

#[test]
fn the_filter_in_force_is_the_greater_one() {
    let mut findings = healthy();
    findings.ways_back[0].1 = Some("eth1".to_owned());
    expect(
        &findings,
        "rp_filter",
        Outcome::Warn,
        &["the route back goes by eth1", "strict"],
    );
    findings.rp_filter = Some(RpFilter {
        all: 2,
        interface: 1,
    });
    expect(&findings, "rp_filter", Outcome::Ok, &["loose"]);
    findings.ways_back[0].1 = None;
    expect(&findings, "rp_filter", Outcome::Warn, &["does not exist"]);
    findings.received.arrivals = Arrivals::default();
    expect(&findings, "rp_filter", Outcome::Fail, &["dropped"]);
    findings.interface.as_mut().unwrap().name = "eth0.7".to_owned();
    expect(
        &findings,
        "rp_filter",
        Outcome::Fail,
        &["net.ipv4.conf.eth0/7.rp_filter=0"],
    );
    findings.rp_filter = Some(RpFilter {
        all: 0,
        interface: 0,
    });
    expect(&findings, "rp_filter", Outcome::Ok, &["off"]);
    findings.rp_filter = None;
    expect(&findings, "rp_filter", Outcome::Skip, &[]);
}

/// A filter with one chain for what comes in or goes out, its policy, and the expressions of its
/// rules.
fn filter(table: &str, chain: &str, policy: &str, rules: &[&str]) -> Filter {
    let (family, name) = table.split_once(' ').unwrap();
    let hook = chain.to_lowercase();
    let mut objects = vec![format!(
        r#"{{"chain": {{"family": "{family}", "table": "{name}", "name": "{chain}",
            "type": "filter", "hook": "{hook}", "prio": 0, "policy": "{policy}"}}}}"#
    )];
    objects.extend(rules.iter().map(|expr| {
        format!(
            r#"{{"rule": {{"family": "{family}", "table": "{name}", "chain": "{chain}", "expr": [{expr}]}}}}"#
        )
    }));
    let json = format!(r#"{{"nftables": [{}]}}"#, objects.join(","));
    Filter {
        ruleset: Ok(Ruleset::from_json(&json).unwrap()),
        has_legacy: false,
        has_config: true,
    }
}

/// The same with one more chain, which nothing leads to.
fn with_chain(filter: &mut Filter, table: &str, chain: &str) {
    let (family, name) = table.split_once(' ').unwrap();
    let json = format!(
        r#"{{"nftables": [
            {{"chain": {{"family": "{family}", "table": "{name}", "name": "INPUT", "hook": "input", "prio": 0, "policy": "drop"}}}},
            {{"chain": {{"family": "{family}", "table": "{name}", "name": "{chain}"}}}}]}}"#
    );
    filter.ruleset = Ok(Ruleset::from_json(&json).unwrap());
}

#[test]
fn the_firewall_s_own_front_end_is_advised() {
    let mut findings = silent();
    findings.filter = filter("ip filter", "INPUT", "drop", &[]);
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &[
            "sudo iptables -t filter -I INPUT -p udp -m multiport --dports 9875,10000:10004 -j ACCEPT",
            "gone after a restart",
            "netfilter-persistent save",
        ],
    );
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["sudo iptables -t filter -I INPUT -p igmp -j ACCEPT"],
    );
    with_chain(&mut findings.filter, "ip filter", "ufw-user-input");
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &["sudo ufw allow 9875,10000:10004/udp"],
    );
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["sudo ufw allow in proto igmp to 224.0.0.0/4"],
    );
    findings.filter = filter("inet firewalld", "filter_INPUT", "drop", &[]);
    let json = r#"{"nftables": [{"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT", "hook": "input", "prio": 10, "policy": "drop"}}]}"#;
    findings.filter.ruleset = Ok(Ruleset::from_json(json).unwrap());
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &["firewall-cmd --permanent --add-port=9875/udp --add-port=10000-10004/udp"],
    );
    expect(
        &findings,
        "querier",
        Outcome::Warn,
        &["--add-protocol=igmp"],
    );
    findings.filter = filter("inet filter", "input", "drop", &[]);
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &[
            "sudo nft 'insert rule inet filter input udp dport { 9875, 10000-10004 } accept'",
            "gone after a restart",
            "/etc/nftables.conf",
        ],
    );
    // A table of iptables' name that is not its own.
    findings.filter = filter("ip filter", "input", "drop", &[]);
    findings.filter.has_config = false;
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &[
            "sudo nft 'insert rule ip filter input",
            "the file that makes this table",
        ],
    );
}

#[test]
fn a_firewall_in_front_of_what_stands_beside_the_stream() {
    let mut findings = healthy();
    let port = |port: u16| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "udp", "field": "dport"}}}}, "right": {port}}}}}, {{"drop": null}}"#
        )
    };
    for (number, words) in [
        (10_001, "not its RTCP, so the sender does not know"),
        (10_004, "not its repair, so lost packets are not repaired"),
        (
            9875,
            "not its announcements, so streams are not found by name",
        ),
    ] {
        findings.filter = filter("inet t", "input", "accept", &[&port(number)]);
        expect(
            &findings,
            "firewall",
            Outcome::Warn,
            &[words, "9875, 10000-10004"],
        );
    }
    findings.filter = filter("inet t", "input", "accept", &[&port(10_002)]);
    assert_eq!(line(&findings, "firewall").0, Outcome::Ok);
}

#[test]
fn a_name_that_the_firewall_hides() {
    let mut findings = silent();
    findings.lookup = Lookup::NotFound {
        name: "porch".to_owned(),
        waited: Duration::from_secs(6),
        vanished: 0,
    };
    findings.filter = filter("inet t", "input", "drop", &[]);
    expect(
        &findings,
        "announced",
        Outcome::Fail,
        &[
            "because the firewall drops announcements (UDP port 9875)",
            "\"policy drop\" in chain input",
            "9875",
        ],
    );
    assert!(all(&findings).why_not().unwrap().contains("firewall"));
    // No rule is known, but what came did not come through.
    findings.filter.ruleset = Err(Unseen::Other("nft is not installed".to_owned()));
    if let Lookup::NotFound { vanished, .. } = &mut findings.lookup {
        *vanished = 3;
    }
    expect(
        &findings,
        "announced",
        Outcome::Fail,
        &["the firewall drops announcements: 3 packets reached this machine"],
    );
}

#[test]
fn packets_that_vanish_without_a_known_rule() {
    let mut findings = silent();
    findings.wire.as_mut().unwrap().packets = 5;
    findings.wire.as_mut().unwrap().sources = vec![ip("10.77.0.1")];
    expect(
        &findings,
        "firewall",
        Outcome::Fail,
        &[
            "5 packets from 10.77.0.1 reached this machine",
            "something on this machine",
        ],
    );
    expect(
        &findings,
        "packets",
        Outcome::Fail,
        &["see firewall and rp_filter"],
    );
    findings.wire = Ok(Wire::default());
    findings.received.elsewhere = Some("eth1".to_owned());
    expect(
        &findings,
        "packets",
        Outcome::Fail,
        &["the stream arrives on eth1", "--interface eth1"],
    );
}

#[test]
fn rules_that_cannot_be_read() {
    let mut findings = silent();
    findings.filter.ruleset = Err(Unseen::NeedsRoot);
    expect(
        &findings,
        "firewall",
        Outcome::Skip,
        &["not read: only root"],
    );
    findings.filter.ruleset = Ok(Ruleset::default());
    findings.filter.has_legacy = true;
    expect(
        &findings,
        "firewall",
        Outcome::Skip,
        &["sudo iptables-legacy-save"],
    );
}

#[test]
fn loss_is_blamed_on_its_place() {
    let mut findings = healthy();
    findings
        .received
        .arrivals
        .reception
        .as_mut()
        .unwrap()
        .received = 810;
    findings.received.arrivals.counters.frames_lost = 9;
    expect(
        &findings,
        "loss",
        Outcome::Warn,
        &[
            "90 of 900 packets lost (10.0 %), and 9 frames with them",
            "on the way",
        ],
    );
    findings.interface.as_mut().unwrap().link = Link::Wireless;
    expect(&findings, "loss", Outcome::Warn, &["--repair auto"]);
    findings.wire.as_mut().unwrap().bytes = 1_400_000;
    expect(
        &findings,
        "loss",
        Outcome::Warn,
        &["this machine drops them"],
    );
    expect(
        &findings,
        "firewall",
        Outcome::Warn,
        &["14 % of what reached this machine"],
    );
    findings.received.overflowed = 90;
    expect(&findings, "loss", Outcome::Warn, &["rmem_max"]);
}

#[test]
fn uneven_pictures() {
    let mut findings = healthy();
    findings
        .received
        .arrivals
        .reception
        .as_mut()
        .unwrap()
        .jitter = 90 * 50;
    expect(
        &findings,
        "jitter",
        Outcome::Warn,
        &["50.0 ms of their time (jitter), more than a frame lasts (33.3 ms)"],
    );
}

#[test]
fn senders_one_after_the_other() {
    let mut findings = healthy();
    findings.received.arrivals.sources = vec![source(8, 600, 900), source(7, 0, 500)];
    expect(&findings, "senders", Outcome::Ok, &["one after the other"]);
    findings.received.arrivals.sources[1].last = Mono(700);
    expect(
        &findings,
        "senders",
        Outcome::Warn,
        &["2 at a time", "00000007", "--group"],
    );
}

#[test]
fn how_far_the_stream_goes() {
    let mut findings = healthy();
    expect(
        &findings,
        "ttl",
        Outcome::Ok,
        &["stays on this network (TTL 1 on arrival)"],
    );
    findings.received.arrivals.ttl = Some((2, 5));
    expect(&findings, "ttl", Outcome::Ok, &["would pass", "TTL 2 to 5"]);
    findings.received.arrivals.ttl = None;
    expect(&findings, "ttl", Outcome::Skip, &[]);
}

#[test]
fn sizes() {
    let mut findings = healthy();
    findings.received.arrivals.largest = 4000;
    expect(
        &findings,
        "mtu",
        Outcome::Warn,
        &["4028 bytes arrive in pieces", "--mtu 1500"],
    );
    findings.received.arrivals.largest = 500;
    findings.received.arrivals.whole = 0;
    findings.received.arrivals.only_last_packets = true;
    findings
        .received
        .arrivals
        .reception
        .as_mut()
        .unwrap()
        .received = 90;
    findings.interface.as_mut().unwrap().mtu = 1400;
    expect(
        &findings,
        "mtu",
        Outcome::Fail,
        &["only the short packets", "--mtu 1400"],
    );
}

#[test]
fn who_has_the_port() {
    let mut findings = healthy();
    findings.port_users = vec![PortUser {
        address: "0.0.0.0:10000".parse().unwrap(),
        process: Some(("vlc".to_owned(), 12)),
    }];
    expect(
        &findings,
        "port",
        Outcome::Ok,
        &["shared with vlc (process 12"],
    );
    findings.group = "10.77.0.2:10000".parse().unwrap();
    expect(&findings, "port", Outcome::Warn, &["only one of them"]);
    findings.joined = Err(GroupError::PortInUse {
        group: findings.group,
    });
    expect(
        &findings,
        "port",
        Outcome::Fail,
        &["taken by vlc", "stop that program"],
    );
    findings.port_users[0].process = None;
    expect(&findings, "port", Outcome::Fail, &["another user"]);
    findings.joined = Err(GroupError::NotAllowed {
        what: "listen on",
        group: findings.group,
        cause: io::Error::from(io::ErrorKind::PermissionDenied),
    });
    expect(&findings, "port", Outcome::Fail, &["above 1023"]);
}

#[test]
fn other_interfaces_are_named_where_nobody_chose() {
    let mut findings = healthy();
    findings.interfaces.push(Interface {
        name: "wlan0".to_owned(),
        index: 3,
        ..wire0()
    });
    findings.chosen = Chosen::Viewer;
    expect(
        &findings,
        "interface",
        Outcome::Ok,
        &["wire0 is up and has a link; also possible: wlan0 (--interface)"],
    );
    findings.chosen = Chosen::User;
    assert!(!line(&findings, "interface").1.contains("wlan0"));
    findings.chosen = Chosen::Viewer;
    findings.interfaces[1].is_running = false;
    assert!(!line(&findings, "interface").1.contains("wlan0"));
}

#[test]
fn loopback_needs_no_route() {
    let mut findings = healthy();
    findings.interface.as_mut().unwrap().is_loopback = true;
    findings.route = None;
    expect(&findings, "route", Outcome::Skip, &["needs no route"]);
}

#[test]
fn one_machine_s_address_is_no_group() {
    let mut findings = healthy();
    findings.group = "10.77.0.2:10000".parse().unwrap();
    for id in ["multicast", "membership", "querier"] {
        expect(&findings, id, Outcome::Skip, &["is not a multicast group"]);
    }
    findings.route = None;
    expect(
        &findings,
        "route",
        Outcome::Fail,
        &["no route to 10.77.0.2"],
    );
}

#[test]
fn what_is_announced() {
    let mut findings = healthy();
    expect(
        &findings,
        "announced",
        Outcome::Ok,
        &["\"porch\" is in 224.3.29.71:10000"],
    );
    findings.lookup = Lookup::NothingAnnounced;
    expect(&findings, "announced", Outcome::Skip, &["packets come"]);
    findings.received.arrivals.packets = 0;
    expect(
        &findings,
        "announced",
        Outcome::Skip,
        &["no stream is announced"],
    );
    findings.received.arrivals.packets = 900;
    findings.lookup = Lookup::NotFound {
        name: "garden".to_owned(),
        waited: Duration::from_secs(6),
        vanished: 0,
    };
    expect(
        &findings,
        "announced",
        Outcome::Fail,
        &["\"garden\" was not announced in 6 s", "lancam list"],
    );
    // What comes to the default group is another stream.
    assert!(!all(&findings).watchable);
    findings.lookup = Lookup::NotNeeded;
    assert!(all(&findings).checks.iter().all(|c| c.id != "announced"));
}
