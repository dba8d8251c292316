//! Starting a viewer's threads.

use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .context("a thread could not be started")
}
