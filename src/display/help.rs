//! The window's keys and what they do, for the list in the window and the help of `lancam view`.
//! [`super::window`] handles them, and `chooser` those of the list of streams.

/// Keys, and what they do.
pub const KEYS: &[(&str, &str)] = &[
    ("f, F11, double click", "full screen"),
    ("Esc", "leave full screen, or quit"),
    ("Backspace", "choose another stream"),
    ("i", "show or hide statistics"),
    ("space", "freeze the picture, or go on"),
    ("s", "save the picture as received"),
    ("h, ?", "show or hide this help"),
    ("q", "quit"),
];

/// The same while the list of streams is there.
pub const LIST_KEYS: &[(&str, &str)] = &[
    ("arrow keys, wheel", "select a stream"),
    ("Enter, click", "watch it"),
    ("1 to 9", "watch the stream with that number"),
    ("Backspace", "close the list"),
    ("Esc", "close the list, or quit"),
    ("f, F11", "full screen"),
    ("h, ?", "show or hide this help"),
    ("q", "quit"),
];
