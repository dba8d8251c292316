//! One V4L2 call: a request number together with the type that the kernel reads and writes.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc::{self, _IOC_TYPE};

/// A C struct of videodev2.h.
///
/// # Safety
/// All zero bits must be a valid value, and so must any bits that the kernel writes.
pub(super) unsafe trait Argument: Copy {}

/// An [`Argument`] without pointers for the kernel to follow.
///
/// # Safety
/// As stated above.
pub(super) unsafe trait Flat: Argument {}

macro_rules! arguments {
    ($marker:ident: $($name:ty),+ $(,)?) => {
        // SAFETY: videodev2.h defines these as integers, arrays and unions of them.
        $(unsafe impl $marker for $name {})+
    };
}
arguments!(Argument: libc::c_int, v4l2_capability, v4l2_fmtdesc, v4l2_frmsizeenum,
    v4l2_frmivalenum, v4l2_format, v4l2_streamparm, v4l2_requestbuffers, v4l2_query_ext_ctrl,
    v4l2_querymenu, v4l2_buffer, v4l2_plane, v4l2_ext_control, v4l2_ext_controls);
arguments!(Flat: libc::c_int, v4l2_capability, v4l2_fmtdesc, v4l2_frmsizeenum,
    v4l2_frmivalenum, v4l2_format, v4l2_streamparm, v4l2_requestbuffers, v4l2_query_ext_ctrl,
    v4l2_querymenu);
// SAFETY: an array of arguments has a zero value if its elements have.
unsafe impl<T: Argument, const N: usize> Argument for [T; N] {}

/// A request and the type of its argument.
#[derive(Debug)]
pub(super) struct Call<T> {
    request: _IOC_TYPE,
    argument: PhantomData<T>,
}

impl<T> Call<T> {
    const fn new(request: _IOC_TYPE) -> Call<T> {
        // The request's number contains the size that the kernel copies (asm-generic/ioctl.h).
        assert!((request as u32 >> 16) & 0x3fff == size_of::<T>() as u32);
        Call {
            request,
            argument: PhantomData,
        }
    }

    pub(super) fn is(&self, other: &Call<T>) -> bool {
        self.request == other.request
    }
}

pub(super) const QUERYCAP: Call<v4l2_capability> = Call::new(vidioc::VIDIOC_QUERYCAP);
pub(super) const ENUM_FMT: Call<v4l2_fmtdesc> = Call::new(vidioc::VIDIOC_ENUM_FMT);
pub(super) const ENUM_FRAMESIZES: Call<v4l2_frmsizeenum> =
    Call::new(vidioc::VIDIOC_ENUM_FRAMESIZES);
pub(super) const ENUM_FRAMEINTERVALS: Call<v4l2_frmivalenum> =
    Call::new(vidioc::VIDIOC_ENUM_FRAMEINTERVALS);
pub(super) const G_FMT: Call<v4l2_format> = Call::new(vidioc::VIDIOC_G_FMT);
pub(super) const S_FMT: Call<v4l2_format> = Call::new(vidioc::VIDIOC_S_FMT);
pub(super) const G_PARM: Call<v4l2_streamparm> = Call::new(vidioc::VIDIOC_G_PARM);
pub(super) const S_PARM: Call<v4l2_streamparm> = Call::new(vidioc::VIDIOC_S_PARM);
pub(super) const REQBUFS: Call<v4l2_requestbuffers> = Call::new(vidioc::VIDIOC_REQBUFS);
pub(super) const QUERYBUF: Call<v4l2_buffer> = Call::new(vidioc::VIDIOC_QUERYBUF);
pub(super) const QBUF: Call<v4l2_buffer> = Call::new(vidioc::VIDIOC_QBUF);
pub(super) const DQBUF: Call<v4l2_buffer> = Call::new(vidioc::VIDIOC_DQBUF);
pub(super) const STREAMON: Call<libc::c_int> = Call::new(vidioc::VIDIOC_STREAMON);
pub(super) const STREAMOFF: Call<libc::c_int> = Call::new(vidioc::VIDIOC_STREAMOFF);
pub(super) const QUERY_EXT_CTRL: Call<v4l2_query_ext_ctrl> =
    Call::new(vidioc::VIDIOC_QUERY_EXT_CTRL);
pub(super) const QUERYMENU: Call<v4l2_querymenu> = Call::new(vidioc::VIDIOC_QUERYMENU);
pub(super) const G_EXT_CTRLS: Call<v4l2_ext_controls> = Call::new(vidioc::VIDIOC_G_EXT_CTRLS);
pub(super) const S_EXT_CTRLS: Call<v4l2_ext_controls> = Call::new(vidioc::VIDIOC_S_EXT_CTRLS);

/// An argument of all zeros, as the documentation requires for reserved fields.
pub(super) fn zeroed<T: Argument>() -> T {
    // SAFETY: all bits zero is a value of every `Argument`.
    unsafe { std::mem::zeroed() }
}

/// Makes the call, repeating it if a signal interrupts it.
pub(super) fn call<T: Flat>(
    device: BorrowedFd<'_>,
    what: Call<T>,
    argument: &mut T,
) -> io::Result<()> {
    // SAFETY: a `Flat` argument contains no pointer.
    unsafe { call_pointing(device, what, argument) }
}

/// The same for an argument that may contain pointers.
///
/// # Safety
/// Pointers that the kernel follows in `argument` must be valid for the length stated beside them.
pub(super) unsafe fn call_pointing<T: Argument>(
    device: BorrowedFd<'_>,
    what: Call<T>,
    argument: &mut T,
) -> io::Result<()> {
    loop {
        // SAFETY: the kernel reads and writes size_of::<T>() bytes at "argument": `Call::new`
        // checked that the request says so. The caller guarantees what it points to.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), what.request, &raw mut *argument) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
