//! Socket options. Man pages quoted: ip(7), ipv6(7), udp(7), socket(7), netdevice(7).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{SockAddr, Socket};

use crate::net::sys::types::Membership;

/// A C struct or number that the kernel may read as bytes: no padding that matters, no pointers.
trait OptionValue: Copy {}
impl OptionValue for c_int {}
impl OptionValue for libc::ip_mreqn {}
impl OptionValue for libc::ip_mreq {}
impl OptionValue for libc::group_source_req {}

fn set_option<T: OptionValue>(
    socket: &Socket,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which the kernel copies during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// send(2), MSG_DONTROUTE: "Don't use a gateway to send out the packet, send to hosts only on directly
/// connected networks."
pub fn send_on_link(socket: &Socket, to: &SockAddr, datagram: &[u8]) -> io::Result<()> {
    socket.send_to_with_flags(datagram, to, libc::MSG_DONTROUTE)?;
    Ok(())
}

/// udp(7), UDP_GRO: "Enables UDP receive offload. If enabled, the socket may receive multiple
/// datagrams worth of data as a single large buffer, together with a cmsg(3) that holds the segment
/// size."
pub fn coalesce_received(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, &1)
}

/// socket(7), SO_RCVBUFFORCE: "a privileged (CAP_NET_ADMIN) process can perform the same task as
/// SO_RCVBUF, but the rmem_max limit can be overridden."
pub fn force_receive_buffer(socket: &Socket, bytes: c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
}

/// ip(7), IP_MULTICAST_IF: "Set the local device for a multicast socket. The argument [...] is an
/// ip_mreqn". By index, so that it holds while the interface's addresses change.
pub fn set_multicast_interface_v4(socket: &Socket, index: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex: index as c_int,
    };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// The interface by which unicast datagrams leave. Takes the index in network byte order; index 0
/// undoes it. Unlike SO_BINDTODEVICE it needs no privilege and does not touch what is received.
pub fn set_unicast_interface(socket: &Socket, index: u32, is_ipv6: bool) -> io::Result<()> {
    let value = index.to_be() as c_int;
    match is_ipv6 {
        true => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF, &value),
        false => set_option(socket, libc::IPPROTO_IP, libc::IP_UNICAST_IF, &value),
    }
}

/// Joins or leaves a group on one interface, for all sources or for one. The interface by index,
/// which the options for one source take only in the protocol-independent form of RFC 3678 §5.
/// `own`: its IPv4 address, for emulators of processors that lose the index on the way.
pub fn set_membership(
    socket: &Socket,
    membership: Membership,
    interface: u32,
    own: Ipv4Addr,
    group: IpAddr,
    source: Option<IpAddr>,
) -> io::Result<()> {
    let Some(source) = source else {
        return set_membership_of_all(socket, membership, interface, own, group);
    };
    // RFC 3678 §5.1.1: the level is the group's own: IPPROTO_IP or IPPROTO_IPV6.
    let level = match group {
        IpAddr::V4(_) => libc::IPPROTO_IP,
        IpAddr::V6(_) => libc::IPPROTO_IPV6,
    };
    let name = match membership {
        Membership::Join => libc::MCAST_JOIN_SOURCE_GROUP,
        Membership::Leave => libc::MCAST_LEAVE_SOURCE_GROUP,
    };
    // SAFETY: `group_source_req` is a C struct of numbers; all zeroes (padding too) is valid.
    let mut request: libc::group_source_req = unsafe { zeroed() };
    request.gsr_interface = interface;
    request.gsr_group = storage(group);
    request.gsr_source = storage(source);
    set_option(socket, level, name, &request)
}

/// By the older options, IP_ADD_MEMBERSHIP and IPV6_JOIN_GROUP: they mean the same, and emulators
/// of processors know them.
fn set_membership_of_all(
    socket: &Socket,
    membership: Membership,
    interface: u32,
    own: Ipv4Addr,
    group: IpAddr,
) -> io::Result<()> {
    let v4 = |group: Ipv4Addr, name| {
        let by_index = libc::ip_mreqn {
            imr_multiaddr: in_addr(group),
            imr_address: in_addr(own),
            imr_ifindex: interface as c_int,
        };
        let refused = match set_option(socket, libc::IPPROTO_IP, name, &by_index) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) && !own.is_unspecified() => e,
            result => return result,
        };
        // qemu-user before 8.1 takes the index from beside the struct. If the interface is really
        // gone, so is its address, and the first refusal is the one to tell.
        let by_address = libc::ip_mreq {
            imr_multiaddr: in_addr(group),
            imr_interface: in_addr(own),
        };
        set_option(socket, libc::IPPROTO_IP, name, &by_address).map_err(|_| refused)
    };
    match (group, membership) {
        (IpAddr::V4(group), Membership::Join) => v4(group, libc::IP_ADD_MEMBERSHIP),
        (IpAddr::V4(group), Membership::Leave) => v4(group, libc::IP_DROP_MEMBERSHIP),
        (IpAddr::V6(group), Membership::Join) => socket.join_multicast_v6(&group, interface),
        (IpAddr::V6(group), Membership::Leave) => socket.leave_multicast_v6(&group, interface),
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from(address).to_be(),
    }
}

/// An address as the kernel's structs hold it, port 0.
fn storage(ip: IpAddr) -> libc::sockaddr_storage {
    // SAFETY: `sockaddr_storage` is a C struct of numbers; all zeroes is valid.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let addr = SockAddr::from(SocketAddr::new(ip, 0));
    // SAFETY: `addr` is `len()` bytes long, at most the size of `sockaddr_storage`; both are plain
    // bytes and do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(
            addr.as_ptr().cast::<u8>(),
            ptr::from_mut(&mut storage).cast::<u8>(),
            (addr.len() as usize).min(size_of::<libc::sockaddr_storage>()),
        );
    }
    storage
}

/// netdevice(7), SIOCGIFMTU: "Get the MTU (Maximum Transfer Unit) of a device using ifr_mtu." Asked
/// of the kernel rather than of /sys, which shows the network namespace that it was mounted in.
pub fn interface_mtu(socket: &Socket, name: &str) -> io::Result<u32> {
    // SAFETY: `ifreq` is a C struct (with a union of plain numbers); all zeroes is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU takes a pointer to an `ifreq` with a NUL-terminated name (the last byte is
    // still zero, as checked above) and writes within it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so that ifr_mtu is the member that was written.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// ip(7), IP_MULTICAST_ALL: "If set to 0, the socket will receive only the messages sent to groups
/// that it has explicitly joined" (and on the interface that it joined on). Kernels without it
/// receive no worse than before, so a refusal does not matter.
pub fn hear_joined_only(socket: &Socket, is_ipv6: bool) {
    let _ = match is_ipv6 {
        false => socket.set_multicast_all_v4(false),
        true => socket.set_multicast_all_v6(false),
    };
}
