//! Which packets a viewer asks the sender to retransmit, and when (generic NACK, RFC 4585 §6.2.1).
//! In: frames and a time; out: sequence numbers. No socket, no clock. How soon a NACK may go out is
//! RTCP's business.
//!
//! Without parity a packet is requested as soon as enough others have overtaken it, or after a
//! moment. Parity has its chance first; then only as many packets are requested as it lacks.
//! Packets that arrive meanwhile, because another viewer requested them, are not requested.
//!
//! # Memory
//! At most 512 numbers.

use std::time::Duration;

use super::RepairDecoder;
use crate::clock::Mono;
use crate::rtp::depacketizer::{Depacketizer, IncompleteFrame};
use crate::rtp::types::{SeqNo, Ssrc};

/// Most missing packets tracked, and requested at a time.
const MAX_MISSING: usize = 512;
/// A packet that this many others have overtaken is requested, …
const OVERTAKEN: u64 = 8;
/// … or one that has been missing for this long.
const REORDERING: Duration = Duration::from_millis(1);
/// A frame without its end, of which nothing came for this part of the frame interval, has lost it:
/// bursts of a paced frame are closer together. What the sender has not sent yet it cannot
/// retransmit either.
const QUIET_PART: u32 = 8;
const QUIET: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));
/// How many packets after the newest are requested then, if their number is not known.
const UNKNOWN_END: u64 = 8;
/// Assumed time of a retransmission before one has come, and bounds on when a request is repeated.
const RESPONSE: Duration = Duration::from_millis(3);
const RETRY: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(30));
/// A sender that has ignored this many NACKs does not retransmit, or cannot be reached yet: it is
/// asked …
const UNANSWERED: u32 = 100;
/// … only this often, until it does.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long after a retransmission the sender counts as retransmitting.
const ANSWERS_FOR: Duration = Duration::from_secs(2);

/// A packet that is missing.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// Extended number.
    ext: u64,
    /// When it was found missing.
    since: Mono,
    /// When it was requested last, and how often in all.
    requested: Option<Mono>,
    requests: u8,
}

/// Decides what to request.
#[derive(Debug)]
pub struct NackGenerator {
    ssrc: Option<Ssrc>,
    /// In order of their numbers.
    missing: Vec<Missing>,
    before: Vec<Missing>,
    requests: Vec<SeqNo>,
    deadline: Option<Mono>,
    /// How long retransmissions take, smoothed, and when the last came.
    response: Duration,
    answered: Option<Mono>,
    /// NACKs since then, and when the last was.
    unanswered: u32,
    last_nack: Option<Mono>,
}

impl Default for NackGenerator {
    fn default() -> NackGenerator {
        NackGenerator::new()
    }
}

impl NackGenerator {
    /// A generator with nothing missing yet.
    pub fn new() -> NackGenerator {
        NackGenerator {
            ssrc: None,
            missing: Vec::with_capacity(MAX_MISSING),
            before: Vec::with_capacity(MAX_MISSING),
            requests: Vec::with_capacity(MAX_MISSING),
            deadline: None,
            response: RESPONSE,
            answered: None,
            unanswered: 0,
            last_nack: None,
        }
    }

    /// What to request now; nothing most of the time. `repair`: the parity that waits, where parity
    /// comes. Call it when packets have come, and at [`NackGenerator::deadline`].
    pub fn update(
        &mut self,
        now: Mono,
        frames: &Depacketizer,
        repair: Option<&RepairDecoder>,
    ) -> &[SeqNo] {
        self.requests.clear();
        self.deadline = None;
        std::mem::swap(&mut self.missing, &mut self.before);
        self.missing.clear();
        if self.ssrc != frames.ssrc() {
            self.ssrc = frames.ssrc();
            self.before.clear();
            self.unanswered = 0;
        }
        let (Some(ssrc), Some(highest)) = (self.ssrc, frames.highest()) else {
            return &[];
        };
        let quiet = (frames.interval() / QUIET_PART).clamp(QUIET.0, QUIET.1);
        for frame in frames.incomplete() {
            match repair {
                None => self.frame_without_parity(now, &frame, highest, quiet),
                Some(repair) => self.frame_with_parity(now, &frame, repair, ssrc, quiet),
            }
        }
        if !self.requests.is_empty() {
            self.unanswered = self.unanswered.saturating_add(1);
            self.last_nack = Some(now);
        }
        &self.requests
    }

