//! What the integration tests share: two hosts on one wire ([`net`]), programs that do not outlive
//! the test ([`process`]), clips of known pictures ([`clip`]) and exact comparison of pictures
//! ([`pixels`]).
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod browser;
pub mod clip;
pub mod http;
pub mod net;
pub mod pixels;
pub mod process;
pub mod skip;

use std::time::{Duration, Instant};

use serde_json::Value;

pub use skip::{have, skip};

/// How long anything that must happen may take. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `ready` has a value.
///
/// # Panics
/// After [`PATIENCE`], saying `what` did not come about.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A number in a report of `--stats`.
pub fn number(stats: &Value, key: &str) -> f64 {
    stats[key]
        .as_f64()
        .unwrap_or_else(|| panic!("no number {key} in {stats}"))
}
