//! A window of the X server, by the X11 protocol itself: no library of the system's is needed.
//! ICCCM 2.0 and EWMH 1.5 ("Extended Window Manager Hints") where a window manager speaks them. On
//! a Wayland desktop it goes through XWayland. What is drawn, and what keys mean, is not decided
//! here.

mod atoms;
mod buffers;
mod events;
mod keyboard;
mod pixels;
mod pointer;
mod scale;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::SystemTime;

use x11rb::connection::{Connection, RequestConnection as _};
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::properties::{WmHints, WmSizeHints};
use x11rb::protocol::present::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, CreateGCAux,
    CreateWindowAux, EventMask, Gravity, PropMode, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use self::atoms::Atoms;
use self::buffers::Buffers;
use self::events::{Events, State};
use self::keyboard::Keyboard;
use self::pixels::Pixels;
use self::pointer::Pointer;
use super::input::{Input, OnScreen};
use crate::clock::Ntp;

/// `_NET_WM_STATE_TOGGLE`, EWMH "_NET_WM_STATE".
const TOGGLE: u32 = 2;
/// "1 for normal applications", EWMH "Source indication in requests".
const FROM_APPLICATION: u32 = 1;

/// Why no window can be opened.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// No X server can be reached.
    #[error(
        "there is no screen to open a window on: {0}; with --headless lancam counts, records and saves pictures without one"
    )]
    NoDisplay(String),
    /// The screen's pixels are numbers of colours, not colours.
    #[error(
        "cannot show pictures on a screen of {0} bits a pixel: it needs one of true colours, such as 24 bits (Xvfb: -screen 0 1280x1024x24); with --headless lancam counts, records and saves pictures without a screen"
    )]
    Depth(u8),
    /// The X server refused the window.
    #[error("cannot open a window: {0}")]
    Open(String),
}

impl From<ReplyOrIdError> for ScreenError {
    fn from(error: ReplyOrIdError) -> ScreenError {
        ScreenError::Open(error.to_string())
    }
}

/// A connection to the X server, and what its screen is like.
pub(super) struct Screen {
    x: RustConnection,
    number: usize,
    pixels: Pixels,
}

impl Screen {
    /// Connects to the display that `DISPLAY` names.
    ///
    /// # Errors
    /// There is none, or it has no true colours.
    pub(super) fn connect() -> Result<Screen, ScreenError> {
        let no_display = |error| ScreenError::NoDisplay(no_display(&error));
        let (x, number) = x11rb::connect(None).map_err(no_display)?;
        // x11rb has checked that the screen exists.
        let screen =
            (x.setup().roots.get(number)).ok_or_else(|| no_display(ConnectError::InvalidScreen))?;
        let pixels = Pixels::of(x.setup(), screen);
        let pixels = pixels.ok_or(ScreenError::Depth(screen.root_depth))?;
        Ok(Screen { x, number, pixels })
    }

    /// Width and height in pixels; of all monitors together.
    pub(super) fn size(&self) -> (usize, usize) {
        let root = &self.x.setup().roots[self.number];
        (root.width_in_pixels.into(), root.height_in_pixels.into())
    }

    /// How large text is on this desktop, against a screen of 96 dots an inch.
    pub(super) fn scale(&self) -> f32 {
        scale::scale(&self.x, self.x.setup().roots[0].root)
    }
}

/// A window, its pixels on the way to the screen, and what happens to it.
pub(super) struct Window {
    x: Arc<RustConnection>,
    id: u32,
    root: u32,
    screen: (u16, u16),
    gc: u32,
    atoms: Atoms,
    pixels: Pixels,
    state: Arc<State>,
    buffers: Buffers,
    inputs: Receiver<Input>,
    on_screen: OnScreen,
    pointer: Pointer,
    /// Whether it fills the screen, by the latest event.
    is_full: bool,
    /// Where the window was before it filled a screen without a window manager.
    before: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
}

