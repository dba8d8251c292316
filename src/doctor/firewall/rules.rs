//! Rules, and a packet's path through them. A rule may depend on something unknown here (a set, a
//! rate, a random number): then it *may* drop.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Limits against loops: depth of jumps, and rules visited in all.
const MAX_DEPTH: u32 = 16;
const MAX_STEPS: u32 = 100_000;

/// The packets in question.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Packets {
    pub(in crate::doctor) direction: Direction,
    pub(in crate::doctor) kind: Kind,
    pub(in crate::doctor) to: IpAddr,
    /// The interface by which they enter or leave.
    pub(in crate::doctor) interface: String,
    /// Their sources; empty: unknown.
    pub(in crate::doctor) sources: Vec<IpAddr>,
}

/// As seen from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Direction {
    In,
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Kind {
    /// UDP to this port.
    Udp(u16),
    /// IGMP of this type: RFC 3376 §4.
    Igmp(u8),
    /// ICMPv6 of this type: MLD, RFC 3810 §5.
    Icmpv6(u8),
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    Yes,
    No,
    Maybe,
}

impl Tri {
    pub(super) fn of(holds: bool) -> Tri {
        if holds { Tri::Yes } else { Tri::No }
    }

    pub(super) fn and(self, other: Tri) -> Tri {
        match (self, other) {
            (Tri::No, _) | (_, Tri::No) => Tri::No,
            (Tri::Yes, Tri::Yes) => Tri::Yes,
            _ => Tri::Maybe,
        }
    }

    pub(super) fn or(self, other: Tri) -> Tri {
        self.not().and(other.not()).not()
    }

    pub(super) fn not(self) -> Tri {
        match self {
            Tri::Yes => Tri::No,
            Tri::No => Tri::Yes,
            Tri::Maybe => Tri::Maybe,
        }
    }
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) matches: Tri,
    pub(super) action: Action,
    /// Roughly as `nft list ruleset` shows it.
    pub(super) text: String,
}

/// Where the kernel enters a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) hook: Hook,
    pub(super) priority: i64,
    pub(super) drops_by_default: bool,
}

/// In the order in which a packet passes them; nft(8), ADDRESS FAMILIES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Output,
    Postrouting,
    Egress,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) entry: Option<Entry>,
    pub(super) rules: Vec<Rule>,
}

/// Tables by name, chains by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(pub(super) BTreeMap<String, BTreeMap<String, Chain>>);

/// What happens to the packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Verdict {
    /// No rule drops them.
    Passes,
    /// A rule may drop some.
    MayDrop(Culprit),
    /// A rule drops them all.
    Drops(Culprit),
}

/// Which rule it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Culprit {
    /// Family and name: `inet filter`.
    pub(in crate::doctor) table: String,
    pub(in crate::doctor) chain: String,
    /// The rule, or `policy drop`.
    pub(in crate::doctor) rule: String,
}

impl Rules {
    /// What the rules do with the packets that they were read for.
    pub(super) fn verdict(&self) -> Verdict {
        let mut entries: Vec<(Entry, &str, &str)> = Vec::new();
        for (table, chains) in &self.0 {
            for (name, chain) in chains {
                let entry = chain.entry.map(|e| (e, table.as_str(), name.as_str()));
                entries.extend(entry);
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
                None if entry.drops_by_default => Some(walk.drop(chain, "policy drop")),
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

/// What a chain decides about a packet.
enum End {
    Accepted,
    Dropped(Culprit),
    /// Perhaps dropped: [`Walk::suspect`] names the rule.
    Unsure,
}

/// A packet's path through one table.
struct Walk<'a> {
    table: &'a str,
    chains: &'a BTreeMap<String, Chain>,
    steps: u32,
    suspect: Option<Culprit>,
    /// An earlier rule may have accepted it.
    may_be_accepted: bool,
}

impl Walk<'_> {
    /// `None`: the chain ended without a decision.
    fn through(&mut self, name: &str, depth: u32) -> Option<End> {
        let chain = self.chains.get(name).filter(|_| depth < MAX_DEPTH)?;
        for rule in &chain.rules {
            self.steps += 1;
            if self.steps > MAX_STEPS || rule.matches == Tri::No {
                continue;
            }
            let sure = rule.matches == Tri::Yes;
            match &rule.action {
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
}
