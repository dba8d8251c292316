//! What the window says while there is no picture: what is looked for or waited for, what there is
//! instead, and what to do about it. Texts only; who looks and waits is elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::find::present;
use super::plan::{Target, ViewPlan};
use super::wanted::Wanted;
use crate::display::lobby::{Choice, Waiting};
use crate::rtp::sap::{Directory, Listing};
use crate::text::printable;

/// All of lancam's streams are announced once within this time.
const ANNOUNCED: Duration = Duration::from_secs(3);
/// After this long the user is told what to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a name in a line or a row, and of a whole error.
const NAME: usize = 24;
const ERROR: usize = 600;

/// What is looked for or waited for, before anything is known.
pub(super) fn at_first(config: &ViewPlan) -> Waiting {
    let headline = match &config.target {
        Target::Name(name) => format!("looking for {:?}", printable(name, NAME)),
        Target::Any => "looking for a stream".to_owned(),
        Target::Group(group) => format!("waiting for {group}"),
        Target::Sdp(path) => {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            format!("waiting for {}", printable(&file, NAME))
        }
    };
    Waiting {
        headline,
        ..Waiting::default()
    }
}

/// What the window is called before the stream's name is known.
pub(super) fn title(config: &ViewPlan) -> String {
    match (&config.name, &config.target) {
        (Some(name), _) | (None, Target::Name(name)) => name.clone(),
        (None, Target::Group(group)) => group.to_string(),
        (None, Target::Any | Target::Sdp(_)) => "lancam".to_owned(),
    }
}

/// The stream that is meant is not found yet.
pub(super) fn looking(config: &ViewPlan, directory: &Directory, waited: Duration) -> Waiting {
    let target = match &config.target {
        Target::Name(name) => format!(" {:?}", printable(name, NAME)),
        _ => String::new(),
    };
    let mut lines = Vec::from_iter(there(Some(directory), waited));
    if waited >= PATIENCE {
        lines.extend(advice(&target));
    }
    Waiting {
        lines,
        ..at_first(config)
    }
}

/// The user is to choose one of `streams`.
pub(super) fn choosing(config: &ViewPlan, streams: &[Arc<Listing>]) -> Waiting {
    if streams.is_empty() {
        return Waiting {
            lines: vec!["All streams that were announced are gone".to_owned()],
            ..at_first(config)
        };
    }
    let headline = match &config.target {
        Target::Name(name) => format!("Which {:?}?", printable(name, NAME)),
        _ => "Which stream?".to_owned(),
    };
    Waiting {
        headline,
        choices: streams.iter().map(|listing| choice(listing)).collect(),
        lines: Vec::new(),
    }
}

/// Name, size, sender and group.
fn choice(listing: &Listing) -> Choice {
    let stream = &listing.stream;
    let size = (stream.size).map_or(String::new(), |(width, height)| format!("{width}x{height}"));
    Choice {
        key: key(listing),
        cells: vec![
            printable(&stream.name, NAME),
            size,
            listing.from.to_string(),
            stream.addr.to_string(),
        ],
    }
}

/// Tells an announced stream from all others: see [`Listing::is_same`].
pub(super) fn key(listing: &Listing) -> String {
    format!("{} {}", listing.from, listing.stream.addr)
}

/// The stream is known, and its first frame awaited. `is_announced`: it was found that way;
/// `directory`: what else is announced, where that is known.
pub(super) fn expecting(
    wanted: &Wanted,
    is_announced: bool,
    directory: Option<&Directory>,
    waited: Duration,
) -> Waiting {
    let group = wanted.receive.group.to_string();
    let headline = match wanted.name == group {
        true => format!("waiting for {group}"),
        false => format!("waiting for {:?}, {group}", printable(&wanted.name, NAME)),
    };
    let mut lines = Vec::from_iter(there(directory, waited));
    if waited >= PATIENCE && is_announced {
        lines.push("It is announced, but no picture comes".to_owned());
    }
    if waited >= PATIENCE {
        lines.extend(advice(&format!(" {group}")));
    }
    Waiting {
        headline,
        choices: Vec::new(),
        lines,
    }
}

/// Nothing can be shown, and this is why.
pub(super) fn failed(error: &anyhow::Error) -> Waiting {
    Waiting {
        headline: "No picture".to_owned(),
        choices: Vec::new(),
        lines: vec![
            printable(
                &crate::text::without_codes(format_args!("{error:#}")),
                ERROR,
            ),
            "q closes this window".to_owned(),
        ],
    }
}

/// What is announced; that nothing is, once that is known.
fn there(directory: Option<&Directory>, waited: Duration) -> Option<String> {
    let directory = directory?;
    let nothing = || "no stream is announced here".to_owned();
    present(directory).or_else(|| (waited >= ANNOUNCED).then(nothing))
}

fn advice(target: &str) -> [String; 2] {
    [
        "Does the sender run? See: lancam list".to_owned(),
        format!("Is a firewall in the way? See: sudo lancam doctor{target}"),
    ]
}
