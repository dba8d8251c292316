//! The thread that keeps every stream's SDP up to date: in the file of `--sdp`, and in the
//! announcements (SAP, RFC 2974) that it sends on the stream's interface. There is one for all
//! streams; their threads tell it what has changed and never wait for it. It also receives other
//! hosts' announcements, and warns if one takes a stream's name or group.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{debug, warn};

use super::description::{self, Description, MediaInfo, how_to_watch};
use super::shared::{Demand, StreamStats};
use crate::clock::Mono;
use crate::config::Stream;
use crate::host;
use crate::logging::Limit;
use crate::net::{
    BatchSender, Changes, GroupError, Interface, Listener, SendError, SendOptions, SendSocket,
    choice, is_network_down, thread,
};
use crate::players::rtsp_address;
use crate::rtp::sap::{self, Directory, Listing, Packet, Schedule};

/// The first announcement waits this long for the first frame, which tells the size.
const FIRST_FRAME: Duration = Duration::from_millis(300);
/// How long to wait before trying again while the network is down.
const RETRY: Duration = Duration::from_secs(1);
/// A stream whose format keeps changing is not described more often than this.
const CHANGE_PERIOD: Duration = Duration::from_secs(1);
/// How often other hosts' announcements are read.
const LISTEN_PERIOD: Duration = Duration::from_secs(1);
/// After its start a stream may move to another group for this long; later it would lose its
/// viewers.
const DISPLACEABLE: Duration = Duration::from_secs(10);
/// How many deletions to send for a stream, and the pause between them: one may be lost.
const DELETIONS: u8 = 3;
const DELETION_WAIT: Duration = Duration::from_millis(60);

enum Message {
    Start(Box<Entry>),
    MediaInfo(u64, MediaInfo),
    Gone(u64),
}

/// The running thread.
pub(super) struct Announcer {
    messages: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
}

impl Announcer {
    /// Starts it. `tell`: whether to print, once for each stream, how to watch it.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(tell: Tell) -> Result<Announcer> {
        let (messages, received) = mpsc::channel();
        let announcing = AnnounceThread {
            tell,
            entries: Vec::new(),
            others: Directory::default(),
            changes: Changes::new(),
        };
        let thread = std::thread::Builder::new()
            .name("lancam-announce".to_owned())
            .spawn(move || announcing.run(&received))
            .context("a thread could not be started")?;
        Ok(Announcer { messages, thread })
    }

    /// A handle for a stream's thread.
    pub(super) fn handle(&self) -> Handle {
        Handle(self.messages.clone())
    }

    /// Ends it once every announcement is deleted. The streams must have ended.
    pub(super) fn finish(self) {
        drop(self.messages);
        thread::join(self.thread);
    }
}

/// How streams reach the [`Announcer`].
#[derive(Clone)]
pub(super) struct Handle(mpsc::Sender<Message>);

impl Handle {
    /// Starts announcing a stream; its SDP is also stored in `stats`.
    pub(super) fn announce(
        &self,
        description: Description,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
    ) -> Publication {
        // Never reused within a process.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = Entry::new(id, description, stats, demand);
        // Sending fails only if a bug has ended the thread.
        let _ = self.0.send(Message::Start(Box::new(entry)));
        Publication {
            id,
            messages: self.0.clone(),
            media: MediaInfo::default(),
        }
    }
}

/// A stream's published description. It is withdrawn when dropped.
pub(super) struct Publication {
    id: u64,
    messages: mpsc::Sender<Message>,
    media: MediaInfo,
}

impl Publication {
    /// Publishes `media` if it has changed; otherwise this costs only a comparison.
    pub(super) fn update(&mut self, media: MediaInfo) {
        if media == self.media {
            return;
        }
        self.media = media;
        let _ = self.messages.send(Message::MediaInfo(self.id, media));
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Gone(self.id));
    }
}

