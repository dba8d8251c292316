//! Receives several groups on one port of every interface, and sends over the same sockets: for
//! announcements and discovery, which are few datagrams from anybody. Streams are received by a
//! [`super::BatchReceiver`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::changes::Changes;
use super::group::{GroupError, leave_by, scoped};
use super::interface::{self, Interface, InterfaceError};
use super::sys::{self, Bell, Membership, ReceiveArrays};

/// Most datagrams that one call reads from a socket, so that a flood on one does not starve the
/// others.
const SLOTS: usize = 64;

/// Why a thread that listens could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing can be received: another program may have the port for itself.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// There are no descriptors or threads left.
    #[error("no thread or descriptor is left: {0}")]
    Start(#[from] io::Error),
}

/// Sockets that receive from the groups, one for each interface and IP version.
pub struct Listener {
    port: u16,
    groups: Vec<IpAddr>,
    hears: Hears,
    /// The only interface to use, by name or address; `None` for all.
    wanted: Option<String>,
    ears: Vec<Ear>,
    arrays: ReceiveArrays,
    /// Only those who refresh need it.
    changes: Option<Changes>,
}

/// What a [`Listener`] receives besides its groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hears {
    /// Also what is sent to this machine alone.
    Unicast,
    /// Nothing: each socket is bound to its group's own address. It sends as multicast DNS must.
    GroupOnly,
}

struct Ear {
    socket: Socket,
    interface: Interface,
    is_ipv6: bool,
}

impl Listener {
    /// Joins `groups` on all interfaces that carry multicast, or on the one called `wanted`.
    /// Datagrams longer than `longest` bytes are ignored. [`Listener::refresh`] adds interfaces
    /// that come later.
    ///
    /// # Errors
    /// There is no such interface, or the groups can be joined on none.
    pub fn open(
        port: u16,
        groups: &[IpAddr],
        wanted: Option<&str>,
        longest: usize,
    ) -> Result<Listener, GroupError> {
        Listener::start(Hears::Unicast, port, groups, wanted, longest)
    }

    /// The same for a protocol in which all hosts of a link share one port, such as multicast DNS:
    /// at most one group of each IP version. What is sent to this machine alone is left to other
    /// programs on the port, whichever of them was started first. Loopback and tunnels are left
    /// out, since they have no neighbours.
    ///
    /// # Errors
    /// As in [`Listener::open`].
    pub fn among_neighbours(
        port: u16,
        groups: &[IpAddr],
        wanted: Option<&str>,
        longest: usize,
    ) -> Result<Listener, GroupError> {
        Listener::start(Hears::GroupOnly, port, groups, wanted, longest)
    }

    fn start(
        hears: Hears,
        port: u16,
        groups: &[IpAddr],
        wanted: Option<&str>,
        longest: usize,
    ) -> Result<Listener, GroupError> {
        let mut listener = Listener {
            port,
            groups: groups.to_vec(),
            hears,
            wanted: wanted.map(str::to_owned),
            ears: Vec::new(),
            arrays: ReceiveArrays::new(SLOTS, longest),
            changes: None,
        };
        let refused = listener.join(listener.present()?);
        match refused {
            Some(error) if listener.ears.is_empty() => Err(error),
            _ => Ok(listener),
        }
    }

    /// Follows interfaces that appeared, disappeared or changed; returns whether any did. Call it
    /// once a second. One system call if nothing has changed.
    pub fn refresh(&mut self) -> bool {
        if !self.changes.get_or_insert_with(Changes::new).any() {
            return false;
        }
        let before = self.ears.len();
        let Ok(present) = self.present() else {
            self.ears.clear();
            return before > 0;
        };
        self.ears.retain(|ear| present.contains(&ear.interface));
        let has_lost = self.ears.len() < before;
        let is_new = |i: &Interface| !self.ears.iter().any(|ear| ear.interface.index == i.index);
        let new: Vec<Interface> = present.into_iter().filter(is_new).collect();
        let has_new = !new.is_empty();
        if let Some(error) = self.join(new) {
            tracing::debug!("{error}");
        }
        has_lost || has_new
    }

    /// Waits for datagrams or the bell, at most for `timeout`, and passes on each datagram with its
    /// interface and sender.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn receive(
        &mut self,
        timeout: Duration,
        bell: Option<&Bell>,
        mut each: impl FnMut(&Interface, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        let sockets: Vec<&Socket> = self.ears.iter().map(|ear| &ear.socket).collect();
        sys::any_readable(&sockets, bell, timeout)?;
        for ear in &self.ears {
            // If the error persists, the next refresh reports it.
            if self.arrays.receive(&ear.socket, true).is_err() {
                continue;
            }
            for message in (0..self.arrays.filled()).map(|i| self.arrays.message(i)) {
                if let Some(from) = message.from.filter(|_| !message.is_truncated) {
                    each(&ear.interface, from, message.data);
                }
            }
        }
        Ok(())
    }

