//! The sockets for one client that receives a stream by UDP: RTP is sent from an even port, RTCP
//! from the next one (RFC 3550 §11). Both are non-blocking.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::choice::choose;
use super::group::{GroupError, SendOptions, SendSocket};
use super::sender::BatchSender;

/// The ports to choose from: those that programs may use freely. RFC 6335 §6.
const FIRST_PORT: u16 = 49_152;
/// How many pairs are tried.
const TRIES: usize = 32;

/// A sender of packets to `to` and a socket for reports, on two ports of the address `own`, which
/// are chosen by `random`.
///
/// # Errors
/// There is no way to the client, or no pair of ports is free.
pub fn client_sockets(
    own: SocketAddr,
    to: SocketAddr,
    random: fn() -> u64,
) -> Result<(BatchSender, UdpSocket), GroupError> {
    let options = SendOptions::new(to);
    let interface = choose(None, to, None)?;
    let fail = |error| GroupError::new("find two ports for", to, error);
    for _ in 0..TRIES {
        let pairs = u64::from(u16::MAX - FIRST_PORT) / 2 + 1;
        let port = FIRST_PORT + 2 * (random() % pairs) as u16;
        let at = |port| {
            let mut own = own;
            own.set_port(port);
            own
        };
        let Ok(rtcp) = UdpSocket::bind(at(port + 1)) else {
            continue;
        };
        let rtp = SendSocket::open_at(&options, interface.clone(), Some(at(port)))?;
        // If that port is taken, the next attempt uses another.
        if rtp.local_addr().map_err(fail)?.port() != port {
            continue;
        }
        rtcp.set_nonblocking(true).map_err(fail)?;
        rtp.raw().set_nonblocking(true).map_err(fail)?;
        return Ok((BatchSender::new(rtp), rtcp));
    }
    Err(fail(io::ErrorKind::AddrInUse.into()))
}
