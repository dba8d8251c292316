//! The machine's network interfaces: a list of them, by name, address or route, and their speed. It
//! changes nothing. Which one a stream uses: [`super::choice`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};

use super::sys;
pub use super::sys::{Interface, Link};

/// Why no interface could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No interface has this name or address.
    #[error("no interface {wanted:?}; this machine has {present}")]
    Unknown {
        /// The name or address that was asked for.
        wanted: String,
        /// What there is, in words.
        present: String,
    },
    /// No interface is up, not even loopback.
    #[error("no network interface is up; this machine has {present}")]
    NoneUp {
        /// What there is, in words.
        present: String,
    },
    /// It is switched off.
    #[error("interface {name} is down; switch it on with: sudo ip link set {name} up")]
    Down {
        /// Its name.
        name: String,
    },
    /// It cannot carry a group.
    #[error(
        "interface {name} does not carry multicast; choose another, or: sudo ip link set {name} multicast on"
    )]
    NoMulticast {
        /// Its name.
        name: String,
    },
    /// The kernel did not list them.
    #[error("cannot list this machine's network interfaces: {0}")]
    List(#[source] io::Error),
}

impl Interface {
    /// Its first IPv4 address; without one the unspecified one.
    pub fn v4(&self) -> Ipv4Addr {
        let v4 = self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        v4.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Whether it has an address of the same family as `ip`.
    pub fn has_address_like(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.is_ipv4() == ip.is_ipv4())
    }

    /// A warning if it cannot carry packets of `mtu` bytes.
    pub fn smaller_than(&self, mtu: Option<u16>) -> Option<String> {
        let mtu = mtu.filter(|mtu| u32::from(*mtu) > self.mtu)?;
        Some(format!(
            "interface {} carries packets of up to {} bytes, not of {mtu}",
            self.name, self.mtu
        ))
    }

    /// The largest UDP payload in bytes that crosses it in one IP packet without fragments.
    /// RFC 791 §3.1 and RFC 8200 §3: 20 or 40 bytes of IP header; RFC 768: 8 of UDP header.
    pub fn max_datagram(&self, is_ipv6: bool) -> usize {
        let headers = if is_ipv6 { 40 + 8 } else { 20 + 8 };
        (self.mtu as usize)
            .saturating_sub(headers)
            .min(sys::MAX_UDP_PAYLOAD)
    }
}

/// All interfaces of this machine (of this network namespace), in the order of their indices.
///
/// # Errors
/// The kernel did not list them.
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
    sys::interfaces().map_err(InterfaceError::List)
}

/// The interface called `wanted`, or the one that has `wanted` as its address.
///
/// # Errors
/// There is no such interface.
pub fn find(wanted: &str) -> Result<Interface, InterfaceError> {
    find_again(wanted, None)
}

/// The same; if no interface has the address `wanted` any more, because DHCP gave another, it is
/// the one with the index `before`, which had it.
///
/// # Errors
/// There is no such interface.
pub fn find_again(wanted: &str, before: Option<u32>) -> Result<Interface, InterfaceError> {
    let all = list()?;
    let address: Option<IpAddr> = wanted.parse().ok();
    let is_meant = |i: &&Interface| {
        i.name == wanted || address.is_some_and(|address| i.addresses.contains(&address))
    };
    let had_it = |i: &&Interface| address.is_some() && before == Some(i.index);
    let found = all
        .iter()
        .find(is_meant)
        .or_else(|| all.iter().find(had_it));
    found.cloned().ok_or_else(|| InterfaceError::Unknown {
        wanted: wanted.to_owned(),
        present: describe(&all),
    })
}

/// Reads `ADDRESS:PORT`. An IPv6 address may name its interface: `[ff02::1%eth0]:10000` (RFC 4007
/// §11), where std's parser takes only numbers. `None`: it is something else.
///
/// # Errors
/// There is no such interface.
pub fn parse_addr(text: &str) -> Option<Result<SocketAddr, InterfaceError>> {
    if let Ok(addr) = text.parse() {
        return Some(Ok(addr));
    }
    let (address, rest) = text.split_once('%')?;
    let (zone, port) = rest.split_once(']')?;
    let mut addr: SocketAddrV6 = format!("{address}]{port}").parse().ok()?;
    Some(find(zone).map(|interface| {
        addr.set_scope_id(interface.index);
        addr.into()
    }))
}

