//! What reaches the interfaces, before any filter of this machine: a packet socket (packet(7)),
//! which needs CAP_NET_RAW. It also receives IGMP (RFC 3376) and MLD (RFC 3810) queries.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::findings::{Query, Unseen, Wire};
use crate::net::{Interface, ReceiveOptions};

/// Only headers are read.
const SNAP: usize = 256;
/// Packets taken at a time, so that the other sockets get their turn.
const AT_A_TIME: usize = 256;
/// Senders and queries kept.
const MOST: usize = 16;
/// Room for bursts until they are read, in bytes.
const BUFFER: usize = 4 << 20;

/// What a packet is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Udp {
        from: IpAddr,
        to: SocketAddr,
        /// UDP payload in bytes; in a first fragment, that of the whole packet.
        payload: usize,
        is_piece: bool,
    },
    /// A later fragment of a packet.
    Piece {
        to: IpAddr,
    },
    Query(Query),
}

/// An open packet socket: all packets that reach this machine.
pub(super) struct Tap {
    socket: Socket,
    buffer: [u8; SNAP],
}

impl Tap {
    /// Opens it.
    ///
    /// # Errors
    /// Usually that CAP_NET_RAW is missing.
    pub(super) fn open() -> Result<Tap, Unseen> {
        let everything = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(
            Domain::PACKET,
            Type::DGRAM.nonblocking(),
            Some(Protocol::from(everything)),
        )
        .map_err(unseen)?;
        // A smaller buffer sees less; what it misses is held against nobody.
        let _ = socket.set_recv_buffer_size(BUFFER);
        Ok(Tap {
            socket,
            buffer: [0; SNAP],
        })
    }

    /// Reads what is there: the interface's index, and what came.
    pub(super) fn read(&mut self, mut each: impl FnMut(u32, Seen)) {
        for _ in 0..AT_A_TIME {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut self.buffer) {
                Ok((len, Some(from))) => {
                    let packet = &self.buffer[..len.min(SNAP)];
                    // packet(7): "PACKET_OUTGOING for a packet originating from the local host".
                    let is_own = from.pkttype() == libc::PACKET_OUTGOING;
                    if let Some(seen) = parse(packet).filter(|_| !is_own) {
                        each(from.ifindex() as u32, seen);
                    }
                }
                Ok((_, None)) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn unseen(error: io::Error) -> Unseen {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Unseen::NeedsRoot,
        _ => Unseen::Other(format!("no packet socket: {error}")),
    }
}

/// What comes to one stream on one interface.
pub(super) struct StreamTap {
    tap: Tap,
    group: SocketAddr,
    /// The only sender, in a source-specific group.
    source: Option<IpAddr>,
    interface: u32,
    wire: Wire,
}

impl StreamTap {
    /// Watches what `wanted` would receive on `interface`.
    ///
    /// # Errors
    /// Those of [`Tap::open`].
    pub(super) fn open(
        wanted: &ReceiveOptions,
        interface: &Interface,
    ) -> Result<StreamTap, Unseen> {
        Ok(StreamTap {
            tap: Tap::open()?,
            group: wanted.group,
            source: wanted.source,
            interface: interface.index,
            wire: Wire::default(),
        })
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) {
        let StreamTap {
            tap,
            group,
            source,
            interface,
            wire,
        } = self;
        tap.read(|index, seen| {
            if index == *interface && !is_unwanted(*source, &seen) {
                note(wire, *group, seen);
            }
        });
    }

    /// What was seen.
    pub(super) fn finish(self) -> Wire {
        self.wire
    }
}

impl AsFd for StreamTap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }
}

/// A sender whose packets a source-specific membership excludes (RFC 4607).
fn is_unwanted(source: Option<IpAddr>, seen: &Seen) -> bool {
    let Seen::Udp { from, .. } = seen else {
        return false;
    };
    source.is_some_and(|source| source != *from)
}

