//! The sockets of a client that takes the stream by UDP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::host;
use crate::net::{BatchSender, client_sockets};

/// A report is not longer. What is cut off is of no interest.
const MOST_REPORT: usize = 64;

/// A client's sockets.
pub(super) struct ClientSockets {
    /// Sends the packets.
    pub(super) rtp: BatchSender,
    /// Sends and receives reports.
    pub(super) rtcp: UdpSocket,
    /// Where reports go.
    pub(super) reports_to: SocketAddr,
}

impl ClientSockets {
    /// Opens them, on this host's address `own`.
    ///
    /// # Errors
    /// There is no way to the client, or no ports are left.
    pub(super) fn open(
        own: SocketAddr,
        rtp_to: SocketAddr,
        rtcp_to: SocketAddr,
    ) -> anyhow::Result<ClientSockets> {
        let (rtp, rtcp) = client_sockets(own, rtp_to, host::random)?;
        Ok(ClientSockets {
            rtp,
            rtcp: UdpSocket::from_std(rtcp)?,
            reports_to: rtcp_to,
        })
    }

    /// The port that the packets come from.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.rtp.socket().local_addr()?.port())
    }

    /// Where they go.
    pub(super) fn to(&self) -> SocketAddr {
        self.rtp.socket().group()
    }

    /// A lost report is made up for by the next.
    pub(super) fn send_report(&self, report: &[u8]) {
        if let Err(error) = self.rtcp.try_send_to(report, self.reports_to) {
            debug!("RTSP: no report to {}: {error}", self.reports_to);
        }
    }
}

/// Whether the host `client` has sent something to the reports' port. What others send there is
/// thrown away.
pub(super) fn poll_report(rtcp: &UdpSocket, client: IpAddr, context: &mut Context<'_>) -> Poll<()> {
    let mut bytes = [0; MOST_REPORT];
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        match ready!(rtcp.poll_recv_from(context, &mut buffer)) {
            Ok(from) if from.ip() == client => return Poll::Ready(()),
            // Somebody else's, or about something sent before.
            Ok(_) | Err(_) => {}
        }
    }
}