    /// The interfaces that it listens on, as they were at the last refresh.
    pub fn interfaces(&self) -> Vec<&Interface> {
        let mut all: Vec<&Interface> = self.ears.iter().map(|ear| &ear.interface).collect();
        all.sort_by_key(|i| i.index);
        all.dedup_by_key(|i| i.index);
        all
    }

    /// Sends from the port that it listens on, over the interface with this index: to a group, or
    /// to a host on that link. It never goes through a router, even if a question came with a
    /// foreign source address.
    ///
    /// # Errors
    /// It does not listen there with this IP version, or the kernel refused.
    pub fn send(&self, interface: u32, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut ears = self.ears.iter();
        let ear = ears.find(|e| e.interface.index == interface && e.is_ipv6 == to.is_ipv6());
        let ear = ear.ok_or(io::ErrorKind::NotConnected)?;
        sys::send_on_link(&ear.socket, &to.into(), datagram)
    }

    /// Sends to the groups over the interface with this index, in each IP version that it has.
    pub fn send_to_groups(&self, interface: u32, datagram: &[u8]) {
        for ear in self.ears.iter().filter(|e| e.interface.index == interface) {
            for &group in self.groups.iter().filter(|g| g.is_ipv6() == ear.is_ipv6) {
                let to = scoped(SocketAddr::new(group, self.port), interface).into();
                if let Err(error) = ear.socket.send_to(datagram, &to) {
                    let name = &ear.interface.name;
                    tracing::debug!("{name}: cannot send to {group}: {error}");
                }
            }
        }
    }

    fn present(&self) -> Result<Vec<Interface>, InterfaceError> {
        let mut all = match &self.wanted {
            Some(wanted) => {
                let before = self.ears.first().map(|ear| ear.interface.index);
                vec![interface::find_again(wanted, before)?]
            }
            None => interface::list()?,
        };
        let is_heard = |i: &Interface| match self.hears {
            Hears::Unicast => i.is_multicast || i.is_loopback,
            Hears::GroupOnly => i.is_multicast && !i.is_loopback && !i.is_point_to_point,
        };
        all.retain(|i| i.is_up && is_heard(i));
        Ok(all)
    }

    /// Opens sockets on `interfaces`; returns the last refusal.
    fn join(&mut self, interfaces: Vec<Interface>) -> Option<GroupError> {
        let mut refused = None;
        for interface in interfaces {
            for is_ipv6 in [false, true] {
                let groups = self.groups.iter().filter(|g| g.is_ipv6() == is_ipv6);
                let groups: Vec<IpAddr> = groups.copied().collect();
                let Some(&first) = groups.first() else {
                    continue;
                };
                if self.hears == Hears::GroupOnly && !interface.has_address_like(first) {
                    continue;
                }
                match open(self.hears, self.port, &groups, &interface) {
                    Ok(socket) => self.ears.push(Ear {
                        socket,
                        interface: interface.clone(),
                        is_ipv6,
                    }),
                    Err(error) => {
                        let group = SocketAddr::new(first, self.port);
                        refused = Some(GroupError::new("listen on", group, error));
                    }
                }
            }
        }
        // IPv6 is often switched off, which is not worth a log line.
        self.ears.sort_by_key(|ear| ear.is_ipv6);
        refused
    }
}

