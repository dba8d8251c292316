//! The capture queue: buffers that a V4L2 driver fills and this process maps, and the calls on a
//! device node ([`Node`]). Linux, `Documentation/userspace-api/media/v4l/mmap.rst`.
//!
//! The only place of the camera with `unsafe`. It uses the `v4l` crate's bindings and request
//! numbers; that crate's device and stream types panic on names that are not UTF-8, on unknown
//! controls and in `drop`, and lend more of a buffer than the driver filled.
//!
//! Not here: which format to ask for, how to handle errors, what a buffer contains.
#![allow(unsafe_code)]

mod call;
mod node;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use v4l::v4l_sys::{
    V4L2_BUF_FLAG_ERROR, V4L2_BUF_FLAG_TIMESTAMP_MASK, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
    v4l2_buffer, v4l2_memory_V4L2_MEMORY_MMAP, v4l2_plane, v4l2_requestbuffers,
};

use crate::clock::Mono;
use crate::kept::Owner;

pub(super) use node::{Control, ControlKind, Format, Fourcc, Node, Offer, Raw, Size, SizeRange};

/// Plane descriptions that the kernel may write. `VIDEO_MAX_PLANES` in videodev2.h.
const MAX_PLANES: usize = 8;

/// With fewer buffers, none can be read elsewhere: one is lent, one is being filled, and one must be
/// left for a late sender.
const SPARE_FROM: usize = 4;

/// One mapped buffer of the driver.
struct Map {
    start: NonNull<u8>,
    length: usize,
}

impl Map {
    fn new(device: BorrowedFd<'_>, length: usize, offset: u32) -> io::Result<Map> {
        if length == 0 {
            return Err(nonsense("a capture buffer of no bytes"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory; the
        // result is checked. "length" and "offset" are those of VIDIOC_QUERYBUF, as mmap.rst
        // requires. If `off_t` has 32 bits, the kernel takes them as unsigned.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                device.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| nonsense("a buffer at address 0"))?;
        Ok(Map { start, length })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this is the range that mmap returned, and nothing borrows from it any more, since
        // every slice borrows one of its owners. A failure leaves the mapping in place, which does
        // no harm.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.length);
        }
    }
}

// SAFETY: a mapping belongs to the process, not to a thread, and no thread writes to it.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

/// Not while the driver has the buffer: it writes there then.
impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range is mapped for as long as this lives. The driver does not write to it:
        // this is reached only by `Ring::bytes`, which borrows a `Filled` and the ring, and by the
        // owners that `Ring::owner` gives for one. A `Filled` exists only between DQBUF and QBUF;
        // `Ring::give` takes it by value, borrows the ring mutably, and queues no buffer that
        // still has an owner.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// A buffer that the driver has filled and handed over. Not `Clone`: [`Ring::give`] takes it, so it
/// cannot be queued twice.
#[derive(Debug)]
pub(super) struct Filled {
    index: usize,
    start: usize,
    end: usize,
    /// The driver says that the data may be broken, or claims more bytes than the buffer holds.
    pub(super) flagged: bool,
    /// The driver's frame count, including lost frames.
    pub(super) sequence: u32,
    /// The driver's time of the frame, if on the monotonic clock.
    pub(super) stamp: Option<Mono>,
}

/// What poll reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Nothing in the given time, or a signal came.
    No,
    /// A frame is there.
    Yes,
    /// The device reports an error; [`Ring::take`] returns it.
    Broken,
}

/// A device that streams into mapped buffers. Dropping it stops the stream and unmaps what nobody
/// reads any more.
pub(super) struct Ring {
    maps: Vec<Arc<Map>>,
    /// A filled buffer that is still read elsewhere. It goes back to the driver later.
    kept: Option<usize>,
    node: Node,
}

impl Ring {
    /// Requests `count` buffers from the driver (it may give more or fewer), queues all and starts.
    ///
    /// # Errors
    /// The system call's error, or `InvalidData` for an answer that makes no sense.
    pub(super) fn start(node: Node, count: u32) -> io::Result<Ring> {
        let mut ring = Ring {
            maps: Vec::new(),
            kept: None,
            node,
        };
        let given = ring.request(count)?;
        if given == 0 {
            return Err(nonsense("no capture buffers at all"));
        }
        for index in 0..given {
            let (length, offset) = ring.query(index)?;
            let map = Map::new(ring.node.as_fd(), length, offset)?;
            ring.maps.push(Arc::new(map));
        }
        for index in 0..ring.maps.len() {
            ring.queue(index)?;
        }
        let mut kind = ring.node.kind() as libc::c_int;
        call::call(ring.node.as_fd(), call::STREAMON, &mut kind)?;
        Ok(ring)
    }

    /// The device.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The number of buffers.
    pub(super) fn len(&self) -> usize {
        self.maps.len()
    }

    /// Waits for a filled buffer, or an error, or a signal.
    ///
    /// # Errors
    /// poll itself failed.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<Ready> {
        // Rounded up: a wait of 0.4 ms must not become a busy loop.
        let millis = limit.as_micros().div_ceil(1000).min(60_000) as u16;
        let mut polled = [PollFd::new(self.node.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut polled, PollTimeout::from(millis)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(Ready::No),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let seen = polled[0].revents().unwrap_or(PollFlags::POLLERR);
        if seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return Ok(Ready::Broken);
        }
        Ok(Ready::Yes)
    }

