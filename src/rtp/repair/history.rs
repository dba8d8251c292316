//! What a sender keeps of its last frames, to send packets of them again (`retransmit`), and how much of that it
//! may: requests in, datagrams out. No socket, no clock.
//!
//! A frame is copied by the stream's own thread into a [`Kept`], in the pause behind the first burst of its packets or, where
//! there is no other, behind that: no packet waits for it. Everything else happens on the thread that hears requests. The two hand [`Kept`]s to each other through
//! [`Shelf`], without a lock.
//!
//! # Memory
//! [`FRAMES`] frames of at most [`MAX_FRAME`] bytes each: 12 MiB at most, 1 MiB with frames of 150 KB.
//!
//! # Bounds
//! All answers together are at most [`TOTAL`] of the stream's bytes, those to one address [`PER_VIEWER`]; a burst may
//! take that share of the last `WINDOW` frames at once. Whoever asks for more is not answered.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::wire::AGAIN_HEADER;
use crate::clock::Mono;
use crate::rtp::{PacketPlan, SeqNo};

/// Frames on the way between the two threads, and kept: one is being written, the others can be asked for.
pub const FRAMES: usize = 6;
/// A larger frame is not kept.
pub const MAX_FRAME: usize = 2 << 20;
/// Frames that are answered for. A viewer waits for one frame interval, or a few if it was told to.
const ANSWERED: usize = 4;
/// What may be sent again, as a share of the stream's bytes: to all viewers, …
pub const TOTAL: f64 = 0.25;
/// … and to one of them.
pub const PER_VIEWER: f64 = 0.15;
/// Frames over which that may be saved up.
const WINDOW: f64 = 15.0;
/// The same packet is not sent again within this time: several viewers ask for it at the same time.
const ONCE_IN: Duration = Duration::from_millis(3);
/// A packet is sent again so often at most.
const MOST_TIMES: u8 = 6;
/// Viewers whose shares are remembered.
const MAX_VIEWERS: usize = 64;

/// The packets of one frame, as they are sent again.
#[derive(Debug, Default)]
pub struct Kept {
    first: SeqNo,
    /// The datagrams, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How often each was sent again, and when last.
    again: Vec<(u8, Mono)>,
}