    /// When there may be something to request even if nothing has come.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Whether the sender retransmits, so that waiting is worthwhile.
    pub fn is_answered(&self, now: Mono) -> bool {
        self.answered.is_some_and(|at| now.since(at) < ANSWERS_FOR)
    }

    /// A packet was retransmitted, whoever requested it.
    pub fn retransmitted(&mut self, now: Mono, seq: SeqNo) {
        self.unanswered = 0;
        self.answered = Some(now);
        // If a packet was requested twice, there is no telling which request was answered (Karn's
        // rule).
        let mut once = self.missing.iter().filter(|m| m.requests == 1);
        let missing = once.find(|m| m.ext as u16 == seq.0);
        if let Some(at) = missing.and_then(|m| m.requested) {
            self.response = (self.response * 7 + now.since(at).min(RETRY.1)) / 8;
        }
    }

    /// Checks a frame without parity.
    fn frame_without_parity(
        &mut self,
        now: Mono,
        frame: &IncompleteFrame<'_>,
        highest: u64,
        quiet: Duration,
    ) {
        for ext in frame.missing() {
            let earliest = self.since(ext).map_or(now, |since| since) + REORDERING;
            let earliest = match highest.saturating_sub(ext) >= OVERTAKEN {
                true => now,
                false => earliest,
            };
            self.want(now, ext, earliest);
        }
        if !frame.has_end() {
            let earliest = frame.last_arrival() + quiet;
            for ext in frame.end()..frame.end() + UNKNOWN_END {
                self.want(now, ext, earliest);
            }
        }
    }

    /// Checks a frame whose parity has its chance first.
    fn frame_with_parity(
        &mut self,
        now: Mono,
        frame: &IncompleteFrame<'_>,
        repair: &RepairDecoder,
        ssrc: Ssrc,
        quiet: Duration,
    ) {
        let pending = repair.pending(ssrc, frame.time());
        let newest = frame.last_arrival();
        let newest = pending.map_or(newest, |p| p.last_arrival.max(newest));
        // Parity starts when the frame has ended, and what it repairs costs nothing more.
        let earliest = newest + 2 * quiet;
        // Its true end by its parity, if that says it.
        let end = match (pending, frame.first()) {
            (Some(p), Some(first)) if p.first.0 == first as u16 => first + p.packets as u64,
            _ if frame.has_end() => frame.end(),
            _ => frame.end() + UNKNOWN_END,
        };
        let lacking = match pending {
            Some(p) => p.packets.saturating_sub(frame.received() + p.parity),
            None => MAX_MISSING,
        };
        let unseen = frame.end()..end.max(frame.end());
        for ext in frame.missing().chain(unseen).take(lacking) {
            self.want(now, ext, earliest);
        }
    }

    /// Since when a packet has been missing, if that was noticed before.
    fn since(&self, ext: u64) -> Option<Mono> {
        let at = self.before.binary_search_by_key(&ext, |m| m.ext).ok()?;
        Some(self.before[at].since)
    }

    /// A packet is missing and may be requested from `earliest` on.
    fn want(&mut self, now: Mono, ext: u64, earliest: Mono) {
        // Numbers of different frames come in order; contradictory ones are ignored.
        if self.missing.len() == MAX_MISSING || self.missing.last().is_some_and(|m| m.ext >= ext) {
            return;
        }
        let before = self.before.binary_search_by_key(&ext, |m| m.ext);
        let mut missing = before.map_or(
            Missing {
                ext,
                since: now,
                requested: None,
                requests: 0,
            },
            |at| self.before[at],
        );
        let retry = (self.response * 2).clamp(RETRY.0, RETRY.1);
        let mut due = missing.requested.map_or(earliest, |at| at + retry);
        if self.unanswered >= UNANSWERED {
            due = due.max(self.last_nack.map_or(due, |at| at + TRY_AGAIN));
        }
        if due <= now {
            missing.requested = Some(now);
            missing.requests = missing.requests.saturating_add(1);
            due = now + retry;
            self.requests.push(SeqNo(ext as u16));
        }
        self.deadline = Some(self.deadline.map_or(due, |at| at.min(due)));
        self.missing.push(missing);
    }
}
