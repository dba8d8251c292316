//! Tells that this machine's interfaces, addresses or routes may have changed, so that they are listed only then: a list
//! costs dozens of system calls, and more with every interface. Does not say what changed: whoever asks looks for himself.
//!
//! netlink(7), rtnetlink(7): the kernel tells those who have joined the groups of a routing socket.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::clock::Mono;

/// So often it is looked whether anything was said or not.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// Messages read at a time. Those that are left say no more.
const AT_A_TIME: usize = 64;

// linux/rtnetlink.h, RTMGRP_*; libc has them for Linux as signed numbers.
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// Whether the network may have changed since it was asked last; in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Changes {
    /// `None`: the kernel tells nothing here, so that it always may have.
    socket: Option<OwnedFd>,
    look_at: Mono,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes::new()
    }
}

impl Changes {
    /// Begins to listen. The first answer is yes.
    pub fn new() -> Changes {
        Changes {
            socket: open().ok(),
            look_at: Mono::now(),
        }
    }

    /// Whether it may have changed since this was asked last. One system call when nothing has.
    pub fn any(&mut self) -> bool {
        let now = Mono::now();
        if !self.was_told() && now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_ANYWAY;
        true
    }

    fn was_told(&self) -> bool {
        let Some(socket) = &self.socket else {
            return true;
        };
        let mut heard = 0;
        // What is said does not matter: a message that does not fit is cut.
        while heard < AT_A_TIME {
            match recv(socket.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
                Ok(_) => heard += 1,
                // netlink(7): ENOBUFS, messages were lost.
                Err(Errno::ENOBUFS) => heard += 1,
                Err(_) => break,
            }
        }
        heard > 0
    }
}

fn open() -> nix::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That changes are told is shown where there are some: tests/net.rs.
    #[test]
    fn the_first_answer_is_yes_and_the_second_no() {
        let mut changes = Changes::new();
        assert!(changes.socket.is_some());
        assert!(changes.any());
        // Something may change on this machine just now, but not all the time.
        assert!((0..100).any(|_| !changes.any()));
    }
}
