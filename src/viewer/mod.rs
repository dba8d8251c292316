//! What a viewer does with whole frames: decode, show in a window, draw the overlay, record.