impl Window {
    /// Opens a window of the given size in pixels, or as large as the screen; `wake` is called
    /// whenever there are [`inputs`](Window::next_input).
    ///
    /// # Errors
    /// The server refuses it.
    pub(super) fn open(
        screen: Screen,
        title: &str,
        size: (usize, usize),
        is_full: bool,
        wake: impl Fn() + Send + 'static,
        on_screen: OnScreen,
    ) -> Result<Window, ScreenError> {
        // A window's sides have 15 bits.
        let size = (size.0 as u16, size.1 as u16);
        let Screen { x, number, pixels } = screen;
        let root = &x.setup().roots[number];
        let (root, screen) = (root.root, (root.width_in_pixels, root.height_in_pixels));
        let refused = |error: ReplyError| ScreenError::Open(error.to_string());
        let closed = |error: ConnectionError| ScreenError::Open(error.to_string());
        let atoms = Atoms::new(&x).map_err(closed)?.reply().map_err(refused)?;
        let (id, gc) = create(&x, root, size, &pixels)?;
        introduce(&x, id, &atoms).map_err(closed)?;
        let vblank = vblank(&x, id).map_err(refused)?;
        tracing::debug!(
            "the delay counts until {}",
            match vblank {
                true => "the monitor begins its next picture",
                false => "the X server has the picture",
            }
        );
        let keyboard = Keyboard::new(&x).map_err(refused)?;

        let (x, state) = (Arc::new(x), Arc::new(State::new(size)));
        let (sender, inputs) = mpsc::channel();
        let events = Events {
            x: Arc::clone(&x),
            window: id,
            root,
            atoms,
            keyboard,
            state: Arc::clone(&state),
            has_vblank: vblank,
            on_screen: Arc::clone(&on_screen),
            inputs: sender,
            wake: Box::new(wake),
        };
        let cannot = |error| ScreenError::Open(format!("no thread for it: {error}"));
        events.start().map_err(cannot)?;
        let mut window = Window {
            pointer: Pointer::new(Arc::clone(&x), id)?,
            is_full,
            buffers: Buffers::new(Arc::clone(&state), pixels.is_plain()),
            x,
            id,
            root,
            screen,
            gc,
            atoms,
            pixels,
            state,
            inputs,
            on_screen,
            before: None,
        };
        window.set_title(title).map_err(closed)?;
        window.appear(is_full).map_err(refused)?;
        Ok(window)
    }

    fn appear(&mut self, is_full: bool) -> Result<(), ReplyError> {
        let is_managed = self.is_managed()?;
        if is_full && is_managed {
            // Window managers look at it when the window appears.
            let full = [self.atoms._NET_WM_STATE_FULLSCREEN];
            let (state, mode) = (self.atoms._NET_WM_STATE, PropMode::REPLACE);
            self.x
                .change_property32(mode, self.id, state, AtomEnum::ATOM, &full)?;
        }
        self.x.map_window(self.id)?;
        self.x.flush()?;
        match is_full && !is_managed {
            true => self.fill_screen(),
            false => Ok(()),
        }
    }

    /// Width and height of the screen in pixels; of all monitors together.
    pub(super) fn screen_size(&self) -> (usize, usize) {
        (self.screen.0.into(), self.screen.1.into())
    }

    /// Width and height of the window in pixels.
    pub(super) fn size(&self) -> (usize, usize) {
        self.state.size()
    }

    /// Hides the pointer where it rests over a window that fills the screen, and shows it
    /// elsewhere.
    pub(super) fn hide_pointer(&mut self, rests: bool) {
        self.pointer.hide(rests && self.is_full);
    }

    /// Looks whether it fills the screen, which the window manager decides too.
    pub(super) fn note_state(&mut self) {
        self.is_full = self.is_full_screen();
    }

    /// What happened next; `None` if nothing did.
    pub(super) fn next_input(&self) -> Option<Input> {
        self.inputs.try_recv().ok()
    }

    /// The pixels to draw in, as [`super::decode`] makes them, for a window of `size`: anything may
    /// be in them. `None` if the server still reads those that were drawn before.
    pub(super) fn pixels(&mut self, size: (usize, usize)) -> Option<&mut [u32]> {
        self.buffers.next(&self.x, size.0 * size.1)
    }

    /// Puts the pixels drawn last into the window. With `captured`, the frame's capture time, its
    /// delay is reported once it is visible.
    ///
    /// # Errors
    /// The server is gone.
    pub(super) fn put(
        &mut self,
        size: (usize, usize),
        captured: Option<Ntp>,
    ) -> Result<(), ReplyError> {
        // A window's sides have 15 bits.
        let size = (size.0 as u16, size.1 as u16);
        if self
            .buffers
            .put_shared(&self.x, self.id, self.gc, &self.pixels, size, captured)?
        {
            return Ok(());
        }
        let drawn = self.buffers.plain();
        self.pixels.put(&self.x, self.id, self.gc, size, drawn)?;
        // Its answer says that the server has all that was asked for before.
        self.x.get_input_focus()?.reply()?;
        if let Some(captured) = captured {
            (self.on_screen)(captured, SystemTime::now());
        }
        Ok(())
    }

