//! A viewer's end of RTCP: its reports about the source that it follows, and the senders' reports.
//! In: datagrams, counts and times; out: datagrams. Which packets are worth a NACK is decided
//! elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::session::Session;
use super::time::{in_65536ths, middle};
use super::timing::Due;
use super::wire::{self, Compound, Description, FrameReport, Item, NotRtcp, ReportBlock};
use crate::clock::Mono;
use crate::rtp::reception::Reception;
use crate::rtp::types::{SeqNo, Ssrc};

/// Senders whose last report is remembered.
const MAX_SENDERS: usize = 8;
/// A change of loss is reported early if it is at least this share of the packets …
const LEAST_CHANGE: f64 = 0.01;
/// … and this share of the loss last reported.
const LEAST_PART: f64 = 0.25;
/// The first bytes of a stream count as sent over this time.
const FRAME: Duration = Duration::from_millis(50);
/// Fewer packets are not enough to compute a share.
const LEAST_PACKETS: u64 = 50;

/// What the viewer's other threads have counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Reception of the source that is followed.
    pub reception: Option<Reception>,
    /// Its frames; `media` is ignored.
    pub frames: FrameReport,
    /// UDP payload received since the start.
    pub bytes: u64,
}

/// The last SR of a sender.
#[derive(Clone, Copy, Debug)]
struct LastReport {
    ssrc: Ssrc,
    /// Where from.
    address: SocketAddr,
    /// Middle of its NTP time.
    ntp: u32,
    /// When it came.
    at: Mono,
}

impl LastReport {
    fn is_of(&self, ssrc: Ssrc, address: IpAddr) -> bool {
        (self.ssrc, self.address.ip()) == (ssrc, address)
    }
}

/// The last report, which the next one counts from.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    ssrc: Ssrc,
    expected: u64,
    received: u64,
    /// `None`: this source has not been reported on yet.
    fraction: Option<f64>,
    frames_lost: u32,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The one member to send it to; `None`: the group.
    pub to: Option<SocketAddr>,
}

