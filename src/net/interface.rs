//! The machine's network interfaces: a list of them, by name, address or route, and their speed. It changes nothing.
//! Which one a stream uses: [`super::choice`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::sys;

/// One network interface, as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// The kernel's index for it, which changes when an adapter is unplugged and comes back.
    pub index: u32,
    /// Switched on (IFF_UP).
    pub is_up: bool,
    /// Has a link: cable in, Wi-Fi associated (IFF_RUNNING).
    pub is_running: bool,
    /// Has the MULTICAST flag. Loopback does not, and carries groups all the same.
    pub is_multicast: bool,
    /// The loopback interface.
    pub is_loopback: bool,
    /// Reaches one other machine only, as a tunnel does (IFF_POINTOPOINT).
    pub is_point_to_point: bool,
    /// Belongs to a device: no bridge, tunnel or pair of virtual ends.
    pub is_physical: bool,
    /// Its IPv4 and IPv6 addresses.
    pub addresses: Vec<IpAddr>,
    /// Largest IP packet in bytes; 1500 on Ethernet.
    pub mtu: u32,
    /// How fast it is.
    pub link: Link,
}

/// How fast a link is, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Inside this machine.
    Loopback,
    /// A wire with this many Mbit/s. A veth pair says 10,000.
    Wired(u32),
    /// Wi-Fi: multicast goes out at a low basic rate that cannot be queried.
    Wireless,
    /// Unknown to the driver (bridges, tunnels, many virtual machines).
    Unknown,
}

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
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
    let socket = UdpSocket::bind("0.0.0.0:0")
        .map_err(InterfaceError::List)?
        .into();
    let mut found = BTreeMap::<String, Interface>::new();
    for entry in getifaddrs().map_err(|e| InterfaceError::List(e.into()))? {
        // An IPv4 address may carry a label of its own, such as `eth0:1`: the part before the colon is the interface.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let flags = entry.flags;
        let interface = found.entry(name.to_owned()).or_insert_with(|| Interface {
            name: name.to_owned(),
            index: 0,
            is_up: flags.contains(InterfaceFlags::IFF_UP),
            is_running: flags.contains(InterfaceFlags::IFF_RUNNING),
            is_multicast: flags.contains(InterfaceFlags::IFF_MULTICAST),
            is_loopback: flags.contains(InterfaceFlags::IFF_LOOPBACK),
            is_point_to_point: flags.contains(InterfaceFlags::IFF_POINTOPOINT),
            is_physical: folder(name).join("device").exists(),
            addresses: Vec::new(),
            // 1280 is the least that IPv6 allows (RFC 8200 §5): a safe guess if the kernel does not say.
            mtu: sys::interface_mtu(&socket, name).unwrap_or(1280),
            link: link(name, flags),
        });
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            interface.index = link.ifindex() as u32;
        } else if let Some(v4) = address.as_sockaddr_in() {
            interface.addresses.push(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            interface.addresses.push(v6.ip().into());
        }
    }
    let mut all: Vec<_> = found.into_values().filter(|i| i.index != 0).collect();
    all.sort_by_key(|i| i.index);
    Ok(all)
}

/// The interface called `wanted`, or the one that has `wanted` as its address.
///
/// # Errors
/// There is no such interface.
pub fn find(wanted: &str) -> Result<Interface, InterfaceError> {
    find_again(wanted, None)
}

/// The same; if no interface has the address `wanted` any more, because DHCP gave another, it is the one with the index
/// `before`, which had it.
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

/// Reads `ADDRESS:PORT`. An IPv6 address may name its interface: `[ff02::1%eth0]:10000` (RFC 4007 §11), where std's
/// parser takes only numbers. `None`: it is something else.
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

/// Which interface has this address. A link-local one may exist on several: there the scope says which.
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

fn link(name: &str, flags: InterfaceFlags) -> Link {
    match flags.contains(InterfaceFlags::IFF_LOOPBACK) {
        true => Link::Loopback,
        false => link_in(&folder(name)),
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// The link's speed from its folder in /sys/class/net. `speed` is in Mbit/s; it says -1, or cannot be
/// read, when the driver does not know.
fn link_in(folder: &Path) -> Link {
    if folder.join("wireless").exists() || folder.join("phy80211").exists() {
        return Link::Wireless;
    }
    let speed = std::fs::read_to_string(folder.join("speed")).unwrap_or_default();
    match speed.trim().parse::<u32>() {
        Ok(mbit) if mbit > 0 => Link::Wired(mbit),
        _ => Link::Unknown,
    }
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

    #[test]
    fn the_speed_is_read_as_the_kernel_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(link_in(folder.path()), Link::Unknown);
        for (text, expected) in [
            ("1000\n", Link::Wired(1000)),
            ("-1\n", Link::Unknown),
            ("0\n", Link::Unknown),
        ] {
            std::fs::write(folder.path().join("speed"), text).unwrap();
            assert_eq!(link_in(folder.path()), expected);
        }
        std::fs::create_dir(folder.path().join("phy80211")).unwrap();
        assert_eq!(link_in(folder.path()), Link::Wireless);
    }
}
