//! The receiving thread: sockets → depacketizer and repair → mailbox. It never waits for decoder or
//! disk, or the socket's buffer would overflow.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::recording::RecordingInput;
use super::rtcp::Link;
use super::shared::Shared;
use super::sockets::Sockets;
use super::wanted::Wanted;
use crate::clock::Mono;
use crate::display::arriving::{Arriving, Progress};
use crate::display::lobby::Lobby;
use crate::mailbox::Mailbox;
use crate::net::{MAX_WAIT, ReceiveSocket};
use crate::rtp::repair::{NackGenerator, RepairPacket};
use crate::rtp::source::{Cause, SourceChange};
use crate::rtp::{
    Depacketizer, Event, FrameBuffer, OtherFormat, ReceivedFrame, RepairDecoder, SeqNo,
};
use crate::stats::State;

/// How often to check interface and membership.
const REFRESH: Duration = Duration::from_secs(1);
/// Pause before reopening a socket that failed.
const RETRY: Duration = Duration::from_millis(500);
/// A sender silent for this long is reported.
const LOST: Duration = Duration::from_secs(2);
/// How many later packets prove a missing one lost while repair comes, which follows its frame:
/// more than the two sockets can be apart.
const REPAIR_REORDER: u16 = 256;

/// What the thread owns besides its socket.
pub(super) struct Receiver {
    pub(super) shared: Arc<Shared>,
    /// To the RTCP thread.
    pub(super) link: Arc<Link>,
    /// The stream as currently received; [`Shared::wanted`] may be newer.
    pub(super) wanted: Arc<Wanted>,
    /// Whether retransmission of lost packets is requested.
    pub(super) retransmit: bool,
    /// Where the window takes frames from; `None` if headless: each frame counts as shown.
    pub(super) mailbox: Option<Arc<Mailbox<FrameBuffer>>>,
    /// Where the window takes what has come of the next frame from.
    pub(super) arriving: Option<(Arc<Arriving>, Progress)>,
    pub(super) recording: Option<RecordingInput>,
    /// If headless, stop after this many frames.
    pub(super) frames: Option<u64>,
    /// Where the window learns which frames are those of the stream that is meant.
    pub(super) lobby: Arc<Lobby>,
    /// Messages for the window.
    pub(super) messages: SyncSender<String>,
}

impl Receiver {
    /// Receives until the viewer ends.
    pub(super) fn run(mut self, socket: ReceiveSocket) {
        let mut depacketizer = self.depacketizer();
        let mut recovery = Recovery {
            repair: RepairDecoder::new(Arc::clone(&self.shared.stats)),
            nacks: self.retransmit.then(NackGenerator::new),
        };
        let mut interface = socket.interface().index;
        let mut sockets = Some(Sockets::new(socket, self.wanted.repair()));
        let mut signal = Signal::default();
        let mut refresh_at = Mono::now() + REFRESH;
        while !self.shared.is_over() {
            let Some(open) = &mut sockets else {
                std::thread::sleep(RETRY);
                self.take_up(&mut depacketizer, &mut signal);
                sockets = self.open(interface);
                continue;
            };
            if let Err(error) = self.receive(open, &mut depacketizer, &mut recovery, &mut signal) {
                warn!(
                    "cannot receive from {}: {error}; trying again",
                    self.wanted.receive.group
                );
                interface = open.interface();
                sockets = None;
                continue;
            }
            let now = Mono::now();
            let said_bye = self
                .link
                .bye()
                .is_some_and(|gone| depacketizer.ssrc() == Some(gone));
            signal.check(now, self.wanted.receive.group, said_bye, &self.shared);
            if now >= refresh_at {
                refresh_at = now + REFRESH;
                if let Some((from, what)) = depacketizer.take_other() {
                    self.tell_of_other(now, &mut signal, from, what);
                }
                open.refresh(self.shared.is_streaming());
                interface = open.interface();
            } else if !self.lobby.is_closed() {
                continue;
            }
            if self.take_up(&mut depacketizer, &mut signal) {
                sockets = self.open(interface);
            }
        }
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
    }

