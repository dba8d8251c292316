//! What Xlib does when the X server goes away or refuses a request: by itself it ends the whole
//! process (`XSetIOErrorHandler(3)`, `XSetErrorHandler(3)`). No drawing: that is minifb's.
#![allow(unsafe_code, reason = "no crate wraps Xlib's error handlers")]

use std::os::raw::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use x11_dl::error::OpenError;
use x11_dl::xlib::{Display, XErrorEvent, Xlib};

static LOST: AtomicBool = AtomicBool::new(false);

/// From now on a thread that loses the X server stops for ever, and a refused request is passed
/// over.
///
/// # Errors
/// There is no libX11.
pub(super) fn keep_the_process() -> Result<(), OpenError> {
    let xlib = Xlib::open()?;
    // SAFETY: both handlers have the types that Xlib calls, live as long as the program, and call
    // nothing of Xlib's.
    unsafe {
        (xlib.XSetErrorHandler)(Some(refused));
        (xlib.XSetIOErrorHandler)(Some(lost));
    }
    Ok(())
}

/// Whether the X server, or the connection to it, is gone.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Acquire)
}

/// Such as drawing in a window that another program has destroyed.
extern "C" fn refused(_: *mut Display, _: *mut XErrorEvent) -> c_int {
    0
}

/// Xlib ends the process as soon as this returns.
extern "C" fn lost(_: *mut Display) -> c_int {
    LOST.store(true, Ordering::Release);
    loop {
        thread::park();
    }
}
