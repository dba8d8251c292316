//! Sockets that send to a group or receive from one: options, membership, buffers, and errors in
//! words. A *group* here is an address and a port; a unicast address is allowed, and
//! [`SendSocket::is_multicast`] says which it is. [`super::BatchSender`] and
//! [`super::BatchReceiver`] send and receive.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::choice::choose;
use super::interface::{Interface, InterfaceError};
use super::sys::{self, Membership};

/// How long a send may wait for room in a full device queue before its packets are dropped: a frame
/// that is later than this is of no use to a viewer.
const SEND_PATIENCE: Duration = Duration::from_millis(100);

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// No usable interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Another program has the port and does not share it.
    #[error(
        "port {} is in use by a program that does not share it; stop that program (find it with: ss -lunp 'sport = {}') or choose another port",
        .group.port(), .group.port()
    )]
    PortInUse {
        /// Address and port.
        group: SocketAddr,
    },
    /// The unicast address to receive on does not belong to this machine.
    #[error(
        "{} is neither a multicast group nor an address of this machine; give the sender's group, or this machine's own address",
        .group.ip()
    )]
    NotLocal {
        /// Address and port.
        group: SocketAddr,
    },
    /// The port is below 1024, or a firewall or sandbox forbids it.
    #[error(
        "not allowed to {what} {group}: {cause}; ports below 1024 need CAP_NET_BIND_SERVICE, and a sandbox must allow IP sockets"
    )]
    NotAllowed {
        /// What was tried.
        what: &'static str,
        /// Address and port.
        group: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The kernel's limit on memberships of a socket or a user.
    #[error(
        "too many group memberships to join {group} too; raise the limit: sudo sysctl -w net.ipv4.igmp_max_memberships=100"
    )]
    TooManyGroups {
        /// Address and port.
        group: SocketAddr,
    },
    /// Source-specific reception from a unicast address, or a source of the other IP version.
    #[error(
        "source {from} cannot be picked out of {group}: both must be of one IP version, and {group} a multicast group"
    )]
    Source {
        /// The source that was asked for.
        from: IpAddr,
        /// Address and port.
        group: SocketAddr,
    },
    /// Anything else, and what was being done.
    #[error("cannot {what} {group}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Address and port.
        group: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl GroupError {
    pub(super) fn new(what: &'static str, group: SocketAddr, cause: io::Error) -> GroupError {
        match cause.kind() {
            io::ErrorKind::AddrInUse => GroupError::PortInUse { group },
            io::ErrorKind::AddrNotAvailable => GroupError::NotLocal { group },
            io::ErrorKind::PermissionDenied => GroupError::NotAllowed { what, group, cause },
            _ if what == JOIN && sys::is_out_of_room(&cause) => GroupError::TooManyGroups { group },
            _ => GroupError::Io { what, group, cause },
        }
    }
}

const JOIN: &str = "join group";

/// Options of a sender's socket.
#[derive(Clone, Debug, PartialEq)]
pub struct SendOptions {
    /// Group (or unicast address) and port to send to.
    pub group: SocketAddr,
    /// Interface by name or address; `None`: the one that the kernel routes the group by.
    pub interface: Option<String>,
    /// Hops that the packets may make. 1: this network only.
    pub ttl: u8,
    /// Whether viewers on this machine receive the stream too.
    pub loopback: bool,
    /// DiffServ code point, 0 to 63. RFC 2474 §3.
    pub dscp: u8,
}

impl SendOptions {
    /// The same options with the port this much higher; that port must exist.
    pub fn at_port_above(mut self, ports: u16) -> SendOptions {
        self.group.set_port(self.group.port() + ports);
        self
    }

    /// DSCP AF41 (RFC 4594 §4.3): lands in the *video* queue of Wi-Fi.
    pub const AF41: u8 = 34;

    /// The defaults for `group`: routed interface, TTL 1, loopback on, AF41.
    pub fn new(group: SocketAddr) -> SendOptions {
        SendOptions {
            group,
            interface: None,
            ttl: 1,
            loopback: true,
            dscp: Self::AF41,
        }
    }
}

/// An open socket that sends to one group. Not connected, so that a changed address of the
/// interface takes effect by itself, and no ICMP error of a unicast viewer stops the stream.
#[derive(Debug)]
pub struct SendSocket {
    socket: Socket,
    options: SendOptions,
    interface: Interface,
    to: SockAddr,
}

