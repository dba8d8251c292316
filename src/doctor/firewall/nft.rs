//! `nft -j list ruleset`: libnftables-json(5).

use serde_json::Value;

use super::{
    Action, Chain, Entry, Rule, Rules, Traffic, Tri, in_network, is_interface, of_sources,
};

/// Reads the objects of a ruleset. What is not understood may match.
pub(super) fn read(objects: &[Value], traffic: &Traffic) -> Rules {
    let mut rules = Rules::default();
    for object in objects {
        if let Some(chain) = object.get("chain").filter(|c| concerns(c, traffic)) {
            let place = place(&mut rules, chain, "name");
            place.entry = entry(chain, traffic);
        } else if let Some(rule) = object.get("rule").filter(|r| concerns(r, traffic)) {
            let found = read_rule(rule, traffic);
            place(&mut rules, rule, "chain").rules.extend(found);
        }
    }
    rules
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the table's family sees such packets on their way to a program.
fn concerns(object: &Value, traffic: &Traffic) -> bool {
    match text(object, "family") {
        "inet" | "netdev" => true,
        "ip" => traffic.to.is_ipv4(),
        "ip6" => traffic.to.is_ipv6(),
        _ => false,
    }
}

fn place<'a>(rules: &'a mut Rules, object: &Value, chain: &str) -> &'a mut Chain {
    let table = format!("{} {}", text(object, "family"), text(object, "table"));
    let chains = rules.0.entry(table).or_default();
    chains.entry(text(object, chain).to_owned()).or_default()
}

/// Where the kernel enters the chain, if it does for packets that come in.
fn entry(chain: &Value, traffic: &Traffic) -> Option<Entry> {
    let hook = match text(chain, "hook") {
        "ingress" => 0,
        "prerouting" => 1,
        "input" => 2,
        _ => return None,
    };
    let is_ours = match chain.get("dev") {
        None => true,
        Some(Value::Array(all)) => all.iter().any(|d| d == traffic.interface.as_str()),
        Some(one) => one == traffic.interface.as_str(),
    };
    is_ours.then(|| Entry {
        hook,
        priority: chain.get("prio").and_then(Value::as_i64).unwrap_or(0),
        drops_by_default: text(chain, "policy") == "drop",
    })
}

/// One rule; several where it ends in a verdict map.
fn read_rule(rule: &Value, traffic: &Traffic) -> Vec<Rule> {
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
                matches = matches.and(read_match(body, traffic));
                words.push(words_of(body));
            }
            "vmap" => found.extend(read_map(body, matches, &words, traffic)),
            // Let so many through in a second, then match no more.
            "limit" | "quota" | "connlimit" | "ct count" => {
                matches = matches.and(Tri::Maybe);
                words.push(kind.clone());
            }
            "xt" => {
                words.push(text(body, "name").to_owned());
                match text(body, "type") {
                    "match" => matches = matches.and(Tri::Maybe),
                    _ => found.extend(read_target(body, matches, &words)),
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

/// A target of iptables that nft shows by its name only.
fn read_target(body: &Value, matches: Tri, words: &[String]) -> Option<Rule> {
    matches!(text(body, "name"), "REJECT" | "DROP").then(|| Rule {
        matches,
        action: Action::Drop,
        text: words.join(" "),
    })
}

/// A verdict map: `ct state vmap { established : accept, invalid : drop }`.
fn read_map(body: &Value, matches: Tri, words: &[String], traffic: &Traffic) -> Vec<Rule> {
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
            matches: matches.and(holds(left, key, traffic)),
            action,
            text: text.join(" "),
        });
    }
    if found.is_empty() {
        // A named map, whose elements are not here.
        found.push(Rule {
            matches: matches.and(Tri::Maybe),
            action: Action::Accept,
            text: words.join(" "),
        });
    }
    found
}

fn read_match(body: &Value, traffic: &Traffic) -> Tri {
    let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else {
        return Tri::Maybe;
    };
    let holds = holds(left, right, traffic);
    match text(body, "op") {
        "==" | "in" => holds,
        "!=" => holds.not(),
        _ => Tri::Maybe,
    }
}

