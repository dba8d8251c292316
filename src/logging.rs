//! Log lines on standard error, for a person at a terminal or for the journal. Counters are in
//! [`crate::stats`].

use std::env;
use std::io::{self, IsTerminal};
use std::time::Duration;

use chrono::Local;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Mono;
use crate::text::without_codes;

/// The variable that overrides `-v`: a level (`debug`) or directives
/// (`lancam=debug,lancam::net=trace`).
pub const VARIABLE: &str = "LANCAM_LOG";

/// How lines look: `14:03:07 WARN porch: what happened`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    colours: bool,
    /// The format of the leading local time, as in strftime(3).
    time: Option<&'static str>,
}

/// The shortest time between two lines about the same thing.
const MINUTE: Duration = Duration::from_secs(60);

/// Allows one line a minute, for what strangers can cause as often as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit(Option<Mono>);

impl Limit {
    /// Whether to log now.
    pub fn passes(&mut self, now: Mono) -> bool {
        let passes = self.0.is_none_or(|last| now.since(last) >= MINUTE);
        if passes {
            self.0 = Some(now);
        }
        passes
    }
}

/// Starts logging to standard error. `verbosity` is the number of `-v`: 0 for what an operator
/// needs, 1 with details, 2 for everything. `LANCAM_LOG` overrides it. Call it once; later calls
/// have no effect.
pub fn init(verbosity: u8) {
    let wanted = env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let (filter, refused) = filter(verbosity, wanted.as_deref());
    let style = style(
        io::stderr().is_terminal(),
        env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        env::var("JOURNAL_STREAM").ok().as_deref(),
        stderr_identity(),
    );
    let lines = fmt::layer()
        .with_writer(io::stderr)
        // It would complain to standard error too, and panic if that is a terminal that is gone.
        .log_internal_errors(false)
        .with_ansi(style.colours)
        .event_format(style);
    let registry = tracing_subscriber::registry();
    let started = registry.with(lines).with(filter).try_init();
    if let (Ok(()), Some(text)) = (started, refused) {
        tracing::warn!(
            "{VARIABLE}={text:?} is ignored: expected error, warn, info, debug or trace, or MODULE=LEVEL"
        );
    }
}

/// The filter, and the variable's text if it cannot be used.
fn filter(verbosity: u8, wanted: Option<&str>) -> (Targets, Option<String>) {
    let level = match verbosity {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let default = Targets::new().with_default(level);
    let Some(wanted) = wanted else {
        return (default, None);
    };
    // Any other word would be taken for a module, and then nothing else logged.
    let is_known = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    match wanted.parse::<Targets>() {
        Ok(filter) if wanted.split(',').all(is_known) => (filter, None),
        _ => (default, Some(wanted.to_owned())),
    }
}

/// Colours on a terminal unless the user declined them (<https://no-color.org>); the time
/// everywhere but in the journal, which stamps its lines itself. `JOURNAL_STREAM` names the device
/// and inode that the journal reads (systemd.exec(5)).
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
        time: match (terminal, journal.is_some() && journal == stderr) {
            (true, _) => Some("%H:%M:%S"),
            (false, true) => None,
            (false, false) => Some("%Y-%m-%d %H:%M:%S"),
        },
    }
}

impl<S, N> FormatEvent<S, N> for Style
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if let Some(format) = self.time {
            write!(line, "{} ", Local::now().format(format))?;
        }
        let level = *event.metadata().level();
        let (colour, end) = match level {
            _ if !self.colours => ("", ""),
            Level::ERROR => ("\x1b[31m", "\x1b[0m"),
            Level::WARN => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[2m", "\x1b[0m"),
        };
        write!(line, "{colour}{level}{end} ")?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(name) = span.extensions().get::<FormattedFields<N>>() {
                write!(line, "{name}: ")?;
            }
        }
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        writeln!(line, "{}", without_codes(text))
    }
}

/// The span of a stream's threads: its name precedes their lines.
pub fn stream_span(name: &str) -> tracing::Span {
    tracing::info_span!("stream", message = name)
}

/// Device and inode of standard error.
fn stderr_identity() -> Option<(u64, u64)> {
    let stat = nix::sys::stat::fstat(io::stderr()).ok()?;
    // Both are 64 bits wide on 64-bit targets only.
    #[allow(clippy::unnecessary_cast)]
    Some((stat.st_dev as u64, stat.st_ino as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute() {
        let mut limit = Limit::default();
        let passed = (0..150_u64).filter(|&s| limit.passes(Mono(s * 1_000_000_000)));
        assert_eq!(passed.collect::<Vec<_>>(), [0, 60, 120]);
    }

    #[test]
    fn the_variable_overrides_the_flag() {
        assert_eq!(filter(0, None).0.to_string(), "info");
        assert_eq!(filter(1, None).0.to_string(), "debug");
        assert_eq!(filter(9, None).0.to_string(), "trace");
        assert_eq!(filter(2, Some("warn")).0.to_string(), "warn");
        assert_eq!(filter(0, Some("lancam=debug,warn")).1, None);
        for wrong in ["lancam=loud", "banana", "debug,banana"] {
            let (filter, refused) = filter(0, Some(wrong));
            assert_eq!(
                (filter.to_string(), refused.as_deref()),
                ("info".to_owned(), Some(wrong))
            );
        }
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
        let date = Some("%Y-%m-%d %H:%M:%S");
        assert_eq!(style(false, false, Some("8:4711"), stderr).time, None);
        // Inherited from a parent, but redirected since.
        assert_eq!(style(false, false, Some("8:4712"), stderr).time, date);
        assert_eq!(style(false, false, None, stderr).time, date);
        assert_eq!(style(false, false, Some("nonsense"), None).time, date);
        assert_eq!(style(true, false, None, stderr).time, Some("%H:%M:%S"));
    }
}
