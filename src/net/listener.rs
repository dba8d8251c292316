//! Receives several groups on one port of every interface, for announcements and discovery: few
//! datagrams, from anybody; and sends some by the same sockets. Not for streams: those are a
//! [`super::BatchReceiver`]'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::group::GroupError;
use super::interface::{self, Interface, InterfaceError};
use super::sys::{self, Bell, Membership, ReceiveArrays};

/// Datagrams that one call reads.
const SLOTS: usize = 8;

/// Sockets that receive from the groups, one for each interface and IP version.
pub struct Listener {
    port: u16,
    groups: Vec<IpAddr>,
    /// The only interface, by name or address; `None`: all.
    wanted: Option<String>,
    ears: Vec<Ear>,
    arrays: ReceiveArrays,
}

struct Ear {
    socket: Socket,
    interface: Interface,
    is_ipv6: bool,
}

impl Listener {
    /// Joins `groups` on all interfaces that carry multicast, or on the one called `wanted`.
    /// Datagrams above `longest` bytes are ignored.
    ///
    /// # Errors
    /// There is no such interface, or the groups can be joined on none.
    pub fn open(
        port: u16,
        groups: &[IpAddr],
        wanted: Option<&str>,
        longest: usize,
    ) -> Result<Listener, GroupError> {
        let mut listener = Listener {
            port,
            groups: groups.to_vec(),
            wanted: wanted.map(str::to_owned),
            ears: Vec::new(),
            arrays: ReceiveArrays::new(SLOTS, longest),
        };
        let refused = listener.join(listener.interfaces()?);
        match refused {
            Some(error) if listener.ears.is_empty() => Err(error),
            _ => Ok(listener),
        }
    }

    /// Follows interfaces that came, went or changed. Call it now and then.
    pub fn refresh(&mut self) {
        let Ok(present) = self.interfaces() else {
            self.ears.clear();
            return;
        };
        self.ears.retain(|ear| present.contains(&ear.interface));
        let is_new = |i: &Interface| !self.ears.iter().any(|ear| ear.interface.index == i.index);
        let new = present.into_iter().filter(is_new).collect();
        if let Some(error) = self.join(new) {
            tracing::debug!("{error}");
        }
    }

    /// Waits until something comes or the bell rings, at most for `timeout`, and passes on what is
    /// there: the interface's name, the sender, the datagram.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn receive(
        &mut self,
        timeout: Duration,
        bell: Option<&Bell>,
        each: impl FnMut(&str, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        let sockets: Vec<_> = self.ears.iter().map(|ear| &ear.socket).collect();
        sys::any_readable(&sockets, bell, timeout)?;
        self.read(each);
        Ok(())
    }

    /// The interfaces that it listens on.
    pub fn listening_on(&self) -> impl Iterator<Item = &Interface> {
        let mut last = None;
        let mut ears: Vec<_> = self.ears.iter().map(|ear| &ear.interface).collect();
        ears.sort_by_key(|interface| interface.index);
        ears.retain(|interface| last.replace(interface.index) != Some(interface.index));
        ears.into_iter()
    }

    /// Sends from the port that it listens on, by the interface of this name.
    ///
    /// # Errors
    /// It does not listen there by this IP version, or the kernel refused.
    pub fn send(&self, interface: &str, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut ears = self.ears.iter();
        let ear = ears.find(|e| e.interface.name == interface && e.is_ipv6 == to.is_ipv6());
        let ear = ear.ok_or(io::ErrorKind::NotConnected)?;
        ear.socket.send_to(datagram, &to.into())?;
        Ok(())
    }

    /// Passes on what is there.
    fn read(&mut self, mut each: impl FnMut(&str, SocketAddr, &[u8])) {
        for ear in &self.ears {
            // The next refresh reports an error that lasts.
            while self.arrays.receive(&ear.socket, true).is_ok() {
                for message in (0..self.arrays.filled()).map(|i| self.arrays.message(i)) {
                    if let Some(from) = message.from.filter(|_| !message.is_truncated) {
                        each(&ear.interface.name, from, message.data);
                    }
                }
                if self.arrays.filled() < SLOTS {
                    break;
                }
            }
        }
    }

    fn interfaces(&self) -> Result<Vec<Interface>, InterfaceError> {
        let mut all = match &self.wanted {
            Some(wanted) => {
                let before = self.ears.first().map(|ear| ear.interface.index);
                vec![interface::find_again(wanted, before)?]
            }
            None => interface::list()?,
        };
        all.retain(|i| i.is_up && (i.is_multicast || i.is_loopback));
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
                match open(self.port, &groups, &interface) {
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
fn open(port: u16, groups: &[IpAddr], interface: &Interface) -> io::Result<Socket> {
    let is_ipv6 = groups.iter().any(IpAddr::is_ipv6);
    let any: IpAddr = match is_ipv6 {
        false => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
    };
    let any = SocketAddr::new(any, port);
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    // Others on this machine listen too, and each gets its copy.
    socket.set_reuse_address(true)?;
    if is_ipv6 {
        socket.set_only_v6(true)?;
        // With IPv6 membership alone does not tell the interface. Older kernels want privileges for
        // this; there a datagram may be taken for another interface's.
        let _ = socket.bind_device(Some(interface.name.as_bytes()));
    }
    sys::hear_joined_only(&socket, is_ipv6);
    // What is sent to a group goes out here too. That may be refused where nothing is sent.
    let _ = match is_ipv6 {
        false => sys::set_multicast_interface_v4(&socket, interface.index),
        true => socket.set_multicast_if_v6(interface.index),
    };
    socket.bind(&any.into())?;
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
                    all.push((interface.to_owned(), data.to_vec()));
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
        let names: Vec<_> = listener.listening_on().map(|i| i.name.clone()).collect();
        assert_eq!(names, ["lo"]);
        let (bell, rope) = Bell::new().unwrap();
        let group = SocketAddr::new(groups[0], port);
        listener.send("lo", group, b"hello").unwrap();
        assert!(listener.send("eth99", group, b"hello").is_err());
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
