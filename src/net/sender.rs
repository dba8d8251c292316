//! Batch sending: the packets of one frame in as few system calls as the kernel allows. With UDP
//! GSO one `sendmmsg` carries a frame in messages of up to 64 packets that the kernel (or the
//! network card) cuts; without it, one message per packet in the same single call. Headers and scan
//! are read in place: only the kernel copies. Does not wait between packets: see
//! [`super::pacing`].

use std::io;
use std::net::SocketAddr;

use super::group::SendSocket;
use super::sys::{self, MAX_SEGMENTS, MAX_UDP_PAYLOAD, Outgoing, SegmentSize, SendArrays};

/// What one call of a [`BatchSender`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets that the kernel took.
    pub packets: usize,
    /// Their UDP payload in bytes.
    pub bytes: usize,
    /// Packets dropped because the kernel or the device had no room for them.
    pub dropped: usize,
    /// System calls made.
    pub calls: usize,
}

/// The kernel refused to send. What went out before is in `sent`.
#[derive(Debug, thiserror::Error)]
#[error("cannot send to {group}: {cause}")]
pub struct SendError {
    /// The destination.
    pub group: SocketAddr,
    /// What went out (and what it cost) before the error.
    pub sent: Sent,
    /// What the kernel said; see [`super::is_network_down`].
    pub cause: io::Error,
}

/// Sends packets to one group, a frame (or a burst of one) at a time. Its arrays are reused, so
/// that it allocates only while frames still grow.
pub struct BatchSender {
    socket: SendSocket,
    arrays: SendArrays,
    has_gso: bool,
}

impl BatchSender {
    /// Sends through `socket`, with UDP GSO until the kernel refuses it.
    pub fn new(socket: SendSocket) -> BatchSender {
        BatchSender {
            socket,
            arrays: SendArrays::default(),
            has_gso: true,
        }
    }

    /// The same without UDP GSO.
    pub fn without_gso(mut self) -> BatchSender {
        self.has_gso = false;
        self
    }

    /// Whether UDP GSO is (still) used.
    pub fn has_gso(&self) -> bool {
        self.has_gso
    }

    /// The socket.
    pub fn socket(&self) -> &SendSocket {
        &self.socket
    }

    /// The socket, to refresh it.
    pub fn socket_mut(&mut self) -> &mut SendSocket {
        &mut self.socket
    }

    /// Sends packets, each of a header and a payload that may be anywhere in memory. When it
    /// returns, the kernel has its copy and both may be reused.
    ///
    /// # Errors
    /// The kernel refused (see [`super::is_network_down`]). The rest is not sent.
    pub fn send<'d, I>(&mut self, packets: I) -> Result<Sent, SendError>
    where
        I: IntoIterator<Item = (&'d [u8], &'d [u8])>,
        I::IntoIter: Clone,
    {
        let packets = packets.into_iter();
        let mut sent = Sent::default();
        let result = match self.has_gso {
            true => self.with_gso(packets, &mut sent),
            false => self.plain(packets, &mut sent),
        };
        match result {
            Ok(()) => Ok(sent),
            Err(cause) => Err(SendError {
                group: self.socket.group(),
                sent,
                cause,
            }),
        }
    }

    /// Sends ready-made datagrams, such as repair packets, in the same way.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_datagrams<'d, I>(&mut self, datagrams: I) -> Result<Sent, SendError>
    where
        I: IntoIterator<Item = &'d [u8]>,
        I::IntoIter: Clone,
    {
        self.send(datagrams.into_iter().map(|d| (d, &[][..])))
    }

    /// Sends with GSO; if the kernel refuses that, the rest and everything later goes without.
    fn with_gso<'d>(
        &mut self,
        packets: impl Iterator<Item = (&'d [u8], &'d [u8])> + Clone,
        sent: &mut Sent,
    ) -> io::Result<()> {
        let mut batch = self.arrays.begin(self.socket.to());
        fill_segmented(&mut batch, packets.clone());
        let Err(refusal) = drain(&mut batch, &self.socket, sent) else {
            return Ok(());
        };
        if !sys::may_refuse_segmentation(&refusal) {
            return Err(refusal);
        }
        // Any of these errors can have another cause (a datagram too long, an address gone): then
        // the plain way fails too, and GSO is not to blame.
        self.plain(packets.skip(sent.packets + sent.dropped), sent)?;
        self.has_gso = false;
        tracing::warn!(
            "{}: the kernel refused UDP segmentation offload ({refusal}); sending packet by packet from now on, which costs more CPU",
            self.socket.group()
        );
        Ok(())
    }

    fn plain<'d>(
        &mut self,
        packets: impl Iterator<Item = (&'d [u8], &'d [u8])>,
        sent: &mut Sent,
    ) -> io::Result<()> {
        let mut batch = self.arrays.begin(self.socket.to());
        for (header, payload) in packets {
            batch.part(header);
            batch.part(payload);
            batch.end_message(1, header.len() + payload.len(), None);
        }
        drain(&mut batch, &self.socket, sent)
    }
}

/// Groups packets into messages that the kernel can cut again: equal in length but for the last,
/// which may be shorter, at most [`MAX_SEGMENTS`] and [`MAX_UDP_PAYLOAD`] bytes together. udp(7),
/// UDP_SEGMENT.
fn fill_segmented<'d>(
    batch: &mut Outgoing<'_, 'd>,
    packets: impl Iterator<Item = (&'d [u8], &'d [u8])>,
) {
    let mut open = Run::default();
    for (header, payload) in packets {
        let len = header.len() + payload.len();
        if open.count > 0 && !open.takes(len) {
            open.end(batch);
        }
        batch.part(header);
        batch.part(payload);
        open.add(len);
    }
    if open.count > 0 {
        open.end(batch);
    }
}

/// The packets of the message that is being filled.
#[derive(Default)]
struct Run {
    segment: usize,
    count: usize,
    bytes: usize,
    /// A shorter packet came: it must be the last.
    is_closed: bool,
}

impl Run {
    fn takes(&self, len: usize) -> bool {
        !self.is_closed
            && len <= self.segment
            && self.count < MAX_SEGMENTS
            && self.bytes + len <= MAX_UDP_PAYLOAD
    }

    fn add(&mut self, len: usize) {
        if self.count == 0 {
            self.segment = len;
        }
        self.is_closed = len < self.segment;
        self.count += 1;
        self.bytes += len;
    }

    fn end(&mut self, batch: &mut Outgoing<'_, '_>) {
        let segment = match self.count {
            1 => None,
            _ => SegmentSize::new(self.segment),
        };
        batch.end_message(self.count, self.bytes, segment);
        *self = Run::default();
    }
}

/// Sends until everything is taken, dropped, or refused.
fn drain(batch: &mut Outgoing<'_, '_>, socket: &SendSocket, sent: &mut Sent) -> io::Result<()> {
    while let Some((packets, _)) = batch.next() {
        sent.calls += 1;
        match batch.send(socket.raw()) {
            Ok((packets, bytes)) => {
                sent.packets += packets;
                sent.bytes += bytes;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The device's queue stayed full for the socket's whole time limit: the rest of this
            // frame would come too late, so it is lost here rather than the next one be late too.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                while let Some((packets, _)) = batch.next() {
                    sent.dropped += packets;
                    batch.skip();
                }
            }
            // No memory for this one message, or nothing to put into it.
            Err(e) if sys::is_out_of_room(&e) || sys::is_payload_gone(&e) => {
                sent.dropped += packets;
                batch.skip();
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
