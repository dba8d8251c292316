//! The receiving thread: sockets → depacketizer and repair → mailbox. It never waits for a decoder or a disk, or the
//! socket's buffer would overflow.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::Shared;
use super::reports::Link;
use super::sockets::Sockets;
use super::tape::Inlet;
use crate::clock::Mono;
use crate::net::{MAX_WAIT, ReceiveOptions, ReceiveSocket};
use crate::rtp::jpeg::{Depacketizer, Event, FrameBuffer, Options, SenderChange, Why};
use crate::rtp::repair::{Asker, Heard};
use crate::rtp::{RepairDecoder, SeqNo};
use crate::stats::State;
use crate::viewer::mailbox::Mailbox;

/// How often interface and membership are looked at.
const REFRESH: Duration = Duration::from_secs(1);
/// Pause before a socket that failed is made anew.
const RETRY: Duration = Duration::from_millis(500);
/// A sender that is quiet for this long is told about.
const LOST: Duration = Duration::from_secs(2);
/// Packets of later frames that prove a missing one lost while repair comes, which comes behind its frame:
/// more than the two sockets can be apart.
const REPAIR_REORDER: u16 = 256;

/// What the thread owns besides its socket.
pub(super) struct Receiver {
    pub(super) shared: Arc<Shared>,
    /// To the thread of the reports.
    pub(super) link: Arc<Link>,
    pub(super) wanted: ReceiveOptions,
    /// The same for repair packets; `None`: there is no such port.
    pub(super) wanted_repair: Option<ReceiveOptions>,
    pub(super) options: Options,
    /// Whether lost packets are asked for again.
    pub(super) retransmit: bool,
    /// Where the window takes frames from; `None`: headless, each frame counts as shown.
    pub(super) mailbox: Option<Arc<Mailbox<FrameBuffer>>>,
    pub(super) tape: Option<Inlet>,
    /// Headless: ends after this many frames.
    pub(super) frames: Option<u64>,
    /// Sentences for the window.
    pub(super) messages: SyncSender<String>,
}

impl Receiver {
    /// Receives until the viewer ends.
    pub(super) fn run(mut self, socket: ReceiveSocket) {
        let mut depacketizer =
            Depacketizer::new(self.options.clone(), Arc::clone(&self.shared.stats));
        let mut mending = Mending {
            repair: RepairDecoder::new(Arc::clone(&self.shared.stats)),
            asker: self.retransmit.then(Asker::new),
        };
        let mut sockets = Some(Sockets::new(socket, self.wanted_repair.clone()));
        let mut signal = Signal::default();
        let mut refresh_at = Mono::now() + REFRESH;
        while !self.shared.is_over() {
            let Some(open) = &mut sockets else {
                std::thread::sleep(RETRY);
                sockets = ReceiveSocket::open(&self.wanted)
                    .ok()
                    .map(|socket| Sockets::new(socket, self.wanted_repair.clone()));
                continue;
            };
            if let Err(error) = self.receive(open, &mut depacketizer, &mut mending, &mut signal) {
                warn!(
                    "cannot receive from {}: {error}; trying again",
                    self.wanted.group
                );
                sockets = None;
                continue;
            }
            let now = Mono::now();
            signal.check(now, &self.wanted, &self.shared);
            if now >= refresh_at {
                refresh_at = now + REFRESH;
                open.refresh();
            }
        }
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
    }

    /// Waits for packets and takes all that are there.
    fn receive(
        &mut self,
        sockets: &mut Sockets,
        depacketizer: &mut Depacketizer,
        mending: &mut Mending,
        signal: &mut Signal,
    ) -> io::Result<()> {
        let now = Mono::now();
        sockets.follow(now, depacketizer.ssrc());
        depacketizer.set_reorder(match sockets.expects_parity(now) {
            true => REPAIR_REORDER,
            false => self.options.reorder,
        });
        let wait = depacketizer
            .deadline()
            .map_or(MAX_WAIT, |at| at.since(now).min(MAX_WAIT));
        let wait = wait.min(mending.wait(now));
        let ready = sockets.wait(now, wait)?;
        if let Some(wait) = ready.media {
            let batch = sockets.media.receive(Some(wait))?;
            let now = Mono::now();
            if let Some(gone) = self.link.bye() {
                depacketizer.bye(gone);
            }
            for (_, datagram) in batch.datagrams() {
                depacketizer.push(now, datagram);
                mending.repair.packets_came(now, depacketizer);
                // Drained at once: a batch may hold several frames.
                self.drain(depacketizer, now, signal);
            }
            if let Some(reception) = depacketizer.reception() {
                self.link.publish(&reception);
            }
            // Repair comes last: nothing is rebuilt that is here and was not read yet.
            if batch.is_full() {
                return Ok(());
            }
        }
        if ready.repair {
            let (now, mut heard) = (Mono::now(), (false, false));
            sockets.read_repair(|datagram| {
                match mending.repair.push(now, datagram, depacketizer) {
                    Heard::Nothing => {}
                    Heard::Parity => heard.0 = true,
                    Heard::Again(seq) => {
                        heard.1 = true;
                        mending.came(now, seq);
                    }
                }
                self.drain(depacketizer, now, signal);
            });
            if heard.0 {
                sockets.heard_parity(now);
            }
            if heard.1 {
                sockets.expect_answers(now);
            }
        }
        let now = Mono::now();
        self.drain(depacketizer, now, signal);
        self.ask(now, sockets, depacketizer, mending);
        Ok(())
    }

