//! Arguments that make no sense.

#[cfg(feature = "send")]
use crate::config::ConfigError;

/// Arguments that make no sense: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The config file is wrong.
    #[cfg(feature = "send")]
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments contradict each other, or ask for something that does not exist.
    #[error("{0}")]
    Usage(String),
}
