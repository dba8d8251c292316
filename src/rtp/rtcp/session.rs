//! The members of an RTP session and the time of one's own reports: RFC 3550 §6.2 and §6.3 with its §A.7, so
//! that all reports together keep within 5 % of the session's bandwidth however many report; and the early feedback of
//! RFC 4585 §3.5. It is told what was heard and sent, and says what is due. It knows no packet formats.
//!
//! # Memory
//! At most [`MAX_MEMBERS`] members are kept and counted, 64 bytes each: under 1 MiB. In a group beyond that the interval
//! grows no further.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::clock::Mono;
use crate::rtp::Ssrc;

/// Members that are kept.
pub const MAX_MEMBERS: usize = 10_000;

/// RFC 3550 §6.2: "the fraction of the session bandwidth added for RTCP be fixed at 5%".
const SHARE: f64 = 0.05;
/// RFC 3550 §6.2: a quarter of that is the senders', if they are no more than a quarter of the members.
const SENDERS_SHARE: f64 = 0.25;
/// RFC 3550 §6.2: "the recommended value for a fixed minimum interval is 5 seconds".
const MINIMUM: Duration = Duration::from_secs(5);
/// The minimum before the first report. RFC 3550 halves its own; RFC 4585 §3.4 says one second.
const FIRST_MINIMUM: Duration = Duration::from_secs(1);
/// RFC 3550 §6.3.1: e - 3/2, which makes up for what reconsideration adds.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// RFC 3550 §6.3.5: intervals without a word after which a member is gone.
const PATIENCE: u32 = 5;
/// RFC 3550 §6.3.7: up to so many members, a BYE is sent at once.
const SMALL_GROUP: usize = 50;
/// RFC 4585 §3.5.2: share of the interval within which early feedback is spread.
const DITHER: f64 = 0.5;
/// Least session bandwidth in bytes a second: a stream that pauses still has members.
const LEAST_BANDWIDTH: f64 = 8_000.0;
/// Taken for the session's bandwidth before it was told: 1 Mbit/s.
const DEFAULT_BANDWIDTH: f64 = 125_000.0;
/// Size of reports before any was seen: a receiver report with its description.
const DEFAULT_SIZE: f64 = 128.0;
/// RFC 3550 §6.2 counts what lies under RTCP: UDP and IPv4 headers.
const HEADERS: usize = 28;

/// What is to be sent now. Tell [`Session::sent`] when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The regular report.
    Report,
    /// A report before its time, because of [`Session::request_feedback`].
    Feedback,
    /// The goodbye.
    Bye,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    heard: Mono,
    /// When it sent packets of a stream, or said that it did.
    sent: Option<Mono>,
}

/// Who is there, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Session {
    own: Ssrc,
    dice: Dice,
    members: HashMap<Ssrc, Member>,
    /// How many of them are senders.
    senders: usize,
    we_sent: bool,
    /// Bytes a second of the whole session.
    bandwidth: f64,
    /// `avg_rtcp_size`: bytes, headers included.
    average: f64,
    /// `tp` and `tn`: the last report, and the next.
    last: Mono,
    next: Mono,
    /// `pmembers`: members when `next` was computed.
    members_before: usize,
    is_first: bool,
    /// Early feedback that is due, and when the last was sent.
    feedback: Option<Mono>,
    feedback_sent: Option<Mono>,
    /// Members that said goodbye since we wish to; `None`: we do not.
    leaving: Option<usize>,
}

impl Session {
    /// Enters a session as `own`. `seed`: members that draw the same numbers report at the same time.
    pub fn new(own: Ssrc, seed: u64, now: Mono) -> Session {
        let mut session = Session {
            own,
            dice: Dice(seed),
            members: HashMap::new(),
            senders: 0,
            we_sent: false,
            bandwidth: DEFAULT_BANDWIDTH,
            average: DEFAULT_SIZE,
            last: now,
            next: now,
            members_before: 1,
            is_first: true,
            feedback: None,
            feedback_sent: None,
            leaving: None,
        };
        session.next = now + session.random_interval();
        session
    }

    /// Who we are.
    pub fn own(&self) -> Ssrc {
        self.own
    }

    /// Members, ourselves included; at most [`MAX_MEMBERS`] and one.
    pub fn members(&self) -> usize {
        self.members.len() + 1
    }

    /// Whether `ssrc` sends packets of a stream, as far as was heard.
    pub fn is_sender(&self, ssrc: Ssrc) -> bool {
        self.members.get(&ssrc).is_some_and(|m| m.sent.is_some())
    }

