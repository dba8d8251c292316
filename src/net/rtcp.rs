//! The sockets of RTCP: a few small datagrams a second, to and from a group and single members. It
//! treats datagrams as plain bytes.
//!
//! One socket is bound to the group's own address, so that any number of programs on one machine
//! receive what is sent to the group; the other to an address of this machine, to send from, and
//! for what is sent to this member alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::changes::Changes;
use super::choice::choose;
use super::group::{GroupError, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket};
use super::interface::Interface;
use super::receiver::BatchReceiver;
use super::sys::{self, Bell};

/// Room for a burst of reports.
const RECEIVE_BUFFER: usize = 256 << 10;
/// Datagrams read from one socket at a time, so that a flood on it does not starve the other.
const AT_A_TIME: usize = 32;
/// Longer datagrams are truncated, which makes them invalid RTCP.
const MAX_LEN: usize = 16_384;

/// Options of the RTCP sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Where and how to send RTCP that is not for one member alone.
    pub send: SendOptions,
    /// Where to receive RTCP for everybody; `None` for nowhere, as for a unicast stream's sender.
    pub hear: Option<SocketAddr>,
    /// Receive there only from this member: source-specific multicast.
    pub source: Option<IpAddr>,
    /// Bind the port of [`ReportOptions::send`] on this machine's own address if it is free, since
    /// that is where others expect a sender's RTCP. Otherwise any port will do.
    pub claims_port: bool,
}

/// Open sockets that send and receive RTCP.
pub struct ReportSocket {
    options: ReportOptions,
    own: SendSocket,
    group: Option<BatchReceiver>,
    buffer: Box<[u8]>,
    changes: Changes,
    /// The value of `works` when the interface was last chosen.
    works: bool,
    /// Whether nothing is left to retry.
    is_settled: bool,
}

impl ReportSocket {
    /// Opens them, on the interface with the index `keep` if it works and nobody named another. If
    /// what comes to the group cannot be received, the second value says why.
    ///
    /// # Errors
    /// Nothing can be sent: no such interface, it is down, or no socket is available.
    pub fn open(
        options: ReportOptions,
        keep: Option<u32>,
    ) -> Result<(ReportSocket, Option<GroupError>), GroupError> {
        let own = open_own(&options, keep)?;
        let (group, deaf) = match open_group(&options, own.interface()) {
            Ok(group) => (group, None),
            Err(error) => (None, Some(error)),
        };
        let socket = ReportSocket {
            options,
            own,
            group,
            buffer: vec![0; MAX_LEN].into(),
            changes: Changes::new(),
            works: false,
            is_settled: false,
        };
        Ok((socket, deaf))
    }

    /// Waits until something comes, `wake` becomes readable, or `timeout` is over; returns what
    /// came, and from where.
    ///
    /// # Errors
    /// The kernel refused to wait or to receive: the sockets must be reopened.
    pub fn receive(
        &mut self,
        timeout: Duration,
        bell: &Bell,
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<()> {
        let own = self.own.raw();
        let group = (self.group.as_ref()).map_or(own, |group| group.socket().raw());
        let [own, group] = bell.wait([own, group], timeout)?;
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
            match sys::receive_from(self.own.raw(), &mut self.buffer) {
                Ok((from, len)) => each(from, &self.buffer[..len]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    // About something sent before.
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
    /// The kernel's error; see [`super::is_network_down`].
    pub fn send(&self, to: Option<SocketAddr>, datagram: &[u8]) -> io::Result<()> {
        let socket = self.own.raw();
        match to {
            Some(to) => socket.send_to(datagram, &to.into())?,
            None => socket.send_to(datagram, self.own.to())?,
        };
        Ok(())
    }

    /// Follows the interface, and retries what could not be opened. Call it once a second. Returns
    /// whether anything changed. One system call when the network has not. `works`: see
    /// [`SendSocket::refresh`].
    ///
    /// # Errors
    /// The interface is gone or down at present.
    pub fn refresh(&mut self, works: bool) -> Result<bool, GroupError> {
        let is_same = !self.changes.any() && self.works == works;
        if is_same && self.is_settled {
            return Ok(false);
        }
        self.works = works;
        self.is_settled = false;
        let has_changed = self.follow(works)?;
        self.is_settled = self.group.is_some() || self.options.hear.is_none();
        Ok(has_changed)
    }

    fn follow(&mut self, works: bool) -> Result<bool, GroupError> {
        if self.own.refresh(works)? {
            // The address to bind may have changed.
            self.own = open_own(&self.options, Some(self.own.interface().index))?;
            self.group = open_group(&self.options, self.own.interface())?;
            return Ok(true);
        }
        match &mut self.group {
            Some(group) => group.socket_mut().refresh(works),
            None => {
                self.group = open_group(&self.options, self.own.interface())?;
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

fn open_own(options: &ReportOptions, keep: Option<u32>) -> Result<SendSocket, GroupError> {
    let to = options.send.group;
    let interface = choose(options.send.interface.as_deref(), to, keep)?;
    let claimed = own_address(&interface, to).filter(|_| options.claims_port);
    let claimed = claimed.map(|ip| SocketAddr::new(ip, to.port()));
    let socket = SendSocket::open_at(&options.send, interface, claimed)?;
    let fail = |cause| GroupError::Io {
        what: "set up a socket for",
        group: to,
        cause,
    };
    (socket.raw().set_nonblocking(true)).map_err(fail)?;
    // Bound without it, so that the port is nobody else's; set afterwards, so that programs which
    // bind it on all addresses, to receive the group, still can. socket(7), SO_REUSEADDR.
    (socket.raw().set_reuse_address(true)).map_err(fail)?;
    Ok(socket)
}

/// The address of this machine that others see, if it can be bound: a link-local one needs its
/// scope.
fn own_address(interface: &Interface, to: SocketAddr) -> Option<IpAddr> {
    // A viewer on this machine receives there itself.
    if to.ip().is_loopback() || interface.addresses.contains(&to.ip()) {
        return None;
    }
    let is_usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(_) => to.is_ipv4(),
        IpAddr::V6(v6) => to.is_ipv6() && v6.segments()[0] & 0xffc0 != 0xfe80,
    };
    interface.addresses.iter().find(is_usable).copied()
}

fn open_group(
    options: &ReportOptions,
    interface: &Interface,
) -> Result<Option<BatchReceiver>, GroupError> {
    let Some(group) = options.hear else {
        return Ok(None);
    };
    let wanted = ReceiveOptions {
        group,
        interface: options.send.interface.clone(),
        source: options.source,
        receive_buffer: RECEIVE_BUFFER,
    };
    let socket = ReceiveSocket::open_on(&wanted, Some(interface.index))?;
    Ok(Some(BatchReceiver::new(socket)))
}
