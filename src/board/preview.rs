//! Pictures for those who watch by HTTP or RTSP, copied from a streaming thread at hardly any cost
//! to it: it checks one flag a frame, and only if a picture is asked for copies one into a buffer
//! that already exists. It never waits for the reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Mono;
use crate::mailbox::Mailbox;

/// Somebody watches for this long after asking for a picture. Those who watch ask at least four
/// times a second.
const WATCHING: Duration = Duration::from_secs(1);

/// One copied frame.
#[derive(Debug, Default)]
pub struct PreviewFrame {
    /// A whole JPEG.
    pub jpeg: Vec<u8>,
    /// When it was taken by the sender's camera; a viewer knows when it arrived.
    pub captured: Mono,
    /// When it was copied.
    pub at: Mono,
}

/// Where one stream leaves a picture when it is asked for one.
#[derive(Debug)]
pub struct Preview {
    wanted: AtomicBool,
    /// When one was last asked for, as [`Mono`]; 0: never.
    asked: AtomicU64,
    slot: Mailbox<PreviewFrame>,
}

impl Default for Preview {
    fn default() -> Preview {
        // One buffer in the slot, one with the reader.
        let slot = Mailbox::new(2);
        slot.recycle(Box::default());
        slot.recycle(Box::default());
        Preview {
            wanted: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            slot,
        }
    }
}

impl Preview {
    /// Streaming thread: leaves the picture taken at `captured` if one is asked for. `write` puts
    /// it into an empty buffer, which grows to the size of the largest picture and is kept.
    pub fn offer(&self, captured: Mono, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut frame) = self.slot.reclaim() else {
            return;
        };
        self.wanted.store(false, Ordering::Relaxed);
        frame.jpeg.clear();
        write(&mut frame.jpeg);
        (frame.captured, frame.at) = (captured, Mono::now());
        if let Some(unread) = self.slot.put(frame) {
            self.slot.recycle(unread);
        }
    }

    /// Reader: asks for the next frame.
    pub fn ask(&self) {
        self.touch();
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Anybody: somebody watches the stream elsewhere, and wants no picture from here.
    pub fn touch(&self) {
        self.asked.store(Mono::now().0, Ordering::Relaxed);
    }

    /// Whether somebody watches, so that a source that is open on demand should be open.
    pub fn is_watched(&self, now: Mono) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked != 0 && now.since(Mono(asked)) < WATCHING
    }

    /// Reader, always the same thread: the picture that was asked for; waits up to `timeout` for
    /// it.
    pub fn take(&self, timeout: Duration) -> Option<Box<PreviewFrame>> {
        self.slot.take(timeout)
    }

    /// Anybody: makes a waiting [`take`](Preview::take) return.
    pub fn nudge(&self) {
        self.slot.nudge();
    }

    /// Reader: gives the buffer back.
    pub fn give_back(&self, frame: Box<PreviewFrame>) {
        self.slot.recycle(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_unless_asked_for() {
        let preview = Preview::default();
        preview.offer(Mono(7), |_| panic!("copied"));
        preview.ask();
        preview.offer(Mono(7), |out| out.extend_from_slice(b"one"));
        preview.offer(Mono(7), |_| panic!("copied twice"));
        let copy = preview.take(Duration::ZERO).unwrap();
        assert_eq!(
            (copy.jpeg.as_slice(), copy.captured),
            (&b"one"[..], Mono(7))
        );
        preview.give_back(copy);
        assert!(preview.take(Duration::ZERO).is_none());
    }

    #[test]
    fn who_has_asked_watches_for_a_while() {
        let preview = Preview::default();
        assert!(!preview.is_watched(Mono::now()));
        preview.ask();
        assert!(preview.is_watched(Mono::now()));
        assert!(!preview.is_watched(Mono::now() + 2 * WATCHING));
    }

    #[test]
    fn buffers_are_used_again() {
        let preview = Preview::default();
        let mut places = std::collections::HashSet::new();
        for n in 0..20_u8 {
            preview.ask();
            preview.offer(Mono(7), |out| out.resize(1000, n));
            let copy = preview.take(Duration::ZERO).unwrap();
            assert_eq!(copy.jpeg, [n; 1000]);
            places.insert(copy.jpeg.as_ptr() as usize);
            preview.give_back(copy);
        }
        assert!(places.len() <= 2, "{places:?}");
    }

    #[test]
    fn a_reader_that_keeps_its_buffers_stops_nobody() {
        let preview = Preview::default();
        for _ in 0..2 {
            preview.ask();
            preview.offer(Mono(7), |out| out.push(1));
            std::mem::forget(preview.take(Duration::ZERO));
        }
        preview.ask();
        preview.offer(Mono(7), |_| panic!("there is no buffer"));
    }
}