impl Kept {
    fn fill(&mut self, plan: &PacketPlan, scan: &[u8]) {
        self.first = plan.first_seq;
        self.bytes.clear();
        self.ends.clear();
        for i in 0..plan.packets.len() {
            let (header, payload) = plan.parts(i, scan);
            self.bytes.extend_from_slice(&AGAIN_HEADER);
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

/// Where the stream's thread lays frames down and takes empty ones from.
#[derive(Debug)]
pub struct Shelf {
    full: ArrayQueue<Box<Kept>>,
    empty: ArrayQueue<Box<Kept>>,
}

impl Shelf {
    /// A shelf with empty places for all frames.
    pub fn new() -> Arc<Shelf> {
        let shelf = Shelf {
            full: ArrayQueue::new(FRAMES),
            empty: ArrayQueue::new(FRAMES),
        };
        for _ in 0..FRAMES {
            let _ = shelf.empty.push(Box::default());
        }
        Arc::new(shelf)
    }

    /// Keeps a frame that is being sent. Copies its bytes; allocates only while frames grow. Where the other thread is
    /// behind, the oldest frame gives way.
    pub fn keep(&self, plan: &PacketPlan, scan: &[u8]) {
        let bytes = plan.headers.len() + scan.len() + plan.packets.len() * AGAIN_HEADER.len();
        let Some(mut kept) = self.empty.pop().or_else(|| self.full.pop()) else {
            return;
        };
        let place = match bytes <= MAX_FRAME {
            true => {
                kept.fill(plan, scan);
                &self.full
            }
            false => &self.empty,
        };
        let _ = place.push(kept);
    }
}

/// What one viewer, or all together, may still be sent.
#[derive(Clone, Copy, Debug, Default)]
struct Purse {
    bytes: f64,
    /// Of all that was ever kept, up to where its share is in `bytes`.
    counted: f64,
}

impl Purse {
    fn update(&mut self, share: f64, kept: f64, frame: f64) {
        self.bytes += (kept - self.counted) * share;
        self.counted = kept;
        self.bytes = self.bytes.min(WINDOW * frame * share);
    }
}

/// The last frames of one stream, on the thread that answers.
#[derive(Debug)]
pub struct History {
    shelf: Arc<Shelf>,
    /// Oldest first.
    frames: VecDeque<Box<Kept>>,
    /// Bytes of all frames ever kept, and of one.
    kept: f64,
    frame: f64,
    total: Purse,
    viewers: Vec<(IpAddr, Purse)>,
    /// What is to be sent: frame and packet.
    answers: Vec<(usize, usize)>,
}

impl History {
    /// Of what is laid on `shelf`.
    pub fn new(shelf: Arc<Shelf>) -> History {
        History {
            shelf,
            frames: VecDeque::with_capacity(FRAMES),
            kept: 0.0,
            frame: 0.0,
            total: Purse::default(),
            viewers: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// A viewer at `address` misses these packets: what to send to the group. What was sent too often, or goes beyond
    /// a bound, is not among it; the second value counts that.
    pub fn ask(
        &mut self,
        now: Mono,
        address: IpAddr,
        missing: &[SeqNo],
    ) -> (impl Iterator<Item = &[u8]> + Clone, u64) {
        self.take_in();
        self.answers.clear();
        let mut refused = 0;
        let viewer = self.viewer(address);
        let mut purse = self.viewers[viewer].1;
        purse.update(PER_VIEWER, self.kept, self.frame);
        for &seq in missing {
            let Some((frame, index)) = self.find(seq) else {
                continue;
            };
            let kept = &mut self.frames[frame];
            let (times, last) = kept.again[index];
            if times > 0 && now.since(last) < ONCE_IN {
                continue;
            }
            let len = kept.datagram(index).map_or(0, <[u8]>::len) as f64;
            if times >= MOST_TIMES || len > purse.bytes || len > self.total.bytes {
                refused += 1;
                continue;
            }
            purse.bytes -= len;
            self.total.bytes -= len;
            kept.again[index] = (times + 1, now);
            self.answers.push((frame, index));
        }
        self.viewers[viewer].1 = purse;
        let frames = &self.frames;
        let datagrams = self.answers.iter();
        let datagrams = datagrams.filter_map(|&(frame, index)| frames[frame].datagram(index));
        (datagrams, refused)
    }

    /// Takes the frames in that were laid down, and gives the oldest back.
    fn take_in(&mut self) {
        while let Some(mut kept) = self.shelf.full.pop() {
            kept.again.clear();
            kept.again.resize(kept.ends.len(), (0, Mono(0)));
            let bytes = kept.bytes.len() as f64;
            self.kept += bytes;
            self.frame = if self.frame == 0.0 {
                bytes
            } else {
                (self.frame * 7.0 + bytes) / 8.0
            };
            self.frames.push_back(kept);
            if self.frames.len() > ANSWERED {
                if let Some(old) = self.frames.pop_front() {
                    let _ = self.shelf.empty.push(old);
                }
            }
        }
        self.total.update(TOTAL, self.kept, self.frame);
    }

    /// The place of a viewer, which may be new: then it takes that of the one that has asked for the longest time not.
    fn viewer(&mut self, address: IpAddr) -> usize {
        if let Some(found) = self.viewers.iter().position(|(a, _)| *a == address) {
            return found;
        }
        let new = (address, Purse::default());
        if self.viewers.len() < MAX_VIEWERS {
            self.viewers.push(new);
            return self.viewers.len() - 1;
        }
        let counted = |i: &usize| self.viewers[*i].1.counted;
        let oldest = (0..MAX_VIEWERS).min_by(|a, b| counted(a).total_cmp(&counted(b)));
        let oldest = oldest.unwrap_or(0);
        self.viewers[oldest] = new;
        oldest
    }

    /// Which frame and packet a number is.
    fn find(&self, seq: SeqNo) -> Option<(usize, usize)> {
        self.frames.iter().enumerate().find_map(|(frame, kept)| {
            let index = usize::try_from(seq.distance(kept.first)).ok()?;
            (index < kept.ends.len()).then_some((frame, index))
        })
    }
}
