//! Rulesets as nft prints them.

use super::nft::in_network;
use super::rules::Tri;
use super::*;

fn packets() -> Packets {
    Packets {
        direction: Direction::In,
        kind: Kind::Udp(10_000),
        to: "224.3.29.71".parse().unwrap(),
        interface: "wire0".to_owned(),
        sources: vec!["10.77.0.1".parse().unwrap()],
    }
}

/// An input chain with `policy` and the expressions of its rules.
fn nft_with(policy: &str, rules: &[&str], packets: &Packets) -> Verdict {
    let mut objects = vec![
        r#"{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}"#.to_owned(),
        r#"{"table": {"family": "inet", "name": "t", "handle": 1}}"#.to_owned(),
        format!(
            r#"{{"chain": {{"family": "inet", "table": "t", "name": "input", "handle": 1,
                "type": "filter", "hook": "input", "prio": 0, "policy": "{policy}"}}}}"#
        ),
    ];
    objects.extend(rules.iter().map(|expr| {
        format!(
            r#"{{"rule": {{"family": "inet", "table": "t", "chain": "input", "handle": 2, "expr": [{expr}]}}}}"#
        )
    }));
    let json = format!(r#"{{"nftables": [{}]}}"#, objects.join(","));
    Ruleset::from_json(&json).unwrap().verdict(packets)
}

fn nft(policy: &str, rules: &[&str]) -> Verdict {
    nft_with(policy, rules, &packets())
}

const PORT: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 10000}}"#;
const OTHER_PORT: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 22}}"#;
const RANDOM: &str = r#"{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 1000, "offset": 0}}, "right": 50}}"#;
const DROP: &str = r#"{"drop": null}"#;
const ACCEPT: &str = r#"{"accept": null}"#;

fn rule(parts: &[&str]) -> String {
    parts.join(",")
}

#[test]
fn a_rule_for_the_port_drops() {
    let Verdict::Drops(culprit) = nft("accept", &[&rule(&[PORT, DROP])]) else {
        panic!();
    };
    assert_eq!(culprit.table, "inet t");
    assert_eq!(culprit.chain, "input");
    assert_eq!(culprit.rule, "udp dport 10000 drop");
    assert_eq!(
        nft("accept", &[&rule(&[OTHER_PORT, DROP])]),
        Verdict::Passes
    );
}

#[test]
fn what_depends_on_chance_may_drop() {
    let verdict = nft("accept", &[&rule(&[PORT, RANDOM, DROP])]);
    assert!(matches!(verdict, Verdict::MayDrop(_)), "{verdict:?}");
}

#[test]
fn the_first_verdict_holds() {
    let accept = rule(&[PORT, ACCEPT]);
    let drop = rule(&[PORT, DROP]);
    assert_eq!(nft("drop", &[&accept, &drop]), Verdict::Passes);
    assert!(matches!(nft("drop", &[&drop, &accept]), Verdict::Drops(_)));
    let sometimes = rule(&[RANDOM, ACCEPT]);
    assert!(matches!(
        nft("accept", &[&sometimes, &drop]),
        Verdict::MayDrop(_)
    ));
}

#[test]
fn a_chain_that_drops_by_default() {
    let Verdict::Drops(culprit) = nft("drop", &[&rule(&[OTHER_PORT, ACCEPT])]) else {
        panic!();
    };
    assert_eq!(culprit.rule, "policy drop");
    assert_eq!(nft("drop", &[&rule(&[PORT, ACCEPT])]), Verdict::Passes);
}

