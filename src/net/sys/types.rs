//! What the seam's functions take and give, on any system.

use std::net::{IpAddr, SocketAddr};

/// The largest UDP payload over IPv4: 65,535 less 20 bytes of IP and 8 of UDP header.
pub const MAX_UDP_PAYLOAD: usize = 65_507;

/// One received message: a datagram, or several equal ones that the kernel coalesced (UDP GRO).
pub struct Received<'a> {
    /// The bytes, as far as they fit the slot.
    pub data: &'a [u8],
    /// Length of each datagram in `data` (the last may be shorter); `None`: there is one.
    pub segment: Option<usize>,
    /// Who sent it; `None` if the kernel gave an address of a family that is not IP.
    pub from: Option<SocketAddr>,
    /// The slot was too small and the rest is lost.
    pub is_truncated: bool,
}

/// Whether a membership begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It begins.
    Join,
    /// It ends.
    Leave,
}

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
    /// Has the MULTICAST flag. Loopback does not, but carries groups anyway.
    pub is_multicast: bool,
    /// The loopback interface.
    pub is_loopback: bool,
    /// Reaches one other machine only, as a tunnel does (IFF_POINTOPOINT).
    pub is_point_to_point: bool,
    /// Belongs to a device: no bridge, tunnel or pair of virtual ends.
    pub is_physical: bool,
    /// Its hardware address, if it has one of six bytes.
    pub hardware: Option<[u8; 6]>,
    /// Its IPv4 and IPv6 addresses.
    pub addresses: Vec<IpAddr>,
    /// How many first bits of each of these all hosts of its network share.
    pub prefixes: Vec<u8>,
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

/// One interface's membership in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The interface's name.
    pub interface: String,
    /// The group.
    pub group: IpAddr,
    /// Sockets (and the kernel itself) that asked for it.
    pub users: u32,
}
