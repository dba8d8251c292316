//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::libc::EAFNOSUPPORT;

/// A socket that listens there, and the address with the port that the kernel chose if
/// none was given. Where there is no IPv6, "every address" means those of IPv4.
pub(super) fn on(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    // SO_REUSEADDR is set: after a restart the port is free.
    let listener = TcpListener::bind(address).or_else(|error| {
        let is_without_ipv6 = error.raw_os_error() == Some(EAFNOSUPPORT)
            || error.kind() == io::ErrorKind::AddrNotAvailable;
        match address.is_ipv6() && address.ip().is_unspecified() && is_without_ipv6 {
            true => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())),
            false => Err(error),
        }
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
