//! Rules as `nft -j list ruleset` prints them: libnftables-json(5).

use std::net::IpAddr;

use serde_json::Value;

use super::rules::{
    Action, Chain, Culprit, Direction, Entry, Hook, Kind, Packets, Rule, Rules, Tri, Verdict,
};

/// All rules of this machine that nftables knows.
#[derive(Clone, Debug, Default)]
pub(in crate::doctor) struct Ruleset(Vec<Value>);

impl Ruleset {
    /// `None`: this is not nft's output.
    pub(in crate::doctor) fn from_json(json: &str) -> Option<Ruleset> {
        let value: Value = serde_json::from_str(json).ok()?;
        Some(Ruleset(value.get("nftables")?.as_array()?.clone()))
    }

    pub(in crate::doctor) fn rules(&self) -> usize {
        self.0.iter().filter(|o| o.get("rule").is_some()).count()
    }

    /// What happens to `packets`. A match that is not understood may hold.
    pub(in crate::doctor) fn verdict(&self, packets: &Packets) -> Verdict {
        let mut rules = Rules::default();
        for object in &self.0 {
            if let Some(chain) = object.get("chain").filter(|c| concerns(c, packets)) {
                place(&mut rules, chain, "name").entry = entry(chain, packets);
            } else if let Some(rule) = object.get("rule").filter(|r| concerns(r, packets)) {
                let found = read_rule(rule, packets);
                place(&mut rules, rule, "chain").rules.extend(found);
            }
        }
        rules.verdict()
    }

    /// The chains of `culprit`'s table.
    pub(in crate::doctor) fn chains<'a>(
        &'a self,
        culprit: &'a Culprit,
    ) -> impl Iterator<Item = &'a str> {
        let chains = self.0.iter().filter_map(|o| o.get("chain"));
        chains
            .filter(|c| table(c) == culprit.table)
            .map(|c| text(c, "name"))
    }
}

