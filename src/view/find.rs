//! Finds the stream to watch among those that are announced: by its name, or the only one there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tracing::{debug, info};

use super::{Wanted, described};
use crate::announced::{Announced, can_show};
use crate::config::DEFAULT_GROUP;
use crate::net::{ReceiveOptions, ReceiveSocket, has_datagram};
use crate::rtp::sap::Heard;

/// So long lancam's streams take to be heard. After it the only one is taken for the only one, and the beginning of a name
/// for a name.
const SETTLED: Duration = Duration::from_secs(3);
/// So long others take: ffmpeg announces every 5 s.
pub(crate) const LONGEST: Duration = Duration::from_secs(6);
/// How often the user is told what is waited for.
const TELL_PERIOD: Duration = Duration::from_secs(5);
/// Signals are looked at this often.
const TICK: Duration = Duration::from_millis(20);

/// Waits until a stream called `name` is announced. `None`: it is over, because the user, or a time limit, says so.
///
/// # Errors
/// If several streams are meant, the one cannot be shown, or announcements cannot be heard.
pub(crate) fn by_name(
    name: &str,
    interface: Option<&str>,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Wanted>> {
    let mut announced = Announced::open(interface)?;
    let started = Instant::now();
    let mut tell_at = started + SETTLED;
    while !is_over() {
        announced.hear(TICK)?;
        let is_settled = started.elapsed() >= SETTLED;
        match announced.directory().find(name, is_settled).as_slice() {
            [] => {}
            [one] => return wanted(one).map(Some),
            several => {
                return Err(anyhow!(
                    "{} streams are meant by {name:?}: {}",
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

/// What `lancam view` alone finds.
pub(crate) struct Found {
    pub(crate) wanted: Wanted,
    /// The stream's socket, where it is open already.
    pub(crate) socket: Option<ReceiveSocket>,
}

/// The stream in the default group, if one comes there; else the only one that is announced and can be shown; else the default
/// group is waited for. `None`: the user does not want to wait.
///
/// # Errors
/// If several streams are announced.
pub(crate) fn only(
    interface: Option<&str>,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Found>> {
    let mut options = ReceiveOptions::new(DEFAULT_GROUP);
    options.interface = interface.map(str::to_owned);
    let socket = ReceiveSocket::open(&options)?;
    let found = |wanted, socket| Ok(Some(Found { wanted, socket }));
    let mut announced = match Announced::open(interface) {
        Ok(announced) => announced,
        Err(error) => {
            info!("{error:#}; only {DEFAULT_GROUP} is looked at");
            return found(Wanted::group(DEFAULT_GROUP), Some(socket));
        }
    };
    let started = Instant::now();
    while started.elapsed() < LONGEST && !is_over() {
        announced.hear(TICK)?;
        if has_datagram(&socket).context("cannot wait for packets")? {
            return found(in_default_group(&announced, interface)?, Some(socket));
        }
        if started.elapsed() < SETTLED {
            continue;
        }
        match shown(&announced).as_slice() {
            [] => {}
            [one] => return found(wanted(one)?, None),
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
fn shown(announced: &Announced) -> Vec<Arc<Heard>> {
    let streams = announced.directory().streams().iter();
    let is_shown = |heard: &&Arc<Heard>| can_show(&heard.stream).is_ok();
    streams.filter(is_shown).cloned().collect()
}

/// What comes to the default group, by its name if that has been told.
fn in_default_group(announced: &Announced, interface: Option<&str>) -> Result<Wanted> {
    let mut streams = announced.directory().streams().iter();
    let is_it = |h: &&Arc<Heard>| h.stream.addr == DEFAULT_GROUP && can_show(&h.stream).is_ok();
    let Some(heard) = streams.find(is_it) else {
        return Ok(Wanted::group(DEFAULT_GROUP));
    };
    let mut wanted = wanted(heard)?;
    wanted.receive.interface = interface.map(str::to_owned);
    Ok(wanted)
}

/// What to open for a stream that was heard: on the interface that it was heard on.
fn wanted(heard: &Heard) -> Result<Wanted> {
    let stream = &heard.stream;
    can_show(stream)
        .map_err(|why| anyhow!("the stream {:?} cannot be shown: {why}", stream.name))?;
    let mut wanted = described(stream.clone())?;
    wanted.receive.interface = Some(heard.interface.clone());
    info!(
        "{:?} is announced by {}: {}",
        stream.name, heard.from, stream.addr
    );
    Ok(wanted)
}

/// The commands that would watch each of `streams`; by name, where that tells them apart.
fn choice(streams: &[Arc<Heard>]) -> String {
    let name = |heard: &Arc<Heard>| heard.stream.name.to_lowercase();
    let is_unique =
        |heard: &Arc<Heard>| streams.iter().filter(|h| name(h) == name(heard)).count() == 1;
    let command = |heard: &Arc<Heard>| match is_unique(heard) {
        true => format!("lancam view {:?}", heard.stream.name),
        false => format!(
            "lancam view {} ({:?} of {})",
            heard.stream.addr, heard.stream.name, heard.from
        ),
    };
    streams.iter().map(command).collect::<Vec<_>>().join(", ")
}

fn present(announced: &Announced) -> String {
    let streams = announced.directory().streams().iter();
    let names: Vec<String> = streams.map(|h| format!("{:?}", h.stream.name)).collect();
    match names.is_empty() {
        true => "none is announced here".to_owned(),
        false => format!("announced here: {}", names.join(", ")),
    }
}
