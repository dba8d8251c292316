//! What the first packet of each frame says in clear, so that a viewer that knows only the secret
//! can open it and all others: an element of its header extension (RFC 8285 §4.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     suite     |          rollover counter (32 bits)           |
//! +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
//! |               |                               |               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+               +
//! |                        salt (88 bits)                         |
//! +                                                               +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::keys::{SALT_LEN, Salt};
use super::suite::Suite;
use crate::rtp::header::Packet;

/// Local identifier of the element in lancam's packets.
pub const HELLO_ID: u8 = 3;
/// What names it in SDP.
pub const HELLO_URI: &str = "urn:x-lancam:srtp";
/// Bytes of its data: the most that a one-byte element holds.
pub const HELLO_LEN: usize = 16;

/// Which run a packet is of, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// How its packets are sealed.
    pub suite: Suite,
    /// How often the sequence numbers have wrapped. RFC 3711 §3.3.1.
    pub roc: u32,
    /// The run's salt.
    pub salt: Salt,
}

impl Hello {
    /// The element's data.
    pub fn to_bytes(self) -> [u8; HELLO_LEN] {
        let mut bytes = [0; HELLO_LEN];
        bytes[0] = self.suite.number();
        bytes[1..5].copy_from_slice(&self.roc.to_be_bytes());
        bytes[5..].copy_from_slice(&self.salt.0);
        bytes
    }

    /// What the element of `packet` says, if it has one. Nothing is proven by it.
    pub fn of(packet: &Packet<'_>) -> Option<Hello> {
        let data: &[u8; HELLO_LEN] = packet.extension(HELLO_ID)?.try_into().ok()?;
        let (head, salt) = data.split_last_chunk::<SALT_LEN>()?;
        let (&[suite], roc) = head.split_first_chunk()?;
        Some(Hello {
            suite: Suite::of_number(suite)?,
            roc: u32::from_be_bytes(*roc.first_chunk()?),
            salt: Salt(*salt),
        })
    }
}
