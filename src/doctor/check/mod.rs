//! The judgement: findings in, one line per check out. Pure.

mod firewall;
mod host;
mod interface;
mod path;
mod querier;
mod stream;
mod words;

#[cfg(test)]
mod tests;

use super::findings::{Findings, Lookup, Unseen};
use super::report::Diagnosis;

/// All checks, along the packets' path from the wire to the picture.
pub(super) fn all(findings: &Findings) -> Diagnosis {
    let mut checks = Vec::from_iter(stream::announced(findings));
    checks.extend([
        interface::interface(findings),
        interface::address(findings),
        interface::multicast(findings),
        interface::route(findings),
        host::port(findings),
        interface::membership(findings),
        querier::querier(findings),
        path::rp_filter(findings),
        firewall::firewall(findings),
        stream::packets(findings),
        stream::frames(findings),
        stream::loss(findings),
        stream::jitter(findings),
        stream::ttl(findings),
        stream::senders(findings),
        path::mtu(findings),
        host::rmem(findings),
        host::wmem(findings),
        stream::rtcp(findings),
        stream::repair(findings),
        host::clock(findings),
    ]);
    checks.extend(host::cameras(findings));
    let is_missing = matches!(findings.lookup, Lookup::NotFound { .. });
    Diagnosis {
        group: findings.group,
        interface: findings.interface.as_ref().ok().map(|i| i.name.clone()),
        listened_s: findings.received.listened.as_secs_f64(),
        hint: hint(findings),
        watchable: findings.received.arrivals.whole > 0 && !is_missing,
        checks,
    }
}

/// What running as root would show.
fn hint(findings: &Findings) -> Option<String> {
    let mut hidden = Vec::new();
    if findings.wire == Err(Unseen::NeedsRoot) {
        hidden.push("what reaches the network card, and whether anybody asks who watches");
    }
    if findings.filter.ruleset.as_ref().err() == Some(&Unseen::NeedsRoot) {
        hidden.push("the firewall's rules");
    }
    (!hidden.is_empty()).then(|| format!("run with sudo to see more: {}", hidden.join("; ")))
}
