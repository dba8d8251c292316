//! The group of a stream whose config names none: the default one or, if another sender has that, a
//! free one in 239.255/16 (RFC 2365 §6.1). It is derived from the stream's name, so that it is the
//! same at the next start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::clock::Mono;
use crate::config::Stream;
use crate::net::{BatchReceiver, Listener, ReceiveOptions, ReceiveSocket, choice};
use crate::rtp::header::Packet;
use crate::rtp::sap::{self, Directory};

/// How long to listen for others before the first packet: several frame intervals of a moving
/// picture.
const LISTEN: Duration = Duration::from_millis(150);
/// How often each group is checked meanwhile.
const TICK: Duration = Duration::from_millis(10);
/// How many groups are derived from one name.
const CANDIDATES: u8 = 4;

/// A group that is taken, and the sender that has it.
struct Taken {
    group: SocketAddr,
    by: IpAddr,
}

/// The group for `config`. Listens on the network if the user chose none. `lost`: the group that
/// the stream had, and the sender that took it.
pub(super) fn choose(config: &Stream, lost: Option<(SocketAddr, IpAddr)>) -> SocketAddr {
    if config.group_chosen || !config.group.ip().is_multicast() {
        return config.group;
    }
    let made = (0..CANDIDATES).map(|n| from_name(&config.name, n, config.group.port()));
    let candidates: Vec<SocketAddr> = [config.group].into_iter().chain(made).collect();
    let mut taken: Vec<Taken> = lost
        .map(|(group, by)| Taken { group, by })
        .into_iter()
        .collect();
    find_taken(config, &candidates, &mut taken);
    let is_free = |group: &&SocketAddr| taken.iter().all(|t| t.group != **group);
    // If all are taken, the first is as good as any.
    let group = *candidates.iter().find(is_free).unwrap_or(&config.group);
    for taken in taken.iter().filter(|t| t.group != group) {
        warn!(
            "{} sends to {} already: {:?} goes to {group} instead; set its group to send elsewhere",
            taken.by, taken.group, config.name
        );
    }
    group
}

/// Adds to `taken` those of `candidates` that others send to or announce.
fn find_taken(config: &Stream, candidates: &[SocketAddr], taken: &mut Vec<Taken>) {
    let interface = match choice::choose(config.interface.as_deref(), config.group, None) {
        Ok(interface) => interface.name,
        // Opening the stream's socket gives a better error.
        Err(error) => return debug!("{error}"),
    };
    let open = |group: &SocketAddr| {
        let mut options = ReceiveOptions::new(*group);
        options.interface = Some(interface.clone());
        let socket = ReceiveSocket::open(&options).map_err(|error| debug!("{error}"));
        Some((*group, BatchReceiver::new(socket.ok()?)))
    };
    let mut receivers: Vec<_> = candidates.iter().filter_map(open).collect();
    let mut sap_groups: Vec<IpAddr> = Vec::new();
    for group in candidates.iter().filter_map(|g| sap::group_for(g.ip())) {
        if !sap_groups.contains(&group.ip()) {
            sap_groups.push(group.ip());
        }
    }
    let listener = Listener::open(sap::PORT, &sap_groups, Some(&interface), sap::MAX_LEN);
    let mut listener = listener.map_err(|error| debug!("{error}")).ok();
    let mut directory = Directory::default();
    let mut take = |group, by| {
        if taken.iter().all(|t| t.group != group) {
            taken.push(Taken { group, by });
        }
    };
    let until = Instant::now() + LISTEN;
    while Instant::now() < until {
        for (group, receiver) in &mut receivers {
            let batch = receiver.receive(Some(Duration::ZERO));
            let datagrams = batch.iter().flat_map(|batch| batch.datagrams());
            for (from, _) in datagrams.filter(|(_, d)| Packet::parse(d).is_ok()) {
                take(*group, from.ip());
            }
        }
        let Some(listener) = &mut listener else {
            std::thread::sleep(TICK);
            continue;
        };
        let _ = listener.receive(TICK, None, |interface, from, datagram| {
            directory.push(Mono::now(), from.ip(), &interface.name, datagram);
        });
    }
    for listing in directory.streams() {
        if candidates.contains(&listing.stream.addr) {
            take(listing.stream.addr, listing.from);
        }
    }
}

/// The `n`th group derived from `name`. Not in 239.255.255/24, which contains RFC 2974's and SSDP's
/// groups.
fn from_name(name: &str, n: u8, port: u16) -> SocketAddr {
    let hash = sap::hash(&[name.as_bytes(), &[n]].concat());
    let group = Ipv4Addr::new(239, 255, (hash >> 8) as u8 % 255, hash as u8 % 254 + 1);
    SocketAddr::new(group.into(), port)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn groups_of_names_are_local_differ_and_stay() {
        let names = ["lancam", "porch", "yard", "garage", "Straße"];
        let all: Vec<SocketAddr> = (names.iter())
            .flat_map(|name| (0..CANDIDATES).map(|n| from_name(name, n, 10_000)))
            .collect();
        for group in &all {
            let IpAddr::V4(v4) = group.ip() else {
                panic!("{group}")
            };
            let [a, b, c, d] = v4.octets();
            assert!(
                (a, b) == (239, 255) && c < 255 && (1..255).contains(&d),
                "{group}"
            );
        }
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(from_name("porch", 0, 10_000), all[4]);
    }

    #[test]
    fn a_group_that_was_chosen_is_not_looked_at() {
        let config = Stream {
            group_chosen: true,
            ..Stream::default()
        };
        assert_eq!(choose(&config, None), config.group);
    }
}
