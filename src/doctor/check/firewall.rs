//! The firewall: its rules, what actually got through, and how to let the stream in.

use super::super::findings::{Findings, Wire};
use super::super::firewall::{Culprit, Verdict};
use super::super::report::Check;
use super::path::rp_filter;
use super::words::{count, list};
use crate::rtp::{repair, sap};

const ID: &str = "firewall";
/// The share of bytes that may be missing at the socket only because wire and socket were not read
/// at the same moment.
const TOLERANCE: f64 = 0.02;
/// Where to look if no rule explains a loss.
pub(super) const LOOK: &str =
    "look at: sudo nft list ruleset; sudo iptables-legacy-save; nstat -az | grep -i drop";

/// What reached the interface but no program.
pub(super) fn vanished(findings: &Findings) -> Option<&Wire> {
    let wire = findings.wire.as_ref().ok()?;
    let is_gone =
        wire.packets > 0 && findings.received.arrivals.packets == 0 && findings.joined.is_ok();
    is_gone.then_some(wire)
}

/// The share of what reached the interface that did not reach the socket; `None` if nothing reached
/// it or the share is unknown.
pub(super) fn dropped_here(findings: &Findings) -> Option<f64> {
    let wire = findings.wire.as_ref().ok()?;
    let missing = wire.bytes.checked_sub(findings.received.arrivals.bytes)?;
    let share = missing as f64 / wire.bytes.max(1) as f64;
    let is_whole = wire.fragments == 0 && findings.received.overflowed == 0;
    (share > TOLERANCE && is_whole).then_some(share)
}

pub(super) fn firewall(findings: &Findings) -> Check {
    if findings.joined.is_err() {
        return Check::skip(ID, "not listened");
    }
    let verdict = findings.stream_verdict();
    if let Some(wire) = vanished(findings) {
        let seen = format!(
            "{} from {} reached this machine, but no program",
            count(wire.packets, "packet"),
            list(&wire.sources)
        );
        return match verdict {
            Verdict::Drops(culprit) | Verdict::MayDrop(culprit) => {
                let what = format!("{seen}; the firewall drops them: {}", described(&culprit));
                Check::fail(ID, what, let_stream_in(findings, &culprit))
            }
            Verdict::Passes if rp_filter(findings).advice.is_some() => Check::ok(
                ID,
                format!("{seen}: the reverse-path filter dropped them, see rp_filter above"),
            ),
            Verdict::Passes => Check::fail(
                ID,
                format!("{seen}: something on this machine drops them"),
                LOOK,
            ),
        };
    }
    if let Some(share) = dropped_here(findings) {
        let seen = format!(
            "{:.0} % of what reached this machine was dropped here",
            share * 100.0
        );
        return match verdict {
            Verdict::Drops(culprit) | Verdict::MayDrop(culprit) => {
                let what = format!("{seen}: {}", described(&culprit));
                Check::warn(ID, what, let_stream_in(findings, &culprit))
            }
            Verdict::Passes => Check::warn(ID, seen, LOOK),
        };
    }
    if findings.received.arrivals.packets > 0 {
        return beside(findings).unwrap_or_else(|| Check::ok(ID, "it lets the stream through"));
    }
    match verdict {
        Verdict::Drops(culprit) => {
            let what = format!("the firewall drops the stream: {}", described(&culprit));
            Check::fail(ID, what, let_stream_in(findings, &culprit))
        }
        Verdict::MayDrop(culprit) => {
            let what = format!(
                "the firewall perhaps drops the stream: {}",
                described(&culprit)
            );
            Check::warn(ID, what, let_stream_in(findings, &culprit))
        }
        Verdict::Passes => passes(findings),
    }
}

/// Nothing came, and no rule that could be read is to blame.
fn passes(findings: &Findings) -> Check {
    match &findings.filter.ruleset {
        Err(why) => Check::skip(ID, format!("its rules were not read: {why}")),
        Ok(_) if findings.filter.has_legacy => Check::skip(
            ID,
            "no rule of nftables drops the stream; rules of the old iptables are not read here: sudo iptables-legacy-save shows them",
        ),
        Ok(ruleset) => {
            let rules = count(ruleset.rules() as u64, "rule");
            Check::ok(ID, format!("{rules}, none of which drops the stream"))
        }
    }
}

/// The stream comes through, but not its other ports.
fn beside(findings: &Findings) -> Option<Check> {
    let ports = [
        (
            "RTCP",
            "the sender does not know that this machine watches",
            findings.rtcp_verdict(),
        ),
        (
            "repair",
            "lost packets are not repaired",
            findings.repair_verdict(),
        ),
        (
            "announcements",
            "streams are not found by name",
            findings.announcement_verdict(),
        ),
    ];
    let (what, harm, culprit) =
        ports
            .into_iter()
            .find_map(|(what, harm, verdict)| match verdict {
                Verdict::Drops(culprit) => Some((what, harm, culprit)),
                _ => None,
            })?;
    let what = format!(
        "it lets the stream through, but not its {what}, so {harm}: {}",
        described(&culprit)
    );
    Some(Check::warn(ID, what, let_stream_in(findings, &culprit)))
}