    /// Asks for what is missing and cannot be repaired.
    fn ask(
        &self,
        now: Mono,
        sockets: &mut Sockets,
        frames: &mut Depacketizer,
        mending: &mut Mending,
    ) {
        let (Some(asker), Some(ssrc)) = (&mut mending.asker, frames.ssrc()) else {
            return;
        };
        let repair = sockets.hears_parity(now).then_some(&mending.repair);
        let missing = asker.update(now, frames, repair);
        if !missing.is_empty() {
            self.link.ask_for(now, ssrc, missing.iter().copied());
            sockets.expect_answers(now);
        }
        frames.set_asking(asker.is_answered(now));
    }

    fn drain(&mut self, depacketizer: &mut Depacketizer, now: Mono, signal: &mut Signal) {
        while let Some(event) = depacketizer.poll(now) {
            match event {
                Event::Frame(frame) => {
                    signal.frame(now, &self.wanted, &self.shared);
                    self.shared.format.note(&frame.picture());
                    let preview = &self.shared.preview;
                    preview.offer(|out| out.extend_from_slice(frame.jpeg()));
                    if let Some(used) = self.hand_on(frame) {
                        depacketizer.recycle(used);
                    }
                    self.reclaim(depacketizer);
                }
                Event::Partial(frame) => {
                    signal.frame(now, &self.wanted, &self.shared);
                    if let Some(used) = self.hand_on_part(frame) {
                        depacketizer.recycle(used);
                    }
                    self.reclaim(depacketizer);
                }
                Event::Lost(lost) => tracing::trace!(?lost, "frame given up"),
                Event::Sender(change) => self.tell(sentence(&change)),
                Event::OtherSender { ssrc, packets } => self.tell(format!(
                    "a second sender ({:08x}) is in this group, {packets} of its packets were ignored",
                    ssrc.0
                )),
            }
        }
    }

    /// Gives a whole frame to the recorder and the window; returns a buffer that is free again.
    fn hand_on(&mut self, frame: Box<FrameBuffer>) -> Option<Box<FrameBuffer>> {
        if self.shared.is_over() {
            return Some(frame);
        }
        if let Some(tape) = &mut self.tape {
            tape.put(&frame);
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

    /// Gives a frame with gaps to the window, which fills and counts it. Recordings keep whole frames only.
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

    /// Leaves a frame for the window, and counts the one that was still there.
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

    fn tell(&self, text: String) {
        info!("{text}");
        // A window that has eight sentences to show needs no ninth.
        let _ = self.messages.try_send(text);
    }
}

fn sentence(change: &SenderChange) -> String {
    let ssrc = change.ssrc.0;
    match change.why {
        Why::First => format!("receiving from sender {ssrc:08x}"),
        Why::Silence => format!("the sender fell silent, following {ssrc:08x}"),
        Why::Bye => format!("the sender said goodbye, following {ssrc:08x}"),
        Why::Restart => format!("sender {ssrc:08x} began again"),
    }
}

/// What brings lost packets back.
struct Mending {
    repair: RepairDecoder,
    /// `None`: nobody is asked.
    asker: Option<Asker>,
}

impl Mending {
    /// The time after which there may be something to ask for.
    fn wait(&self, now: Mono) -> Duration {
        let deadline = self.asker.as_ref().and_then(Asker::deadline);
        deadline.map_or(MAX_WAIT, |at| at.since(now))
    }

    fn came(&mut self, now: Mono, seq: SeqNo) {
        if let Some(asker) = &mut self.asker {
            asker.came(now, seq);
        }
    }
}

/// Whether frames come, for the log and the status page; the window tells it on the picture.
#[derive(Default)]
struct Signal {
    last: Option<Mono>,
    is_lost: bool,
}

impl Signal {
    fn frame(&mut self, now: Mono, wanted: &ReceiveOptions, shared: &Shared) {
        let is_first = self.last.replace(now).is_none();
        let is_back = std::mem::take(&mut self.is_lost);
        if is_first || is_back {
            shared.state.set(State::Streaming);
        }
        if is_back {
            info!("{} is back", wanted.group);
        }
    }

    fn check(&mut self, now: Mono, wanted: &ReceiveOptions, shared: &Shared) {
        let is_quiet = self.last.is_some_and(|last| now.since(last) > LOST);
        if is_quiet && !std::mem::replace(&mut self.is_lost, true) {
            warn!("no frames from {} for {} s", wanted.group, LOST.as_secs());
            let why = format!("nothing comes from {}", wanted.group);
            shared.state.set(State::NoSignal(why));
        }
    }
}
