//! What is on a screen, and when: the server tells of everything that is drawn (DAMAGE), and the number that each
//! frame of a clip carries is read from the pixels. So all programs are measured alike.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use lancam::clock::Mono;
use lancam::display::layout::fit;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, MapState, Window};
use x11rb::rust_connection::RustConnection;

use crate::clips::{self, DIFFERENT};

/// A frame that came to the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) number: usize,
    pub(crate) at: Mono,
}

/// Watches the only window of a display, in which a picture of `size` is shown; until the display is gone.
pub(crate) fn watch(display: &str, size: (usize, usize)) -> Receiver<Shown> {
    let (x, screen) = x11rb::connect(Some(display)).expect("a display");
    let root = x.setup().roots[screen].root;
    let (sender, shown) = mpsc::channel();
    x.damage_query_version(1, 1)
        .expect("asked")
        .reply()
        .expect("DAMAGE");
    let id = x.generate_id().expect("an id");
    x.damage_create(id, root, damage::ReportLevel::NON_EMPTY)
        .expect("asked")
        .check()
        .expect("a report of damage");
    thread::spawn(move || {
        let mut last = None;
        while let Ok(event) = x.wait_for_event() {
            let Event::DamageNotify(_) = event else {
                continue;
            };
            let at = Mono::now();
            if x.damage_subtract(id, x11rb::NONE, x11rb::NONE).is_err() {
                return;
            }
            let Some(number) = number(&x, root, size) else {
                continue;
            };
            if last.replace(number) != Some(number) && sender.send(Shown { number, at }).is_err() {
                return;
            }
        }
    });
    shown
}

/// The number of the frame on the screen.
fn number(x: &RustConnection, root: Window, size: (usize, usize)) -> Option<usize> {
    let tree = x.query_tree(root).ok()?.reply().ok()?;
    let mut windows = tree.children.into_iter().rev();
    let window = windows.find(|&window| {
        let attributes = x.get_window_attributes(window).ok();
        let attributes = attributes.and_then(|cookie| cookie.reply().ok());
        attributes.is_some_and(|a| a.map_state == MapState::VIEWABLE)
    })?;
    let place = x.get_geometry(window).ok()?.reply().ok()?;
    let picture = fit(size, (place.width.into(), place.height.into()));
    let scaled = |pixels: usize| pixels * picture.width / size.0;
    let (left, top) = (
        place.x + picture.x as i16,
        place.y + (picture.y + scaled(clips::CELL / 2)) as i16,
    );
    let width = scaled(clips::CELL * clips::BITS);
    let format = ImageFormat::Z_PIXMAP;
    let line = x
        .get_image(format, root, left, top, width as u16, 1, u32::MAX)
        .ok()?
        .reply()
        .ok()?;
    // Green stands for brightness.
    let luma = |x: usize, _| line.data.get(4 * scaled(x) + 1).copied().unwrap_or(0);
    Some(clips::number(luma)).filter(|&number| number < DIFFERENT)
}
