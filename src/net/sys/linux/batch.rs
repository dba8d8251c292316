//! Batch send and receive. Man pages quoted: sendmmsg(2), recvmmsg(2), udp(7), cmsg(3).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::{SockAddr, Socket};

use crate::net::sys::types::Received;

/// udp(7), UDP_SEGMENT: "The segment size must be chosen such that at most 64 datagrams are sent in
/// a single call".
pub const MAX_SEGMENTS: usize = 64;

/// sendmmsg(2): "The value specified in vlen is capped to UIO_MAXIOV (1024)."
const MAX_MESSAGES: usize = 1024;

/// Room for one control message, aligned as `cmsghdr` must be. CMSG_SPACE of an `int` is 24 bytes
/// on 64-bit machines and 16 on 32-bit ones; the rest is reserve.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// The segment size of one GSO message in bytes: never zero, and small enough for the kernel's
/// `u16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(u16);

impl SegmentSize {
    /// `bytes` as a segment size, if the kernel could take it.
    pub fn new(bytes: usize) -> Option<SegmentSize> {
        u16::try_from(bytes)
            .ok()
            .filter(|&b| b > 0)
            .map(SegmentSize)
    }
}

/// One message of an [`Outgoing`] batch, before its `mmsghdr` is written.
#[derive(Clone, Copy)]
struct Message {
    first_part: usize,
    parts: usize,
    packets: usize,
    bytes: usize,
    segment: Option<SegmentSize>,
}

/// The arrays of one `sendmmsg`, kept between calls so that a frame allocates nothing.
#[derive(Default)]
pub struct SendArrays {
    parts: Vec<libc::iovec>,
    messages: Vec<Message>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers in `parts` and `headers` are followed by nobody but `Outgoing::send`,
// which exists only while the slices that they point to are borrowed; between calls they are dead
// numbers.
unsafe impl Send for SendArrays {}

impl SendArrays {
    /// Starts an empty batch of messages whose bytes are borrowed until it is dropped.
    pub fn begin<'a, 'data>(&'a mut self, to: &'a SockAddr) -> Outgoing<'a, 'data> {
        self.parts.clear();
        self.messages.clear();
        Outgoing {
            arrays: self,
            to,
            open: 0,
            done: 0,
            written: false,
            data: PhantomData,
        }
    }
}

/// A batch being put together and sent. Parts are added, then closed into messages, then sent.
pub struct Outgoing<'a, 'data> {
    arrays: &'a mut SendArrays,
    to: &'a SockAddr,
    /// First part that belongs to no message yet.
    open: usize,
    /// Messages that the kernel has taken (or that were skipped).
    done: usize,
    /// Whether `headers` matches `messages`; adding anything makes it stale.
    written: bool,
    data: PhantomData<&'data [u8]>,
}

impl<'data> Outgoing<'_, 'data> {
    /// Adds bytes to the open message.
    pub fn part(&mut self, bytes: &'data [u8]) {
        self.written = false;
        if bytes.is_empty() {
            return;
        }
        self.arrays.parts.push(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
    }

    /// Ends the open message: `packets` datagrams, `bytes` in all, cut by the kernel at `segment`.
    pub fn end_message(&mut self, packets: usize, bytes: usize, segment: Option<SegmentSize>) {
        self.written = false;
        self.arrays.messages.push(Message {
            first_part: self.open,
            parts: self.arrays.parts.len() - self.open,
            packets,
            bytes,
            segment,
        });
        self.open = self.arrays.parts.len();
    }

    /// Packets and bytes of the first message that the kernel has not taken yet; `None` when all is
    /// sent.
    pub fn next(&self) -> Option<(usize, usize)> {
        self.arrays
            .messages
            .get(self.done)
            .map(|m| (m.packets, m.bytes))
    }

    /// Passes over the first message that the kernel has not taken.
    pub fn skip(&mut self) {
        self.done += 1;
    }

    /// One `sendmmsg` of everything not sent yet. Returns packets and bytes that the kernel took.
    ///
    /// sendmmsg(2): "On success, sendmmsg() returns the number of messages sent from msgvec; if
    /// this is less than vlen, the caller can retry with a further sendmmsg() call to send the
    /// remaining messages." And: "If an error occurs after at least one message has been sent, the
    /// call succeeds, and returns the number of messages sent. The error code is lost."
    pub fn send(&mut self, socket: &Socket) -> io::Result<(usize, usize)> {
        if !self.written {
            self.write_headers();
        }
        let rest = &mut self.arrays.headers[self.done..];
        let count = rest.len().min(MAX_MESSAGES);
        // SAFETY: `rest` holds `count` initialised headers. Their pointers lead to `parts`,
        // `controls` and `to`, which this batch borrows and nobody has changed since
        // `write_headers`, and through `parts` to slices borrowed for 'data. The kernel only reads
        // them, and keeps none.
        let taken = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                count as _,
                libc::MSG_NOSIGNAL as _,
            )
        };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        let sent = &self.arrays.messages[self.done..self.done + taken];
        let totals = sent
            .iter()
            .fold((0, 0), |(p, b), m| (p + m.packets, b + m.bytes));
        self.done += taken;
        Ok(totals)
    }

    /// Writes one `mmsghdr` a message, once the arrays have stopped growing and so stay where they
    /// are.
    fn write_headers(&mut self) {
        self.written = true;
        let arrays = &mut *self.arrays;
        let empty = Control([0; 64]);
        arrays.controls.resize(arrays.messages.len(), empty);
        arrays.headers.clear();
        let parts = arrays.parts.as_mut_ptr();
        for (message, control) in arrays.messages.iter().zip(&mut arrays.controls) {
            // SAFETY: `mmsghdr` is a C struct of numbers and pointers; all zeroes is a valid value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            let hdr = &mut header.msg_hdr;
            // sendmmsg(2): msg_hdr is "as described in sendmsg(2)": msg_name "is used on an
            // unconnected socket to specify the target address for a datagram"; it is not written
            // to.
            hdr.msg_name = self.to.as_ptr().cast_mut().cast();
            hdr.msg_namelen = self.to.len();
            // SAFETY: `first_part` lies within `parts`: it was its length when the message was
            // closed.
            hdr.msg_iov = unsafe { parts.add(message.first_part) };
            hdr.msg_iovlen = message.parts as _;
            if let Some(segment) = message.segment {
                put_segment(hdr, control, segment);
            }
            arrays.headers.push(header);
        }
    }
}

