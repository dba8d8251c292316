//! One group of the link that everybody there hears and speaks to from the same port, as multicast
//! DNS does: a socket for each interface and IP version. Few datagrams, from anybody; to it they
//! are bytes. Not for streams.
//!
//! The sockets are bound to the group's own address: what is sent to this machine alone is left to
//! other programs on the same port, whichever was started first.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::changes::Changes;
use super::interface::{self, Interface, InterfaceError};
use super::sys::{self, Bell, Membership, ReceiveArrays};

/// Datagrams that one call reads from a socket, so that a flood on it does not starve the others.
const SLOTS: usize = 64;

/// Sockets in the group.
pub struct Neighbours {
    groups: (Ipv4Addr, Ipv6Addr),
    port: u16,
    /// The only interface, by name or address; `None`: all.
    wanted: Option<String>,
    mouths: Vec<Mouth>,
    arrays: ReceiveArrays,
    changes: Changes,
}

/// A socket that also hears.
struct Mouth {
    socket: Socket,
    group: SockAddr,
    interface: Interface,
    is_ipv6: bool,
}

/// A datagram's way in, and an answer's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface's index.
    pub interface: u32,
    /// Who sent it.
    pub from: SocketAddr,
}

impl Neighbours {
    /// Joins the group on all interfaces that carry multicast, or on the one called `wanted`.
    /// Datagrams above `longest` bytes are ignored. Interfaces may come later:
    /// [`Neighbours::refresh`].
    ///
    /// # Errors
    /// There is no such interface, or the port is another program's alone.
    pub fn open(
        groups: (Ipv4Addr, Ipv6Addr),
        port: u16,
        wanted: Option<&str>,
        longest: usize,
    ) -> io::Result<Neighbours> {
        let mut neighbours = Neighbours {
            groups,
            port,
            wanted: wanted.map(str::to_owned),
            mouths: Vec::new(),
            arrays: ReceiveArrays::new(SLOTS, longest),
            changes: Changes::new(),
        };
        neighbours.changes.any();
        let present = neighbours.present().map_err(io::Error::other)?;
        match neighbours.join(present) {
            Some(error) if neighbours.mouths.is_empty() => Err(error),
            _ => Ok(neighbours),
        }
    }

    /// Follows interfaces that came, went or changed; returns whether any did. Call it once a
    /// second. One system call if nothing has.
    pub fn refresh(&mut self) -> bool {
        if !self.changes.any() {
            return false;
        }
        let Ok(present) = self.present() else {
            let had_some = !self.mouths.is_empty();
            self.mouths.clear();
            return had_some;
        };
        let before = self.mouths.len();
        self.mouths.retain(|m| present.contains(&m.interface));
        let has_lost = self.mouths.len() < before;
        let is_new = |i: &Interface| !self.mouths.iter().any(|m| m.interface.index == i.index);
        let new: Vec<Interface> = present.into_iter().filter(is_new).collect();
        let has_new = !new.is_empty();
        if let Some(error) = self.join(new) {
            tracing::debug!("cannot join {}: {error}", self.groups.0);
        }
        has_lost || has_new
    }

    /// The interfaces, as they were at the last refresh.
    pub fn interfaces(&self) -> Vec<&Interface> {
        let mut all: Vec<&Interface> = self.mouths.iter().map(|m| &m.interface).collect();
        all.sort_by_key(|i| i.index);
        all.dedup_by_key(|i| i.index);
        all
    }

