//! Keeps track of the stream that is watched, from when it is found until the viewer ends: when its
//! announcement changes, its sender restarts in another group, another host takes over, or the user
//! chooses another one from the list. It only reads announcements; the receiving thread applies
//! what they change. Until the first frame it says in the window what is awaited.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::choose::offer;
use super::find::{ANNOUNCED, By, own_name, shown};
use super::plan::ViewPlan;
use super::shared::Shared;
use super::waiting;
use super::wanted::{self, Wanted};
use crate::announced::Announced;
use crate::display::lobby::Lobby;
use crate::rtp::sap::{Directory, Listing};

/// How often to check whether the viewer is ending, and what the window wants.
const TICK: Duration = Duration::from_millis(100);

/// What the user sees of it.
pub(super) struct Screen<'a> {
    pub(super) lobby: &'a Lobby,
    pub(super) messages: SyncSender<String>,
}

/// Follows a stream.
pub(super) struct Follower<'a> {
    config: &'a ViewPlan,
    shared: &'a Shared,
    announced: Option<Announced>,
    by: By,
    /// `None` if there is no window.
    screen: Option<Screen<'a>>,
    /// Since when the stream is awaited.
    since: Instant,
    /// How often the user has chosen another stream.
    choice: u32,
    /// The user knows that there are others.
    is_told: bool,
}

impl<'a> Follower<'a> {
    /// Follows the stream that is `shared`, which was found so.
    pub(super) fn new(
        config: &'a ViewPlan,
        shared: &'a Shared,
        by: By,
        announced: Option<Announced>,
        screen: Option<Screen<'a>>,
    ) -> Follower<'a> {
        let listen = || {
            let opened = Announced::open(config.interface.as_deref());
            opened.inspect_err(|error| debug!("{error:#}")).ok()
        };
        Follower {
            config,
            shared,
            announced: announced.or_else(|| screen.as_ref().and_then(|_| listen())),
            by,
            screen,
            since: Instant::now(),
            choice: 0,
            is_told: false,
        }
    }

    /// Runs until the viewer ends.
    pub(super) fn run(mut self) {
        while !self.shared.is_over() {
            self.serve_window();
            let has_changed = self.listen();
            self.follow(has_changed);
        }
    }

    /// Waits for announcements; whether they have changed anything.
    fn listen(&mut self) -> bool {
        match self.announced.as_mut().map(|all| all.receive(TICK)) {
            Some(Ok(changes)) => !changes.is_empty(),
            Some(Err(error)) => {
                warn!("{error:#}; a sender that moves is not followed");
                self.announced = None;
                false
            }
            None => {
                std::thread::sleep(TICK);
                false
            }
        }
    }

    fn follow(&mut self, has_changed: bool) {
        let Some(directory) = self.announced.as_ref().map(Announced::directory) else {
            return;
        };
        let is_streaming = self.shared.is_streaming();
        let (wanted, listing) = match &mut self.by {
            By::Announcement { name, listing } if has_changed || !is_streaming => {
                if let Some(next) = next(listing, directory, name, is_streaming) {
                    if next.stream.name != listing.stream.name {
                        name.clone_from(&next.stream.name);
                    }
                    *listing = next;
                }
                match wanted::announced(listing, directory) {
                    Ok(wanted) => (wanted, Arc::clone(listing)),
                    Err(error) => return debug!("{error:#}"),
                }
            }
            By::Packets if has_changed => {
                let before = self.shared.wanted.get();
                match named(&before, directory) {
                    Some(found) => found,
                    None => return,
                }
            }
            _ => return,
        };
        self.offer(wanted, &listing);
    }

    /// Receives the stream as `wanted` from now on, with the user's own settings.
    fn offer(&self, mut wanted: Wanted, listing: &Listing) {
        wanted.settle(self.config);
        wanted.choice = self.choice;
        let before = self.shared.wanted.get();
        if *before == wanted {
            return;
        }
        if (&before.name, before.receive.group) != (&wanted.name, wanted.receive.group) {
            info!(
                "{:?} is now {:?} at {}, announced by {}",
                before.name, wanted.name, wanted.receive.group, listing.from
            );
        }
        self.shared.wanted.set(Arc::new(wanted));
    }

    /// Says in the window what is awaited, shows the list there, and does what is chosen in it.
    fn serve_window(&mut self) {
        let Some(Screen { lobby, messages }) = &self.screen else {
            return;
        };
        let directory = self.announced.as_ref().map(Announced::directory);
        if lobby.wants_list() {
            let Some(directory) = directory else {
                lobby.want_list(false);
                let _ = messages.try_send("announcements cannot be received here".to_owned());
                return;
            };
            if let Some(listing) = offer(lobby, shown(directory.streams()), waiting::list) {
                self.watch(listing);
            }
            return;
        }
        let wanted = self.shared.wanted.get();
        if lobby.is_closed() || !self.shared.is_streaming() {
            lobby.say(waiting::expecting(
                &wanted,
                matches!(self.by, By::Announcement { .. }),
                directory,
                self.shared.no_signal().as_deref(),
                self.since.elapsed(),
            ));
            return;
        }
        if matches!(self.by, By::Packets) && !self.is_told && self.since.elapsed() >= ANNOUNCED {
            let streams = directory.map(Directory::streams).unwrap_or_default();
            if let Some(others) = waiting::others(&shown(streams), wanted.receive.group) {
                self.is_told = true;
                let _ = messages.try_send(others);
            }
        }
    }

    /// Watches the stream that the user has chosen.
    fn watch(&mut self, listing: Arc<Listing>) {
        let (Some(announced), Some(screen)) = (&self.announced, &self.screen) else {
            return;
        };
        let directory = announced.directory();
        match wanted::announced(&listing, directory) {
            Ok(wanted) => {
                let name = own_name(&listing, directory);
                self.by = By::Announcement {
                    name,
                    listing: Arc::clone(&listing),
                };
                self.since = Instant::now();
                self.choice += 1;
                screen.lobby.close();
                self.offer(wanted, &listing);
            }
            Err(error) => drop(screen.messages.try_send(format!("{error:#}"))),
        }
    }
}

