//! The window's keys and what they do, for the list in the window and the help of `lancam view`.
//! [`super::window`] handles them.

/// Keys, and what they do.
pub const KEYS: &[(&str, &str)] = &[
    ("f, F11, double click", "full screen"),
    ("Esc", "leave full screen, or quit"),
    ("i", "figures on and off"),
    ("space", "freeze the picture"),
    ("s", "save the JPEG as it came"),
    ("h, ?", "this list"),
    ("q", "quit"),
];