fn note(wire: &mut Wire, group: SocketAddr, seen: Seen) {
    match seen {
        Seen::Udp {
            from,
            to,
            payload,
            is_piece,
        } if same(to, group) => {
            wire.packets += 1;
            wire.bytes += payload as u64;
            wire.fragments += u64::from(is_piece);
            if wire.sources.len() < MOST && !wire.sources.contains(&from) {
                wire.sources.push(from);
            }
        }
        Seen::Piece { to } if to == group.ip() => wire.fragments += 1,
        Seen::Query(query)
            if query.from.is_ipv4() == group.is_ipv4() && wire.queries.len() < MOST =>
        {
            wire.queries.push(query);
        }
        _ => {}
    }
}

/// The group may carry a scope.
fn same(to: SocketAddr, group: SocketAddr) -> bool {
    (to.ip(), to.port()) == (group.ip(), group.port())
}

/// The IP version is in the first four bits; the socket strips the link header.
fn parse(packet: &[u8]) -> Option<Seen> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

/// RFC 791 §3.1.
fn ipv4(packet: &[u8]) -> Option<Seen> {
    let header = packet.first_chunk::<20>()?;
    let len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
    let address = |at: usize| {
        let bytes: [u8; 4] = header[at..at + 4].try_into().unwrap_or_default();
        IpAddr::V4(Ipv4Addr::from(bytes))
    };
    let (from, to) = (address(12), address(16));
    if offset != 0 {
        return Some(Seen::Piece { to });
    }
    let rest = packet.get(len.max(20)..)?;
    match header[9] {
        17 => udp(from, to, rest, more),
        2 => igmp(from, rest, total.saturating_sub(len)),
        _ => None,
    }
}

/// RFC 3376 §7.1: a query's version follows from its length and its Max Resp Code.
fn igmp(from: IpAddr, message: &[u8], len: usize) -> Option<Seen> {
    const QUERY: u8 = 0x11;
    let &[QUERY, max_resp, ..] = message else {
        return None;
    };
    let version = match (len, max_resp) {
        (12.., _) => 3,
        (_, 0) => 1,
        _ => 2,
    };
    Some(Seen::Query(Query { from, version }))
}