    fn depacketizer(&self) -> Depacketizer {
        Depacketizer::new(self.wanted.options.clone(), Arc::clone(&self.shared.stats))
    }

    fn open(&self, interface: u32) -> Option<Sockets> {
        let socket = ReceiveSocket::open_on(&self.wanted.receive, Some(interface)).ok()?;
        Some(Sockets::new(socket, self.wanted.repair()))
    }

    /// Applies a changed announcement, or the user's choice of another stream; returns whether it
    /// calls for other sockets.
    fn take_up(&mut self, depacketizer: &mut Depacketizer, signal: &mut Signal) -> bool {
        let wanted = self.shared.wanted.get();
        if Arc::ptr_eq(&wanted, &self.wanted) {
            return false;
        }
        let before = std::mem::replace(&mut self.wanted, wanted);
        let is_elsewhere =
            before.receive != self.wanted.receive || before.repair() != self.wanted.repair();
        let is_another = before.choice != self.wanted.choice;
        match is_elsewhere || is_another {
            true => *depacketizer = self.depacketizer(),
            false => depacketizer.set_options(self.wanted.options.clone()),
        }
        if is_another {
            *signal = Signal::default();
            self.shared.state.set(State::Waiting);
            self.lobby.open(FrameBuffer::next_number());
        }
        is_elsewhere
    }

    /// Waits for packets and takes all that have arrived.
    fn receive(
        &mut self,
        sockets: &mut Sockets,
        depacketizer: &mut Depacketizer,
        recovery: &mut Recovery,
        signal: &mut Signal,
    ) -> io::Result<()> {
        let now = Mono::now();
        sockets.follow(now, depacketizer.ssrc());
        depacketizer.set_reorder(match sockets.expects_parity(now) {
            true => REPAIR_REORDER,
            false => self.wanted.options.reorder,
        });
        let wait = depacketizer
            .deadline()
            .map_or(MAX_WAIT, |at| at.since(now).min(MAX_WAIT));
        let wait = wait.min(recovery.wait(now));
        let ready = sockets.wait(now, wait)?;
        if let Some(wait) = ready.media {
            let batch = sockets.media.receive(Some(wait))?;
            let now = Mono::now();
            // The RTCP thread has checked its address.
            if let (Some(gone), Some(address)) = (self.link.bye(), depacketizer.address()) {
                depacketizer.bye(address, gone);
            }
            for (from, datagram) in batch.datagrams() {
                depacketizer.push(now, from.ip(), datagram);
                recovery.repair.packets_came(now, depacketizer);
                // Drained at once: a batch may hold several frames.
                self.drain(depacketizer, now, signal);
            }
            if let Some(reception) = depacketizer.reception() {
                self.link.publish(&reception);
            }
            // Repair comes last, so that no packet is rebuilt that is only unread.
            if batch.is_full() {
                self.show_arriving(depacketizer);
                return Ok(());
            }
        }
        if ready.repair {
            let now = Mono::now();
            let (mut has_parity, mut has_retransmission) = (false, false);
            sockets.read_repair(|from, datagram| {
                match recovery.repair.push(now, from, datagram, depacketizer) {
                    RepairPacket::Invalid => {}
                    RepairPacket::Parity => has_parity = true,
                    RepairPacket::Retransmission(seq) => {
                        has_retransmission = true;
                        recovery.retransmitted(now, seq);
                    }
                }
                self.drain(depacketizer, now, signal);
            });
            if has_parity {
                sockets.received_parity(now);
            }
            if has_retransmission {
                sockets.expect_answers(now);
            }
        }
        let now = Mono::now();
        self.drain(depacketizer, now, signal);
        self.show_arriving(depacketizer);
        self.ask(now, sockets, depacketizer, recovery);
        Ok(())
    }

