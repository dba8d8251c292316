//! Where a picture is drawn: in turn in two segments of memory that the X server reads too (MIT-SHM
//! 1.2, a memfd that goes over the socket), so that no pixel is sent; in a buffer of our own where
//! the server is on another machine, refuses, or has other pixels. [`super::events`] receives the
//! event that the server has read a segment.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xproto::ImageFormat;
use x11rb::rust_connection::RustConnection;

use super::events::State;
use super::pixels::Pixels;
use crate::clock::Ntp;

/// How long the server may take to read a segment before the picture waits for the next turn.
const READING: Duration = Duration::from_millis(25);

pub(super) struct Buffers {
    state: Arc<State>,
    /// `None` until it is needed.
    segments: [Option<Segment>; 2],
    /// The one that is drawn in.
    present: usize,
    is_shared: bool,
    plain: Vec<u32>,
}

/// Why the server does not read our memory.
#[derive(Debug, thiserror::Error)]
enum SharedMemoryError {
    #[error("the X server has no MIT-SHM 1.2")]
    Missing,
    #[error("the X server refuses to read it")]
    Put,
    #[error("no memory for it: {0}")]
    Memory(#[from] io::Error),
    #[error("the X server refuses it: {0}")]
    Refused(#[from] ReplyError),
    #[error("the X server refuses it: {0}")]
    Id(#[from] ReplyOrIdError),
}

impl From<ConnectionError> for SharedMemoryError {
    fn from(error: ConnectionError) -> SharedMemoryError {
        SharedMemoryError::Refused(error.into())
    }
}

impl Buffers {
    /// `is_shared` means that server and decoder have the same pixels, so that the server may read
    /// them in place.
    pub(super) fn new(state: Arc<State>, is_shared: bool) -> Buffers {
        Buffers {
            state,
            segments: [None, None],
            present: 0,
            is_shared,
            plain: Vec::new(),
        }
    }

    /// This many pixels to draw in; `None` if the server is still reading both segments.
    pub(super) fn next(&mut self, x: &RustConnection, pixels: usize) -> Option<&mut [u32]> {
        if self.is_shared {
            self.wait_until_read()?;
            if let Err(error) = self.make_room(x, pixels) {
                tracing::debug!(
                    "no shared memory: {error}; pictures go to the X server by the connection"
                );
                self.is_shared = false;
                self.segments = [None, None];
            }
        }
        if let Some(segment) = &mut self.segments[self.present] {
            return bytemuck::cast_slice_mut(&mut segment.map).get_mut(..pixels);
        }
        self.plain.resize(pixels, 0);
        Some(&mut self.plain)
    }

    /// The pixels drawn, if not in a segment.
    pub(super) fn plain(&self) -> &[u32] {
        &self.plain
    }

    /// Lets the server read the segment that was drawn in; false if there is none.
    pub(super) fn put_shared(
        &mut self,
        x: &RustConnection,
        window: u32,
        gc: u32,
        pixels: &Pixels,
        (width, height): (u16, u16),
        captured: Option<Ntp>,
    ) -> Result<bool, ConnectionError> {
        let Some(segment) = &self.segments[self.present] else {
            return Ok(false);
        };
        self.state.begin(self.present, segment.id, captured);
        let format = ImageFormat::Z_PIXMAP.into();
        x.shm_put_image(
            window,
            gc,
            width,
            height,
            0,
            0,
            width,
            height,
            0,
            0,
            pixels.depth(),
            format,
            true,
            segment.id,
            0,
        )?;
        x.flush()?;
        self.present = 1 - self.present;
        Ok(true)
    }

    /// Waits until the segment to draw in is no longer being read.
    fn wait_until_read(&self) -> Option<()> {
        let deadline = Instant::now() + READING;
        while self.state.is_read(self.present) {
            let left = deadline.checked_duration_since(Instant::now())?;
            // The thread of the events wakes this one.
            thread::park_timeout(left);
        }
        Some(())
    }

    fn make_room(&mut self, x: &RustConnection, pixels: usize) -> Result<(), SharedMemoryError> {
        if self.state.is_refused() {
            return Err(SharedMemoryError::Put);
        }
        let segment = &mut self.segments[self.present];
        if segment.as_ref().is_some_and(|s| s.map.len() / 4 >= pixels) {
            return Ok(());
        }
        if let Some(old) = segment.take() {
            x.shm_detach(old.id)?;
        }
        *segment = Some(Segment::new(x, pixels)?);
        Ok(())
    }
}

/// Memory that the X server reads too.
struct Segment {
    map: MmapMut,
    id: shm::Seg,
}

impl Segment {
    fn new(x: &RustConnection, pixels: usize) -> Result<Segment, SharedMemoryError> {
        if x.extension_information(shm::X11_EXTENSION_NAME)?.is_none() {
            return Err(SharedMemoryError::Missing);
        }
        let version = x.shm_query_version()?.reply()?;
        if (version.major_version, version.minor_version) < (1, 2) {
            return Err(SharedMemoryError::Missing);
        }
        let file = memory(pixels * 4)?;
        let map = map(&file)?;
        let id = x.generate_id()?;
        x.shm_attach_fd(id, file, true)?.check()?;
        Ok(Segment { map, id })
    }
}

/// Memory that is there, not only promised, and stays as it is: neither side can meet a page
/// without memory (SIGBUS).
fn memory(bytes: usize) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create("lancam", flags)?);
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    fallocate(file.as_fd(), FallocateFlags::empty(), 0, length)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[allow(unsafe_code, reason = "memory that another process sees")]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file has no name, its seals keep it from shrinking for ever, and besides this
    // process only the X server gets it, which is asked to map it for reading. Should a server
    // write to it all the same, it writes pixels: any value is one, and none is read back but to
    // draw over it.
    unsafe { MmapMut::map_mut(file) }
}
