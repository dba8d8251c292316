//! Finds the stream to watch among those announced: by name, or the only one there is. Where
//! several are meant that is an error here; [`super::choose`] asks the user instead.
//! [`super::follow`] keeps track of the stream afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tracing::{debug, info};

use super::wanted::{self, Wanted};
use crate::announced::{Announced, can_show};
use crate::config::DEFAULT_GROUP;
use crate::dns_sd::Browser;
use crate::net::{ReceiveOptions, ReceiveSocket, has_datagram};
use crate::players::by_rtsp;
use crate::rtp::sap::{Directory, Listing};

/// Every lancam stream is announced once within this time.
pub(super) const ANNOUNCED: Duration = Duration::from_secs(3);
/// The same, and the longer time where many hosts announce.
const SETTLED: (Duration, Duration) = (ANNOUNCED, Duration::from_secs(5));
/// Other senders take this long: ffmpeg announces every 5 s.
pub(crate) const LONGEST: Duration = Duration::from_secs(6);
/// How often to log what is being waited for.
const TELL_PERIOD: Duration = Duration::from_secs(5);
/// Streams named in one message.
const MOST_LISTED: usize = 8;
/// Characters of a name in such a list.
const NAME_SHOWN: usize = 40;
/// How often signals are checked.
pub(super) const TICK: Duration = Duration::from_millis(20);

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
    let mut search = Search::by_name(name, interface)?;
    while !is_over() {
        search.listen()?;
        match search.sight()? {
            Sight::One(one) => return search.found(&one).map(Some),
            Sight::Several => return Err(search.which()),
            Sight::Nothing | Sight::DefaultGroup(_) => {}
        }
        search.tell();
    }
    Ok(None)
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
    let mut search = match Search::any(interface)? {
        Begun::Search(search) => *search,
        Begun::Found(found) => return Ok(Some(*found)),
    };
    while search.waited() < LONGEST && !is_over() {
        search.listen()?;
        match search.sight()? {
            Sight::DefaultGroup(found) => return Ok(Some(search.by_packets(*found))),
            Sight::One(one) => return search.found(&one).map(Some),
            Sight::Several if search.is_settled => return Err(search.which()),
            Sight::Several | Sight::Nothing => {}
        }
    }
    if is_over() {
        return Ok(None);
    }
    debug!("no stream is announced that can be shown");
    Ok(search.default_group())
}

/// What is looked for.
enum Wish {
    Name(String),
    /// Any stream; the socket is in the default group.
    Any {
        interface: Option<String>,
        socket: Option<Box<ReceiveSocket>>,
    },
}

/// How a search for any stream begins.
pub(super) enum Begun {
    Search(Box<Search>),
    /// Announcements cannot be received, so there is nothing to look for.
    Found(Box<Found>),
}

/// What a [`Search`] has come to.
pub(super) enum Sight {
    Nothing,
    /// Packets come to the default group: it is shown, whatever else there is.
    DefaultGroup(Box<Found>),
    /// There is one, and it is known that there is no other.
    One(Arc<Listing>),
    /// There are several.
    Several,
}

/// Looks at announcements until it is known which stream is meant.
pub(super) struct Search {
    wish: Wish,
    announced: Announced,
    /// To say so where the name is that of something else.
    services: Option<Browser>,
    started: Instant,
    tell_at: Instant,
    /// Whether all streams have been announced once.
    pub(super) is_settled: bool,
    /// Those that may be meant.
    candidates: Vec<Arc<Listing>>,
}

impl Search {
    /// For the stream called `name`.
    ///
    /// # Errors
    /// Announcements cannot be received.
    pub(super) fn by_name(name: &str, interface: Option<&str>) -> Result<Search> {
        let wish = Wish::Name(name.to_owned());
        let mut search = Search::new(wish, Announced::open(interface)?);
        search.services = Browser::open(interface).ok();
        Ok(search)
    }

