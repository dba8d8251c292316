//! Finds the stream to watch while the window is already open. Like [`super::find`], but shows in
//! the window what there is, and lets the user choose if several streams match, or on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tracing::info;

use super::find::{Begun, Found, Search, Sight, TICK, shown};
use super::plan::{Target, ViewPlan};
use super::waiting;
use crate::display::lobby::{Lobby, Waiting};
use crate::rtp::sap::Listing;

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
    let mut is_asking = false;
    while !is_over() {
        search.listen()?;
        let chosen = if lobby.wants_list() {
            offer(lobby, shown(search.directory().streams()), waiting::list)
        } else if is_asking {
            // The list is there until one is chosen, whatever comes and goes.
            offer(lobby, search.choices(), |all| {
                waiting::choosing(config, all)
            })
        } else {
            match search.sight()? {
                Sight::DefaultGroup(found) => return Ok(Some(search.by_packets(*found))),
                Sight::One(one) => return search.found(&one).map(Some),
                Sight::Several => match search.choices().as_slice() {
                    // None of them can be shown.
                    [] => return Err(search.which()),
                    [one] if search.is_settled => return search.found(one).map(Some),
                    [_] => {}
                    _ if search.waited() >= DEFAULT_COMES => {
                        info!("{:#}, or choose in the window", search.which());
                        is_asking = true;
                        continue;
                    }
                    _ => {}
                },
                Sight::Nothing => {}
            }
            let (directory, waited) = (search.directory(), search.waited());
            lobby.say(waiting::looking(config, directory, waited));
            search.tell();
            None
        };
        if let Some(listing) = chosen {
            return search.found(&listing).map(Some);
        }
    }
    Ok(None)
}

/// Shows `streams` in the window as a list, which `say` words; the one that was chosen there.
pub(super) fn offer(
    lobby: &Lobby,
    mut streams: Vec<Arc<Listing>>,
    say: impl FnOnce(&[Arc<Listing>]) -> Waiting,
) -> Option<Arc<Listing>> {
    streams.sort_by_cached_key(|l| (l.stream.name.to_lowercase(), l.from, l.stream.addr));
    lobby.say(say(&streams));
    let chosen = lobby.take_choice()?;
    // It may just have gone.
    let listing = streams.into_iter().find(|l| waiting::key(l) == chosen)?;
    lobby.want_list(false);
    Some(listing)
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
