//! What the user and the desktop do to the window, whatever window system it is on.

use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::Ntp;

/// Is told when a frame was captured and since when it is on the screen, by more than one thread.
pub(super) type OnScreen = Arc<dyn Fn(Ntp, SystemTime) + Send + Sync>;

/// A key, by what is printed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// What prints a character, letters in lower case.
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

/// Something that the window's thread answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A key went down; what the keyboard repeats while it is held is left out.
    Key(Key),
    /// The left mouse button, at this place in the window.
    Click(Point),
    /// The left mouse button, twice. The second of the clicks is told too, before this.
    DoubleClick,
    /// The pointer is here now; not told of each move, but while the window follows it.
    Pointer(Point),
    /// The wheel turned by a step: up, or down.
    WheelUp,
    WheelDown,
    /// The window may have begun or ceased to fill the screen.
    State,
    /// Another size, or a part was uncovered: it must be drawn again.
    Changed,
    /// The user has closed the window, or another program has destroyed it.
    Closed,
    /// The connection to the window system is gone.
    Lost,
}
