//! What the seam's functions take and give, on any system.

use std::net::SocketAddr;

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
