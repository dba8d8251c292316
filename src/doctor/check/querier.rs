//! Whether somebody asks who is in which group. A switch that snoops (RFC 4541) forgets a viewer that nobody asks.

use std::time::Duration;

use super::super::facts::{Facts, Wire};
use super::super::report::Check;
use super::list;
use crate::net::Link;

/// RFC 3376 §8.2 and RFC 3810 §9.2: the interval between general queries.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);

pub(super) fn querier(facts: &Facts) -> Check {
    const ID: &str = "querier";
    let group = facts.group.ip();
    let protocol = if group.is_ipv4() { "IGMP" } else { "MLD" };
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    if !group.is_multicast() {
        return Check::skip(ID, format!("{group} is no group"));
    }
    if interface.link == Link::Loopback {
        return Check::skip(ID, "there is no switch on loopback");
    }
    if let Ok(wire) = &facts.wire {
        if !wire.queries.is_empty() {
            return Check::ok(ID, asked(wire, protocol));
        }
    }
    if let Some(version) = facts.old_querier {
        let what = format!(
            "the kernel heard an {protocol}v{version} querier on {} in the last minutes",
            interface.name
        );
        return Check::ok(ID, what);
    }
    if let Some(bridge) = facts.bridge.as_ref().filter(|b| b.queries) {
        return Check::ok(ID, format!("bridge {} of this machine asks", bridge.name));
    }
    let advice = advice(facts);
    match &facts.wire {
        Err(why) => Check::skip(
            ID,
            format!(
                "not listened for {protocol} queries: {why}. Without a querier a switch that snoops forgets the group after minutes"
            ),
        ),
        Ok(_) => Check::warn(ID, silence(facts.ears.listened, protocol), advice),
    }
}

fn asked(wire: &Wire, protocol: &str) -> String {
    let mut from: Vec<_> = wire.queries.iter().map(|q| q.from).collect();
    from.sort();
    from.dedup();
    let version = wire.queries.iter().map(|q| q.version).min().unwrap_or(0);
    format!(
        "{protocol}v{version} queries heard: {}, from {}",
        wire.queries.len(),
        list(from)
    )
}

fn silence(listened: Duration, protocol: &str) -> String {
    let heard = format!("no {protocol} query in {} s", listened.as_secs());
    match listened > QUERY_INTERVAL {
        true => format!(
            "{heard}: there is no querier, and a switch that snoops forgets the group after minutes"
        ),
        false => format!(
            "{heard} (queriers ask every {} s): without a querier a switch that snoops forgets the group after minutes",
            QUERY_INTERVAL.as_secs()
        ),
    }
}

fn advice(facts: &Facts) -> String {
    let querier = match facts.group.is_ipv4() {
        true => "IGMP querier",
        false => "MLD querier",
    };
    let mut advice = String::new();
    if facts.ears.listened <= QUERY_INTERVAL {
        advice = format!(
            "to be sure: lancam doctor --wait {}; ",
            QUERY_INTERVAL.as_secs() + 5
        );
    }
    match facts.bridge.as_ref().filter(|b| b.snoops) {
        Some(bridge) => advice.push_str(&format!(
            "bridge {0} of this machine snoops: echo 1 | sudo tee /sys/class/net/{0}/bridge/multicast_querier",
            bridge.name
        )),
        None => advice.push_str(&format!(
            "if pictures stop after some minutes, switch on the {querier} in the router or switch (one is enough), or switch its snooping off"
        )),
    }
    advice
}