    /// Lets the window decode what has come of the next frame.
    fn show_arriving(&mut self, depacketizer: &mut Depacketizer) {
        let (Some(mailbox), Some((slot, progress))) = (&self.mailbox, &mut self.arriving) else {
            return;
        };
        let Some((number, picture)) = depacketizer.arriving() else {
            return;
        };
        if slot.offer(progress, number, &picture) {
            mailbox.nudge();
        }
    }

    /// Requests what is missing and cannot be repaired.
    fn ask(
        &self,
        now: Mono,
        sockets: &mut Sockets,
        frames: &mut Depacketizer,
        recovery: &mut Recovery,
    ) {
        let (Some(nacks), Some(ssrc)) = (&mut recovery.nacks, frames.ssrc()) else {
            return;
        };
        let repair = sockets.receives_parity(now).then_some(&recovery.repair);
        let missing = nacks.update(now, frames, repair);
        if !missing.is_empty() {
            self.link.ask_for(now, ssrc, missing.iter().copied());
            sockets.expect_answers(now);
        }
        frames.set_retransmission(nacks.is_answered(now));
    }

    fn drain(&mut self, depacketizer: &mut Depacketizer, now: Mono, signal: &mut Signal) {
        while let Some(event) = depacketizer.poll(now) {
            match event {
                Event::Frame(ReceivedFrame::Jpeg(frame)) => {
                    signal.frame(now, self.wanted.receive.group, &self.shared);
                    let picture = frame.picture();
                    self.shared.format.note(&picture);
                    let preview = &self.shared.preview;
                    preview.offer(frame.first_arrival(), &picture, None);
                    if let Some(used) = self.hand_on(frame) {
                        depacketizer.recycle(used);
                    }
                    self.reclaim(depacketizer);
                }
                Event::Partial(ReceivedFrame::Jpeg(frame)) => {
                    signal.frame(now, self.wanted.receive.group, &self.shared);
                    if let Some(used) = self.hand_on_part(frame) {
                        depacketizer.recycle(used);
                    }
                    self.reclaim(depacketizer);
                }
                Event::Lost(lost) => tracing::trace!(?lost, "frame given up"),
                Event::Source(change) => self.tell_of_source(&change),
                Event::OtherSource { address, .. } => self.tell(format!(
                    "a second sender, at {address}, uses the same group; it is ignored"
                )),
            }
        }
    }

    /// Passes a whole frame to the recorder and the window; returns a used buffer.
    fn hand_on(&mut self, frame: Box<FrameBuffer>) -> Option<Box<FrameBuffer>> {
        if self.shared.is_over() {
            return Some(frame);
        }
        if let Some(recording) = &mut self.recording {
            recording.put(&frame);
        }
        let stats = &self.shared.stats;
        let Some(mailbox) = &self.mailbox else {
            stats.frames_shown.add(1);
            self.record_delay(&frame);
            if self.frames.is_some_and(|n| stats.frames_shown.get() >= n) {
                self.shared.finish();
            }
            return Some(frame);
        };
        self.put(mailbox, frame)
    }

    /// Passes a frame with gaps to the window, which fills and counts it. Recordings keep whole
    /// frames only.
    fn hand_on_part(&self, frame: Box<FrameBuffer>) -> Option<Box<FrameBuffer>> {
        if self.shared.is_over() {
            return Some(frame);
        }
        let Some(mailbox) = &self.mailbox else {
            self.shared.stats.frames_partial.add(1);
            return Some(frame);
        };
        self.put(mailbox, frame)
    }

    /// Leaves a frame for the window, and counts the one it displaces.
    fn put(
        &self,
        mailbox: &Mailbox<FrameBuffer>,
        frame: Box<FrameBuffer>,
    ) -> Option<Box<FrameBuffer>> {
        let displaced = mailbox.put(frame)?;
        match displaced.is_whole() {
            true => self.shared.stats.frames_skipped.add(1),
            false => self.shared.stats.frames_lost.add(1),
        }
        Some(displaced)
    }

    fn record_delay(&self, frame: &FrameBuffer) {
        let Some(captured) = frame.captured() else {
            return;
        };
        self.shared.delay.record_since(captured, SystemTime::now());
    }

