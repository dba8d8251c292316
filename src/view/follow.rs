//! Keeps track of a stream found by name: when its announcement changes, its sender restarts in
//! another group, or another host takes over. It only reads announcements; the receiving thread
//! applies what they change.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::shared::Shared;
use super::wanted::{self, Wanted};
use crate::announced::Announced;
use crate::rtp::sap::{Directory, Listing};

/// How often to check whether the viewer is ending.
const TICK: Duration = Duration::from_millis(200);

/// The stream being watched, as announced.
pub(crate) struct Follower {
    /// The name the user asked for, or the stream's new name if it was renamed since.
    name: String,
    listing: Arc<Listing>,
    announced: Announced,
}

impl Follower {
    /// Follows the stream that `name` resolved to.
    pub(super) fn new(name: &str, listing: Arc<Listing>, announced: Announced) -> Follower {
        Follower {
            name: name.to_owned(),
            listing,
            announced,
        }
    }

    /// Runs until the viewer ends. `settle` applies the user's own settings.
    pub(super) fn run(mut self, shared: &Shared, settle: impl Fn(&mut Wanted)) {
        while !shared.is_over() {
            let changes = match self.announced.receive(TICK) {
                Ok(changes) => changes,
                Err(error) => {
                    warn!("{error:#}; a sender that moves is not followed");
                    return;
                }
            };
            let is_streaming = shared.is_streaming();
            if changes.is_empty() && is_streaming {
                continue;
            }
            let directory = self.announced.directory();
            if let Some(listing) = next(&self.listing, directory, &self.name, is_streaming) {
                if listing.stream.name != self.listing.stream.name {
                    self.name.clone_from(&listing.stream.name);
                }
                self.listing = listing;
            }
            match wanted::announced(&self.listing, directory) {
                Ok(mut wanted) => {
                    settle(&mut wanted);
                    offer(shared, wanted, &self.listing);
                }
                Err(error) => debug!("{error:#}"),
            }
        }
    }
}

/// Gives a stream that was found by its packets the name under which its group is announced, until the
/// viewer ends. If several are announced there, it keeps its address.
pub(super) fn name(mut announced: Announced, shared: &Shared, settle: impl Fn(&mut Wanted)) {
    while !shared.is_over() {
        match announced.receive(TICK) {
            Ok(changes) if changes.is_empty() => continue,
            Ok(_) => {}
            Err(error) => return debug!("{error:#}"),
        }
        let mut wanted = Wanted::clone(&shared.wanted.get());
        let streams = announced.directory().streams().iter();
        let mut here = streams.filter(|l| l.stream.addr == wanted.receive.group);
        let (Some(listing), None) = (here.next(), here.next()) else {
            continue;
        };
        wanted.name.clone_from(&listing.stream.name);
        settle(&mut wanted);
        offer(shared, wanted, listing);
    }
}

fn offer(shared: &Shared, wanted: Wanted, listing: &Listing) {
    let before = shared.wanted.get();
    if *before == wanted {
        return;
    }
    if (&before.name, before.receive.group) != (&wanted.name, wanted.receive.group) {
        info!(
            "{:?} is now {:?} at {}, announced by {}",
            before.name, wanted.name, wanted.receive.group, listing.from
        );
    }
    shared.wanted.set(Arc::new(wanted));
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