fn table(object: &Value) -> String {
    format!("{} {}", text(object, "family"), text(object, "table"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the table's family sees such packets at this hook.
fn concerns(object: &Value, packets: &Packets) -> bool {
    match text(object, "family") {
        "inet" | "netdev" => true,
        "ip" => packets.to.is_ipv4(),
        "ip6" => packets.to.is_ipv6(),
        _ => false,
    }
}

fn place<'a>(rules: &'a mut Rules, object: &Value, chain: &str) -> &'a mut Chain {
    let chains = rules.0.entry(table(object)).or_default();
    chains.entry(text(object, chain).to_owned()).or_default()
}

/// Where the kernel enters the chain; `None`: not with such packets.
fn entry(chain: &Value, packets: &Packets) -> Option<Entry> {
    let hook = match (packets.direction, text(chain, "hook")) {
        (Direction::In, "ingress") => Hook::Ingress,
        (Direction::In, "prerouting") => Hook::Prerouting,
        (Direction::In, "input") => Hook::Input,
        (Direction::Out, "output") => Hook::Output,
        (Direction::Out, "postrouting") => Hook::Postrouting,
        (Direction::Out, "egress") => Hook::Egress,
        _ => return None,
    };
    let is_ours = match chain.get("dev") {
        None => true,
        Some(Value::Array(all)) => all.iter().any(|d| d == packets.interface.as_str()),
        Some(one) => one == packets.interface.as_str(),
    };
    is_ours.then(|| Entry {
        hook,
        priority: chain.get("prio").and_then(Value::as_i64).unwrap_or(0),
        drops_by_default: text(chain, "policy") == "drop",
    })
}

/// One rule; several if it ends in a verdict map.
fn read_rule(rule: &Value, packets: &Packets) -> Vec<Rule> {
    let mut matches = Tri::Yes;
    let mut words = Vec::new();
    let mut found = Vec::new();
    let statements = rule.get("expr").and_then(Value::as_array);
    for statement in statements.into_iter().flatten() {
        let Some((kind, body)) = statement.as_object().and_then(|o| o.iter().next()) else {
            continue;
        };
        if let Some(action) = action(kind, body) {
            let mut text = words.clone();
            text.push(kind.clone());
            found.push(Rule {
                matches,
                action,
                text: text.join(" "),
            });
            continue;
        }
        match kind.as_str() {
            "match" => {
                matches = matches.and(read_match(body, packets));
                words.push(words_of(body));
            }
            "vmap" => found.extend(read_map(body, matches, &words, packets)),
            // Matches up to a rate, and not beyond it.
            "limit" | "quota" | "connlimit" | "ct count" => {
                matches = matches.and(Tri::Maybe);
                words.push(kind.clone());
            }
            "xt" => {
                words.push(text(body, "name").to_owned());
                // Of an iptables extension, nft shows only the name.
                match text(body, "type") {
                    "target" | "watcher" => found.extend(read_target(body, matches, &words)),
                    _ => matches = matches.and(Tri::Maybe),
                }
            }
            _ => {}
        }
    }
    found
}

fn action(kind: &str, body: &Value) -> Option<Action> {
    let target = || text(body, "target").to_owned();
    Some(match kind {
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Drop,
        "return" => Action::Return,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        _ => return None,
    })
}

fn read_target(body: &Value, matches: Tri, words: &[String]) -> Option<Rule> {
    matches!(text(body, "name"), "REJECT" | "DROP").then(|| Rule {
        matches,
        action: Action::Drop,
        text: words.join(" "),
    })
}

/// A verdict map: `ct state vmap { established : accept, invalid : drop }`.
fn read_map(body: &Value, matches: Tri, words: &[String], packets: &Packets) -> Vec<Rule> {
    let pairs = body.pointer("/data/set").and_then(Value::as_array);
    let mut found = Vec::new();
    for pair in pairs.into_iter().flatten() {
        let (Some(key), Some(verdict)) = (pair.get(0), pair.get(1)) else {
            continue;
        };
        let Some((kind, body_of)) = verdict.as_object().and_then(|o| o.iter().next()) else {
            continue;
        };
        let Some(action) = action(kind, body_of) else {
            continue;
        };
        let left = body.get("key").unwrap_or(&Value::Null);
        let mut text = words.to_vec();
        text.push(format!("{} {} {kind}", name_of(left), value_words(key)));
        found.push(Rule {
            matches: matches.and(holds(left, key, packets)),
            action,
            text: text.join(" "),
        });
    }
    if found.is_empty() {
        // A named map, whose elements are not in the rule.
        found.push(Rule {
            matches: matches.and(Tri::Maybe),
            action: Action::Accept,
            text: words.join(" "),
        });
    }
    found
}

fn read_match(body: &Value, packets: &Packets) -> Tri {
    let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else {
        return Tri::Maybe;
    };
    if let Some(protocol) = left.pointer("/payload/protocol").and_then(Value::as_str) {
        // `tcp dport != 22` also implies TCP.
        if !carries(packets, protocol) {
            return Tri::No;
        }
    }
    let holds = holds(left, right, packets);
    match text(body, "op") {
        "==" | "in" => holds,
        "!=" => holds.not(),
        _ => Tri::Maybe,
    }
}

/// Whether the packets have a header of this protocol.
fn carries(packets: &Packets, protocol: &str) -> bool {
    match protocol {
        "ip" => packets.to.is_ipv4(),
        "ip6" => packets.to.is_ipv6(),
        "udp" => matches!(packets.kind, Kind::Udp(_)),
        "igmp" => matches!(packets.kind, Kind::Igmp(_)),
        "icmpv6" => matches!(packets.kind, Kind::Icmpv6(_)),
        "th" | "ether" => true,
        _ => false,
    }
}

/// Whether what `left` names equals `right` or is in it.
fn holds(left: &Value, right: &Value, packets: &Packets) -> Tri {
    let is_v4 = packets.to.is_ipv4();
    if let Some(payload) = left.get("payload") {
        return match (
            text(payload, "protocol"),
            text(payload, "field"),
            packets.kind,
        ) {
            ("udp" | "th", "dport", Kind::Udp(to)) => any(right, &|v| port(v, to)),
            ("igmp", "type", Kind::Igmp(kind)) => any(right, &|v| is_type(v, kind, IGMP_TYPES)),
            ("icmpv6", "type", Kind::Icmpv6(kind)) => any(right, &|v| is_type(v, kind, MLD_TYPES)),
            ("ip" | "ip6", "daddr", _) => any(right, &|v| address(v, packets.to)),
            ("ip" | "ip6", "saddr", _) => of_sources(packets, |ip| any(right, &|v| address(v, ip))),
            ("ip", "protocol", _) => any(right, &|v| is_protocol(v, packets.kind)),
            // RFC 3810 §5: MLD follows a hop-by-hop header.
            ("ip6", "nexthdr", Kind::Icmpv6(_)) => any(right, &|v| is_number(v, 0, &["hopopt"])),
            ("ip6", "nexthdr", _) => any(right, &|v| is_protocol(v, packets.kind)),
            (protocol, _, _) => match carries(packets, protocol) {
                true => Tri::Maybe,
                false => Tri::No,
            },
        };
    }
    if let Some(meta) = left.get("meta") {
        let is_ours = |v: &Value| of_text(v, |s| is_interface(&packets.interface, s));
        return match (text(meta, "key"), packets.direction) {
            ("iifname" | "iif", Direction::In) => any(right, &is_ours),
            ("oifname" | "oif", Direction::Out) => any(right, &is_ours),
            ("iifname" | "iif" | "oifname" | "oif", _) => Tri::No,
            ("l4proto", _) => any(right, &|v| is_protocol(v, packets.kind)),
            ("nfproto", _) => any(right, &|v| {
                of_text(v, |s| s == if is_v4 { "ipv4" } else { "ipv6" })
            }),
            ("protocol", _) => any(right, &|v| {
                of_text(v, |s| s == if is_v4 { "ip" } else { "ip6" })
            }),
            ("pkttype", Direction::In) => {
                any(right, &|v| of_text(v, |s| s == cast(packets, "host")))
            }
            _ => Tri::Maybe,
        };
    }
    if let Some(ct) = left.get("ct") {
        // Nobody answers a stream, so conntrack sees each packet as new. It does not track MLD
        // (net/netfilter/nf_conntrack_proto_icmpv6.c).
        let state = match packets.kind {
            Kind::Udp(_) | Kind::Igmp(_) => "new",
            Kind::Icmpv6(_) => "untracked",
        };
        return match text(ct, "key") {
            "state" => any(right, &|v| of_text(v, |s| s == state)),
            _ => Tri::Maybe,
        };
    }
    if let Some(fib) = left.get("fib") {
        let of_destination = fib
            .get("flags")
            .is_some_and(|f| f.to_string().contains("daddr"));
        if text(fib, "result") == "type" && of_destination {
            return any(right, &|v| of_text(v, |s| s == cast(packets, "local")));
        }
    }
    Tri::Maybe
}

fn cast<'a>(packets: &Packets, unicast: &'a str) -> &'a str {
    match packets.to.is_multicast() {
        true => "multicast",
        false => unicast,
    }
}