/// RFC 8200 §3, §4.
fn ipv6(packet: &[u8]) -> Option<Seen> {
    let header = packet.first_chunk::<40>()?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at: usize| {
        let bytes: [u8; 16] = header[at..at + 16].try_into().unwrap_or_default();
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    let (from, to) = (address(8), address(24));
    let mut next = header[6];
    let mut at = 40;
    let mut is_piece = false;
    // Hop-by-hop (0), routing (43), destination options (60) and fragment (44) headers.
    loop {
        let rest = packet.get(at..)?;
        match next {
            17 => return udp(from, to, rest, is_piece),
            58 => return mld(from, rest, (40 + payload).saturating_sub(at)),
            44 => {
                let fragment = rest.first_chunk::<8>()?;
                if u16::from_be_bytes([fragment[2], fragment[3]]) & 0xfff8 != 0 {
                    return Some(Seen::Piece { to });
                }
                (next, is_piece, at) = (fragment[0], true, at + 8);
            }
            0 | 43 | 60 => {
                let &[following, len, ..] = rest else {
                    return None;
                };
                (next, at) = (following, at + 8 * (usize::from(len) + 1));
            }
            _ => return None,
        }
    }
}

/// RFC 2710 §3, RFC 3810 §5.1: type 130; with 28 bytes or more it is version 2.
fn mld(from: IpAddr, message: &[u8], len: usize) -> Option<Seen> {
    const QUERY: u8 = 130;
    let is_query = message.first() == Some(&QUERY);
    let version = if len >= 28 { 2 } else { 1 };
    is_query.then_some(Seen::Query(Query { from, version }))
}

/// RFC 768.
fn udp(from: IpAddr, to: IpAddr, rest: &[u8], is_piece: bool) -> Option<Seen> {
    let header = rest.first_chunk::<8>()?;
    let port = u16::from_be_bytes([header[2], header[3]]);
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some(Seen::Udp {
        from,
        to: SocketAddr::new(to, port),
        payload: len.saturating_sub(8),
        is_piece,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0, 10, 77, 0, 1, 224, 3, 29, 71,
        ];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend(rest);
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 1];
        packet[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        packet.extend("fd77::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("ff15::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(rest);
        packet
    }

    const UDP: [u8; 10] = [0x80, 0, 0x27, 0x10, 0, 10, 0, 0, 1, 2];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn udp_packets() {
        let seen = Seen::Udp {
            from: ip("10.77.0.1"),
            to: "224.3.29.71:10000".parse().unwrap(),
            payload: 2,
            is_piece: false,
        };
        assert_eq!(ipv4(&v4(17, 0, &UDP)), Some(seen));
        assert_eq!(ipv4(&v4(6, 0, &UDP)), None);
        let Some(Seen::Udp { to, is_piece, .. }) = ipv6(&v6(17, &UDP)) else {
            panic!();
        };
        assert_eq!(to, "[ff15::1]:10000".parse().unwrap());
        assert!(!is_piece);
    }

    #[test]
    fn pieces() {
        let first = ipv4(&v4(17, 0x2000, &UDP));
        assert!(matches!(first, Some(Seen::Udp { is_piece: true, .. })));
        let later = ipv4(&v4(17, 185, &[0; 8]));
        assert_eq!(
            later,
            Some(Seen::Piece {
                to: ip("224.3.29.71")
            })
        );
        let mut fragment = vec![17, 0, 0, 1, 0, 0, 0, 9];
        fragment.extend(UDP);
        let first = ipv6(&v6(44, &fragment));
        assert!(matches!(first, Some(Seen::Udp { is_piece: true, .. })));
        fragment[3] = 9;
        assert_eq!(
            ipv6(&v6(44, &fragment)),
            Some(Seen::Piece { to: ip("ff15::1") })
        );
    }

    #[test]
    fn queries_and_their_versions() {
        let version = |message: &[u8]| match ipv4(&v4(2, 0, message)) {
            Some(Seen::Query(query)) => query.version,
            other => panic!("{other:?}"),
        };
        assert_eq!(version(&[0x11, 0, 0, 0, 0, 0, 0, 0]), 1);
        assert_eq!(version(&[0x11, 100, 0, 0, 0, 0, 0, 0]), 2);
        assert_eq!(version(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), 3);
        // A report.
        assert_eq!(ipv4(&v4(2, 0, &[0x22, 0, 0, 0, 0, 0, 0, 0])), None);
        // Hop-by-hop header with a router alert (RFC 2711), then MLDv2.
        let mut message = vec![58, 0, 5, 2, 0, 0, 1, 0];
        message.extend([130, 0, 0, 0]);
        message.resize(8 + 28, 0);
        let query = Query {
            from: ip("fd77::1"),
            version: 2,
        };
        assert_eq!(ipv6(&v6(0, &message)), Some(Seen::Query(query)));
    }

    #[test]
    fn what_is_noted_is_of_the_group_and_bounded() {
        let group = "224.3.29.71:10000".parse().unwrap();
        let mut wire = Wire::default();
        for n in 0..100u8 {
            let from = IpAddr::from([10, 0, 0, n]);
            let to = if n % 2 == 0 {
                group
            } else {
                "224.3.29.72:10000".parse().unwrap()
            };
            note(
                &mut wire,
                group,
                Seen::Udp {
                    from,
                    to,
                    payload: 10,
                    is_piece: false,
                },
            );
            note(&mut wire, group, Seen::Query(Query { from, version: 3 }));
        }
        assert_eq!((wire.packets, wire.bytes), (50, 500));
        assert_eq!((wire.sources.len(), wire.queries.len()), (MOST, MOST));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_without_a_panic(mut packet in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
            ipv4(&packet);
            ipv6(&packet);
            if let Some(next) = packet.get_mut(6) {
                *next = 0;
            }
            ipv6(&packet);
        }
    }
}
