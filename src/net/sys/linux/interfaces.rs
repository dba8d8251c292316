//! The list of interfaces: addresses and flags by getifaddrs(3), the rest from `/sys/class/net`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::super::types::{Interface, Link};
use super::options::interface_mtu;

/// All interfaces of this machine (of this network namespace), in the order of their indices.
///
/// # Errors
/// The kernel did not list them.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?.into();
    let mut found = BTreeMap::<String, Interface>::new();
    for entry in getifaddrs()? {
        // An IPv4 address may carry a label of its own, such as `eth0:1`: the part before the colon
        // is the interface.
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
            hardware: None,
            addresses: Vec::new(),
            prefixes: Vec::new(),
            // 1280 is the least that IPv6 allows (RFC 8200 §5): a safe guess if the kernel does not
            // say.
            mtu: interface_mtu(&socket, name).unwrap_or(1280),
            link: link(name, flags),
        });
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            interface.index = link.ifindex() as u32;
            interface.hardware = link.addr();
        } else if let Some(ip) = ip(&address) {
            interface.addresses.push(ip);
            let mask = entry.netmask.as_ref().and_then(self::ip);
            interface.prefixes.push(mask.map_or(0, ones));
        }
    }
    let mut all: Vec<_> = found.into_values().filter(|i| i.index != 0).collect();
    all.sort_by_key(|i| i.index);
    Ok(all)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| Some(address.as_sockaddr_in6()?.ip().into()))
}

/// The bits that are set in a network's mask.
fn ones(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    ones as u8
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

/// The link's speed from its folder in /sys/class/net. `speed` is in Mbit/s; it says -1, or cannot
/// be read, when the driver does not know.
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
    fn the_networks_are_those_of_the_masks() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|i| i.is_loopback).unwrap();
        assert_eq!(lo.addresses.len(), lo.prefixes.len());
        let own = IpAddr::from([127, 0, 0, 1]);
        let at = lo.addresses.iter().position(|a| *a == own).unwrap();
        assert_eq!(lo.prefixes[at], 8);
        assert_eq!(lo.hardware, Some([0; 6]));
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
