//! Listens for a while: to the stream as a viewer does, to the ports beside it, and to the wire.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

use super::super::arrivals::Meter;
use super::super::findings::Received;
use super::proc;
use super::queries::Queries;
use super::tap::StreamTap;
use crate::clock::Mono;
use crate::net::ReceiveSocket;
use crate::rtp::Options;

/// Messages taken at a time, so that each socket gets its turn.
const AT_A_TIME: usize = 64;
/// No datagram is longer, nor a run of datagrams that the kernel joined.
const LONGEST: usize = 65_536;
/// How often the depacketizer is told the time.
const LOOK: Duration = Duration::from_millis(50);

/// The sockets.
pub(super) struct Sockets {
    pub(super) media: ReceiveSocket,
    pub(super) rtcp: Option<ReceiveSocket>,
    pub(super) repair: Option<ReceiveSocket>,
    pub(super) tap: Option<StreamTap>,
    pub(super) queries: Option<Queries>,
}

impl Sockets {
    /// Listens for `wait`.
    pub(super) fn listen(&mut self, options: Options, wait: Duration) -> Received {
        enable_ttl(&self.media);
        let mut meter = Meter::new(options);
        let mut received = Received {
            rtcp: self.rtcp.as_ref().map(|_| 0),
            repair: self.repair.as_ref().map(|_| 0),
            ..Received::default()
        };
        let mut buffer = vec![0; LONGEST];
        let start = Mono::now();
        let end = start + wait;
        loop {
            let now = Mono::now();
            if now >= end {
                break;
            }
            self.wait(end.since(now).min(LOOK));
            self.read(&mut meter, &mut received, &mut buffer);
            meter.poll(Mono::now());
        }
        // What both saw at the last moment.
        self.read(&mut meter, &mut received, &mut buffer);
        received.listened = Mono::now().since(start);
        received.overflowed = overflowed(&self.media);
        received.queries = self.queries.as_ref().map(Queries::count);
        received.arrivals = meter.finish(Mono::now());
        received
    }

    /// Reads what is there.
    fn read(&mut self, meter: &mut Meter, received: &mut Received, buffer: &mut [u8]) {
        // The wire first: what is at the sockets came by it.
        if let Some(tap) = &mut self.tap {
            tap.read();
        }
        if let Some(queries) = &mut self.queries {
            queries.read();
        }
        read(&self.media, buffer, |from, ttl, datagram| {
            meter.push(Mono::now(), from, ttl, datagram);
        });
        for (socket, count) in [
            (&self.rtcp, &mut received.rtcp),
            (&self.repair, &mut received.repair),
        ] {
            if let (Some(socket), Some(count)) = (socket, count) {
                read(socket, buffer, |_, _, _| *count += 1);
            }
        }
    }

    /// Waits until something can be read.
    fn wait(&self, most: Duration) {
        let beside = [&self.rtcp, &self.repair];
        let mut fds = vec![PollFd::new(self.media.as_fd(), PollFlags::POLLIN)];
        let others = beside.into_iter().flatten().map(AsFd::as_fd);
        let tap = self.tap.iter().map(AsFd::as_fd);
        fds.extend(
            others
                .chain(tap)
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
        // A signal or an error only ends the wait.
        let _ = poll(&mut fds, most);
    }
}

/// ip(7), IP_RECVTTL: "pass a IP_TTL control message with the time-to-live field of the received
/// packet". If this is refused, the TTL stays unknown.
fn enable_ttl(socket: &ReceiveSocket) {
    let _ = match socket.group() {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvTtl, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true),
    };
}

/// Reads the datagrams that are there: sender, TTL, bytes.
fn read(
    socket: &ReceiveSocket,
    buffer: &mut [u8],
    mut each: impl FnMut(IpAddr, Option<u8>, &[u8]),
) {
    for _ in 0..AT_A_TIME {
        let Some((from, ttl, len, segment)) = receive(socket, buffer) else {
            return;
        };
        let Some(from) = from else { continue };
        // Splits runs that the kernel joined (UDP GRO).
        let bytes = &buffer[..len];
        let segment = segment.unwrap_or(len).max(1);
        match bytes.is_empty() {
            true => each(from, ttl, bytes),
            false => bytes.chunks(segment).for_each(|d| each(from, ttl, d)),
        }
    }
}

/// One message: sender, TTL, length, and the length of each datagram in it. `None`: nothing is
/// there.
#[allow(clippy::type_complexity)] // Four facts, used once.
fn receive(
    socket: &ReceiveSocket,
    buffer: &mut [u8],
) -> Option<(Option<IpAddr>, Option<u8>, usize, Option<usize>)> {
    let mut control = cmsg_space!(libc::c_int, libc::c_int, libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = loop {
        let fd = socket.as_fd().as_raw_fd();
        match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)
        {
            // An error about an earlier datagram.
            Err(Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(_) => return None,
            Ok(message) => break message,
        }
    };
    let (mut ttl, mut segment) = (None, None);
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4Ttl(n) | ControlMessageOwned::Ipv6HopLimit(n) => {
                ttl = u8::try_from(n).ok();
            }
            ControlMessageOwned::UdpGroSegments(n) => segment = usize::try_from(n).ok(),
            _ => {}
        }
    }
    Some((
        message.address.and_then(|a| ip(&a)),
        ttl,
        message.bytes,
        segment,
    ))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    address.as_sockaddr_in6().map(|v6| v6.ip().into())
}

fn overflowed(socket: &ReceiveSocket) -> u64 {
    let inode = nix::sys::stat::fstat(socket.as_fd()).map_or(0, |stat| stat.st_ino);
    // Narrower on some 32-bit targets.
    #[allow(clippy::useless_conversion)]
    proc::overflowed(inode.into())
}
