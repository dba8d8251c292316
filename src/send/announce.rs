//! The thread that keeps every stream's SDP true: in the file of `--sdp`, and in the announcements (SAP, RFC 2974) that it sends
//! on the interface that the stream takes. One for all streams; their own threads tell it what has changed, and never wait for it.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{debug, warn};

use super::commands::commands;
use super::description::{self, Description, Facts};
use super::stream::StreamStats;
use crate::clock::Mono;
use crate::config::Stream;
use crate::host;
use crate::net::{BatchSender, Interface, Listener, SendOptions, SendSocket, interface};
use crate::rtp::sap::{self, Directory, Heard, Packet, Schedule};

/// The first announcement waits so long for the first frame, which tells the size.
const FIRST_FRAME: Duration = Duration::from_millis(300);
/// After a network that was away the next try comes after this.
const RETRY: Duration = Duration::from_secs(1);
/// A stream whose facts change all the time is not described anew more often than this.
const CHANGE_PERIOD: Duration = Duration::from_secs(1);
/// How often the announcements of others are taken in.
const LISTEN_PERIOD: Duration = Duration::from_secs(1);
/// Deletions of one stream, and the wait between them: one may be lost.
const DELETIONS: u8 = 3;
const DELETION_WAIT: Duration = Duration::from_millis(60);

enum Message {
    Start(Box<Entry>),
    Facts(u64, Facts),
    Gone(u64),
}

/// The running thread.
pub(super) struct Announcer {
    messages: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
}

impl Announcer {
    /// Starts it. `tells`: whether it prints, once for each stream, the commands that watch it.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(tells: bool) -> Result<Announcer> {
        let (messages, received) = mpsc::channel();
        let worker = Worker {
            tells,
            entries: Vec::new(),
            others: Directory::default(),
        };
        let thread = std::thread::Builder::new()
            .name("lancam-announce".to_owned())
            .spawn(move || worker.run(&received))
            .context("a thread could not be started")?;
        Ok(Announcer { messages, thread })
    }

    /// For a stream's thread.
    pub(super) fn handle(&self) -> Handle {
        Handle(self.messages.clone())
    }

    /// Ends it, once every stream is taken back. The streams have ended before.
    pub(super) fn finish(self) {
        drop(self.messages);
        if self.thread.join().is_err() {
            warn!("a bug in lancam ended the announcements");
        }
    }
}

/// By which streams reach the [`Announcer`].
#[derive(Clone)]
pub(super) struct Handle(mpsc::Sender<Message>);

impl Handle {
    /// Begins to announce a stream; its SDP is left in `stats` too.
    pub(super) fn announce(&self, description: Description, stats: Arc<StreamStats>) -> Told {
        // Never used twice in one process.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = Entry::new(id, description, stats);
        // Sending fails only where the thread has ended by a bug, which `finish` tells.
        let _ = self.0.send(Message::Start(Box::new(entry)));
        Told {
            id,
            messages: self.0.clone(),
            facts: Facts::default(),
        }
    }
}

/// What a stream's thread has told of itself. Dropped, the stream is taken back.
pub(super) struct Told {
    id: u64,
    messages: mpsc::Sender<Message>,
    facts: Facts,
}

impl Told {
    /// Tells `facts` if they have changed; else it costs a comparison.
    pub(super) fn tell(&mut self, facts: Facts) {
        if facts == self.facts {
            return;
        }
        self.facts = facts;
        let _ = self.messages.send(Message::Facts(self.id, facts));
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Gone(self.id));
    }
}

/// One stream.
struct Entry {
    id: u64,
    description: Description,
    stats: Arc<StreamStats>,
    facts: Facts,
    has_told: bool,
    schedule: Schedule,
    due: Mono,
    /// When it was last described or announced.
    acted: Option<Mono>,
    out: Option<Out>,
    /// The announcement as it was sent last.
    packet: Vec<u8>,
    /// It is over, and so many deletions are still to be sent.
    leaving: Option<u8>,
}

/// Where its announcements leave, and where others' are heard.
struct Out {
    sender: BatchSender,
    interface: Interface,
    /// `None`: the port is taken by a program that does not share it.
    listener: Option<Listener>,
}

struct Worker {
    tells: bool,
    entries: Vec<Entry>,
    /// What is announced in the same groups, own streams among it where they are looped back.
    others: Directory,
}

