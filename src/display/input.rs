//! What the user and the desktop do to the window, whatever window system it is on.

use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::Ntp;

/// Called with the times at which a frame was captured and reached the screen, from more than one
/// thread.
pub(super) type OnScreen = Arc<dyn Fn(Ntp, SystemTime) + Send + Sync>;

/// A key, named by what is printed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A key that types this character, letters in lower case.
    Char(char),
    Escape,
    F11,
    Enter,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// A place in the window, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: usize,
    pub(super) y: usize,
}

/// An event for the window's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A key was pressed; repetitions while it is held are left out.
    Key(Key),
    /// The left mouse button, at this place in the window.
    Click(Point),
    /// A double click of the left mouse button. It comes after the two single clicks.
    DoubleClick,
    /// The pointer has moved here. Only some moves are reported, unless the window follows it.
    Pointer(Point),
    /// The wheel was turned by one step, up or down.
    WheelUp,
    WheelDown,
    /// The window may have entered or left full screen.
    State,
    /// The window has another size, or a part was uncovered: it must be drawn again.
    Changed,
    /// The user has closed the window, or another program has destroyed it.
    Closed,
    /// The connection to the window system is gone.
    Lost,
}
