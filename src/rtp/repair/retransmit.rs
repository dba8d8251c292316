//! The retransmit buffer: a sender's last frames, kept to retransmit their packets, and limits on
//! how much it may. In: NACKs; out: datagrams. No socket, no clock.
//!
//! A frame is copied by the stream's own thread into a [`StoredFrame`], in the pause after the
//! first burst of its packets, or after the only one: no packet waits for it. Everything else
//! happens on the thread that receives NACKs. The two exchange frames through [`RetransmitQueue`],
//! without a lock.
//!
//! # Memory
//! [`FRAMES`] frames of at most [`MAX_FRAME`] bytes each: 12 MiB at most, 1 MiB with frames of 150
//! KB.
//!
//! # Bounds
//! All retransmissions together are at most [`TOTAL`] of the stream's bytes; a burst may take that
//! share of the last `WINDOW` frames at once. Hosts that report what they receive share all of it
//! but [`STRANGERS`] among those that ask at the time, at most [`PER_HOST`] each; all others share
//! the rest. Requests beyond that are refused.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::wire::RETRANSMISSION_HEADER;
use crate::clock::Mono;
use crate::rtp::plan::PacketPlan;
use crate::rtp::types::SeqNo;

/// Frames between the two threads and stored: one is being written, the others can be requested.
pub const FRAMES: usize = 6;
/// A larger frame is not stored.
pub const MAX_FRAME: usize = 2 << 20;
/// How many past frames packets are retransmitted of. A viewer waits one frame interval, or a few
/// if so configured.
const ANSWERED: usize = 4;
/// What may be retransmitted, as a share of the stream's bytes: to all, …
pub const TOTAL: f64 = 0.25;
/// … to one host that reports, …
pub const PER_HOST: f64 = 0.15;
/// … and to all together that do not.
pub const STRANGERS: f64 = 0.05;
/// Frames over which unused budget may accumulate.
const WINDOW: f64 = 15.0;
/// The same packet is not retransmitted within this time: several viewers request it at once.
const ONCE_IN: Duration = Duration::from_millis(3);
/// The most times a packet is retransmitted.
const MAX_TIMES: u8 = 6;
/// Hosts whose budgets are remembered.
const MAX_HOSTS: usize = 1024;

/// The packets of one frame, ready for retransmission.
#[derive(Debug, Default)]
pub struct StoredFrame {
    first: SeqNo,
    /// The datagrams, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How often each was retransmitted, and when last.
    sent: Vec<(u8, Mono)>,
}

impl StoredFrame {
    fn fill(&mut self, plan: &PacketPlan, scan: &[u8]) {
        self.first = plan.first_seq;
        self.bytes.clear();
        self.ends.clear();
        for i in 0..plan.packets.len() {
            let (header, payload) = plan.parts(i, scan);
            self.bytes.extend_from_slice(&RETRANSMISSION_HEADER);
            self.bytes.extend_from_slice(header);
            self.bytes.extend_from_slice(payload);
            self.ends.push(self.bytes.len());
        }
    }

