//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::libc::EAFNOSUPPORT;

/// A listening socket and its address, with the port that the kernel chose if none was given. On a
/// machine without IPv6, "every address" means every IPv4 address.
pub(super) fn on(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    // SO_REUSEADDR is set, so the port is available right after a restart.
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
