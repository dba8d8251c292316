//! DNS-SD (RFC 6763) by multicast DNS (RFC 6762): this machine's services made known on its links,
//! and others' found. Unlike SAP it is what browsers of the network, phones and players know; it
//! tells where something is served, not what a stream is.
//!
//! It resolves nothing for anybody, and publishes nothing but lancam's own services and, where no
//! other program does, this machine's name.

mod advertise;
mod browser;
mod directory;
mod message;
mod path;
mod responder;
#[cfg(test)]
mod tests;

pub use advertise::DnsSd;
pub use browser::Browser;
pub use directory::{Directory, Service};
pub use path::path_of;
pub use responder::{Facts, Link, Outgoing, Responder};
