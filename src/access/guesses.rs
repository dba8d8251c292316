//! Limits how fast a token or password may be guessed. Guesses are counted by address, so that a
//! guesser locks nobody else out; IPv6 addresses by their /64 network, since one host has many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Each address gets at most one answer to a wrong token or password in this time.
const PAUSE: Duration = Duration::from_millis(100);
/// While this many answers are waiting, further tokens are not checked.
const MOST_WAITING: u32 = 20;
/// Most addresses remembered; each is forgotten after two seconds at most.
const MAX_ADDRESSES: usize = 4096;

/// When the next wrong token or password from each address will be answered.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<HashMap<IpAddr, Instant>>);

impl Guesses {
    /// Whether tokens from this address are not checked at present.
    pub(crate) fn are_too_many(&self, now: Instant, from: IpAddr) -> bool {
        let until = self.with(|all| all.get(&network(from)).copied());
        until.is_some_and(|until| until >= now + PAUSE * MOST_WAITING)
    }

    /// Notes a wrong token or password from this address; returns how long to delay the answer.
    pub(crate) fn wrong(&self, now: Instant, from: IpAddr) -> Duration {
        self.with(|all| {
            if all.len() >= MAX_ADDRESSES {
                all.retain(|_, until| *until > now);
            }
            if all.len() >= MAX_ADDRESSES {
                return PAUSE;
            }
            let until = all.entry(network(from)).or_insert(now);
            *until = (*until).max(now) + PAUSE;
            *until - now
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<IpAddr, Instant>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What counts as one address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        whole => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_waits_for_itself() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let here: IpAddr = "10.0.0.7".parse().unwrap();
        for n in 1..=MOST_WAITING {
            assert!(!guesses.are_too_many(now, here));
            assert_eq!(guesses.wrong(now, here), PAUSE * n);
        }
        assert!(guesses.are_too_many(now, here));
        assert!(guesses.are_too_many(now, "::ffff:10.0.0.7".parse().unwrap()));
        assert!(!guesses.are_too_many(now, "10.0.0.8".parse().unwrap()));
        assert!(!guesses.are_too_many(now + PAUSE, here));
        let later = now + Duration::from_secs(60);
        assert_eq!(guesses.wrong(later, here), PAUSE);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 1..=50u16 {
            let from = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, n);
            assert_eq!(guesses.wrong(now, from.into()), PAUSE * u32::from(n));
        }
        assert!(guesses.are_too_many(now, "fd00:0:0:1:ffff::".parse().unwrap()));
        assert!(!guesses.are_too_many(now, "fd00:0:0:2::1".parse().unwrap()));
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..100_000u32 {
            guesses.wrong(now, IpAddr::V4(n.into()));
        }
        assert_eq!(guesses.with(|all| all.len()), MAX_ADDRESSES);
        guesses.wrong(now + Duration::from_secs(1), "10.0.0.7".parse().unwrap());
        assert_eq!(guesses.with(|all| all.len()), 1);
    }
}