/// A single value, or any of a set.
fn any(value: &Value, holds: &dyn Fn(&Value) -> Tri) -> Tri {
    let one_of = |all: &Vec<Value>| {
        let each = all.iter().map(|v| any(v, holds));
        each.fold(Tri::No, Tri::or)
    };
    match value {
        Value::Array(all) => one_of(all),
        Value::Object(object) => match (object.get("set"), object.get("elem")) {
            (Some(Value::Array(all)), _) => one_of(all),
            (_, Some(elem)) => elem.get("val").map_or(Tri::Maybe, |v| any(v, holds)),
            _ => holds(value),
        },
        // A named set, whose elements are not in the rule.
        Value::String(name) if name.starts_with('@') => Tri::Maybe,
        _ => holds(value),
    }
}

fn of_text(value: &Value, holds: impl Fn(&str) -> bool) -> Tri {
    value.as_str().map_or(Tri::Maybe, |s| Tri::of(holds(s)))
}

fn is_protocol(value: &Value, kind: Kind) -> Tri {
    match kind {
        Kind::Udp(_) => is_number(value, 17, &["udp"]),
        Kind::Igmp(_) => is_number(value, 2, &["igmp"]),
        Kind::Icmpv6(_) => is_number(value, 58, &["ipv6-icmp", "icmpv6"]),
    }
}

