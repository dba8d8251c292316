//! The judgement: facts in, one line for each check out. Pure.

mod host;
mod interface;
mod querier;
mod stream;
mod way;

#[cfg(test)]
mod tests;

use super::facts::{Announcement, Facts};
use super::report::{Check, Report};

/// All checks, in the order of the packets' way: from the wire to the picture.
pub(super) fn all(facts: &Facts) -> Report {
    let mut checks = Vec::from_iter(stream::announced(facts));
    checks.extend([
        interface::interface(facts),
        interface::address(facts),
        interface::multicast(facts),
        interface::route(facts),
        host::port(facts),
        interface::membership(facts),
        querier::querier(facts),
        way::rp_filter(facts),
        way::firewall(facts),
        stream::packets(facts),
        stream::frames(facts),
        stream::loss(facts),
        stream::jitter(facts),
        stream::ttl(facts),
        stream::senders(facts),
        way::mtu(facts),
        host::rmem(facts),
        host::wmem(facts),
        stream::rtcp(facts),
        stream::repair(facts),
        host::clock(facts),
    ]);
    checks.extend(host::cameras(facts));
    let is_missing = matches!(facts.announcement, Announcement::Missing { .. });
    Report {
        group: facts.group,
        interface: facts.interface.as_ref().ok().map(|i| i.name.clone()),
        listened_s: facts.ears.listened.as_secs_f64(),
        watchable: facts.ears.heard.whole > 0 && !is_missing,
        checks,
    }
}

/// Why a check of what came cannot say anything; `None`: packets came.
fn nothing_came(facts: &Facts, id: &'static str) -> Option<Check> {
    if facts.joined.is_err() {
        return Some(Check::skip(id, "not listened"));
    }
    (facts.ears.heard.packets == 0).then(|| Check::skip(id, "no packets came"))
}

/// `1 packet`, `2 packets`.
fn count(n: u64, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        _ => format!("{n} {thing}s"),
    }
}

/// The names with commas.
fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<_> = all.into_iter().map(|t| t.to_string()).collect();
    words.join(", ")
}
