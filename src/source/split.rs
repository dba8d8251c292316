//! Stand-in.
use std::ops::Range;
pub(super) enum Found {
    Frame(Range<usize>),
    NeedMore { discard: usize },
}
#[derive(Default)]
pub(super) struct Splitter;
impl Splitter {
    pub(super) fn new() -> Splitter {
        Splitter
    }
    pub(super) fn find(&mut self, b: &[u8]) -> Found {
        let Some(s) = b.windows(3).position(|w| w == [0xff, 0xd8, 0xff]) else {
            return Found::NeedMore {
                discard: b.len().saturating_sub(2),
            };
        };
        match b[s..].windows(2).position(|w| w == [0xff, 0xd9]) {
            Some(e) => Found::Frame(s..s + e + 2),
            None => Found::NeedMore { discard: s },
        }
    }
}
