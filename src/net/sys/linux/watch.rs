//! Changes of links, addresses and routes. netlink(7), rtnetlink(7): the kernel reports to those
//! who have joined the groups of a routing socket.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// Messages read at a time; one is as good as many.
const AT_A_TIME: usize = 64;

// linux/rtnetlink.h, RTMGRP_*; libc has them for Linux as signed numbers.
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// Watches the network of the network namespace that the thread was in which opened it.
#[derive(Debug)]
pub struct NetworkWatch(OwnedFd);

impl NetworkWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The kernel does not report changes.
    pub fn open() -> io::Result<NetworkWatch> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(NetworkWatch(socket))
    }

    /// Whether anything has changed since the last call. One system call if nothing has.
    pub fn has_changed(&self) -> bool {
        let mut heard = 0;
        // The content does not matter: a message that does not fit is truncated.
        while heard < AT_A_TIME {
            match recv(self.0.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
                Ok(_) => heard += 1,
                // netlink(7): ENOBUFS, messages were lost.
                Err(Errno::ENOBUFS) => heard += 1,
                Err(_) => break,
            }
        }
        heard > 0
    }
}