    /// For any stream.
    ///
    /// # Errors
    /// Nothing at all can be received.
    pub(super) fn any(interface: Option<&str>) -> Result<Begun> {
        let mut options = ReceiveOptions::new(DEFAULT_GROUP);
        options.interface = interface.map(str::to_owned);
        let socket = Some(Box::new(ReceiveSocket::open(&options)?));
        Ok(match Announced::open(interface) {
            Ok(announced) => {
                let interface = options.interface;
                let wish = Wish::Any { interface, socket };
                Begun::Search(Box::new(Search::new(wish, announced)))
            }
            Err(error) => {
                info!("{error:#}; only {DEFAULT_GROUP} is looked at");
                Begun::Found(Box::new(Found::in_default_group(socket)))
            }
        })
    }

    fn new(wish: Wish, announced: Announced) -> Search {
        let started = Instant::now();
        Search {
            wish,
            announced,
            services: None,
            started,
            tell_at: started + SETTLED.0,
            is_settled: false,
            candidates: Vec::new(),
        }
    }

    /// Takes the announcements that come within a moment.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub(super) fn listen(&mut self) -> Result<()> {
        let changes = self.announced.receive(TICK)?;
        if let Some(services) = &mut self.services {
            services.receive().context("cannot look for services")?;
        }
        let longest = self.directory().longest_interval();
        let is_settled = self.waited() >= longest.clamp(SETTLED.0, SETTLED.1);
        if !changes.is_empty() || is_settled != self.is_settled {
            self.is_settled = is_settled;
            self.candidates = match &self.wish {
                Wish::Name(name) => self.directory().find(name, is_settled),
                Wish::Any { .. } => shown(self.directory().streams()),
            };
        }
        Ok(())
    }

    /// What is known now.
    ///
    /// # Errors
    /// The kernel refused to look for packets, or the stream in the default group cannot be shown.
    pub(super) fn sight(&mut self) -> Result<Sight> {
        if let Wish::Any { interface, socket } = &mut self.wish {
            let has_packets = match socket {
                Some(socket) => has_datagram(socket).context("cannot wait for packets")?,
                None => false,
            };
            if has_packets {
                let wanted = in_default_group(&self.announced, interface.as_deref())?;
                return Ok(Sight::DefaultGroup(Box::new(Found {
                    socket: socket.take().map(|open| *open),
                    ..Found::from(wanted)
                })));
            }
        }
        Ok(match self.candidates.as_slice() {
            [] => Sight::Nothing,
            [one] if self.is_settled || self.has_address(one) => Sight::One(Arc::clone(one)),
            [_] => Sight::Nothing,
            _ => Sight::Several,
        })
    }

    /// Whether the name is `NAME@ADDRESS`.
    fn has_address(&self, listing: &Listing) -> bool {
        let Wish::Name(name) = &self.wish else {
            return false;
        };
        let address = name.rsplit_once('@').map(|(_, address)| address.parse());
        address == Some(Ok(listing.from))
    }

    /// How long it has gone on.
    pub(super) fn waited(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn directory(&self) -> &Directory {
        self.announced.directory()
    }

    /// Those that may be meant and can be shown here.
    pub(super) fn choices(&self) -> Vec<Arc<Listing>> {
        shown(&self.candidates)
    }

    /// That the user must say which of several streams is meant.
    pub(super) fn which(&self) -> anyhow::Error {
        let (count, which) = (self.candidates.len(), choice(&self.candidates));
        match &self.wish {
            Wish::Name(name) => anyhow!("{count} streams match {name:?}, say which: {which}"),
            Wish::Any { .. } => anyhow!("{count} streams are announced, say which: {which}"),
        }
    }

    /// Logs now and then what is waited for.
    pub(super) fn tell(&mut self) {
        let Wish::Name(name) = &self.wish else {
            return;
        };
        if Instant::now() < self.tell_at {
            return;
        }
        self.tell_at += TELL_PERIOD;
        let present = present(self.directory());
        let present = present.unwrap_or_else(|| "none is announced here".to_owned());
        info!("waiting for a stream called {name:?}; {present}");
        if let Some(url) = self.served_by_rtsp(name) {
            let command = by_rtsp(&url);
            info!(
                "{name:?} is served by RTSP, which lancam does not play; watch it with: {command}"
            );
        }
    }

    /// Where something called `name` is served by RTSP.
    fn served_by_rtsp(&self, name: &str) -> Option<String> {
        let mut services = self.services.as_ref()?.directory().services();
        services.find(|service| service.is_called(name))?.url()
    }

    /// The stream of this announcement is watched: by the name that was looked for, else by its
    /// own.
    ///
    /// # Errors
    /// It cannot be shown.
    pub(super) fn found(self, listing: &Arc<Listing>) -> Result<Found> {
        let name = match &self.wish {
            Wish::Name(name) if self.candidates.as_slice() == [Arc::clone(listing)] => name.clone(),
            _ => own_name(listing, self.directory()),
        };
        let wanted = wanted::announced(listing, self.directory())?;
        info!(
            "{:?} is announced by {}: {}",
            wanted.name, listing.from, wanted.receive.group
        );
        let listing = Arc::clone(listing);
        Ok(Found {
            by: By::Announcement { name, listing },
            announced: Some(self.announced),
            ..Found::from(wanted)
        })
    }

    /// A stream that was found by its packets; its name may be announced later.
    pub(super) fn by_packets(self, found: Found) -> Found {
        Found {
            by: By::Packets,
            announced: Some(self.announced),
            ..found
        }
    }

    /// Whatever comes to the default group is watched; `None` if that is not what is looked for.
    fn default_group(self) -> Option<Found> {
        match self.wish {
            Wish::Name(_) => None,
            Wish::Any { socket, .. } => Some(Found::in_default_group(socket)),
        }
    }
}

