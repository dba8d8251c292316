//! DNS-SD (RFC 6763) over multicast DNS (RFC 6762): advertises this machine's services on its
//! links, and finds those of others. Unlike SAP, it is known to network browsers, phones and
//! players; it says where something is served, not what a stream is.
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