/// udp(7), UDP_SEGMENT: "Enables UDP segmentation offload. [...] It also can be set per message, as
/// a control message": a `u16` at level SOL_UDP.
fn put_segment(hdr: &mut libc::msghdr, control: &mut Control, segment: SegmentSize) {
    const LEN: u32 = size_of::<u16>() as u32;
    hdr.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN compute with their argument and touch no memory.
    let (space, len) = unsafe { (libc::CMSG_SPACE(LEN), libc::CMSG_LEN(LEN)) };
    hdr.msg_controllen = space as _;
    // SAFETY: msg_control points to 64 aligned bytes, more than `space`, so that CMSG_FIRSTHDR
    // returns a pointer to a whole `cmsghdr` in them, and CMSG_DATA one with room for a u16 after
    // it.
    unsafe {
        let cmsg = libc::CMSG_FIRSTHDR(hdr);
        (*cmsg).cmsg_level = libc::SOL_UDP;
        (*cmsg).cmsg_type = libc::UDP_SEGMENT;
        (*cmsg).cmsg_len = len as _;
        ptr::write_unaligned(libc::CMSG_DATA(cmsg).cast::<u16>(), segment.0);
    }
}

/// The slab and the arrays of one `recvmmsg`: `slots` messages of up to `slot_len` bytes.
pub struct ReceiveArrays {
    slot_len: usize,
    slab: Box<[u8]>,
    parts: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    filled: usize,
}

// SAFETY: as with `SendArrays`: the raw pointers are rewritten before each call that follows them.
unsafe impl Send for ReceiveArrays {}

