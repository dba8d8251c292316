//! Finds the stream to watch among those announced: by name, or the only one there is.
//! [`super::follow`] keeps track of it afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tracing::{debug, info};

use super::follow::Follower;
use super::wanted::{self, Wanted};
use crate::announced::{Announced, can_show};
use crate::config::DEFAULT_GROUP;
use crate::net::{ReceiveOptions, ReceiveSocket, has_datagram};
use crate::rtp::sap::Listing;

/// Every lancam stream is announced once within this time; longer where many hosts announce.
const SETTLED: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(5));
/// Other senders take this long: ffmpeg announces every 5 s.
pub(crate) const LONGEST: Duration = Duration::from_secs(6);
/// How often to log what is being waited for.
const TELL_PERIOD: Duration = Duration::from_secs(5);
/// Streams named in one message.
const MOST_LISTED: usize = 8;
/// How often signals are checked.
const TICK: Duration = Duration::from_millis(20);

/// Waits until a stream called `name` is announced, and long enough to know whether there is
/// another of that name: anybody can announce any name. `None`: `is_over` ended the wait.
///
/// # Errors
/// Several streams have the name, the stream cannot be shown, or announcements cannot be received.
pub(crate) fn by_name(
    name: &str,
    interface: Option<&str>,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Found>> {
    let mut announced = Announced::open(interface)?;
    let started = Instant::now();
    let mut tell_at = started + SETTLED.0;
    while !is_over() {
        announced.receive(TICK)?;
        let is_settled = is_settled(&announced, started);
        match announced.directory().find(name, is_settled).as_slice() {
            [] => {}
            [one] if is_settled || has_address(name, one) => {
                return named(name, Arc::clone(one), announced).map(Some);
            }
            [_] => {}
            several => {
                return Err(anyhow!(
                    "{} streams match {name:?}, say which: {}",
                    several.len(),
                    choice(several)
                ));
            }
        }
        if Instant::now() >= tell_at {
            tell_at += TELL_PERIOD;
            info!(
                "waiting for a stream called {name:?}; {}",
                present(&announced)
            );
        }
    }
    Ok(None)
}

fn is_settled(announced: &Announced, started: Instant) -> bool {
    let longest = announced.directory().longest_interval();
    started.elapsed() >= longest.clamp(SETTLED.0, SETTLED.1)
}

/// Whether `name` is `NAME@ADDRESS`.
fn has_address(name: &str, listing: &Listing) -> bool {
    let address = name.rsplit_once('@').map(|(_, address)| address.parse());
    address == Some(Ok(listing.from))
}

/// The stream to watch.
pub(crate) struct Found {
    pub(crate) wanted: Wanted,
    /// Its socket, if already open.
    pub(crate) socket: Option<ReceiveSocket>,
    /// Keeps track of a stream that was found by its announcement.
    pub(crate) follower: Option<Follower>,
}

impl From<Wanted> for Found {
    fn from(wanted: Wanted) -> Found {
        Found {
            wanted,
            socket: None,
            follower: None,
        }
    }
}

fn named(name: &str, listing: Arc<Listing>, announced: Announced) -> Result<Found> {
    let wanted = wanted::announced(&listing, announced.directory())?;
    info!(
        "{:?} is announced by {}: {}",
        wanted.name, listing.from, wanted.receive.group
    );
    Ok(Found {
        follower: Some(Follower::new(name, listing, announced)),
        ..Found::from(wanted)
    })
}

/// The stream in the default group, if packets arrive there; else the only announced stream that
/// can be shown; else whatever comes to the default group later. `None`: `is_over` ended the wait.
///
/// # Errors
/// Several streams are announced.
pub(crate) fn only(
    interface: Option<&str>,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Found>> {
    let mut options = ReceiveOptions::new(DEFAULT_GROUP);
    options.interface = interface.map(str::to_owned);
    let socket = ReceiveSocket::open(&options)?;
    let found = |wanted, socket| {
        Ok(Some(Found {
            socket,
            ..Found::from(wanted)
        }))
    };
    let mut announced = match Announced::open(interface) {
        Ok(announced) => announced,
        Err(error) => {
            info!("{error:#}; only {DEFAULT_GROUP} is looked at");
            return found(Wanted::group(DEFAULT_GROUP), Some(socket));
        }
    };
    let started = Instant::now();
    while started.elapsed() < LONGEST && !is_over() {
        announced.receive(TICK)?;
        if has_datagram(&socket).context("cannot wait for packets")? {
            return found(in_default_group(&announced, interface)?, Some(socket));
        }
        if !is_settled(&announced, started) {
            continue;
        }
        match shown(&announced).as_slice() {
            [] => {}
            [one] => {
                let (name, one) = (one.stream.name.clone(), Arc::clone(one));
                return named(&name, one, announced).map(Some);
            }
            several => {
                return Err(anyhow!(
                    "{} streams are announced, say which: {}",
                    several.len(),
                    choice(several)
                ));
            }
        }
    }
    if is_over() {
        return Ok(None);
    }
    debug!("no stream is announced that can be shown");
    found(Wanted::group(DEFAULT_GROUP), Some(socket))
}

/// The streams that can be shown here.
fn shown(announced: &Announced) -> Vec<Arc<Listing>> {
    let streams = announced.directory().streams().iter();
    let is_shown = |l: &&Arc<Listing>| can_show(&l.stream).is_ok();
    streams.filter(is_shown).cloned().collect()
}

/// The stream in the default group, with its name if it is announced.
fn in_default_group(announced: &Announced, interface: Option<&str>) -> Result<Wanted> {
    let mut streams = announced.directory().streams().iter();
    let is_it = |h: &&Arc<Listing>| h.stream.addr == DEFAULT_GROUP && can_show(&h.stream).is_ok();
    let Some(listing) = streams.find(is_it) else {
        return Ok(Wanted::group(DEFAULT_GROUP));
    };
    let mut wanted = wanted::announced(listing, announced.directory())?;
    wanted.receive.interface = interface.map(str::to_owned);
    // Show whatever comes to the default group, whoever sends it.
    wanted.options.source = None;
    Ok(wanted)
}

/// A command to watch each of `streams`: by name, by name and address, or by group, whichever is
/// unique.
fn choice(streams: &[Arc<Listing>]) -> String {
    let by_name = |l: &Listing| l.stream.name.to_lowercase();
    let by_host = |l: &Listing| (by_name(l), l.from);
    let command = |l: &Arc<Listing>| {
        let (name, from) = (&l.stream.name, l.from);
        if streams.iter().filter(|o| by_name(o) == by_name(l)).count() == 1 {
            return format!("lancam view {name:?}");
        }
        let size = (l.stream.size).map_or(String::new(), |(w, h)| format!("{w}x{h}, "));
        let group = l.stream.addr;
        if streams.iter().filter(|o| by_host(o) == by_host(l)).count() == 1 {
            return format!("lancam view {:?} ({size}{group})", format!("{name}@{from}"));
        }
        format!("lancam view {group} ({size}{name:?} of {from})")
    };
    some(streams.iter().map(command))
}

fn present(announced: &Announced) -> String {
    let streams = announced.directory().streams().iter();
    let names: Vec<String> = streams.map(|l| format!("{:?}", l.stream.name)).collect();
    match names.is_empty() {
        true => "none is announced here".to_owned(),
        false => format!("announced here: {}", some(names.into_iter())),
    }
}

/// The first few: strangers can announce any number.
fn some(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MOST_LISTED);
    let mut some: Vec<String> = all.take(MOST_LISTED).collect();
    if more > 0 {
        some.push(format!("and {more} more (lancam list)"));
    }
    some.join(", ")
}