/// One viewer's reports.
#[derive(Debug)]
pub struct ViewerSide {
    session: Session,
    description: Description,
    senders: Vec<LastReport>,
    counts: Counts,
    counted_at: Mono,
    /// The session's bandwidth in bytes a second.
    bandwidth: f64,
    reported: Reported,
    /// Feedback for all members is due.
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
            counts: Counts::default(),
            counted_at: now,
            bandwidth: 0.0,
            reported: Reported::default(),
            wants_report: false,
            missing: Vec::new(),
        }
    }

    /// Takes a datagram. What it says in the name of the source `followed` counts only if it comes
    /// from the same address (RFC 3550 §8.2); returns how much was ignored because it did not.
    ///
    /// # Errors
    /// If it is not RTCP.
    pub fn receive(
        &mut self,
        now: Mono,
        address: SocketAddr,
        datagram: &[u8],
        followed: Option<&Reception>,
        mut bye: impl FnMut(Ssrc),
    ) -> Result<u64, NotRtcp> {
        let items = wire::parse(datagram)?;
        let own = self.session.own();
        if matches!(items[0], Item::Sender { from, .. } | Item::Receiver { from } if from == own) {
            return Ok(0);
        }
        self.session.received(datagram.len());
        let mut foreign = 0;
        for item in items {
            match item {
                Item::Sender { from, .. } | Item::Bye { from }
                    if followed.is_some_and(|f| f.ssrc == from && f.address != address.ip()) =>
                {
                    foreign += 1;
                }
                Item::Sender { from, info } => {
                    self.session.sender_active(now, from, Some(address.ip()));
                    self.keep(LastReport {
                        ssrc: from,
                        address,
                        ntp: middle(info.ntp),
                        at: now,
                    });
                }
                Item::Receiver { from } => {
                    self.session.member_active(now, from, address.ip());
                }
                Item::Bye { from } => {
                    self.session.bye_received(now, from, address.ip());
                    self.senders.retain(|s| !s.is_of(from, address.ip()));
                    if followed.is_some_and(|f| f.ssrc == from) {
                        bye(from);
                    }
                }
                Item::Block { from, block } if followed.is_some_and(|f| f.ssrc == block.ssrc) => {
                    self.session.receives(from, address.ip());
                }
                _ => {}
            }
        }
        Ok(foreign)
    }

    /// Keeps the newest SR of a few senders.
    fn keep(&mut self, report: LastReport) {
        let is_same = |s: &LastReport| s.is_of(report.ssrc, report.address.ip());
        self.senders.retain(|s| !is_same(s));
        if self.senders.len() == MAX_SENDERS {
            // The followed source's SR stays, whatever others send.
            let rank = |s: &LastReport| (self.is_followed(s), s.at);
            let oldest = (0..MAX_SENDERS).min_by_key(|&i| rank(&self.senders[i]));
            self.senders.swap_remove(oldest.unwrap_or(0));
        }
        self.senders.push(report);
    }

    /// Takes the counts at `now`; call it a few times a second. A change of loss is reported early.
    pub fn update(&mut self, now: Mono, counts: Counts) {
        self.count(now, &counts);
        if let Some(reception) = counts.reception {
            let before = self.counts.reception;
            if before.is_none_or(|b| b.ssrc != reception.ssrc || b.received < reception.received) {
                self.session.sender_active(now, reception.ssrc, None);
            }
            self.follow(&reception);
        }
        self.counts = Counts {
            bytes: self.counts.bytes,
            // It may be under way from the other thread just now.
            reception: counts.reception.or(self.counts.reception),
            ..counts
        };
        if self.has_changed() {
            self.request_report(now);
        }
    }

    /// Updates the session's bandwidth: once a second, and as soon as a stream begins or grows
    /// much, so that the old value does not hold back feedback.
    fn count(&mut self, now: Mono, counts: &Counts) {
        let time = now.since(self.counted_at);
        let bytes = counts.bytes.saturating_sub(self.counts.bytes) as f64;
        let begins = counts.reception.map(|r| r.ssrc) != self.counts.reception.map(|r| r.ssrc);
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
            self.counts.bytes = counts.bytes;
            self.session.expire(now);
        }
    }

    /// The counts restart with a new sender.
    fn follow(&mut self, reception: &Reception) {
        if self.reported.ssrc != reception.ssrc || self.reported.received > reception.received {
            self.reported = Reported {
                ssrc: reception.ssrc,
                frames_lost: self.reported.frames_lost,
                ..Reported::default()
            };
        }
    }

    /// Packets lost as a share of those sent since the last report, before repair. RFC 3550 §A.3.
    fn fraction(&self) -> Option<f64> {
        let now = self.counts.reception?;
        let expected = now.expected.saturating_sub(self.reported.expected);
        let received = now.received.saturating_sub(self.reported.received);
        (expected > 0).then(|| expected.saturating_sub(received) as f64 / expected as f64)
    }

    fn has_changed(&self) -> bool {
        let Some(reception) = self.counts.reception else {
            return false;
        };
        if reception.expected.saturating_sub(self.reported.expected) < LEAST_PACKETS {
            return false;
        }
        let (Some(now), Some(before)) = (self.fraction(), self.reported.fraction) else {
            return true;
        };
        (now - before).abs() >= LEAST_CHANGE.max(before * LEAST_PART)
            || self.counts.frames.lost > self.reported.frames_lost
    }

    /// Requests a report to all members as soon as the rules allow.
    fn request_report(&mut self, now: Mono) {
        self.wants_report = true;
        self.session.request_feedback(now);
    }

    /// Sends a NACK to the source that is followed as soon as the rules allow: by a datagram of its
    /// own to its address, if that is known, or with the next report, together with what was
    /// requested and not sent yet.
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

    /// The datagram that is due at `now`; call it again until there is none. After
    /// [`ViewerSide::leave`] the last one is BYE.
    pub fn poll(&mut self, now: Mono) -> Option<(Due, Outgoing)> {
        let due = self.session.poll(now)?;
        let is_for_all = due != Due::Feedback || self.wants_report;
        // RFC 3550 §6.4: about a sender "from which this receiver has received RTP data packets
        // since the last report".
        let block = (self.counts.reception)
            .filter(|r| is_for_all && r.received != self.reported.received)
            .map(|reception| self.block(now, &reception));
        let media = self.counts.reception.map(|r| r.ssrc);
        let bytes = Compound {
            from: self.session.own(),
            info: None,
            block,
            description: &self.description,
            frames: block.map(|block| FrameReport {
                media: block.ssrc,
                ..self.counts.frames
            }),
            nack: (media.filter(|_| !self.missing.is_empty())).map(|m| (m, &self.missing[..])),
            bye: due == Due::Bye,
        }
        .to_bytes();
        self.missing.clear();
        if is_for_all {
            self.wants_report = false;
            self.note_reported();
        }
        self.session.sent(now, due, bytes.len());
        let to = (!is_for_all).then(|| self.address_of_sender()).flatten();
        Some((due, Outgoing { bytes, to }))
    }

    fn block(&self, now: Mono, reception: &Reception) -> ReportBlock {
        let (last_sr, since) = (self.senders.iter())
            .find(|s| s.is_of(reception.ssrc, reception.address))
            .map_or((0, 0), |s| (s.ntp, in_65536ths(now.since(s.at))));
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

    fn note_reported(&mut self) {
        let Some(reception) = self.counts.reception else {
            return;
        };
        self.reported = Reported {
            ssrc: reception.ssrc,
            fraction: self.fraction().or(self.reported.fraction),
            expected: reception.expected,
            received: reception.received,
            frames_lost: self.counts.frames.lost,
        };
    }

    /// Where the SRs of the followed source come from; if none is followed yet, the last SR of any.
    pub fn address_of_sender(&self) -> Option<SocketAddr> {
        let is_none = self.counts.reception.is_none();
        let known = (self.senders.iter()).filter(|s| is_none || self.is_followed(s));
        known.max_by_key(|s| s.at).map(|s| s.address)
    }

    fn is_followed(&self, report: &LastReport) -> bool {
        (self.counts.reception).is_some_and(|r| report.is_of(r.ssrc, r.address))
    }

    /// The source that is followed.
    pub fn followed(&self) -> Option<Ssrc> {
        self.counts.reception.map(|r| r.ssrc)
    }

    /// Starts leaving; false if there is nothing to send. See [`Session::leave`].
    pub fn leave(&mut self, now: Mono) -> bool {
        // A receiver report with its block, the description, and the goodbye.
        self.session.leave(now, 32 + 80 + 8)
    }

    /// The latest time at which [`ViewerSide::poll`] has something.
    pub fn deadline(&self) -> Mono {
        self.session.deadline()
    }

    /// Members of the session, this viewer included.
    pub fn members(&self) -> usize {
        self.session.members()
    }
}