    /// What the session's packets take, in bytes a second.
    pub fn set_bandwidth(&mut self, bytes_per_s: f64) {
        self.bandwidth = bytes_per_s.max(LEAST_BANDWIDTH);
        // With more room feedback that waits need not wait as long.
        let from = self.feedback_from();
        if self.members() <= 2 {
            self.feedback = self.feedback.map(|at| at.min(from));
        }
    }

    /// Whether we have sent packets of a stream in the last two intervals (RFC 3550 §6.3.8). Returns whether that changed.
    pub fn set_sending(&mut self, sending: bool) -> bool {
        std::mem::replace(&mut self.we_sent, sending) != sending
    }

    /// A datagram of reports of this length was received.
    pub fn received(&mut self, bytes: usize) {
        if self.leaving.is_none() {
            self.weigh(bytes);
        }
    }

    /// RFC 3550 §6.3.3: "avg_rtcp_size = (1/16) * packet_size + (15/16) * avg_rtcp_size".
    fn weigh(&mut self, bytes: usize) {
        self.average += ((bytes + HEADERS) as f64 - self.average) / 16.0;
    }

    /// `ssrc` was heard. Returns false if there is no room for another member.
    pub fn heard(&mut self, now: Mono, ssrc: Ssrc) -> bool {
        if ssrc == self.own {
            return true;
        }
        let is_full = self.members.len() >= MAX_MEMBERS;
        match self.members.entry(ssrc) {
            Entry::Occupied(mut member) => member.get_mut().heard = now,
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(place) => {
                place.insert(Member {
                    heard: now,
                    sent: None,
                });
            }
        }
        true
    }

    /// `ssrc` was heard to send packets of a stream, or to say so.
    pub fn heard_sender(&mut self, now: Mono, ssrc: Ssrc) {
        self.heard(now, ssrc);
        if let Some(member) = self.members.get_mut(&ssrc) {
            self.senders += usize::from(member.sent.is_none());
            member.sent = Some(now);
        }
    }

    /// `ssrc` said goodbye. RFC 3550 §6.3.4 and §6.3.7.
    pub fn heard_bye(&mut self, now: Mono, ssrc: Ssrc) {
        if let Some(others) = &mut self.leaving {
            *others = (*others + 1).min(MAX_MEMBERS);
            return;
        }
        if self.remove(ssrc) {
            self.reconsider_back(now);
        }
    }

    fn remove(&mut self, ssrc: Ssrc) -> bool {
        let Some(member) = self.members.remove(&ssrc) else {
            return false;
        };
        self.senders -= usize::from(member.sent.is_some());
        true
    }

    /// RFC 3550 §6.3.4, reverse reconsideration: with fewer members the next report comes sooner.
    fn reconsider_back(&mut self, now: Mono) {
        let members = self.members();
        if members >= self.members_before {
            return;
        }
        let share = members as f64 / self.members_before as f64;
        self.next = now + self.next.since(now).mul_f64(share);
        let since = now.since(self.last).mul_f64(share);
        self.last = Mono(now.0.saturating_sub(since.as_nanos() as u64));
        self.members_before = members;
    }

    /// Takes out, and gives, the members of whom nothing was heard for five intervals. RFC 3550 §6.3.5.
    pub fn expire(&mut self, now: Mono) -> Vec<Ssrc> {
        // "using the deterministic calculated interval Td … with we_sent false"; RFC 4585 §3.5.4 wants the
        // full minimum here.
        let interval = self.interval(false, MINIMUM);
        let mut gone = Vec::new();
        for (&ssrc, member) in &mut self.members {
            if now.since(member.heard) > interval * PATIENCE {
                gone.push(ssrc);
            }
            let was_sender = member.sent.is_some();
            member.sent = (member.sent).filter(|&sent| now.since(sent) <= interval * 2);
            self.senders -= usize::from(was_sender && member.sent.is_none());
        }
        for &ssrc in &gone {
            self.remove(ssrc);
        }
        if !gone.is_empty() {
            self.reconsider_back(now);
        }
        gone
    }

    /// RFC 3550 §6.3.1 and §A.7, before randomisation.
    fn interval(&self, we_sent: bool, minimum: Duration) -> Duration {
        let (members, senders) = match self.leaving {
            // §6.3.7: only those who leave count, and none of them sends.
            Some(others) => (others + 1, 0),
            None => (self.members(), self.senders + usize::from(self.we_sent)),
        };
        let mut rtcp = self.bandwidth * SHARE;
        let mut sharing = members;
        if senders as f64 <= members as f64 * SENDERS_SHARE {
            if we_sent && self.leaving.is_none() {
                rtcp *= SENDERS_SHARE;
                sharing = senders;
            } else {
                rtcp *= 1.0 - SENDERS_SHARE;
                sharing = members - senders;
            }
        }
        let interval = self.average * sharing as f64 / rtcp;
        Duration::from_secs_f64(interval).max(minimum)
    }