/// How the stream was found.
#[derive(Debug)]
pub(super) enum By {
    /// The user gave its address.
    User,
    /// Packets came to the default group.
    Packets,
    /// It is announced, under the name that the user asked for, or its new one if it was renamed
    /// since.
    Announcement { name: String, listing: Arc<Listing> },
}

/// The stream to watch.
pub(crate) struct Found {
    pub(crate) wanted: Wanted,
    /// Its socket, if already open.
    pub(crate) socket: Option<ReceiveSocket>,
    pub(super) by: By,
    /// What has been announced so far, if that was listened to.
    pub(super) announced: Option<Announced>,
}

impl Found {
    /// Whatever comes to the default group.
    fn in_default_group(socket: Option<Box<ReceiveSocket>>) -> Found {
        Found {
            socket: socket.map(|open| *open),
            ..Found::from(Wanted::group(DEFAULT_GROUP))
        }
    }
}

impl From<Wanted> for Found {
    fn from(wanted: Wanted) -> Found {
        Found {
            wanted,
            socket: None,
            by: By::User,
            announced: None,
        }
    }
}

/// The name by which a stream can be found again; with its address where another has the same.
pub(super) fn own_name(listing: &Listing, directory: &Directory) -> String {
    let name = &listing.stream.name;
    let mut others = directory.streams().iter();
    match others.any(|o| o.stream.name == *name && !o.is_same(listing)) {
        true => format!("{name}@{}", listing.from),
        false => name.clone(),
    }
}

/// The streams that can be shown here.
pub(super) fn shown(streams: &[Arc<Listing>]) -> Vec<Arc<Listing>> {
    let is_shown = |l: &&Arc<Listing>| can_show(&l.stream).is_ok();
    streams.iter().filter(is_shown).cloned().collect()
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

/// The names that are announced; `None`: there are none.
pub(super) fn present(directory: &Directory) -> Option<String> {
    let streams = directory.streams().iter();
    let names: Vec<&str> = streams.map(|l| l.stream.name.as_str()).collect();
    named(&names).map(|names| format!("announced here: {names}"))
}

/// These names in a sentence; `None`: there are none.
pub(super) fn named(names: &[&str]) -> Option<String> {
    let short = |name: &str| name.chars().take(NAME_SHOWN).collect::<String>();
    let quoted = names.iter().map(|name| format!("{:?}", short(name)));
    (!names.is_empty()).then(|| some(quoted))
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
