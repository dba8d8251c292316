//! Limits the number of connections, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::guesses::network;

/// The places, and who has them. A /64 network of IPv6 counts as one address. Loopback addresses
/// may take all places, since a proxy on this machine does.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    most_of_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Places {
    /// `most` places in total, `most_of_address` for one address.
    pub(crate) fn new(most: usize, most_of_address: usize) -> Arc<Places> {
        Arc::new(Places {
            most,
            most_of_address,
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a client at this address; `None` if all are taken.
    pub(crate) fn take(self: &Arc<Places>, from: IpAddr) -> Option<Place> {
        let from = network(from);
        let most_of_address = match from.is_loopback() {
            true => self.most,
            false => self.most_of_address,
        };
        self.with(|taken| {
            let of_address = taken.of.get(&from).copied().unwrap_or(0);
            if taken.all >= self.most || of_address >= most_of_address {
                return None;
            }
            taken.all += 1;
            taken.of.insert(from, of_address + 1);
            Some(Place {
                places: Arc::clone(self),
                from,
            })
        })
    }

    /// The number of places taken.
    pub(crate) fn taken(&self) -> usize {
        self.with(|taken| taken.all)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Taken) -> T) -> T {
        work(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A taken place, which is free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    from: IpAddr,
}

impl Place {
    /// The address that has it, or the network for IPv6.
    pub(crate) fn from(&self) -> IpAddr {
        self.from
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.with(|taken| {
            taken.all = taken.all.saturating_sub(1);
            let left = taken.of.get(&self.from).map_or(0, |n| n.saturating_sub(1));
            match left {
                0 => taken.of.remove(&self.from),
                left => taken.of.insert(self.from, left),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;
    const MOST_OF_ADDRESS: usize = 20;

    /// How many of `visitors` are let in at the same time.
    fn let_in(visitors: impl Iterator<Item = IpAddr>) -> usize {
        let places = Places::new(MOST, MOST_OF_ADDRESS);
        let taken: Vec<Place> = visitors.filter_map(|from| places.take(from)).collect();
        let count = taken.len();
        assert_eq!(places.taken(), count);
        drop(taken);
        assert_eq!(places.taken(), 0);
        assert!(places.with(|taken| taken.of.is_empty()));
        count
    }

    #[test]
    fn one_host_does_not_take_every_place() {
        let same = |address: &'static str| (0..200).map(|_| address.parse().unwrap());
        assert_eq!(let_in(same("10.0.0.7")), MOST_OF_ADDRESS);
        assert_eq!(let_in(same("::ffff:10.0.0.7")), MOST_OF_ADDRESS);
        let of_one_network = (0..200).map(|n| format!("2001:db8:0:1::{n:x}").parse().unwrap());
        assert_eq!(let_in(of_one_network), MOST_OF_ADDRESS);
        let of_many_networks = (0..200).map(|n| format!("2001:db8:0:{n:x}::1").parse().unwrap());
        assert_eq!(let_in(of_many_networks), MOST);
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(let_in(same(here)), MOST, "{here}");
        }
    }
}