/// Whether what `left` names is, or is one of, `right`.
fn holds(left: &Value, right: &Value, traffic: &Traffic) -> Tri {
    let is_v4 = traffic.to.is_ipv4();
    if let Some(payload) = left.get("payload") {
        return match (text(payload, "protocol"), text(payload, "field")) {
            ("udp" | "th", "dport") => any(right, &|v| port(v, traffic.to.port())),
            ("udp" | "th" | "ether", _) => Tri::Maybe,
            ("ip", _) if !is_v4 => Tri::No,
            ("ip6", _) if is_v4 => Tri::No,
            ("ip" | "ip6", "daddr") => any(right, &|v| address(v, traffic.to.ip())),
            ("ip" | "ip6", "saddr") => of_sources(traffic, |ip| any(right, &|v| address(v, ip))),
            ("ip", "protocol") | ("ip6", "nexthdr") => any(right, &is_udp),
            ("ip" | "ip6", _) => Tri::Maybe,
            // TCP, ICMP, ARP and the rest.
            (protocol, _) if !protocol.is_empty() => Tri::No,
            _ => Tri::Maybe,
        };
    }
    if let Some(meta) = left.get("meta") {
        return match text(meta, "key") {
            "iifname" | "iif" => any(right, &|v| {
                of_text(v, |s| is_interface(&traffic.interface, s, '*'))
            }),
            "oifname" | "oif" => Tri::No,
            "l4proto" => any(right, &is_udp),
            "nfproto" => any(right, &|v| {
                of_text(v, |s| s == if is_v4 { "ipv4" } else { "ipv6" })
            }),
            "protocol" => any(right, &|v| {
                of_text(v, |s| s == if is_v4 { "ip" } else { "ip6" })
            }),
            "pkttype" => any(right, &|v| of_text(v, |s| s == cast(traffic, "host"))),
            _ => Tri::Maybe,
        };
    }
    if let Some(ct) = left.get("ct") {
        // Nobody answers a stream, so conntrack never sees more of it than the first packet.
        return match text(ct, "key") {
            "state" => any(right, &|v| of_text(v, |s| s == "new")),
            _ => Tri::Maybe,
        };
    }
    if let Some(fib) = left.get("fib") {
        let of_destination = fib
            .get("flags")
            .is_some_and(|f| f.to_string().contains("daddr"));
        if text(fib, "result") == "type" && of_destination {
            return any(right, &|v| of_text(v, |s| s == cast(traffic, "local")));
        }
    }
    Tri::Maybe
}

fn cast<'a>(traffic: &Traffic, unicast: &'a str) -> &'a str {
    match traffic.to.ip().is_multicast() {
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
        // A named set, whose elements are not here.
        Value::String(name) if name.starts_with('@') => Tri::Maybe,
        _ => holds(value),
    }
}

fn of_text(value: &Value, holds: impl Fn(&str) -> bool) -> Tri {
    value.as_str().map_or(Tri::Maybe, |s| Tri::of(holds(s)))
}

fn is_udp(value: &Value) -> Tri {
    match value.as_u64() {
        Some(number) => Tri::of(number == 17),
        None => of_text(value, |s| s == "udp"),
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

fn address(value: &Value, ip: std::net::IpAddr) -> Tri {
    if let Some(one) = value.as_str() {
        return in_network(ip, one);
    }
    if let Some(prefix) = value.get("prefix") {
        let bits = prefix.get("len").and_then(Value::as_u64).unwrap_or(128);
        return in_network(ip, &format!("{}/{bits}", text(prefix, "addr")));
    }
    let end =
        |i| -> Option<std::net::IpAddr> { value.get("range")?.get(i)?.as_str()?.parse().ok() };
    match (end(0), end(1)) {
        (Some(from), Some(to)) => Tri::of((from..=to).contains(&ip)),
        _ => Tri::Maybe,
    }
}

/// A match in nft's own words, near enough to be found in `nft list ruleset`.
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
