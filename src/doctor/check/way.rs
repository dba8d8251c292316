//! What may stop packets between the wire and the socket: reverse-path filter, firewall, size.

use super::super::facts::{Facts, RpFilter, Wire};
use super::super::firewall::{Culprit, Verdict};
use super::super::report::Check;
use super::interface::sysctl_name;
use super::{count, list};

/// A share of the bytes that may be missing at the socket because the two were not read at the same moment.
const TOLERANCE: f64 = 0.02;
/// IP and UDP headers: RFC 791 §3.1, RFC 8200 §3, RFC 768.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

/// Whether packets reached the interface and no program.
pub(super) fn vanished(facts: &Facts) -> Option<&Wire> {
    let wire = facts.wire.as_ref().ok()?;
    let is_gone = wire.packets > 0 && facts.ears.heard.packets == 0 && facts.joined.is_ok();
    is_gone.then_some(wire)
}

/// The share of what reached the interface that did not reach the socket; `None` where that is nothing, or cannot be told.
pub(super) fn dropped_here(facts: &Facts) -> Option<f64> {
    let wire = facts.wire.as_ref().ok()?;
    let missing = wire.bytes.checked_sub(facts.ears.heard.bytes)?;
    let share = missing as f64 / wire.bytes.max(1) as f64;
    (share > TOLERANCE && wire.fragments == 0 && facts.ears.overflowed == 0).then_some(share)
}

pub(super) fn rp_filter(facts: &Facts) -> Check {
    const ID: &str = "rp_filter";
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    if facts.group.is_ipv6() {
        return Check::skip(ID, "IPv6 has none of its own");
    }
    let Some(filter) = facts.rp_filter else {
        return Check::skip(
            ID,
            format!("/proc does not tell that of {}", interface.name),
        );
    };
    let name = &interface.name;
    let state = state(filter, name);
    let wrong = facts
        .ways_back
        .iter()
        .find(|(_, way)| match filter.in_force() {
            1 => way.as_ref() != Some(name),
            2 => way.is_none(),
            _ => false,
        });
    if let Some((from, way)) = wrong {
        let way = match way {
            Some(other) => format!("goes by {other}"),
            None => "does not exist".to_owned(),
        };
        let what =
            format!("{state}: packets from {from} are dropped, because the route back {way}");
        let advice = format!(
            "give {from} a route by {name} (sudo ip route add {from} dev {name}), or switch the filter off: sudo sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{}.rp_filter=0",
            sysctl_name(name)
        );
        return match facts.ears.heard.packets > 0 {
            true => Check::warn(ID, what, advice),
            false => Check::fail(ID, what, advice),
        };
    }
    Check::ok(ID, state)
}

fn state(filter: RpFilter, name: &str) -> String {
    let word = match filter.in_force() {
        0 => "off",
        1 => "strict",
        _ => "loose",
    };
    format!("{word} (all {}, {name} {})", filter.all, filter.interface)
}

