//! A viewer's end of RTCP: its reports about the sender that it follows, and what senders say. Datagrams, facts and
//! times in, datagrams out. Which packets are worth asking for again is not its business.

use std::net::SocketAddr;
use std::time::Duration;

use super::session::{Due, Session};
use super::wire::{self, Compound, Description, FrameReport, Item, NotRtcp, ReportBlock};
use super::{in_65536ths, middle};
use crate::clock::Mono;
use crate::rtp::jpeg::Reception;
use crate::rtp::{SeqNo, Ssrc};

/// Senders whose last report is remembered.
const MAX_SENDERS: usize = 8;
/// A change of loss is worth a report of its own from this on, as a share of the packets …
const LEAST_CHANGE: f64 = 0.01;
/// … and of the loss reported last.
const LEAST_PART: f64 = 0.25;
/// Bytes of a stream that begins are taken to be those of this time.
const FRAME: Duration = Duration::from_millis(50);
/// Fewer packets say nothing about a share.
const LEAST_PACKETS: u64 = 50;

/// What the viewer's other threads know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Reception of the sender that is followed.
    pub reception: Option<Reception>,
    /// Its frames; `media` is not looked at.
    pub frames: FrameReport,
    /// UDP payload received since the start.
    pub bytes: u64,
}

/// The last report of a sender.
#[derive(Clone, Copy, Debug)]
struct SenderHeard {
    ssrc: Ssrc,
    /// Where from.
    address: SocketAddr,
    /// Middle of its NTP time, and when it came.
    report: Option<(u32, Mono)>,
    heard: Mono,
}

/// What the last report said, from which the next one counts.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    ssrc: Ssrc,
    expected: u64,
    received: u64,
    /// `None`: nothing was told of this sender yet.
    fraction: Option<f64>,
    frames_lost: u32,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where to, if to one alone; `None`: the group.
    pub to: Option<SocketAddr>,
}

/// One viewer's reports.
#[derive(Debug)]
pub struct ViewerSide {
    session: Session,
    description: Description,
    senders: Vec<SenderHeard>,
    facts: Facts,
    counted_at: Mono,
    /// Bytes a second, as the session was told.
    bandwidth: f64,
    told: Told,
    /// Feedback was asked for that everybody is to hear.
    wants_report: bool,
    missing: Vec<SeqNo>,
}

impl ViewerSide {
    /// A viewer that calls itself `own`.
    pub fn new(own: Ssrc, description: Description, seed: u64, now: Mono) -> ViewerSide {
        ViewerSide {
            session: Session::new(own, seed, now),
            description,
            senders: Vec::new(),
            facts: Facts::default(),
            counted_at: now,
            bandwidth: 0.0,
            told: Told::default(),
            wants_report: false,
            missing: Vec::new(),
        }
    }