pub(super) fn described(culprit: &Culprit) -> String {
    format!(
        "\"{}\" in chain {} of table {}",
        culprit.rule, culprit.chain, culprit.table
    )
}

/// How to let in the stream, its RTCP, its repair and its announcements, permanently.
pub(super) fn let_stream_in(findings: &Findings, culprit: &Culprit) -> String {
    match Manager::of(findings, culprit) {
        Manager::Ufw => format!(
            "sudo ufw allow {}/udp (ufw keeps it)",
            ports(findings, ':').join(",")
        ),
        Manager::Firewalld => {
            let add = |ports| format!("--add-port={ports}/udp");
            let add: Vec<_> = ports(findings, '-').into_iter().map(add).collect();
            format!(
                "sudo firewall-cmd --permanent {} && sudo firewall-cmd --reload (--permanent keeps it)",
                add.join(" ")
            )
        }
        Manager::Iptables => {
            let ports = ports(findings, ':').join(",");
            let rule = format!("-p udp -m multiport --dports {ports} -j ACCEPT");
            insert_iptables(findings, culprit, &rule)
        }
        Manager::Nft => {
            let ports = ports(findings, '-').join(", ");
            insert_nft(
                findings,
                culprit,
                &format!("udp dport {{ {ports} }} accept"),
            )
        }
    }
}

/// The ports of all these, as single ports and ranges.
fn ports(findings: &Findings, to: char) -> Vec<String> {
    let first = findings.group.port();
    let last = first.saturating_add(repair::PORT_OFFSET);
    let sap = findings
        .group
        .ip()
        .is_multicast()
        .then(|| sap::PORT.to_string());
    sap.into_iter()
        .chain([format!("{first}{to}{last}")])
        .collect()
}

/// The same for membership queries from switch and router, and for this machine's answers.
pub(super) fn let_membership_in(findings: &Findings, culprit: &Culprit) -> String {
    let is_v6 = findings.group.is_ipv6();
    match (Manager::of(findings, culprit), is_v6) {
        (Manager::Ufw, false) => {
            let way = if culprit.chain.contains("output") || culprit.chain == "OUTPUT" { "out" } else { "in" };
            format!("sudo ufw allow {way} proto igmp to 224.0.0.0/4 (ufw keeps it)")
        }
        (Manager::Firewalld, false) => "sudo firewall-cmd --permanent --add-protocol=igmp && sudo firewall-cmd --reload (--permanent keeps it)".to_owned(),
        (Manager::Firewalld, true) => "sudo firewall-cmd --permanent --add-protocol=ipv6-icmp && sudo firewall-cmd --reload (--permanent keeps it)".to_owned(),
        (Manager::Ufw | Manager::Iptables, true) => {
            insert_iptables(findings, culprit, "-p ipv6-icmp -j ACCEPT")
        }
        (Manager::Iptables, false) => insert_iptables(findings, culprit, "-p igmp -j ACCEPT"),
        (Manager::Nft, false) => insert_nft(findings, culprit, "meta l4proto igmp accept"),
        (Manager::Nft, true) => insert_nft(findings, culprit, "meta l4proto ipv6-icmp accept"),
    }
}

/// What manages a rule and must change it.
enum Manager {
    Ufw,
    Firewalld,
    Iptables,
    Nft,
}

impl Manager {
    fn of(findings: &Findings, culprit: &Culprit) -> Manager {
        let has_chain = |is_it: fn(&str) -> bool| {
            let ruleset = findings.filter.ruleset.as_ref();
            ruleset.is_ok_and(|r| r.chains(culprit).any(is_it))
        };
        match culprit.table.split_once(' ') {
            Some((_, "firewalld")) => Manager::Firewalld,
            Some(("ip" | "ip6", "filter" | "raw" | "mangle" | "security")) => {
                if has_chain(|name| name.starts_with("ufw")) {
                    Manager::Ufw
                } else if has_chain(|name| matches!(name, "INPUT" | "OUTPUT" | "PREROUTING")) {
                    Manager::Iptables
                } else {
                    Manager::Nft
                }
            }
            _ => Manager::Nft,
        }
    }
}

fn insert_iptables(findings: &Findings, culprit: &Culprit, rule: &str) -> String {
    let program = if findings.group.is_ipv6() {
        "ip6tables"
    } else {
        "iptables"
    };
    let table = culprit.table.rsplit(' ').next().unwrap_or("filter");
    format!(
        "sudo {program} -t {table} -I {} {rule}; it is gone after a restart unless kept: sudo netfilter-persistent save (package iptables-persistent)",
        culprit.chain
    )
}

fn insert_nft(findings: &Findings, culprit: &Culprit, rule: &str) -> String {
    let Culprit { table, chain, .. } = culprit;
    let keep = match findings.filter.has_config {
        true => format!("write `{rule}` first into that chain in /etc/nftables.conf"),
        false => "write it into the file that makes this table".to_owned(),
    };
    format!(
        "sudo nft 'insert rule {table} {chain} {rule}'; it is gone after a restart: to keep it, {keep}"
    )
}
