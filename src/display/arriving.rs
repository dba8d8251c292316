//! The parts of a frame that have arrived, on their way to the decoder: one slot, in which a newer
//! frame displaces an older one. Only an accelerator: the whole frame always comes by the mailbox.

use std::mem::swap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::jpeg::strips::Shape;
use crate::jpeg::{Picture, Sampling};

/// The consumer is woken for this part of a frame.
const PART: usize = 32;
/// And for no fewer bytes than this.
const LEAST: usize = 4096;

/// A picture without its scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    sampling: Sampling,
    restart_interval: u16,
    /// Quantisation tables in zigzag order, luma then chroma.
    pub quant: [u8; 128],
}

impl Head {
    /// The head of `picture`.
    pub fn of(picture: &Picture<'_>) -> Head {
        Head {
            width: picture.width,
            height: picture.height,
            sampling: picture.sampling,
            restart_interval: picture.restart_interval,
            quant: picture.quant,
        }
    }

    /// Whether its scan has restart markers, so that no walk is needed to cut it.
    pub fn has_restarts(&self) -> bool {
        self.restart_interval != 0
    }

    /// How it can be cut.
    pub fn shape(&self) -> Shape {
        Shape::new(
            self.width,
            self.height,
            self.sampling,
            self.restart_interval,
        )
    }
}

/// The slot.
#[derive(Debug, Default)]
pub struct Arriving {
    slot: Mutex<Slot>,
    /// The number of a frame that the consumer does not want.
    ignored: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Number and head of the frame that `bytes` belong to.
    frame: Option<(u64, Head)>,
    /// Bytes of its scan not taken yet; at most 16 MiB.
    bytes: Vec<u8>,
    /// How many have been taken before.
    taken: usize,
}

/// What the slot held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The frame that was asked for; there may be no new bytes.
    More,
    /// Another frame is arriving.
    Other,
}

impl Arriving {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame in the slot, if its number is larger than `after` and none of it has been taken.
    pub fn begin(&self, after: u64) -> Option<(u64, Head)> {
        let slot = self.lock();
        slot.frame
            .filter(|(number, _)| *number > after && slot.taken == 0)
    }

    /// Nothing more of frame `number` is wanted before all of it is there.
    pub fn ignore(&self, number: u64) {
        self.ignored.store(number, Ordering::Relaxed);
    }

    /// Replaces `bytes` with what has arrived of frame `number` since the last call.
    pub fn take(&self, number: u64, bytes: &mut Vec<u8>) -> Taken {
        bytes.clear();
        let mut slot = self.lock();
        if slot.frame.is_none_or(|(present, _)| present != number) {
            return Taken::Other;
        }
        slot.taken += slot.bytes.len();
        swap(&mut slot.bytes, bytes);
        Taken::More
    }
}

/// What the producer has put into the slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    number: u64,
    /// Bytes of the frame in the slot or taken from it.
    len: usize,
    /// Bytes of the frame that have arrived.
    arrived: usize,
    /// The same of the frame before.
    last: usize,
}

impl Arriving {
    /// Adds what is new of frame `number`; `picture` holds its scan from the start as far as it has
    /// arrived. Returns whether to wake the consumer. Never waits: if the slot is locked, the bytes
    /// follow with the next call.
    pub fn offer(&self, progress: &mut Progress, number: u64, picture: &Picture<'_>) -> bool {
        if progress.number != number {
            *progress = Progress {
                number,
                len: 0,
                arrived: 0,
                last: progress.arrived,
            };
        }
        progress.arrived = picture.scan.len();
        let new = picture.scan.get(progress.len..).unwrap_or_default();
        let is_ignored = self.ignored.load(Ordering::Relaxed) == number;
        if is_ignored || new.len() < (progress.last / PART).max(LEAST) {
            return false;
        }
        let Ok(mut slot) = self.slot.try_lock() else {
            return false;
        };
        if progress.len == 0 {
            slot.frame = Some((number, Head::of(picture)));
            slot.bytes.clear();
            slot.taken = 0;
        }
        slot.bytes.extend_from_slice(new);
        progress.len = picture.scan.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(scan: &[u8]) -> Picture<'_> {
        Picture {
            width: 640,
            height: 480,
            sampling: Sampling::Yuv422,
            restart_interval: 0,
            quant: [1; 128],
            scan,
        }
    }

    #[test]
    fn each_byte_comes_once_and_a_newer_frame_displaces_an_older_one() {
        let scan: Vec<u8> = (0..3 * LEAST).map(|i| i as u8).collect();
        let (slot, mut progress, mut bytes) =
            (Arriving::default(), Progress::default(), Vec::new());
        assert_eq!(slot.begin(0), None);
        // Too little to wake anybody for.
        assert!(!slot.offer(&mut progress, 1, &picture(&scan[..LEAST - 1])));
        assert_eq!(slot.begin(0), None);
        assert!(slot.offer(&mut progress, 1, &picture(&scan[..LEAST])));
        assert!(slot.offer(&mut progress, 1, &picture(&scan[..2 * LEAST])));
        assert_eq!(slot.begin(0), Some((1, Head::of(&picture(&[])))));
        assert_eq!(slot.begin(1), None);
        assert_eq!(slot.take(1, &mut bytes), Taken::More);
        assert_eq!(bytes, scan[..2 * LEAST]);
        // Its beginning is gone.
        assert_eq!(slot.begin(0), None);
        assert_eq!(slot.take(1, &mut bytes), Taken::More);
        assert!(bytes.is_empty());
        assert!(slot.offer(&mut progress, 1, &picture(&scan)));
        assert_eq!(slot.take(1, &mut bytes), Taken::More);
        assert_eq!(bytes, scan[2 * LEAST..]);

        assert!(slot.offer(&mut progress, 2, &picture(&scan[..LEAST])));
        slot.ignore(2);
        assert!(!slot.offer(&mut progress, 2, &picture(&scan)));
        assert_eq!(slot.take(1, &mut bytes), Taken::Other);
        assert!(bytes.is_empty());
        assert_eq!(slot.take(2, &mut bytes), Taken::More);
        assert_eq!(bytes, scan[..LEAST]);
    }

    #[test]
    fn the_producer_does_not_wait_and_loses_nothing() {
        let scan = vec![5; 2 * LEAST];
        let (slot, mut progress, mut bytes) =
            (Arriving::default(), Progress::default(), Vec::new());
        let held = slot.lock();
        assert!(!slot.offer(&mut progress, 1, &picture(&scan[..LEAST])));
        drop(held);
        assert!(slot.offer(&mut progress, 1, &picture(&scan)));
        slot.take(1, &mut bytes);
        assert_eq!(bytes, scan);
    }
}
