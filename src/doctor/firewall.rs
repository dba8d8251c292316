//! What this machine's packet filter does with packets, as far as its rules tell: those of
//! nftables, as `nft -j list ruleset` prints them, including the ones that iptables-nft, ufw and
//! firewalld add. Reads text; runs nothing.

mod nft;
mod rules;

pub(super) use nft::Ruleset;
pub(super) use rules::{Culprit, Direction, Kind, Packets, Verdict};

#[cfg(test)]
mod tests;
