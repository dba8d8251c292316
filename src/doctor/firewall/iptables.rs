//! `iptables-save`: iptables(8), iptables-extensions(8).

use super::{
    Action, Chain, Entry, Rule, Rules, Traffic, Tri, in_network, is_interface, of_sources,
};

/// Reads a dump of all tables. Options that are not understood may match.
pub(super) fn read(text: &str, traffic: &Traffic) -> Rules {
    let mut rules = Rules::default();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim();
        } else if let Some(rest) = line.strip_prefix(':') {
            let mut words = rest.split_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else {
                continue;
            };
            place(&mut rules, table, name).entry = entry(table, name, policy);
        } else if let Some((chain, rule)) = read_rule(line, traffic) {
            place(&mut rules, table, &chain).rules.push(rule);
        }
    }
    rules
}

fn place<'a>(rules: &'a mut Rules, table: &str, chain: &str) -> &'a mut Chain {
    let chains = rules.0.entry(table.to_owned()).or_default();
    chains.entry(chain.to_owned()).or_default()
}

/// iptables(8), TABLES: raw, mangle and filter see packets for this machine, in that order.
fn entry(table: &str, chain: &str, policy: &str) -> Option<Entry> {
    let hook = match chain {
        "PREROUTING" => 1,
        "INPUT" => 2,
        _ => return None,
    };
    let priority = match table {
        "raw" => -300,
        "mangle" => -150,
        "filter" => 0,
        "security" => 50,
        _ => return None,
    };
    Some(Entry {
        hook,
        priority,
        drops_by_default: policy == "DROP",
    })
}

/// `-A CHAIN ...`.
fn read_rule(line: &str, traffic: &Traffic) -> Option<(String, Rule)> {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    if words.next() != Some("-A") {
        return None;
    }
    let chain = words.next()?.to_owned();
    let mut rule = Rule {
        matches: Tri::Yes,
        action: Action::Nothing,
        text: line.to_owned(),
    };
    let mut inverted = false;
    while let Some(word) = words.next() {
        let holds = match word {
            "!" => {
                inverted = true;
                continue;
            }
            "-j" | "-g" => {
                let goes = word == "-g";
                rule.action = action(words.next()?, goes);
                // What follows are the target's own options.
                break;
            }
            // The module's options follow; by itself it says nothing. A comment is no condition.
            "-m" | "--comment" => {
                words.next();
                continue;
            }
            "-p" | "--protocol" => Tri::of(matches!(words.next()?, "udp" | "all" | "17" | "0")),
            "-i" | "--in-interface" => {
                Tri::of(is_interface(&traffic.interface, words.next()?, '+'))
            }
            "-o" | "--out-interface" => {
                words.next();
                Tri::No
            }
            "-d" | "--destination" => in_network(traffic.to.ip(), words.next()?),
            "-s" | "--source" => {
                let network = words.next()?;
                of_sources(traffic, |ip| in_network(ip, network))
            }
            "--dport" | "--dports" | "--destination-port" => {
                ports(words.next()?, traffic.to.port())
            }
            "--pkt-type" => {
                Tri::of((words.next()? == "multicast") == traffic.to.ip().is_multicast())
            }
            // Nobody answers a stream, so conntrack never sees more of it than the first packet.
            "--ctstate" | "--state" => Tri::of(words.next()?.split(',').any(|s| s == "NEW")),
            "--dst-type" => {
                let of_group = words.next()? == "MULTICAST";
                Tri::of(of_group == traffic.to.ip().is_multicast())
            }
            word if word.starts_with('-') => Tri::Maybe,
            // The value of an option that was not understood.
            _ => continue,
        };
        let holds = if inverted { holds.not() } else { holds };
        inverted = false;
        rule.matches = rule.matches.and(holds);
    }
    Some((chain, rule))
}

fn action(target: &str, goes: bool) -> Action {
    match target {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        // A chain of its own name, or an extension that decides nothing: that is no chain, and is walked through.
        other if goes => Action::Goto(other.to_owned()),
        other => Action::Jump(other.to_owned()),
    }
}

/// `1,5:7`.
fn ports(text: &str, port: u16) -> Tri {
    let is_in = |part: &str| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else {
            return Tri::Maybe;
        };
        Tri::of((from..=to).contains(&port))
    };
    text.split(',').map(is_in).fold(Tri::No, Tri::or)
}

/// The words of a line; quotes hold a comment together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