impl SendSocket {
    /// Opens it. Options that the kernel refuses but a stream can do without (TTL, DSCP, loopback)
    /// are warned about in the log and skipped.
    ///
    /// # Errors
    /// There is no such interface, it is down, or no socket is available.
    pub fn open(options: &SendOptions) -> Result<SendSocket, GroupError> {
        SendSocket::open_on(options, None)
    }

    /// The same on the interface with the index `keep`, if it works and nobody named another.
    ///
    /// # Errors
    /// Those of [`SendSocket::open`].
    pub fn open_on(options: &SendOptions, keep: Option<u32>) -> Result<SendSocket, GroupError> {
        let interface = choose(options.interface.as_deref(), options.group, keep)?;
        SendSocket::open_at(options, interface, None)
    }

    /// The same on `interface`, bound to `from` if possible: an address of this machine that no
    /// other socket has.
    pub(super) fn open_at(
        options: &SendOptions,
        interface: Interface,
        from: Option<SocketAddr>,
    ) -> Result<SendSocket, GroupError> {
        let group = options.group;
        let fail = |what| move |e| GroupError::new(what, group, e);
        let socket = udp_socket(group).map_err(fail("open a socket for"))?;
        (socket.set_write_timeout(Some(SEND_PATIENCE))).map_err(fail("set a time limit for"))?;
        set_optional(&socket, options);
        let sender = SendSocket {
            socket,
            options: options.clone(),
            to: scoped(group, interface.index).into(),
            interface,
        };
        let own = match sender.leave_by_interface() {
            Ok(()) => source_address(group, &sender.interface),
            // Not a refusal: the interface has gone since it was looked up.
            Err(error) if sys::is_network_down(&error) => {
                return Err(GroupError::new("choose the interface for", group, error));
            }
            Err(error) => sender.leave_by_address(&error),
        };
        if from.is_none_or(|from| sender.socket.bind(&from.into()).is_err()) {
            let from = SocketAddr::new(own, 0);
            (sender.socket.bind(&from.into())).map_err(fail("bind a socket for"))?;
        }
        if sender.is_multicast() && !sender.interface.has_address_like(group.ip()) {
            tracing::warn!(
                "interface {} has no address of its own for {group}; packets may carry another one's, and routers and viewers may drop them",
                sender.interface.name
            );
        }
        Ok(sender)
    }

    /// Makes datagrams leave by the chosen interface. A unicast stream is left to the routes unless
    /// the user named an interface.
    fn leave_by_interface(&self) -> io::Result<()> {
        let index = self.interface.index;
        let is_ipv6 = self.group().is_ipv6();
        if self.is_multicast() {
            return leave_by(&self.socket, index, is_ipv6);
        }
        if self.options.interface.is_none() || self.group().ip().is_loopback() {
            return Ok(());
        }
        sys::set_unicast_interface(&self.socket, index, is_ipv6)
    }

    /// The address to bind if the kernel does not let the interface be chosen: by its source
    /// address it sends a group's packets by the interface that has it (and does not follow when
    /// that gets another one).
    fn leave_by_address(&self, refusal: &io::Error) -> IpAddr {
        let (group, interface) = (self.group(), &self.interface);
        tracing::warn!(
            "{group}: the kernel refused to choose interface {} ({refusal}); going on by its address",
            interface.name
        );
        // IPv6 has the interface in the address of a group that needs it.
        let own = interface.addresses.iter().find(|a| a.is_ipv4());
        own.filter(|_| group.is_ipv4())
            .copied()
            .unwrap_or_else(|| source_address(group, interface))
    }

    /// Looks the interface up again and follows it, such as an adapter that came back under another
    /// index, or a default route that moved. Takes some 100 µs: call it when
    /// [`Changes`](super::Changes) says so, or after an error. Returns whether anything changed
    /// (index, addresses, up or running). If it `works`, because what is sent arrives, a route by
    /// another interface is no reason to leave this one.
    ///
    /// # Errors
    /// The interface is gone or down at present.
    pub fn refresh(&mut self, works: bool) -> Result<bool, GroupError> {
        let named = self.options.interface.as_deref();
        let Some(now) = changed(&self.interface, named, self.options.group, works)? else {
            return Ok(false);
        };
        if now.is_loopback != self.interface.is_loopback {
            // To or from loopback the source address changes with it, which is bound.
            *self = SendSocket::open_at(&self.options, now, None)?;
            return Ok(true);
        }
        self.to = scoped(self.group(), now.index).into();
        self.interface = now;
        if self.leave_by_interface().is_err() {
            // The address that is bound decides where datagrams leave.
            *self = SendSocket::open_at(&self.options, self.interface.clone(), None)?;
        }
        Ok(true)
    }

