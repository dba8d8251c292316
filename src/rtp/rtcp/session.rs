//! One member's view of an RTP session: who the [members](Members) are, and [when](Timing) to send
//! the next report.

use std::net::IpAddr;

use super::members::Members;
use super::timing::{Count, Due, Timing};
use crate::clock::Mono;
use crate::rtp::types::Ssrc;

/// The members, and when to report.
#[derive(Clone, Debug)]
pub struct Session {
    own: Ssrc,
    members: Members,
    timing: Timing,
}

impl Session {
    /// Enters a session as `own`. `seed`: members that draw the same numbers report at the same
    /// time.
    pub fn new(own: Ssrc, seed: u64, now: Mono) -> Session {
        Session {
            own,
            members: Members::default(),
            timing: Timing::new(seed, now),
        }
    }

    /// Our own SSRC.
    pub fn own(&self) -> Ssrc {
        self.own
    }

    fn count(&self) -> Count {
        self.members.count()
    }

    /// Members, ourselves included.
    pub fn members(&self) -> usize {
        self.count().members
    }

    /// Members of one host.
    pub fn of_host(&self, host: IpAddr) -> usize {
        self.members.of_host(host)
    }

    /// Whether `ssrc` sends packets of a stream, as far as is known.
    pub fn is_sender(&self, ssrc: Ssrc) -> bool {
        self.members.is_sender(ssrc)
    }

    /// Sets the session's bandwidth, in bytes a second.
    pub fn set_bandwidth(&mut self, bytes_per_s: f64) {
        self.timing.set_bandwidth(bytes_per_s, self.members.count());
    }

    /// Whether we have sent packets of a stream in the last two intervals (RFC 3550 §6.3.8).
    /// Returns whether that changed.
    pub fn set_sending(&mut self, sending: bool) -> bool {
        self.timing.set_sending(sending)
    }

    /// An RTCP datagram of this length was received.
    pub fn received(&mut self, bytes: usize) {
        self.timing.received(bytes);
    }

    /// A packet of `ssrc` came from `host`. Returns false if there is no room for another member,
    /// or `ssrc` is another host's.
    pub fn member_active(&mut self, now: Mono, ssrc: Ssrc, host: IpAddr) -> bool {
        ssrc == self.own || self.members.active(now, ssrc, Some(host))
    }

    /// The same for a sender's report, or (`host` unknown) for packets of its stream.
    pub fn sender_active(&mut self, now: Mono, ssrc: Ssrc, host: Option<IpAddr>) -> bool {
        ssrc == self.own || self.members.sender_active(now, ssrc, host)
    }

    /// `ssrc` reported from `host` what it receives of the stream.
    pub fn receives(&mut self, ssrc: Ssrc, host: IpAddr) {
        self.members.receives(ssrc, host);
    }

    /// BYE of `ssrc` came from `host`; returns whether it was a member there. RFC 3550 §6.3.4 and
    /// §6.3.7.
    pub fn bye_received(&mut self, now: Mono, ssrc: Ssrc, host: IpAddr) -> bool {
        let is_member = self.members.bye(ssrc, host);
        if !self.timing.bye_received() && is_member {
            self.timing.reconsider_back(now, self.members.count());
        }
        is_member
    }

    /// Removes and returns the members that have been silent for too long.
    pub fn expire(&mut self, now: Mono) -> Vec<Ssrc> {
        let interval = self.timing.expiry_interval(self.count());
        let gone = self.members.expire(now, interval);
        if !gone.is_empty() {
            self.timing.reconsider_back(now, self.members.count());
        }
        gone
    }

    /// See [`Timing::request_feedback`].
    pub fn request_feedback(&mut self, now: Mono) {
        self.timing.request_feedback(now, self.members.count());
    }

    /// See [`Timing::leave`].
    pub fn leave(&mut self, now: Mono, bye_bytes: usize) -> bool {
        self.timing.leave(now, bye_bytes, self.members.count())
    }

    /// See [`Timing::poll`].
    pub fn poll(&mut self, now: Mono) -> Option<Due> {
        self.timing.poll(now, self.members.count())
    }

    /// See [`Timing::sent`].
    pub fn sent(&mut self, now: Mono, due: Due, bytes: usize) {
        self.timing.sent(now, due, bytes, self.members.count());
    }

    /// The latest time at which [`Session::poll`] has something.
    pub fn deadline(&self) -> Mono {
        self.timing.deadline()
    }
}