/// A stream that was found by its packets, with the name under which its group is announced. If
/// several are announced there, it keeps its address.
fn named(wanted: &Wanted, directory: &Directory) -> Option<(Wanted, Arc<Listing>)> {
    let streams = directory.streams().iter();
    let mut here = streams.filter(|l| l.stream.addr == wanted.receive.group);
    let (Some(listing), None) = (here.next(), here.next()) else {
        return None;
    };
    let name = listing.stream.name.clone();
    let wanted = Wanted {
        name,
        ..wanted.clone()
    };
    Some((wanted, Arc::clone(listing)))
}

/// The announcement to follow from now on; `None`: keep the current one.
fn next(
    current: &Listing,
    directory: &Directory,
    name: &str,
    is_streaming: bool,
) -> Option<Arc<Listing>> {
    let same = directory.streams().iter().find(|l| l.is_same(current));
    // While its own announcement is valid, no other counts; but a sender that was killed and
    // restarted in another group leaves the old one behind.
    let is_next = |l: &Arc<Listing>| match same {
        Some(same) => !is_streaming && l.from == same.from && l.is_newer_than(same),
        None => true,
    };
    let mut found = directory.find(name, true);
    found.retain(is_next);
    match found.as_slice() {
        [one] => Some(Arc::clone(one)),
        _ => same.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::clock::Mono;
    use crate::rtp::sap::{self, Packet};

    const HERE: &str = "10.0.0.1";
    const THERE: &str = "10.0.0.2";

    /// A directory of announcements: second, host, the group's last octet, name.
    fn directory(announced: &[(u64, &str, u8, &str)]) -> Directory {
        let mut directory = Directory::default();
        for &(second, host, group, name) in announced {
            push(&mut directory, (second, host, group, name), false);
        }
        directory
    }

    fn push(directory: &mut Directory, of: (u64, &str, u8, &str), is_deletion: bool) {
        let (second, host, group, name) = of;
        let from: IpAddr = host.parse().unwrap();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {host}\r\ns={name}\r\nc=IN IP4 239.255.0.{group}/1\r\nt=0 0\r\n\
             m=video 10000 RTP/AVP 26\r\n"
        );
        let mut datagram = Vec::new();
        let packet = Packet {
            is_deletion,
            hash: sap::hash(sdp.as_bytes()),
            origin: from,
            sdp: sdp.as_bytes(),
        };
        packet.write(&mut datagram);
        directory.push(Mono(second * 1_000_000_000), from, "eth0", &datagram);
    }

    /// Where to look for the stream next, by host and group; `None`: nowhere else.
    fn found(directory: &Directory, current: &Listing, is_streaming: bool) -> Option<(String, u8)> {
        let next = next(current, directory, "porch", is_streaming)?;
        let IpAddr::V4(group) = next.stream.addr.ip() else {
            return None;
        };
        Some((next.from.to_string(), group.octets()[3]))
    }

    #[test]
    fn an_announcement_that_stands_is_kept_to() {
        let mut announced = directory(&[(1, HERE, 1, "porch"), (2, THERE, 2, "porch")]);
        let current = Arc::clone(&announced.streams()[0]);
        for is_streaming in [false, true] {
            let expected = Some((HERE.to_owned(), 1));
            assert_eq!(found(&announced, &current, is_streaming), expected);
        }
        // Even if it was renamed.
        push(&mut announced, (3, HERE, 1, "garden"), false);
        let next = next(&current, &announced, "porch", true).unwrap();
        assert_eq!(next.stream.name, "garden");
    }

    #[test]
    fn a_sender_that_begins_again_in_another_group_is_followed_once_the_first_is_silent() {
        let announced = directory(&[(1, HERE, 1, "porch"), (9, HERE, 2, "porch")]);
        let current = Arc::clone(&announced.streams()[0]);
        let (old, new) = ((HERE.to_owned(), 1), (HERE.to_owned(), 2));
        assert_eq!(found(&announced, &current, true), Some(old));
        assert_eq!(found(&announced, &current, false), Some(new));
    }

    #[test]
    fn another_host_takes_a_stream_up_once_it_is_taken_back() {
        let mut announced = directory(&[(1, HERE, 1, "porch")]);
        let current = Arc::clone(&announced.streams()[0]);
        push(&mut announced, (2, HERE, 1, "porch"), true);
        assert_eq!(found(&announced, &current, true), None);
        push(&mut announced, (3, THERE, 2, "porch"), false);
        let expected = Some((THERE.to_owned(), 2));
        assert_eq!(found(&announced, &current, false), expected);
        // Of two candidates, neither.
        push(&mut announced, (4, HERE, 3, "porch"), false);
        assert_eq!(found(&announced, &current, false), None);
    }
}
