//! Who the members of an RTP session are: RFC 3550 §6.2.1 and §6.3.5. Bounded in total, per host
//! and in time, so that one host that invents SSRCs neither fills the table nor makes the others
//! report rarely. A member is its SSRC and its host: nobody else can take its place or send BYE for
//! it (RFC 3550 §8.2).
//!
//! # Memory
//! At most [`MAX_MEMBERS`] members, 80 bytes each: under 2 MiB. Beyond that the report interval
//! grows no further.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use super::timing::Count;
use crate::clock::Mono;
use crate::rtp::types::Ssrc;

/// Members that are kept.
pub const MAX_MEMBERS: usize = 10_000;
/// Of one host.
pub const MAX_OF_HOST: usize = 16;
/// RFC 3550 §6.3.5: silent intervals after which a member is gone …
const PATIENCE: u32 = 5;
/// … and one that was active for less than [`BRIEF`].
const PATIENCE_BRIEF: u32 = 3;
/// A member that is there has reported twice after this.
const BRIEF: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Member {
    /// `None`: known by its packets only.
    host: Option<IpAddr>,
    first: Mono,
    /// When its last packet came.
    active: Mono,
    /// When it last sent packets of a stream, or said that it did.
    sent: Option<Mono>,
    /// Whether it has ever reported what it receives.
    receives: bool,
}

/// The members except ourselves.
#[derive(Clone, Debug, Default)]
pub struct Members {
    members: HashMap<Ssrc, Member>,
    hosts: HashMap<IpAddr, usize>,
    senders: usize,
    receivers: usize,
}

impl Members {
    /// How many there are.
    pub fn count(&self) -> Count {
        Count {
            members: self.members.len() + 1,
            senders: self.senders,
            receivers: self.receivers + 1,
        }
    }

    /// How many of one host.
    pub fn of_host(&self, host: IpAddr) -> usize {
        self.hosts.get(&host).copied().unwrap_or(0)
    }

    /// Whether `ssrc` sends packets of a stream, as far as is known.
    pub fn is_sender(&self, ssrc: Ssrc) -> bool {
        self.members.get(&ssrc).is_some_and(|m| m.sent.is_some())
    }

    /// A packet of `ssrc` came from `host`, if that is known. False if there is no room for another
    /// member, or `ssrc` is another host's.
    pub fn active(&mut self, now: Mono, ssrc: Ssrc, host: Option<IpAddr>) -> bool {
        let is_full = self.members.len() >= MAX_MEMBERS;
        match self.members.entry(ssrc) {
            Entry::Occupied(mut member) => {
                let member = member.get_mut();
                if host.is_some() && member.host.is_some() && member.host != host {
                    return false;
                }
                member.active = now;
                if let Some(host) = host.filter(|_| member.host.is_none()) {
                    member.host = Some(host);
                    *self.hosts.entry(host).or_default() += 1;
                }
            }
            Entry::Vacant(place) => {
                let of_host = host.map(|host| self.hosts.entry(host).or_default());
                if is_full || of_host.as_ref().is_some_and(|count| **count >= MAX_OF_HOST) {
                    return false;
                }
                if let Some(count) = of_host {
                    *count += 1;
                }
                place.insert(Member {
                    host,
                    first: now,
                    active: now,
                    sent: None,
                    receives: false,
                });
            }
        }
        true
    }

    /// The same for one that sends packets of a stream, or says so.
    pub fn sender_active(&mut self, now: Mono, ssrc: Ssrc, host: Option<IpAddr>) -> bool {
        if !self.active(now, ssrc, host) {
            return false;
        }
        if let Some(member) = self.members.get_mut(&ssrc) {
            self.senders += usize::from(member.sent.is_none());
            member.sent = Some(now);
        }
        true
    }

    /// `ssrc` reported from `host` what it receives.
    pub fn receives(&mut self, ssrc: Ssrc, host: IpAddr) {
        let member = self.members.get_mut(&ssrc);
        if let Some(member) = member.filter(|m| m.host == Some(host)) {
            self.receivers += usize::from(!member.receives);
            member.receives = true;
        }
    }

    /// BYE of `ssrc` came from `host`; returns whether it was a member there.
    pub fn bye(&mut self, ssrc: Ssrc, host: IpAddr) -> bool {
        let member = self.members.get(&ssrc);
        let is_its_own = member.is_some_and(|m| m.host.is_none_or(|h| h == host));
        is_its_own && self.remove(ssrc)
    }

    fn remove(&mut self, ssrc: Ssrc) -> bool {
        let Some(member) = self.members.remove(&ssrc) else {
            return false;
        };
        self.senders -= usize::from(member.sent.is_some());
        self.receivers -= usize::from(member.receives);
        if let Some(Entry::Occupied(mut count)) = member.host.map(|host| self.hosts.entry(host)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        true
    }

    /// Removes and returns the members that were silent for several of these intervals. RFC 3550
    /// §6.3.5.
    pub fn expire(&mut self, now: Mono, interval: Duration) -> Vec<Ssrc> {
        let mut gone = Vec::new();
        for (&ssrc, member) in &mut self.members {
            let patience = match member.active.since(member.first) < BRIEF {
                true => PATIENCE_BRIEF,
                false => PATIENCE,
            };
            if now.since(member.active) > interval * patience {
                gone.push(ssrc);
            }
            let was_sender = member.sent.is_some();
            member.sent = (member.sent).filter(|&sent| now.since(sent) <= interval * 2);
            self.senders -= usize::from(was_sender && member.sent.is_none());
        }
        for &ssrc in &gone {
            self.remove(ssrc);
        }
        // A refused host has an entry without members.
        self.hosts.retain(|_, count| *count > 0);
        gone
    }
}