/// One stream.
struct Entry {
    id: u64,
    description: Description,
    stats: Arc<StreamStats>,
    /// The interface that its packets leave by.
    demand: Arc<Demand>,
    media: MediaInfo,
    has_told: bool,
    has_complained: bool,
    name_warning: Limit,
    /// When it began.
    started: Mono,
    schedule: Schedule,
    due: Mono,
    /// When it was last described or announced.
    acted: Option<Mono>,
    out: Option<Out>,
    /// The last announcement sent.
    packet: Vec<u8>,
    /// The stream has ended; this many deletions remain to be sent.
    leaving: Option<u8>,
}

/// The sockets for sending and receiving announcements.
struct Out {
    sender: BatchSender,
    interface: Interface,
    /// `None`: the port is taken by a program that does not share it.
    listener: Option<Listener>,
}

struct AnnounceThread {
    tell: Tell,
    entries: Vec<Entry>,
    /// What is announced in the same groups, including our own streams if looped back.
    others: Directory,
    changes: Changes,
}

impl AnnounceThread {
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        let mut is_open = true;
        let mut listen_at = Mono::now() + LISTEN_PERIOD;
        while is_open || !self.entries.is_empty() {
            let now = Mono::now();
            let due = self.entries.iter().map(|e| e.due).min();
            let wait = due.map_or(LISTEN_PERIOD, |due| due.since(now).min(LISTEN_PERIOD));
            match messages.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    is_open = false;
                    // Nothing can wake this thread any more, but a deletion may be due.
                    std::thread::sleep(due.map_or(Duration::ZERO, |due| due.since(now)));
                }
            }
            let now = Mono::now();
            if now >= listen_at {
                listen_at = now + LISTEN_PERIOD;
                self.listen(now);
                let may_have_moved = self.changes.any();
                let moved = |e: &&mut Entry| e.has_moved(may_have_moved);
                self.entries
                    .iter_mut()
                    .filter(moved)
                    .for_each(|e| e.due = now);
            }
            if self.entries.iter().any(|e| e.due <= now) {
                let (interval, tell) = (self.interval(), self.tell);
                let due = self.entries.iter_mut().filter(|e| e.due <= now);
                due.for_each(|entry| entry.act(now, interval, tell));
            }
            self.entries.retain(|e| e.leaving != Some(0));
        }
    }

    fn take(&mut self, message: Message) {
        let now = Mono::now();
        match message {
            Message::Start(mut entry) => {
                entry.due = now + FIRST_FRAME;
                self.entries.push(*entry);
            }
            Message::MediaInfo(id, media) => {
                if let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) {
                    entry.media = media;
                    let soon = entry.acted.map_or(now, |at| (at + CHANGE_PERIOD).max(now));
                    entry.due = entry.due.min(soon);
                }
            }
            Message::Gone(id) => {
                if let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) {
                    entry.leaving = Some(DELETIONS);
                    entry.due = now;
                }
            }
        }
    }

    fn listen(&mut self, now: Mono) {
        let mut changed = Vec::new();
        let outs = self.entries.iter_mut().filter_map(|e| e.out.as_mut());
        for listener in outs.filter_map(|out| out.listener.as_mut()) {
            let result = listener.receive(Duration::ZERO, None, |interface, from, datagram| {
                changed.extend(self.others.push(now, from.ip(), &interface.name, datagram));
            });
            if let Err(error) = result {
                debug!("announcements of others cannot be received: {error}");
            }
        }
        self.others.expire(now);
        // Two senders on one host replace each other in the directory, so changes are checked too.
        let changed = changed.iter().map(|change| &change.listing);
        for listing in changed.chain(self.others.streams()) {
            if !self.entries.iter().any(|e| e.is_own(listing)) {
                self.entries
                    .iter_mut()
                    .for_each(|e| e.compare(now, listing));
            }
        }
    }

    /// The mean time between two announcements of each stream of this process.
    fn interval(&self) -> Duration {
        let bytes = self.entries.iter().map(|e| e.packet.len()).sum();
        let is_own = |host: &IpAddr| self.entries.iter().any(|e| e.description.origin() == *host);
        let hosts = self.others.hosts();
        sap::interval(bytes, 1 + hosts.keys().filter(|host| !is_own(host)).count())
    }
}