    /// Waits until something comes or the bell rings, at most for `timeout`, and passes on what is
    /// there.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn receive(
        &mut self,
        timeout: Duration,
        bell: Option<&Bell>,
        mut each: impl FnMut(Way, &[u8]),
    ) -> io::Result<()> {
        let sockets: Vec<&Socket> = self.mouths.iter().map(|m| &m.socket).collect();
        sys::any_readable(&sockets, bell, timeout)?;
        for mouth in &self.mouths {
            // The next refresh reports an error that lasts.
            if self.arrays.receive(&mouth.socket, true).is_err() {
                continue;
            }
            for message in (0..self.arrays.filled()).map(|i| self.arrays.message(i)) {
                if let Some(from) = message.from.filter(|_| !message.is_truncated) {
                    let interface = mouth.interface.index;
                    each(Way { interface, from }, message.data);
                }
            }
        }
        Ok(())
    }

    /// Sends to everybody on the interface's link, by each IP version that it has.
    pub fn say(&self, interface: u32, datagram: &[u8]) {
        for mouth in self
            .mouths
            .iter()
            .filter(|m| m.interface.index == interface)
        {
            if let Err(error) = mouth.socket.send_to(datagram, &mouth.group) {
                tracing::debug!("{}: cannot send: {error}", mouth.interface.name);
            }
        }
    }

    /// Sends to one host, if it is on the link: never through a router, whatever source a datagram
    /// claims to have.
    pub fn tell(&self, way: Way, datagram: &[u8]) {
        let is_it =
            |m: &&Mouth| m.interface.index == way.interface && m.is_ipv6 == way.from.is_ipv6();
        let Some(mouth) = self.mouths.iter().find(is_it) else {
            return;
        };
        // send(2), MSG_DONTROUTE: "Don't use a gateway to send out the packet, send to hosts only
        // on directly connected networks."
        let flags = libc::MSG_DONTROUTE;
        let to = way.from.into();
        if let Err(error) = mouth.socket.send_to_with_flags(datagram, &to, flags) {
            tracing::debug!(
                "{}: cannot answer {}: {error}",
                mouth.interface.name,
                way.from
            );
        }
    }

    fn present(&self) -> Result<Vec<Interface>, InterfaceError> {
        let mut all = match &self.wanted {
            Some(wanted) => {
                let before = self.mouths.first().map(|m| m.interface.index);
                vec![interface::find_again(wanted, before)?]
            }
            None => interface::list()?,
        };
        // A tunnel has no link with neighbours, and leads to another network.
        let is_link = |i: &Interface| i.is_multicast && !i.is_loopback && !i.is_point_to_point;
        all.retain(|i| i.is_up && is_link(i));
        Ok(all)
    }

    /// Opens sockets on `interfaces`; returns the last refusal.
    fn join(&mut self, interfaces: Vec<Interface>) -> Option<io::Error> {
        let mut refused = None;
        for interface in interfaces {
            for group in [IpAddr::V4(self.groups.0), IpAddr::V6(self.groups.1)] {
                if !interface.has_address_like(group) {
                    continue;
                }
                match open(group, self.port, &interface) {
                    Ok((socket, group)) => self.mouths.push(Mouth {
                        is_ipv6: group.is_ipv6(),
                        socket,
                        group,
                        interface: interface.clone(),
                    }),
                    Err(error) => refused = Some(error),
                }
            }
        }
        refused
    }
}

fn open(group: IpAddr, port: u16, interface: &Interface) -> io::Result<(Socket, SockAddr)> {
    let to: SockAddr = match group {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), port).into(),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, interface.index).into(),
    };
    let socket = Socket::new(
        Domain::from(i32::from(to.family())),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Others on this machine do the same, and each gets its copy.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let is_ipv6 = group.is_ipv6();
    sys::hear_joined_only(&socket, is_ipv6);
    // RFC 6762 §11: "All Multicast DNS responses SHOULD be sent with IP TTL set to 255."
    if is_ipv6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(255)?;
        socket.set_unicast_hops_v6(255)?;
        socket.set_multicast_if_v6(interface.index)?;
    } else {
        socket.set_multicast_ttl_v4(255)?;
        socket.set_ttl_v4(255)?;
        sys::set_multicast_interface_v4(&socket, interface.index)?;
    }
    socket.bind(&to)?;
    let (index, own) = (interface.index, interface.v4());
    sys::set_membership(&socket, Membership::Join, index, own, group, None)?;
    Ok((socket, to))
}
