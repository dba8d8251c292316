//! Whether anybody queries group members, and whether this machine can answer. A switch that snoops
//! (RFC 4541) forgets a viewer that does not answer.

use std::time::Duration;

use super::super::findings::{Findings, Wire};
use super::super::firewall::Verdict;
use super::super::report::Check;
use super::firewall::{described, let_membership_in};
use super::words::{count, list};
use crate::net::Link;

const ID: &str = "querier";
/// RFC 3376 §8.2 and RFC 3810 §9.2: the interval between general queries.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
/// What happens without queries.
const FORGETS: &str = "a switch with IGMP snooping stops the stream after some minutes";

pub(super) fn querier(findings: &Findings) -> Check {
    let group = findings.group.ip();
    let protocol = if group.is_ipv4() { "IGMP" } else { "MLD" };
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    if !group.is_multicast() {
        return Check::skip(ID, format!("{group} is not a multicast group"));
    }
    if interface.link == Link::Loopback {
        return Check::skip(ID, "there is no switch on loopback");
    }
    if let Some(dropped) = dropped(findings, protocol) {
        return dropped;
    }
    if let Some(wire) = findings
        .wire
        .as_ref()
        .ok()
        .filter(|w| !w.queries.is_empty())
    {
        return Check::ok(ID, asked(wire, protocol));
    }
    if let Some(version) = findings.old_querier {
        let what = format!(
            "a router or switch on {} asked who watches in the last minutes ({protocol}v{version})",
            interface.name
        );
        return Check::ok(ID, what);
    }
    if let Some(bridge) = findings.bridge.as_ref().filter(|b| b.queries) {
        let what = format!(
            "bridge {} of this machine asks who watches ({protocol})",
            bridge.name
        );
        return Check::ok(ID, what);
    }
    if let Some(bridge) = findings.bridge.as_ref().filter(|b| b.snoops) {
        let what = format!(
            "bridge {} of this machine has IGMP snooping but does not ask who watches; if nobody else asks, it stops the stream after some minutes",
            bridge.name
        );
        let advice = format!(
            "echo 1 | sudo tee /sys/class/net/{}/bridge/multicast_querier",
            bridge.name
        );
        return Check::warn(ID, what, advice);
    }
    let listened = findings.received.listened;
    match &findings.wire {
        Err(why) => Check::skip(
            ID,
            format!(
                "not known whether a router or switch asks who watches ({protocol} queries): {why}"
            ),
        ),
        Ok(_) if listened <= QUERY_INTERVAL => Check::skip(
            ID,
            format!(
                "no {protocol} query in {} s, which is too short to tell: they come every {} s (lancam doctor --wait {} waits for one)",
                listened.as_secs(),
                QUERY_INTERVAL.as_secs(),
                QUERY_INTERVAL.as_secs() + 5
            ),
        ),
        Ok(_) => Check::warn(
            ID,
            format!(
                "no router or switch asks who watches (no {protocol} query in {} s): {FORGETS}",
                listened.as_secs()
            ),
            format!(
                "if pictures stop after some minutes, switch on the {protocol} querier in the router or switch (one is enough), or its snooping off"
            ),
        ),
    }
}

/// Queries that this machine drops, or its own answers.
fn dropped(findings: &Findings, protocol: &str) -> Option<Check> {
    let queries = findings.wire.as_ref().map_or(0, |w| w.queries.len() as u64);
    let came_through = findings.received.queries.unwrap_or(0);
    let vanished = queries > 0 && findings.received.queries == Some(0);
    let verdict = findings.membership_verdict();
    let said = match (&verdict, vanished) {
        (_, true) => format!(
            "{} who watches reached this machine, and its firewall dropped them ({protocol})",
            count(queries, "question")
        ),
        (Verdict::Drops(_), _) => format!("this machine's firewall drops {protocol}"),
        (Verdict::MayDrop(_), _) if came_through == 0 => {
            format!("this machine's firewall perhaps drops {protocol}")
        }
        _ => return None,
    };
    let (rule, advice) = match &verdict {
        Verdict::Drops(culprit) | Verdict::MayDrop(culprit) => (
            format!(": {}", described(culprit)),
            let_membership_in(findings, culprit),
        ),
        Verdict::Passes => (
            String::new(),
            "look at: sudo nft list ruleset; sudo iptables-legacy-save; sysctl net.ipv4.conf.all.rp_filter".to_owned(),
        ),
    };
    let what = format!("{said}{rule}. Without answers {FORGETS}");
    Some(Check::warn(ID, what, advice))
}

fn asked(wire: &Wire, protocol: &str) -> String {
    let mut from: Vec<_> = wire.queries.iter().map(|q| q.from).collect();
    from.sort();
    from.dedup();
    let version = wire.queries.iter().map(|q| q.version).min().unwrap_or(0);
    format!(
        "a router or switch asks who watches, as it should ({protocol}v{version} queries: {}, from {})",
        wire.queries.len(),
        list(from)
    )
}