    /// Takes the oldest filled buffer, if there is one.
    ///
    /// # Errors
    /// The error of VIDIOC_DQBUF, or `InvalidData` for a buffer that the driver was never given.
    pub(super) fn take(&mut self) -> io::Result<Option<Filled>> {
        let (mut planes, mut buffer) = self.description(0);
        match self.buffer_call(call::DQBUF, &mut planes, &mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let index = buffer.index as usize;
        let Some(map) = self.maps.get(index) else {
            return Err(nonsense("a buffer that it was never given"));
        };
        let (start, used) = if self.node.is_planar() {
            // "bytesused" counts from the plane's start, including "data_offset".
            (planes[0].data_offset as usize, planes[0].bytesused as usize)
        } else {
            (0, buffer.bytesused as usize)
        };
        let end = used.min(map.length);
        let monotonic =
            buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        Ok(Some(Filled {
            index,
            start: start.min(end),
            end,
            flagged: buffer.flags & V4L2_BUF_FLAG_ERROR != 0 || used > map.length,
            sequence: buffer.sequence,
            stamp: monotonic.then(|| {
                let (seconds, micros) = (buffer.timestamp.tv_sec, buffer.timestamp.tv_usec);
                Mono(seconds as u64 * 1_000_000_000 + micros as u64 * 1000)
            }),
        }))
    }

    /// What the driver wrote, and no more.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        let Some(map) = self.maps.get(filled.index) else {
            return &[];
        };
        let bytes = (**map).as_ref();
        bytes.get(filled.start..filled.end).unwrap_or_default()
    }

    /// For whoever reads what the driver wrote for longer than the ring is borrowed, while there are
    /// buffers enough.
    pub(super) fn owner(&self, filled: &Filled) -> Option<Owner> {
        let is_spare = self.kept.is_none() && self.maps.len() >= SPARE_FROM;
        let map = self.maps.get(filled.index).filter(|_| is_spare)?;
        Some(Owner::new(Arc::clone(map)))
    }

    /// Gives a buffer back to the driver, or later, if it is still read elsewhere.
    ///
    /// # Errors
    /// The error of VIDIOC_QBUF; the buffer is lost then, and the ring should be closed.
    pub(super) fn give(&mut self, filled: Filled) -> io::Result<()> {
        if let Some(index) = self.kept.take() {
            self.give_unless_read(index)?;
        }
        self.give_unless_read(filled.index)
    }

    fn give_unless_read(&mut self, index: usize) -> io::Result<()> {
        let is_read = |map: &mut Arc<Map>| Arc::get_mut(map).is_none();
        if self.maps.get_mut(index).is_some_and(is_read) {
            // It is the only one: `owner` gives none away while there is one.
            self.kept = Some(index);
            return Ok(());
        }
        self.queue(index)
    }

    fn queue(&mut self, index: usize) -> io::Result<()> {
        let (mut planes, mut buffer) = self.description(index as u32);
        if let Some(map) = self.maps.get(index) {
            planes[0].length = map.length as u32;
        }
        self.buffer_call(call::QBUF, &mut planes, &mut buffer)
    }

    fn request(&mut self, count: u32) -> io::Result<u32> {
        let mut request: v4l2_requestbuffers = call::zeroed();
        request.count = count;
        request.type_ = self.node.kind();
        request.memory = v4l2_memory_V4L2_MEMORY_MMAP;
        call::call(self.node.as_fd(), call::REQBUFS, &mut request)?;
        Ok(request.count)
    }

    fn query(&self, index: u32) -> io::Result<(usize, u32)> {
        let (mut planes, mut buffer) = self.description(index);
        self.buffer_call(call::QUERYBUF, &mut planes, &mut buffer)?;
        if self.node.is_planar() {
            // SAFETY: for V4L2_MEMORY_MMAP the kernel fills "mem_offset"; every bit pattern is
            // valid.
            return Ok((planes[0].length as usize, unsafe { planes[0].m.mem_offset }));
        }
        // SAFETY: for V4L2_MEMORY_MMAP the kernel fills "offset"; every bit pattern is valid.
        Ok((buffer.length as usize, unsafe { buffer.m.offset }))
    }

    fn description(&self, index: u32) -> ([v4l2_plane; MAX_PLANES], v4l2_buffer) {
        let mut buffer: v4l2_buffer = call::zeroed();
        buffer.index = index;
        buffer.type_ = self.node.kind();
        buffer.memory = v4l2_memory_V4L2_MEMORY_MMAP;
        (call::zeroed(), buffer)
    }

    /// QUERYBUF, QBUF or DQBUF. They differ from other calls in that a multi-planar buffer points
    /// to its planes.
    fn buffer_call(
        &self,
        what: call::Call<v4l2_buffer>,
        planes: &mut [v4l2_plane; MAX_PLANES],
        buffer: &mut v4l2_buffer,
    ) -> io::Result<()> {
        if self.node.is_planar() {
            buffer.m.planes = planes.as_mut_ptr();
            // "the number of elements in the planes array" (buffer.rst).
            buffer.length = if what.is(&call::DQBUF) {
                MAX_PLANES as u32
            } else {
                1
            };
        }
        // SAFETY: "planes" points to at least "length" planes that outlive the call; a
        // single-planar buffer has no pointer for the kernel to follow.
        unsafe { call::call_pointing(self.node.as_fd(), what, buffer) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // An error only means that the device is gone already.
        let mut kind = self.node.kind() as libc::c_int;
        let _ = call::call(self.node.as_fd(), call::STREAMOFF, &mut kind);
        self.maps.clear();
        let _ = self.request(0);
    }
}

/// An impossible answer of the driver.
fn nonsense(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("its driver reports {what}"),
    )
}
