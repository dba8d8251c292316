//! How much visitors may have at a time.

/// Connections that are served at a time; more are turned away at once.
pub(super) const MOST_CONNECTIONS: usize = 64;
/// Of these, those of one address (of IPv6: one /64 network). This machine's own may have them all: a proxy does.
pub(super) const MOST_OF_ADDRESS: usize = 20;
/// Of these, visitors that watch moving pictures.
pub(super) const MOST_WATCHERS: usize = 32;
