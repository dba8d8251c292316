//! Arguments that cannot be followed.

#[cfg(feature = "send")]
use crate::config::ConfigError;

/// Arguments that cannot be followed: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The config file is wrong.
    #[cfg(feature = "send")]
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments do not fit each other, or ask for what is not there.
    #[error("{0}")]
    Usage(String),
}
