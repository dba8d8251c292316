//! Phrases that several checks share.

use super::super::findings::Findings;
use super::super::report::Check;

/// A skipped check if nothing came; `None`: packets came.
pub(super) fn nothing_came(findings: &Findings, id: &'static str) -> Option<Check> {
    if findings.joined.is_err() {
        return Some(Check::skip(id, "not listened"));
    }
    (findings.received.arrivals.packets == 0).then(|| Check::skip(id, "no packets came"))
}

/// `1 packet`, `2 packets`.
pub(super) fn count(n: u64, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        _ => format!("{n} {thing}s"),
    }
}

/// The names, separated by commas.
pub(super) fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let words: Vec<_> = all.into_iter().map(|t| t.to_string()).collect();
    words.join(", ")
}

/// sysctl(8): a dot within a name is written as a slash.
pub(super) fn sysctl_name(interface: &str) -> String {
    interface.replace('.', "/")
}
