//! The C-like lower bounds that lancam is compared with: bare system calls on ready buffers. No
//! lancam code, and no checks beyond those that prevent a wrong figure.
#![allow(unsafe_code)]
// Not every benchmark uses both.
#![allow(dead_code)]

use std::io;
use std::marker::PhantomData;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{null_mut, write_unaligned};

/// Packets that one message can be cut into: as many of 1472 bytes as fit 64 KB.
const SEGMENTS: usize = 44;

/// The lower bound of sending: everything prepared, one buffer, one call.
pub(crate) struct BareSend<'a> {
    headers: Vec<libc::mmsghdr>,
    _parts: Vec<libc::iovec>,
    _controls: Vec<[u64; 4]>,
    _buffer: PhantomData<&'a [u8]>,
}

impl<'a> BareSend<'a> {
    /// For a buffer of packets of `datagram` bytes each.
    pub(crate) fn new(flat: &'a [u8], datagram: usize, to: &'a socket2::SockAddr) -> BareSend<'a> {
        let chunks: Vec<&[u8]> = flat.chunks(SEGMENTS * datagram).collect();
        let mut parts: Vec<_> = (chunks.iter())
            .map(|c| libc::iovec {
                iov_base: c.as_ptr().cast_mut().cast(),
                iov_len: c.len(),
            })
            .collect();
        let mut controls = vec![[0u64; 4]; chunks.len()];
        let mut headers = Vec::new();
        for (part, control) in parts.iter_mut().zip(&mut controls) {
            // SAFETY: all zeroes is a valid `mmsghdr`; the control buffer has room for one cmsg of
            // a u16.
            unsafe {
                let mut header: libc::mmsghdr = zeroed();
                let hdr = &mut header.msg_hdr;
                hdr.msg_name = to.as_ptr().cast_mut().cast();
                hdr.msg_namelen = to.len();
                hdr.msg_iov = part;
                hdr.msg_iovlen = 1;
                hdr.msg_control = control.as_mut_ptr().cast();
                hdr.msg_controllen = libc::CMSG_SPACE(2) as _;
                let cmsg = libc::CMSG_FIRSTHDR(hdr);
                (*cmsg).cmsg_level = libc::SOL_UDP;
                (*cmsg).cmsg_type = libc::UDP_SEGMENT;
                (*cmsg).cmsg_len = libc::CMSG_LEN(2) as _;
                write_unaligned(libc::CMSG_DATA(cmsg).cast::<u16>(), datagram as u16);
                headers.push(header);
            }
        }
        BareSend {
            headers,
            _parts: parts,
            _controls: controls,
            _buffer: PhantomData,
        }
    }

    /// The whole buffer, in one system call.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) {
        let count = self.headers.len();
        // SAFETY: the headers point to arrays that live in `self`, and to a buffer and an address
        // that outlive it.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as _, 0) };
        assert_eq!(sent, count as i32, "{}", io::Error::last_os_error());
    }
}

const SLOTS: usize = 8;
const SLOT: usize = 65_536;

/// The lower bound of receiving: each message, joined by GRO or not, is copied whole.
pub(crate) struct BareReceive {
    slab: Vec<u8>,
    place: Vec<u8>,
    at: usize,
}

impl BareReceive {
    /// Copies into a buffer of `frame` bytes, again and again.
    pub(crate) fn new(frame: usize) -> BareReceive {
        BareReceive {
            slab: vec![0; SLOTS * SLOT],
            place: vec![0; frame],
            at: 0,
        }
    }

    /// Waits for messages, copies all that are there, and shows them to `each`.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, mut each: impl FnMut(&[u8])) {
        let mut controls = [[0u64; 8]; SLOTS];
        // SAFETY: all zeroes is valid for these C structs.
        let (mut parts, mut headers): ([libc::iovec; SLOTS], [libc::mmsghdr; SLOTS]) =
            unsafe { (zeroed(), zeroed()) };
        for i in 0..SLOTS {
            parts[i].iov_base = self.slab[i * SLOT..].as_mut_ptr().cast();
            parts[i].iov_len = SLOT;
            headers[i].msg_hdr.msg_iov = &mut parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_control = controls[i].as_mut_ptr().cast();
            headers[i].msg_hdr.msg_controllen = size_of_val(&controls[i]) as _;
        }
        // SAFETY: each header points to its slot of the slab and its control room, with their
        // lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                SLOTS as _,
                libc::MSG_WAITFORONE as _,
                null_mut(),
            )
        };
        // Less than none: a signal or the socket's time limit.
        for (i, header) in headers
            .iter()
            .take(usize::try_from(count).unwrap_or(0))
            .enumerate()
        {
            let message = &self.slab[i * SLOT..][..header.msg_len as usize];
            if self.at + message.len() > self.place.len() {
                self.at = 0;
            }
            self.place[self.at..][..message.len()].copy_from_slice(message);
            self.at += message.len();
            each(message);
        }
        std::hint::black_box(&self.place);
    }
}