    /// The destination.
    pub fn group(&self) -> SocketAddr {
        self.options.group
    }

    /// Whether [`group`](Self::group) is a multicast group rather than one machine's address.
    pub fn is_multicast(&self) -> bool {
        self.group().ip().is_multicast()
    }

    /// The interface as it was at the start or the last refresh.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The largest datagram in bytes that is sent without fragmentation.
    pub fn max_datagram(&self) -> usize {
        self.interface.max_datagram(self.group().is_ipv6())
    }

    /// The port that it sends from (address unspecified).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.socket.local_addr()?)
    }

    /// The group as the kernel wants it.
    pub(super) fn to(&self) -> &SockAddr {
        &self.to
    }

    /// The socket itself, for use in this layer.
    pub(super) fn raw(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for SendSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The interface for `group` as it is now; `None`: it is still as it was. The one in use is kept if
/// it works or was `named`: one that was named by its address stays when it gets another.
fn changed(
    interface: &Interface,
    named: Option<&str>,
    group: SocketAddr,
    works: bool,
) -> Result<Option<Interface>, InterfaceError> {
    let keep = (works || named.is_some()).then_some(interface.index);
    let now = choose(named, group, keep)?;
    Ok((now != *interface).then_some(now))
}

/// Sets TTL, loopback and DSCP; a refusal is logged here, once.
fn set_optional(socket: &Socket, options: &SendOptions) {
    let group = options.group;
    let ttl = u32::from(options.ttl);
    // RFC 2474 §3: the code point is the upper six bits of the TOS and traffic class fields.
    let class = u32::from(options.dscp & 0x3f) << 2;
    let is_multicast = group.ip().is_multicast();
    let (hops, loopback, dscp) = match (group, is_multicast) {
        (SocketAddr::V4(_), true) => (
            socket.set_multicast_ttl_v4(ttl),
            socket.set_multicast_loop_v4(options.loopback),
            socket.set_tos_v4(class),
        ),
        (SocketAddr::V6(_), true) => (
            socket.set_multicast_hops_v6(ttl),
            socket.set_multicast_loop_v6(options.loopback),
            socket.set_tclass_v6(class),
        ),
        // The TTL keeps a group within its network. A single machine's address needs no such limit,
        // and with TTL 1 a viewer behind a router would see nothing: the system's default is kept.
        (SocketAddr::V4(_), false) => (Ok(()), Ok(()), socket.set_tos_v4(class)),
        (SocketAddr::V6(_), false) => (Ok(()), Ok(()), socket.set_tclass_v6(class)),
    };
    for (name, result) in [("ttl", hops), ("loopback", loopback), ("dscp", dscp)] {
        if let Err(error) = result {
            tracing::warn!(
                "{group}: the kernel refused the setting `{name}` ({error}); going on without it"
            );
        }
    }
}

/// Options of a receiver's socket.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveOptions {
    /// Group and port to receive from; for unicast an address of this machine, or the unspecified
    /// address.
    pub group: SocketAddr,
    /// Interface by name or address; `None`: the one that the kernel routes the group by.
    pub interface: Option<String>,
    /// Receive from this sender only: source-specific multicast. RFC 4607.
    pub source: Option<IpAddr>,
    /// Requested socket buffer, in bytes.
    pub receive_buffer: usize,
}

impl ReceiveOptions {
    /// Room for several frames of a high-quality 1080p stream.
    pub const DEFAULT_BUFFER: usize = 4 << 20;

    /// The defaults for `group`: routed interface, any source, 4 MiB of buffer.
    pub fn new(group: SocketAddr) -> ReceiveOptions {
        ReceiveOptions {
            group,
            interface: None,
            source: None,
            receive_buffer: Self::DEFAULT_BUFFER,
        }
    }
}

/// How much of the requested receive buffer the kernel granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferGrant {
    /// Bytes requested.
    pub wanted: usize,
    /// Bytes granted. The kernel books its own overhead on them too: about half is payload.
    pub granted: usize,
}

