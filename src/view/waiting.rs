//! The texts in the window while there is no picture: what it is looking for or waiting for, which
//! streams there are instead, and what to do. The looking and waiting is done elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::find::{ANNOUNCED, named, present};
use super::plan::{Target, ViewPlan};
use super::wanted::Wanted;
use crate::announced::can_show;
use crate::display::lobby::{Choice, Waiting};
use crate::players::quoted;
use crate::rtp::sap::{Directory, Listing};
use crate::text::{printable, without_codes};

/// After this long the user is told what to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a name in a line (names have no more) and in the list, and of a whole error.
const NAME: usize = 64;
const CELL: usize = 40;
const ERROR: usize = 600;

/// The text before anything is known.
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

/// The text while the wanted stream has not been found.
pub(super) fn looking(config: &ViewPlan, directory: &Directory, waited: Duration) -> Waiting {
    let target = match &config.target {
        // The beginning of a name is enough to choose a stream.
        Target::Name(name) => format!(" {}", quoted(&printable(name, NAME))),
        _ => String::new(),
    };
    let mut lines = Vec::from_iter(there(Some(directory), waited));
    if waited >= PATIENCE {
        if config.target == Target::Any {
            lines.extend(directory.streams().first().and_then(|l| obstacle(l)));
        }
        lines.extend(advice(&target));
    }
    Waiting {
        lines,
        ..at_first(config)
    }
}

/// The list of `streams` that the user has asked for.
pub(super) fn list(streams: &[Arc<Listing>]) -> Waiting {
    let (headline, lines) = match streams {
        [] => ("no stream is announced here", Vec::from(advice(""))),
        _ => ("choose a stream", Vec::new()),
    };
    let back = "Backspace closes this list".to_owned();
    Waiting {
        title: "choose a stream",
        headline: headline.to_owned(),
        choices: streams.iter().map(|listing| choice(listing)).collect(),
        lines: lines.into_iter().chain([back]).collect(),
        is_list: true,
    }
}

/// The list if several `streams` match, and the user has to choose.
pub(super) fn choosing(config: &ViewPlan, streams: &[Arc<Listing>]) -> Waiting {
    if streams.is_empty() {
        return Waiting {
            lines: Vec::from_iter(
                std::iter::once("all streams have stopped".to_owned()).chain(advice("")),
            ),
            ..at_first(config)
        };
    }
    let headline = match &config.target {
        Target::Name(name) => format!("several streams match {:?}", printable(name, NAME)),
        _ => "choose a stream".to_owned(),
    };
    Waiting {
        title: "choose a stream",
        headline,
        choices: streams.iter().map(|listing| choice(listing)).collect(),
        ..Waiting::default()
    }
}

/// Name, size, sender and group.
fn choice(listing: &Listing) -> Choice {
    let stream = &listing.stream;
    let size = (stream.size).map_or(String::new(), |(width, height)| format!("{width}x{height}"));
    Choice {
        key: key(listing),
        cells: vec![
            cell(&stream.name),
            size,
            listing.from.to_string(),
            stream.addr.to_string(),
        ],
    }
}