impl ReceiveArrays {
    /// Allocates the slab. Pages of it that no datagram ever touches cost no memory.
    pub fn new(slots: usize, slot_len: usize) -> ReceiveArrays {
        // SAFETY: `sockaddr_storage`, `iovec` and `mmsghdr` are C structs of numbers and pointers;
        // all zeroes is a valid value of each.
        let (name, part, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        ReceiveArrays {
            slot_len,
            slab: vec![0; slots * slot_len].into_boxed_slice(),
            parts: vec![part; slots].into_boxed_slice(),
            names: vec![name; slots].into_boxed_slice(),
            controls: vec![Control([0; 64]); slots].into_boxed_slice(),
            headers: vec![header; slots].into_boxed_slice(),
            filled: 0,
        }
    }

    /// One `recvmmsg`: waits for the first message (unless `dont_wait`), then takes what is there.
    ///
    /// recvmmsg(2), MSG_WAITFORONE: "Turns on MSG_DONTWAIT after the first message has been
    /// received." The call's own timeout is not used; its BUGS section says why: "The timeout
    /// argument does not work as intended." SO_RCVTIMEO bounds the wait for the first message
    /// instead (EAGAIN).
    pub fn receive(&mut self, socket: &Socket, dont_wait: bool) -> io::Result<()> {
        self.filled = 0;
        self.write_headers();
        let flags = match dont_wait {
            true => libc::MSG_DONTWAIT,
            false => libc::MSG_WAITFORONE,
        };
        // SAFETY: `headers` holds that many headers, each of which `write_headers` has just pointed
        // at memory of this struct: its slot of the slab, its name and its control room, with their
        // true lengths. All of it is borrowed mutably here, so nothing else reads it while the
        // kernel writes.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as _,
                flags as _,
                ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(())
    }

    /// Points each header at its slot. All fields each time: the kernel writes msg_namelen,
    /// msg_controllen and msg_flags ("value-result" in recvmsg(2)), and a msg_controllen left over
    /// from the last call would leave no room for the UDP_GRO message.
    fn write_headers(&mut self) {
        let slots = self.slab.chunks_exact_mut(self.slot_len);
        let arrays = (self.parts.iter_mut().zip(&mut self.names)).zip(&mut self.controls);
        for ((header, slot), ((part, name), control)) in
            self.headers.iter_mut().zip(slots).zip(arrays)
        {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = slot.len();
            let hdr = &mut header.msg_hdr;
            hdr.msg_name = ptr::from_mut(name).cast();
            hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
            hdr.msg_iov = part;
            hdr.msg_iovlen = 1;
            hdr.msg_control = control.0.as_mut_ptr().cast();
            hdr.msg_controllen = control.0.len() as _;
            hdr.msg_flags = 0;
            header.msg_len = 0;
        }
    }

    /// How many messages the last call received.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Message `i` of the last call.
    ///
    /// # Panics
    /// If `i` is not below [`filled`](Self::filled).
    pub fn message(&self, i: usize) -> Received<'_> {
        let header = &self.headers[..self.filled][i];
        // recvmmsg(2): "msg_len is the number of bytes returned for the message in the entry." It
        // is capped here anyway, so that no kernel can lead out of the slot.
        let len = (header.msg_len as usize).min(self.slot_len);
        let start = i * self.slot_len;
        Received {
            data: &self.slab[start..start + len],
            segment: gro_segment(&header.msg_hdr, &self.controls[i]),
            from: socket_addr(&self.names[i]),
            is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

/// udp(7), UDP_GRO: "the receiver will [...] get an additional control message of type UDP_GRO,
/// carrying an integer": the length of each datagram.
fn gro_segment(hdr: &libc::msghdr, control: &Control) -> Option<usize> {
    let header_len = size_of::<libc::cmsghdr>();
    #[allow(clippy::unnecessary_cast)] // msg_controllen is a u32 on musl
    if (hdr.msg_controllen as usize) < header_len + size_of::<c_int>() {
        return None;
    }
    // SAFETY: `control` is 64 bytes aligned to 8, so that a whole `cmsghdr` can be read at its
    // start.
    let cmsg = unsafe { control.0.as_ptr().cast::<libc::cmsghdr>().read() };
    if cmsg.cmsg_level != libc::SOL_UDP || cmsg.cmsg_type != libc::UDP_GRO {
        return None;
    }
    // SAFETY: CMSG_LEN(0) computes the offset of the data and touches no memory.
    let at = unsafe { libc::CMSG_LEN(0) } as usize;
    let bytes = control.0.get(at..at + size_of::<c_int>())?;
    let size = c_int::from_ne_bytes(bytes.try_into().ok()?);
    usize::try_from(size).ok().filter(|&s| s > 0)
}

/// The IP address in what the kernel wrote.
fn socket_addr(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: `sockaddr_storage` is larger than and aligned for `sockaddr_in`, and the
            // family says that it is one; every bit pattern of its fields is valid.
            let v4 = unsafe { ptr::from_ref(name).cast::<libc::sockaddr_in>().read() };
            let ip = IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { ptr::from_ref(name).cast::<libc::sockaddr_in6>().read() };
            Some(SocketAddr::V6(std::net::SocketAddrV6::new(
                v6.sin6_addr.s6_addr.into(),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )))
        }
        _ => None,
    }
}
