//! Which stream the target means: announcements tell, if it is a name or there is none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::findings::Lookup;
use super::tap::{Seen, Tap};
use crate::announced::Announced;
use crate::config::DEFAULT_GROUP;
use crate::net::{ReceiveOptions, ReceiveSocket, choice};
use crate::rtp::sap;
use crate::view::find::{LONGEST, by_name, only};
use crate::view::{Target, Wanted};

/// The stream, and what was announced of it. If a viewer would fail because of the network, this is
/// the default group: the other checks then find the reason.
///
/// # Errors
/// The file describes no stream, or several streams are announced and one must be named.
pub(in crate::doctor) fn find(
    target: &Target,
    interface: Option<&str>,
) -> Result<(Wanted, Lookup)> {
    match target {
        Target::Group(group) => Ok((Wanted::group(*group), Lookup::NotNeeded)),
        Target::Sdp(path) => Ok((Wanted::of_file(path)?, Lookup::NotNeeded)),
        Target::Name(name) => named(name, interface),
        Target::Any => any(interface),
    }
}

fn named(name: &str, interface: Option<&str>) -> Result<(Wanted, Lookup)> {
    let not_found = |waited, vanished| Lookup::NotFound {
        name: name.to_owned(),
        waited,
        vanished,
    };
    // A missing interface is for the other checks; the name cannot be looked up then.
    if choice::choose(interface, DEFAULT_GROUP, None).is_err() {
        return Ok((Wanted::group(DEFAULT_GROUP), not_found(Duration::ZERO, 0)));
    }
    let started = Instant::now();
    let mut announcements = Announcements::open(interface);
    let found = by_name(name, interface, || {
        announcements.read();
        started.elapsed() >= LONGEST
    })?;
    match found {
        Some(found) => Ok(announced(found.wanted)),
        None => {
            let vanished = announcements.vanished();
            Ok((Wanted::group(DEFAULT_GROUP), not_found(LONGEST, vanished)))
        }
    }
}

/// Announcements as they reach the machine, and as they reach a program.
struct Announcements {
    /// `None`: this user may not see the former.
    tap: Option<Tap>,
    arrived: u64,
    announced: Option<Announced>,
}

impl Announcements {
    fn open(interface: Option<&str>) -> Announcements {
        Announcements {
            tap: Tap::open().ok(),
            arrived: 0,
            announced: Announced::open(interface).ok(),
        }
    }

    fn read(&mut self) {
        let (tap, arrived) = (&mut self.tap, &mut self.arrived);
        if let Some(tap) = tap {
            tap.read(|_, seen| *arrived += u64::from(is_announcement(&seen)));
        }
        if let Some(announced) = &mut self.announced {
            let _ = announced.receive(Duration::ZERO);
        }
    }

    /// Those that no program received; none if any was received.
    fn vanished(&self) -> u64 {
        let is_deaf = |a: &Announced| a.directory().streams().is_empty();
        match self.announced.as_ref().is_some_and(is_deaf) {
            true => self.arrived,
            false => 0,
        }
    }
}

fn is_announcement(seen: &Seen) -> bool {
    let is_sap = |to: &SocketAddr| to.port() == sap::PORT && sap::groups().contains(&to.ip());
    matches!(seen, Seen::Udp { to, .. } if is_sap(to))
}

fn any(interface: Option<&str>) -> Result<(Wanted, Lookup)> {
    let default = || (Wanted::group(DEFAULT_GROUP), Lookup::NothingAnnounced);
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

fn announced(wanted: Wanted) -> (Wanted, Lookup) {
    let name = wanted.name.clone();
    (wanted, Lookup::Found { name })
}

/// Whether the default group can be received at all.
fn can_listen(interface: Option<&str>) -> bool {
    let mut options = ReceiveOptions::new(DEFAULT_GROUP);
    options.interface = interface.map(str::to_owned);
    ReceiveSocket::open(&options).is_ok()
}