/// Rules, and what really came through.
pub(super) fn firewall(facts: &Facts) -> Check {
    const ID: &str = "firewall";
    if facts.joined.is_err() {
        return Check::skip(ID, "not listened");
    }
    let (verdict, tool) = facts.filter.verdict();
    let rp_filter_drops = rp_filter(facts).advice.is_some();
    if let Some(wire) = vanished(facts) {
        let seen = format!(
            "{} from {} reached the interface and none a program",
            count(wire.packets, "packet"),
            list(&wire.sources)
        );
        return match verdict {
            Verdict::Drops(culprit) | Verdict::MayDrop(culprit) => {
                let what = format!("{seen}: {}", described(&culprit, tool));
                Check::fail(ID, what, let_in(facts, &culprit, tool))
            }
            Verdict::Passes if rp_filter_drops => {
                Check::ok(ID, format!("{seen}; that is rp_filter's work, see above"))
            }
            Verdict::Passes => Check::fail(
                ID,
                format!("{seen}: something on this machine drops them"),
                "look at: sudo nft list ruleset; sudo iptables-save; nstat -az | grep -i drop",
            ),
        };
    }
    if let Some(share) = dropped_here(facts) {
        let seen = format!(
            "{:.0} % of what reached the interface was dropped here",
            share * 100.0
        );
        return match verdict {
            Verdict::Drops(culprit) | Verdict::MayDrop(culprit) => {
                let what = format!("{seen}: {}", described(&culprit, tool));
                Check::warn(ID, what, let_in(facts, &culprit, tool))
            }
            Verdict::Passes => Check::warn(
                ID,
                seen,
                "look at: sudo nft list ruleset; sudo iptables-save; nstat -az | grep -i drop",
            ),
        };
    }
    if facts.ears.heard.packets > 0 {
        let how = match &facts.wire {
            Ok(wire) if wire.packets > 0 => "what reaches the interface comes through",
            _ => "packets come through",
        };
        return Check::ok(ID, how);
    }
    match verdict {
        Verdict::Drops(culprit) => {
            let advice = let_in(facts, &culprit, tool);
            Check::fail(ID, described(&culprit, tool), advice)
        }
        Verdict::MayDrop(culprit) => {
            let advice = let_in(facts, &culprit, tool);
            let what = format!("perhaps: {}", described(&culprit, tool));
            Check::warn(ID, what, advice)
        }
        Verdict::Passes if facts.filter.rules.is_empty() => Check::skip(
            ID,
            format!("rules not read: {}", list(&facts.filter.unread)),
        ),
        Verdict::Passes => {
            let n = facts
                .filter
                .rules
                .iter()
                .map(|(_, rules)| rules.count() as u64);
            let n = count(n.sum(), "rule");
            Check::ok(ID, format!("{n}, none of which drops the stream"))
        }
    }
}

fn described(culprit: &Culprit, tool: &str) -> String {
    format!(
        "\"{}\" in chain {} of table {} ({tool})",
        culprit.rule, culprit.chain, culprit.table
    )
}

/// How to let the stream, its RTCP and its repair in.
fn let_in(facts: &Facts, culprit: &Culprit, tool: &str) -> String {
    let (from, to) = (facts.group.port(), facts.group.port().saturating_add(4));
    if culprit.chain.starts_with("ufw") || culprit.rule.contains("ufw") {
        return format!("sudo ufw allow {from}:{to}/udp");
    }
    if culprit.table.contains("firewalld") {
        return format!(
            "sudo firewall-cmd --permanent --add-port={from}-{to}/udp && sudo firewall-cmd --reload"
        );
    }
    match tool {
        "nft" => format!(
            "sudo nft insert rule {} {} udp dport {from}-{to} accept",
            culprit.table, culprit.chain
        ),
        iptables => format!(
            "sudo {} -t {} -I {} -p udp --dport {from}:{to} -j ACCEPT",
            iptables.trim_end_matches("-save"),
            culprit.table,
            culprit.chain
        ),
    }
}

/// Packets against what the link carries.
pub(super) fn mtu(facts: &Facts) -> Check {
    const ID: &str = "mtu";
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    let (name, mtu) = (&interface.name, interface.mtu as usize);
    let heard = &facts.ears.heard;
    if heard.packets == 0 {
        return Check::skip(ID, format!("no packets came; {name} carries {mtu} bytes"));
    }
    let headers = if facts.group.is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let largest = heard.largest + headers;
    let lost = heard.reception.map_or(0, |r| r.lost());
    if heard.whole == 0 && heard.only_last_packets && lost > 0 && largest <= mtu {
        let what = format!(
            "only the last, short packets of frames come, of up to {largest} bytes; {name} carries {mtu}: the full ones are too large for it, or for something on the way"
        );
        let advice = format!(
            "lancam send --mtu {mtu} on the sender, or the same MTU on every machine: sudo ip link set {name} mtu 1500"
        );
        return Check::fail(ID, what, advice);
    }
    let fragments = facts.wire.as_ref().map_or(0, |wire| wire.fragments);
    if largest > mtu || fragments > 0 {
        let what = format!(
            "packets of {largest} bytes come cut into pieces; {name} carries {mtu}: one lost piece loses the whole packet"
        );
        return Check::warn(ID, what, format!("lancam send --mtu {mtu} on the sender"));
    }
    Check::ok(
        ID,
        format!("packets of up to {largest} bytes; {name} carries {mtu}"),
    )
}
