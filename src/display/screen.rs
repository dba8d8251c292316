//! What the window needs from the X server and minifb does not offer: the screen's size, resizing,
//! full screen, news of uncovered parts. Over a connection of its own, to minifb's window; no
//! pixels. EWMH ("Extended Window Manager Hints") 1.5 where a window manager speaks it.

use x11rb::connection::Connection;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError};
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux, ConnectionExt,
    EventMask, Gravity, PropMode, Screen as Root, Visualtype, Window,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Red, green and blue in the pixels that minifb hands to the server.
const COLOURS: (u32, u32, u32) = (0xff_0000, 0x00_ff00, 0x00_00ff);
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
    /// The screen's pixels are not of 24 bits.
    #[error(
        "cannot show pictures on a screen of {0} bits a pixel: it needs 24, 8 each for red, green and blue (Xvfb: -screen 0 1280x1024x24); with --headless lancam counts, records and saves pictures without a screen"
    )]
    Depth(u8),
}

#[derive(Debug)]
pub(super) struct Screen {
    x: RustConnection,
    root: Window,
    size: (u16, u16),
    window: Window,
    /// Another program has destroyed the window.
    is_gone: bool,
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

impl Screen {
    /// Connects to the display that `DISPLAY` names.
    ///
    /// # Errors
    /// There is none, or its pixels are others than minifb's.
    pub(super) fn connect() -> Result<Screen, ScreenError> {
        let no_display = |error| ScreenError::NoDisplay(no_display(&error));
        let (x, number) = x11rb::connect(None).map_err(no_display)?;
        // x11rb has checked that the screen exists.
        let screen =
            (x.setup().roots.get(number)).ok_or_else(|| no_display(ConnectError::InvalidScreen))?;
        if !is_true_colour(screen) {
            return Err(ScreenError::Depth(screen.root_depth));
        }
        let size = (screen.width_in_pixels, screen.height_in_pixels);
        let root = screen.root;
        Ok(Screen {
            x,
            root,
            size,
            window: 0,
            is_gone: false,
            before: None,
        })
    }

    /// Width and height of the screen in pixels; of all monitors together.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.size.0.into(), self.size.1.into())
    }

    /// From now on the other calls mean `window`.
    pub(super) fn adopt(&mut self, window: Window) -> Result<(), ConnectionError> {
        self.window = window;
        // By default the server paints the window black at each change of size: it would flicker.
        let attributes = ChangeWindowAttributesAux::new()
            .bit_gravity(Gravity::NORTH_WEST)
            .event_mask(EventMask::EXPOSURE | EventMask::STRUCTURE_NOTIFY);
        self.x.change_window_attributes(window, &attributes)?;
        // ICCCM §4.1.2.5, instance and class: by this a desktop groups windows.
        let (property, kind) = (AtomEnum::WM_CLASS, AtomEnum::STRING);
        self.x.change_property8(
            PropMode::REPLACE,
            window,
            property,
            kind,
            b"lancam\0lancam\0",
        )?;
        self.x.flush()
    }

    /// Asks for another size of the window, in the middle of the screen.
    pub(super) fn resize(&mut self, width: usize, height: usize) -> Result<(), ConnectionError> {
        let middle = |all: u16, part: usize| (usize::from(all).saturating_sub(part) / 2) as i32;
        self.place(Place {
            x: middle(self.size.0, width),
            y: middle(self.size.1, height),
            // The protocol has 16 bits for either.
            width: width.clamp(1, 0x7fff) as u32,
            height: height.clamp(1, 0x7fff) as u32,
        })
    }

    /// Into full screen, or back out of it. Without a window manager that knows how, the window
    /// itself grows to the screen's size.
    pub(super) fn toggle_full_screen(&mut self) -> Result<(), ReplyError> {
        let supported = self.atom("_NET_SUPPORTED")?;
        let full_screen = self.atom("_NET_WM_STATE_FULLSCREEN")?;
        let features = self
            .x
            .get_property(false, self.root, supported, AtomEnum::ATOM, 0, 4096)?
            .reply()?;
        let is_managed = features
            .value32()
            .is_some_and(|mut atoms| atoms.any(|atom| atom == full_screen));
        if is_managed {
            let state = self.atom("_NET_WM_STATE")?;
            let wish = [TOGGLE, full_screen, 0, FROM_APPLICATION, 0];
            let event = ClientMessageEvent::new(32, self.window, state, wish);
            let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
            self.x.send_event(false, self.root, mask, event)?;
            self.x.flush()?;
            return Ok(());
        }
        let place = match self.before.take() {
            Some(before) => before,
            None => {
                self.before = Some(self.present_place()?);
                let (width, height) = (self.size.0.into(), self.size.1.into());
                Place {
                    x: 0,
                    y: 0,
                    width,
                    height,
                }
            }
        };
        Ok(self.place(place)?)
    }

    /// Whether a part of the window was uncovered since the last call and must be drawn again.
    pub(super) fn was_exposed(&mut self) -> bool {
        let mut exposed = false;
        // An error means that the server is gone; minifb's own connection will say so.
        while let Ok(Some(event)) = self.x.poll_for_event() {
            exposed |= matches!(event, Event::Expose(_));
            self.is_gone |= matches!(event, Event::DestroyNotify(_));
        }
        exposed
    }

    /// Whether another program has destroyed the window, as far as [`Screen::was_exposed`] was told.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    fn present_place(&self) -> Result<Place, ReplyError> {
        let size = self.x.get_geometry(self.window)?.reply()?;
        let corner = self
            .x
            .translate_coordinates(self.window, self.root, 0, 0)?
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
        self.x.configure_window(self.window, &wish)?;
        self.x.flush()
    }

    fn atom(&self, name: &str) -> Result<u32, ReplyError> {
        Ok(self.x.intern_atom(false, name.as_bytes())?.reply()?.atom)
    }
}

/// Whether the screen's pixels are as minifb makes them: 8 bits each for red, green and blue.
fn is_true_colour(screen: &Root) -> bool {
    let visuals = screen.allowed_depths.iter().flat_map(|d| &d.visuals);
    let mut default = visuals.filter(|visual| visual.visual_id == screen.root_visual);
    let colours = |v: &Visualtype| (v.red_mask, v.green_mask, v.blue_mask);
    default.any(|visual| colours(visual) == COLOURS)
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
