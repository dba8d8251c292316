//! Rulesets as the tools print them.

use super::*;

fn traffic() -> Traffic {
    Traffic {
        to: "224.3.29.71:10000".parse().unwrap(),
        interface: "wire0".to_owned(),
        sources: vec!["10.77.0.1".parse().unwrap()],
    }
}

/// An input chain with `policy` and the expressions of its rules.
fn nft_with(policy: &str, rules: &[&str], traffic: &Traffic) -> Verdict {
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
    Rules::from_nft(&json, traffic).unwrap().verdict()
}

fn nft(policy: &str, rules: &[&str]) -> Verdict {
    nft_with(policy, rules, &traffic())
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
    let unknown = Traffic {
        sources: Vec::new(),
        ..traffic()
    };
    let verdict = nft_with("accept", &[&rule(&[saddr, DROP])], &unknown);
    assert!(matches!(verdict, Verdict::MayDrop(_)));
}

const IPTABLES: &str = "\
# Generated by iptables-save v1.8.9 (nf_tables)
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:foo - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment \"let \\\"-j DROP\\\" in\" -j ACCEPT
-A INPUT -j foo
-A foo -p udp -m udp --dport 10000 -j RULE
COMMIT
";

fn iptables(rule: &str) -> Verdict {
    let text = IPTABLES.replace("-p udp -m udp --dport 10000 -j RULE", rule);
    Rules::from_iptables(&text, &traffic()).verdict()
}

#[test]
fn iptables_rules() {
    let Verdict::Drops(culprit) = iptables("-p udp -m udp --dport 10000 -j DROP") else {
        panic!();
    };
    assert_eq!(
        (culprit.table.as_str(), culprit.chain.as_str()),
        ("filter", "foo")
    );
    assert!(culprit.rule.contains("--dport 10000 -j DROP"));
    let accepts = [
        "-p udp -m udp --dport 10000 -j ACCEPT",
        "-p udp -m multiport --dports 5,9000:11000 -j ACCEPT",
        "-p udp -m multiport ! --dports 1,5:7 -j ACCEPT",
        "-d 224.0.0.0/4 -i wire+ -s 10.77.0.0/24 -j ACCEPT",
        "-m pkttype --pkt-type multicast -j ACCEPT",
    ];
    for rule in accepts {
        assert_eq!(iptables(rule), Verdict::Passes, "{rule}");
    }
    for rule in ["-p udp -m udp --dport 22 -j ACCEPT", "-j LOG", "-j RETURN"] {
        let Verdict::Drops(culprit) = iptables(rule) else {
            panic!("{rule}");
        };
        assert_eq!(culprit.rule, "policy drop", "{rule}");
    }
    let sometimes = iptables("-m statistic --mode random --probability 0.5 -j ACCEPT");
    assert!(matches!(sometimes, Verdict::MayDrop(_)), "{sometimes:?}");
}

#[test]
fn circles_of_jumps_end() {
    let text =
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j a\n-A a -j b\n-A a -j b\n-A b -j a\n-A b -j a\n";
    let rules = Rules::from_iptables(text, &traffic());
    assert_eq!((rules.count(), rules.verdict()), (5, Verdict::Passes));
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
    fn anything_is_read_without_a_panic(text in ".{0,200}", line in "[-!A-Za-z0-9 :,./\"\\\\]{0,120}") {
        let _ = Rules::from_nft(&text, &traffic());
        Rules::from_iptables(&format!("*filter\n:INPUT DROP\n-A INPUT {line}\n{text}"), &traffic()).verdict();
    }
}
