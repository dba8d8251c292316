//! The scan of a frame while it arrives: first the parts that have arrived, then the rest, from the
//! whole frame in the mailbox, if that is the same frame. Also decides whether following frames is
//! faster than waiting for them.

use std::time::{Duration, Instant};

use super::Frame;
use super::arriving::{Arriving, Head, Taken};
use super::strips::{Next, Scan};
use crate::clock::Mono;
use crate::mailbox::Mailbox;

/// Longer times between last packet and picture count as this.
const MOST: Duration = Duration::from_millis(100);
/// How long to follow a frame of which nothing more arrives.
const STALLED: Duration = Duration::from_millis(50);
/// The scan of a frame that is arriving, until the mailbox has it whole.
pub(super) struct ArrivingScan<'a, T> {
    number: u64,
    head: &'a Head,
    arriving: &'a Arriving,
    mailbox: &'a Mailbox<T>,
    bytes: &'a mut Vec<u8>,
    /// How many bytes the decoder has.
    followed: usize,
    /// What the mailbox had.
    frame: Option<Box<T>>,
}

impl<T: Frame> Scan for ArrivingScan<'_, T> {
    fn next(&mut self, may_wait: bool) -> Next<'_> {
        let patience = if may_wait { STALLED } else { Duration::ZERO };
        let deadline = Instant::now() + patience;
        loop {
            let taken = self.arriving.take(self.number, self.bytes);
            if !self.bytes.is_empty() {
                self.followed += self.bytes.len();
                return Next::Bytes(self.bytes);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // The mailbox wakes this thread for other things too.
            self.frame = match taken {
                Taken::More => self.mailbox.take(left),
                Taken::Other => self.mailbox.take(Duration::ZERO),
            };
            if self.frame.is_some() {
                return self.rest();
            }
            if taken == Taken::Other || self.mailbox.is_closed() {
                return Next::GivenUp;
            }
            if left.is_zero() {
                return if may_wait {
                    Next::GivenUp
                } else {
                    Next::Bytes(&[])
                };
            }
        }
    }
}

impl<'a, T: Frame> ArrivingScan<'a, T> {
    /// The scan of the frame that [`Arriving::begin`] returned. `bytes` is memory to reuse.
    pub(super) fn new(
        number: u64,
        head: &'a Head,
        arriving: &'a Arriving,
        mailbox: &'a Mailbox<T>,
        bytes: &'a mut Vec<u8>,
    ) -> ArrivingScan<'a, T> {
        ArrivingScan {
            number,
            head,
            arriving,
            mailbox,
            bytes,
            followed: 0,
            frame: None,
        }
    }

    /// The frame taken from the mailbox, which may be another one.
    pub(super) fn into_frame(self) -> Option<Box<T>> {
        self.frame
    }

    /// What is left of the scan, if the mailbox's frame is the one that was followed.
    fn rest(&self) -> Next<'_> {
        let frame = self.frame.as_deref();
        let frame = frame.filter(|frame| frame.is_whole() && frame.number() == self.number);
        let picture = frame.and_then(Frame::picture);
        let picture = picture.filter(|picture| Head::of(picture) == *self.head);
        match picture.and_then(|picture| picture.scan.get(self.followed..)) {
            Some(rest) => Next::Last(rest),
            None => Next::GivenUp,
        }
    }
}

/// The slower way is tried again every so many frames.
const TRIAL: u32 = 64;

/// Which way is faster, measured from a frame's last packet until it is decoded: following it while
/// it arrives, or decoding it as a whole. That depends on how long frames take to arrive, on the
/// cores, and on what else they do.
#[derive(Debug, Default)]
pub(super) struct Ways {
    followed: Way,
    whole: Way,
    frames: u32,
}

/// Roughly the minimum of recent times: other load makes them longer, never shorter.
#[derive(Debug, Default)]
struct Way(Option<Duration>);

impl Way {
    fn record(&mut self, time: Duration) {
        let time = time.min(MOST);
        let least = self.0.map_or(time, |least| (least * 7 + time) / 8);
        self.0 = Some(least.min(time));
    }
}

impl Ways {
    /// Whether to follow the next frame.
    pub(super) fn is_followed(&mut self) -> bool {
        self.frames = self.frames.wrapping_add(1);
        let (Some(followed), Some(whole)) = (self.followed.0, self.whole.0) else {
            return self.followed.0.is_none();
        };
        (followed < whole) != (self.frames % TRIAL == 0)
    }

    /// A frame was followed to its end but not decoded.
    pub(super) fn record_failure(&mut self) {
        self.followed.record(MOST);
    }

