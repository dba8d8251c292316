//! SRTP (RFC 3711) with AES-GCM (RFC 7714) or AES-CM and HMAC-SHA1: packets that only those can
//! read and make who have the secret. In: bytes and a time; out: bytes. No sockets, no clocks, no
//! random numbers.
//!
//! | module | what it is |
//! |---|---|
//! | [`suite`] | the two transforms |
//! | [`keys`] | the secret, a master key for each run, and the session keys made from it |
//! | [`text`] | the secret as text, for files and people |
//! | [`cipher`] | one packet sealed or opened, when its index is known |
//! | [`hello`] | what tells a viewer which run a packet is of, in clear |
//! | [`window`] | a packet's index from its sequence number, and which packets came before |
//! | [`seal`] | a sender's packets |
//! | [`open`] | a viewer's packets |
//! | [`control`] | RTCP, both ways |
//!
//! It is not key exchange: both sides know the secret beforehand. AES, GCM, HMAC and HKDF are those
//! of libraries; here is what the RFCs put around them.
//!
//! # Keys
//! Each run of a sender draws a salt, and its master key is HKDF-SHA256 (RFC 5869) of the secret
//! and that salt. So no run shares a keystream with another one, whatever its SSRC is, and nothing
//! is kept between runs. Each member's RTCP has a key of its own in the same way.
//!
//! # Finding in
//! A viewer needs the secret and the group, nothing else. The first packet of each frame carries a
//! [`Hello`] in its header extension: the transform, the salt and the rollover counter. It is
//! believed when the packet's tag agrees, which covers it. Other players step over the extension;
//! they are told the master key (RFC 4568).
//!
//! # A change of the secret
//! Salt, SSRC and numbers go on, so a viewer that has both secrets has both keys already, and tries
//! the other one where the first does not fit. There is no MKI in RTP packets: ffmpeg and VLC do
//! not know it.

pub mod cipher;
pub mod control;
pub mod hello;
pub mod keys;
pub mod open;
pub mod seal;
pub mod suite;
#[cfg(test)]
mod tests;
pub mod text;
pub mod window;

pub use control::{ControlOpener, ControlSealer};
pub use hello::Hello;
pub use keys::{Keys, MasterKey, Salt, Secret};
pub use open::{Opener, Refusal};
pub use seal::{SealedFrame, Sealer};
pub use suite::Suite;
