//! `lancam check`.

use std::path::PathBuf;

use clap::Args;

use super::usage::UsageError;
use crate::config;

/// `lancam check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Config file to check
    pub file: PathBuf,
}

impl CheckArgs {
    /// What the config means, in plain words. What this machine lacks for it goes to standard
    /// error.
    ///
    /// # Errors
    /// [`UsageError::Config`] in words for the user.
    pub fn run(&self) -> Result<String, UsageError> {
        let config = config::load(&self.file, &[])?;
        let missing = config::missing_here(&config);
        for what in &missing {
            eprintln!("warning: {what}");
        }
        if !missing.is_empty() {
            eprintln!("ignore this if the config is for another machine");
        }
        Ok(config::describe(&config))
    }
}
