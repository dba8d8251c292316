//! Pictures for those who watch by HTTP or RTSP, taken from a streaming thread at hardly any cost
//! to it: it checks one flag a frame, and only if a picture is asked for lends one, for the reader
//! to copy. One whose memory is needed again at once is copied into a buffer that already exists.
//! It never waits for the reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Mono;
use crate::jpeg::{Picture, Sampling};
use crate::kept::{Kept, Owner};
use crate::mailbox::Mailbox;

/// Somebody watches for this long after asking for a picture. Those who watch ask at least four
/// times a second.
const WATCHING: Duration = Duration::from_secs(1);

/// One frame.
#[derive(Debug)]
pub struct PreviewFrame {
    /// Without its scan.
    header: Picture<'static>,
    /// The scan, or a copy of it.
    lent: Option<Kept>,
    copy: Vec<u8>,
    /// When it was taken by the sender's camera; a viewer knows when it arrived.
    pub captured: Mono,
    /// When it was left here.
    pub at: Mono,
}

impl PreviewFrame {
    /// A buffer without a picture.
    fn empty() -> Box<PreviewFrame> {
        Box::new(PreviewFrame {
            header: Picture {
                width: 0,
                height: 0,
                sampling: Sampling::Yuv420,
                restart_interval: 0,
                quant: [0; 128],
                scan: &[],
            },
            lent: None,
            copy: Vec::new(),
            captured: Mono::default(),
            at: Mono::default(),
        })
    }

    /// The picture.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            scan: self.lent.as_ref().map_or(&self.copy, Kept::bytes),
            ..self.header
        }
    }
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
        slot.recycle(PreviewFrame::empty());
        slot.recycle(PreviewFrame::empty());
        Preview {
            wanted: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            slot,
        }
    }
}

impl Preview {
    /// Streaming thread: leaves `picture`, taken at `captured`, if one is asked for. What does not
    /// belong to `owner` is copied; the buffer grows to the size of the largest picture and stays.
    pub fn offer(&self, captured: Mono, picture: &Picture<'_>, owner: Option<&Owner>) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut frame) = self.slot.reclaim() else {
            return;
        };
        self.wanted.store(false, Ordering::Relaxed);
        frame.lent = owner.and_then(|owner| owner.keep(picture.scan));
        frame.copy.clear();
        if frame.lent.is_none() {
            frame.copy.extend_from_slice(picture.scan);
        }
        frame.header = picture.without_scan();
        (frame.captured, frame.at) = (captured, Mono::now());
        if let Some(unread) = self.slot.put(frame) {
            self.give_back(unread);
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
    pub fn give_back(&self, mut frame: Box<PreviewFrame>) {
        frame.lent = None;
        self.slot.recycle(frame);
    }

    /// Reader: wants no picture any more, and keeps none that is lent.
    pub fn leave(&self) {
        self.wanted.store(false, Ordering::Relaxed);
        if let Some(unread) = self.take(Duration::ZERO) {
            self.give_back(unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn picture(scan: &[u8]) -> Picture<'_> {
        Picture {
            width: 320,
            height: 240,
            scan,
            ..PreviewFrame::empty().header
        }
    }

    #[test]
    fn nothing_is_copied_unless_asked_for() {
        let preview = Preview::default();
        preview.offer(Mono(6), &picture(b"before"), None);
        assert!(preview.take(Duration::ZERO).is_none());
        preview.ask();
        preview.offer(Mono(7), &picture(b"one"), None);
        preview.offer(Mono(8), &picture(b"two"), None);
        let copy = preview.take(Duration::ZERO).unwrap();
        assert_eq!((copy.picture().scan, copy.captured), (&b"one"[..], Mono(7)));
        assert_eq!(copy.picture().width, 320);
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
            preview.offer(Mono(7), &picture(&[n; 1000]), None);
            let copy = preview.take(Duration::ZERO).unwrap();
            assert_eq!(copy.picture().scan, [n; 1000]);
            places.insert(copy.picture().scan.as_ptr() as usize);
            preview.give_back(copy);
        }
        assert!(places.len() <= 2, "{places:?}");
    }

    #[test]
    fn a_reader_that_keeps_its_buffers_stops_nobody() {
        let preview = Preview::default();
        for _ in 0..2 {
            preview.ask();
            preview.offer(Mono(7), &picture(&[1]), None);
            std::mem::forget(preview.take(Duration::ZERO));
        }
        preview.ask();
        preview.offer(Mono(7), &picture(&[1]), None);
        assert!(preview.take(Duration::ZERO).is_none(), "there is no buffer");
    }

    #[test]
    fn memory_that_has_an_owner_is_lent_until_it_is_given_back_or_nobody_watches() {
        let mut memory = Arc::new(vec![1, 2, 3]);
        let preview = Preview::default();
        let offer = |memory: &Arc<Vec<u8>>| {
            preview.ask();
            let owner = Owner::new(Arc::clone(memory));
            preview.offer(Mono(7), &picture(&memory[1..]), Some(&owner));
        };
        offer(&memory);
        let lent = preview.take(Duration::ZERO).unwrap();
        assert_eq!(lent.picture().scan.as_ptr(), memory[1..].as_ptr());
        assert!(Arc::get_mut(&mut memory).is_none());
        preview.give_back(lent);
        assert!(Arc::get_mut(&mut memory).is_some());
        // Another one takes its place unread.
        offer(&memory);
        preview.ask();
        preview.offer(Mono(8), &picture(&[1]), None);
        assert!(Arc::get_mut(&mut memory).is_some());
        offer(&memory);
        preview.leave();
        assert!(Arc::get_mut(&mut memory).is_some());
        preview.offer(Mono(9), &picture(&[1]), None);
        assert!(preview.take(Duration::ZERO).is_none(), "nobody watches");
    }
}
