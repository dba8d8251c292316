//! How many visitors there may be.

/// Connections served at a time; more are turned away at once.
pub(super) const MOST_CONNECTIONS: usize = 64;
/// Of these, connections from one address (of IPv6: one /64 network). This machine's own may have
/// all, since a proxy does.
pub(super) const MOST_OF_ADDRESS: usize = 20;
/// Of these, visitors who watch moving pictures.
pub(super) const MOST_WATCHERS: usize = 32;