    /// The title, which windows' lists show too.
    pub(super) fn set_title(&self, title: &str) -> Result<(), ConnectionError> {
        let (name, utf8) = (self.atoms._NET_WM_NAME, self.atoms.UTF8_STRING);
        let mode = PropMode::REPLACE;
        self.x
            .change_property8(mode, self.id, name, utf8, title.as_bytes())?;
        // ICCCM §4.1.2.1, for managers that know no other: it has Latin letters only.
        let latin: Vec<u8> = title
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect();
        let (name, kind) = (AtomEnum::WM_NAME, AtomEnum::STRING);
        self.x.change_property8(mode, self.id, name, kind, &latin)?;
        self.x.flush()
    }

    /// Asks for another size of the window, in the middle of the screen.
    pub(super) fn resize(&self, width: usize, height: usize) -> Result<(), ConnectionError> {
        let middle = |all: u16, part: usize| (usize::from(all).saturating_sub(part) / 2) as i32;
        self.place(Place {
            x: middle(self.screen.0, width),
            y: middle(self.screen.1, height),
            // The protocol has 16 bits for either.
            width: width.clamp(1, 0x7fff) as u32,
            height: height.clamp(1, 0x7fff) as u32,
        })
    }

    /// Sets whether every movement of the pointer is reported: they are many, and of no use over a
    /// picture.
    pub(super) fn follow_pointer(&self, is_wanted: bool) {
        self.state.follow_pointer(is_wanted);
    }

    /// Whether the window fills the screen.
    pub(super) fn is_full_screen(&self) -> bool {
        let has_state = || -> Result<bool, ReplyError> {
            let state = self.atoms._NET_WM_STATE;
            self.has_atom(self.id, state, self.atoms._NET_WM_STATE_FULLSCREEN)
        };
        self.before.is_some() || has_state().unwrap_or(false)
    }

    /// Into full screen, or back out of it. Without a window manager that knows how, the window
    /// itself grows to the screen's size.
    pub(super) fn toggle_full_screen(&mut self) -> Result<(), ReplyError> {
        if self.is_managed()? {
            let wish = [
                TOGGLE,
                self.atoms._NET_WM_STATE_FULLSCREEN,
                0,
                FROM_APPLICATION,
                0,
            ];
            let state = self.atoms._NET_WM_STATE;
            let event = ClientMessageEvent::new(32, self.id, state, wish);
            let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
            self.x.send_event(false, self.root, mask, event)?;
            return Ok(self.x.flush()?);
        }
        match self.before.take() {
            Some(before) => Ok(self.place(before)?),
            None => self.fill_screen(),
        }
    }

    /// Whether there is a window manager that knows how to fill the screen.
    fn is_managed(&self) -> Result<bool, ReplyError> {
        let (supported, full) = (
            self.atoms._NET_SUPPORTED,
            self.atoms._NET_WM_STATE_FULLSCREEN,
        );
        self.has_atom(self.root, supported, full)
    }

    /// Grows to the screen's size.
    fn fill_screen(&mut self) -> Result<(), ReplyError> {
        self.before = Some(self.present_place()?);
        let (width, height) = self.screen;
        Ok(self.place(Place {
            x: 0,
            y: 0,
            width: width.into(),
            height: height.into(),
        })?)
    }

    /// Whether a property of `window`'s, a list of atoms, has `atom` in it.
    fn has_atom(&self, window: u32, property: Atom, atom: Atom) -> Result<bool, ReplyError> {
        let list = self
            .x
            .get_property(false, window, property, AtomEnum::ATOM, 0, 4096)?
            .reply()?;
        Ok(list
            .value32()
            .is_some_and(|mut atoms| atoms.any(|a| a == atom)))
    }

    fn present_place(&self) -> Result<Place, ReplyError> {
        let size = self.x.get_geometry(self.id)?.reply()?;
        let corner = self
            .x
            .translate_coordinates(self.id, self.root, 0, 0)?
            .reply()?;
        Ok(Place {
            x: corner.dst_x.into(),
            y: corner.dst_y.into(),
            width: size.width.into(),
            height: size.height.into(),
        })
    }