#[test]
fn sets_ranges_prefixes_and_the_rest_of_the_words() {
    let left = |kind: &str| format!(r#"{{"match": {{"op": "==", "left": {kind}, "right": "#);
    let payload = |p: &str, f: &str| {
        left(&format!(
            r#"{{"payload": {{"protocol": "{p}", "field": "{f}"}}}}"#
        ))
    };
    let meta = |key: &str| left(&format!(r#"{{"meta": {{"key": "{key}"}}}}"#));
    let drops = [
        format!(
            "{}{}}}}}",
            payload("udp", "dport"),
            r#"{"set": [{"range": [9000, 11000]}, 22]}"#
        ),
        format!(
            "{}{}}}}}",
            payload("th", "dport"),
            r#"{"set": [{"elem": {"val": 10000, "counter": {}}}]}"#
        ),
        format!(
            "{}{}}}}}",
            payload("ip", "daddr"),
            r#"{"prefix": {"addr": "224.0.0.0", "len": 4}}"#
        ),
        format!(
            "{}{}}}}}",
            payload("ip", "daddr"),
            r#"{"range": ["224.0.0.1", "239.0.0.0"]}"#
        ),
        format!("{}{}}}}}", payload("ip", "saddr"), r#""10.77.0.1""#),
        format!("{}{}}}}}", payload("ip", "protocol"), r#""udp""#),
        format!("{}{}}}}}", meta("l4proto"), r#"{"set": [6, 17]}"#),
        format!("{}{}}}}}", meta("iifname"), r#""wire*""#),
        format!("{}{}}}}}", meta("pkttype"), r#""multicast""#),
        format!("{}{}}}}}", meta("nfproto"), r#""ipv4""#),
        format!(
            "{}{}}}}}",
            left(r#"{"fib": {"result": "type", "flags": ["daddr", "iif"]}}"#),
            r#""multicast""#
        ),
        format!(
            "{}{}}}}}",
            left(r#"{"ct": {"key": "state"}}"#),
            r#"["invalid", "new"]"#
        ),
    ];
    for expr in &drops {
        let verdict = nft("accept", &[&rule(&[expr, DROP])]);
        assert!(matches!(verdict, Verdict::Drops(_)), "{expr}: {verdict:?}");
    }
    let passes = [
        format!("{}{}}}}}", payload("tcp", "dport"), "10000"),
        format!("{}{}}}}}", payload("ip", "daddr"), r#""224.3.29.72""#),
        format!(
            "{}{}}}}}",
            payload("ip", "saddr"),
            r#"{"prefix": {"addr": "192.168.0.0", "len": 16}}"#
        ),
        format!("{}{}}}}}", payload("ip6", "daddr"), r#""ff02::1""#),
        format!("{}{}}}}}", meta("iifname"), r#""lo""#),
        format!(
            "{}{}}}}}",
            left(r#"{"ct": {"key": "state"}}"#),
            r#"["established", "related"]"#
        ),
    ];
    for expr in &passes {
        assert_eq!(
            nft("accept", &[&rule(&[expr, DROP])]),
            Verdict::Passes,
            "{expr}"
        );
    }
    let named = format!("{}{}}}}}", payload("udp", "dport"), r#""@blocked""#);
    assert!(matches!(
        nft("accept", &[&rule(&[&named, DROP])]),
        Verdict::MayDrop(_)
    ));
}

#[test]
fn verdict_maps() {
    let map = |verdict: &str| {
        format!(
            r#"{{"vmap": {{"key": {{"payload": {{"protocol": "udp", "field": "dport"}}}},
                "data": {{"set": [[22, {{"accept": null}}], [10000, {{"{verdict}": null}}]]}}}}}}"#
        )
    };
    assert_eq!(nft("drop", &[&map("accept")]), Verdict::Passes);
    let Verdict::Drops(culprit) = nft("accept", &[&map("drop")]) else {
        panic!();
    };
    assert_eq!(culprit.rule, "udp dport 10000 drop");
}

#[test]
fn without_a_known_sender_its_address_is_open() {
    let saddr = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.9"}}"#;
    let unknown = Packets {
        sources: Vec::new(),
        ..packets()
    };
    let verdict = nft_with("accept", &[&rule(&[saddr, DROP])], &unknown);
    assert!(matches!(verdict, Verdict::MayDrop(_)));
}

/// As iptables-nft 1.8.9 leaves it, of `-P INPUT DROP`, `-m conntrack --ctstate ESTABLISHED -j
/// ACCEPT`, `-p igmp -j ACCEPT`, `-j LOG`, and a chain of its own with `-j REJECT`.
const IPTABLES: &str = r#"{"nftables": [
    {"table": {"family": "ip", "name": "filter", "handle": 1}},
    {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
    {"chain": {"family": "ip", "table": "filter", "name": "mine"}},
    {"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "igmp"}}, {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}]}},
    {"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"xt": {"type": "target", "name": "LOG"}}]}},
    {"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "expr": [CONNTRACK{"jump": {"target": "mine"}}]}},
    {"rule": {"family": "ip", "table": "filter", "chain": "mine", "expr": [{"xt": {"type": "target", "name": "REJECT"}}]}}
]}"#;

#[test]
fn rules_of_iptables() {
    let sure = Ruleset::from_json(&IPTABLES.replace("CONNTRACK", "")).unwrap();
    let Verdict::Drops(culprit) = sure.verdict(&packets()) else {
        panic!();
    };
    assert_eq!(
        (
            culprit.table.as_str(),
            culprit.chain.as_str(),
            culprit.rule.as_str()
        ),
        ("ip filter", "mine", "REJECT")
    );
    assert_eq!(sure.verdict(&query()), Verdict::Passes);
    assert_eq!(sure.rules(), 4);
    let extension = r#"{"xt": {"type": "match", "name": "conntrack"}},"#;
    let unsure = Ruleset::from_json(&IPTABLES.replace("CONNTRACK", extension)).unwrap();
    let Verdict::Drops(culprit) = unsure.verdict(&packets()) else {
        panic!();
    };
    assert_eq!(culprit.rule, "policy drop");
}

/// What a router asks.
fn query() -> Packets {
    Packets {
        kind: Kind::Igmp(0x11),
        to: "224.0.0.1".parse().unwrap(),
        ..packets()
    }
}

#[test]
fn rules_for_igmp_and_mld() {
    let verdict = |rule: &str, packets: &Packets| nft_with("accept", &[rule], packets);
    let is = |left: &str, right: &str| {
        format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}, {DROP}"#)
    };
    let l4 = r#"{"meta": {"key": "l4proto"}}"#;
    let drops = [
        is(l4, r#""igmp""#),
        is(l4, "2"),
        is(
            r#"{"payload": {"protocol": "ip", "field": "protocol"}}"#,
            r#""igmp""#,
        ),
        is(
            r#"{"payload": {"protocol": "ip", "field": "daddr"}}"#,
            r#""224.0.0.1""#,
        ),
        is(
            r#"{"payload": {"protocol": "igmp", "field": "type"}}"#,
            r#""membership-query""#,
        ),
    ];
    for rule in &drops {
        let found = verdict(rule, &query());
        assert!(matches!(found, Verdict::Drops(_)), "{rule}: {found:?}");
    }
    let passes = [
        rule(&[PORT, DROP]),
        is(l4, r#""udp""#),
        is(r#"{"payload": {"protocol": "igmp", "field": "type"}}"#, r#""membership-report-v3""#),
        // It is TCP that this is about, whatever its port.
        r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, {"drop": null}"#.to_owned(),
        r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 22}}, {"drop": null}"#.to_owned(),
    ];
    for rule in &passes {
        assert_eq!(verdict(rule, &query()), Verdict::Passes, "{rule}");
    }
    assert!(matches!(
        nft_with("drop", &[&rule(&[PORT, ACCEPT])], &query()),
        Verdict::Drops(_)
    ));

    let mld = Packets {
        kind: Kind::Icmpv6(130),
        to: "ff02::1".parse().unwrap(),
        ..packets()
    };
    let kind = r#"{"payload": {"protocol": "icmpv6", "field": "type"}}"#;
    for name in [
        r#"{"set": ["mld-listener-query", "nd-neighbor-solicit"]}"#,
        "130",
    ] {
        assert!(
            matches!(verdict(&is(kind, name), &mld), Verdict::Drops(_)),
            "{name}"
        );
    }
    assert!(matches!(
        verdict(&is(l4, r#""ipv6-icmp""#), &mld),
        Verdict::Drops(_)
    ));
    // Behind a hop-by-hop header.
    let next = r#"{"payload": {"protocol": "ip6", "field": "nexthdr"}}"#;
    assert_eq!(verdict(&is(next, r#""ipv6-icmp""#), &mld), Verdict::Passes);
    assert_eq!(verdict(&is(l4, r#""igmp""#), &mld), Verdict::Passes);
}

#[test]
fn what_goes_out_meets_other_chains() {
    let report = Packets {
        direction: Direction::Out,
        kind: Kind::Igmp(0x22),
        to: "224.0.0.22".parse().unwrap(),
        sources: Vec::new(),
        ..packets()
    };
    let chain = |hook: &str, rule: &str| {
        let json = format!(
            r#"{{"nftables": [
                {{"chain": {{"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "{hook}", "prio": 0, "policy": "accept"}}}},
                {{"rule": {{"family": "ip", "table": "t", "chain": "c", "expr": [{rule}]}}}}]}}"#
        );
        Ruleset::from_json(&json).unwrap()
    };
    assert!(matches!(
        chain("output", DROP).verdict(&report),
        Verdict::Drops(_)
    ));
    assert_eq!(chain("input", DROP).verdict(&report), Verdict::Passes);
    assert_eq!(chain("output", DROP).verdict(&query()), Verdict::Passes);
    let to = |key: &str, name: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "{key}"}}}}, "right": "{name}"}}}}, {DROP}"#
        )
    };
    assert!(matches!(
        chain("output", &to("oifname", "wire0")).verdict(&report),
        Verdict::Drops(_)
    ));
    assert_eq!(
        chain("output", &to("oifname", "lo")).verdict(&report),
        Verdict::Passes
    );
    assert_eq!(
        chain("output", &to("iifname", "wire0")).verdict(&report),
        Verdict::Passes
    );
}

#[test]
fn circles_of_jumps_end() {
    let jump = |from: &str, to: &str| {
        format!(
            r#"{{"rule": {{"family": "ip", "table": "t", "chain": "{from}", "expr": [{{"jump": {{"target": "{to}"}}}}]}}}}"#
        )
    };
    let json = format!(
        r#"{{"nftables": [{{"chain": {{"family": "ip", "table": "t", "name": "c", "hook": "input", "prio": 0, "policy": "accept"}}}}, {}]}}"#,
        [
            jump("c", "a"),
            jump("a", "b"),
            jump("a", "b"),
            jump("b", "a"),
            jump("b", "a")
        ]
        .join(",")
    );
    let ruleset = Ruleset::from_json(&json).unwrap();
    assert_eq!(
        (ruleset.rules(), ruleset.verdict(&packets())),
        (5, Verdict::Passes)
    );
}

#[test]
fn networks() {
    let ip = "10.77.0.1".parse().unwrap();
    assert_eq!(in_network(ip, "10.77.0.0/24"), Tri::Yes);
    assert_eq!(in_network(ip, "10.77.0.1"), Tri::Yes);
    assert_eq!(in_network(ip, "0.0.0.0/0"), Tri::Yes);
    assert_eq!(in_network(ip, "10.78.0.0/16"), Tri::No);
    assert_eq!(in_network(ip, "::/0"), Tri::No);
    assert_eq!(in_network(ip, "nonsense"), Tri::Maybe);
    let ip = "fd77::2".parse().unwrap();
    assert_eq!(in_network(ip, "fd77::/16"), Tri::Yes);
    assert_eq!(in_network(ip, "::/0"), Tri::Yes);
}

proptest::proptest! {
    #[test]
    fn anything_is_read_without_a_panic(text in ".{0,200}") {
        let _ = Ruleset::from_json(&text).map(|r| r.verdict(&packets()));
    }
}