/// nft's names of message types: nft(8), IGMP TYPE and ICMPV6 TYPE.
const IGMP_TYPES: &[(u8, &str)] = &[
    (0x11, "membership-query"),
    (0x16, "membership-report-v2"),
    (0x22, "membership-report-v3"),
];
const MLD_TYPES: &[(u8, &str)] = &[(130, "mld-listener-query"), (143, "mld2-listener-report")];

fn is_type(value: &Value, kind: u8, names: &[(u8, &str)]) -> Tri {
    let name = names.iter().find(|(n, _)| *n == kind).map_or("", |n| n.1);
    is_number(value, kind.into(), &[name])
}

/// A number that may have a name.
fn is_number(value: &Value, number: u64, names: &[&str]) -> Tri {
    match value.as_u64() {
        Some(n) => Tri::of(n == number),
        None => of_text(value, |s| names.contains(&s)),
    }
}

fn port(value: &Value, port: u16) -> Tri {
    let port = u64::from(port);
    if let Some(number) = value.as_u64() {
        return Tri::of(number == port);
    }
    let end = |i| value.get("range")?.get(i)?.as_u64();
    match (end(0), end(1)) {
        (Some(from), Some(to)) => Tri::of((from..=to).contains(&port)),
        _ => Tri::Maybe,
    }
}

fn address(value: &Value, ip: IpAddr) -> Tri {
    if let Some(one) = value.as_str() {
        return in_network(ip, one);
    }
    if let Some(prefix) = value.get("prefix") {
        let bits = prefix.get("len").and_then(Value::as_u64).unwrap_or(128);
        return in_network(ip, &format!("{}/{bits}", text(prefix, "addr")));
    }
    let end = |i| -> Option<IpAddr> { value.get("range")?.get(i)?.as_str()?.parse().ok() };
    match (end(0), end(1)) {
        (Some(from), Some(to)) => Tri::of((from..=to).contains(&ip)),
        _ => Tri::Maybe,
    }
}

/// A match in nft's own words, close enough to be found in `nft list ruleset`.
fn words_of(body: &Value) -> String {
    let op = match text(body, "op") {
        "==" | "in" | "" => String::new(),
        op => format!("{op} "),
    };
    let null = Value::Null;
    let side = |name| body.get(name).unwrap_or(&null);
    format!(
        "{} {op}{}",
        name_of(side("left")),
        value_words(side("right"))
    )
}

fn name_of(left: &Value) -> String {
    let Some((kind, body)) = left.as_object().and_then(|o| o.iter().next()) else {
        return "?".to_owned();
    };
    match kind.as_str() {
        "payload" => format!("{} {}", text(body, "protocol"), text(body, "field")),
        "meta" => text(body, "key").to_owned(),
        "ct" => format!("ct {}", text(body, "key")),
        other => other.to_owned(),
    }
}

fn value_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(value_words).collect::<Vec<_>>().join(","),
        Value::Object(object) => {
            if let Some(Value::Array(set)) = object.get("set") {
                let words: Vec<_> = set.iter().map(value_words).collect();
                return format!("{{ {} }}", words.join(", "));
            }
            if let Some(Value::Array(range)) = object.get("range") {
                let words: Vec<_> = range.iter().map(value_words).collect();
                return words.join("-");
            }
            match object.get("prefix") {
                Some(prefix) => format!(
                    "{}/{}",
                    text(prefix, "addr"),
                    prefix.get("len").unwrap_or(&Value::Null)
                ),
                None => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// Whether an address is in `ADDRESS` or `ADDRESS/BITS`; `Maybe`: the text is neither.
pub(super) fn in_network(ip: IpAddr, network: &str) -> Tri {
    let (address, bits) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return Tri::Maybe;
    };
    let (a, b, width) = match (ip, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return Tri::No,
    };
    let rest = width - bits.min(width);
    Tri::of(a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0))
}

/// Whether something holds for the packets' sources: for all, for none, or unknown.
fn of_sources(packets: &Packets, holds: impl Fn(IpAddr) -> Tri) -> Tri {
    let mut all = packets.sources.iter().map(|&ip| holds(ip));
    let Some(first) = all.next() else {
        return Tri::Maybe;
    };
    all.fold(first, |a, b| if a == b { a } else { Tri::Maybe })
}

/// Whether `pattern`, which may end in `*`, matches an interface's name.
fn is_interface(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
