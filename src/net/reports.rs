//! The sockets of RTCP: a few small datagrams a second, to a group and from it, and to and from single members. Knows
//! datagrams as bytes, not what is in them.
//!
//! A group's own address is bound for what comes to the group, so that any number of programs on one machine hear it; and
//! an address of this machine, from which everything is sent, for what comes to this member alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use nix::sys::time::TimeSpec;

use super::changes::Changes;
use super::group::{GroupError, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket};
use super::interface::Interface;
use super::receiver::BatchReceiver;

/// Room for a burst of reports.
const RECEIVE_BUFFER: usize = 256 << 10;
/// Datagrams taken from one socket at a time, so that a flood on it does not starve the other.
const AT_A_TIME: usize = 32;
/// Longer datagrams are cut, and so are no reports.
const MAX_LEN: usize = 16_384;

/// What the sockets of reports are to be like.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where reports go unless they are for one member alone, and how.
    pub send: SendOptions,
    /// Where reports for everybody are heard; `None`: there is no such place, as for a unicast stream's sender.
    pub hear: Option<SocketAddr>,
    /// Only hear this member there: source-specific multicast.
    pub source: Option<IpAddr>,
    /// Take the port of [`ReportOptions::send`] on this machine's own address, if it is free: where others expect a
    /// sender to hear them. Else any port is taken.
    pub claims_port: bool,
}

/// Open sockets that send and hear reports.
pub struct ReportSocket {
    options: ReportOptions,
    own: SendSocket,
    group: Option<BatchReceiver>,
    buffer: Box<[u8]>,
    changes: Changes,
    /// Nothing is left to be tried again.
    is_settled: bool,
}

impl ReportSocket {
    /// Opens them. What comes to the group may stay unheard, then the second value says why.
    ///
    /// # Errors
    /// Nothing can be sent: no such interface, it is down, no socket may be had.
    pub fn open(options: ReportOptions) -> Result<(ReportSocket, Option<GroupError>), GroupError> {
        let own = open_own(&options)?;
        let (group, deaf) = match open_group(&options) {
            Ok(group) => (group, None),
            Err(error) => (None, Some(error)),
        };
        let socket = ReportSocket {
            options,
            own,
            group,
            buffer: vec![0; MAX_LEN].into(),
            changes: Changes::new(),
            is_settled: false,
        };
        Ok((socket, deaf))
    }

    /// Waits until something comes, `wake` becomes readable, or `timeout` is over; gives what came with where from.
    ///
    /// # Errors
    /// The kernel refused to wait or to receive: the sockets are to be opened anew.
    pub fn receive(
        &mut self,
        timeout: Duration,
        wake: BorrowedFd<'_>,
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<()> {
        let own = self.own.as_fd();
        let group = (self.group.as_ref()).map_or(own, |group| group.socket().as_fd());
        let mut all = [own, group, wake].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut all, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [own, group, _] = all.map(|fd| fd.any().unwrap_or(false));
        if own {
            self.receive_own(&mut each)?;
        }
        if let Some(receiver) = self.group.as_mut().filter(|_| group) {
            let batch = receiver.receive(Some(Duration::ZERO))?;
            batch.datagrams().for_each(|(from, d)| each(from, d));
        }
        Ok(())
    }

    fn receive_own(&mut self, each: &mut impl FnMut(SocketAddr, &[u8])) -> io::Result<()> {
        for _ in 0..AT_A_TIME {
            match receive_from(&self.own, &mut self.buffer) {
                Ok((from, len)) => each(from, &self.buffer[..len]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    // A word about something sent before.
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Sends to one member, or to everybody.
    ///
    /// # Errors
    /// What the kernel said; see [`super::is_network_down`].
    pub fn send(&self, to: Option<SocketAddr>, datagram: &[u8]) -> io::Result<()> {
        let socket = self.own.raw();
        match to {
            Some(to) => socket.send_to(datagram, &to.into())?,
            None => socket.send_to(datagram, self.own.to())?,
        };
        Ok(())
    }

    /// Follows the interface where it went, and tries again what could not be opened; for once a second. Returns whether
    /// anything changed. One system call when the network has not.
    ///
    /// # Errors
    /// The interface is gone or down at present.
    pub fn refresh(&mut self) -> Result<bool, GroupError> {
        if !self.changes.any() && self.is_settled {
            return Ok(false);
        }
        self.is_settled = false;
        let has_changed = self.follow()?;
        self.is_settled = self.group.is_some() || self.options.hear.is_none();
        Ok(has_changed)
    }

    fn follow(&mut self) -> Result<bool, GroupError> {
        if self.own.refresh()? {
            // The address that is bound may be another now.
            self.own = open_own(&self.options)?;
            self.group = open_group(&self.options)?;
            return Ok(true);
        }
        match &mut self.group {
            Some(group) => group.socket_mut().refresh(),
            None => {
                self.group = open_group(&self.options)?;
                Ok(self.group.is_some())
            }
        }
    }

    /// The interface that it sends by.
    pub fn interface(&self) -> &Interface {
        self.own.interface()
    }

    /// The address that it sends from.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.own.local_addr()
    }
}

fn open_own(options: &ReportOptions) -> Result<SendSocket, GroupError> {
    let to = options.send.group;
    let claimed = match options.claims_port {
        true => {
            let interface = super::interface::choose(options.send.interface.as_deref(), to)?;
            own_address(&interface, to).map(|ip| SocketAddr::new(ip, to.port()))
        }
        false => None,
    };
    let socket = SendSocket::open_at(&options.send, claimed)?;
    let fail = |cause| GroupError::Io {
        what: "set up a socket for",
        group: to,
        cause,
    };
    (socket.raw().set_nonblocking(true)).map_err(fail)?;
    // Bound without it, so that the port is nobody else's; set afterwards, so that programs which bind it on all
    // addresses, to hear the group, still can. socket(7), SO_REUSEADDR.
    (socket.raw().set_reuse_address(true)).map_err(fail)?;
    Ok(socket)
}

/// The address of this machine that others see, where one can be bound: a link-local one cannot without its scope.
fn own_address(interface: &Interface, to: SocketAddr) -> Option<IpAddr> {
    // A viewer on this machine listens there itself.
    if to.ip().is_loopback() || interface.addresses.contains(&to.ip()) {
        return None;
    }
    let is_usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(_) => to.is_ipv4(),
        IpAddr::V6(v6) => to.is_ipv6() && v6.segments()[0] & 0xffc0 != 0xfe80,
    };
    interface.addresses.iter().find(is_usable).copied()
}

fn open_group(options: &ReportOptions) -> Result<Option<BatchReceiver>, GroupError> {
    let Some(group) = options.hear else {
        return Ok(None);
    };
    let socket = ReceiveSocket::open(&ReceiveOptions {
        group,
        interface: options.send.interface.clone(),
        source: options.source,
        receive_buffer: RECEIVE_BUFFER,
    })?;
    Ok(Some(BatchReceiver::new(socket)))
}

fn receive_from(socket: &SendSocket, buffer: &mut [u8]) -> io::Result<(SocketAddr, usize)> {
    let (len, from) = recvfrom::<SockaddrStorage>(socket.as_fd().as_raw_fd(), buffer)?;
    let from = from.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| {
            from.as_sockaddr_in6()
                .map(|v6| SocketAddr::V6((*v6).into()))
        })
    });
    Ok((from.ok_or(io::ErrorKind::InvalidData)?, len))
}
