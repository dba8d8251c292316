//! The pointer over the window, which can be hidden: X11 knows no other way than a pointer without
//! a pixel.

use std::sync::Arc;

use x11rb::connection::Connection;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _};
use x11rb::rust_connection::RustConnection;

/// The pointer of the window around this one, which is the usual arrow.
const USUAL: u32 = 0;

pub(super) struct Pointer {
    x: Arc<RustConnection>,
    window: u32,
    blank: u32,
    is_hidden: bool,
}

impl Pointer {
    pub(super) fn new(x: Arc<RustConnection>, window: u32) -> Result<Pointer, ReplyOrIdError> {
        let blank = blank(&x, window)?;
        Ok(Pointer {
            x,
            window,
            blank,
            is_hidden: false,
        })
    }

    /// Hides it or shows it again.
    pub(super) fn hide(&mut self, is_hidden: bool) {
        if std::mem::replace(&mut self.is_hidden, is_hidden) == is_hidden {
            return;
        }
        let cursor = if is_hidden { self.blank } else { USUAL };
        let wish = ChangeWindowAttributesAux::new().cursor(cursor);
        // A server that is gone is noticed elsewhere.
        let _ = self.x.change_window_attributes(self.window, &wish);
        let _ = self.x.flush();
    }
}

/// A pointer of one pixel that its mask leaves out.
fn blank(x: &RustConnection, window: u32) -> Result<u32, ReplyOrIdError> {
    let (pixmap, gc, cursor) = (x.generate_id()?, x.generate_id()?, x.generate_id()?);
    x.create_pixmap(1, pixmap, window, 1, 1)?;
    // A new pixmap may hold anything; graphics contexts draw in 0 by default.
    x.create_gc(gc, pixmap, &Default::default())?;
    let dot = x11rb::protocol::xproto::Rectangle {
        x: 0,
        y: 0,
        width: 1,
        height: 1,
    };
    x.poly_fill_rectangle(pixmap, gc, &[dot])?;
    x.create_cursor(cursor, pixmap, pixmap, 0, 0, 0, 0, 0, 0, 0, 0)?
        .check()?;
    x.free_gc(gc)?;
    x.free_pixmap(pixmap)?;
    Ok(cursor)
}