impl Entry {
    fn new(
        id: u64,
        description: Description,
        stats: Arc<StreamStats>,
        demand: Arc<Demand>,
    ) -> Entry {
        let entry = Entry {
            id,
            description,
            stats,
            demand,
            media: MediaInfo::default(),
            has_told: false,
            has_complained: false,
            name_warning: Limit::default(),
            started: Mono::now(),
            schedule: Schedule::default(),
            due: Mono(0),
            acted: None,
            out: None,
            packet: Vec::new(),
            leaving: None,
        };
        entry.stats.sdp.set(entry.description.sdp().to_owned());
        entry
    }

    fn is_own(&self, listing: &Listing) -> bool {
        listing.from == self.description.origin()
            && listing.stream.session == self.description.session()
    }

    /// Warns if another sender's stream has this one's name or group. A default group belongs to
    /// whoever had it first; both may have started at once, like boards on one switch, before
    /// either announced anything.
    fn compare(&mut self, now: Mono, other: &Listing) {
        let stream = self.description.stream();
        let (name, from) = (&other.stream.name, other.from);
        if other.stream.addr == stream.group {
            let is_new = now.since(self.started) < DISPLACEABLE && !stream.group_chosen;
            if is_new && other.stream.session < self.description.session() {
                return self.stats.displaced_by.set(Some(from));
            }
        }
        if other.stream.addr == stream.group && self.stats.warns_of_group(now) {
            warn!(
                "{from} also sends to {}, a stream called {name:?}: viewers of the group see only one of them; \
                 give one stream another group",
                stream.group
            );
        }
        if *name == stream.name && self.name_warning.passes(now) {
            let this = format!("{name}@{}", self.description.origin());
            warn!(
                "{from} also announces a stream called {name:?}: viewers must say which, this one is {this:?}"
            );
        }
    }

    /// Sends what is due: an announcement or a deletion. `interval`: see [`Schedule::next`].
    fn act(&mut self, now: Mono, interval: Duration, tell: Tell) {
        if let Some(left) = self.leaving {
            self.leaving = Some(self.delete(left));
            self.due = now + DELETION_WAIT;
            return;
        }
        self.acted = Some(now);
        let interface = self.interface();
        self.describe(interface.as_ref());
        if tell != Tell::Nothing && !std::mem::replace(&mut self.has_told, true) {
            tell_commands(&self.description, tell);
        }
        let sent = interface.map(|interface| self.announce(&interface));
        self.due = now
            + match sent {
                Some(Ok(())) => {
                    self.has_complained = false;
                    self.schedule.next(interval, host::random() as u32)
                }
                failed => {
                    if let Some(Err(error)) = failed {
                        self.complain(&error);
                    }
                    self.out = None;
                    self.schedule.restart();
                    RETRY
                }
            };
    }

    /// Logs once why it is not announced; the stream itself logs a missing network.
    fn complain(&mut self, error: &anyhow::Error) {
        let is_away = match error.downcast_ref::<SendError>() {
            Some(error) => is_network_down(&error.cause),
            None => matches!(error.downcast_ref(), Some(GroupError::Interface(_))),
        };
        match is_away || std::mem::replace(&mut self.has_complained, true) {
            true => debug!("{error:#}"),
            false => warn!(
                "{:?} is not announced at present: {error:#}",
                self.description.stream().name
            ),
        }
    }

    /// Whether it is announced on an interface, or with an address, that the stream no longer has.
    fn has_moved(&self, network_changed: bool) -> bool {
        self.out.as_ref().is_some_and(|out| {
            let is_other = self.demand.interface() != Some(out.interface.index);
            (is_other || network_changed) && self.interface().is_some_and(|i| i != out.interface)
        })
    }

    /// The interface that the stream uses; `None`: it is gone.
    fn interface(&self) -> Option<Interface> {
        let stream = self.description.stream();
        let named = stream.interface.as_deref();
        let found = choice::choose(named, stream.group, self.demand.interface());
        found.map_err(|error| debug!("{error}")).ok()
    }

