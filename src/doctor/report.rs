//! Prints the checks' results, for people and for programs. Text that others chose (names of
//! programs, rules) is made harmless here.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::Serialize;

use crate::text::{is_invisible, without_codes};

/// A check's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It may do harm.
    Warn,
    /// It is broken.
    Fail,
    /// It could not be checked, or does not apply.
    Skip,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
        }
    }

    /// The colour's ANSI code.
    fn colour(self) -> &'static str {
        match self {
            Outcome::Ok => "32",
            Outcome::Warn => "33",
            Outcome::Fail => "31",
            Outcome::Skip => "2",
        }
    }
}

/// One line of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked; the same word in every version.
    pub id: &'static str,
    /// Its result.
    pub status: Outcome,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    fn new(id: &'static str, status: Outcome, what: &str, advice: Option<&str>) -> Check {
        Check {
            id,
            status,
            what: harmless(&without_codes(what)),
            advice: advice.map(harmless),
        }
    }

    /// All is well.
    pub(super) fn ok(id: &'static str, what: impl AsRef<str>) -> Check {
        Check::new(id, Outcome::Ok, what.as_ref(), None)
    }

    /// It may do harm.
    pub(super) fn warn(id: &'static str, what: impl AsRef<str>, advice: impl AsRef<str>) -> Check {
        Check::new(id, Outcome::Warn, what.as_ref(), Some(advice.as_ref()))
    }

    /// It is broken.
    pub(super) fn fail(id: &'static str, what: impl AsRef<str>, advice: impl AsRef<str>) -> Check {
        Check::new(id, Outcome::Fail, what.as_ref(), Some(advice.as_ref()))
    }

    /// It was not looked at, for this reason.
    pub(super) fn skip(id: &'static str, why: impl AsRef<str>) -> Check {
        Check::new(id, Outcome::Skip, why.as_ref(), None)
    }
}

/// Writes out control characters and those that turn or hide text.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_invisible(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// The whole examination.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The group that was to be watched.
    pub group: SocketAddr,
    /// The interface that was checked, if there is one.
    pub interface: Option<String>,
    /// Seconds of listening.
    pub listened_s: f64,
    /// What to do to learn more.
    pub hint: Option<String>,
    /// Whether a viewer would show the stream: packets came and made whole frames.
    pub watchable: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// Columns of the status and of the check's name.
const STATUS_WIDTH: usize = 6;
const NAME_WIDTH: usize = 12;

impl Diagnosis {
    /// For people; `colours`: with ANSI colours.
    pub fn to_text(&self, colours: bool) -> String {
        let mut out = String::new();
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{hint}\n");
        }
        let _ = write!(out, "{}", self.group);
        if let Some(interface) = &self.interface {
            let _ = write!(out, " on {}", harmless(interface));
        }
        let _ = writeln!(out, ", listened for {} s\n", trim(self.listened_s));
        for check in &self.checks {
            let word = format!("{:<STATUS_WIDTH$}", check.status.word());
            let word = match colours {
                true => format!("\x1b[{}m{word}\x1b[0m", check.status.colour()),
                false => word,
            };
            let _ = writeln!(out, "{word}{:<NAME_WIDTH$}{}", check.id, check.what);
            if let Some(advice) = &check.advice {
                let indent = STATUS_WIDTH + NAME_WIDTH;
                let _ = writeln!(out, "{:indent$}-> {advice}", "");
            }
        }
        if self.watchable {
            out.push_str("\nThe stream can be watched.\n");
        }
        out
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        // Plain data with string keys can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Why the stream cannot be watched; `None`: it can.
    pub fn why_not(&self) -> Option<String> {
        if self.watchable {
            return None;
        }
        let failed = self.checks.iter().find(|c| c.status == Outcome::Fail);
        Some(failed.map_or_else(|| "no whole frame came".to_owned(), |c| c.what.clone()))
    }
}

fn trim(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis() -> Diagnosis {
        Diagnosis {
            group: "224.3.29.71:10000".parse().unwrap(),
            interface: Some("wire0".to_owned()),
            listened_s: 3.004,
            hint: None,
            watchable: false,
            checks: vec![
                Check::ok("interface", "wire0 is up"),
                Check::fail("port", "taken by \u{1b}[2Jevil\u{202e}", "stop it"),
                Check::skip("querier", "no right"),
            ],
        }
    }

    #[test]
    fn a_line_for_each_check_and_what_to_do() {
        let text = diagnosis().to_text(false);
        assert_eq!(
            text,
            "224.3.29.71:10000 on wire0, listened for 3 s\n\n\
             ok    interface   wire0 is up\n\
             fail  port        taken by \\u{1b}[2Jevil\\u{202e}\n                  -> stop it\n\
             skip  querier     no right\n"
        );
        assert!(
            diagnosis()
                .to_text(true)
                .contains("\u{1b}[31mfail  \u{1b}[0mport")
        );
    }

    #[test]
    fn the_verdict_names_the_first_failure() {
        let mut diagnosis = diagnosis();
        assert_eq!(
            diagnosis.why_not().unwrap(),
            "taken by \\u{1b}[2Jevil\\u{202e}"
        );
        diagnosis.checks.clear();
        assert_eq!(diagnosis.why_not().unwrap(), "no whole frame came");
        diagnosis.watchable = true;
        assert_eq!(diagnosis.why_not(), None);
        assert!(diagnosis.to_text(false).ends_with("can be watched.\n"));
    }

    #[test]
    fn programs_read_the_same() {
        let value: serde_json::Value = serde_json::from_str(&diagnosis().to_json()).unwrap();
        assert_eq!(value["checks"][1]["id"], "port");
        assert_eq!(value["checks"][1]["status"], "fail");
        assert_eq!(value["checks"][2]["advice"], serde_json::Value::Null);
        assert_eq!(value["watchable"], false);
    }
}