    fn random_interval(&mut self) -> Duration {
        let minimum = match self.is_first || self.leaving.is_some() {
            true => self.first_minimum(),
            false => MINIMUM,
        };
        let interval = self.interval(self.we_sent, minimum);
        interval.mul_f64((self.dice.roll() + 0.5) / COMPENSATION)
    }

    /// RFC 3550 §6.2: those who send data may use "360 divided by the session bandwidth in kilobits/second".
    fn first_minimum(&self) -> Duration {
        match self.we_sent {
            true => Duration::from_secs_f64(360_000.0 / (self.bandwidth * 8.0)).min(FIRST_MINIMUM),
            false => FIRST_MINIMUM,
        }
    }

    /// Asks for a report before its time: something changed that the sender should know. It comes at once
    /// in a group of two, spread over half an interval in larger ones, and with the regular report where
    /// that is sooner or the last feedback was too short ago. RFC 4585 §3.5.2.
    pub fn request_feedback(&mut self, now: Mono) {
        // Before the first report nobody knows how large the group is.
        if self.is_first || self.feedback.is_some() || self.leaving.is_some() {
            return;
        }
        let spread = match self.members() {
            0..=2 => Duration::ZERO,
            _ => self.interval(self.we_sent, Duration::ZERO).mul_f64(DITHER),
        };
        if self.next <= now + spread {
            return;
        }
        let at = (now + spread.mul_f64(self.dice.roll())).max(self.feedback_from());
        if at < self.next {
            self.feedback = Some(at);
        }
    }

    /// The time before which no early feedback may be sent after the last.
    fn feedback_from(&self) -> Mono {
        let two = self.interval(self.we_sent, Duration::ZERO) * 2;
        self.feedback_sent.map_or(Mono(0), |at| at + two)
    }

    /// Wishes to leave: at once in a small group, else when a goodbye is due, so that a thousand who leave
    /// together do not flood the network. RFC 3550 §6.3.7. Returns whether there is anything to wait for: "a
    /// participant which never sent an RTP or RTCP packet" says no goodbye.
    pub fn leave(&mut self, now: Mono, bye_bytes: usize) -> bool {
        if self.is_first && !self.we_sent {
            return false;
        }
        if self.leaving.is_some() {
            return true;
        }
        let is_small = self.members() <= SMALL_GROUP;
        self.leaving = Some(0);
        self.feedback = None;
        self.average = (bye_bytes + HEADERS) as f64;
        self.last = now;
        self.members_before = 1;
        self.next = match is_small {
            true => now,
            false => now + self.random_interval(),
        };
        true
    }

    /// What is due now. RFC 3550 §6.3.6.
    pub fn poll(&mut self, now: Mono) -> Option<Due> {
        if self.feedback.is_some_and(|at| at <= now) {
            return Some(Due::Feedback);
        }
        if now < self.next {
            return None;
        }
        if self.leaving.is_some() && self.next <= self.last {
            return Some(Due::Bye);
        }
        // Reconsideration: the group may have grown since.
        let next = self.last + self.random_interval();
        if next > now {
            self.next = next;
            self.members_before = self.members();
            return None;
        }
        Some(match self.leaving {
            Some(_) => Due::Bye,
            None => Due::Report,
        })
    }

    /// What was due went out (or was tried to), as a datagram of this length.
    pub fn sent(&mut self, now: Mono, due: Due, bytes: usize) {
        self.weigh(bytes);
        self.is_first = false;
        self.feedback = None;
        if due == Due::Feedback {
            // RFC 4585 §3.5.3: the next regular report comes two intervals after the last, so that this one takes the
            // place of one, and until then "allow_early = FALSE". Intervals as the bandwidth asks for, without a minimum.
            let two = self.interval(self.we_sent, Duration::ZERO) * 2;
            self.feedback_sent = Some(now);
            self.next = self.next.max(self.last + two);
            return;
        }
        self.last = now;
        self.next = now + self.random_interval();
        self.members_before = self.members();
    }

    /// When [`Session::poll`] has something to say at the latest.
    pub fn deadline(&self) -> Mono {
        self.feedback.map_or(self.next, |at| at.min(self.next))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread reports, and the same from the same seed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// 0 up to 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}
