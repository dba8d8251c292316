//! RTCP (RFC 3550 §6): who is there, what arrives, who leaves; with feedback that need not wait for the next
//! regular report (RFC 4585). Bytes, times and a seed in, bytes and events out: no sockets, no clocks, no threads.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | compound packets: reading and writing them |
//! | [`session`] | who the members are, and when it is one's own turn to report |
//! | [`sender`] | the sender's end: sender reports, and the books of its viewers |
//! | [`viewer`] | a viewer's end: receiver reports, and what the sender says |

pub mod sender;
pub mod session;
#[cfg(test)]
mod tests;
pub mod viewer;
pub mod wire;

pub use sender::{Feedback, SenderSide, ViewerLoss};
pub use session::{Due, Session};
pub use viewer::ViewerSide;
pub use wire::{Description, FrameReport, Item, parse};

use std::time::Duration;

use crate::clock::Ntp;

/// The middle 32 bits of an NTP timestamp: seconds and their fraction, 16 bits each. RFC 3550 §4.
fn middle(ntp: Ntp) -> u32 {
    (ntp.0 >> 16) as u32
}

/// A time in units of 1/65536 s, as reports count delays. RFC 3550 §6.4.1.
fn in_65536ths(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}