    fn place(&self, place: Place) -> Result<(), ConnectionError> {
        let wish = ConfigureWindowAux::new()
            .x(place.x)
            .y(place.y)
            .width(place.width)
            .height(place.height);
        self.x.configure_window(self.id, &wish)?;
        self.x.flush()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // The news of it ends the thread of the events.
        let _ = self.x.destroy_window(self.id);
        let _ = self.x.flush();
    }
}

/// The window and its graphics context.
fn create(
    x: &RustConnection,
    root: u32,
    size: (u16, u16),
    pixels: &Pixels,
) -> Result<(u32, u32), ReplyOrIdError> {
    let (id, gc) = (x.generate_id()?, x.generate_id()?);
    let events = EventMask::EXPOSURE
        | EventMask::STRUCTURE_NOTIFY
        | EventMask::KEY_PRESS
        | EventMask::KEY_RELEASE
        | EventMask::BUTTON_PRESS
        | EventMask::POINTER_MOTION
        | EventMask::PROPERTY_CHANGE;
    let attributes = CreateWindowAux::new()
        .background_pixel(0)
        // By default the server paints the window black at each change of size: it would flicker.
        .bit_gravity(Gravity::NORTH_WEST)
        .event_mask(events);
    let class = WindowClass::INPUT_OUTPUT;
    let (depth, visual) = (pixels.depth(), 0); // CopyFromParent
    x.create_window(
        depth,
        id,
        root,
        0,
        0,
        size.0,
        size.1,
        0,
        class,
        visual,
        &attributes,
    )?
    .check()?;
    let quiet = CreateGCAux::new().graphics_exposures(0);
    x.create_gc(gc, id, &quiet)?.check()?;
    Ok((id, gc))
}

/// Tells the window manager what the window is.
fn introduce(x: &RustConnection, id: u32, atoms: &Atoms) -> Result<(), ConnectionError> {
    let mode = PropMode::REPLACE;
    let protocols = [atoms.WM_DELETE_WINDOW, atoms._NET_WM_PING];
    x.change_property32(mode, id, atoms.WM_PROTOCOLS, AtomEnum::ATOM, &protocols)?;
    // ICCCM §4.1.2.5, instance and class: by this a desktop groups windows.
    let (class, kind) = (AtomEnum::WM_CLASS, AtomEnum::STRING);
    x.change_property8(mode, id, class, kind, b"lancam\0lancam\0")?;
    // EWMH: a process is known by its number and its host.
    let (pid, host) = ([std::process::id()], crate::host::name());
    x.change_property32(mode, id, atoms._NET_WM_PID, AtomEnum::CARDINAL, &pid)?;
    let machine = AtomEnum::WM_CLIENT_MACHINE;
    x.change_property8(mode, id, machine, kind, host.as_bytes())?;
    let mut hints = WmHints::new();
    hints.input = Some(true);
    hints.set(x, id)?;
    let mut sizes = WmSizeHints::new();
    sizes.min_size = Some((1, 1));
    sizes.set_normal_hints(x, id)?;
    Ok(())
}

/// Whether the server tells when the monitor begins its next picture; one without a monitor (Xvfb)
/// makes the times up, and says so by having no capabilities at all.
fn vblank(x: &RustConnection, window: u32) -> Result<bool, ReplyError> {
    if x.extension_information(present::X11_EXTENSION_NAME)?
        .is_none()
    {
        return Ok(false);
    }
    x.present_query_version(1, 2)?.reply()?;
    let capabilities = x.present_query_capabilities(window)?.reply()?.capabilities;
    if capabilities == 0 {
        return Ok(false);
    }
    let Ok(id) = x.generate_id() else {
        return Ok(false);
    };
    x.present_select_input(id, window, present::EventMask::COMPLETE_NOTIFY)?;
    Ok(true)
}

fn no_display(error: &ConnectError) -> String {
    match std::env::var("DISPLAY") {
        Ok(display) if !display.is_empty() => format!("display {display}: {error}"),
        _ if std::env::var_os("WAYLAND_DISPLAY").is_some() => {
            "this Wayland session has no XWayland (Debian: apt install xwayland)".to_owned()
        }
        _ => "DISPLAY is not set, so this is no desktop session".to_owned(),
    }
}
