//! Which stream the target means: where it is a name, or nothing at all, what is announced tells.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::facts::Announcement;
use crate::cli::Target;
use crate::config::DEFAULT_GROUP;
use crate::net::{ReceiveOptions, ReceiveSocket, interface};
use crate::view::Wanted;
use crate::view::find::{LONGEST, by_name, only};

/// The stream, and what was announced of it. Where a viewer would fail because of the network, the default group is taken:
/// then that is what the other checks find out about.
///
/// # Errors
/// The file describes no stream, or several streams are announced and one must be named.
pub(in crate::doctor) fn find(
    target: &Target,
    interface: Option<&str>,
) -> Result<(Wanted, Announcement)> {
    match target {
        Target::Group(group) => Ok((Wanted::group(*group), Announcement::NotAsked)),
        Target::Sdp(path) => Ok((Wanted::of_file(path)?, Announcement::NotAsked)),
        Target::Name(name) => named(name, interface),
        Target::Any => any(interface),
    }
}

fn named(name: &str, interface: Option<&str>) -> Result<(Wanted, Announcement)> {
    let started = Instant::now();
    let missing = |waited| Announcement::Missing {
        name: name.to_owned(),
        waited,
    };
    // An interface that is away is the other checks' business; what the name means is not known then.
    if interface::choose(interface, DEFAULT_GROUP).is_err() {
        return Ok((Wanted::group(DEFAULT_GROUP), missing(Duration::ZERO)));
    }
    match by_name(name, interface, || started.elapsed() >= LONGEST)? {
        Some(wanted) => Ok(announced(wanted)),
        None => Ok((Wanted::group(DEFAULT_GROUP), missing(LONGEST))),
    }
}

fn any(interface: Option<&str>) -> Result<(Wanted, Announcement)> {
    let default = || (Wanted::group(DEFAULT_GROUP), Announcement::Nothing);
    if !can_listen(interface) {
        return Ok(default());
    }
    let Some(found) = only(interface, || false)? else {
        return Ok(default());
    };
    match found.wanted.name == DEFAULT_GROUP.to_string() {
        true => Ok(default()),
        false => Ok(announced(found.wanted)),
    }
}

fn announced(wanted: Wanted) -> (Wanted, Announcement) {
    let name = wanted.name.clone();
    (wanted, Announcement::Heard { name })
}

/// Whether the default group can be listened to at all.
fn can_listen(interface: Option<&str>) -> bool {
    let mut options = ReceiveOptions::new(DEFAULT_GROUP);
    options.interface = interface.map(str::to_owned);
    ReceiveSocket::open(&options).is_ok()
}
