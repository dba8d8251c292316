//! Batch receiving: one `recvmmsg` takes all that has arrived, and with UDP GRO each of its
//! messages may be up to 64 KiB of equal datagrams coalesced by the kernel. Datagrams are lent from
//! a reused slab without a copy. It treats them as plain bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::group::ReceiveSocket;
use super::sys::{self, ReceiveArrays, Received};

/// Messages that one call may take.
const SLOTS: usize = 32;

/// Bytes of one slot: no datagram and no coalesced run of them is longer (the 16-bit length in IP).
const SLOT_LEN: usize = 65_536;

/// The longest that [`BatchReceiver::receive`] waits, so that its thread sees a request to stop.
pub const MAX_WAIT: Duration = Duration::from_millis(250);

/// Receives datagrams in batches into a slab of 32 x 64 KiB, of which only the pages that datagrams
/// have touched take memory.
pub struct BatchReceiver {
    socket: ReceiveSocket,
    arrays: ReceiveArrays,
    truncated: u64,
}

impl BatchReceiver {
    /// Receives from `socket`.
    pub fn new(socket: ReceiveSocket) -> BatchReceiver {
        BatchReceiver {
            socket,
            arrays: ReceiveArrays::new(SLOTS, SLOT_LEN),
            truncated: 0,
        }
    }

    /// The socket.
    pub fn socket(&self) -> &ReceiveSocket {
        &self.socket
    }

    /// The socket, to refresh it.
    pub fn socket_mut(&mut self) -> &mut ReceiveSocket {
        &mut self.socket
    }

    /// Messages skipped because they were longer than their slot.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Waits until something arrives, at most `timeout` and at most [`MAX_WAIT`] (which `None`
    /// means), then takes all that is there: one system call. A zero `timeout` does not wait. The
    /// batch is empty when nothing came in time or a signal interrupted the wait.
    ///
    /// # Errors
    /// The kernel refused to receive (see [`super::is_network_down`]).
    pub fn receive(&mut self, timeout: Option<Duration>) -> io::Result<Batch<'_>> {
        let timeout = timeout.unwrap_or(MAX_WAIT).min(MAX_WAIT);
        if !timeout.is_zero() {
            self.socket.set_read_timeout(timeout)?;
        }
        match self.arrays.receive(self.socket.raw(), timeout.is_zero()) {
            Ok(()) => {}
            Err(e) if is_nothing_yet(&e) => {}
            Err(e) => return Err(e),
        }
        let messages = 0..self.arrays.filled();
        let truncated = messages.filter(|&i| self.arrays.message(i).is_truncated);
        self.truncated += truncated.count() as u64;
        Ok(Batch {
            arrays: &self.arrays,
        })
    }
}

/// Waits at most `timeout` until one of the sockets can be read; returns which of them can. All
/// false after a signal.
///
/// # Errors
/// The kernel refused to wait.
pub fn readable<const N: usize>(
    sockets: [&ReceiveSocket; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    sys::readable(sockets.map(ReceiveSocket::raw), timeout)
}

/// Whether a datagram is waiting in the socket.
///
/// # Errors
/// The kernel refused to say.
pub fn has_datagram(socket: &ReceiveSocket) -> io::Result<bool> {
    readable([socket], Duration::ZERO).map(|[has]| has)
}

/// Time-outs come as EAGAIN; ECONNREFUSED is about something sent before, not about this socket.
fn is_nothing_yet(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
    )
}

/// What one call received, lent until the next.
pub struct Batch<'a> {
    arrays: &'a ReceiveArrays,
}

impl<'a> Batch<'a> {
    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.arrays.filled() == 0
    }

    /// Whether there may be more than it could take.
    pub fn is_full(&self) -> bool {
        self.arrays.filled() == SLOTS
    }

    /// Messages in it; each holds one datagram or several.
    pub fn messages(&self) -> usize {
        self.arrays.filled()
    }

    /// Each datagram with its sender, in the order of arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &'a [u8])> + use<'a> {
        let arrays = self.arrays;
        (0..arrays.filled()).flat_map(move |i| split(arrays.message(i)))
    }
}

/// The datagrams of one message. A truncated one is skipped (and counted): there is no telling
/// where its last datagram should have ended.
fn split(message: Received<'_>) -> impl Iterator<Item = (SocketAddr, &[u8])> {
    let from = message.from.filter(|_| !message.is_truncated);
    // A message without a segment size is one datagram; `max(1)` because chunks of zero do not
    // exist.
    let segment = message.segment.unwrap_or(message.data.len()).max(1);
    (from.into_iter()).flat_map(move |from| message.data.chunks(segment).map(move |d| (from, d)))
}
