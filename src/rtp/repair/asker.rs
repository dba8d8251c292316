//! Which packets a viewer asks the sender to send again, and when (generic NACK, RFC 4585 §6.2.1). Frames and a time
//! in, numbers out: no socket, no clock. How soon a request may go out is RTCP's business.
//!
//! Where no parity comes a packet is asked for as soon as enough others have overtaken it, or after a moment. Where
//! parity comes it has its chance first, and then only as many packets are asked for as it lacks. What comes in the
//! meantime, because another viewer asked for it, is not asked for.
//!
//! # Memory
//! At most 512 numbers.

use std::time::Duration;

use super::RepairDecoder;
use crate::clock::Mono;
use crate::rtp::jpeg::Waiting;
use crate::rtp::{Depacketizer, SeqNo, Ssrc};

/// Numbers that are kept in mind, and most that are asked for at a time.
const MAX_ASKED: usize = 512;
/// A packet that so many have overtaken is asked for, …
const OVERTAKEN: u64 = 8;
/// … or one that has been missing for so long.
const REORDERING: Duration = Duration::from_millis(1);
/// A frame without its end, of which nothing came for this part of the frame interval, has lost its end: bursts of a paced
/// frame are closer together. What the sender has not sent yet, it does not send again either.
const QUIET_PART: u32 = 8;
const QUIET: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));
/// Packets behind the newest one that are asked for then, where nothing says how many there are.
const UNKNOWN_END: u64 = 8;
/// How long an answer takes before one has come, and the bounds between which it is asked again.
const ANSWER: Duration = Duration::from_millis(3);
const RETRY: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(30));
/// A sender that has not answered at so many occasions does not send again, or cannot be asked yet: it is asked …
const UNANSWERED: u32 = 100;
/// … only so often, until it does.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// An answer is fresh for so long.
const FRESH: Duration = Duration::from_secs(2);

/// A packet that is missing.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// Extended number.
    ext: u64,
    /// When it was seen to be missing.
    since: Mono,
    /// When it was asked for last, and how often in all.
    asked: Option<Mono>,
    times: u8,
}

/// Decides what to ask for.
#[derive(Debug)]
pub struct Asker {
    ssrc: Option<Ssrc>,
    /// In order of their numbers.
    missing: Vec<Missing>,
    before: Vec<Missing>,
    wanted: Vec<SeqNo>,
    deadline: Option<Mono>,
    /// How long answers take, smoothed.
    answer: Duration,
    answered: Option<Mono>,
    /// Occasions since the last answer, and when the last was.
    unanswered: u32,
    asked: Option<Mono>,
}

impl Default for Asker {
    fn default() -> Asker {
        Asker::new()
    }
}

impl Asker {
    /// One that misses nothing yet.
    pub fn new() -> Asker {
        Asker {
            ssrc: None,
            missing: Vec::with_capacity(MAX_ASKED),
            before: Vec::with_capacity(MAX_ASKED),
            wanted: Vec::with_capacity(MAX_ASKED),
            deadline: None,
            answer: ANSWER,
            answered: None,
            unanswered: 0,
            asked: None,
        }
    }

    /// What to ask for now; nothing most of the time. `repair`: the parity that waits, where parity comes.
    /// Call it when packets have come, and at [`Asker::deadline`].
    pub fn update(
        &mut self,
        now: Mono,
        frames: &Depacketizer,
        repair: Option<&RepairDecoder>,
    ) -> &[SeqNo] {
        self.wanted.clear();
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
        for frame in frames.waiting() {
            match repair {
                None => self.frame(now, &frame, highest, quiet),
                Some(repair) => self.repaired_frame(now, &frame, repair, ssrc, quiet),
            }
        }
        if !self.wanted.is_empty() {
            self.unanswered = self.unanswered.saturating_add(1);
            self.asked = Some(now);
        }
        &self.wanted
    }

    /// When there may be something to ask for though nothing has come.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Whether the sender answers, so that waiting is worth while.
    pub fn is_answered(&self, now: Mono) -> bool {
        self.answered.is_some_and(|at| now.since(at) < FRESH)
    }

    /// A packet came again, asked for by whomever.
    pub fn came(&mut self, now: Mono, seq: SeqNo) {
        self.unanswered = 0;
        self.answered = Some(now);
        // Of a packet asked for twice nobody knows which question was answered (Karn's rule).
        let mut once = self.missing.iter().filter(|m| m.times == 1);
        let asked = once.find(|m| m.ext as u16 == seq.0);
        if let Some(asked) = asked.and_then(|m| m.asked) {
            self.answer = (self.answer * 7 + now.since(asked).min(RETRY.1)) / 8;
        }
    }

    /// A frame for which no parity comes.
    fn frame(&mut self, now: Mono, frame: &Waiting<'_>, highest: u64, quiet: Duration) {
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

    /// A frame whose parity has its chance first.
    fn repaired_frame(
        &mut self,
        now: Mono,
        frame: &Waiting<'_>,
        repair: &RepairDecoder,
        ssrc: Ssrc,
        quiet: Duration,
    ) {
        let standing = repair.standing(ssrc, frame.time());
        let heard = standing.map_or(frame.last_arrival(), |s| s.heard.max(frame.last_arrival()));
        // Parity begins when the frame has ended, and what it mends costs nothing more.
        let earliest = heard + 2 * quiet;
        // Its true end by its parity, if that says it.
        let end = match (standing, frame.first()) {
            (Some(s), Some(first)) if s.first.0 == first as u16 => first + s.packets as u64,
            _ if frame.has_end() => frame.end(),
            _ => frame.end() + UNKNOWN_END,
        };
        let lacking = match standing {
            Some(s) => s.packets.saturating_sub(frame.received() + s.parity),
            None => MAX_ASKED,
        };
        let unseen = frame.end()..end.max(frame.end());
        for ext in frame.missing().chain(unseen).take(lacking) {
            self.want(now, ext, earliest);
        }
    }

    /// Since when a packet has been missing, as far as it was seen before.
    fn since(&self, ext: u64) -> Option<Mono> {
        let at = self.before.binary_search_by_key(&ext, |m| m.ext).ok()?;
        Some(self.before[at].since)
    }

    /// A packet is missing and may be asked for from `earliest` on.
    fn want(&mut self, now: Mono, ext: u64, earliest: Mono) {
        // Numbers of different frames come in order; a sender that contradicts itself is not asked.
        if self.missing.len() == MAX_ASKED || self.missing.last().is_some_and(|m| m.ext >= ext) {
            return;
        }
        let before = self.before.binary_search_by_key(&ext, |m| m.ext);
        let mut missing = before.map_or(
            Missing {
                ext,
                since: now,
                asked: None,
                times: 0,
            },
            |at| self.before[at],
        );
        let retry = (self.answer * 2).clamp(RETRY.0, RETRY.1);
        let mut due = missing.asked.map_or(earliest, |at| at + retry);
        if self.unanswered >= UNANSWERED {
            due = due.max(self.asked.map_or(due, |at| at + TRY_AGAIN));
        }
        if due <= now {
            missing.asked = Some(now);
            missing.times = missing.times.saturating_add(1);
            due = now + retry;
            self.wanted.push(SeqNo(ext as u16));
        }
        self.deadline = Some(self.deadline.map_or(due, |at| at.min(due)));
        self.missing.push(missing);
    }
}
