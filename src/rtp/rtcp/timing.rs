//! When to send the next report in an RTP session: RFC 3550 §6.2 and §6.3 with its §A.7, so that
//! all reports together keep within 5 % of the session's bandwidth however many report; and the
//! early feedback of RFC 4585 §3.5. In: how many take part, what was received and sent; out: what
//! is due. It knows no members and no packet formats.

use std::time::Duration;

use crate::clock::Mono;

/// RFC 3550 §6.2: "the fraction of the session bandwidth added for RTCP be fixed at 5%".
const SHARE: f64 = 0.05;
/// RFC 3550 §6.2: a quarter of that is the senders', if they are no more than a quarter of the
/// members.
const SENDERS_SHARE: f64 = 0.25;
/// RFC 3550 §6.2: "the recommended value for a fixed minimum interval is 5 seconds".
const MINIMUM: Duration = Duration::from_secs(5);
/// The minimum before the first report. RFC 3550 halves its own; RFC 4585 §3.4 says one second.
const FIRST_MINIMUM: Duration = Duration::from_secs(1);
/// RFC 3550 §6.3.1: e - 3/2, which makes up for what reconsideration adds.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// RFC 3550 §6.3.7: up to this many members, BYE is sent at once.
const SMALL_GROUP: usize = 50;
/// RFC 4585 §3.5.2: share of the interval within which early feedback is spread.
const DITHER: f64 = 0.5;
/// Lowest session bandwidth in bytes a second: a paused stream still has members.
const LEAST_BANDWIDTH: f64 = 8_000.0;
/// Assumed session bandwidth before it is known: 1 Mbit/s.
const DEFAULT_BANDWIDTH: f64 = 125_000.0;
/// Assumed size of a report before any was seen: a receiver report with its description.
const DEFAULT_SIZE: f64 = 128.0;
/// RFC 3550 §6.2 also counts the UDP and IPv4 headers.
const HEADERS: usize = 28;

/// What to send now. Call [`Timing::sent`] once it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The regular report.
    Report,
    /// A report before its time, because of [`Timing::request_feedback`].
    Feedback,
    /// BYE.
    Bye,
}

/// How many take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Members, ourselves included.
    pub members: usize,
    /// How many of the others send.
    pub senders: usize,
    /// Those that report what they receive, ourselves included: nobody else has feedback to send.
    pub receivers: usize,
}

impl Count {
    /// Who shares what early feedback may take.
    fn of_feedback(self) -> Count {
        Count {
            members: self.receivers + self.senders,
            ..self
        }
    }
}

/// Whose turn it is.
#[derive(Clone, Debug)]
pub struct Timing {
    dice: Dice,
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
    /// Members that sent BYE since we started leaving; `None`: we are not leaving.
    leaving: Option<usize>,
}

const ALONE: Count = Count {
    members: 1,
    senders: 0,
    receivers: 1,
};