/// The interface that the kernel's routes have for `to`; `None`: there is no route.
///
/// # Errors
/// The interfaces could not be listed.
pub fn by_route(to: SocketAddr) -> Result<Option<Interface>, InterfaceError> {
    let all = list()?;
    Ok(routed(&all, to).cloned())
}

/// The same among `all`.
pub(super) fn routed(all: &[Interface], to: SocketAddr) -> Option<&Interface> {
    owner(all, route_source(to)?)
}

/// The address that the kernel would send from to reach `to`: udp(7): connecting a datagram socket
/// sends nothing, but looks the route up.
fn route_source(to: SocketAddr) -> Option<SocketAddr> {
    let any = match to {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok()
}

/// Which interface has this address. A link-local one may exist on several: there the scope says
/// which.
fn owner(all: &[Interface], source: SocketAddr) -> Option<&Interface> {
    if let SocketAddr::V6(v6) = source {
        if v6.scope_id() != 0 {
            return all.iter().find(|i| i.index == v6.scope_id());
        }
    }
    all.iter().find(|i| i.addresses.contains(&source.ip()))
}

/// What there is, for an error message: `lo (127.0.0.1), eth0 (10.0.0.5)`.
pub(super) fn describe(all: &[Interface]) -> String {
    let words = all.iter().map(|i| match i.addresses.first() {
        Some(address) => format!("{} ({address})", i.name),
        None => i.name.clone(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_by_address() {
        let lo = find("lo").unwrap();
        assert!(lo.is_loopback && lo.index > 0 && lo.mtu >= 1500, "{lo:?}");
        assert_eq!(lo.link, Link::Loopback);
        assert_eq!(find("127.0.0.1").unwrap().name, "lo");
    }

    #[test]
    fn an_unknown_interface_is_answered_with_those_that_exist() {
        let said = find("eth9").unwrap_err().to_string();
        assert!(
            said.starts_with("no interface \"eth9\"; this machine has lo (127.0.0.1)"),
            "{said}"
        );
    }

    #[test]
    fn an_address_may_name_its_interface() {
        let lo = find("lo").unwrap().index;
        let parsed = |text: &str| parse_addr(text).map(|addr| addr.map_err(|e| e.to_string()));
        let scoped = format!("[ff02::1%{lo}]:10000").parse().unwrap();
        assert_eq!(parsed("[ff02::1%lo]:10000"), Some(Ok(scoped)));
        assert_eq!(parsed(&format!("[ff02::1%{lo}]:10000")), Some(Ok(scoped)));
        let plain = "224.3.29.71:10000".parse().unwrap();
        assert_eq!(parsed("224.3.29.71:10000"), Some(Ok(plain)));
        let unknown = parsed("[ff02::1%eth9]:10000").unwrap().unwrap_err();
        assert!(
            unknown.starts_with("no interface \"eth9\"; this machine has lo"),
            "{unknown}"
        );
        for text in [
            "[ff02::1%lo]",
            "ff02::1%lo:10000",
            "224.3.29.71%lo:10000",
            "[%lo]:1",
            "[ff02::1%]:1",
            "%]",
        ] {
            let found = parsed(text);
            assert!(!matches!(found, Some(Ok(_))), "{text}: {found:?}");
        }
    }

    #[test]
    fn the_largest_datagram_counts_the_headers() {
        let mut interface = find("lo").unwrap();
        assert_eq!(interface.max_datagram(false), 65_507);
        interface.mtu = 1500;
        assert_eq!(interface.max_datagram(false), 1472);
        assert_eq!(interface.max_datagram(true), 1452);
        interface.mtu = 0;
        assert_eq!(interface.max_datagram(true), 0);
    }
}
