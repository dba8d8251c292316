//! Which interface a stream uses: above all one that can carry it, then the one that the routes
//! prefer. An interface that is in use and works is not left without a reason.

use std::net::SocketAddr;

use super::interface::{self, Interface, InterfaceError};

/// How far an interface carries a group, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// To other machines.
    Network,
    /// To other machines, without an address of the group's IP version.
    NoAddress,
    /// Nowhere until its link comes up.
    NoLink,
    /// Not beyond this machine.
    Loopback,
}

/// `None` if it carries no groups.
fn reach(interface: &Interface, to: SocketAddr) -> Option<Reach> {
    match interface {
        i if !i.is_up => None,
        i if i.is_loopback => Some(Reach::Loopback),
        i if !i.is_multicast => None,
        i if !i.is_running => Some(Reach::NoLink),
        i if !i.has_address_like(to.ip()) => Some(Reach::NoAddress),
        _ => Some(Reach::Network),
    }
}

/// The interface among `all` to use for `to`. `route` is the index of the one that the kernel would
/// take, `keep` that of the one in use.
///
/// For a group, carrier and MULTICAST decide first, then whether more than one machine can be
/// reached, then the route, then whether it is a device rather than a bridge or tunnel. A single
/// address is reached by its route.
fn pick(
    all: &[Interface],
    to: SocketAddr,
    route: Option<u32>,
    keep: Option<u32>,
) -> Option<&Interface> {
    let with_index = |index: u32| all.iter().find(|i| i.index == index);
    if let Some(index) = scope(to) {
        return with_index(index);
    }
    if let Some(routed) = route.filter(|_| !to.ip().is_multicast()) {
        return with_index(routed);
    }
    let works = |i: &&Interface| reach(i, to) == Some(Reach::Network);
    if let Some(kept) = keep.and_then(with_index).filter(works) {
        return Some(kept);
    }
    let rank = |i: &Interface| {
        let is_routed = route == Some(i.index);
        let reach = reach(i, to)?;
        Some((
            reach,
            i.is_point_to_point,
            !is_routed,
            !i.is_physical,
            i.index,
        ))
    };
    let ranked = all.iter().filter_map(|i| Some((rank(i)?, i)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, i)| i)
}

/// The index of the interface named in an IPv6 address. RFC 4007 §11.
fn scope(to: SocketAddr) -> Option<u32> {
    match to {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
        _ => None,
    }
}

/// The interface by which to reach `to`, a group or one machine's address: `wanted` (a name or an
/// address) if given, otherwise the best one. `keep` is the index of the one in use, which is kept
/// while it works.
///
/// # Errors
/// The interface does not exist, is down, or cannot carry the group.
pub fn choose(
    wanted: Option<&str>,
    to: SocketAddr,
    keep: Option<u32>,
) -> Result<Interface, InterfaceError> {
    let interface = meant(wanted, to, keep)?;
    if !interface.is_up {
        return Err(InterfaceError::Down {
            name: interface.name,
        });
    }
    if to.ip().is_multicast() && !interface.is_multicast && !interface.is_loopback {
        return Err(InterfaceError::NoMulticast {
            name: interface.name,
        });
    }
    Ok(interface)
}

/// The same, even if it is down or carries no multicast.
///
/// # Errors
/// There is no such interface.
pub fn meant(
    wanted: Option<&str>,
    to: SocketAddr,
    keep: Option<u32>,
) -> Result<Interface, InterfaceError> {
    if let Some(wanted) = wanted {
        return interface::find_again(wanted, keep);
    }
    let all = interface::list()?;
    let route = interface::routed(&all, to).map(|i| i.index);
    if let Some(picked) = pick(&all, to, route, keep) {
        return Ok(picked.clone());
    }
    let present = interface::describe(&all);
    Err(match scope(to) {
        Some(index) => InterfaceError::Unknown {
            wanted: format!("%{index}"),
            present,
        },
        None => InterfaceError::NoneUp { present },
    })
}

/// The names of the others among `all` that would carry the group `to` just as well as `chosen`.
pub fn alternatives<'a>(
    all: &'a [Interface],
    chosen: &Interface,
    to: SocketAddr,
) -> impl Iterator<Item = &'a str> {
    let index = chosen.index;
    let is_other = move |i: &&Interface| {
        to.ip().is_multicast() && i.index != index && reach(i, to) == Some(Reach::Network)
    };
    all.iter().filter(is_other).map(|i| i.name.as_str())
}