impl BufferGrant {
    /// A warning for the user if less was granted than requested.
    pub fn advice(&self) -> Option<String> {
        if self.granted >= self.wanted {
            return None;
        }
        Some(format!(
            "receive buffer: {} bytes requested, {} granted, because rmem_max is {}; bursts may be lost; raise it with: sudo sysctl -w net.core.rmem_max={}",
            self.wanted, self.granted, self.granted, self.wanted
        ))
    }
}

/// An open socket that receives from one group, or on one address of this machine. The membership
/// ends with it.
#[derive(Debug)]
pub struct ReceiveSocket {
    socket: Socket,
    options: ReceiveOptions,
    interface: Interface,
    buffer: BufferGrant,
    has_gro: bool,
    /// SO_RCVTIMEO at present; zero: none yet. It is kept here because a refresh may reopen the
    /// socket.
    read_timeout: Duration,
}

impl ReceiveSocket {
    /// Opens, binds and joins (a group; unicast is bound only). It joins on one interface: the
    /// named one, or the one that the kernel routes the group by. A viewer on the sender's own
    /// machine receives it there too, because senders loop back on the interface that they send by.
    ///
    /// # Errors
    /// There is no such interface, it is down, another program has the port and does not share it,
    /// or the group could not be joined.
    pub fn open(options: &ReceiveOptions) -> Result<ReceiveSocket, GroupError> {
        ReceiveSocket::open_on(options, None)
    }

    /// The same on the interface with the index `keep`, if it works and nobody named another.
    ///
    /// # Errors
    /// Those of [`ReceiveSocket::open`].
    pub fn open_on(
        options: &ReceiveOptions,
        keep: Option<u32>,
    ) -> Result<ReceiveSocket, GroupError> {
        check_source(options)?;
        let interface = choose(options.interface.as_deref(), options.group, keep)?;
        ReceiveSocket::open_at(options, interface)
    }

    fn open_at(
        options: &ReceiveOptions,
        interface: Interface,
    ) -> Result<ReceiveSocket, GroupError> {
        let group = options.group;
        let is_multicast = group.ip().is_multicast();
        let fail = |what| move |e| GroupError::new(what, group, e);
        let socket = udp_socket(group).map_err(fail("open a socket for"))?;
        if is_multicast {
            // socket(7) and udp(7): each of several sockets bound to one group gets its copy. Of
            // several bound to one *unicast* address only the last would, so there it is not set.
            (socket.set_reuse_address(true)).map_err(fail("share the port of"))?;
        }
        let buffer = grow_buffer(&socket, options.receive_buffer);
        sys::hear_joined_only(&socket, group.is_ipv6());
        // Bound to the group's own address: bound to 0.0.0.0 it would receive other groups on this
        // port too.
        (socket.bind(&scoped(group, interface.index).into())).map_err(fail("listen on"))?;
        let has_gro = sys::coalesce_received(&socket).is_ok();
        let receiver = ReceiveSocket {
            socket,
            options: options.clone(),
            interface,
            buffer,
            has_gro,
            read_timeout: Duration::ZERO,
        };
        receiver.join().map_err(fail(JOIN))?;
        Ok(receiver)
    }

    fn join(&self) -> io::Result<()> {
        self.membership(Membership::Join)
    }

    fn membership(&self, change: Membership) -> io::Result<()> {
        if !self.is_multicast() {
            return Ok(());
        }
        sys::set_membership(
            &self.socket,
            change,
            self.interface.index,
            self.interface.v4(),
            self.group().ip(),
            self.options.source,
        )
    }

    /// Looks the interface up again and renews the membership if it changed: a new address or
    /// index, a link that came back, a default route that moved. Takes some 100 µs: call it when
    /// [`Changes`](super::Changes) says so. Returns whether it rejoined. If it `works`, because
    /// packets arrive, a route by another interface is no reason to leave this one.
    ///
    /// # Errors
    /// The interface is gone or down at present, or the group could not be joined.
    pub fn refresh(&mut self, works: bool) -> Result<bool, GroupError> {
        let named = self.options.interface.as_deref();
        let Some(now) = changed(&self.interface, named, self.options.group, works)? else {
            return Ok(false);
        };
        let is_moved = now.index != self.interface.index;
        if is_moved && scoped(self.group(), now.index) != self.group() {
            // When a link-local group was bound, the kernel tied the socket to the old index.
            *self = ReceiveSocket::open_at(&self.options, now)?;
            return Ok(true);
        }
        let _ = self.membership(Membership::Leave);
        self.interface = now;
        self.join()
            .map_err(|e| GroupError::new(JOIN, self.group(), e))?;
        Ok(true)
    }

