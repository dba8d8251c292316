//! What the integration tests share: two hosts on one wire ([`net`]), programs that do not outlive the test
//! ([`process`]), clips of known pictures ([`clip`]) and exact comparison of pictures ([`pixels`]).
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod browser;
pub mod clip;
pub mod http;
pub mod net;
pub mod pixels;
pub mod process;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything that must happen may take. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Whether all `tools` are there. If not, the test is passed over and named, or fails where nothing may be passed over.
#[must_use]
pub fn have(test: &str, tools: &[&str]) -> bool {
    let missing: Vec<&str> = tools.iter().copied().filter(|t| !is_tool(t)).collect();
    missing.is_empty() || pass_over(test, &format!("no {} here", missing.join(", ")))
}

/// Says that `test` cannot run here and why. Always `false`; under `LANCAM_REQUIRE_ALL` it panics.
pub fn pass_over(test: &str, why: &str) -> bool {
    assert!(
        std::env::var_os("LANCAM_REQUIRE_ALL").is_none(),
        "{test}: {why}"
    );
    // Not eprintln!, which the test harness swallows for tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    false
}

fn is_tool(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    // An ordinary user's PATH lacks the folders of nft, tcpdump and ethtool.
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(name).is_file())
}

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