/// For the log line on an interface that the user did not choose: `; also possible: --interface
/// wlan0`, or nothing.
pub fn describe_alternatives(chosen: &Interface, to: SocketAddr) -> String {
    let all = interface::list().unwrap_or_default();
    let names: Vec<_> = alternatives(&all, chosen, to).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("; also possible: --interface {}", names.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Link;
    use super::*;
    use std::net::IpAddr;

    /// Flags: `u`p, `r`unning (a link), `m`ulticast, `4` and `6` addresses, `l`oopback, `p`oint to
    /// point, `d`evice.
    fn interface(index: u32, name: &str, flags: &str) -> Interface {
        let is = |flag| flags.contains(flag);
        let mut addresses: Vec<IpAddr> = Vec::new();
        if is('4') {
            addresses.push(IpAddr::from([10, 0, index as u8, 1]));
        }
        if is('6') {
            addresses.push(format!("fe80::{index}").parse().unwrap());
        }
        Interface {
            name: name.to_owned(),
            index,
            is_up: is('u'),
            is_running: is('r'),
            is_multicast: is('m'),
            is_loopback: is('l'),
            is_point_to_point: is('p'),
            is_physical: is('d'),
            hardware: None,
            prefixes: vec![24; addresses.len()],
            addresses,
            mtu: 1500,
            link: Link::Unknown,
        }
    }

    /// `NAME:FLAGS` in the order of their indices, from 1; the route's and the kept one's name, or
    /// nothing; what is picked.
    #[track_caller]
    fn check(to: &str, all: &str, route: &str, keep: &str, expected: &str) {
        let all: Vec<_> = all
            .split_whitespace()
            .zip(1..)
            .map(|(word, index)| {
                let (name, flags) = word.split_once(':').unwrap();
                interface(index, name, flags)
            })
            .collect();
        let index = |name: &str| all.iter().find(|i| i.name == name).map(|i| i.index);
        let picked = pick(&all, to.parse().unwrap(), index(route), index(keep));
        assert_eq!(picked.map_or("", |i| i.name.as_str()), expected);
    }

    const V4: &str = "224.3.29.71:10000";
    const V6: &str = "[ff15::71]:10000";

    #[test]
    fn a_link_and_multicast_decide_before_the_route() {
        // Docker is installed and no container runs: docker0 comes first and has no link.
        check(V4, "lo:url4 docker0:um4 eth0:urm4d", "", "", "eth0");
        check(V4, "lo:url4 docker0:um4 eth0:urm4d", "docker0", "", "eth0");
        // WireGuard has the default route and no MULTICAST.
        check(V4, "lo:url4 eth0:urm4d wg0:urp4", "wg0", "", "eth0");
        check(V4, "lo:url4 eth0:urm4d down0:m4d", "down0", "", "eth0");
        // IPv6 is there on one only.
        check(V6, "lo:url46 eth0:urm4d eth1:urm46d", "eth0", "", "eth1");
    }

    #[test]
    fn then_the_route_and_then_what_is_a_device() {
        check(V4, "lo:url4 eth0:urm4d wlan0:urm4d", "wlan0", "", "wlan0");
        check(V4, "lo:url4 eth0:urm4d wlan0:urm4d", "", "", "eth0");
        // A container runs, and nothing is routed.
        check(V4, "lo:url4 docker0:urm4 eth0:urm4d", "", "", "eth0");
        check(V4, "lo:url4 br0:urm4 eth0:urmd", "", "", "br0");
        // A tunnel reaches one machine, even if it carries multicast and has the default route.
        check(V4, "lo:url4 tun0:urmp4 eth0:urm4d", "tun0", "", "eth0");
        check(V4, "lo:url4 tun0:urmp4", "tun0", "", "tun0");
        check(V4, "lo:url4 tun0:urmp4 eth0:um4d", "tun0", "", "tun0");
    }

    #[test]
    fn where_none_reaches_a_network_the_next_best_is_taken() {
        check(V4, "lo:url4 eth0:urmd eth1:um4d", "", "", "eth0");
        check(V4, "lo:url4 eth0:um4d wg0:urp4", "wg0", "", "eth0");
        check(V4, "lo:url4 wg0:urp4", "wg0", "", "lo");
        check(V4, "lo:url4 eth0:m4d", "", "", "lo");
        check(V4, "lo:l4 eth0:m4d", "", "", "");
    }

    #[test]
    fn what_works_is_left_for_a_reason_only() {
        // A VPN comes up and takes the route.
        check(V4, "lo:url4 eth0:urm4d vpn0:urm4", "vpn0", "eth0", "eth0");
        check(V4, "lo:url4 eth0:urm4d vpn0:urm4", "vpn0", "", "vpn0");
        // Reasons: no link, no address, switched off, no multicast, gone.
        for flags in ["um4d", "urmd", "rm4d", "ur4d"] {
            let all = format!("lo:url4 eth0:{flags} vpn0:urm4");
            check(V4, &all, "vpn0", "eth0", "vpn0");
        }
        check(V4, "lo:url4 vpn0:urm4", "vpn0", "eth0", "vpn0");
        // Loopback was chosen because there was no other.
        check(V4, "lo:url4 eth0:urm4d", "", "lo", "eth0");
    }

    #[test]
    fn an_address_goes_by_its_route_and_a_scope_by_itself() {
        check(
            "10.0.2.9:10000",
            "lo:url4 eth0:urm4d wg0:urp4",
            "wg0",
            "eth0",
            "wg0",
        );
        check("127.0.0.1:10000", "lo:url4 eth0:urm4d", "lo", "", "lo");
        check(
            "[ff02::71%3]:10000",
            "lo:url46 eth0:urm46d eth1:urm46d",
            "eth0",
            "eth0",
            "eth1",
        );
        check("[ff02::71%9]:10000", "lo:url46 eth0:urm46d", "eth0", "", "");
    }

    #[test]
    fn loopback_carries_a_group_although_it_lacks_the_flag() {
        let group = V4.parse().unwrap();
        assert_eq!(choose(Some("lo"), group, None).unwrap().name, "lo");
    }

    #[test]
    fn a_local_address_is_reached_by_loopback() {
        let to = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(choose(None, to, None).unwrap().name, "lo");
    }
}