    fn reclaim(&self, depacketizer: &mut Depacketizer) {
        let Some(mailbox) = &self.mailbox else { return };
        while let Some(used) = mailbox.reclaim() {
            depacketizer.recycle(used);
        }
    }

    /// Reports what arrives in place of frames, once until frames arrive.
    fn tell_of_other(&self, now: Mono, signal: &mut Signal, from: IpAddr, what: OtherFormat) {
        if signal.has_frames(now) || std::mem::replace(&mut signal.is_other, true) {
            return;
        }
        let group = self.wanted.receive.group;
        let text = format!(
            "{from} sends {what} to {group}, which lancam cannot show: only RTP/JPEG (payload type 26, RFC 2435)"
        );
        self.shared.state.set(State::NoSignal(text.clone()));
        self.tell(text);
    }

    fn tell_of_source(&self, change: &SourceChange) {
        tracing::debug!("the source is {:08x} at {}", change.ssrc.0, change.address);
        let text = sentence(change);
        match change.cause {
            // In the window the picture says it.
            Cause::First => info!("{text}"),
            _ => self.tell(text),
        }
    }

    fn tell(&self, text: String) {
        info!("{text}");
        // A window with eight messages to show needs no ninth.
        let _ = self.messages.try_send(text);
    }
}

fn sentence(change: &SourceChange) -> String {
    let address = change.address;
    match change.cause {
        Cause::First => format!("receiving from {address}"),
        Cause::Silence => format!("the sender is silent; now receiving from {address}"),
        Cause::Bye => format!("the sender has stopped; now receiving from {address}"),
        Cause::Restart => format!("the sender at {address} has restarted"),
        Cause::Move => format!("the sender is now at {address}"),
        Cause::Announced => format!("switched to the announced sender at {address}"),
        Cause::Return => format!("the sender is back; receiving from {address} again"),
    }
}

/// Recovers lost packets.
struct Recovery {
    repair: RepairDecoder,
    /// `None`: do not request retransmission.
    nacks: Option<NackGenerator>,
}

impl Recovery {
    /// How long until there may be something to request.
    fn wait(&self, now: Mono) -> Duration {
        let deadline = self.nacks.as_ref().and_then(NackGenerator::deadline);
        deadline.map_or(MAX_WAIT, |at| at.since(now))
    }

    fn retransmitted(&mut self, now: Mono, seq: SeqNo) {
        if let Some(nacks) = &mut self.nacks {
            nacks.retransmitted(now, seq);
        }
    }
}

/// Whether frames arrive, for the log and the status page; the window shows it itself.
#[derive(Default)]
struct Signal {
    last: Option<Mono>,
    is_lost: bool,
    /// Something else arrived instead, and was reported.
    is_other: bool,
    /// The sender said so after its last frame.
    said_bye: bool,
}

impl Signal {
    fn frame(&mut self, now: Mono, group: SocketAddr, shared: &Shared) {
        let is_first = self.last.replace(now).is_none();
        let is_back = std::mem::take(&mut self.is_lost);
        self.is_other = false;
        self.said_bye = false;
        if is_first || is_back {
            shared.state.set(State::Streaming);
        }
        if is_back {
            info!("receiving {group} again");
        }
    }

    fn has_frames(&self, now: Mono) -> bool {
        self.last.is_some_and(|last| now.since(last) <= LOST)
    }

    fn check(&mut self, now: Mono, group: SocketAddr, said_bye: bool, shared: &Shared) {
        self.said_bye |= said_bye;
        let is_quiet = self.last.is_some() && !self.has_frames(now);
        if is_quiet && !std::mem::replace(&mut self.is_lost, true) {
            warn!("no frames from {group} for {} s", LOST.as_secs());
            let why = match self.said_bye {
                true => "the sender has stopped".to_owned(),
                false => format!("no packets from {group}"),
            };
            shared.state.set(State::NoSignal(why));
        }
    }
}
