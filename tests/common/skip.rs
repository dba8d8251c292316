//! What a test does that cannot run on this machine. The unit tests in src/ use this file too.
#![allow(unreachable_pub)]

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Whether all `tools` are installed; if not, `test` is skipped.
#[must_use]
pub fn have(test: &str, tools: &[&str]) -> bool {
    let missing: Vec<&str> = tools.iter().copied().filter(|t| !is_tool(t)).collect();
    missing.is_empty() || skip(test, &format!("no {} here", missing.join(", ")))
}

/// Says that `test` cannot run here, and why: in the file that `LANCAM_SKIPPED` names (tests/run
/// prints it), as the harness swallows the output of tests that pass. Always `false`.
///
/// # Panics
/// Where `LANCAM_REQUIRE_ALL` is set: there a test that does not run has failed.
pub fn skip(test: &str, why: &str) -> bool {
    let is_required = std::env::var_os("LANCAM_REQUIRE_ALL").is_some();
    assert!(!is_required, "{test} cannot run here: {why}");
    let line = format!("SKIPPED: {test}: {}\n", why.trim());
    eprint!("{line}");
    if let Some(path) = std::env::var_os("LANCAM_SKIPPED") {
        let file = File::options().append(true).create(true).open(path);
        // One write, so that lines of tests that run side by side do not mix.
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file that LANCAM_SKIPPED names");
    }
    false
}

fn is_tool(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    // An ordinary user's PATH lacks the folders of nft, tcpdump and ethtool.
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(name).is_file())
}
