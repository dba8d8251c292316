//! How much visitors may have at a time.

/// Connections that are served at a time; more are turned away at once.
pub(super) const MOST_CONNECTIONS: usize = 64;
/// Of these, visitors that watch moving pictures.
pub(super) const MOST_WATCHERS: usize = 32;