    fn datagram(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// Carries frames from the stream's thread, which stores them, to the [`RetransmitBuffer`], and
/// empty ones back.
#[derive(Debug)]
pub struct RetransmitQueue {
    full: ArrayQueue<Box<StoredFrame>>,
    empty: ArrayQueue<Box<StoredFrame>>,
}

impl RetransmitQueue {
    /// A queue with empty frames only.
    pub fn new() -> Arc<RetransmitQueue> {
        let queue = RetransmitQueue {
            full: ArrayQueue::new(FRAMES),
            empty: ArrayQueue::new(FRAMES),
        };
        for _ in 0..FRAMES {
            let _ = queue.empty.push(Box::default());
        }
        Arc::new(queue)
    }

    /// Stores a frame that is being sent. Copies its bytes; allocates only while frames grow. If
    /// the other thread is behind, the oldest frame is dropped.
    pub fn store(&self, plan: &PacketPlan, scan: &[u8]) {
        let bytes =
            plan.headers.len() + scan.len() + plan.packets.len() * RETRANSMISSION_HEADER.len();
        let Some(mut frame) = self.empty.pop().or_else(|| self.full.pop()) else {
            return;
        };
        let place = match bytes <= MAX_FRAME {
            true => {
                frame.fill(plan, scan);
                &self.full
            }
            false => &self.empty,
        };
        let _ = place.push(frame);
    }
}

/// What may still be retransmitted to one host, or to many together.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    bytes: f64,
    /// How many of all bytes ever stored `bytes` already has a share of.
    counted: f64,
}

impl Budget {
    fn update(&mut self, share: f64, stored: f64, frame: f64) {
        self.bytes += (stored - self.counted) * share;
        self.counted = stored;
        self.bytes = self.bytes.min(WINDOW * frame * share);
    }
}

/// The last frames of one stream, on the thread that retransmits.
#[derive(Debug)]
pub struct RetransmitBuffer {
    queue: Arc<RetransmitQueue>,
    /// Oldest first.
    frames: VecDeque<Box<StoredFrame>>,
    /// Bytes of all frames ever stored, and of one.
    stored: f64,
    frame: f64,
    total: Budget,
    strangers: Budget,
    hosts: Vec<(IpAddr, Budget)>,
    /// Packets to retransmit: frame and packet.
    answers: Vec<(usize, usize)>,
}

impl RetransmitBuffer {
    /// For the frames that come through `queue`.
    pub fn new(queue: Arc<RetransmitQueue>) -> RetransmitBuffer {
        RetransmitBuffer {
            queue,
            frames: VecDeque::with_capacity(FRAMES),
            stored: 0.0,
            frame: 0.0,
            total: Budget::default(),
            strangers: Budget::default(),
            hosts: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// A viewer on `host`, which `reports` what it receives or does not, misses these packets:
    /// returns what to send to the group, without what was sent too often or exceeds a limit; the
    /// second value counts that.
    pub fn request(
        &mut self,
        now: Mono,
        host: IpAddr,
        reports: bool,
        missing: &[SeqNo],
    ) -> (impl Iterator<Item = &[u8]> + Clone, u64) {
        self.collect();
        self.answers.clear();
        let mut refused = 0;
        let place = reports.then(|| self.place_of(host));
        let mut budget = place.map_or(self.strangers, |place| self.hosts[place].1);
        let share = match reports {
            true => PER_HOST.min((TOTAL - STRANGERS) / self.asking(host) as f64),
            false => STRANGERS,
        };
        budget.update(share, self.stored, self.frame);
        for &seq in missing {
            let Some((frame, index)) = self.find(seq) else {
                continue;
            };
            let stored = &mut self.frames[frame];
            let (times, last) = stored.sent[index];
            if times > 0 && now.since(last) < ONCE_IN {
                continue;
            }
            let len = stored.datagram(index).map_or(0, <[u8]>::len) as f64;
            if times >= MAX_TIMES || len > budget.bytes || len > self.total.bytes {
                refused += 1;
                continue;
            }
            budget.bytes -= len;
            self.total.bytes -= len;
            stored.sent[index] = (times + 1, now);
            self.answers.push((frame, index));
        }
        match place {
            Some(place) => self.hosts[place].1 = budget,
            None => self.strangers = budget,
        }
        let frames = &self.frames;
        let datagrams = self.answers.iter();
        let datagrams = datagrams.filter_map(|&(frame, index)| frames[frame].datagram(index));
        (datagrams, refused)
    }

    /// Takes stored frames from the queue, and returns the oldest.
    fn collect(&mut self) {
        while let Some(mut stored) = self.queue.full.pop() {
            stored.sent.clear();
            stored.sent.resize(stored.ends.len(), (0, Mono(0)));
            let bytes = stored.bytes.len() as f64;
            self.stored += bytes;
            self.frame = if self.frame == 0.0 {
                bytes
            } else {
                (self.frame * 7.0 + bytes) / 8.0
            };
            self.frames.push_back(stored);
            if self.frames.len() > ANSWERED {
                if let Some(old) = self.frames.pop_front() {
                    let _ = self.queue.empty.push(old);
                }
            }
        }
        self.total.update(TOTAL, self.stored, self.frame);
    }

    /// Hosts that have asked within the last frames, `host` among them.
    fn asking(&self, host: IpAddr) -> usize {
        let recent = self.stored - WINDOW * self.frame;
        let others = self.hosts.iter().filter(|(h, _)| *h != host);
        1 + others.filter(|(_, b)| b.counted >= recent).count()
    }

    /// The budget of a host; a new one may replace the host whose last request is the oldest.
    fn place_of(&mut self, host: IpAddr) -> usize {
        if let Some(found) = self.hosts.iter().position(|(h, _)| *h == host) {
            return found;
        }
        let new = (host, Budget::default());
        if self.hosts.len() < MAX_HOSTS {
            self.hosts.push(new);
            return self.hosts.len() - 1;
        }
        let counted = |i: &usize| self.hosts[*i].1.counted;
        let oldest = (0..MAX_HOSTS).min_by(|a, b| counted(a).total_cmp(&counted(b)));
        let oldest = oldest.unwrap_or(0);
        self.hosts[oldest] = new;
        oldest
    }

    /// Which frame and packet a number belongs to.
    fn find(&self, seq: SeqNo) -> Option<(usize, usize)> {
        self.frames.iter().enumerate().find_map(|(frame, stored)| {
            let index = usize::try_from(seq.distance(stored.first)).ok()?;
            (index < stored.ends.len()).then_some((frame, index))
        })
    }
}