    /// Takes a datagram; `bye` is told who left.
    ///
    /// # Errors
    /// If it is no RTCP.
    pub fn receive(
        &mut self,
        now: Mono,
        address: SocketAddr,
        datagram: &[u8],
        mut bye: impl FnMut(Ssrc),
    ) -> Result<(), NotRtcp> {
        let items = wire::parse(datagram)?;
        let own = self.session.own();
        if matches!(items[0], Item::Sender { from, .. } | Item::Receiver { from } if from == own) {
            return Ok(());
        }
        self.session.received(datagram.len());
        for item in items {
            match item {
                Item::Sender { from, info } => {
                    self.session.heard_sender(now, from);
                    self.note(SenderHeard {
                        ssrc: from,
                        address,
                        report: Some((middle(info.ntp), now)),
                        heard: now,
                    });
                }
                Item::Receiver { from } => {
                    self.session.heard(now, from);
                }
                Item::Bye { from } => {
                    self.session.heard_bye(now, from);
                    self.senders.retain(|s| s.ssrc != from);
                    bye(from);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps the newest report of a few senders.
    fn note(&mut self, heard: SenderHeard) {
        self.senders.retain(|s| s.ssrc != heard.ssrc);
        if self.senders.len() == MAX_SENDERS {
            let oldest = (0..MAX_SENDERS).min_by_key(|&i| self.senders[i].heard);
            self.senders.swap_remove(oldest.unwrap_or(0));
        }
        self.senders.push(heard);
    }

    /// What is known at `now`; to be called some times a second. A loss that changed is reported early.
    pub fn update(&mut self, now: Mono, facts: Facts) {
        self.count(now, &facts);
        if let Some(reception) = facts.reception {
            let before = self.facts.reception;
            if before.is_none_or(|b| b.ssrc != reception.ssrc || b.received < reception.received) {
                self.session.heard_sender(now, reception.ssrc);
            }
            self.follow(&reception);
        }
        self.facts = Facts {
            bytes: self.facts.bytes,
            // It may be under way from the other thread just now.
            reception: facts.reception.or(self.facts.reception),
            ..facts
        };
        if self.has_changed() {
            self.request_report(now);
        }
    }

    /// Tells the session its bandwidth: once a second, and as soon as a stream begins or grows much, or feedback would be
    /// held back by what was there before.
    fn count(&mut self, now: Mono, facts: &Facts) {
        let time = now.since(self.counted_at);
        let bytes = facts.bytes.saturating_sub(self.facts.bytes) as f64;
        let begins = facts.reception.map(|r| r.ssrc) != self.facts.reception.map(|r| r.ssrc);
        // A frame comes in a burst.
        let rate = match begins {
            true => bytes / FRAME.as_secs_f64(),
            false => bytes / time.max(FRAME).as_secs_f64(),
        };
        let is_over = time >= Duration::from_secs(1);
        if is_over || rate > self.bandwidth * 2.0 {
            self.session.set_bandwidth(rate);
            self.bandwidth = rate;
        }
        if is_over || begins {
            self.counted_at = now;
            self.facts.bytes = facts.bytes;
            self.session.expire(now);
        }
    }

    /// With another sender the counts begin anew.
    fn follow(&mut self, reception: &Reception) {
        if self.told.ssrc != reception.ssrc || self.told.received > reception.received {
            self.told = Told {
                ssrc: reception.ssrc,
                frames_lost: self.told.frames_lost,
                ..Told::default()
            };
        }
    }

    /// Packets lost as a share of those sent since the last report, before repair. RFC 3550 §A.3.
    fn fraction(&self) -> Option<f64> {
        let now = self.facts.reception?;
        let expected = now.expected.saturating_sub(self.told.expected);
        let received = now.received.saturating_sub(self.told.received);
        (expected > 0).then(|| expected.saturating_sub(received) as f64 / expected as f64)
    }

    fn has_changed(&self) -> bool {
        let Some(reception) = self.facts.reception else {
            return false;
        };
        if reception.expected.saturating_sub(self.told.expected) < LEAST_PACKETS {
            return false;
        }
        let (Some(now), Some(before)) = (self.fraction(), self.told.fraction) else {
            return true;
        };
        (now - before).abs() >= LEAST_CHANGE.max(before * LEAST_PART)
            || self.facts.frames.lost > self.told.frames_lost
    }

    /// A report as soon as the rules allow, for everybody to hear.
    fn request_report(&mut self, now: Mono) {
        self.wants_report = true;
        self.session.request_feedback(now);
    }

    /// Asks the sender that is followed for packets again, as soon as the rules allow: alone by a datagram to its
    /// address, if that is known, or with the next report, together with what was asked for and not sent yet.
    pub fn request_packets(&mut self, now: Mono, missing: &[SeqNo]) {
        for seq in missing {
            if self.missing.len() < wire::MAX_NACKED && !self.missing.contains(seq) {
                self.missing.push(*seq);
            }
        }
        if !self.missing.is_empty() {
            self.session.request_feedback(now);
        }
    }

    /// The datagram that is due at `now`; call it again until there is none. After [`ViewerSide::leave`] the last one is
    /// the goodbye.
    pub fn poll(&mut self, now: Mono) -> Option<(Due, Outgoing)> {
        let due = self.session.poll(now)?;
        let is_for_all = due != Due::Feedback || self.wants_report;
        // RFC 3550 §6.4: about a sender "from which this receiver has received RTP data packets since the last report".
        let block = (self.facts.reception)
            .filter(|r| is_for_all && r.received != self.told.received)
            .map(|reception| self.block(now, &reception));
        let media = self.facts.reception.map(|r| r.ssrc);
        let bytes = Compound {
            from: self.session.own(),
            info: None,
            block,
            description: &self.description,
            frames: block.map(|block| FrameReport {
                media: block.ssrc,
                ..self.facts.frames
            }),
            nack: (media.filter(|_| !self.missing.is_empty())).map(|m| (m, &self.missing[..])),
            bye: due == Due::Bye,
        }
        .to_bytes();
        self.missing.clear();
        if is_for_all {
            self.wants_report = false;
            self.tell();
        }
        self.session.sent(now, due, bytes.len());
        let to = (!is_for_all).then(|| self.address_of_sender()).flatten();
        Some((due, Outgoing { bytes, to }))
    }

    fn block(&self, now: Mono, reception: &Reception) -> ReportBlock {
        let (last_sr, since) = (self.senders.iter())
            .find(|s| s.ssrc == reception.ssrc)
            .and_then(|s| s.report)
            .map_or((0, 0), |(ntp, at)| (ntp, in_65536ths(now.since(at))));
        // RFC 3550 §A.3: clamped to 24 bits.
        let lost = reception.lost().min(0x7f_ffff) as i32;
        ReportBlock {
            ssrc: reception.ssrc,
            fraction_lost: (self.fraction().unwrap_or(0.0) * 256.0).min(255.0) as u8,
            lost,
            highest: reception.highest,
            jitter: reception.jitter,
            last_sr,
            since_last_sr: since,
        }
    }

    fn tell(&mut self) {
        let Some(reception) = self.facts.reception else {
            return;
        };
        self.told = Told {
            ssrc: reception.ssrc,
            fraction: self.fraction().or(self.told.fraction),
            expected: reception.expected,
            received: reception.received,
            frames_lost: self.facts.frames.lost,
        };
    }

    /// Where reports of the sender that is followed come from; of the one heard last, if none is followed yet.
    pub fn address_of_sender(&self) -> Option<SocketAddr> {
        let followed = self.facts.reception.map(|r| r.ssrc);
        let known = self
            .senders
            .iter()
            .filter(|s| followed.is_none_or(|f| f == s.ssrc));
        known.max_by_key(|s| s.heard).map(|s| s.address)
    }

    /// The sender that is followed.
    pub fn followed(&self) -> Option<Ssrc> {
        self.facts.reception.map(|r| r.ssrc)
    }

    /// Wishes to say goodbye; false if there is nothing to say. See [`Session::leave`].
    pub fn leave(&mut self, now: Mono) -> bool {
        // A receiver report with its block, the description, and the goodbye.
        self.session.leave(now, 32 + 80 + 8)
    }

    /// When [`ViewerSide::poll`] has something at the latest.
    pub fn deadline(&self) -> Mono {
        self.session.deadline()
    }

    /// Members of the session, this viewer included.
    pub fn members(&self) -> usize {
        self.session.members()
    }
}
