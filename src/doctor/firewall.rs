//! What a machine's packet filter does with the stream's packets, as far as its rules tell: nftables as `nft -j list
//! ruleset` prints them, iptables as `iptables-save` does. A rule may depend on what nobody knows here (a set, a rate, a
//! random number): then it *may* drop. Reads text; runs nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

mod iptables;
mod nft;

/// Chains that a packet may be sent through one from the other, and rules looked at in all: a bound for whatever
/// circle of jumps there may be.
const MAX_DEPTH: u32 = 16;
const MAX_STEPS: u32 = 100_000;

/// The packets that are asked about.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Where they go.
    pub(super) to: SocketAddr,
    /// The interface that they come in by.
    pub(super) interface: String,
    /// Where they come from, if that is known.
    pub(super) sources: Vec<IpAddr>,
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tri {
    Yes,
    No,
    Maybe,
}

impl Tri {
    fn of(holds: bool) -> Tri {
        if holds { Tri::Yes } else { Tri::No }
    }

    fn and(self, other: Tri) -> Tri {
        match (self, other) {
            (Tri::No, _) | (_, Tri::No) => Tri::No,
            (Tri::Yes, Tri::Yes) => Tri::Yes,
            _ => Tri::Maybe,
        }
    }

    fn or(self, other: Tri) -> Tri {
        self.not().and(other.not()).not()
    }

    fn not(self) -> Tri {
        match self {
            Tri::Yes => Tri::No,
            Tri::No => Tri::Yes,
            Tri::Maybe => Tri::Maybe,
        }
    }
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// Counts, logs, marks: the next rule follows.
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Debug)]
struct Rule {
    matches: Tri,
    action: Action,
    /// As a person would find it.
    text: String,
}

/// Where the kernel enters a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// 0 ingress, 1 prerouting, 2 input.
    hook: u8,
    priority: i64,
    drops_by_default: bool,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    entry: Option<Entry>,
    rules: Vec<Rule>,
}

/// Tables by name, chains by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(BTreeMap<String, BTreeMap<String, Chain>>);

/// What becomes of the packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No rule drops them.
    Passes,
    /// A rule may drop some.
    MayDrop(Culprit),
    /// A rule drops them all.
    Drops(Culprit),
}

/// Which rule it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Culprit {
    /// As the filter's own tools call it: `inet filter`.
    pub(super) table: String,
    pub(super) chain: String,
    /// The rule, or its default.
    pub(super) rule: String,
}

impl Rules {
    /// Reads `nft -j list ruleset`. `None`: it is no such text.
    pub(super) fn from_nft(json: &str, traffic: &Traffic) -> Option<Rules> {
        let value: Value = serde_json::from_str(json).ok()?;
        Some(nft::read(value.get("nftables")?.as_array()?, traffic))
    }

    /// Reads `iptables-save` or `ip6tables-save`.
    pub(super) fn from_iptables(text: &str, traffic: &Traffic) -> Rules {
        iptables::read(text, traffic)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let chains = self.0.values().flat_map(BTreeMap::values);
        chains.map(|chain| chain.rules.len()).sum()
    }

    /// What they do with the packets.
    pub(super) fn verdict(&self) -> Verdict {
        let mut entries: Vec<(Entry, &str, &str)> = Vec::new();
        for (table, chains) in &self.0 {
            for (name, chain) in chains {
                entries.extend(
                    chain
                        .entry
                        .map(|entry| (entry, table.as_str(), name.as_str())),
                );
            }
        }
        entries.sort();
        let mut suspect = None;
        for (entry, table, chain) in entries {
            let mut walk = Walk {
                table,
                chains: &self.0[table],
                steps: 0,
                suspect: None,
                may_be_accepted: false,
            };
            let end = match walk.through(chain, 0) {
                None if entry.drops_by_default => Some(walk.by_default(chain)),
                end => end,
            };
            match end {
                Some(End::Dropped(culprit)) => return Verdict::Drops(culprit),
                _ => suspect = suspect.or(walk.suspect),
            }
        }
        suspect.map_or(Verdict::Passes, Verdict::MayDrop)
    }
}

/// How a chain ends for a packet that it decides on.
enum End {
    Accepted,
    Dropped(Culprit),
    /// Perhaps dropped: [`Walk::suspect`] says by what.
    Unsure,
}

/// A packet's way through one table.
struct Walk<'a> {
    table: &'a str,
    chains: &'a BTreeMap<String, Chain>,
    steps: u32,
    suspect: Option<Culprit>,
    /// A rule before this one may have accepted it.
    may_be_accepted: bool,
}

impl Walk<'_> {
    /// `None`: the chain's end was reached without a decision.
    fn through(&mut self, name: &str, depth: u32) -> Option<End> {
        let chain = self.chains.get(name).filter(|_| depth < MAX_DEPTH)?;
        for rule in &chain.rules {
            self.steps += 1;
            if self.steps > MAX_STEPS || rule.matches == Tri::No {
                continue;
            }
            let sure = rule.matches == Tri::Yes;
            match &rule.action {
                Action::Nothing => {}
                Action::Return if sure => return None,
                Action::Return => {}
                Action::Accept if sure => return Some(End::Accepted),
                Action::Accept => self.may_be_accepted = true,
                Action::Drop if sure => return Some(self.drop(name, &rule.text)),
                Action::Drop => self.suspect(name, &rule.text),
                Action::Jump(to) | Action::Goto(to) => {
                    let ends_here = sure && matches!(rule.action, Action::Goto(_));
                    match self.through(to, depth + 1) {
                        None if ends_here => return None,
                        None => {}
                        end if sure => return end,
                        Some(End::Dropped(culprit)) => {
                            self.suspect.get_or_insert(culprit);
                        }
                        Some(_) => self.may_be_accepted = true,
                    }
                }
            }
        }
        None
    }

    fn culprit(&self, chain: &str, rule: &str) -> Culprit {
        Culprit {
            table: self.table.to_owned(),
            chain: chain.to_owned(),
            rule: rule.to_owned(),
        }
    }

    fn suspect(&mut self, chain: &str, rule: &str) {
        let culprit = self.culprit(chain, rule);
        self.suspect.get_or_insert(culprit);
    }

    fn drop(&mut self, chain: &str, rule: &str) -> End {
        if self.may_be_accepted {
            self.suspect(chain, rule);
            return End::Unsure;
        }
        End::Dropped(self.culprit(chain, rule))
    }

    fn by_default(&mut self, chain: &str) -> End {
        self.drop(chain, "policy drop")
    }
}

/// Whether an address lies in `ADDRESS` or `ADDRESS/BITS`; `Maybe`: that is no such text.
fn in_network(ip: IpAddr, network: &str) -> Tri {
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

/// Whether something holds for where the packets come from: for all, for none, or nobody knows.
fn of_sources(traffic: &Traffic, holds: impl Fn(IpAddr) -> Tri) -> Tri {
    let mut all = traffic.sources.iter().map(|&ip| holds(ip));
    let Some(first) = all.next() else {
        return Tri::Maybe;
    };
    all.fold(first, |a, b| if a == b { a } else { Tri::Maybe })
}

/// Whether an interface's name is `pattern`, which may end in a wildcard.
fn is_interface(name: &str, pattern: &str, wildcard: char) -> bool {
    match pattern.strip_suffix(wildcard) {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests;