    /// Updates the description and publishes it.
    fn describe(&mut self, interface: Option<&Interface>) {
        let is_ipv6 = self.description.stream().group.is_ipv6();
        let before = self.description.origin();
        let origin = interface.map_or(before, |i| description::origin(i, is_ipv6));
        if !self.description.update(self.media, origin) {
            return;
        }
        self.schedule.restart();
        self.stats.sdp.set(self.description.sdp().to_owned());
        if let Err(error) = self.description.write_file() {
            warn!("{error:#}");
        }
    }

    /// Sends the announcement.
    fn announce(&mut self, interface: &Interface) -> Result<()> {
        let stream = self.description.stream();
        let Some(group) = sap::group_for(stream.group.ip()).filter(|_| stream.announce) else {
            return Ok(());
        };
        if self
            .out
            .as_ref()
            .is_none_or(|out| out.interface != *interface)
        {
            self.out = Some(Out::open(stream, group, interface)?);
            self.schedule.restart();
        }
        self.write_packet(false);
        self.send()
    }

    fn write_packet(&mut self, is_deletion: bool) {
        let sdp = self.description.sdp();
        // RFC 2974 §4: a deletion carries the `o=` line of what it deletes, under the same hash.
        let line = sdp.lines().find(|line| line.starts_with("o="));
        let payload = match is_deletion {
            true => format!("{}\r\n", line.unwrap_or_default()),
            false => sdp.to_owned(),
        };
        Packet {
            is_deletion,
            hash: sap::hash(sdp.as_bytes()),
            origin: self.description.origin(),
            sdp: payload.as_bytes(),
        }
        .write(&mut self.packet);
    }

    fn send(&mut self) -> Result<()> {
        if let Some(out) = &mut self.out {
            out.sender.send_datagrams([self.packet.as_slice()])?;
        }
        Ok(())
    }

    /// Sends a deletion; returns how many are left.
    fn delete(&mut self, left: u8) -> u8 {
        if self.packet.is_empty() || left == 0 {
            return 0;
        }
        self.write_packet(true);
        self.send().map_or(0, |()| left - 1)
    }
}

impl Out {
    fn open(stream: &Stream, group: std::net::SocketAddr, interface: &Interface) -> Result<Out> {
        let socket = SendSocket::open(&SendOptions {
            group,
            interface: Some(interface.name.clone()),
            // A host outside the stream's reach needs no announcement of it. RFC 2974 §3.
            ttl: stream.ttl,
            loopback: stream.loopback,
            dscp: 0,
        })?;
        let name = Some(interface.name.as_str());
        let groups = [group.ip()];
        let listener = Listener::open(sap::PORT, &groups, name, sap::MAX_LEN);
        Ok(Out {
            sender: BatchSender::new(socket),
            interface: interface.clone(),
            listener: listener.map_err(|error| debug!("{error}")).ok(),
        })
    }
}

/// Whether to print how to watch the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Print the commands, once.
    Commands {
        /// Where RTSP is served, if it is.
        rtsp: Option<SocketAddr>,
    },
    /// Print nothing.
    Nothing,
}

/// Prints how to watch a stream, in one piece.
fn tell_commands(description: &Description, tell: Tell) {
    let stream = description.stream();
    let mut text = format!("\nwatch {:?} with\n", stream.name);
    if let Tell::Commands { rtsp: Some(listen) } = tell {
        let host = match listen.ip() {
            any if any.is_unspecified() => description.origin(),
            only => only,
        };
        let address = rtsp_address(host, listen.port(), &stream.name);
        text += &format!("  {:<10} {address}\n", "any player");
    }
    for watch in how_to_watch(stream, description.size(), description.sdp()) {
        text += &format!("  {:<10} {}\n", watch.player, watch.command);
    }
    // A failure does no harm.
    let _ = std::io::stderr().write_all((text + "\n").as_bytes());
}