impl Timing {
    /// Enters a session. `seed`: members that draw the same numbers report at the same time.
    pub fn new(seed: u64, now: Mono) -> Timing {
        let mut timing = Timing {
            dice: Dice(seed),
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
        timing.next = now + timing.random_interval(ALONE);
        timing
    }

    /// Sets the session's bandwidth, in bytes a second.
    pub fn set_bandwidth(&mut self, bytes_per_s: f64, count: Count) {
        self.bandwidth = bytes_per_s.max(LEAST_BANDWIDTH);
        // With more bandwidth, pending feedback need not wait as long.
        let from = self.feedback_from(count);
        if count.of_feedback().members <= 2 {
            self.feedback = self.feedback.map(|at| at.min(from));
        }
    }

    /// Whether we have sent packets of a stream in the last two intervals (RFC 3550 §6.3.8).
    /// Returns whether that changed.
    pub fn set_sending(&mut self, sending: bool) -> bool {
        std::mem::replace(&mut self.we_sent, sending) != sending
    }

    /// An RTCP datagram of this length was received.
    pub fn received(&mut self, bytes: usize) {
        if self.leaving.is_none() {
            self.weigh(bytes);
        }
    }

    /// RFC 3550 §6.3.3: "avg_rtcp_size = (1/16) * packet_size + (15/16) * avg_rtcp_size".
    fn weigh(&mut self, bytes: usize) {
        self.average += ((bytes + HEADERS) as f64 - self.average) / 16.0;
    }

    /// Another member sent BYE; true if that matters only because we are leaving too. RFC 3550
    /// §6.3.7.
    pub fn bye_received(&mut self) -> bool {
        match &mut self.leaving {
            Some(others) => *others += 1,
            None => return false,
        }
        true
    }

    /// RFC 3550 §6.3.4, reverse reconsideration: with fewer members the next report comes sooner.
    pub fn reconsider_back(&mut self, now: Mono, count: Count) {
        let members = count.members;
        if members >= self.members_before {
            return;
        }
        let share = members as f64 / self.members_before as f64;
        self.next = now + self.next.since(now).mul_f64(share);
        let since = now.since(self.last).mul_f64(share);
        self.last = Mono(now.0.saturating_sub(since.as_nanos() as u64));
        self.members_before = members;
    }

    /// A member is gone after several of these intervals of silence. RFC 3550 §6.3.5: "using the
    /// deterministic calculated interval Td … with we_sent false"; RFC 4585 §3.5.4 wants the full
    /// minimum here.
    pub fn expiry_interval(&self, count: Count) -> Duration {
        self.interval(count, false, MINIMUM)
    }

    /// RFC 3550 §6.3.1 and §A.7, before randomisation.
    fn interval(&self, count: Count, we_sent: bool, minimum: Duration) -> Duration {
        let (members, senders) = match self.leaving {
            // §6.3.7: only those leaving count, and none of them sends.
            Some(others) => (others + 1, 0),
            None => (count.members, count.senders + usize::from(self.we_sent)),
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

    fn random_interval(&mut self, count: Count) -> Duration {
        let minimum = match self.is_first || self.leaving.is_some() {
            true => self.first_minimum(),
            false => MINIMUM,
        };
        let interval = self.interval(count, self.we_sent, minimum);
        interval.mul_f64((self.dice.roll() + 0.5) / COMPENSATION)
    }

    /// RFC 3550 §6.2: those who send data may use "360 divided by the session bandwidth in
    /// kilobits/second".
    fn first_minimum(&self) -> Duration {
        match self.we_sent {
            true => Duration::from_secs_f64(360_000.0 / (self.bandwidth * 8.0)).min(FIRST_MINIMUM),
            false => FIRST_MINIMUM,
        }
    }

    /// Requests an early report: something changed that the sender should know. It comes at once in
    /// a group of two, spread over half an interval in larger ones, and with the regular report if
    /// that is sooner or the last feedback was too recent. RFC 4585 §3.5.2.
    pub fn request_feedback(&mut self, now: Mono, count: Count) {
        // Before the first report nobody knows how large the group is.
        if self.is_first || self.feedback.is_some() || self.leaving.is_some() {
            return;
        }
        let sharing = count.of_feedback();
        let spread = match sharing.members {
            0..=2 => Duration::ZERO,
            _ => self
                .interval(sharing, self.we_sent, Duration::ZERO)
                .mul_f64(DITHER),
        };
        if self.next <= now + spread {
            return;
        }
        let at = (now + spread.mul_f64(self.dice.roll())).max(self.feedback_from(count));
        if at < self.next {
            self.feedback = Some(at);
        }
    }

    /// The time before which no early feedback may be sent after the last.
    fn feedback_from(&self, count: Count) -> Mono {
        let two = self.interval(count.of_feedback(), self.we_sent, Duration::ZERO) * 2;
        self.feedback_sent.map_or(Mono(0), |at| at + two)
    }

    /// Starts leaving: at once in a small group, else when BYE is due, so that a thousand who leave
    /// together do not flood the network. RFC 3550 §6.3.7. Returns whether there is anything to
    /// wait for: "a participant which never sent an RTP or RTCP packet" sends no BYE.
    pub fn leave(&mut self, now: Mono, bye_bytes: usize, count: Count) -> bool {
        if self.is_first && !self.we_sent {
            return false;
        }
        if self.leaving.is_some() {
            return true;
        }
        let is_small = count.members <= SMALL_GROUP;
        self.leaving = Some(0);
        self.feedback = None;
        self.average = (bye_bytes + HEADERS) as f64;
        self.last = now;
        self.members_before = 1;
        self.next = match is_small {
            true => now,
            false => now + self.random_interval(count),
        };
        true
    }

    /// What is due now. RFC 3550 §6.3.6.
    pub fn poll(&mut self, now: Mono, count: Count) -> Option<Due> {
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
        let next = self.last + self.random_interval(count);
        if next > now {
            self.next = next;
            self.members_before = count.members;
            return None;
        }
        Some(match self.leaving {
            Some(_) => Due::Bye,
            None => Due::Report,
        })
    }

    /// What was due has been sent (or tried), as a datagram of this length.
    pub fn sent(&mut self, now: Mono, due: Due, bytes: usize, count: Count) {
        self.weigh(bytes);
        self.is_first = false;
        self.feedback = None;
        if due == Due::Feedback {
            // RFC 4585 §3.5.3: the next regular report comes two intervals after the last, so that
            // this one takes the place of one, and until then "allow_early = FALSE". Intervals as
            // the bandwidth asks for, without a minimum.
            let two = self.interval(count, self.we_sent, Duration::ZERO) * 2;
            self.feedback_sent = Some(now);
            self.next = self.next.max(self.last + two);
            return;
        }
        self.last = now;
        self.next = now + self.random_interval(count);
        self.members_before = count.members;
    }

    /// The latest time at which [`Timing::poll`] has something.
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
