//! RTCP (RFC 3550 §6): who takes part, what arrives, who leaves; with feedback that need not wait
//! for the next regular report (RFC 4585). In: bytes, times and a seed; out: bytes and events. No
//! sockets, no clocks, no threads.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | compound packets: reading and writing them |
//! | [`members`] | who takes part |
//! | [`timing`] | when to send the next report |
//! | [`session`] | both, for one member |
//! | [`sender`] | the sender's end: sender reports, and what viewers report |
//! | [`viewer`] | a viewer's end: receiver reports, and what the sender reports |

pub mod members;
pub mod sender;
pub mod session;
#[cfg(test)]
mod tests;
mod time;
pub mod timing;
pub mod viewer;
pub mod wire;

pub use sender::{Feedback, SenderSide, ViewerLoss};
pub use session::Session;
pub use timing::Due;
pub use viewer::ViewerSide;
pub use wire::{Description, FrameReport, Item, parse};

/// RTCP takes the port above the stream's. RFC 3550 §11.
pub const PORT_OFFSET: u16 = 1;
