//! Finds the stream to watch while the window is already open. Like [`super::find`], but shows in
//! the window what there is, and lets the user choose if several streams match.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tracing::{debug, info};

use super::find::{Begun, Found, Search, Sight, TICK};
use super::plan::{Target, ViewPlan};
use super::shared::Shared;
use super::waiting;
use crate::announced::Announced;
use crate::display::lobby::Lobby;

/// A stream in the default group shows itself within this time. The user is not asked to choose
/// before that.
const DEFAULT_COMES: Duration = Duration::from_secs(1);

/// The announced stream that is meant. `None`: `is_over` ended the wait.
///
/// # Errors
/// The stream cannot be shown, or nothing can be received.
pub(super) fn find(
    config: &ViewPlan,
    lobby: &Lobby,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Found>> {
    let interface = config.interface.as_deref();
    let mut search = match &config.target {
        Target::Name(name) => Search::by_name(name, interface)?,
        _ => match Search::any(interface)? {
            Begun::Search(search) => *search,
            Begun::Found(found) => return Ok(Some(*found)),
        },
    };
    while !is_over() {
        search.listen()?;
        match search.sight()? {
            Sight::DefaultGroup(found) => return Ok(Some(search.by_packets(*found))),
            Sight::One(one) => return search.found(&one).map(Some),
            Sight::Several => match search.choices().as_slice() {
                // None of them can be shown.
                [] => return Err(search.which()),
                [one] if search.is_settled => return search.found(one).map(Some),
                [_] => {}
                _ if search.waited() >= DEFAULT_COMES => {
                    return ask(config, lobby, search, is_over);
                }
                _ => {}
            },
            Sight::Nothing => {}
        }
        lobby.say(waiting::looking(
            config,
            search.directory(),
            search.waited(),
        ));
        search.tell();
    }
    Ok(None)
}

/// Lets the user choose. The list is there until that is done, whatever comes and goes.
fn ask(
    config: &ViewPlan,
    lobby: &Lobby,
    mut search: Search,
    mut is_over: impl FnMut() -> bool,
) -> Result<Option<Found>> {
    info!("{:#}, or choose in the window", search.which());
    while !is_over() {
        let mut choices = search.choices();
        choices.sort_by_cached_key(|l| (l.stream.name.to_lowercase(), l.from, l.stream.addr));
        lobby.say(waiting::choosing(config, &choices));
        search.listen()?;
        let Some(chosen) = lobby.take_choice() else {
            continue;
        };
        // It may just have gone.
        if let Some(listing) = choices.iter().find(|l| waiting::key(l) == chosen) {
            return search.found(listing).map(Some);
        }
    }
    Ok(None)
}

/// Says in the window that the first frame is awaited, until it comes or the viewer ends.
/// `is_announced`: the stream was found by its announcement.
pub(super) fn wait_for_picture(
    config: &ViewPlan,
    lobby: &Lobby,
    shared: &Shared,
    is_announced: bool,
) {
    let started = Instant::now();
    // Somebody else listens to the announcements of a stream that was found by them.
    let mut announced = match is_announced {
        true => None,
        false => Announced::open(config.interface.as_deref())
            .inspect_err(|error| debug!("{error:#}"))
            .ok(),
    };
    while !shared.is_over() && !shared.is_streaming() {
        let directory = announced.as_ref().map(Announced::directory);
        lobby.say(waiting::expecting(
            &shared.wanted.get(),
            is_announced,
            directory,
            shared.no_signal().as_deref(),
            started.elapsed(),
        ));
        match announced.as_mut().map(|announced| announced.receive(TICK)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                debug!("{error:#}");
                announced = None;
            }
            None => std::thread::sleep(TICK),
        }
    }
}

/// Whether somebody reads what is written to standard error. Started from a desktop's menu, nobody
/// does: what went wrong must stand in the window then.
pub(super) fn has_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal()
}

/// Says in the window why there is no picture, until it is closed.
pub(super) fn explain(lobby: &Lobby, error: &anyhow::Error, stop: &AtomicBool) {
    lobby.say(waiting::failed(error));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
}