/// A socket that receives `groups`, all of one IP version, on one interface. It fails if none can
/// be joined.
fn open(hears: Hears, port: u16, groups: &[IpAddr], interface: &Interface) -> io::Result<Socket> {
    let is_ipv6 = groups.iter().any(IpAddr::is_ipv6);
    let address = match (hears, groups.first(), is_ipv6) {
        (Hears::GroupOnly, Some(&group), _) => group,
        (_, _, false) => Ipv4Addr::UNSPECIFIED.into(),
        (_, _, true) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = scoped(SocketAddr::new(address, port), interface.index);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Other programs on this machine listen too, and each gets its own copy.
    socket.set_reuse_address(true)?;
    if is_ipv6 {
        socket.set_only_v6(true)?;
    }
    sys::hear_joined_only(&socket, is_ipv6);
    match hears {
        Hears::Unicast => {
            if is_ipv6 {
                // With IPv6, membership alone does not fix the interface. Older kernels require
                // privileges for this; there a datagram may be attributed to the wrong one.
                let _ = socket.bind_device(Some(interface.name.as_bytes()));
            }
            // A refusal matters only when something is sent.
            let _ = leave_by(&socket, interface.index, is_ipv6);
        }
        Hears::GroupOnly => {
            leave_by(&socket, interface.index, is_ipv6)?;
            // RFC 6762 §11: "All Multicast DNS responses SHOULD be sent with IP TTL set to 255."
            if is_ipv6 {
                socket.set_multicast_hops_v6(255)?;
                socket.set_unicast_hops_v6(255)?;
            } else {
                socket.set_multicast_ttl_v4(255)?;
                socket.set_ttl_v4(255)?;
            }
        }
    }
    socket.bind(&address.into())?;
    let mut joined = Err(io::Error::other("no groups"));
    for &group in groups {
        let join = Membership::Join;
        let this = sys::set_membership(&socket, join, interface.index, interface.v4(), group, None);
        joined = joined.or(this);
    }
    joined.map(|()| socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Instant;

    /// A port of its own, so that nobody else's datagrams come.
    fn free_port() -> u16 {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.local_addr().unwrap().port()
    }

    fn heard(listener: &mut Listener, wanted: usize) -> Vec<(String, Vec<u8>)> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut all = Vec::new();
        while all.len() < wanted && Instant::now() < deadline {
            let wait = Duration::from_millis(100);
            listener
                .receive(wait, None, |interface, _, data| {
                    all.push((interface.name.clone(), data.to_vec()));
                })
                .unwrap();
        }
        all
    }

    #[test]
    fn several_groups_are_heard_and_others_are_not() {
        let port = free_port();
        let groups = ["239.255.77.1", "239.255.77.2", "ff01::77"].map(|g| g.parse().unwrap());
        let mut listener = Listener::open(port, &groups, Some("lo"), 100).unwrap();
        // Several listeners share the port.
        let mut second = Listener::open(port, &groups, Some("lo"), 100).unwrap();
        let send = |group: &str, text: &[u8]| {
            let group = SocketAddr::new(group.parse().unwrap(), port);
            let options = super::super::SendOptions {
                interface: Some("lo".to_owned()),
                ..super::super::SendOptions::new(group)
            };
            let socket = super::super::SendSocket::open(&options).unwrap();
            let mut sender = super::super::BatchSender::new(socket);
            sender.send_datagrams([text]).unwrap();
        };
        send("239.255.77.3", b"no");
        send("239.255.77.1", &[b'x'; 101]);
        send("239.255.77.1", b"one");
        send("239.255.77.2", b"two");
        for listener in [&mut listener, &mut second] {
            let one = ("lo".to_owned(), b"one".to_vec());
            let two = ("lo".to_owned(), b"two".to_vec());
            assert_eq!(heard(listener, 2), [one, two]);
        }
        listener.refresh();
        send("239.255.77.1", b"three");
        assert_eq!(heard(&mut listener, 1).len(), 1);
    }

    #[test]
    fn it_sends_by_the_same_port_and_wakes_when_rung() {
        let port = free_port();
        let groups = ["239.255.77.4", "ff01::78"].map(|g| g.parse().unwrap());
        let mut listener = Listener::open(port, &groups, Some("lo"), 100).unwrap();
        let [interface] = listener.interfaces()[..] else {
            panic!("one interface");
        };
        assert_eq!(interface.name, "lo");
        let index = interface.index;
        let (bell, rope) = Bell::new().unwrap();
        let group = SocketAddr::new(groups[0], port);
        listener.send(index, group, b"hello").unwrap();
        assert!(listener.send(index + 9999, group, b"hello").is_err());
        let mut all = Vec::new();
        let long = Duration::from_secs(600);
        let keep = |all: &mut Vec<_>, from: SocketAddr, data: &[u8]| {
            all.push((from.port(), data.to_vec()))
        };
        listener
            .receive(long, Some(&bell), |_, from, data| {
                keep(&mut all, from, data)
            })
            .unwrap();
        assert_eq!(all, [(port, b"hello".to_vec())]);
        rope.pull();
        listener.receive(long, Some(&bell), |_, _, _| {}).unwrap();
    }

    #[test]
    fn an_unknown_interface_is_said() {
        let groups = ["239.255.77.1".parse().unwrap()];
        let refused = Listener::open(free_port(), &groups, Some("eth99"), 100);
        let said = refused.err().unwrap().to_string();
        assert!(said.contains("no interface \"eth99\""), "{said}");
    }
}
