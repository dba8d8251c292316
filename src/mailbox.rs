//! Hands frames from one thread to another: a slot that holds the newest unread frame, and a queue
//! that returns used buffers. Not a channel: a frame not read in time is replaced, so that a slow
//! decoder costs frames, never delay.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

/// A one-slot, latest-wins mailbox for one producing and one consuming thread, shared by reference
/// or `Arc`. No call allocates, and the producer's calls never wait.
#[derive(Debug)]
pub struct Mailbox<T> {
    newest: ArrayQueue<Box<T>>,
    used: ArrayQueue<Box<T>>,
    consumer: OnceLock<Thread>,
    closed: AtomicBool,
    nudged: AtomicBool,
}

impl<T> Mailbox<T> {
    /// An empty mailbox that holds up to `spares` used buffers (at least one) for the producer.
    pub fn new(spares: usize) -> Mailbox<T> {
        Mailbox {
            newest: ArrayQueue::new(1),
            used: ArrayQueue::new(spares.max(1)),
            consumer: OnceLock::new(),
            closed: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
        }
    }

    /// Producer: leaves `frame` as the newest one. Returns the unread frame it displaced: to count
    /// as skipped and to reuse as a buffer.
    pub fn put(&self, frame: Box<T>) -> Option<Box<T>> {
        let displaced = self.newest.force_push(frame);
        self.wake();
        displaced
    }

    /// Producer: a used buffer, if one has come back.
    pub fn reclaim(&self) -> Option<Box<T>> {
        self.used.pop()
    }

    /// Producer: no more frames will come. A waiting [`take`](Mailbox::take) returns at once.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Anybody: makes a waiting [`take`](Mailbox::take), or the next one, return without a frame,
    /// since there is something else to do.
    pub fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the producer has closed the mailbox; a last frame may still be in it.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Consumer: the newest frame; waits up to `timeout` for one. `None` after the timeout, after a
    /// [`nudge`](Mailbox::nudge), or at once if the mailbox is closed and empty. The first thread
    /// that calls this is the consumer: another one would not be woken.
    pub fn take(&self, timeout: Duration) -> Option<Box<T>> {
        self.consumer.get_or_init(thread::current);
        let deadline = Instant::now() + timeout;
        loop {
            // Read before the slot: a frame put before closing is still found.
            let closed = self.is_closed();
            if let Some(frame) = self.newest.pop() {
                return Some(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if closed || left.is_zero() || self.nudged.swap(false, Ordering::AcqRel) {
                return None;
            }
            // A put between the pop above and here leaves its token, so parking returns at once.
            thread::park_timeout(left);
        }
    }

    /// Consumer: gives a used buffer back; it is freed if the queue is full.
    pub fn recycle(&self, frame: Box<T>) {
        drop(self.used.push(frame));
    }

    fn wake(&self) {
        if let Some(consumer) = self.consumer.get() {
            consumer.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn the_newest_frame_wins() {
        let mailbox = Mailbox::new(2);
        assert!(mailbox.put(Box::new(1)).is_none());
        assert_eq!(mailbox.put(Box::new(2)).as_deref(), Some(&1));
        assert_eq!(mailbox.put(Box::new(3)).as_deref(), Some(&2));
        assert_eq!(mailbox.take(Duration::ZERO).as_deref(), Some(&3));
        assert!(mailbox.take(Duration::ZERO).is_none());
    }

    #[test]
    fn used_buffers_go_back_and_no_more_than_there_is_room_for() {
        let mailbox = Mailbox::new(2);
        for n in 0..3 {
            mailbox.recycle(Box::new(n));
        }
        assert_eq!(mailbox.reclaim().as_deref(), Some(&0));
        assert_eq!(mailbox.reclaim().as_deref(), Some(&1));
        assert!(mailbox.reclaim().is_none());
    }

    #[test]
    fn closing_ends_the_wait_but_keeps_the_last_frame() {
        let mailbox = Mailbox::new(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                mailbox.put(Box::new(7));
                mailbox.close();
            });
            assert_eq!(mailbox.take(LONG).as_deref(), Some(&7));
            assert!(mailbox.take(LONG).is_none());
        });
    }

    #[test]
    fn a_nudge_ends_one_wait_and_hides_no_frame() {
        let mailbox = Mailbox::new(1);
        mailbox.nudge();
        assert!(mailbox.take(LONG).is_none());
        mailbox.nudge();
        mailbox.put(Box::new(3));
        assert_eq!(mailbox.take(LONG).as_deref(), Some(&3));
        thread::scope(|scope| {
            scope.spawn(|| mailbox.nudge());
            while mailbox.take(LONG).is_some() {}
        });
    }

    #[test]
    fn across_threads_frames_come_in_order_and_the_last_one_always_arrives() {
        const LAST: u32 = 200_000;
        let mailbox = Mailbox::new(4);
        let (seen, skipped) = thread::scope(|scope| {
            let producer = scope.spawn(|| {
                let mut skipped = 0;
                for n in 1..=LAST {
                    let mut frame = mailbox.reclaim().unwrap_or_default();
                    *frame = n;
                    if let Some(displaced) = mailbox.put(frame) {
                        skipped += 1;
                        mailbox.recycle(displaced);
                    }
                }
                mailbox.close();
                skipped
            });
            let (mut seen, mut previous) = (0, 0);
            while let Some(frame) = mailbox.take(LONG) {
                assert!(*frame > previous, "{frame} after {previous}");
                previous = *frame;
                seen += 1;
                mailbox.recycle(frame);
            }
            assert_eq!(previous, LAST);
            (seen, producer.join().expect("the producer does not panic"))
        });
        assert_eq!(seen + skipped, LAST);
    }
}
