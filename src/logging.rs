//! Log lines on standard error, for a person at a terminal or for the journal. Not the counters:
//! those are [`crate::stats`].

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The variable that overrides `-v`: a level (`debug`) or directives (`lancam=debug,lancam::net=trace`).
pub const VARIABLE: &str = "LANCAM_LOG";

/// How lines are to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    colours: bool,
    timestamps: bool,
}

/// Starts logging to standard error. `verbosity` is the number of `-v`: 0 for what an operator wants to
/// know, 1 with details, 2 with everything. `LANCAM_LOG` overrides it. Call it once; later calls change
/// nothing.
pub fn init(verbosity: u8) {
    let wanted = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let (filter, refused) = filter(verbosity, wanted.as_deref());
    let style = style(
        io::stderr().is_terminal(),
        env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        env::var("JOURNAL_STREAM").ok().as_deref(),
        stderr_identity(),
    );
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(style.colours)
        .with_target(false)
        .compact();
    // The journal stamps each line itself.
    let started = if style.timestamps {
        lines.try_init()
    } else {
        lines.without_time().try_init()
    };
    if let (Ok(()), Some(why)) = (started, refused) {
        tracing::warn!("{VARIABLE} is not understood and not used: {why}");
    }
}

/// What is logged, and why the variable's text was refused, if it was.
fn filter(verbosity: u8, wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    let level = match verbosity {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let default = EnvFilter::new(level);
    match wanted.map(EnvFilter::try_new) {
        None => (default, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(why)) => (default, Some(why.to_string())),
    }
}

/// Colours for a terminal whose user has not said no (<https://no-color.org>), timestamps for all but
/// the journal, which says in `JOURNAL_STREAM` which device and inode it reads (systemd.exec(5)).
fn style(
    terminal: bool,
    no_color: bool,
    journal: Option<&str>,
    stderr: Option<(u64, u64)>,
) -> Style {
    let journal = journal.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    Style {
        colours: terminal && !no_color,
        timestamps: journal.is_none() || journal != stderr,
    }
}

/// Device and inode of standard error.
fn stderr_identity() -> Option<(u64, u64)> {
    let stat = nix::sys::stat::fstat(io::stderr()).ok()?;
    // Both are 64 bits wide on the 64-bit targets only.
    #[allow(clippy::unnecessary_cast)]
    Some((stat.st_dev as u64, stat.st_ino as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_overrides_the_flag() {
        assert_eq!(filter(0, None).0.to_string(), "info");
        assert_eq!(filter(1, None).0.to_string(), "debug");
        assert_eq!(filter(9, None).0.to_string(), "trace");
        assert_eq!(filter(2, Some("warn")).0.to_string(), "warn");
        let (filter, refused) = filter(0, Some("lancam=loud"));
        assert_eq!(filter.to_string(), "info");
        assert!(refused.is_some());
    }

    #[test]
    fn colours_only_where_somebody_sees_them() {
        assert!(style(true, false, None, None).colours);
        assert!(!style(true, true, None, None).colours);
        assert!(!style(false, false, None, None).colours);
    }

    #[test]
    fn the_journal_stamps_its_own_lines() {
        let stderr = Some((8, 4711));
        assert!(!style(false, false, Some("8:4711"), stderr).timestamps);
        // Inherited from a parent, but redirected since.
        assert!(style(false, false, Some("8:4712"), stderr).timestamps);
        assert!(style(false, false, None, stderr).timestamps);
        assert!(style(false, false, Some("nonsense"), None).timestamps);
    }
}