    /// A frame was decoded whose last packet arrived then.
    pub(super) fn record(&mut self, is_followed: bool, last_arrival: Option<Mono>) {
        let Some(last) = last_arrival else { return };
        let time = Mono::now().since(last);
        match is_followed {
            true => self.followed.record(time),
            false => self.whole.record(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Ntp;
    use crate::display::arriving::Progress;
    use crate::display::strips::StripDecoder;
    use crate::jpeg::Picture;
    use crate::jpeg::gate::{Gate, GateOptions};
    use crate::jpeg::samples::encode;
    use crate::jpeg::strips::Broken;
    use std::thread;
    use turbojpeg::Subsamp;

    const SIZE: (usize, usize) = (640, 480);

    /// A frame as the network brings it.
    #[derive(Clone)]
    struct Received {
        number: u64,
        head: (u16, u16, crate::jpeg::Sampling),
        quant: [u8; 128],
        scan: Vec<u8>,
        is_whole: bool,
    }

    impl Received {
        fn new(number: u64, quality: i32) -> Received {
            let jpeg = encode(SIZE.0, SIZE.1, Subsamp::Sub2x1, quality);
            let mut gate = Gate::new(GateOptions::default());
            let picture = gate.pass(&jpeg).expect("a picture");
            Received {
                number,
                head: (picture.width, picture.height, picture.sampling),
                quant: picture.quant,
                scan: picture.scan.to_vec(),
                is_whole: true,
            }
        }

        fn part(&self, len: usize) -> Picture<'_> {
            Picture {
                width: self.head.0,
                height: self.head.1,
                sampling: self.head.2,
                restart_interval: 0,
                quant: self.quant,
                scan: &self.scan[..len.min(self.scan.len())],
            }
        }
    }

    impl Frame for Received {
        fn jpeg(&self) -> &[u8] {
            &[]
        }
        fn captured(&self) -> Option<Ntp> {
            None
        }
        fn picture(&self) -> Option<Picture<'_>> {
            Some(self.part(usize::MAX))
        }
        fn number(&self) -> u64 {
            self.number
        }
        fn is_whole(&self) -> bool {
            self.is_whole
        }
    }

    /// Offers `arrives` piece by piece as far as `offered`, then puts `comes` into the mailbox;
    /// what the decoder makes of it, and the number of the frame that it has taken.
    fn follow(
        arrives: &Received,
        offered: usize,
        comes: Option<Received>,
    ) -> (Result<Vec<u32>, Broken>, Option<u64>) {
        let (arriving, mailbox) = (Arriving::default(), Mailbox::new(2));
        let mut progress = Progress::default();
        arriving.offer(&mut progress, arrives.number, &arrives.part(5000));
        let (number, head) = arriving.begin(0).expect("a beginning");
        let (mut bytes, mut pixels) = (Vec::new(), vec![0; SIZE.0 * SIZE.1]);
        let mut strips = StripDecoder::new(1).expect("turbojpeg");
        thread::scope(|scope| {
            scope.spawn(|| {
                for len in (10_000..=offered).step_by(5000) {
                    arriving.offer(&mut progress, arrives.number, &arrives.part(len));
                    mailbox.nudge();
                }
                if let Some(frame) = comes {
                    mailbox.put(Box::new(frame));
                }
            });
            let mut scan = ArrivingScan::new(number, &head, &arriving, &mailbox, &mut bytes);
            let result = strips.decode(&head, &mut scan, &mut pixels, SIZE);
            let frame = scan.into_frame().map(|frame| frame.number);
            (result.map(|()| pixels), frame)
        })
    }

    #[test]
    fn a_frame_is_decoded_from_its_parts_and_its_rest() {
        let frame = Received::new(7, 90);
        assert!(frame.scan.len() > 50_000);
        let at_once = {
            let mut pixels = vec![0; SIZE.0 * SIZE.1];
            let mut strips = StripDecoder::new(1).expect("turbojpeg");
            let head = Head::of(&frame.part(0));
            let whole = strips.decode(&head, &mut &frame.scan[..], &mut pixels, SIZE);
            whole.map(|()| pixels)
        };
        for offered in [0, 20_000, usize::MAX] {
            let offered = offered.min(frame.scan.len());
            let (pixels, number) = follow(&frame, offered, Some(frame.clone()));
            assert_eq!(number, Some(7));
            assert!(pixels.is_ok() && pixels == at_once, "{offered}");
        }
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_one_tried_now_and_then() {
        let ms = |ms| Duration::from_millis(ms);
        let mut ways = Ways::default();
        assert!(ways.is_followed());
        ways.followed.record(ms(9));
        assert!(!ways.is_followed());
        ways.whole.record(ms(6));
        let tries = |ways: &mut Ways| (0..640).filter(|_| ways.is_followed()).count();
        assert_eq!(tries(&mut ways), 10);
        // The frames take their time now.
        ways.followed.record(ms(1));
        assert_eq!(tries(&mut ways), 630);
        (0..20).for_each(|_| ways.followed.record(ms(7)));
        assert_eq!(tries(&mut ways), 10);
    }

    #[test]
    fn another_frame_is_never_taken_for_the_rest() {
        let frame = Received::new(7, 90);
        let other_number = Received {
            number: 8,
            ..frame.clone()
        };
        let partial = Received {
            is_whole: false,
            ..frame.clone()
        };
        let other_tables = Received {
            quant: [3; 128],
            ..frame.clone()
        };
        let shorter = Received {
            scan: frame.scan[..100].to_vec(),
            ..frame.clone()
        };
        for comes in [other_number, partial, other_tables, shorter] {
            let number = comes.number;
            let (pixels, taken) = follow(&frame, 20_000, Some(comes));
            assert_eq!((pixels, taken), (Err(Broken), Some(number)));
        }
    }

    #[test]
    fn a_frame_that_does_not_go_on_is_given_up() {
        let (pixels, taken) = follow(&Received::new(7, 90), 20_000, None);
        assert_eq!((pixels, taken), (Err(Broken), None));
    }
}
