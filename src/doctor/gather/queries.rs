//! Membership queries as they come through this machine's firewall: a raw socket (raw(7)), which
//! needs CAP_NET_RAW. The kernel passes each message to such sockets when it answers it itself.

use std::io::Read;
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::Interface;

/// Messages taken at a time.
const AT_A_TIME: usize = 64;
/// RFC 3376 §4 and RFC 3810 §5: the types of queries.
const IGMP_QUERY: u8 = 0x11;
const MLD_QUERY: u8 = 130;

/// An open raw socket.
pub(super) struct Queries {
    socket: Socket,
    is_ipv4: bool,
    count: u64,
}

impl Queries {
    /// Listens on `interface`; `None`: this user may not.
    pub(super) fn open(group: IpAddr, interface: &Interface) -> Option<Queries> {
        let is_ipv4 = group.is_ipv4();
        let (domain, protocol) = match is_ipv4 {
            true => (Domain::IPV4, Protocol::from(libc::IPPROTO_IGMP)),
            false => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol)).ok()?;
        (socket.bind_device(Some(interface.name.as_bytes()))).ok()?;
        Some(Queries {
            socket,
            is_ipv4,
            count: 0,
        })
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) {
        let mut buffer = [0; 64];
        for _ in 0..AT_A_TIME {
            let Ok(len) = (&self.socket).read(&mut buffer) else {
                return;
            };
            self.count += u64::from(is_query(self.is_ipv4, &buffer[..len]));
        }
    }

    /// How many came.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// raw(7): IPv4 packets come with their header (RFC 791 §3.1), IPv6 ones without.
fn is_query(is_ipv4: bool, packet: &[u8]) -> bool {
    let (at, kind) = match is_ipv4 {
        true => (
            usize::from(packet.first().map_or(0, |b| b & 0x0f)) * 4,
            IGMP_QUERY,
        ),
        false => (0, MLD_QUERY),
    };
    packet.get(at) == Some(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_told_from_reports() {
        let mut igmp = vec![0x46; 24];
        igmp.extend([0x11, 100, 0, 0, 0, 0, 0, 0]);
        assert!(is_query(true, &igmp));
        igmp[24] = 0x22;
        assert!(!is_query(true, &igmp));
        assert!(is_query(false, &[130, 0]) && !is_query(false, &[143, 0]));
        assert!(!is_query(true, &[]) && !is_query(false, &[]));
    }
}