    /// The group, or this machine's address.
    pub fn group(&self) -> SocketAddr {
        self.options.group
    }

    /// Whether [`group`](Self::group) is a multicast group rather than an address of this machine.
    pub fn is_multicast(&self) -> bool {
        self.group().ip().is_multicast()
    }

    /// The interface as it was at the start or the last refresh.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The receive buffer that was granted.
    pub fn buffer(&self) -> BufferGrant {
        self.buffer
    }

    /// Whether the kernel coalesces equal datagrams for it (UDP GRO, Linux 5.0).
    pub fn has_gro(&self) -> bool {
        self.has_gro
    }

    /// The address and port that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.socket.local_addr()?)
    }

    /// Sets how long receiving waits; takes a system call only if that changes.
    pub(super) fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if timeout != self.read_timeout {
            self.socket.set_read_timeout(Some(timeout))?;
            self.read_timeout = timeout;
        }
        Ok(())
    }
}

impl ReceiveSocket {
    /// The socket itself, for use in this layer.
    pub(super) fn raw(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for ReceiveSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn check_source(options: &ReceiveOptions) -> Result<(), GroupError> {
    let group = options.group;
    match options.source {
        Some(from) if !group.ip().is_multicast() || from.is_ipv4() != group.is_ipv4() => {
            Err(GroupError::Source { from, group })
        }
        _ => Ok(()),
    }
}

/// socket(7), SO_RCVBUF: "The kernel doubles this value (to allow space for bookkeeping overhead)
/// [...] and this doubled value is returned by getsockopt(2)." And it is silently capped at
/// rmem_max.
fn grow_buffer(socket: &Socket, wanted: usize) -> BufferGrant {
    let granted = || socket.recv_buffer_size().unwrap_or(0) / 2;
    // The buffer is never made smaller than the default.
    if granted() < wanted {
        let bytes = c_int::try_from(wanted).unwrap_or(c_int::MAX / 2);
        if sys::force_receive_buffer(socket, bytes).is_err() {
            let _ = socket.set_recv_buffer_size(wanted);
        }
    }
    BufferGrant {
        wanted,
        granted: granted(),
    }
}

fn udp_socket(group: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        // An IPv6 stream leaves the same port of IPv4 to others.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The address to send from. It is left to the kernel for each packet, so that it may change,
/// except for a group on loopback: there the kernel would take another interface's address, or
/// 0.0.0.0 if there is none (127.0.0.1 has host scope only), so loopback's own is bound.
fn source_address(group: SocketAddr, interface: &Interface) -> IpAddr {
    match group {
        SocketAddr::V4(_) if group.ip().is_multicast() && interface.is_loopback => {
            let own = interface.addresses.iter().find(|a| a.is_ipv4());
            *own.unwrap_or(&IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        }
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Makes what is sent to groups leave by the interface with this index.
pub(super) fn leave_by(socket: &Socket, index: u32, is_ipv6: bool) -> io::Result<()> {
    match is_ipv6 {
        false => sys::set_multicast_interface_v4(socket, index),
        true => socket.set_multicast_if_v6(index),
    }
}

/// `group` with the interface in it, which IPv6 link-local addresses and groups need. RFC 4007 §6.
pub(super) fn scoped(group: SocketAddr, index: u32) -> SocketAddr {
    match group {
        SocketAddr::V6(mut v6) if v6.scope_id() == 0 && needs_scope(*v6.ip()) => {
            v6.set_scope_id(index);
            SocketAddr::V6(v6)
        }
        other => other,
    }
}

/// RFC 4291 §2.5.6 (fe80::/10) and §2.7 (scope 1 and 2: interface-local and link-local groups).
fn needs_scope(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.octets();
    match first {
        0xff => matches!(second & 0x0f, 1 | 2),
        0xfe => second & 0xc0 == 0x80,
        _ => false,
    }
}

fn socket_addr(addr: SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| io::Error::other("the socket has no IP address"))
}