/// A name in the list.
fn cell(name: &str) -> String {
    let name = printable(name, NAME);
    match name.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// Distinguishes an announced stream from all others: see [`Listing::is_same`].
pub(super) fn key(listing: &Listing) -> String {
    format!("{} {}", listing.from, listing.stream.addr)
}

/// The text while the stream is known and its first frame awaited. `is_announced` says that it was
/// found by its announcement; `directory` has the announcements, and `reason` says why no frames
/// come, if these are known.
pub(super) fn expecting(
    wanted: &Wanted,
    is_announced: bool,
    directory: Option<&Directory>,
    reason: Option<&str>,
    waited: Duration,
) -> Waiting {
    let group = wanted.receive.group.to_string();
    let headline = match wanted.name == group {
        true => format!("waiting for {group}"),
        false => format!("waiting for {:?}, {group}", printable(&wanted.name, NAME)),
    };
    // There is nothing to say if only the stream itself is announced.
    let directory = directory.filter(|all| !is_announced || all.streams().len() > 1);
    let mut lines = Vec::from_iter(there(directory, waited));
    match reason {
        Some(reason) => lines.insert(0, printable(reason, ERROR)),
        None if waited >= PATIENCE => {
            let announced = "it is announced, but no picture is arriving";
            lines.extend(is_announced.then(|| announced.to_owned()));
            lines.extend(advice(&format!(" {group}")));
        }
        None => {}
    }
    Waiting {
        headline,
        lines,
        ..Waiting::default()
    }
}

/// The text if nothing can be shown, with the reason.
pub(super) fn failed(error: &anyhow::Error) -> Waiting {
    Waiting {
        title: "no picture",
        headline: "no picture".to_owned(),
        lines: vec![
            printable(&without_codes(format_args!("{error:#}")), ERROR),
            "q closes this window".to_owned(),
        ],
        ..Waiting::default()
    }
}

/// Why this stream cannot be shown.
fn obstacle(listing: &Listing) -> Option<String> {
    let why = can_show(&listing.stream).err()?;
    let name = printable(&listing.stream.name, NAME);
    Some(format!(
        "{name:?} cannot be shown: {}",
        printable(&why, ERROR)
    ))
}

/// What is announced and how to see it; or that nothing is, once that is certain.
fn there(directory: Option<&Directory>, waited: Duration) -> Option<String> {
    let nothing = || "no stream is announced here".to_owned();
    match present(directory?) {
        Some(present) => Some(format!("{present}; press Backspace to choose")),
        None => (waited >= ANNOUNCED).then(nothing),
    }
}

/// Which streams are announced besides the one in `group`, for a user who may not know.
pub(super) fn others(streams: &[Arc<Listing>], group: SocketAddr) -> Option<String> {
    let others = streams.iter().filter(|l| l.stream.addr != group);
    let names: Vec<&str> = others.map(|l| l.stream.name.as_str()).collect();
    let names = named(&names)?;
    Some(format!(
        "also announced here: {names}; press Backspace to choose"
    ))
}

fn advice(target: &str) -> [String; 2] {
    [
        "check that the sender runs: lancam list".to_owned(),
        format!("check for a firewall: sudo lancam doctor{target}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;
    use crate::rtp::sap::{self, Packet};

    fn directory(streams: &[(&str, &str)]) -> Directory {
        let mut directory = Directory::default();
        for (name, group) in streams {
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns={name}\r\nc=IN IP4 {group}\r\nt=0 0\r\n\
                 m=video 10000 RTP/AVP 26\r\na=framesize:26 320-240\r\n"
            );
            let mut datagram = Vec::new();
            let packet = Packet {
                is_deletion: false,
                hash: sap::hash(sdp.as_bytes()),
                origin: "10.0.0.1".parse().unwrap(),
                sdp: sdp.as_bytes(),
            };
            packet.write(&mut datagram);
            directory.push(Mono(0), packet.origin, "eth0", &datagram);
        }
        directory
    }

    fn plan(target: Target) -> ViewPlan {
        ViewPlan {
            target,
            ..ViewPlan::default()
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_is_looked_for_comes_first_then_what_there_is_then_what_to_do() {
        let plan = plan(Target::Name("back porch".to_owned()));
        let empty = directory(&[]);
        let first = looking(&plan, &empty, seconds(0));
        assert_eq!(first, at_first(&plan));
        assert_eq!(first.headline, "looking for \"back porch\"");
        assert!(first.lines.is_empty());
        let later = looking(&plan, &empty, seconds(3));
        assert_eq!(later.lines, ["no stream is announced here"]);
        let two = directory(&[("garden", "239.255.0.1/1"), ("lab", "239.255.0.2/1")]);
        assert_eq!(
            looking(&plan, &two, seconds(6)).lines,
            [
                "announced here: \"garden\", \"lab\"; press Backspace to choose",
                "check that the sender runs: lancam list",
                "check for a firewall: sudo lancam doctor 'back porch'",
            ]
        );
    }

    #[test]
    fn for_any_stream_it_says_why_the_one_there_is_is_not_shown() {
        let there = directory(&[("desk", "203.0.113.5")]);
        let lines = looking(&plan(Target::Any), &there, seconds(6)).lines;
        let why =
            "\"desk\" cannot be shown: it is sent to 203.0.113.5 only, which is another machine";
        assert!(lines.contains(&why.to_owned()), "{lines:?}");
        assert!(lines.contains(&"check for a firewall: sudo lancam doctor".to_owned()));
    }

    #[test]
    fn of_a_stream_that_is_known_the_picture_is_awaited() {
        let group = "239.255.0.1:10000".parse().unwrap();
        let mut wanted = Wanted::group(group);
        let unnamed = expecting(&wanted, false, Some(&directory(&[])), None, seconds(6));
        assert_eq!(unnamed.headline, "waiting for 239.255.0.1:10000");
        assert_eq!(unnamed.lines.len(), 3);
        wanted.name = "porch".to_owned();
        let named = expecting(&wanted, true, None, None, seconds(6));
        assert_eq!(named.headline, "waiting for \"porch\", 239.255.0.1:10000");
        assert_eq!(
            named.lines[0],
            "it is announced, but no picture is arriving"
        );
        assert!(named.lines[2].ends_with("sudo lancam doctor 239.255.0.1:10000"));
        // What is known needs no advice on what it might be.
        let why = "10.0.0.7 sends H.264";
        let other = expecting(&wanted, true, None, Some(why), seconds(6));
        assert_eq!(other.lines, [why]);
    }

    #[test]
    fn the_list_says_how_to_leave_it_and_what_to_do_if_it_is_empty() {
        let full = list(directory(&[("porch", "239.255.0.1/1")]).streams());
        assert_eq!(full.choices.len(), 1);
        assert_eq!(full.lines, ["Backspace closes this list"]);
        let empty = list(&[]);
        assert_eq!(empty.headline, "no stream is announced here");
        assert_eq!(empty.lines.len(), 3);
        assert!(full.is_list && empty.is_list);
    }

    #[test]
    fn of_other_streams_the_user_is_told_once_they_are_there() {
        let group = "239.255.0.1:10000".parse().unwrap();
        let told = |all: &[(&str, &str)]| others(directory(all).streams(), group);
        assert_eq!(told(&[("porch", "239.255.0.1/1")]), None);
        assert_eq!(
            told(&[("porch", "239.255.0.1/1"), ("lab", "239.255.0.2/1")]).unwrap(),
            "also announced here: \"lab\"; press Backspace to choose"
        );
    }

    #[test]
    fn strangers_names_are_bounded_and_cannot_act() {
        let long = format!("a\u{1b}[2J\u{202e}{}", "x".repeat(3000));
        let hostile = directory(&[(&long, "239.255.0.1/1"), ("b", "239.255.0.2/1")]);
        let waiting = choosing(&plan(Target::Any), hostile.streams());
        assert_eq!(waiting.headline, "choose a stream");
        let [a, b] = &waiting.choices[..] else {
            panic!("{waiting:?}")
        };
        assert_eq!(a.cells[0].chars().count(), CELL + 1);
        assert!(!a.cells[0].chars().any(crate::text::is_invisible));
        assert_eq!(b.cells[1..], ["320x240", "10.0.0.1", "239.255.0.2:10000"]);
        assert_ne!(a.key, b.key);
        let there = looking(&plan(Target::Any), &hostile, seconds(0)).lines;
        assert!(there[0].len() < 400, "{there:?}");
        assert!(!there[0].chars().any(crate::text::is_invisible));
    }
}