impl Worker {
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
                    // There is nothing left to be woken by, but perhaps a deletion to be sent.
                    std::thread::sleep(due.map_or(Duration::ZERO, |due| due.since(now)));
                }
            }
            let now = Mono::now();
            if now >= listen_at {
                listen_at = now + LISTEN_PERIOD;
                self.listen(now);
            }
            let own: usize = self.entries.iter().map(|e| e.packet.len()).sum();
            let bytes = own + self.others_bytes();
            let tells = self.tells;
            for entry in self.entries.iter_mut().filter(|e| e.due <= now) {
                entry.act(now, bytes, tells);
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
            Message::Facts(id, facts) => {
                if let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) {
                    entry.facts = facts;
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
        let outs = self.entries.iter_mut().filter_map(|e| e.out.as_mut());
        for listener in outs.filter_map(|out| out.listener.as_mut()) {
            let heard = listener.receive(Duration::ZERO, |interface, from, datagram| {
                self.others.push(now, from.ip(), interface, datagram);
            });
            if let Err(error) = heard {
                debug!("announcements of others are not heard: {error}");
            }
        }
        self.others.expire(now);
    }

    /// Bytes of all announcements but this process's.
    fn others_bytes(&self) -> usize {
        let is_own = |heard: &&Arc<Heard>| {
            let own = self.entries.iter().map(|e| &e.description);
            own.into_iter()
                .any(|d| heard.origin() == d.origin() && heard.stream.addr == d.stream().group)
        };
        let all = self.others.streams().iter();
        all.filter(|heard| !is_own(heard)).map(|h| h.bytes()).sum()
    }
}

impl Entry {
    fn new(id: u64, description: Description, stats: Arc<StreamStats>) -> Entry {
        let entry = Entry {
            id,
            description,
            stats,
            facts: Facts::default(),
            has_told: false,
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

    /// What is due: an announcement or a deletion. `bytes` is the size of all announcements on the network.
    fn act(&mut self, now: Mono, bytes: usize, tells: bool) {
        if let Some(left) = self.leaving {
            self.leaving = Some(self.take_back(left));
            self.due = now + DELETION_WAIT;
            return;
        }
        self.acted = Some(now);
        let interface = self.interface();
        self.describe(interface.as_ref());
        if tells && !std::mem::replace(&mut self.has_told, true) {
            tell_commands(&self.description);
        }
        let sent = interface.and_then(|interface| self.announce(&interface));
        self.due = now
            + match sent {
                None => {
                    self.out = None;
                    self.schedule.restart();
                    RETRY
                }
                Some(()) => self.schedule.next(bytes, host::random() as u32),
            };
    }

    /// The interface that the stream takes; `None`: it is away.
    fn interface(&self) -> Option<Interface> {
        let stream = self.description.stream();
        let found = interface::choose(stream.interface.as_deref(), stream.group);
        found.map_err(|error| debug!("{error}")).ok()
    }

    /// Makes the description true, and leaves it where it is looked for.
    fn describe(&mut self, interface: Option<&Interface>) {
        let is_ipv6 = self.description.stream().group.is_ipv6();
        let before = self.description.origin();
        let origin = interface.map_or(before, |i| description::origin(i, is_ipv6));
        if !self.description.update(self.facts, origin) {
            return;
        }
        self.schedule.restart();
        self.stats.sdp.set(self.description.sdp().to_owned());
        if let Err(error) = self.description.write_file() {
            warn!("{error:#}");
        }
    }

    /// Sends the announcement. `None`: it could not be sent.
    fn announce(&mut self, interface: &Interface) -> Option<()> {
        let stream = self.description.stream();
        let Some(group) = sap::group_for(stream.group.ip()).filter(|_| stream.announce) else {
            return Some(());
        };
        if self
            .out
            .as_ref()
            .is_none_or(|out| out.interface != *interface)
        {
            let out = Out::open(stream, group, interface).map_err(|error| debug!("{error:#}"));
            self.out = Some(out.ok()?);
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

    fn send(&mut self) -> Option<()> {
        let sender = &mut self.out.as_mut()?.sender;
        let sent = sender.send_datagrams([self.packet.as_slice()]);
        sent.map(|_| ()).map_err(|error| debug!("{error}")).ok()
    }

    /// Sends a deletion; gives how many are left.
    fn take_back(&mut self, left: u8) -> u8 {
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
            // Who cannot have the stream needs no announcement of it. RFC 2974 §3.
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

/// Prints how to watch a stream, in one piece.
fn tell_commands(description: &Description) {
    let stream = description.stream();
    let mut text = format!("\nwatch {:?} with\n", stream.name);
    for (player, command) in commands(stream, description.size(), description.sdp()) {
        text += &format!("  {player:<10} {command}\n");
    }
    // Lost output is no loss.
    let _ = std::io::stderr().write_all((text + "\n").as_bytes());
}
